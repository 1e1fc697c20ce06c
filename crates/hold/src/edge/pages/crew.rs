//! `/admin/crew`: who may do what.

use std::collections::HashMap;

use askama::Template;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_hold_pds::access::{Permission, Permissions};
use atcr_hold_pds::{CrewMember, RosterEntry, RosterFrom, RosterOrder, RosterPlace, RosterQuery};
use atcr_web::drawings::{Bar, Initial};
use atcr_web::figures::{Bytes, Count, percent};
use atcr_web::form::Form;
use atcr_web::moment::Moment;
use atcr_web::navigation::{Choice, address};
use atcr_web::view::{Chrome, render};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;

use super::PagesState;
use super::error::PageError;
use super::frame::Frame;
use super::visit::Visit;
use crate::admin::AdminError;
use crate::admin::accounts::Found;
use crate::admin::crew::{DEFAULT_ROLE, Terms};
use crate::quota::{self, Tiers};

/// Members of one page.
const ON_A_PAGE: usize = 50;
/// The list.
const LIST: &str = "/admin/crew";

#[derive(Template)]
#[template(path = "pages/crew.html")]
struct CrewPage {
    chrome: Chrome,
    frame: Frame,
    query: String,
    sort: &'static str,
    orders: Vec<Choice>,
    members: Vec<MemberView>,
    all: Count,
    first: Option<String>,
    above: Option<String>,
    below: Option<String>,
}

/// A member on a page.
struct MemberView {
    href: String,
    did: String,
    handle: Option<String>,
    role: String,
    permissions: Vec<String>,
    tier: Option<String>,
    added: Option<Moment>,
    stored: Bytes,
    blobs: Count,
    /// How much of what is allowed that is; `None` without a limit.
    quota: Option<QuotaView>,
    is_captain: bool,
}

/// How much a member may keep.
struct QuotaView {
    limit: String,
    percent: u64,
    bar: Bar,
}

impl MemberView {
    fn new(
        entry: RosterEntry,
        names: &HashMap<String, String>,
        tiers: &Tiers,
        captain: &Did,
        now: DateTime<Utc>,
    ) -> Self {
        let is_captain = entry.member == captain.as_str();
        let tier = tiers.of_member(entry.tier.as_deref()).filter(|_| !is_captain);
        let used = entry.usage.total_bytes;
        Self {
            href: format!("{LIST}/{}", entry.rkey),
            handle: names.get(&entry.member).cloned(),
            is_captain,
            did: entry.member,
            role: entry.role,
            permissions: entry.permissions,
            quota: tier.map(|tier| QuotaView {
                limit: quota::bytes::format(tier.quota_bytes),
                percent: percent(used, tier.quota_bytes),
                bar: Bar {
                    part: used,
                    whole: tier.quota_bytes,
                },
            }),
            tier: tier.map(|tier| tier.name.clone()).or(entry.tier),
            added: at_micros(entry.added_micros).map(|at| Moment::new(at, now)),
            stored: Bytes(entry.usage.total_bytes),
            blobs: Count(entry.usage.unique_blobs),
        }
    }

    fn name(&self) -> &str {
        self.handle.as_deref().unwrap_or(&self.did)
    }

    fn initial(&self) -> Initial<'_> {
        Initial {
            name: self.handle.as_deref().unwrap_or("?"),
            id: &self.did,
            class: "",
        }
    }
}

fn at_micros(micros: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(i64::try_from(micros).ok()?)
}

/// A place in the list as it stands in an address: `123.key`.
fn place(text: &str) -> Option<RosterPlace> {
    let (by, rkey) = text.split_once('.')?;
    Some(RosterPlace {
        by: by.parse().ok()?,
        rkey: rkey.parse().ok()?,
    })
}

fn in_address(place: &RosterPlace) -> String {
    format!("{}.{}", place.by, place.rkey)
}

/// `GET /admin/crew`, with `q`, `sort` and, for the next pages, `after` or `before`.
pub(super) async fn list(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = show_list(&visit, &state).await;
    visit.answer(outcome)
}

async fn show_list(visit: &Visit, state: &PagesState) -> Result<Response, PageError> {
    let frame = Frame::new(visit, LIST)?;
    let captain = &visit.captain()?.session.did;
    let parameters = visit.query();
    let text: String = parameters.get("q").unwrap_or_default().to_owned();
    let (order, sort) = match parameters.get("sort") {
        Some("storage") => (RosterOrder::Largest, "storage"),
        _ => (RosterOrder::Newest, ""),
    };
    let from = match (parameters.get("after"), parameters.get("before")) {
        (Some(after), _) => place(after).map(RosterFrom::Below),
        (None, Some(before)) => place(before).map(RosterFrom::Above),
        (None, None) => None,
    };
    let query = RosterQuery {
        order,
        from: from.unwrap_or_default(),
        limit: ON_A_PAGE,
        ..RosterQuery::default()
    };
    let page = state.crew.page(&text, query).await?;
    let dids: Vec<String> = page.entries.iter().map(|entry| entry.member.clone()).collect();
    let names = state.accounts.handles(&dids).await?;
    let to = |name: &str, entry: &RosterEntry| {
        let place = in_address(&entry.place(order));
        address(LIST, &[("q", &text), ("sort", sort), (name, &place)])
    };
    let above = page.entries.first().filter(|_| page.has_above);
    let below = page.entries.last().filter(|_| page.has_below);
    let (above, below) = (
        above.map(|entry| to("before", entry)),
        below.map(|entry| to("after", entry)),
    );
    let orders = [("", "Newest first"), ("storage", "Most stored first")];
    let now = state.clock.now();
    let all: u64 = state
        .repo
        .crew_by_tier()
        .await?
        .iter()
        .map(|(_, members)| members)
        .sum();
    let page = CrewPage {
        chrome: visit.chrome(),
        frame,
        orders: orders
            .into_iter()
            .map(|(value, name)| Choice {
                href: address(LIST, &[("q", &text), ("sort", value)]),
                name: name.to_owned(),
                count: None,
                is_current: value == sort,
            })
            .collect(),
        first: page
            .has_above
            .then(|| address(LIST, &[("q", &text), ("sort", sort)])),
        above,
        below,
        members: page
            .entries
            .into_iter()
            .map(|entry| MemberView::new(entry, &names, state.quotas.tiers(), captain, now))
            .collect(),
        all: Count(all),
        query: text,
        sort,
    };
    Ok(render(StatusCode::OK, &page))
}

/// The fields of terms in a form.
struct TermsView {
    role: String,
    permissions: Vec<(&'static str, &'static str, bool)>,
    /// The value, what it means, and whether it is chosen. None: the hold has no tiers.
    tiers: Vec<(String, String, bool)>,
}

impl TermsView {
    fn new(tiers: &Tiers, terms: &Terms) -> Self {
        let about = |permission| match permission {
            Permission::BlobRead => "pull from a private hold",
            Permission::BlobWrite => "push, and pull",
            Permission::CrewAdmin => "manage members with tools, push and pull",
        };
        Self {
            role: terms.role.clone(),
            permissions: Permission::ALL
                .into_iter()
                .map(|permission| {
                    let is_granted = terms.permissions.contains(permission);
                    (permission.as_str(), about(permission), is_granted)
                })
                .collect(),
            tiers: choices(tiers, terms.tier.as_deref()),
        }
    }
}

/// What may be chosen as a tier; `now` is the one that the record names.
fn choices(tiers: &Tiers, now: Option<&str>) -> Vec<(String, String, bool)> {
    let Some(founding) = tiers.of_member(None) else {
        return Vec::new();
    };
    let named = tiers.all().iter().map(|tier| {
        let about = format!("{}, {}", tier.name, quota::bytes::format(tier.quota_bytes));
        (tier.name.clone(), about, now == Some(tier.name.as_str()))
    });
    let mut choices: Vec<(String, String, bool)> = named.collect();
    // A record without a tier is that of somebody who was there before there were tiers.
    let about = format!(
        "founding member (plankowner): as {}, {}",
        founding.name,
        quota::bytes::format(founding.quota_bytes)
    );
    choices.push((String::new(), about, now.is_none()));
    if let Some(gone) = now.filter(|now| !tiers.all().iter().any(|tier| tier.name == *now)) {
        choices.push((
            gone.to_owned(),
            format!("{gone}, which is no tier any more"),
            true,
        ));
    }
    choices
}

/// The terms that a form names; `now` is the tier of the record, which may stay whatever it is.
fn terms_of(form: &Form, tiers: &Tiers, now: Option<&str>) -> Result<Terms, String> {
    let role = form.get("role").unwrap_or_default();
    let tier = form.get("tier").unwrap_or_default();
    let terms = Terms::of_words(role, form.all("permission"), tier)?;
    if terms.tier.as_deref() != now {
        terms.check_tier(tiers)?;
    }
    Ok(terms)
}

#[derive(Template)]
#[template(path = "pages/crew_add.html")]
struct AddPage {
    chrome: Chrome,
    frame: Frame,
    typed: String,
    error: Option<String>,
    found: Option<FoundView>,
    terms: TermsView,
}

/// An account that was looked up.
struct FoundView {
    found: Found,
    /// The member's page, if it is one.
    member: Option<String>,
    error: Option<String>,
}

impl FoundView {
    fn initial(&self) -> Initial<'_> {
        let name = self.found.name.as_ref().or(self.found.handle.as_ref());
        Initial {
            name: name.map_or("?", String::as_str),
            id: self.found.did.as_str(),
            class: "avatar--large",
        }
    }
}

/// `GET /admin/crew/add`; with `account`, the account is looked up and shown.
pub(super) async fn add_form(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = show_add(&visit, &state).await;
    visit.answer(outcome)
}

async fn show_add(visit: &Visit, state: &PagesState) -> Result<Response, PageError> {
    let frame = Frame::new(visit, LIST)?;
    let typed = visit.query().get("account").unwrap_or_default().trim().to_owned();
    let mut page = AddPage {
        chrome: visit.chrome(),
        frame,
        error: None,
        found: None,
        terms: usual_terms(state),
        typed,
    };
    if page.typed.is_empty() {
        return Ok(render(StatusCode::OK, &page));
    }
    match state.accounts.find(&page.typed).await {
        Ok(found) => page.found = Some(found_view(state, found, None).await?),
        Err(AdminError::Refused(why)) => {
            page.error = Some(why);
            return Ok(render(StatusCode::UNPROCESSABLE_ENTITY, &page));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(render(StatusCode::OK, &page))
}

async fn found_view(state: &PagesState, found: Found, error: Option<String>) -> Result<FoundView, PageError> {
    let member = match state.crew.member(&found.did).await {
        Ok(member) => Some(format!("{LIST}/{}", member.rkey)),
        Err(AdminError::NoMember) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(FoundView { found, member, error })
}

/// What a new member usually gets.
fn usual_terms(state: &PagesState) -> TermsView {
    let tiers = state.quotas.tiers();
    let usual = Terms {
        role: DEFAULT_ROLE.to_owned(),
        permissions: Permissions::from_iter([Permission::BlobRead, Permission::BlobWrite]),
        tier: tiers.of_newcomer().map(|tier| tier.name.clone()),
    };
    TermsView::new(tiers, &usual)
}

/// `POST /admin/crew/add`: saves what was shown.
pub(super) async fn add(visit: Visit, State(state): State<PagesState>, form: Form) -> Response {
    let outcome = save_new(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn save_new(visit: &Visit, state: &PagesState, form: &Form) -> Result<Response, PageError> {
    let captain = &visit.submitted(form)?.captain;
    let did = form.get("did").and_then(|did| did.parse::<Did>().ok());
    let did = did.ok_or_else(|| AdminError::Refused("Look an account up first.".to_owned()))?;
    match terms_of(form, state.quotas.tiers(), None) {
        Ok(terms) => {
            let now = state.clock.now_datetime();
            state.crew.add(captain, &did, &terms, now).await?;
            Ok(Redirect::to(&address(LIST, &[("done", "added")])).into_response())
        }
        Err(why) => {
            let found = state.accounts.find(did.as_str()).await?;
            let page = AddPage {
                chrome: visit.chrome(),
                frame: Frame::new(visit, LIST)?,
                typed: did.to_string(),
                error: None,
                found: Some(found_view(state, found, Some(why)).await?),
                terms: usual_terms(state),
            };
            Ok(render(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
    }
}

#[derive(Template)]
#[template(path = "pages/member.html")]
struct MemberPage {
    chrome: Chrome,
    frame: Frame,
    member: MemberView,
    terms: TermsView,
    error: Option<String>,
    repositories: Vec<RepositoryView>,
    is_cut: bool,
}

/// A repository of a member.
struct RepositoryView {
    name: String,
    pulls: Count,
    pushes: Count,
    last_push: Option<Moment>,
    last_pull: Option<Moment>,
}

#[derive(Template)]
#[template(path = "pages/member_remove.html")]
struct RemovePage {
    chrome: Chrome,
    frame: Frame,
    member: MemberView,
    /// Everybody may join, so also who was removed.
    is_open: bool,
    is_public: bool,
}

/// The member with this record, and how the list shows it.
async fn read_member(
    visit: &Visit,
    state: &PagesState,
    rkey: &str,
) -> Result<(CrewMember, MemberView), PageError> {
    let captain = &visit.captain()?.session.did;
    let rkey: RecordKey = rkey.parse().map_err(|_| PageError::NotFound)?;
    let member = state.crew.at(&rkey).await?;
    let usage = state.repo.usage_of(&member.record.member).await?;
    let did = member.record.member.to_string();
    let names = state.accounts.handles(std::slice::from_ref(&did)).await?;
    let entry = RosterEntry {
        rkey,
        member: did,
        role: member.record.role.clone(),
        permissions: member.record.permissions.clone(),
        tier: member.record.tier.clone(),
        added_micros: u64::try_from(member.record.added_at.to_utc().timestamp_micros()).unwrap_or(0),
        usage,
    };
    let tiers = state.quotas.tiers();
    let view = MemberView::new(entry, &names, tiers, captain, state.clock.now());
    Ok((member, view))
}

/// `GET /admin/crew/{rkey}`.
pub(super) async fn member(
    visit: Visit,
    State(state): State<PagesState>,
    Path(rkey): Path<String>,
) -> Response {
    let outcome = async {
        let (member, view) = read_member(&visit, &state, &rkey).await?;
        show_member(&visit, &state, &member, view, None).await
    };
    visit.answer(outcome.await)
}

async fn show_member(
    visit: &Visit,
    state: &PagesState,
    member: &CrewMember,
    view: MemberView,
    error: Option<String>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let mut repositories = state
        .crew
        .repositories(&member.record.member, ON_A_PAGE + 1)
        .await?;
    let is_cut = repositories.len() > ON_A_PAGE;
    repositories.truncate(ON_A_PAGE);
    let status = if error.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let page = MemberPage {
        chrome: visit.chrome(),
        frame: Frame::new(visit, LIST)?,
        member: view,
        terms: TermsView::new(state.quotas.tiers(), &Terms::of_record(&member.record)),
        error,
        repositories: repositories
            .into_iter()
            .map(|counted| RepositoryView {
                name: counted.repository,
                pulls: Count(counted.pulls),
                pushes: Count(counted.pushes),
                last_push: counted.last_push.map(|at| Moment::new(at, now)),
                last_pull: counted.last_pull.map(|at| Moment::new(at, now)),
            })
            .collect(),
        is_cut,
    };
    Ok(render(status, &page))
}

/// `POST /admin/crew/{rkey}`: other terms.
pub(super) async fn edit(
    visit: Visit,
    State(state): State<PagesState>,
    Path(rkey): Path<String>,
    form: Form,
) -> Response {
    let outcome = async {
        let captain = &visit.submitted(&form)?.captain;
        let (member, view) = read_member(&visit, &state, &rkey).await?;
        let now = member.record.tier.as_deref();
        let terms = match terms_of(&form, state.quotas.tiers(), now) {
            Ok(terms) => terms,
            Err(why) => return show_member(&visit, &state, &member, view, Some(why)).await,
        };
        let is_same = Terms::of_record(&member.record) == terms;
        state.crew.edit(captain, &member.record.member, &terms).await?;
        let done = if is_same { "same" } else { "saved" };
        Ok(Redirect::to(&address(&view.href, &[("done", done)])).into_response())
    };
    visit.answer(outcome.await)
}

/// `GET /admin/crew/{rkey}/delete`: what a removal does.
pub(super) async fn confirm_removal(
    visit: Visit,
    State(state): State<PagesState>,
    Path(rkey): Path<String>,
) -> Response {
    let outcome = async {
        let (_, view) = read_member(&visit, &state, &rkey).await?;
        if view.is_captain {
            return Err(AdminError::CaptainStays.into());
        }
        let captain = state.repo.captain().await?;
        let page = RemovePage {
            chrome: visit.chrome(),
            frame: Frame::new(&visit, LIST)?,
            member: view,
            is_open: captain.as_ref().is_some_and(|captain| captain.allow_all_crew),
            is_public: captain.is_some_and(|captain| captain.public),
        };
        Ok(render(StatusCode::OK, &page))
    };
    visit.answer(outcome.await)
}

/// `POST /admin/crew/{rkey}/delete`.
pub(super) async fn remove(
    visit: Visit,
    State(state): State<PagesState>,
    Path(rkey): Path<String>,
    form: Form,
) -> Response {
    let outcome = async {
        let captain = &visit.submitted(&form)?.captain;
        let (member, _) = read_member(&visit, &state, &rkey).await?;
        state.crew.remove(captain, &member.record.member).await?;
        Ok(Redirect::to(&address(LIST, &[("done", "removed")])).into_response())
    };
    visit.answer(outcome.await)
}
