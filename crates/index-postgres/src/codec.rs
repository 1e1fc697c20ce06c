//! Values as they are in the tables, and as PostgreSQL takes them.

pub(crate) use atcr_index::stored::{
    annotations, cid, cid_bytes, count, coverage, did, digest, digest_bytes, hex, instant, integer, kind,
    micros, seen_micros, some_cid, some_did, some_digest, some_digest_bytes, some_handle, some_instant,
    status, strings,
};

/// A text as PostgreSQL takes it: none has a NUL there, so a record's is shown as a character that cannot be.
pub(crate) fn text(text: &str) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text.to_owned()
    }
}
