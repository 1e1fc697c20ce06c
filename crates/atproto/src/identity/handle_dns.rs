//! Handle to DID by the TXT record `_atproto.<handle>`.

use super::dns::{TxtLookup, TxtLookupError};
use crate::syntax::{Did, Handle};

/// What the TXT records say: a DID, or nothing usable (no record, several that disagree, not a DID).
///
/// # Spec
/// atproto specs "Handle", DNS TXT method.
pub(super) async fn resolve(dns: &dyn TxtLookup, handle: &Handle) -> Result<Option<Did>, TxtLookupError> {
    let records = dns.txt(&format!("_atproto.{handle}")).await?;
    let mut claimed = records
        .iter()
        .filter_map(|record| record.trim().strip_prefix("did="))
        .collect::<Vec<_>>();
    claimed.dedup();
    Ok(match claimed.as_slice() {
        [did] => did.trim().parse().ok(),
        _ => None,
    })
}
