//! What templates about images show: words and numbers, ready.

use std::collections::BTreeMap;

use atcr_atproto::syntax::{Did, Handle};
use atcr_index::fact::Kind;
use atcr_index::page::{Page, PageRequest, Start};
use atcr_index::view::{
    ChildView, ListedManifest, MAX_TAGS_IN_LISTS, ManifestSummary, OwnerView, RepositoryCard, TagView,
};
use atcr_oci::{Digest, Reference};
use atcr_web::drawings::Initial;
use atcr_web::figures::{Bytes, BytesRange, Count};
use atcr_web::form::Form;
use atcr_web::moment::Moment;
use atcr_web::navigation::{Paging, address};
use atcr_web::pull::Pullable;
use chrono::{DateTime, Utc};

use super::scan_subject::ScanLinks;
use crate::browse::address::{image_path, repository_path};

/// Platforms that a card or row names before it counts the rest.
const PLATFORMS_SHOWN: usize = 3;

/// Tags that a row names before it counts the rest.
const TAGS_SHOWN: usize = 8;

fn some_tags(names: &[String]) -> String {
    let shown = names.get(..TAGS_SHOWN).unwrap_or(names);
    shown.join(", ")
}

/// An account, as pages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge::pages) struct OwnerLink {
    /// The DID.
    pub(in crate::edge::pages) did: String,
    /// The handle, or else the DID.
    pub(in crate::edge::pages) name: String,
    /// Its page.
    pub(in crate::edge::pages) href: String,
}

impl OwnerLink {
    pub(in crate::edge::pages) fn new(did: &Did, handle: Option<&Handle>) -> Self {
        let name = handle.map_or_else(|| did.to_string(), ToString::to_string);
        Self {
            did: did.to_string(),
            href: format!("/u/{name}"),
            name,
        }
    }

    pub(in crate::edge::pages) fn of(owner: &OwnerView) -> Self {
        Self::new(&owner.did, owner.handle.as_ref())
    }

    /// The picture of an account that has none.
    pub(in crate::edge::pages) fn initial(&self) -> Initial<'_> {
        Initial {
            name: &self.name,
            id: &self.did,
            class: "",
        }
    }

    /// The same, as large as a page's head.
    pub(in crate::edge::pages) fn large_initial(&self) -> Initial<'_> {
        Initial {
            class: "avatar--large",
            ..self.initial()
        }
    }
}

/// What an image is, in a word with an icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge::pages) struct KindView {
    pub(in crate::edge::pages) icon: &'static str,
    pub(in crate::edge::pages) name: &'static str,
}

impl KindView {
    pub(in crate::edge::pages) fn of(kind: Kind) -> Self {
        let (icon, name) = match kind {
            Kind::Image => ("package", "Image"),
            Kind::ImageIndex => ("boxes", "Image"),
            Kind::HelmChart => ("ship-wheel", "Helm chart"),
            Kind::BuildCache => ("history", "Build cache"),
            Kind::Attestation => ("signature", "Attestation"),
            Kind::Signature => ("signature", "Signature"),
            Kind::Sbom => ("scroll-text", "Bill of materials"),
            Kind::Artifact => ("file-archive", "Files"),
        };
        Self { icon, name }
    }
}

/// How clients pull something of this kind.
pub(in crate::edge::pages) fn pullable(kind: Option<Kind>) -> Pullable {
    match kind {
        Some(Kind::HelmChart) => Pullable::Chart,
        Some(Kind::BuildCache) => Pullable::Cache,
        Some(Kind::Artifact | Kind::Attestation | Kind::Signature | Kind::Sbom) => Pullable::Files,
        Some(Kind::Image | Kind::ImageIndex) | None => Pullable::Image,
    }
}

/// A digest: twelve characters to read, all of it to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge::pages) struct DigestView {
    pub(in crate::edge::pages) href: String,
    pub(in crate::edge::pages) short: String,
    pub(in crate::edge::pages) whole: String,
}

impl DigestView {
    pub(in crate::edge::pages) fn new(repository: &str, digest: &Digest) -> Self {
        Self {
            href: image_path(repository, &Reference::Digest(digest.clone())),
            short: digest.hex().chars().take(12).collect(),
            whole: digest.to_string(),
        }
    }
}

/// Some names, and how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::edge::pages) struct Some3 {
    pub(in crate::edge::pages) shown: Vec<String>,
    pub(in crate::edge::pages) more: usize,
}

impl Some3 {
    pub(in crate::edge::pages) fn of(names: &[String]) -> Self {
        Self {
            shown: names.iter().take(PLATFORMS_SHOWN).cloned().collect(),
            more: names.len().saturating_sub(PLATFORMS_SHOWN),
        }
    }
}

/// A repository in a list.
#[derive(Clone, Debug)]
pub(in crate::edge::pages) struct CardView {
    pub(in crate::edge::pages) href: String,
    pub(in crate::edge::pages) owner: OwnerLink,
    pub(in crate::edge::pages) name: String,
    pub(in crate::edge::pages) summary: String,
    pub(in crate::edge::pages) kind: Option<KindView>,
    pub(in crate::edge::pages) platforms: Some3,
    pub(in crate::edge::pages) newest_tag: Option<String>,
    /// What is known of the scan of the newest tag, of images.
    pub(in crate::edge::pages) scan: Option<ScanLinks>,
    pub(in crate::edge::pages) pushed: Moment,
    pub(in crate::edge::pages) pulls: Count,
    pub(in crate::edge::pages) stars: Count,
}

impl CardView {
    pub(in crate::edge::pages) fn of(card: &RepositoryCard, now: DateTime<Utc>) -> Self {
        let owner = OwnerLink::of(&card.owner);
        Self {
            href: repository_path(&owner.name, &card.name),
            name: card.name.clone(),
            summary: if card.summary.is_empty() {
                card.title.clone()
            } else {
                card.summary.clone()
            },
            kind: card.kind.map(KindView::of),
            platforms: Some3::of(&card.platforms),
            scan: card
                .newest_tag
                .as_ref()
                .filter(|_| matches!(card.kind, Some(Kind::Image | Kind::ImageIndex)))
                .map(|tag| {
                    let links = ScanLinks::of_tag(&owner.name, &card.name, tag);
                    links.for_platform(first_platform(&card.platforms))
                }),
            newest_tag: card.newest_tag.clone(),
            pushed: Moment::new(card.pushed_at, now),
            pulls: Count(card.pulls),
            stars: Count(card.stars),
            owner,
        }
    }

    /// The letter of the repository, on the ground of its owner.
    pub(in crate::edge::pages) fn initial(&self) -> Initial<'_> {
        Initial {
            name: &self.name,
            id: &self.owner.did,
            class: "avatar--square",
        }
    }
}

/// A platform of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge::pages) struct PlatformRow {
    pub(in crate::edge::pages) name: String,
    pub(in crate::edge::pages) digest: DigestView,
    pub(in crate::edge::pages) size: Option<Bytes>,
}

/// The images of an index, `linux/amd64` and `linux/arm64` first, then by name; not its attestations.
pub(in crate::edge::pages) fn platform_rows(repository: &str, children: &[ChildView]) -> Vec<PlatformRow> {
    let mut rows: Vec<PlatformRow> = children
        .iter()
        .filter(|child| !child.is_attestation)
        .map(|child| PlatformRow {
            name: child
                .platform
                .as_ref()
                .map_or_else(|| "no platform".to_owned(), atcr_index::fact::PlatformFact::name),
            digest: DigestView::new(repository, &child.digest),
            size: child.content_size.map(Bytes),
        })
        .collect();
    rows.sort_by_key(|row| (platform_rank(&row.name), row.name.clone()));
    rows
}

/// The platform whose scan stands for an image of several; `None` for one.
fn first_platform(names: &[String]) -> Option<String> {
    let first = names
        .iter()
        .min_by_key(|name| (platform_rank(name), name.as_str()));
    first.filter(|_| names.len() > 1).cloned()
}

fn platform_rank(name: &str) -> u8 {
    match name {
        "linux/amd64" => 0,
        "linux/arm64" | "linux/arm64/v8" => 1,
        _ => 2,
    }
}

/// A manifest's platforms and sizes, for a row.
#[derive(Clone, Debug)]
pub(in crate::edge::pages) struct ContentView {
    pub(in crate::edge::pages) kind: KindView,
    pub(in crate::edge::pages) platforms: Vec<PlatformRow>,
    pub(in crate::edge::pages) attestations: usize,
    /// `31.0–33.1 MB`, or nothing where it is not known.
    pub(in crate::edge::pages) size: Option<String>,
}

impl ContentView {
    pub(in crate::edge::pages) fn of(repository: &str, summary: &ManifestSummary) -> Self {
        let platforms = platform_rows(repository, &summary.children);
        let size = if summary.children.is_empty() {
            (summary.kind != Kind::ImageIndex).then(|| Bytes(summary.content_size).to_string())
        } else {
            let sizes = platforms.iter().filter_map(|row| row.size).map(|size| size.0);
            BytesRange::of(sizes).map(|range| range.to_string())
        };
        Self {
            kind: KindView::of(summary.kind),
            attestations: summary
                .children
                .iter()
                .filter(|child| child.is_attestation)
                .count(),
            platforms,
            size,
        }
    }

    /// `2 attestations`.
    pub(in crate::edge::pages) fn attestation_count(&self) -> String {
        Count(self.attestations as u64)
            .of("attestation", "attestations")
            .to_string()
    }

    /// `3 platforms`.
    pub(in crate::edge::pages) fn platform_count(&self) -> String {
        Count(self.platforms.len() as u64)
            .of("platform", "platforms")
            .to_string()
    }
}

/// A tag in a list.
#[derive(Clone, Debug)]
pub(in crate::edge::pages) struct TagRow {
    pub(in crate::edge::pages) name: String,
    pub(in crate::edge::pages) href: String,
    pub(in crate::edge::pages) aliases: String,
    /// Aliases beside these, as far as they are counted.
    pub(in crate::edge::pages) more_aliases: usize,
    pub(in crate::edge::pages) are_aliases_cut: bool,
    pub(in crate::edge::pages) digest: Option<DigestView>,
    pub(in crate::edge::pages) content: Option<ContentView>,
    pub(in crate::edge::pages) scan: Option<ScanLinks>,
    pub(in crate::edge::pages) moved: Moment,
}

impl TagRow {
    /// The same with links to what is known of its scan, if it is an image: of several platforms, of the first.
    pub(in crate::edge::pages) fn with_scan(self, owner: &str, repository: &str, tag: &TagView) -> Self {
        let is_image = |summary: &&ManifestSummary| matches!(summary.kind, Kind::Image | Kind::ImageIndex);
        let summary = tag.manifest.as_ref().filter(is_image);
        let content = self.content.as_ref().filter(|_| summary.is_some());
        let rows = content.map(|content| content.platforms.iter());
        let names: Vec<String> = rows.into_iter().flatten().map(|row| row.name.clone()).collect();
        let digest = content.and_then(|content| {
            let first = content.platforms.first().map(|row| &row.digest);
            first.or(self.digest.as_ref())?.whole.parse().ok()
        });
        Self {
            scan: digest.map(|digest: Digest| {
                let links = ScanLinks::new(owner, repository, &digest);
                links.for_platform(first_platform(&names))
            }),
            ..self
        }
    }

    pub(in crate::edge::pages) fn of(repository: &str, tag: &TagView, now: DateTime<Utc>) -> Self {
        Self {
            // A tag of another writer's record may be none of ours: then it has no page, and its manifest has.
            href: match tag.name.parse() {
                Ok(name) => image_path(repository, &Reference::Tag(name)),
                Err(_) => tag.digest.as_ref().map_or_else(
                    || repository.to_owned(),
                    |digest| image_path(repository, &Reference::Digest(digest.clone())),
                ),
            },
            name: tag.name.clone(),
            aliases: some_tags(&tag.aliases),
            more_aliases: tag.aliases.len().saturating_sub(TAGS_SHOWN),
            are_aliases_cut: tag.aliases.len() >= MAX_TAGS_IN_LISTS,
            digest: tag
                .digest
                .as_ref()
                .map(|digest| DigestView::new(repository, digest)),
            content: tag
                .manifest
                .as_ref()
                .map(|summary| ContentView::of(repository, summary)),
            scan: None,
            moved: Moment::new(tag.moved_at, now),
        }
    }
}

/// A manifest in a list.
#[derive(Clone, Debug)]
pub(in crate::edge::pages) struct ManifestRow {
    pub(in crate::edge::pages) digest: DigestView,
    pub(in crate::edge::pages) content: ContentView,
    /// What keeps it: tags, an index, or what it is about.
    pub(in crate::edge::pages) tags: String,
    /// Tags beside these, as far as they are counted.
    pub(in crate::edge::pages) more_tags: usize,
    pub(in crate::edge::pages) are_tags_cut: bool,
    pub(in crate::edge::pages) parent: Option<DigestView>,
    /// Indexes beside `parent` that it is a part of.
    pub(in crate::edge::pages) more_parents: usize,
    pub(in crate::edge::pages) subject: Option<DigestView>,
    pub(in crate::edge::pages) artifact_type: Option<String>,
    pub(in crate::edge::pages) pushed: Moment,
}

impl ManifestRow {
    pub(in crate::edge::pages) fn of(repository: &str, listed: &ListedManifest, now: DateTime<Utc>) -> Self {
        let digest = |digest: &Digest| DigestView::new(repository, digest);
        Self {
            digest: digest(&listed.summary.digest),
            content: ContentView::of(repository, &listed.summary),
            tags: some_tags(&listed.tags),
            more_tags: listed.tags.len().saturating_sub(TAGS_SHOWN),
            are_tags_cut: listed.tags.len() >= MAX_TAGS_IN_LISTS,
            parent: listed.parents.first().map(digest),
            more_parents: listed.parents.len().saturating_sub(1),
            subject: listed.subject.as_ref().map(digest),
            artifact_type: listed.summary.artifact_type.clone(),
            pushed: Moment::new(listed.summary.pushed_at, now),
        }
    }
}

/// The page of a list that the parameters `after` and `before` of an address name. What is no position is the top of the list.
pub(in crate::edge) fn page_request(query: &Form, limit: u32) -> PageRequest {
    let position = |name: &str| query.get(name).and_then(|text| text.parse().ok());
    let start = match (position("after"), position("before")) {
        (Some(after), _) => Start::After(after),
        (None, Some(before)) => Start::Before(before),
        (None, None) => Start::Top,
    };
    PageRequest::from(start, limit)
}

/// The links to the pages above and below. `query` is the rest of the view's state.
pub(in crate::edge::pages) fn paging<T>(page: &Page<T>, path: &str, query: &[(&str, &str)]) -> Paging {
    let at = |name: &'static str, position: &str| {
        let mut query = query.to_vec();
        query.push((name, position));
        address(path, &query)
    };
    Paging {
        newest: page.newer.is_some().then(|| address(path, query)),
        newer: page
            .newer
            .as_ref()
            .map(|position| at("before", &position.to_string())),
        older: page
            .older
            .as_ref()
            .map(|position| at("after", &position.to_string())),
    }
}

/// A link that an image's annotations claim, if it leads to the web.
pub(in crate::edge::pages) fn claimed_link(
    annotations: &BTreeMap<String, String>,
    name: &str,
) -> Option<ClaimedLink> {
    let text = annotations.get(&format!("org.opencontainers.image.{name}"))?;
    let url: url::Url = text.parse().ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let shown = format!("{}{}", url.host_str()?, url.path().trim_end_matches('/'));
    Some(ClaimedLink {
        href: url.to_string(),
        shown,
    })
}

/// A link to elsewhere, by the word of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge::pages) struct ClaimedLink {
    pub(in crate::edge::pages) href: String,
    pub(in crate::edge::pages) shown: String,
}

/// A text that an image's annotations claim.
pub(in crate::edge::pages) fn claimed(annotations: &BTreeMap<String, String>, name: &str) -> Option<String> {
    let text = annotations.get(&format!("org.opencontainers.image.{name}"))?;
    Some(text.chars().take(200).collect()).filter(|text: &String| !text.is_empty())
}
