//! Whether what a pointer names is in the place: rules of a bucket, other programs and people remove objects.

use std::collections::{BTreeSet, HashMap};

use super::{BackupError, BackupStore, Head, account};

/// Names of one log that are listed. A pointer names some hundreds; what could not be removed comes on top.
const MAX_NAMES: usize = 50_000;

/// The files of `head` of which an object is missing, or is not as long as it should be.
///
/// # Errors
/// The store's.
pub async fn incomplete(store: &dyn BackupStore, head: &Head) -> Result<BTreeSet<String>, BackupError> {
    let folder = format!("{}/{}", account(&head.did), head.log_id);
    let listed = store.list(&folder, MAX_NAMES).await?;
    let there: HashMap<&str, u64> = listed
        .iter()
        .map(|listed| (&*listed.name, listed.bytes))
        .collect();
    let is_there = |object: &str, bytes: u64| there.get(&*format!("{folder}/{object}")) == Some(&bytes);
    let is_incomplete = |file: &&super::StoredFile| {
        let mut parts = file.objects.iter();
        !parts.all(|part| is_there(&part.object, part.to - part.from))
    };
    let files = head.files.iter().filter(is_incomplete);
    Ok(files.map(|file| file.name.clone()).collect())
}
