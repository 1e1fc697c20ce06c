//! `/admin/audit`: who changed what.

use askama::Template;
use atcr_web::figures::Count;
use atcr_web::moment::Moment;
use atcr_web::navigation::address;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::PagesState;
use super::error::PageError;
use super::frame::Frame;
use super::visit::Visit;
use crate::admin::audit::{Verdict, hex};

/// Entries of one page.
const ON_A_PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "pages/audit.html")]
struct AuditPage {
    chrome: Chrome,
    frame: Frame,
    verdict: VerdictView,
    entries: Vec<EntryView>,
    first: Option<String>,
    older: Option<String>,
}

enum VerdictView {
    Whole { entries: Count, head: String },
    Broken { at: u64 },
}

struct EntryView {
    seq: u64,
    at: Moment,
    actor: String,
    what: String,
    subject: String,
    detail: String,
    hash: String,
}

/// `GET /admin/audit`, with `below` for the next page.
pub(super) async fn page(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = show(&visit, &state).await;
    visit.answer(outcome)
}

async fn show(visit: &Visit, state: &PagesState) -> Result<Response, PageError> {
    let frame = Frame::new(visit, "/admin/audit")?;
    let below = visit.query().get("below").and_then(|text| text.parse().ok());
    let entries = state.audit.page(below, ON_A_PAGE).await?;
    let verdict = match state.audit.verify().await? {
        Verdict::Whole { entries, head } => VerdictView::Whole {
            entries: Count(entries),
            head,
        },
        Verdict::Broken { at } => VerdictView::Broken { at },
    };
    let now = state.clock.now();
    let last = entries.last().map(|entry| entry.seq);
    let page = AuditPage {
        chrome: visit.chrome(),
        frame,
        verdict,
        older: last
            .filter(|seq| *seq > 1)
            .map(|seq| address("/admin/audit", &[("below", &seq.to_string())])),
        first: below.map(|_: u64| "/admin/audit".to_owned()),
        entries: entries
            .into_iter()
            .map(|entry| EntryView {
                seq: entry.seq,
                at: Moment::new(entry.at, now),
                what: what(&entry.action).to_owned(),
                hash: hex(&entry.hash).chars().take(12).collect(),
                actor: entry.actor,
                subject: entry.subject,
                detail: entry.detail,
            })
            .collect(),
    };
    Ok(render(StatusCode::OK, &page))
}

/// An action in words; one of another version as it is.
fn what(action: &str) -> &str {
    match action {
        "crew.add" => "added a member",
        "crew.edit" => "changed a member",
        "crew.remove" => "removed a member",
        "crew.failed" | "settings.failed" | "scans.failed" => "that did not work",
        "settings" => "changed what the file leaves open",
        "relays.ask" => "asked the relays",
        "scans.again" => "had images scanned again",
        other => other,
    }
}
