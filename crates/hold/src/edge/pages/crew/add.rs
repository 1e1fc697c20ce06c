//! `/admin/crew/add`: an account is looked up, and joins.

use askama::Template;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::access::{Permission, Permissions};
use atcr_web::drawings::Initial;
use atcr_web::form::Form;
use atcr_web::navigation::address;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::terms::{TermsView, terms_of};
use super::{LIST, member_href};
use crate::admin::AdminError;
use crate::admin::accounts::Found;
use crate::admin::crew::{DEFAULT_ROLE, Terms};
use crate::edge::pages::PagesState;
use crate::edge::pages::error::PageError;
use crate::edge::pages::frame::Frame;
use crate::edge::pages::visit::Visit;

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
pub(in crate::edge::pages) async fn add_form(visit: Visit, State(state): State<PagesState>) -> Response {
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
        Ok(member) => Some(member_href(&member.rkey)),
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
pub(in crate::edge::pages) async fn add(
    visit: Visit,
    State(state): State<PagesState>,
    form: Form,
) -> Response {
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
                terms: TermsView::chosen(state.quotas.tiers(), form, None),
            };
            Ok(render(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
    }
}
