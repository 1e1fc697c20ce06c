//! `/admin/crew/import` and `/admin/crew/export`: many members at once.

use askama::Template;
use atcr_hold_pds::{RosterFrom, RosterOrder, RosterQuery};
use atcr_web::figures::Count;
use atcr_web::form::{Form, LongForm};
use atcr_web::navigation::address;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::PagesState;
use super::error::PageError;
use super::frame::Frame;
use super::visit::Visit;
use crate::admin::AdminError;
use crate::admin::import::{self, Exported, MAX_LEN, MAX_ROWS, Plan, Planned, Step};

/// Members that are read at once for an export.
const READ_AT_ONCE: usize = 1000;
/// Members of one export: more are a matter for the repository's own export.
const MAX_EXPORTED: usize = 100_000;

#[derive(Template)]
#[template(path = "pages/crew_import.html")]
struct ImportPage {
    chrome: Chrome,
    frame: Frame,
    text: String,
    max_rows: usize,
    max_kilobytes: usize,
    error: Option<String>,
    plan: Option<PlanView>,
}

struct PlanView {
    rows: Vec<RowView>,
    added: Count,
    changed: Count,
    same: Count,
    refused: Count,
    mark: String,
    /// The text was confirmed, but would do something else by now.
    has_changed: bool,
}

impl PlanView {
    fn does_nothing(&self) -> bool {
        self.added.0 + self.changed.0 == 0
    }
}

struct RowView {
    number: usize,
    named: String,
    did: String,
    terms: String,
    outcome: &'static str,
    about: String,
    is_refused: bool,
}

impl RowView {
    fn new(planned: Planned) -> Self {
        let (outcome, about) = match &planned.step {
            Step::Add => ("added", String::new()),
            Step::Change { before, .. } => ("changed", format!("now: {}", before.in_words())),
            Step::Same => ("stays as it is", String::new()),
            Step::Refused(why) => ("left out", why.clone()),
        };
        Self {
            number: planned.row,
            is_refused: matches!(planned.step, Step::Refused(_)),
            named: planned.named,
            did: planned.did.map_or_else(String::new, |did| did.to_string()),
            terms: planned.terms.map_or_else(String::new, |terms| terms.in_words()),
            outcome,
            about,
        }
    }
}

/// `GET /admin/crew/import`.
pub(super) async fn form(visit: Visit) -> Response {
    let outcome = show(&visit, String::new(), None, None);
    visit.answer(outcome)
}

fn show(
    visit: &Visit,
    text: String,
    plan: Option<PlanView>,
    error: Option<String>,
) -> Result<Response, PageError> {
    let status = if error.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let page = ImportPage {
        chrome: visit.chrome(),
        frame: Frame::new(visit, "/admin/crew")?,
        text,
        max_rows: MAX_ROWS,
        max_kilobytes: MAX_LEN / 1024,
        error,
        plan,
    };
    Ok(render(status, &page))
}

/// `POST /admin/crew/import`: the plan; with the plan's mark, what it says.
pub(super) async fn submit(
    visit: Visit,
    State(state): State<PagesState>,
    LongForm(form): LongForm,
) -> Response {
    let outcome = plan_or_run(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn plan_or_run(visit: &Visit, state: &PagesState, form: &Form) -> Result<Response, PageError> {
    let captain = &visit.submitted(form)?.captain;
    let text = form.get("members").unwrap_or_default();
    let plan = match import::plan(text, captain, &state.crew, &state.accounts, state.quotas.tiers()).await {
        Ok(plan) => plan,
        Err(AdminError::Refused(why)) => return show(visit, text.to_owned(), None, Some(why)),
        Err(error) => return Err(error.into()),
    };
    let confirmed = form.get("mark");
    if confirmed == Some(plan.mark.as_str()) {
        let now = state.clock.now_datetime();
        import::run(&plan, captain, &state.crew, &now).await?;
        let added = plan.count(|step| matches!(step, Step::Add)).to_string();
        let changed = plan.count(|step| matches!(step, Step::Change { .. })).to_string();
        let done = [("done", "imported"), ("added", &added), ("changed", &changed)];
        return Ok(Redirect::to(&address("/admin/crew", &done)).into_response());
    }
    let view = view(plan, confirmed.is_some());
    show(visit, text.to_owned(), Some(view), None)
}

fn view(plan: Plan, has_changed: bool) -> PlanView {
    PlanView {
        added: Count(plan.count(|step| matches!(step, Step::Add))),
        changed: Count(plan.count(|step| matches!(step, Step::Change { .. }))),
        same: Count(plan.count(|step| matches!(step, Step::Same))),
        refused: Count(plan.count(|step| matches!(step, Step::Refused(_)))),
        mark: plan.mark,
        rows: plan.rows.into_iter().map(RowView::new).collect(),
        has_changed,
    }
}

/// `GET /admin/crew/export`, with `format=csv` or `json`.
pub(super) async fn export(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = export_all(&visit, &state).await;
    visit.answer(outcome)
}

async fn export_all(visit: &Visit, state: &PagesState) -> Result<Response, PageError> {
    visit.captain()?;
    let mut members = Vec::new();
    let mut from = RosterFrom::Top;
    loop {
        let query = RosterQuery {
            from,
            limit: READ_AT_ONCE,
            ..RosterQuery::default()
        };
        let (page, _) = state.crew.page("", query).await?;
        let last = page.entries.last().map(|entry| entry.place(RosterOrder::Newest));
        let dids: Vec<String> = page.entries.iter().map(|entry| entry.member.clone()).collect();
        let mut names = state.accounts.known(&dids).await?;
        members.extend(page.entries.into_iter().map(|entry| {
            let handle = names.remove(&entry.member);
            Exported::new(entry, handle)
        }));
        match last.filter(|_| page.has_below && members.len() < MAX_EXPORTED) {
            Some(place) => from = RosterFrom::Below(place),
            None => break,
        }
    }
    let unwritable = || AdminError::Refused("The list cannot be written.".to_owned());
    let (bytes, kind, name) = match visit.query().get("format") {
        Some("json") => (
            serde_json::to_vec_pretty(&members).map_err(|_| unwritable())?,
            "application/json",
            "attachment; filename=\"crew.json\"",
        ),
        _ => (
            import::to_csv(members).map_err(|_| unwritable())?,
            "text/csv; charset=utf-8",
            "attachment; filename=\"crew.csv\"",
        ),
    };
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(name));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
