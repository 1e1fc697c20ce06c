//! The lists of a repository: tags, manifests, referrers, activity, stars.

use std::collections::BTreeSet;

use askama::Template;
use atcr_index::fact::Kind;
use atcr_index::page::Page;
use atcr_index::view::{TagFilter, TagMove, TagOrder};
use atcr_web::drawings::Initial;
use atcr_web::figures::Count;
use atcr_web::moment::Moment;
use atcr_web::navigation::{Choice, Paging, address};
use atcr_web::view::{Chrome, render};
use axum::response::Response;
use http::StatusCode;

use super::views::{DigestView, ManifestRow, OwnerLink, TagRow, page_request, paging};
use super::{Head, RepositoryVisit, StarForm};
use crate::browse::BrowseError;
use crate::browse::address::RepositoryPage;
use crate::edge::dialect::page::PageError;

/// Rows of a page.
const ROWS: u32 = 50;

/// Longest text that is looked for in names of tags, in characters.
const MAX_FILTER: usize = 128;

#[derive(Template)]
#[template(path = "pages/images/tags.html")]
struct TagsPage {
    chrome: Chrome,
    head: Head,
    rows: Vec<TagRow>,
    paging: Paging,
    filter: String,
    sort: &'static str,
    orders: Vec<Choice>,
    is_fallback: bool,
    fallback_tags: Count,
    fallback_href: String,
    images_href: String,
    /// How many tags match, for the owner, who may delete them all.
    matching: Option<Count>,
    delete_all_href: String,
}

/// `/-/tags`
pub(super) async fn tags(page: &RepositoryVisit<'_>) -> Result<Response, PageError> {
    let query = page.visit.query();
    let text: String = query
        .get("filter")
        .unwrap_or_default()
        .chars()
        .take(MAX_FILTER)
        .collect();
    let is_fallback = query.get("kind") == Some("referrers");
    let sort = match query.get("sort") {
        Some("version") => "version",
        _ => "",
    };
    let filter = TagFilter {
        text: text.clone(),
        fallback: is_fallback,
        order: if sort.is_empty() {
            TagOrder::Newest
        } else {
            TagOrder::Version
        },
    };
    let found = page
        .browse
        .index
        .tags(page.id(), &filter, &page_request(query, ROWS))
        .await
        .map_err(BrowseError::from)?;
    let path = format!("{}/-/tags", page.path);
    let owner = page.owner.name();
    let matching = if page.is_own() && !is_fallback {
        let count = page.browse.index.count_tags(page.id(), &filter).await;
        Some(Count(count.map_err(BrowseError::from)?))
    } else {
        None
    };
    let kind = if is_fallback { "referrers" } else { "" };
    let state = [("filter", text.as_str()), ("sort", sort), ("kind", kind)];
    let order = |name: &str, order: &str| Choice {
        href: address(&path, &[("filter", &text), ("sort", order), ("kind", kind)]),
        name: name.to_owned(),
        count: None,
        is_current: order == sort,
    };
    Ok(render(
        StatusCode::OK,
        &TagsPage {
            head: page.head(&RepositoryPage::Tags),
            paging: paging(&found, &path, &state),
            rows: found
                .items
                .iter()
                .map(|tag| {
                    let row = TagRow::of(&page.path, tag, page.now);
                    row.with_scan(&owner, &page.repository.card.name, tag)
                })
                .collect(),
            orders: vec![order("Newest", ""), order("By version", "version")],
            fallback_tags: Count(page.repository.fallback_tags),
            fallback_href: address(&path, &[("kind", "referrers")]),
            images_href: path.clone(),
            matching,
            delete_all_href: address(
                &format!("{}/-/delete", page.path),
                &[("all", "true"), ("filter", &text)],
            ),
            chrome: page.visit.chrome(),
            filter: text,
            sort,
            is_fallback,
        },
    ))
}

#[derive(Template)]
#[template(path = "pages/images/manifests.html")]
struct ManifestsPage {
    chrome: Chrome,
    head: Head,
    rows: Vec<ManifestRow>,
    paging: Paging,
    kinds: Vec<Choice>,
}

/// Kinds that a list may be of: in the address, and for people.
const KINDS: [(&str, &str, Kind); 7] = [
    ("index", "Multi-platform images", Kind::ImageIndex),
    ("image", "Images", Kind::Image),
    ("chart", "Helm charts", Kind::HelmChart),
    ("cache", "Build caches", Kind::BuildCache),
    ("attestation", "Attestations", Kind::Attestation),
    ("signature", "Signatures", Kind::Signature),
    ("files", "Files", Kind::Artifact),
];

/// `/-/manifests`
pub(super) async fn manifests(page: &RepositoryVisit<'_>) -> Result<Response, PageError> {
    let query = page.visit.query();
    let asked = query.get("kind").unwrap_or_default();
    let kind = KINDS.iter().find(|(name, ..)| *name == asked);
    let found = page
        .browse
        .index
        .manifests(
            page.id(),
            kind.map(|(.., kind)| *kind),
            &page_request(query, ROWS),
        )
        .await
        .map_err(BrowseError::from)?;
    let path = format!("{}/-/manifests", page.path);
    let name = kind.map_or("", |(name, ..)| name);
    let choice = |id: &str, text: &str| Choice {
        href: address(&path, &[("kind", id)]),
        name: text.to_owned(),
        count: None,
        is_current: id == name,
    };
    let kinds = std::iter::once(choice("", "All"));
    let kinds = kinds.chain(KINDS.iter().map(|(id, text, _)| choice(id, text)));
    Ok(render(
        StatusCode::OK,
        &ManifestsPage {
            chrome: page.visit.chrome(),
            head: page.head(&RepositoryPage::Manifests),
            paging: paging(&found, &path, &[("kind", name)]),
            rows: found
                .items
                .iter()
                .map(|row| ManifestRow::of(&page.path, row, page.now))
                .collect(),
            kinds: kinds.collect(),
        },
    ))
}

#[derive(Template)]
#[template(path = "pages/images/referrers.html")]
struct ReferrersPage {
    chrome: Chrome,
    head: Head,
    rows: Vec<ManifestRow>,
    paging: Paging,
}

/// `/-/referrers`
pub(super) async fn referrers(page: &RepositoryVisit<'_>) -> Result<Response, PageError> {
    let found = page
        .browse
        .index
        .all_referrers(page.id(), &page_request(page.visit.query(), ROWS))
        .await
        .map_err(BrowseError::from)?;
    Ok(render(
        StatusCode::OK,
        &ReferrersPage {
            chrome: page.visit.chrome(),
            head: page.head(&RepositoryPage::Referrers),
            paging: paging(&found, &format!("{}/-/referrers", page.path), &[]),
            rows: found
                .items
                .iter()
                .map(|row| ManifestRow::of(&page.path, row, page.now))
                .collect(),
        },
    ))
}

/// A move of a tag, in a list.
#[derive(Clone, Debug)]
struct MoveRow {
    tag: String,
    href: Option<String>,
    from: Option<DigestView>,
    to: Option<DigestView>,
    at: Moment,
    /// The tag is still where this move left it.
    is_last: bool,
}

impl MoveRow {
    fn of(page: &RepositoryVisit<'_>, moved: &TagMove) -> Self {
        Self {
            tag: moved.tag.clone(),
            href: moved
                .tag
                .parse::<atcr_oci::Tag>()
                .ok()
                .map(|tag| format!("{}:{tag}", page.path)),
            from: moved
                .from
                .as_ref()
                .map(|digest| DigestView::new(&page.path, digest)),
            to: moved
                .to
                .as_ref()
                .map(|digest| DigestView::new(&page.path, digest)),
            at: Moment::new(moved.at, page.now),
            is_last: false,
        }
    }
}

#[derive(Template)]
#[template(path = "pages/images/activity.html")]
struct ActivityPage {
    chrome: Chrome,
    head: Head,
    csrf_token: String,
    rows: Vec<MoveRow>,
    paging: Paging,
    /// The last move of the tag that was just set.
    set: Option<MoveRow>,
}

/// The moves as rows. The first of each tag on the first page is its last move.
fn moves(page: &RepositoryVisit<'_>, found: &Page<TagMove>) -> Vec<MoveRow> {
    let mut seen = BTreeSet::new();
    let rows = found.items.iter().map(|moved| MoveRow {
        is_last: seen.insert(moved.tag.as_str()) && found.newer.is_none(),
        ..MoveRow::of(page, moved)
    });
    rows.collect()
}

/// `/-/activity`
pub(super) async fn activity(page: &RepositoryVisit<'_>) -> Result<Response, PageError> {
    let found = page
        .browse
        .index
        .tag_moves(page.id(), None, &page_request(page.visit.query(), ROWS))
        .await
        .map_err(BrowseError::from)?;
    let rows = moves(page, &found);
    let tag = page.visit.query().get("set").filter(|_| page.is_own());
    let set = rows
        .iter()
        .find(|row| row.is_last && Some(row.tag.as_str()) == tag);
    let set = set.cloned();
    Ok(render(
        StatusCode::OK,
        &ActivityPage {
            chrome: page.visit.chrome(),
            head: page.head(&RepositoryPage::Activity),
            paging: paging(&found, &format!("{}/-/activity", page.path), &[]),
            csrf_token: page.csrf_token(),
            set,
            rows,
        },
    ))
}

/// A person's star, in a list.
#[derive(Clone, Debug)]
struct StarRow {
    who: OwnerLink,
    at: Moment,
}

impl StarRow {
    fn initial(&self) -> Initial<'_> {
        self.who.initial()
    }
}

#[derive(Template)]
#[template(path = "pages/images/stars.html")]
struct StarsPage {
    chrome: Chrome,
    head: Head,
    rows: Vec<StarRow>,
    paging: Paging,
}

/// `/-/stars`
pub(super) async fn stars(page: &RepositoryVisit<'_>) -> Result<Response, PageError> {
    let found = page
        .browse
        .index
        .stars_of(
            &page.owner.identity.did,
            &page.repository.card.name,
            &page_request(page.visit.query(), ROWS),
        )
        .await
        .map_err(BrowseError::from)?;
    let rows = found.items.iter().map(|star| StarRow {
        who: OwnerLink::of(&star.starrer),
        at: Moment::new(star.at, page.now),
    });
    Ok(render(
        StatusCode::OK,
        &StarsPage {
            chrome: page.visit.chrome(),
            head: page.head(&RepositoryPage::Stars),
            paging: paging(&found, &format!("{}/-/stars", page.path), &[]),
            rows: rows.collect(),
        },
    ))
}
