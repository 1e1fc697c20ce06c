//! Values as they are in the tables, and as SQLite's JSON has them.

use atcr_atproto::syntax::Cid;
use atcr_oci::Digest;
use serde_json::Value;

pub(crate) use atcr_index::stored::{
    annotations, cid, count, coverage, did, digest, digest_bytes, hex, instant, integer, kind, micros,
    seen_micros, some_cid, some_did, some_digest, some_handle, some_instant, status, strings,
};

/// A digest in hexadecimal, for `unhex` in a statement; empty for none.
pub(crate) fn digest_hex(digest: Option<&Digest>) -> String {
    digest
        .map(|digest| hex(&digest_bytes(digest)))
        .unwrap_or_default()
}

/// The same of a CID.
pub(crate) fn cid_hex(cid: Option<&Cid>) -> String {
    cid.map(|cid| hex(&cid.to_bytes())).unwrap_or_default()
}

/// Rows as the one parameter of a statement.
pub(crate) fn rows(rows: &[Value]) -> String {
    // Values always serialise.
    serde_json::to_string(rows).unwrap_or_else(|_| "[]".to_owned())
}

/// The sum of a column of counts, capped: `sum` alone fails where it is more than a number has room for. Its upper and lower halves are
/// added apart.
macro_rules! capped_sum {
    ($counts:literal) => {
        concat!(
            "min((min(sum((",
            $counts,
            ") >> 32), 1 << 30) << 32) + sum((",
            $counts,
            ") & 4294967295), 1 << 62)"
        )
    };
}

pub(crate) use capped_sum;
