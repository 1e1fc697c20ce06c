//! The shapes of answers. Times are RFC 3339 in UTC, sizes bytes; what is not known is left out.

mod manifests;
mod repositories;

use atcr_atproto::syntax::{Did, Handle};
use atcr_index::fact::Kind;
use atcr_index::view::{OwnerView, StarView};
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) use self::manifests::{Image, Manifest, Move, Tag};
pub(super) use self::repositories::{Account, Repository, RepositoryDetails, SearchResults};

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<T> {
    /// The rows.
    pub(super) items: Vec<T>,
    /// The address of the next page; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// An account.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner {
    /// Its permanent ID.
    pub(super) did: String,
    /// Its handle, where one is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) handle: Option<String>,
}

impl Owner {
    pub(super) fn new(did: &Did, handle: Option<&Handle>) -> Self {
        Self {
            did: did.to_string(),
            handle: handle.map(ToString::to_string),
        }
    }

    fn of(owner: &OwnerView) -> Self {
        Self::new(&owner.did, owner.handle.as_ref())
    }
}

/// What something is.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum What {
    /// A container image.
    Image,
    /// Container images for several platforms.
    ImageIndex,
    /// A Helm chart.
    HelmChart,
    /// A build cache.
    BuildCache,
    /// A statement about how an image was made.
    Attestation,
    /// A signature.
    Signature,
    /// A bill of materials.
    Sbom,
    /// Files.
    Artifact,
}

impl What {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Image => Self::Image,
            Kind::ImageIndex => Self::ImageIndex,
            Kind::HelmChart => Self::HelmChart,
            Kind::BuildCache => Self::BuildCache,
            Kind::Attestation => Self::Attestation,
            Kind::Signature => Self::Signature,
            Kind::Sbom => Self::Sbom,
            Kind::Artifact => Self::Artifact,
        }
    }
}

/// A star.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Star {
    /// Who gave it.
    pub(super) by: Owner,
    /// When.
    pub(super) given_at: String,
}

impl Star {
    pub(super) fn of(star: &StarView) -> Self {
        Self {
            by: Owner::of(&star.starrer),
            given_at: text(star.at),
        }
    }
}

/// Why there is no answer.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    dead_code,
    reason = "described only: errors are made in one place for all of JSON"
)]
pub(super) struct ApiError {
    /// The name of the error.
    error: String,
    /// A sentence.
    message: String,
    /// Under which the log has more.
    request_id: Option<String>,
}
