//! The shapes of answers. Times are RFC 3339 in UTC, sizes bytes; what is not known is left out.

use std::collections::BTreeMap;

use atcr_atproto::syntax::{Did, Handle};
use atcr_index::change::Coverage;
use atcr_index::fact::Kind;
use atcr_index::view::{
    ChildView, ListedManifest, ManifestSummary, ManifestView, OwnerView, RepositoryCard, RepositoryHold,
    RepositoryView, ScanView, StarView, TagMove, TagView,
};
use atcr_web::site::Site;
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::browse::address::repository_path;

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

/// A repository in a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Repository {
    /// Whose it is.
    pub(super) owner: Owner,
    /// Its name, without the owner.
    pub(super) name: String,
    /// Its page.
    pub(super) url: String,
    /// The title that the image claims.
    pub(super) title: String,
    /// One line about it.
    pub(super) summary: String,
    /// The licence that the image claims, an SPDX expression.
    pub(super) licence: String,
    /// What was tagged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<What>,
    /// Platforms of what was tagged last.
    pub(super) platforms: Vec<String>,
    /// The tag that was moved last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) newest_tag: Option<String>,
    /// When a tag or a manifest last came.
    pub(super) pushed_at: String,
    /// Tags.
    pub(super) tags: u64,
    /// Stars.
    pub(super) stars: u64,
    /// Pulls that holds counted.
    pub(super) pulls: u64,
}

impl Repository {
    pub(super) fn of(card: &RepositoryCard, site: &Site) -> Self {
        let owner = Owner::of(&card.owner);
        let name = owner.handle.as_ref().unwrap_or(&owner.did);
        Self {
            url: site.url(&repository_path(name, &card.name)),
            name: card.name.clone(),
            title: card.title.clone(),
            summary: card.summary.clone(),
            licence: card.licence.clone(),
            kind: card.kind.map(What::of),
            platforms: card.platforms.clone(),
            newest_tag: card.newest_tag.clone(),
            pushed_at: text(card.pushed_at),
            tags: card.tags,
            stars: card.stars,
            pulls: card.pulls,
            owner,
        }
    }
}

/// Results of a search, the best first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchResults {
    /// How many there are.
    pub(super) total: u64,
    /// These of them.
    pub(super) items: Vec<Repository>,
    /// The address of the next ones; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// An account and its repositories, the one pushed to last first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    /// The account.
    pub(super) owner: Owner,
    /// The host of its server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    /// Repositories that are shown.
    pub(super) repositories: u64,
    /// Stars that it gave.
    pub(super) stars_given: u64,
    /// The repositories of this page.
    #[serde(flatten)]
    pub(super) list: List<Repository>,
}

/// A hold that has layers of a repository.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hold {
    /// The hold.
    pub(super) did: String,
    /// Manifests that name it.
    pub(super) manifests: u64,
}

/// A repository.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RepositoryDetails {
    /// What a list shows of it.
    #[serde(flatten)]
    pub(super) repository: Repository,
    /// The owner's text, Markdown, as it is in the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) readme: Option<String>,
    /// Annotations of what was tagged last.
    pub(super) annotations: BTreeMap<String, String>,
    /// Manifests.
    pub(super) manifests: u64,
    /// Manifests that are about another one.
    pub(super) referrers: u64,
    /// Pushes that holds counted.
    pub(super) pushes: u64,
    /// The last pull that a hold counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_pull: Option<String>,
    /// The tag that the page's command pulls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pull_tag: Option<String>,
    /// The holds that have its layers.
    pub(super) holds: Vec<Hold>,
    /// All of the account is indexed: what is not here does not exist.
    pub(super) is_whole: bool,
}

impl RepositoryDetails {
    pub(super) fn of(found: &RepositoryView, holds: &[RepositoryHold], site: &Site) -> Self {
        Self {
            repository: Repository::of(&found.card, site),
            readme: found.readme.clone(),
            annotations: found.annotations.clone(),
            manifests: found.manifests,
            referrers: found.referrers,
            pushes: found.pushes,
            last_pull: found.last_pull.map(text),
            pull_tag: found.pull_tag.clone(),
            holds: holds
                .iter()
                .map(|hold| Hold {
                    did: hold.hold.to_string(),
                    manifests: hold.manifests,
                })
                .collect(),
            is_whole: found.coverage == Coverage::Whole,
        }
    }
}

/// An image of an index.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Child {
    /// Its digest.
    pub(super) digest: String,
    /// `os/architecture/variant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<String>,
    /// Bytes of its configuration and layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_size: Option<u64>,
    /// It says how another one was made, and is no image.
    pub(super) is_attestation: bool,
}

impl Child {
    fn of(child: &ChildView) -> Self {
        Self {
            digest: child.digest.to_string(),
            platform: child.platform.as_ref().map(atcr_index::fact::PlatformFact::name),
            content_size: child.content_size,
            is_attestation: child.is_attestation,
        }
    }
}

/// A manifest.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    /// Its digest.
    pub(super) digest: String,
    /// Its media type.
    pub(super) media_type: String,
    /// Its artifact type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    /// What it is.
    pub(super) kind: What,
    /// Bytes of its configuration and layers; of an index see `children`.
    pub(super) content_size: u64,
    /// Number of layers.
    pub(super) layers: u32,
    /// When its record was written.
    pub(super) pushed_at: String,
    /// The children of an index.
    pub(super) children: Vec<Child>,
    /// Tags that point at it, at most 50; at most 8 in a list.
    pub(super) tags: Vec<String>,
    /// The manifest that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    /// Indexes that name it, the newest first, at most 20.
    pub(super) parents: Vec<String>,
}

impl Manifest {
    fn of(summary: &ManifestSummary) -> Self {
        Self {
            digest: summary.digest.to_string(),
            media_type: summary.media_type.clone(),
            artifact_type: summary.artifact_type.clone(),
            kind: What::of(summary.kind),
            content_size: summary.content_size,
            layers: summary.layers,
            pushed_at: text(summary.pushed_at),
            children: summary.children.iter().map(Child::of).collect(),
            tags: Vec::new(),
            subject: None,
            parents: Vec::new(),
        }
    }

    pub(super) fn listed(listed: &ListedManifest) -> Self {
        Self {
            tags: listed.tags.clone(),
            subject: listed.subject.as_ref().map(ToString::to_string),
            parents: listed.parents.iter().map(ToString::to_string).collect(),
            ..Self::of(&listed.summary)
        }
    }
}

/// What a scan found.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Scan {
    /// The hold that scanned.
    pub(super) hold: String,
    /// The scanner.
    pub(super) scanner: String,
    /// When.
    pub(super) scanned_at: String,
    /// Critical vulnerabilities.
    pub(super) critical: u64,
    /// High ones.
    pub(super) high: u64,
    /// Medium ones.
    pub(super) medium: u64,
    /// Low ones.
    pub(super) low: u64,
}

/// The record by which a manifest is its owner's.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Its address.
    pub(super) uri: String,
    /// The hash of its value.
    pub(super) cid: String,
    /// The revision of the account that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rev: Option<String>,
    /// This registry checked the account's signature. If not, the record was read from the account's own server.
    pub(super) is_signature_checked: bool,
}

/// One tag or manifest.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    /// The manifest.
    #[serde(flatten)]
    pub(super) manifest: Manifest,
    /// Its annotations.
    pub(super) annotations: BTreeMap<String, String>,
    /// Manifests that are about it.
    pub(super) referrers: u64,
    /// The hold that has its layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hold: Option<String>,
    /// Its record.
    pub(super) record: Record,
    /// The last scan; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scan: Option<Scan>,
}

impl Image {
    pub(super) fn of(
        owner: &Did,
        view: &ManifestView,
        is_signature_checked: bool,
        scan: Option<&ScanView>,
    ) -> Self {
        Self {
            manifest: Manifest {
                tags: view.tags.clone(),
                subject: view.subject.as_ref().map(ToString::to_string),
                parents: view.parents.iter().map(ToString::to_string).collect(),
                ..Manifest::of(&view.summary)
            },
            annotations: view.annotations.clone(),
            referrers: view.referrers,
            hold: view.hold.as_ref().map(ToString::to_string),
            record: Record {
                uri: format!("at://{owner}/io.atcr.manifest/{}", view.rkey),
                cid: view.cid.to_string(),
                rev: view.rev.as_ref().map(ToString::to_string),
                is_signature_checked,
            },
            scan: scan.map(|scan| Scan {
                hold: scan.hold.to_string(),
                scanner: scan.scanner.clone(),
                scanned_at: text(scan.scanned_at),
                critical: scan.severities.critical.into(),
                high: scan.severities.high.into(),
                medium: scan.severities.medium.into(),
                low: scan.severities.low.into(),
            }),
        }
    }
}

/// A tag.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tag {
    /// The tag.
    pub(super) name: String,
    /// What it points at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    /// When it was last moved.
    pub(super) moved_at: String,
    /// Other tags that point there, at most 8.
    pub(super) aliases: Vec<String>,
    /// The manifest, where the account has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) manifest: Option<Manifest>,
}

impl Tag {
    pub(super) fn of(tag: &TagView) -> Self {
        Self {
            name: tag.name.clone(),
            digest: tag.digest.as_ref().map(ToString::to_string),
            moved_at: text(tag.moved_at),
            aliases: tag.aliases.clone(),
            manifest: tag.manifest.as_ref().map(Manifest::of),
        }
    }
}

/// A move of a tag, as this registry saw it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Move {
    /// The tag.
    pub(super) tag: String,
    /// What it pointed at before; absent: it was new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// What it points at since; absent: it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    /// When this registry saw it.
    pub(super) seen_at: String,
}

impl Move {
    pub(super) fn of(moved: &TagMove) -> Self {
        Self {
            tag: moved.tag.clone(),
            from: moved.from.as_ref().map(ToString::to_string),
            to: moved.to.as_ref().map(ToString::to_string),
            seen_at: text(moved.at),
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
