//! Stats records: how often a repository was pushed to and pulled from this hold.

use std::collections::HashMap;

use atcr_atproto::lexicon::stats::{self, StatsRecord};
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::syntax::{Did, RecordKey};

use crate::error::RepoError;
use crate::repo::HoldRepo;
use crate::writer::RecordWrite;

/// Records read at once while looking for [`StrangeKeys`].
const PAGE: usize = 500;

/// The counts that other implementations of a hold wrote, by owner and repository: records under a key that this version
/// would not choose. Such a record stays in use, so that a repository has only one.
#[derive(Clone, Debug, Default)]
pub struct StrangeKeys(HashMap<(Did, String), RecordKey>);

impl StrangeKeys {
    /// Reads every stats record once. Malformed records are skipped.
    ///
    /// # Errors
    /// The repository's.
    pub async fn find(repo: &HoldRepo) -> Result<Self, RepoError> {
        let mut strange = HashMap::new();
        let mut cursor = None;
        loop {
            let page = repo
                .list_records(nsid::HOLD_STATS, PAGE, cursor.as_deref(), true)
                .await?;
            for stored in page.records {
                let Some(key) = stored.uri.rkey() else { continue };
                let Ok(record) = StatsRecord::from_value(stored.value) else {
                    continue;
                };
                if key != stats::rkey(&record.owner_did, &record.repository)? {
                    strange.insert((record.owner_did, record.repository), key);
                }
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(Self(strange));
            }
        }
    }

    fn get(&self, owner: &Did, repository: &str) -> Option<&RecordKey> {
        // Almost every hold has none, and then nothing is allocated for the look.
        (!self.0.is_empty())
            .then(|| self.0.get(&(owner.clone(), repository.to_owned())))
            .flatten()
    }
}

/// The counts of `owner`'s `repository` and their key; `None` if nothing was counted yet.
///
/// # Errors
/// The repository's.
pub async fn get(
    repo: &HoldRepo,
    strange: &StrangeKeys,
    owner: &Did,
    repository: &str,
) -> Result<Option<(RecordKey, StatsRecord)>, RepoError> {
    let own = stats::rkey(owner, repository)?;
    for key in std::iter::once(&own).chain(strange.get(owner, repository)) {
        if let Some(stored) = repo.get_record(nsid::HOLD_STATS, key.as_str()).await? {
            match StatsRecord::from_value(stored.value) {
                Ok(record) => return Ok(Some((key.clone(), record))),
                // The next publication replaces it.
                Err(error) => {
                    tracing::warn!(rkey = key.as_str(), %error, "a record of counts cannot be read");
                }
            }
        }
    }
    Ok(None)
}

/// The key of counts that are new.
///
/// # Errors
/// None in practice.
pub fn new_key(record: &StatsRecord) -> Result<RecordKey, RepoError> {
    Ok(stats::rkey(&record.owner_did, &record.repository)?)
}

/// The write that deletes the counts under `key`.
///
/// # Errors
/// None in practice.
pub fn delete(key: RecordKey) -> Result<RecordWrite, RepoError> {
    Ok(RecordWrite::Delete {
        collection: nsid::HOLD_STATS.parse()?,
        rkey: key,
    })
}

/// The write that puts `record` under `key`.
///
/// # Errors
/// None in practice.
pub fn write(key: RecordKey, record: &StatsRecord) -> Result<RecordWrite, RepoError> {
    RecordWrite::put(key, record)
}
