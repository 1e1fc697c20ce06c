//! Why an upload cannot begin or go on.

use std::time::Duration;

use atcr_oci::UploadSessionId;

/// What is wrong with an upload session, or with how many there are.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UploadError {
    /// No such upload session: never was, expired, or another account's.
    #[error("upload {session} is not known; start the upload again")]
    Unknown {
        /// The session asked for.
        session: UploadSessionId,
    },
    /// The upload cannot go on.
    #[error("the upload cannot be continued: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// Another request is writing to this session.
    #[error("another request is writing to this upload")]
    Busy,
    /// A chunk does not begin where the last one ended.
    #[error("the chunk begins at {given}, {received} bytes were received")]
    ChunkOutOfOrder {
        /// The session, for the `Location` of the answer.
        session: UploadSessionId,
        /// The offset the client gave.
        given: u64,
        /// The bytes received so far.
        received: u64,
    },
    /// The account has more unfinished uploads than it may have.
    #[error(
        "the account has {most} unfinished uploads; finish or cancel some, or wait until they expire, and try again in {} s",
        retry_after.as_secs()
    )]
    TooMany {
        /// How many it may have.
        most: u32,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The account's unfinished uploads take all the room here that one account may have.
    #[error(
        "the account's unfinished uploads take {limit} bytes here, which is all it may have; finish or cancel some and try again in {} s",
        retry_after.as_secs()
    )]
    SpoolQuota {
        /// Bytes that an account may have.
        limit: u64,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The unfinished uploads of all accounts take all the room there is.
    #[error("there is no room for more uploads now; try again in {} s", retry_after.as_secs())]
    SpoolFull {
        /// How long to wait.
        retry_after: Duration,
    },
}
