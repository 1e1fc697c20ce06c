//! `/admin/crew/member/{rkey}`: one member.

use askama::Template;
use atcr_atproto::syntax::{Cid, RecordKey};
use atcr_hold_pds::{CrewMember, RosterEntry};
use atcr_web::figures::Count;
use atcr_web::form::Form;
use atcr_web::moment::Moment;
use atcr_web::navigation::address;
use atcr_web::view::{Chrome, render};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::terms::{TermsView, terms_of};
use super::{LIST, MemberView, ON_A_PAGE};
use crate::admin::AdminError;
use crate::admin::crew::Terms;
use crate::administration::AdministrationError;
use crate::edge::pages::PagesState;
use crate::edge::pages::error::PageError;
use crate::edge::pages::frame::Frame;
use crate::edge::pages::visit::Visit;

#[derive(Template)]
#[template(path = "pages/member.html")]
struct MemberPage {
    chrome: Chrome,
    frame: Frame,
    member: MemberView,
    terms: TermsView,
    /// Of the record that is shown: a change of another one is refused.
    version: String,
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

/// A member, the version of the record that says so, and how the list shows it.
struct Shown {
    member: CrewMember,
    version: Cid,
    view: MemberView,
}

/// The version that a form was made for. One of before this field has none, and is for whatever there is.
fn seen(form: &Form) -> Result<Option<Cid>, PageError> {
    let other = |_| AdminError::Crew(AdministrationError::Swapped);
    Ok(form.get("version").map(str::parse).transpose().map_err(other)?)
}

/// The member with this record.
async fn read_member(visit: &Visit, state: &PagesState, rkey: &str) -> Result<Shown, PageError> {
    let captain = &visit.captain()?.session.did;
    let rkey: RecordKey = rkey.parse().map_err(|_| PageError::NotFound)?;
    let (member, version) = state.crew.at(&rkey).await?;
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
    Ok(Shown {
        member,
        version,
        view,
    })
}

/// `GET /admin/crew/member/{rkey}`.
pub(in crate::edge::pages) async fn member(
    visit: Visit,
    State(state): State<PagesState>,
    Path(rkey): Path<String>,
) -> Response {
    let outcome = async {
        let shown = read_member(&visit, &state, &rkey).await?;
        let terms = TermsView::new(state.quotas.tiers(), &Terms::of_record(&shown.member.record));
        show_member(&visit, &state, shown, terms, None).await
    };
    visit.answer(outcome.await)
}

async fn show_member(
    visit: &Visit,
    state: &PagesState,
    shown: Shown,
    terms: TermsView,
    error: Option<String>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let mut repositories = state
        .crew
        .repositories(&shown.member.record.member, ON_A_PAGE + 1)
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
        member: shown.view,
        terms,
        version: shown.version.to_string(),
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

/// `POST /admin/crew/member/{rkey}`: other terms.
pub(in crate::edge::pages) async fn edit(
    visit: Visit,
    State(state): State<PagesState>,
    Path(rkey): Path<String>,
    form: Form,
) -> Response {
    let outcome = async {
        let captain = &visit.submitted(&form)?.captain;
        let mut shown = read_member(&visit, &state, &rkey).await?;
        let seen = seen(&form)?;
        let tiers = state.quotas.tiers();
        let now = shown.member.record.tier.as_deref();
        let terms = match terms_of(&form, tiers, now) {
            Ok(terms) => terms,
            Err(why) => {
                let chosen = TermsView::chosen(tiers, &form, now);
                // Still what the captain saw, not what there is by now.
                shown.version = seen.unwrap_or(shown.version);
                return show_member(&visit, &state, shown, chosen, Some(why)).await;
            }
        };
        let Shown { member, view, .. } = shown;
        let is_same = Terms::of_record(&member.record) == terms;
        state
            .crew
            .edit(captain, &member.record.member, &terms, seen.as_ref())
            .await?;
        let done = if is_same { "same" } else { "saved" };
        Ok(Redirect::to(&address(&view.href, &[("done", done)])).into_response())
    };
    visit.answer(outcome.await)
}

/// `GET /admin/crew/member/{rkey}/delete`: what a removal does.
pub(in crate::edge::pages) async fn confirm_removal(
    visit: Visit,
    State(state): State<PagesState>,
    Path(rkey): Path<String>,
) -> Response {
    let outcome = async {
        let Shown { view, .. } = read_member(&visit, &state, &rkey).await?;
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

/// `POST /admin/crew/member/{rkey}/delete`.
pub(in crate::edge::pages) async fn remove(
    visit: Visit,
    State(state): State<PagesState>,
    Path(rkey): Path<String>,
    form: Form,
) -> Response {
    let outcome = async {
        let captain = &visit.submitted(&form)?.captain;
        let Shown { member, .. } = read_member(&visit, &state, &rkey).await?;
        state.crew.remove(captain, &member.record.member).await?;
        Ok(Redirect::to(&address(LIST, &[("done", "removed")])).into_response())
    };
    visit.answer(outcome.await)
}
