//! `/admin/relays`: who spreads the hold's records.

use askama::Template;
use atcr_web::form::Form;
use atcr_web::moment::Moment;
use atcr_web::navigation::address;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::PagesState;
use super::error::{PageError, sentence};
use super::frame::Frame;
use super::visit::Visit;

#[derive(Template)]
#[template(path = "pages/relays.html")]
struct RelaysPage {
    chrome: Chrome,
    frame: Frame,
    hostname: String,
    relays: Vec<RelayView>,
    subscribers: Vec<SubscriberView>,
}

struct RelayView {
    url: String,
    follows: bool,
    accepted: Option<Moment>,
    failures: u32,
    error: Option<String>,
    next: Option<String>,
}

struct SubscriberView {
    number: usize,
    behind: u64,
}

/// `GET /admin/relays`.
pub(super) async fn page(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = show(&visit, &state);
    visit.answer(outcome)
}

fn show(visit: &Visit, state: &PagesState) -> Result<Response, PageError> {
    let frame = Frame::new(visit, "/admin/relays")?;
    let now = state.clock.now();
    let newest = *state.repo.watch_seq().borrow();
    let relays = state.relays.states().into_iter().map(|(url, relay)| RelayView {
        url: url.to_string(),
        follows: relay.accepted,
        accepted: relay.accepted_at.map(|at| Moment::new(at.to_utc(), now)),
        failures: relay.failures,
        error: relay.error.map(|error| sentence(&error)),
        next: relay
            .next_try
            .map(|at| at.to_utc().format("%-d %B %Y, %H:%M UTC").to_string()),
    });
    let subscribers = state.overview.subscribers().into_iter().enumerate();
    let page = RelaysPage {
        chrome: visit.chrome(),
        frame,
        hostname: state.settings.hostname(),
        relays: relays.collect(),
        subscribers: subscribers
            .map(|(index, seq)| SubscriberView {
                number: index + 1,
                behind: newest.saturating_sub(seq),
            })
            .collect(),
    };
    Ok(render(StatusCode::OK, &page))
}

/// `POST /admin/relays/crawl`: asks them all once more.
pub(super) async fn crawl(visit: Visit, State(state): State<PagesState>, form: Form) -> Response {
    let outcome = async {
        let captain = &visit.submitted(&form)?.captain;
        state.audit.note(captain, "relays.ask", "all relays", "").await?;
        state.relays.announce();
        Ok(Redirect::to(&address("/admin/relays", &[("done", "asked")])).into_response())
    };
    visit.answer(outcome.await)
}
