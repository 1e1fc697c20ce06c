//! What is in a backup.

use atcr_atproto::syntax::{Datetime, Did, Tid};
use atcr_hold_pds::KnownEvent;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::BackupError;

/// The version of everything in a backup.
const FORMAT: u32 = 1;
/// Bytes of a pointer that is read. A hundred parts and a thousand segments take some 200 KB.
pub(super) const MAX_LEN: usize = 16 * 1024 * 1024;

/// The pointer: which objects are the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    format: u32,
    /// Whose repository it is.
    pub did: Did,
    /// Names the log, and the folder of the objects.
    pub log_id: String,
    /// The newest event.
    pub seq: u64,
    /// The newest commit.
    pub rev: Tid,
    /// Whose signature that commit has, as a did:key: a hint for those who restore without that key. Absent in a pointer of an older
    /// version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// When this was written.
    pub at: Datetime,
    /// The content of the repository's own list of files.
    pub manifest: String,
    /// The files.
    pub files: Vec<StoredFile>,
}

/// A file of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredFile {
    /// Its name in the repository's folder.
    pub name: String,
    /// The objects that it consists of, in order.
    pub objects: Vec<Stored>,
}

/// An object and what it has of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// Its name below the log's folder.
    pub object: String,
    /// The first byte.
    pub from: u64,
    /// The byte after the last.
    pub to: u64,
}

impl StoredFile {
    /// How many bytes there are.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.objects.last().map_or(0, |last| last.to)
    }
}

impl Head {
    pub(super) fn new(
        did: Did,
        log_id: String,
        (seq, rev): (u64, Tid),
        signed_by: Option<String>,
        at: Datetime,
        manifest: String,
        files: Vec<StoredFile>,
    ) -> Self {
        Self {
            format: FORMAT,
            did,
            log_id,
            seq,
            rev,
            signed_by,
            at,
            manifest,
            files,
        }
    }

    /// The newest event in the backup.
    #[must_use]
    pub fn newest_event(&self) -> KnownEvent {
        KnownEvent {
            log_id: self.log_id.clone(),
            seq: self.seq,
        }
    }

    pub(super) fn encode(&self) -> Result<Bytes, BackupError> {
        serde_json::to_vec(self)
            .map(Bytes::from)
            .map_err(|error| BackupError::Damaged {
                what: format!("its list does not encode: {error}"),
            })
    }

    /// Reads a pointer. Names in it are safe to use as names of files, and the parts of each file follow each other.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BackupError> {
        let damaged = |what: &str| BackupError::Damaged {
            what: what.to_owned(),
        };
        let head: Self = serde_json::from_slice(bytes).map_err(|_| damaged("its list does not parse"))?;
        if head.format != FORMAT {
            return Err(damaged("its list is of another version"));
        }
        let is_plain = |name: &str| {
            !name.is_empty()
                && !name.starts_with('.')
                && name.len() <= 128
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
        };
        let is_whole = |file: &StoredFile| {
            let mut end = 0;
            file.objects.iter().all(|part| {
                let follows = part.from == end && part.to > end;
                end = part.to;
                follows && part.object.split('/').all(is_plain)
            })
        };
        let is_file = |file: &StoredFile| {
            let extension = file.name.rsplit_once('.').map(|(_, extension)| extension);
            is_plain(&file.name) && matches!(extension, Some("seg" | "car")) && is_whole(file)
        };
        if !is_plain(&head.log_id) || !head.files.iter().all(is_file) {
            return Err(damaged("its list names what cannot be"));
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, parts: &[(u64, u64)]) -> Head {
        let part = |(from, to): &(u64, u64)| Stored {
            object: format!("log/{name}.{from}-{to}"),
            from: *from,
            to: *to,
        };
        let file = StoredFile {
            name: name.to_owned(),
            objects: parts.iter().map(part).collect(),
        };
        Head::new(
            "did:web:hold.test".parse().expect("a DID"),
            "00ff".to_owned(),
            (7, "3lcaaaaaaaa22".parse().expect("a TID")),
            None,
            "2026-11-30T00:00:00.000Z".parse().expect("a time"),
            "manifest".to_owned(),
            vec![file],
        )
    }

    #[test]
    fn names_that_lead_elsewhere_and_parts_with_gaps_are_refused() {
        let good = head("0000000001.seg", &[(0, 512), (512, 700)]);
        assert_eq!(
            Head::decode(&good.encode().expect("encodes")).expect("good"),
            good
        );
        for bad in [
            head("../0000000001.seg", &[(0, 512)]),
            head(".seg", &[(0, 512)]),
            head("lock", &[(0, 512)]),
            head("0000000001.seg", &[(0, 512), (600, 700)]),
            head("0000000001.seg", &[(512, 700)]),
            head("0000000001.seg", &[(0, 512), (512, 512)]),
        ] {
            let bytes = bad.encode().expect("encodes");
            assert!(Head::decode(&bytes).is_err(), "{bad:?}");
        }
    }
}
