//! Why a scan gave no result. The text of each error begins with its class, which tells a hold whether another try can help.

use std::io;

/// What a tool took too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Resident memory.
    Memory,
    /// Time.
    Time,
    /// Files below the job's folder.
    Disk,
}

impl Resource {
    const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Time => "time",
            Self::Disk => "disk",
        }
    }
}

/// Why a scan gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A manifest or layer could not be fetched.
    #[error("fetch: {0}")]
    Fetch(String),
    /// The vulnerability database does not work.
    #[error("db: {0}")]
    Database(String),
    /// The scanner is asked to stop.
    #[error("shutdown: the scanner stops")]
    Shutdown,
    /// Bytes do not hash to the digest, or have not the size, under which they were named.
    #[error("digest-mismatch: {0}")]
    DigestMismatch(String),
    /// Something that calls itself an image and is none that can be read.
    #[error("media-type: {0}")]
    MediaType(String),
    /// More than is looked at.
    #[error("too-large:{what}: {detail}")]
    TooLarge {
        /// What there is too much of, in one word.
        what: &'static str,
        /// The bound that it exceeds.
        detail: String,
    },
    /// A tool was ended at a limit.
    #[error("limit:{}: {tool} was ended at {bound}", resource.word())]
    Limit {
        /// Which limit.
        resource: Resource,
        /// The tool.
        tool: &'static str,
        /// The limit, for people.
        bound: String,
    },
    /// A tool failed.
    #[error("tool: {tool}: {detail}")]
    Tool {
        /// The tool.
        tool: &'static str,
        /// Its last words.
        detail: String,
    },
    /// A document is longer than a hold takes.
    #[error("result-too-large: {what} has more than {limit} bytes")]
    ResultTooLarge {
        /// The document.
        what: &'static str,
        /// The bound in bytes.
        limit: usize,
    },
    /// The scanner's own folder does not work.
    #[error("scanner: {doing}")]
    Workspace {
        /// What it was about to do.
        doing: String,
        /// Why it could not.
        #[source]
        source: io::Error,
    },
}

impl ScanError {
    /// The class, as a hold is told: `too-large:entries`, `limit:memory`, `fetch`.
    #[must_use]
    pub fn class(&self) -> String {
        match self {
            Self::Fetch(_) => "fetch".to_owned(),
            Self::Database(_) => "db".to_owned(),
            Self::Shutdown => "shutdown".to_owned(),
            Self::DigestMismatch(_) => "digest-mismatch".to_owned(),
            Self::MediaType(_) => "media-type".to_owned(),
            Self::TooLarge { what, .. } => format!("too-large:{what}"),
            Self::Limit { resource, .. } => format!("limit:{}", resource.word()),
            Self::Tool { .. } => "tool".to_owned(),
            Self::ResultTooLarge { .. } => "result-too-large".to_owned(),
            Self::Workspace { .. } => "scanner".to_owned(),
        }
    }

    pub(crate) fn too_large(what: &'static str, detail: impl Into<String>) -> Self {
        Self::TooLarge {
            what,
            detail: detail.into(),
        }
    }

    pub(crate) fn workspace(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Workspace { doing, source }
    }

    /// The error that travelled through a reader, or the reader's own.
    pub(crate) fn from_reader(error: io::Error, otherwise: impl FnOnce(io::Error) -> Self) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => otherwise(error),
        }
    }
}

impl From<ScanError> for io::Error {
    fn from(error: ScanError) -> Self {
        Self::other(error)
    }
}
