//! `verify`: whether an image is its author's, asked of the author's own server and not of the registry.
//!
//! - [`image_name`]: what the user named
//! - [`network`]: the account's document, and the evidence from its PDS, through the guarded client
//! - [`proof_file`]: evidence kept in a file, and what it is believed by
//! - [`policy`]: who may sign what
//! - [`coverage`]: what the proven bytes name
//! - [`blobs`]: what the registry has, hashed
//! - [`report`]: what is said about it
//!
//! What is proven is decided by `atcr_repo::provenance`.

pub mod blobs;
pub mod coverage;
pub mod image_name;
pub mod network;
pub mod policy;
pub mod proof_file;
pub mod report;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use atcr_atproto::egress::EgressError;
use atcr_atproto::identity::IdentityError;
use atcr_atproto::pds::PdsError;
use atcr_atproto::syntax::{Did, Handle};
use atcr_oci::Digest;
use atcr_repo::provenance::{GatherError, Refusal};
use thiserror::Error;

use self::image_name::InvalidImageName;
use crate::printer::plain;

/// An image that is not its author's, as far as the evidence goes.
#[derive(Debug, Error)]
pub enum Refused {
    /// The evidence does not prove it.
    #[error(transparent)]
    Evidence(#[from] Refusal),
    /// There is no such account.
    #[error(transparent)]
    Identity(IdentityError),
    /// The account in the file is another than the one that was named.
    #[error("the file is of {found}, which is not the account that was named")]
    OtherAccount {
        /// The file's.
        found: Did,
    },
    /// The account's document does not claim the handle that was named.
    #[error("the DID document of {did} does not claim the handle {handle}")]
    HandleNotClaimed {
        /// The account.
        did: Did,
        /// As named.
        handle: Handle,
    },
    /// A file was believed as to the account's handle.
    #[error(
        "a file cannot prove a handle: name the account by its DID, or give --policy. The file is of {found}"
    )]
    HandleNotProven {
        /// The file's account.
        found: Did,
    },
    /// The operations of the DID in the file do not prove its key.
    #[error(transparent)]
    Operations(#[from] atcr_atproto::plc::LogError),
    /// The policy does not allow the signer.
    #[error("the policy does not allow {signer} to sign {}: {reason}", plain(image))]
    Policy {
        /// Identity and repository.
        image: String,
        /// Who signed.
        signer: Did,
        /// Which rule.
        reason: String,
    },
    /// A blob or child manifest has other bytes than its digest says.
    #[error("{digest} has other bytes at the registry")]
    BlobDiffers {
        /// What the proven manifest names.
        digest: Digest,
    },
}

impl Refused {
    /// A name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Evidence(refusal) => refusal.code(),
            Self::Identity(_) => "no_such_account",
            Self::OtherAccount { .. } => "another_account",
            Self::HandleNotClaimed { .. } => "handle_not_claimed",
            Self::HandleNotProven { .. } => "handle_not_proven",
            Self::Operations(_) => "identity_not_proven",
            Self::Policy { .. } => "not_allowed_by_policy",
            Self::BlobDiffers { .. } => "blob_differs",
        }
    }
}

/// Why an image could not be checked, which says nothing about it.
#[derive(Debug, Error)]
pub enum Unchecked {
    /// Not an image's name.
    #[error("`{}` is not an image of an AT Protocol account: {source}", plain(given))]
    ImageName {
        /// As given.
        given: String,
        /// Why not.
        source: InvalidImageName,
    },
    /// Neither an image nor a file that names one.
    #[error("which image?")]
    NoImage,
    /// The account's identity is not to be had now.
    #[error(transparent)]
    Identity(IdentityError),
    /// Neither DNS nor the handle's own host knows it. Other networks have resolvers of their own.
    #[error("the handle {0} is not known to DNS")]
    HandleNotKnown(Handle),
    /// The account's document names no server.
    #[error("the DID document of {0} names no PDS")]
    NoPds(Did),
    /// The account's server.
    #[error(transparent)]
    Pds(#[from] PdsError),
    /// The client, the registry or a hold's store.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// The registry answered something else than what was asked.
    #[error("the registry does not give {what}: {reason}")]
    Registry {
        /// A digest, or a token.
        what: String,
        /// The answer.
        reason: String,
    },
    /// A file of the user's.
    #[error("{}: {reason}", path.display())]
    File {
        /// Its path.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A proof from a file, and nothing to believe the account's key by.
    #[error("the file does not prove the key of {0}, and none was given")]
    NoAnchor(Did),
    /// The runtime.
    #[error("cannot begin")]
    Runtime(#[source] std::io::Error),
}

impl Unchecked {
    /// A file that cannot be used.
    fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// The content of a file of at most `max` bytes.
///
/// # Errors
/// [`Unchecked::File`]
pub fn read_at_most(path: &Path, max: u64) -> Result<Vec<u8>, Unchecked> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(max + 1).read_to_end(&mut content))
        .map_err(|error| Unchecked::file(path, error))?;
    if content.len() as u64 > max {
        return Err(Unchecked::file(path, format_args!("longer than {max} bytes")));
    }
    Ok(content)
}

/// The outcome of an attempt that has no proof at its end.
#[derive(Debug, Error)]
pub enum Unproven {
    /// It is not so.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is not known.
    #[error(transparent)]
    Unchecked(#[from] Unchecked),
}

impl From<Refusal> for Unproven {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<PdsError> for Unproven {
    fn from(error: PdsError) -> Self {
        Self::Unchecked(error.into())
    }
}

impl From<EgressError> for Unproven {
    fn from(error: EgressError) -> Self {
        Self::Unchecked(error.into())
    }
}

impl From<GatherError<PdsError>> for Unproven {
    fn from(error: GatherError<PdsError>) -> Self {
        match error {
            GatherError::Refused(refusal) => refusal.into(),
            GatherError::Source(error) => error.into(),
        }
    }
}

impl From<IdentityError> for Unproven {
    fn from(error: IdentityError) -> Self {
        if error.is_not_found() {
            Self::Refused(Refused::Identity(error))
        } else {
            Self::Unchecked(Unchecked::Identity(error))
        }
    }
}
