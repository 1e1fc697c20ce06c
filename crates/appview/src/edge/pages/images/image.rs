//! The page about one tag or manifest: what exactly is in it.

use std::collections::BTreeMap;

use askama::Template;
use atcr_index::fact::Kind;
use atcr_index::page::PageRequest;
use atcr_index::view::{MAX_TAGS_OF_MANIFEST, ManifestView};
use atcr_oci::{Descriptor, Digest, Manifest, Reference};
use atcr_registry::error::{BlobError, RegistryError};
use atcr_registry::hold::error::HoldError;
use atcr_web::figures::{self, Bytes, Count};
use atcr_web::moment::Moment;
use atcr_web::navigation::{Choice, address};
use atcr_web::pull::{PullCommands, PullTarget};
use atcr_web::view::{Chrome, render};
use axum::response::Response;
use http::StatusCode;

use super::config_view::{ConfigState, config_of};
use super::layer_view::{LayerView, biggest, layers};
use super::overview::{HoldName, ScanSummary, TrustView};
use super::scan_subject::ScanLinks;
use super::set_tag::Refusal;
use super::views::{DigestView, KindView, ManifestRow, PlatformRow, platform_rows, pullable};
use super::{Head, RepositoryVisit, StarForm, visitor};
use crate::browse::BrowseError;
use crate::browse::address::{RepositoryPage, image_path};
use crate::edge::dialect::page::{PageError, sentence};

/// Statements about a manifest that its page names; the rest is on the page of referrers.
const REFERRERS_SHOWN: u32 = 50;

/// Tags of an image that its page names before it counts the rest.
const TAGS_SHOWN: usize = 50;

/// Longest manifest whose text is on the page, in bytes.
const MAX_RAW: usize = 256 * 1024;

/// A file of an artifact.
struct FileView {
    name: String,
    media_type: String,
    size: Bytes,
    digest: DigestView,
    href: String,
}

#[derive(Template)]
#[template(path = "pages/images/image.html")]
struct ImagePage {
    chrome: Chrome,
    head: Head,
    /// `app:1.4`, or `app` and the digest.
    name: String,
    moved: Option<Moment>,
    pushed: Moment,
    kind: KindView,
    media_type: String,
    artifact_type: Option<String>,
    digest: String,
    tags: Vec<(String, String)>,
    /// Tags beside these, as far as they are counted.
    more_tags: usize,
    are_tags_cut: bool,
    parents: Vec<DigestView>,
    subject: Option<DigestView>,
    pull: Option<PullCommands>,
    /// The images of an index.
    platforms: Vec<PlatformRow>,
    /// Links to the views of single platforms.
    choices: Vec<Choice>,
    /// The platform that is shown, of an index.
    shown: Option<PlatformRow>,
    trust: TrustView,
    hold: Option<HoldName>,
    scan: Option<ScanSummary>,
    scan_links: Option<ScanLinks>,
    is_scannable: bool,
    config: ConfigState,
    layers: Vec<LayerView>,
    total: Bytes,
    biggest: Option<usize>,
    files: Vec<FileView>,
    annotations: BTreeMap<String, String>,
    attestations: Vec<DigestView>,
    referrers: Vec<ManifestRow>,
    referrer_count: Count,
    raw: Option<String>,
    raw_size: Bytes,
    /// The owner deletes it there.
    delete_href: Option<String>,
    diff_href: String,
    csrf_token: String,
    /// Why the form for tags is shown again.
    refusal: Option<Refusal>,
}

/// The page about `reference`; with `refusal` the answer to a form on it that cannot be used.
pub(super) async fn show(
    page: &RepositoryVisit<'_>,
    reference: &Reference,
    refusal: Option<Refusal>,
) -> Result<Response, PageError> {
    let (browse, index) = (page.browse, &page.browse.index);
    let missing = || BrowseError::NoImage {
        owner: page.owner.name(),
        repository: page.repository.card.name.clone(),
        reference: reference.to_string(),
    };
    let (digest, moved) = match reference {
        Reference::Digest(digest) => (digest.clone(), None),
        Reference::Tag(tag) => {
            let tag = index
                .tag(page.id(), tag.as_str())
                .await
                .map_err(BrowseError::from)?;
            let tag = tag.ok_or_else(missing)?;
            (tag.digest.ok_or_else(missing)?, Some(tag.moved_at))
        }
    };
    let found = index
        .manifest(page.id(), &digest)
        .await
        .map_err(BrowseError::from)?;
    let found = found.ok_or_else(missing)?;
    let did = &page.owner.identity.did;
    let visitor = visitor(page.visit);
    let repository = &page.repository.card.name;
    let read = browse.manifest(visitor, &page.owner, repository, &digest).await?;

    // Of an index, one platform is shown: the one that is asked for, else the first.
    let platforms = platform_rows(&page.path, &found.summary.children);
    let asked = page.visit.query().get("platform").unwrap_or_default();
    let shown = platforms
        .iter()
        .find(|row| row.name == asked)
        .or_else(|| platforms.first())
        .cloned();
    let image = match &shown {
        Some(row) => match row.digest.whole.parse::<Digest>() {
            Ok(child) => browse
                .manifest(visitor, &page.owner, repository, &child)
                .await
                .ok(),
            Err(_) => None,
        },
        None => Some(read.clone()),
    };
    let config = match image.as_ref().map(|image| &image.manifest) {
        Some(manifest) if found.summary.kind != Kind::Artifact => {
            config_of(page, manifest, shown.as_ref().map(|row| row.name.as_str())).await
        }
        _ => (ConfigState::None, None),
    };
    let layers = match &image {
        Some(image) if is_image(&image.manifest) => layers(page, &image.manifest, config.1.as_deref()),
        _ => Vec::new(),
    };
    let is_artifact = image.as_ref().is_some_and(|image| !is_image(&image.manifest));
    let files = match &image {
        Some(image) if is_artifact => files(page, image.manifest.layers()),
        _ => Vec::new(),
    };
    let sizes: Vec<u64> = layers.iter().map(|layer| layer.size.0).collect();
    let total = image.as_ref().map_or(0, |image| {
        image
            .manifest
            .blobs()
            .fold(0_u64, |sum, blob| sum.saturating_add(blob.size))
    });
    let hold = match &found.hold {
        Some(hold) => {
            let view = index.hold(hold).await.map_err(BrowseError::from)?;
            Some(HoldName::of(hold, view.as_ref()))
        }
        None => None,
    };
    let scanned = shown
        .as_ref()
        .and_then(|row| row.digest.whole.parse().ok())
        .unwrap_or_else(|| digest.clone());
    let scans = index.scans(did, &scanned).await.map_err(BrowseError::from)?;
    let referrers = index
        .referrers(page.id(), &digest, &PageRequest::top(REFERRERS_SHOWN))
        .await
        .map_err(BrowseError::from)?;
    let path = image_path(&page.path, reference);
    let raw = read.manifest.bytes();
    let status = match refusal {
        Some(_) => StatusCode::BAD_REQUEST,
        None => StatusCode::OK,
    };
    Ok(render(
        status,
        &ImagePage {
            refusal,
            head: page.head(&RepositoryPage::Image(reference.clone())),
            name: match reference {
                Reference::Tag(tag) => format!("{repository}:{tag}"),
                Reference::Digest(digest) => format!("{repository}@{}", short(digest)),
            },
            moved: moved.map(|at| Moment::new(at, page.now)),
            pushed: Moment::new(found.summary.pushed_at, page.now),
            kind: KindView::of(found.summary.kind),
            media_type: found.summary.media_type.clone(),
            artifact_type: found.summary.artifact_type.clone(),
            pull: pull(page, reference, &digest, found.summary.kind),
            choices: platforms
                .iter()
                .map(|row| Choice {
                    href: address(&path, &[("platform", &row.name)]),
                    name: row.name.clone(),
                    count: None,
                    is_current: shown.as_ref() == Some(row),
                })
                .collect(),
            tags: tags(page, &found),
            more_tags: found.tags.len().saturating_sub(TAGS_SHOWN),
            are_tags_cut: found.tags.len() >= MAX_TAGS_OF_MANIFEST,
            parents: digests(page, &found.parents),
            subject: found
                .subject
                .as_ref()
                .map(|subject| DigestView::new(&page.path, subject)),
            trust: TrustView::of(did, &page.path, &found),
            hold,
            scan: scans.first().map(|scan| ScanSummary::of(scan, page.now)),
            scan_links: Some(ScanLinks::new(&page.owner.name(), repository, &scanned)),
            is_scannable: matches!(found.summary.kind, Kind::Image | Kind::ImageIndex),
            config: config.0,
            biggest: biggest(&sizes),
            layers,
            total: Bytes(total),
            files,
            annotations: read.manifest.annotations().clone(),
            attestations: found
                .summary
                .children
                .iter()
                .filter(|child| child.is_attestation)
                .map(|child| DigestView::new(&page.path, &child.digest))
                .collect(),
            referrers: referrers
                .items
                .iter()
                .map(|row| ManifestRow::of(&page.path, row, page.now))
                .collect(),
            referrer_count: Count(found.referrers),
            raw: (raw.len() <= MAX_RAW).then(|| pretty(raw)),
            raw_size: Bytes(raw.len() as u64),
            delete_href: page.is_own().then(|| {
                let path = format!("{}/-/delete", page.path);
                match reference {
                    Reference::Tag(tag) => address(&path, &[("tag", tag.as_str())]),
                    Reference::Digest(digest) => address(&path, &[("digest", digest.as_str())]),
                }
            }),
            csrf_token: page.csrf_token(),
            diff_href: address(
                &format!("{}/-/diff", page.path),
                &[("from", &reference.to_string())],
            ),
            digest: digest.to_string(),
            platforms,
            shown,
            chrome: page.visit.chrome(),
        },
    ))
}

fn pull(
    page: &RepositoryVisit<'_>,
    reference: &Reference,
    digest: &Digest,
    kind: Kind,
) -> Option<PullCommands> {
    let name = page.image_name()?;
    Some(PullCommands::new(&PullTarget {
        repository: &name,
        tag: reference.tag().map(atcr_oci::Tag::as_str),
        digest: Some(digest.as_str()),
        kind: pullable(Some(kind)),
        is_plain_http: !page.visit.site.is_secure(),
    }))
}

/// Why a hold did not give what it was asked for, to people.
pub(super) fn why(error: &RegistryError) -> String {
    match error {
        RegistryError::Hold {
            error: HoldError::Unauthorized | HoldError::Forbidden { .. },
            ..
        } => {
            "The layers are in a hold that only members can pull from. Tags and manifests are public. Sign in, or ask the hold's owner."
                .to_owned()
        }
        RegistryError::Blob(BlobError::Unknown { .. }) => {
            "The hold does not have the image's configuration any more.".to_owned()
        }
        RegistryError::Internal { .. }
        | RegistryError::Hold {
            error: HoldError::TimedOut | HoldError::Unreachable { .. },
            ..
        } => {
            "The hold does not answer. Pulls may fail until it is back. Everything else on this page comes from signed records and is still true."
                .to_owned()
        }
        other => sentence(&other.to_string()),
    }
}

/// Whether the manifest is a container image, with a configuration that says what runs.
pub(super) fn is_image(manifest: &Manifest) -> bool {
    manifest.config().is_some_and(|config| {
        matches!(
            config.media_type.essence(),
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
        )
    }) && !manifest
        .layers()
        .iter()
        .any(|layer| layer.media_type.as_str().contains("in-toto"))
}

fn files(page: &RepositoryVisit<'_>, layers: &[Descriptor]) -> Vec<FileView> {
    layers
        .iter()
        .map(|layer| {
            let title = layer.annotations.get("org.opencontainers.image.title");
            FileView {
                name: title.cloned().unwrap_or_else(|| short(&layer.digest)),
                media_type: layer.media_type.to_string(),
                size: Bytes(layer.size),
                href: format!("{}/-/blob/{}", page.path, layer.digest),
                digest: blob_view(page, &layer.digest),
            }
        })
        .collect()
}

/// The digest of a blob, which has no page: it leads to the bytes.
pub(super) fn blob_view(page: &RepositoryVisit<'_>, digest: &Digest) -> DigestView {
    DigestView {
        href: format!("{}/-/blob/{digest}", page.path),
        short: short(digest),
        whole: digest.to_string(),
    }
}

fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}

fn digests(page: &RepositoryVisit<'_>, digests: &[Digest]) -> Vec<DigestView> {
    digests
        .iter()
        .map(|digest| DigestView::new(&page.path, digest))
        .collect()
}

/// The tags that point at it, with their pages.
fn tags(page: &RepositoryVisit<'_>, found: &ManifestView) -> Vec<(String, String)> {
    let tags = found.tags.iter().take(TAGS_SHOWN).filter_map(|name| {
        let tag: atcr_oci::Tag = name.parse().ok()?;
        Some((name.clone(), image_path(&page.path, &Reference::Tag(tag))))
    });
    tags.collect()
}

/// JSON with line breaks, for people; as it is where it is none.
fn pretty(bytes: &[u8]) -> String {
    let value: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
    let pretty = value
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok());
    pretty.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
}
