//! How a scan ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a scan ended; ours, an original scanner says only whether it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScanState {
    /// Packages were listed and looked up.
    Complete,
    /// Some kinds of packages were left out, since looking for them took too much.
    Partial,
    /// Packages were listed; there was no vulnerability database.
    SbomOnly,
    /// Not an image.
    NotApplicable,
    /// There is no result.
    Failed,
}

impl ScanState {
    /// The wire's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::SbomOnly => "sbom-only",
            Self::NotApplicable => "not-applicable",
            Self::Failed => "failed",
        }
    }

    /// The state with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [
            Self::Complete,
            Self::Partial,
            Self::SbomOnly,
            Self::NotApplicable,
            Self::Failed,
        ];
        all.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether findings were counted.
    #[must_use]
    pub const fn has_counts(self) -> bool {
        matches!(self, Self::Complete | Self::Partial)
    }
}

impl fmt::Display for ScanState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a scan failed, in one word: what an `errorClass` starts with, up to a colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// A manifest or layer could not be fetched.
    Fetch,
    /// The vulnerability database does not work.
    Db,
    /// The scanner ends.
    Shutdown,
    /// Bytes do not hash to their digest.
    DigestMismatch,
    /// A media type that says image and is none that can be read.
    MediaType,
    /// More than the scanner takes: `too-large:entries`.
    TooLarge,
    /// A limit of memory, time or disk ended a tool: `limit:memory`.
    Limit,
    /// A tool failed.
    Tool,
    /// A document has more than 100 MiB.
    ResultTooLarge,
    /// A word that is not known, or none.
    Other,
}

impl FailureClass {
    /// The class of an `errorClass`.
    #[must_use]
    pub fn of(error_class: Option<&str>) -> Self {
        let all = [
            Self::Fetch,
            Self::Db,
            Self::Shutdown,
            Self::DigestMismatch,
            Self::MediaType,
            Self::TooLarge,
            Self::Limit,
            Self::Tool,
            Self::ResultTooLarge,
        ];
        let word = error_class.map(|class| class.split_once(':').map_or(class, |(word, _)| word));
        let known = |word| all.into_iter().find(|class: &Self| class.as_str() == word);
        word.and_then(known).unwrap_or(Self::Other)
    }

    /// The wire's word; empty for [`Self::Other`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Db => "db",
            Self::Shutdown => "shutdown",
            Self::DigestMismatch => "digest-mismatch",
            Self::MediaType => "media-type",
            Self::TooLarge => "too-large",
            Self::Limit => "limit",
            Self::Tool => "tool",
            Self::ResultTooLarge => "result-too-large",
            Self::Other => "",
        }
    }

    /// Whether another try may end otherwise without a change of the image or the scanner.
    #[must_use]
    pub const fn is_worth_retrying(self) -> bool {
        matches!(self, Self::Fetch | Self::Db | Self::Shutdown | Self::Other)
    }
}

/// What a hold does with a manifest that may have to be scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It waits for a scanner.
    Ready,
    /// It failed, and waits for another try.
    Resting,
    /// A scanner has it.
    Running,
    /// There is a result.
    Done,
    /// It failed for good, or too often.
    Failed,
    /// It is no image.
    NotApplicable,
}

impl JobState {
    /// The table's and the API's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Resting => "resting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::NotApplicable => "not-applicable",
        }
    }

    /// The state with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [
            Self::Ready,
            Self::Resting,
            Self::Running,
            Self::Done,
            Self::Failed,
            Self::NotApplicable,
        ];
        all.into_iter().find(|state| state.as_str() == word)
    }
}
