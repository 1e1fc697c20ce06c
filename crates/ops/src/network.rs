//! Hosts of the network: those that the operator names may be anywhere, those that others name are guarded against.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use atcr_atproto::bounds::{MAX_CURSOR_BYTES, MAX_DOCUMENT_BYTES};
use atcr_atproto::clock::SystemClock;
use atcr_atproto::egress::{EgressClient, EgressPolicy, Limits};
use atcr_atproto::identity::{
    IdentityResolver as _, ResolvedIdentity, Resolver, ResolverConfig, hold_endpoint,
};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::pds::{ListRecords, PdsClient, RecordEntry};
use atcr_atproto::syntax::{AtIdentifier, Did, Nsid};
use atcr_atproto::xrpc::XrpcError;
use clap::Args;
use serde::Deserialize;
use url::Url;

/// Records of one page.
const PAGE: u8 = 100;

/// Records of one account and collection that are read, so that a server without an end is left.
const MAX_RECORDS: u64 = 5_000_000;

/// Accounts of one page, and how long one may take.
const ACCOUNTS: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);

/// Pages of accounts that are read.
const MAX_PAGES: usize = 10_000;

/// Where identities are looked up.
#[derive(Clone, Debug, Args)]
pub struct NetworkArguments {
    /// The directory of did:plc documents
    #[arg(long, value_name = "URL", default_value = "https://plc.directory")]
    plc_directory_url: Url,
    /// A service that knows handles, asked before DNS
    #[arg(long, value_name = "URL")]
    handle_resolver_url: Option<Url>,
    /// Development: hosts of this machine and of private networks, over plain HTTP too
    #[arg(long)]
    local: bool,
}

/// What asks other hosts.
pub struct Network {
    /// For hosts that others name.
    named: EgressClient,
    /// For hosts that the operator named.
    configured: EgressClient,
    resolver: Resolver,
}

/// A hold: its DID and where it is.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Its DID.
    pub did: Did,
    /// Its URL.
    pub url: Url,
}

#[derive(Deserialize)]
struct AccountsJson {
    repos: Vec<AccountJson>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct AccountJson {
    did: String,
}

impl Network {
    /// As the arguments say. No host is asked yet.
    ///
    /// # Errors
    /// There are no usable root certificates.
    pub fn new(arguments: &NetworkArguments) -> anyhow::Result<Self> {
        let named = EgressClient::new(EgressPolicy::of_server(arguments.local))?;
        let mut settings = ResolverConfig::new(arguments.plc_directory_url.clone());
        settings
            .handle_resolver
            .clone_from(&arguments.handle_resolver_url);
        settings.allow_loopback = arguments.local;
        Ok(Self {
            resolver: Resolver::new(settings, named.clone(), Arc::new(SystemClock))?,
            configured: EgressClient::for_configured_hosts()?,
            named,
        })
    }

    /// Who `identity` is.
    ///
    /// # Errors
    /// There is no such account, or it cannot be looked up now.
    pub async fn account(&self, identity: &AtIdentifier) -> anyhow::Result<Arc<ResolvedIdentity>> {
        let found = self.resolver.resolve(identity).await;
        found.with_context(|| format!("{identity} cannot be looked up"))
    }

    /// The confirmed handle of an account, or its DID.
    pub async fn name(&self, did: &Did) -> String {
        let identity = self.resolver.resolve_did(did).await;
        let handle = identity.ok().and_then(|identity| identity.handle.clone());
        handle.map_or_else(|| did.to_string(), |handle| handle.to_string())
    }

    /// The hold that `text` names: a URL or a DID.
    ///
    /// # Errors
    /// It is neither, or the hold does not say who it is.
    pub async fn hold(&self, text: &str) -> anyhow::Result<Hold> {
        if let Ok(did) = text.parse::<Did>() {
            let identity = self.account(&AtIdentifier::Did(did.clone())).await?;
            let url = hold_endpoint(&identity).with_context(|| format!("{did} names no server"))?;
            return Ok(Hold { did, url });
        }
        let url: Url = text
            .parse()
            .ok()
            .filter(|url: &Url| matches!(url.scheme(), "http" | "https"))
            .with_context(|| format!("{text} is neither a URL nor a DID"))?;
        let mut who = url.clone();
        who.set_path("/.well-known/atproto-did");
        let answer = self.configured.get_capped(&who, 4096, "text/plain").await?;
        let did = std::str::from_utf8(&answer.bytes)
            .ok()
            .filter(|_| answer.status.is_success())
            .and_then(|text| text.trim().parse().ok())
            .with_context(|| format!("{who} does not say the hold's DID"))?;
        Ok(Hold { did, url })
    }

    /// The accounts with records of `collection` that `relay` knows, at most `limit`; each is handed to `found`.
    ///
    /// # Errors
    /// The relay has no such list, or does not answer.
    ///
    /// # Spec
    /// `com.atproto.sync.listReposByCollection`.
    pub async fn accounts_with(
        &self,
        relay: &Url,
        collection: &Nsid,
        limit: usize,
        found: &mut (dyn FnMut(Did) + Send),
    ) -> anyhow::Result<()> {
        let method = nsid::SYNC_LIST_REPOS_BY_COLLECTION;
        let mut cursor: Option<String> = None;
        let mut left = limit;
        for _ in 0..MAX_PAGES {
            let mut url = relay.clone();
            url.set_path(&format!("/xrpc/{method}"));
            url.query_pairs_mut()
                .clear()
                .append_pair("collection", collection.as_str())
                .append_pair("limit", &ACCOUNTS.min(left).to_string());
            if let Some(cursor) = &cursor {
                url.query_pairs_mut().append_pair("cursor", cursor);
            }
            let limits = Limits {
                max_bytes: MAX_DOCUMENT_BYTES,
                timeout: PATIENCE,
            };
            let answer = self
                .configured
                .get_within(&url, "application/json", limits)
                .await?;
            if !answer.status.is_success() {
                let error = XrpcError::from_response(answer.status, &answer.bytes);
                bail!("{method} answers {}: {}", answer.status.as_u16(), error.error);
            }
            let page: AccountsJson = serde_json::from_slice(&answer.bytes)
                .with_context(|| format!("a malformed answer of {method}"))?;
            for account in page.repos.into_iter().take(left) {
                left -= 1;
                if let Ok(did) = account.did.parse() {
                    found(did);
                }
            }
            let next = page
                .cursor
                .filter(|next| !next.is_empty() && next.len() <= MAX_CURSOR_BYTES);
            if next.is_none() || next == cursor || left == 0 {
                return Ok(());
            }
            cursor = next;
        }
        bail!("{method} has no end")
    }

    /// Hands every record of `did` in `collection` to `each`, until that says that it is enough.
    ///
    /// # Errors
    /// The account has no server, or that does not answer.
    pub async fn records(
        &self,
        did: &Did,
        server: &Url,
        is_named: bool,
        collection: &str,
        each: &mut (dyn FnMut(RecordEntry) -> bool + Send),
    ) -> anyhow::Result<()> {
        let egress = if is_named { &self.named } else { &self.configured };
        let client = PdsClient::new(server.clone(), egress.clone()).with_timeout(PATIENCE);
        let mut cursor: Option<String> = None;
        let mut read = 0;
        loop {
            let request = ListRecords {
                limit: Some(PAGE),
                cursor: cursor.as_deref(),
                reverse: false,
            };
            let page = client.list_records(did, collection, request).await?;
            read += page.records.len() as u64;
            for record in page.records {
                if !each(record) {
                    return Ok(());
                }
            }
            if page.cursor.is_none() || page.cursor == cursor {
                return Ok(());
            }
            if read > MAX_RECORDS {
                bail!("{did} has more than {MAX_RECORDS} records of {collection}");
            }
            cursor = page.cursor;
        }
    }

    /// The server of an account.
    ///
    /// # Errors
    /// The account cannot be looked up, or names none.
    pub async fn server(&self, did: &Did) -> anyhow::Result<Url> {
        let identity = self.account(&AtIdentifier::Did(did.clone())).await?;
        identity
            .pds
            .clone()
            .with_context(|| format!("{did} names no server"))
    }
}
