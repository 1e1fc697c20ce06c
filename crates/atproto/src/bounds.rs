//! Every bound that holds for what others name: PDSes, identity documents, holds, their answers and their times.
//!
//! A peer chooses numbers, lists, sizes and times freely; whatever it chooses, the memory, the disk and the time that it
//! costs end at a number of this file. What is beyond is refused where it is read, unless the entry says that it is clamped.
//! Bounds of authorization servers and of tokens are in `atcr_auth::bounds`.
//!
//! | Peer names | Bound | Beyond |
//! |---|---|---|
//! | an answer's length | [`MAX_ANSWER_BYTES`], [`MAX_DOCUMENT_BYTES`], [`MAX_HANDLE_BYTES`], [`MAX_ERROR_BYTES`] | refused |
//! | depth and number of JSON values | [`MAX_JSON_DEPTH`], [`MAX_JSON_COST_FACTOR`] | refused |
//! | length and number of values of a record's block | [`MAX_RECORD_BYTES`], [`MAX_RECORD_COST_FACTOR`] | refused |
//! | records in a page, its cursor | [`MAX_PAGE_RECORDS`], [`MAX_CURSOR_BYTES`] | refused |
//! | `Retry-After`, rate-limit resets | [`MAX_RETRY_AFTER`] | clamped |
//! | entries of a DID document | [`MAX_DOCUMENT_ENTRIES`] | the rest is ignored |
//! | addresses of a host name | [`MAX_ADDRESSES`] | the rest is ignored |
//! | TXT records of a handle | [`MAX_TXT_RECORDS`] | the rest is ignored |
//! | redirects of a document | [`MAX_REDIRECTS`] | refused |
//! | part sizes of a hold's store | [`MIN_PART_SIZE_LIMIT`], [`MAX_PART_SIZE_LIMIT`] | see [`StoreTraits::bounded`] |
//! | URLs, headers and upload ids of a hold | [`MAX_URL_BYTES`], [`MAX_TARGET_HEADERS`], [`MAX_HEADER_BYTES`], [`MAX_UPLOAD_ID_BYTES`] | refused |
//! | a DPoP nonce | [`MAX_NONCE_BYTES`] | ignored |
//! | any instant | the calendar, by [`crate::clock::instant`] and [`crate::clock::moved`] | clamped |
//! | how slowly it answers | [`ANSWER_TIMEOUT`], [`DOCUMENT_TIMEOUT`], [`CONNECT_TIMEOUT`], [`ANSWER_PACE`], [`HOST_LIMIT`] | given up |
//! | all answers at once | [`ANSWER_MEMORY_BYTES`] | waits, then refused |
//!
//! [`StoreTraits::bounded`]: crate::lexicon::hold_upload::StoreTraits::bounded

use std::time::Duration;

use crate::egress::{HostLimit, Pace};

// Memory.

/// Bytes that all answers may take together, 48 MiB: half for bodies that arrive, half for what is made of them, and a quarter of
/// each half for one host at most.
pub const ANSWER_MEMORY_BYTES: usize = 48 * 1024 * 1024;

/// How slowly a body may come once it takes part of that: a host that answers in drops would keep it from others.
pub const ANSWER_PACE: Pace = Pace {
    grace: Duration::from_secs(3),
    bytes_per_second: 32 * 1024,
};

/// Bytes of an answer that are read without a part of the budget, 8 KiB: about what its connection costs anyway.
pub const FREE_ANSWER_BYTES: usize = 8 * 1024;

/// What parsing a JSON text may take, as a multiple of its length. An image index, the densest usual document, takes nine times
/// its length.
pub const MAX_JSON_COST_FACTOR: usize = 12;

/// What reading a record's block may take, as a multiple of its length. DAG-CBOR is shorter than JSON for the same values: a manifest's
/// record takes up to twelve times its length.
pub const MAX_RECORD_COST_FACTOR: usize = 16;

/// Longest record that is read from a block, 1 MiB: what a PDS takes.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// The memory that parsing a short JSON text may take regardless of its length, 64 KiB.
pub const SMALL_JSON_COST: usize = 64 * 1024;

/// Objects and lists inside each other. The data model has the same bound.
pub const MAX_JSON_DEPTH: usize = crate::data_model::MAX_DEPTH;

// Lengths.

/// Longest JSON answer of a PDS or hold, 1.5 MiB: a record of the 1 MiB that a PDS takes, as JSON.
pub const MAX_ANSWER_BYTES: usize = 1536 * 1024;

/// Longest identity document or other small answer, 512 KiB.
pub const MAX_DOCUMENT_BYTES: usize = 512 * 1024;

/// Longest answer of `/.well-known/atproto-did`, 4 KiB: a DID has at most 2048 bytes.
pub const MAX_HANDLE_BYTES: usize = 4096;

/// Bytes of an error answer to a download that are read, 16 KiB.
pub const MAX_ERROR_BYTES: u64 = 16 * 1024;

/// Characters of an error's message that are kept.
pub const MAX_ERROR_MESSAGE_CHARS: usize = 512;

/// Characters of an error's name that are kept.
pub const MAX_ERROR_NAME_CHARS: usize = 128;

/// Longest DPoP nonce that is sent back.
pub const MAX_NONCE_BYTES: usize = 1024;

/// Longest URL that a hold or its store names, 8 KiB: a presigned URL with a session token has 2 KiB, and servers refuse longer
/// request lines.
pub const MAX_URL_BYTES: usize = 8 * 1024;

/// Longest upload id of a hold, in bytes. S3's own have a few hundred.
pub const MAX_UPLOAD_ID_BYTES: usize = 2048;

/// Longest name or value of a header that a hold asks for.
pub const MAX_HEADER_BYTES: usize = 4096;

/// Longest cursor that is sent back.
pub const MAX_CURSOR_BYTES: usize = 2048;

// Numbers.

/// Records in one page: the most that the method lets a caller ask for.
pub const MAX_PAGE_RECORDS: usize = 100;

/// The most names, keys and services of a DID document that are read, of each kind.
pub const MAX_DOCUMENT_ENTRIES: usize = 64;

/// Addresses of a host name that are tried.
pub const MAX_ADDRESSES: usize = 16;

/// The most TXT records of a handle that are read.
pub const MAX_TXT_RECORDS: usize = 64;

/// Redirects of a document that are followed.
pub const MAX_REDIRECTS: usize = 3;

/// Headers that a hold may ask for with a part.
pub const MAX_TARGET_HEADERS: usize = 32;

/// Highest number of a part, which is S3's.
pub const MAX_PART_NUMBER: u32 = 10_000;

/// The largest smallest part of a store, 64 MiB. Parts up to the smallest are collected here before they are sent; S3 and all its
/// likes ask for 5 MiB.
pub const MIN_PART_SIZE_LIMIT: u64 = 64 * 1024 * 1024;

/// The largest part that is sent, even if the store takes larger ones: 5 GiB, S3's limit.
pub const MAX_PART_SIZE_LIMIT: u64 = 5 * 1024 * 1024 * 1024;

// Times.

/// One call of a PDS or hold as a whole.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A small document as a whole: name look-up, connection, redirects and body.
pub const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(3);

/// Opening a connection, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest that a server may ask to be left alone. Clamped.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Requests to one host that others named. Enough for a PDS of many thousand accounts; a host that answers nothing costs no more
/// than these.
pub const HOST_LIMIT: HostLimit = HostLimit {
    in_flight: 128,
    waiting: 512,
    patience: Duration::from_secs(5),
};
