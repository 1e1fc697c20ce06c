//! Accounts at their PDSes, over XRPC.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::bounds::{ANSWER_TIMEOUT, MAX_DOCUMENT_BYTES, MAX_RETRY_AFTER};
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::egress::{EgressClient, EgressError, Limits};
use atcr_atproto::identity::{IdentityError, IdentityResolver};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::pds::{ListRecords, PdsClient, PdsError};
use atcr_atproto::retry_after::{RetryAfter, asked};
use atcr_atproto::syntax::{Did, Tid};
use atcr_atproto::xrpc::XrpcError;
use atcr_index::Collection;
use atcr_index::change::{IdentityStep, Status};
use atcr_index::fact::RecordFact;
use atcr_server::Rate;
use atcr_server::rate_limit::RateLimit;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::host_turns::{HostTurns, real_time};
use crate::difference::MAX_DIFFERENCE;
use crate::source::{AccountSource, Head, SourceError, SourcePage};

/// Records of a page: small ones for a start would need more requests, and this many manifests stay below the longest answer.
const PAGE: u8 = 100;

/// Records of a page when a larger one was too long.
const SMALL_PAGE: u8 = 10;

/// How long a difference may take.
const DOWNLOAD: Duration = Duration::from_secs(30);

/// How long a server is left alone that says there were too many requests, but not for how long.
const UNNAMED_PAUSE: Duration = Duration::from_mins(1);

/// How long it is left alone otherwise.
const PAUSES: RetryAfter = RetryAfter::new(UNNAMED_PAUSE, MAX_RETRY_AFTER);

/// How often events make one account's identity be looked up anew, whatever the cache has of it.
const RENEWALS: Rate = Rate::new(20, Duration::from_hours(1));

/// Accounts at the PDS that each one's DID document names.
#[derive(Clone)]
pub struct PdsSource {
    identities: Arc<dyn IdentityResolver>,
    egress: EgressClient,
    hosts: HostTurns,
    renewals: RateLimit<String>,
}

#[derive(Deserialize)]
struct RepoDescription {
    #[serde(default)]
    collections: Vec<String>,
}

#[derive(Deserialize)]
struct RepoStatus {
    active: bool,
    status: Option<String>,
    rev: Option<String>,
}

impl PdsSource {
    /// Asks through `egress`, which is for hosts that others name.
    #[must_use]
    pub fn new(identities: Arc<dyn IdentityResolver>, egress: EgressClient) -> Self {
        Self {
            identities,
            egress,
            hosts: HostTurns::new(),
            renewals: RateLimit::new("index_identities", RENEWALS, real_time()),
        }
    }

    async fn host(&self, did: &Did) -> Result<Url, SourceError> {
        let document = self.identities.resolve_document(did).await.map_err(unresolved)?;
        document
            .service("atproto_pds")
            .or_else(|| document.service("atcr_hold"))
            .ok_or_else(|| SourceError::Unreadable("its document names no server".to_owned()))
    }

    async fn client(&self, did: &Did) -> Result<PdsClient, SourceError> {
        let host = self.host(did).await?;
        self.hosts.turn(&host).await?;
        Ok(PdsClient::new(host, self.egress.clone()))
    }

    /// The answer of `method` about the account; `None` when the server does not have it.
    async fn get<T: DeserializeOwned>(
        &self,
        did: &Did,
        method: &str,
        parameter: &str,
    ) -> Result<Option<T>, SourceError> {
        let mut url = self.host(did).await?;
        self.hosts.turn(&url).await?;
        url.set_path(&format!("/xrpc/{method}"));
        url.query_pairs_mut().clear().append_pair(parameter, did.as_str());
        let limits = Limits {
            max_bytes: MAX_DOCUMENT_BYTES,
            timeout: ANSWER_TIMEOUT,
        };
        let answer = self
            .egress
            .get_within(&url, "application/json", limits)
            .await
            .map_err(later)?;
        if answer.status.is_success() {
            return answer.json().map(Some).map_err(later);
        }
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(self.too_many(&url, &answer.headers));
        }
        let error = XrpcError::from_response(answer.status, &answer.bytes);
        if error.is("RepoNotFound") {
            return Ok(None);
        }
        Err(later(format!("status {} of {method}", answer.status.as_u16())))
    }

    /// The server at `host` said that there were too many requests: it is left alone for as long as it asks.
    fn too_many(&self, host: &Url, headers: &HeaderMap) -> SourceError {
        let pause = PAUSES.of(asked(headers, None));
        self.hosts.leave_alone(host, pause);
        SourceError::Later {
            detail: "its server has had too many requests".to_owned(),
            after: Some(pause),
        }
    }

    /// In the words of the port; the server is left alone for as long as it asks.
    async fn refused(&self, did: &Did, error: PdsError) -> SourceError {
        let after = match &error {
            PdsError::RateLimited { retry_after, .. } => {
                let pause = retry_after.unwrap_or(UNNAMED_PAUSE);
                if let Ok(host) = self.host(did).await {
                    self.hosts.leave_alone(&host, pause);
                }
                Some(pause)
            }
            _ => None,
        };
        SourceError::Later {
            detail: error.to_string(),
            after,
        }
    }
}

fn later(error: impl Display) -> SourceError {
    SourceError::Later {
        detail: error.to_string(),
        after: None,
    }
}

fn unresolved(error: IdentityError) -> SourceError {
    if error.is_not_found() {
        SourceError::Unreadable(error.to_string())
    } else {
        later(error)
    }
}

#[async_trait]
impl AccountSource for PdsSource {
    async fn identity(&self, did: &Did) -> Result<IdentityStep, SourceError> {
        let identity = self.identities.resolve_did(did).await.map_err(unresolved)?;
        Ok(IdentityStep {
            did: did.clone(),
            handle: identity.handle.clone(),
            pds: identity.pds.clone(),
            signing_key: identity.signing_key.as_ref().map(PublicKey::to_multikey),
        })
    }

    async fn forget_identity(&self, did: &Did) {
        if self.renewals.take(&did.to_string()).is_ok() {
            self.identities.invalidate_did(did).await;
        }
    }

    async fn has_records(&self, did: &Did) -> Result<bool, SourceError> {
        let Some(described) = self
            .get::<RepoDescription>(did, nsid::REPO_DESCRIBE_REPO, "repo")
            .await?
        else {
            return Ok(false);
        };
        Ok(described
            .collections
            .iter()
            .any(|collection| collection.parse::<Collection>().is_ok()))
    }

    async fn signing_key(&self, did: &Did, anew: bool) -> Result<Option<PublicKey>, SourceError> {
        let document = if anew {
            self.identities.refresh_document(did).await
        } else {
            self.identities.resolve_document(did).await
        };
        Ok(document.map_err(unresolved)?.signing_key())
    }

    async fn head(&self, did: &Did) -> Result<Head, SourceError> {
        match self.client(did).await?.get_latest_commit(did).await {
            Ok(commit) => Ok(Head::At(commit.rev)),
            Err(error) if error.as_xrpc().is_some() => match self
                .get::<RepoStatus>(did, nsid::SYNC_GET_REPO_STATUS, "did")
                .await?
            {
                None => Ok(Head::Inactive(Status::Deleted)),
                Some(RepoStatus {
                    active: false,
                    status,
                    ..
                }) => Ok(Head::Inactive(Status::of(false, status.as_deref()))),
                Some(RepoStatus { rev: Some(rev), .. }) => rev.parse::<Tid>().map(Head::At).map_err(later),
                Some(RepoStatus { rev: None, .. }) => Err(self.refused(did, error).await),
            },
            Err(error) => Err(self.refused(did, error).await),
        }
    }

    async fn difference(&self, did: &Did, since: &Tid) -> Result<Option<Bytes>, SourceError> {
        let mut url = self.host(did).await?;
        self.hosts.turn(&url).await?;
        url.set_path(&format!("/xrpc/{}", nsid::SYNC_GET_REPO));
        url.query_pairs_mut()
            .clear()
            .append_pair("did", did.as_str())
            .append_pair("since", since.as_str());
        let limits = Limits {
            max_bytes: MAX_DIFFERENCE,
            timeout: DOWNLOAD,
        };
        let answer = self
            .egress
            .get_within(&url, "application/vnd.ipld.car", limits)
            .await;
        match answer {
            Ok(answer) if answer.status.is_success() => Ok(Some(Bytes::copy_from_slice(&answer.bytes))),
            Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
                Err(self.too_many(&url, &answer.headers))
            }
            // The listing tells why, if it is not this method alone.
            Ok(_) | Err(EgressError::TooLarge { .. }) => Ok(None),
            Err(error) => Err(later(error)),
        }
    }

    async fn page(
        &self,
        did: &Did,
        collection: Collection,
        cursor: Option<&str>,
    ) -> Result<SourcePage, SourceError> {
        let client = self.client(did).await?;
        let page = |limit| ListRecords {
            limit: Some(limit),
            cursor,
            reverse: false,
        };
        let listed = match client.list_records(did, collection.nsid(), page(PAGE)).await {
            Err(PdsError::TooLarge { .. }) => {
                client
                    .list_records(did, collection.nsid(), page(SMALL_PAGE))
                    .await
            }
            listed => listed,
        };
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return Err(self.refused(did, error).await),
        };
        let records = listed
            .records
            .into_iter()
            .filter_map(|entry| {
                // What is not of the account's collection is not the account's word.
                let is_own = entry.uri.did().as_ref() == Some(did)
                    && entry.uri.collection() == Some(collection.nsid());
                let rkey = entry.uri.rkey().filter(|_| is_own)?;
                Some(RecordFact::read(did, collection, rkey, entry.cid?, entry.value))
            })
            .collect();
        Ok(SourcePage {
            records,
            cursor: listed.cursor,
            size_bytes: listed.size_bytes,
        })
    }
}
