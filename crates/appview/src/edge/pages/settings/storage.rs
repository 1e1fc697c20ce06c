//! `/settings/storage`: where pushes go, and what is used.

use askama::Template;
use atcr_index::view::HoldView;
use atcr_web::drawings::Bar;
use atcr_web::figures::{Gibibytes, percent};
use atcr_web::form::Form;
use atcr_web::navigation::Tab;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::{account_of, sections};
use crate::edge::dialect::page::{PageError, sentence};
use crate::edge::pages::images::HoldName;
use crate::edge::pages::visit::Visit;
use crate::manage::{CheckedHold, HoldChoice, HoldRefusal, Usage};
use crate::state::AppState;

/// What is used of a hold.
enum UsageView {
    NotAsked,
    Unlimited(String),
    Limited {
        text: String,
        bar: Bar,
        percent: u64,
        is_full: bool,
    },
    Silent(String),
}

impl UsageView {
    fn of(usage: &Usage) -> Self {
        let quota = match usage {
            Usage::NotAsked => return Self::NotAsked,
            Usage::Silent(why) => return Self::Silent(sentence(why)),
            Usage::Said(quota) => quota,
        };
        let used = quota.used_bytes;
        match quota.limit_bytes {
            None => Self::Unlimited(format!("{} used, no limit", Gibibytes(used))),
            Some(limit) => Self::Limited {
                text: format!("{} of {} used", Gibibytes(used), Gibibytes(limit)),
                bar: Bar {
                    part: used,
                    whole: limit,
                },
                percent: percent(used, limit),
                is_full: used >= limit,
            },
        }
    }
}

/// A hold to choose.
struct HoldRow {
    did: String,
    name: String,
    region: String,
    /// `you own it`, `you are a member`, `everyone may push`, `members only`.
    relation: &'static str,
    tier: String,
    is_public: Option<bool>,
    is_current: bool,
    usage: UsageView,
}

impl HoldRow {
    fn of(choice: &HoldChoice, account: &atcr_atproto::syntax::Did) -> Self {
        let view: Option<&HoldView> = choice.view.as_ref();
        let name = HoldName::of(&choice.did, view);
        let is_captain = view.is_some_and(|view| view.captain == *account);
        Self {
            relation: match (is_captain, &choice.membership, view) {
                (true, ..) => "you own it",
                (false, Some(_), _) => "you are a member",
                (false, None, Some(view)) if view.allow_all_crew => "everyone may push",
                (false, None, Some(_)) => "members only",
                (false, None, None) => "not in this registry's index yet",
            },
            tier: choice
                .membership
                .as_ref()
                .map(|membership| membership.tier.clone())
                .unwrap_or_default(),
            is_public: name.is_public,
            did: name.did,
            name: name.name,
            region: name.region,
            is_current: choice.is_current,
            usage: UsageView::of(&choice.usage),
        }
    }
}

/// What the page has to say on top.
enum News {
    None,
    Saved,
    /// What was typed is no hold that can be used.
    Refused(String),
    /// The hold works, but as far as is known not for this account.
    NotMember {
        did: String,
    },
}

#[derive(Template)]
#[template(path = "pages/settings/storage.html")]
struct StoragePage {
    chrome: Chrome,
    sections: Vec<Tab>,
    csrf_token: String,
    holds: Vec<HoldRow>,
    has_current: bool,
    auto_remove_untagged: bool,
    typed: String,
    news: News,
}

/// `GET /settings/storage`.
pub async fn page(visit: Visit, State(state): State<AppState>) -> Response {
    let news = match visit.query().get("saved") {
        Some(_) => News::Saved,
        None => News::None,
    };
    let outcome = show(&visit, &state, StatusCode::OK, news, "").await;
    visit.answer(outcome)
}

async fn show(
    visit: &Visit,
    state: &AppState,
    status: StatusCode,
    news: News,
    typed: &str,
) -> Result<Response, PageError> {
    let signed_in = visit.signed_in()?;
    let account = account_of(visit, state).await?;
    let storage = state
        .manage
        .storage(&account.identity)
        .await
        .map_err(PageError::Change)?;
    Ok(render(
        status,
        &StoragePage {
            sections: sections("/settings/storage"),
            csrf_token: signed_in.csrf_token.as_str().to_owned(),
            holds: storage
                .holds
                .iter()
                .map(|hold| HoldRow::of(hold, &account.identity.did))
                .collect(),
            has_current: storage.current.is_some(),
            auto_remove_untagged: storage.auto_remove_untagged,
            typed: typed.chars().take(300).collect(),
            news,
            chrome: visit.chrome(),
        },
    ))
}

/// `POST /settings/storage/hold` with `hold`, a DID or an address, and `anyway=true` for one that does not seem to take the account.
pub async fn choose(visit: Visit, State(state): State<AppState>, form: Form) -> Response {
    let outcome = keep_hold(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn keep_hold(visit: &Visit, state: &AppState, form: &Form) -> Result<Response, PageError> {
    let signed_in = visit.submitted(form)?;
    let typed = form.get("hold").unwrap_or_default();
    let refused = StatusCode::UNPROCESSABLE_ENTITY;
    let hold = match state.manage.check_hold(&signed_in.session.did, typed).await {
        Ok(CheckedHold { may_push: false, did }) if form.get("anyway") != Some("true") => {
            let news = News::NotMember { did: did.to_string() };
            return show(visit, state, refused, news, typed).await;
        }
        Ok(checked) => checked.did,
        Err(error @ (HoldRefusal::Malformed | HoldRefusal::Unusable(_))) => {
            let news = News::Refused(sentence(&error.to_string()));
            return show(visit, state, refused, news, typed).await;
        }
    };
    let account = account_of(visit, state).await?;
    let saved = state.manage.set_hold(&account.identity, hold).await;
    saved.map_err(PageError::Change)?;
    Ok(Redirect::to("/settings/storage?saved=hold").into_response())
}

/// `POST /settings/storage/auto-remove` with `on=true` or nothing.
pub async fn auto_remove(visit: Visit, State(state): State<AppState>, form: Form) -> Response {
    let outcome = keep_auto_remove(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn keep_auto_remove(visit: &Visit, state: &AppState, form: &Form) -> Result<Response, PageError> {
    visit.submitted(form)?;
    let account = account_of(visit, state).await?;
    let on = form.get("on") == Some("true");
    let saved = state.manage.set_auto_remove(&account.identity, on).await;
    saved.map_err(PageError::Change)?;
    Ok(Redirect::to("/settings/storage?saved=untagged").into_response())
}
