//! Whether what a pointer names is in the place: rules of a bucket, other programs and people remove objects.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{BackupError, BackupStore, Head, account};

/// Names of one log that are listed. A pointer names some hundreds; what could not be removed comes on top.
const MAX_NAMES: usize = 50_000;

/// What is there, compared with what a pointer names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Files of which an object is missing, or is not as long as it should be.
    pub incomplete: BTreeSet<String>,
    /// Full names of objects of the same log that are not named: a process that ended before it wrote its pointer has left them.
    pub unnamed: BTreeSet<String>,
}

/// The files of `head` of which an object is missing, or is not as long as it should be.
///
/// # Errors
/// The store's.
pub async fn incomplete(store: &dyn BackupStore, head: &Head) -> Result<BTreeSet<String>, BackupError> {
    Ok(compare(store, head).await?.incomplete)
}

/// Compares what is there with what `head` names.
///
/// # Errors
/// The store's.
pub async fn compare(store: &dyn BackupStore, head: &Head) -> Result<Compared, BackupError> {
    let folder = format!("{}/{}", account(&head.did), head.log_id);
    let listed = store.list(&folder, MAX_NAMES).await?;
    let there: HashMap<&str, u64> = listed
        .iter()
        .map(|listed| (&*listed.name, listed.bytes))
        .collect();
    let full = |object: &str| format!("{folder}/{object}");
    let is_incomplete = |file: &&super::StoredFile| {
        let mut parts = file.objects.iter();
        !parts.all(|part| there.get(&*full(&part.object)) == Some(&(part.to - part.from)))
    };
    let files = head.files.iter();
    let named: HashSet<String> = files
        .clone()
        .flat_map(|file| &file.objects)
        .map(|part| full(&part.object))
        .collect();
    let unnamed = there.keys().filter(|name| !named.contains(**name));
    Ok(Compared {
        incomplete: files
            .filter(is_incomplete)
            .map(|file| file.name.clone())
            .collect(),
        unnamed: unnamed.map(|name| (*name).to_owned()).collect(),
    })
}
