//! Why something of the admin site did not work.

use atcr_hold_pds::RepoError;
use atcr_server::rate_limit::Limited;
use atcr_sessions::oauth::OAuthFlowError;

use super::import::Unfinished;
use crate::administration::AdministrationError;
use crate::manifests::CountsError;
use crate::scanning::ScanTableError;

/// Why a table of the admin site failed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The database failed.
    #[error("the admin site's tables cannot be read or written")]
    Database(#[from] sqlx::Error),
    /// A row is not what was written.
    #[error("{column} has an unexpected value")]
    Corrupt {
        /// Where.
        column: &'static str,
    },
}

/// Why the captain does not get what they asked for.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The account is not the captain's.
    #[error("only the captain may use this site")]
    NotCaptain {
        /// The handle or DID of who tried.
        account: String,
    },
    /// The sign-in did not come about.
    #[error(transparent)]
    SignIn(#[from] OAuthFlowError),
    /// Too often.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// There is no such member.
    #[error("there is no such member")]
    NoMember,
    /// The captain's own record stays.
    #[error("the captain stays a member with every permission")]
    CaptainStays,
    /// What was asked for cannot be; the sentence says why.
    #[error("{0}")]
    Refused(String),
    /// The record was not written.
    #[error(transparent)]
    Crew(AdministrationError),
    /// An import stopped on its way.
    #[error(transparent)]
    Import(Unfinished),
    /// The repository failed.
    #[error("the records cannot be read or written")]
    Repo(#[from] RepoError),
    /// The site's tables failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The table of scans failed.
    #[error(transparent)]
    Scans(#[from] ScanTableError),
    /// The table of counts failed.
    #[error(transparent)]
    Counts(#[from] CountsError),
}

impl From<AdministrationError> for AdminError {
    fn from(error: AdministrationError) -> Self {
        match error {
            AdministrationError::Repo(error) => Self::Repo(error),
            error => Self::Crew(error),
        }
    }
}
