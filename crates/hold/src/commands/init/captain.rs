//! Who the captain is: a handle or a DID, as the network knows it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::pds::PdsClient;
use atcr_atproto::syntax::{AtIdentifier, Did, RecordKey};
use url::Url;

use crate::compose::network_resolver;
use crate::settings::HoldSettings;

/// How long the account's server may take for the name.
const NAME_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of a profile that is read, and characters of a name that is shown.
const MAX_PROFILE: usize = 64 * 1024;
const MAX_NAME: usize = 100;
/// Bytes of what somebody types.
const MAX_TYPED: usize = 512;
/// Where accounts keep their names.
const PROFILE: &str = "app.bsky.actor.profile";

/// An account that was looked up.
#[derive(Clone, Debug)]
pub(super) struct Captain {
    pub(super) did: Did,
    handle: Option<String>,
    name: Option<String>,
    server: Option<String>,
}

impl fmt::Display for Captain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.handle.as_deref().unwrap_or("an account without a handle"))?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        write!(f, ", {}", self.did)?;
        match &self.server {
            Some(server) => write!(f, ", at {server}"),
            None => Ok(()),
        }
    }
}

/// What was typed, if it can be a name at all.
pub(super) fn parse(typed: &str) -> Result<AtIdentifier, String> {
    let name = typed.trim();
    let name = name.strip_prefix("at://").unwrap_or(name);
    let name = name.strip_prefix('@').unwrap_or(name);
    let lower = name.to_lowercase();
    let name = if name.starts_with("did:") { name } else { &lower };
    Some(name)
        .filter(|name| name.len() <= MAX_TYPED)
        .and_then(|name| name.parse().ok())
        .ok_or_else(|| "must be a handle, like alice.example.com, or a DID".to_owned())
}

/// Asks the network, as the hold itself will.
///
/// # Errors
/// A sentence that says why there is no such account, or why nobody can tell.
pub(super) async fn look_up(settings: &HoldSettings, who: &AtIdentifier) -> Result<Captain, String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let egress =
        EgressClient::new(EgressPolicy::of_server(settings.test_mode)).map_err(|error| error.detail())?;
    let resolver =
        network_resolver(settings, egress.clone(), &clock).map_err(|error| format!("{error:#}"))?;
    let account = resolver.resolve(who).await.map_err(|error| {
        if error.is_transient() {
            format!("{who} cannot be looked up now: {error}. With a DID, --no-lookup takes it as it is")
        } else {
            format!("no account has the name {who}: {error}")
        }
    })?;
    let name = match &account.pds {
        Some(pds) => name_of(&account.did, pds, egress).await,
        None => None,
    };
    Ok(Captain {
        did: account.did.clone(),
        handle: account.handle.as_ref().map(ToString::to_string),
        name,
        server: account.pds.as_ref().and_then(Url::host_str).map(str::to_owned),
    })
}

/// The name that the account gives itself, if its server says in time.
async fn name_of(did: &Did, pds: &Url, egress: EgressClient) -> Option<String> {
    let client = PdsClient::new(pds.clone(), egress)
        .with_timeout(NAME_WITHIN)
        .with_max_answer(MAX_PROFILE);
    let rkey = RecordKey::literal_self();
    let record = client.get_record(did, PROFILE, &rkey).await.ok()??;
    let name = record.value.get("displayName")?.as_str()?.trim();
    let shown = name.chars().filter(|character| !character.is_control());
    let shown: String = shown.take(MAX_NAME).collect();
    (!shown.is_empty()).then_some(shown)
}
