//! `/-/delete` and `/-/undo`: what a deletion takes, frees and leaves is said first; then it is made; and it can be undone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use askama::Template;
use atcr_atproto::syntax::Did;
use atcr_index::page::{PageRequest, Start};
use atcr_index::view::TagFilter;
use atcr_oci::{Algorithm, Digest, Tag};
use atcr_registry::manifest::removal::{LeftAlone, MOST_TAGS, Removal, Selection};
use atcr_registry::manifest::way_back::NotRestored;
use atcr_web::figures::{Bytes, Count, Counted};
use atcr_web::form::Form;
use atcr_web::moment::Moment;
use atcr_web::navigation::{Choice, address};
use atcr_web::view::{Chrome, render};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;

use super::news::News;
use super::overview::HoldName;
use super::views::DigestView;
use super::{Head, RepositoryVisit, StarForm};
use crate::browse::address::{ImageAddress, RepositoryPage, repository_path};
use crate::browse::{BrowseError, Owner};
use crate::edge::dialect::page::{PageError, message};
use crate::edge::pages::visit::Visit;
use crate::manage::ports::DeletionSummary;
use crate::state::AppState;

/// Rows of each list on the page; the rest is counted.
const SHOWN: usize = 50;

/// A deletion that can be undone.
#[derive(Clone, Debug)]
pub(in crate::edge::pages) struct DeletionView {
    pub(in crate::edge::pages) id: String,
    /// Where the form that undoes it is sent.
    pub(in crate::edge::pages) action: String,
    pub(in crate::edge::pages) repository: String,
    tags: Count,
    manifests: Count,
    pub(in crate::edge::pages) is_finished: bool,
    pub(in crate::edge::pages) at: Moment,
    /// `30 November 2026, 21:40 UTC`
    pub(in crate::edge::pages) until: String,
    pub(in crate::edge::pages) csrf_token: String,
}

impl DeletionView {
    pub(in crate::edge::pages) fn of(
        owner: &str,
        csrf_token: &str,
        deletion: &DeletionSummary,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: deletion.id.clone(),
            action: format!("{}/-/undo", repository_path(owner, &deletion.repository)),
            repository: deletion.repository.clone(),
            tags: Count(deletion.tags),
            manifests: Count(deletion.manifests),
            is_finished: deletion.is_finished,
            at: Moment::new(deletion.deleted_at, now),
            until: Moment::new(deletion.expires_at, now).full,
            csrf_token: csrf_token.to_owned(),
        }
    }

    /// `2 tags and 1 manifest`.
    pub(in crate::edge::pages) fn what(&self) -> String {
        things(self.tags, self.manifests)
    }
}

/// The deletions of the owner `did` that can be undone, for its own pages.
pub(in crate::edge::pages) async fn deletions(
    state: &AppState,
    visit: &Visit,
    owner: &Owner,
    repository: Option<&str>,
) -> Result<Vec<DeletionView>, PageError> {
    let Some(signed_in) = &visit.signed_in else {
        return Ok(Vec::new());
    };
    let did = &owner.identity.did;
    if signed_in.session.did != *did {
        return Ok(Vec::new());
    }
    let found = state.manage.deletions(did, repository).await;
    let now = state.clock.now();
    let csrf_token = signed_in.csrf_token.as_str();
    Ok(found
        .map_err(PageError::Change)?
        .iter()
        .map(|deletion| DeletionView::of(&owner.name(), csrf_token, deletion, now))
        .collect())
}

/// `2 tags and 1 manifest`, `1 tag`.
fn things(tags: Count, manifests: Count) -> String {
    let counted = |count: Counted<'_>| count.to_string();
    let tags = (tags.0 > 0).then(|| counted(tags.of("tag", "tags")));
    let manifests = (manifests.0 > 0).then(|| counted(manifests.of("manifest", "manifests")));
    let both: Vec<String> = tags.into_iter().chain(manifests).collect();
    both.join(" and ")
}

/// A tag that goes.
struct TagRow {
    name: String,
    digest: Option<DigestView>,
}

/// A manifest that stays, and why.
struct StayingRow {
    digest: DigestView,
    tags: String,
    index: Option<DigestView>,
    is_chosen: bool,
}

/// Bytes that a hold may let go of.
struct FreedRow {
    hold: String,
    size: Bytes,
}

#[derive(Template)]
#[template(path = "pages/images/delete.html")]
struct DeletePage {
    chrome: Chrome,
    head: Head,
    csrf_token: String,
    /// What the form sends: the selection, and what was shown of its effect.
    fields: Vec<(&'static str, String)>,
    what: String,
    tags: Vec<TagRow>,
    more_tags: Count,
    manifests: Vec<DigestView>,
    more_manifests: Count,
    staying: Vec<StayingRow>,
    more_staying: Count,
    freed: Vec<FreedRow>,
    choices: Vec<Choice>,
    /// The repository has changed since the page that was confirmed.
    has_changed: bool,
    /// More tags match than one deletion takes.
    is_cut: bool,
}

/// What is chosen by the fields of `form`.
fn selection(form: &Form) -> Selection {
    Selection {
        tags: form.all("tag").filter_map(|tag| tag.parse().ok()).collect(),
        manifests: form
            .all("digest")
            .filter_map(|digest| digest.parse().ok())
            .collect(),
        with_untagged: form.get("untagged") == Some("true"),
    }
}

/// All tags of the repository with `text` in their names, at most as many as one deletion takes, and whether there are more.
async fn matching(page: &RepositoryVisit<'_>, text: &str) -> Result<(BTreeSet<Tag>, bool), PageError> {
    let filter = TagFilter {
        text: text.to_owned(),
        ..TagFilter::default()
    };
    let mut tags = BTreeSet::new();
    let mut request = PageRequest::top(atcr_index::page::MAX_PAGE);
    loop {
        let found = page
            .browse
            .index
            .tags(page.id(), &filter, &request)
            .await
            .map_err(BrowseError::from)?;
        for tag in &found.items {
            if tags.len() == MOST_TAGS {
                return Ok((tags, true));
            }
            tags.extend(tag.name.parse::<Tag>());
        }
        match found.older {
            Some(position) => request.start = Start::After(position),
            None => return Ok((tags, false)),
        }
    }
}

/// `GET /-/delete?tag=…&digest=…`, or `?all=true&filter=…` for every tag that matches.
pub(super) async fn show(page: &RepositoryVisit<'_>, state: &AppState) -> Result<Response, PageError> {
    let visitor = own_visitor(page)?;
    let query = page.visit.query();
    let mut selection = selection(query);
    let mut is_cut = false;
    let is_all = query.get("all") == Some("true");
    if !is_all && selection.tags.is_empty() && selection.manifests.is_empty() {
        return Ok(back_to_list(page, query, News::NothingChosen));
    }
    if is_all {
        let filter: String = query
            .get("filter")
            .unwrap_or_default()
            .chars()
            .take(128)
            .collect();
        (selection.tags, is_cut) = matching(page, &filter).await?;
    }
    confirm(page, state, visitor, &selection, false, is_cut).await
}

/// The list that the visitor chose from, with `news` on top.
fn back_to_list(page: &RepositoryVisit<'_>, form: &Form, news: News) -> Response {
    let list = match form.get("list") {
        Some("manifests") => "manifests",
        _ => "tags",
    };
    Redirect::to(&news.after(&format!("{}/-/{list}", page.path))).into_response()
}

async fn confirm(
    page: &RepositoryVisit<'_>,
    state: &AppState,
    visitor: &Did,
    selection: &Selection,
    has_changed: bool,
    is_cut: bool,
) -> Result<Response, PageError> {
    let name = &page.repository.card.name;
    let planned = state.manage.removal(visitor, &page.owner, name, selection).await;
    let planned = planned.map_err(PageError::Change)?;
    let removal = &planned.removal;
    let removed = &removal.removed;
    if removed.tags.is_empty() && removed.manifests.is_empty() && removal.staying.is_empty() {
        return Ok(back_to_list(page, page.visit.query(), News::AlreadyGone));
    }
    let mut freed = Vec::new();
    for (hold, size) in removal.freed.iter().filter(|(_, size)| **size > 0) {
        let view = page.browse.index.hold(hold).await.map_err(BrowseError::from)?;
        freed.push(FreedRow {
            hold: HoldName::of(hold, view.as_ref()).name,
            size: Bytes(*size),
        });
    }
    let signed_in = page.visit.signed_in()?;
    let digest = |digest: &Digest| DigestView::new(&page.path, digest);
    let more = |number: usize| Count(number.saturating_sub(SHOWN) as u64);
    let mut fields: Vec<(&'static str, String)> = Vec::new();
    fields.extend(selection.tags.iter().map(|tag| ("tag", tag.to_string())));
    fields.extend(
        selection
            .manifests
            .iter()
            .map(|digest| ("digest", digest.to_string())),
    );
    fields.push(("untagged", selection.with_untagged.to_string()));
    fields.push(("seen", fingerprint(removal)));
    Ok(render(
        StatusCode::OK,
        &DeletePage {
            head: page.head(&RepositoryPage::Delete),
            csrf_token: signed_in.csrf_token.as_str().to_owned(),
            fields,
            what: things(
                Count(removed.tags.len() as u64),
                Count(removed.manifests.len() as u64),
            ),
            tags: removed
                .tags
                .iter()
                .take(SHOWN)
                .map(|removed| TagRow {
                    name: removed.tag.to_string(),
                    digest: removed.digest.as_ref().map(digest),
                })
                .collect(),
            more_tags: more(removed.tags.len()),
            manifests: removed
                .manifests
                .iter()
                .take(SHOWN)
                .map(|manifest| digest(&manifest.digest))
                .collect(),
            more_manifests: more(removed.manifests.len()),
            staying: removal
                .staying
                .iter()
                .take(SHOWN)
                .map(|manifest| StayingRow {
                    digest: digest(&manifest.digest),
                    tags: manifest.tags.join(", "),
                    index: manifest.index.as_ref().map(digest),
                    is_chosen: manifest.is_chosen,
                })
                .collect(),
            more_staying: more(removal.staying.len()),
            freed,
            choices: choices(page, selection),
            has_changed,
            is_cut,
            chrome: page.visit.chrome(),
        },
    ))
}

/// Links to the same deletion with and without what nothing names afterwards; none where the selection is too long for an address.
fn choices(page: &RepositoryVisit<'_>, selection: &Selection) -> Vec<Choice> {
    const LONGEST: usize = 200;
    if selection.tags.len() + selection.manifests.len() > LONGEST {
        return Vec::new();
    }
    let path = format!("{}/-/delete", page.path);
    let tags = selection.tags.iter().map(|tag| ("tag", tag.as_str()));
    let digests = selection
        .manifests
        .iter()
        .map(|digest| ("digest", digest.as_str()));
    let chosen: Vec<(&str, &str)> = tags.chain(digests).collect();
    [
        ("Delete only these tags", false),
        ("Also delete images left without a tag", true),
    ]
    .into_iter()
    .map(|(name, with_untagged)| {
        let mut query = chosen.clone();
        if with_untagged {
            query.push(("untagged", "true"));
        }
        Choice {
            href: address(&path, &query),
            name: name.to_owned(),
            count: None,
            is_current: with_untagged == selection.with_untagged,
        }
    })
    .collect()
}

/// What changes when anything else would go than was shown.
fn fingerprint(removal: &Removal) -> String {
    let mut text = String::new();
    for removed in &removal.removed.tags {
        let digest = removed.digest.as_ref().map(Digest::as_str).unwrap_or_default();
        let _ = writeln!(text, "{} {digest}", removed.tag);
    }
    for manifest in &removal.removed.manifests {
        let _ = writeln!(text, "{}", manifest.digest);
    }
    let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
    digest.hex().chars().take(32).collect()
}

/// `POST /-/delete`.
pub(super) async fn submit(
    page: &RepositoryVisit<'_>,
    state: &AppState,
    form: &Form,
) -> Result<Response, PageError> {
    page.visit.submitted(form)?;
    let visitor = own_visitor(page)?;
    let name = &page.repository.card.name;
    let selection = selection(form);
    let planned = state.manage.removal(visitor, &page.owner, name, &selection).await;
    let planned = planned.map_err(PageError::Change)?;
    if form.get("seen") != Some(fingerprint(&planned.removal).as_str()) {
        drop(planned);
        return confirm(page, state, visitor, &selection, true, false).await;
    }
    let only_manifests = planned.removal.removed.tags.is_empty();
    let deleted = state.manage.delete(visitor, &page.owner, name, planned).await;
    let left = deleted.map_err(PageError::Change)?;
    if !left.is_empty() {
        return Ok(but_for(page.visit, &left));
    }
    let is_left = page
        .browse
        .index
        .repository(&page.owner.identity.did, name)
        .await
        .map_err(BrowseError::from)?
        .is_some();
    let path = if is_left {
        let list = if only_manifests { "manifests" } else { "tags" };
        format!("{}/-/{list}", page.path)
    } else {
        format!("/u/{}", page.owner.name())
    };
    Ok(Redirect::to(&path).into_response())
}

/// Says what a deletion left alone.
fn but_for(visit: &Visit, left: &LeftAlone) -> Response {
    let tags = left.tags.iter().map(ToString::to_string);
    let manifests = left.manifests.iter().map(ToString::to_string);
    let text = format!(
        "The repository changed while the deletion was made. This stays, since it was pushed, or is needed, again: {}.",
        tags.chain(manifests).collect::<Vec<_>>().join(", ")
    );
    message(visit.chrome(), "Deleted, but for what changed", &text, Vec::new())
}

/// `POST /-/undo`; with `finish=true` the deletion is brought to its end instead. The repository may be gone with what was deleted.
pub(super) async fn undo(
    visit: &Visit,
    state: &AppState,
    address: &ImageAddress,
    form: &Form,
) -> Result<Response, PageError> {
    let signed_in = visit.submitted(form)?;
    let owner = state.browse.owner(&address.owner).await?;
    let visitor = &signed_in.session.did;
    let id = form.get("id").unwrap_or_default();
    if form.get("finish") == Some("true") {
        let finished = state
            .manage
            .finish(visitor, &owner, &address.repository, id)
            .await;
        return match finished.map_err(PageError::Change)? {
            None => Err(PageError::Refused(
                "There is nothing left to finish: this deletion is finished, or was undone, or too much time has passed.",
            )),
            Some(left) if !left.is_empty() => Ok(but_for(visit, &left)),
            Some(_) => Ok(Redirect::to(&format!("/u/{}", owner.name())).into_response()),
        };
    }
    let undone = state.manage.undo(visitor, &owner, &address.repository, id).await;
    let path = format!("{}/-/tags", repository_path(&owner.name(), &address.repository));
    match undone.map_err(PageError::Change)? {
        None => Err(PageError::Refused(
            "This deletion cannot be undone any more: it was undone already, or too much time has passed.",
        )),
        Some(missed) if missed == NotRestored::default() => {
            Ok(Redirect::to(&News::Undone.after(&path)).into_response())
        }
        Some(missed) => Ok(not_all_undone(visit, &owner, &missed)),
    }
}

/// Says which tags an undone deletion did not bring back, and how they come back.
fn not_all_undone(visit: &Visit, owner: &Owner, missed: &NotRestored) -> Response {
    let names = |tags: &[Tag]| {
        let names: Vec<String> = tags.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let mut text = String::new();
    if !missed.without_manifest.is_empty() {
        let _ = write!(
            text,
            "The image of these tags is not there any more: {}. If it was deleted here too, undo that deletion first, then this one. \
             This one is kept until then. ",
            names(&missed.without_manifest)
        );
    }
    text.push_str("Everything else is back.");
    if !missed.set_anew.is_empty() {
        let _ = write!(
            text,
            " Tags that were set anew meanwhile stay where they are now: {}.",
            names(&missed.set_anew)
        );
    }
    let title = if missed.without_manifest.is_empty() {
        "Undone, but for some tags"
    } else {
        "The image has to come back first"
    };
    let name = owner.name();
    let deletions = (format!("/u/{name}"), "Your deletions".to_owned());
    message(visit.chrome(), title, &text, vec![deletions])
}

/// The visitor, who is the owner.
fn own_visitor<'a>(page: &'a RepositoryVisit<'_>) -> Result<&'a Did, PageError> {
    page.require_own()?;
    Ok(&page.owner.identity.did)
}
