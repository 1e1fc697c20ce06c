//! The collections that are indexed.

use std::fmt;
use std::str::FromStr;

use atcr_atproto::lexicon::nsid;

/// A collection whose records are indexed. A hold's layer records are not: they repeat what manifests say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// `io.atcr.manifest`
    Manifest,
    /// `io.atcr.tag`
    Tag,
    /// `io.atcr.repo.page`
    RepoPage,
    /// `io.atcr.sailor.profile`
    Profile,
    /// `io.atcr.sailor.star`
    Star,
    /// `io.atcr.hold.captain`
    Captain,
    /// `io.atcr.hold.crew`
    Crew,
    /// `io.atcr.hold.stats`
    Stats,
    /// `io.atcr.hold.scan`
    Scan,
}

impl Collection {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Manifest,
        Self::Tag,
        Self::RepoPage,
        Self::Profile,
        Self::Star,
        Self::Captain,
        Self::Crew,
        Self::Stats,
        Self::Scan,
    ];

    /// Its name in the network.
    #[must_use]
    pub const fn nsid(self) -> &'static str {
        match self {
            Self::Manifest => nsid::MANIFEST,
            Self::Tag => nsid::TAG,
            Self::RepoPage => nsid::REPO_PAGE,
            Self::Profile => nsid::SAILOR_PROFILE,
            Self::Star => nsid::SAILOR_STAR,
            Self::Captain => nsid::HOLD_CAPTAIN,
            Self::Crew => nsid::HOLD_CREW,
            Self::Stats => nsid::HOLD_STATS,
            Self::Scan => nsid::HOLD_SCAN,
        }
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.nsid())
    }
}

/// A collection that is not indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an indexed collection")]
pub struct NotIndexed;

impl FromStr for Collection {
    type Err = NotIndexed;

    fn from_str(text: &str) -> Result<Self, NotIndexed> {
        Self::ALL
            .into_iter()
            .find(|collection| collection.nsid() == text)
            .ok_or(NotIndexed)
    }
}
