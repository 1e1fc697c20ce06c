//! `/admin/scans`: what is scanned, by whom, and what waits.

use askama::Template;
use atcr_oci::Digest;
use atcr_scan_protocol::JobState;
use atcr_web::figures::Count;
use atcr_web::form::Form;
use atcr_web::moment::Moment;
use atcr_web::navigation::address;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;

use super::PagesState;
use super::error::PageError;
use super::frame::Frame;
use super::visit::Visit;
use crate::admin::AdminError;
use crate::scanning::ListedJob;

/// Jobs of each state on the page.
const ON_A_PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "pages/scans.html")]
struct ScansPage {
    chrome: Chrome,
    frame: Frame,
    queue: Option<QueueView>,
    lists: Vec<ListView>,
    /// How a scanner is run.
    command: String,
}

struct QueueView {
    ready: Count,
    resting: Count,
    running: Count,
    oldest: Option<Moment>,
    scanners: Vec<ScannerView>,
}

struct ScannerView {
    number: usize,
    kind: &'static str,
    jobs: usize,
    places: usize,
}

struct ListView {
    id: &'static str,
    title: &'static str,
    jobs: Vec<JobView>,
    /// A job may be tried again.
    is_over: bool,
    is_cut: bool,
}

struct JobView {
    image: String,
    digest: String,
    short: String,
    since: Moment,
    about: String,
}

impl JobView {
    fn new(job: ListedJob, owner: String, now: DateTime<Utc>) -> Self {
        let tag = job.tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = job.digest.to_string();
        let status = job.status;
        let about = match (status.failure, status.failure_class) {
            (Some(failure), _) if status.tries > 1 => format!("{failure} (tried {} times)", status.tries),
            (Some(failure), _) => failure,
            (None, Some(class)) => class,
            (None, None) => status.stage.unwrap_or_default(),
        };
        Self {
            image: format!("{owner}/{}{tag}", job.repository),
            short: digest.chars().skip("sha256:".len()).take(12).collect(),
            digest,
            since: Moment::new(status.ended_at.unwrap_or(status.queued_at), now),
            about,
        }
    }
}

/// `GET /admin/scans`.
pub(super) async fn page(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = show(&visit, &state).await;
    visit.answer(outcome)
}

async fn show(visit: &Visit, state: &PagesState) -> Result<Response, PageError> {
    let frame = Frame::new(visit, "/admin/scans")?;
    let mut lists = Vec::new();
    let queue = if state.scanning.is_enabled() {
        for (job_state, id, title) in [
            (JobState::Failed, "failed", "Failed"),
            (JobState::Resting, "resting", "Waiting for another try"),
            (JobState::Running, "running", "Running"),
            (JobState::Ready, "ready", "Waiting, the newest first"),
        ] {
            lists.extend(list(state, job_state, id, title).await?);
        }
        Some(queue(state).await?)
    } else {
        None
    };
    let page = ScansPage {
        chrome: visit.chrome(),
        frame,
        queue,
        lists,
        command: format!(
            "SCANNER_HOLD_URL={} SCANNER_SHARED_SECRET=… atcr-scanner serve",
            state.identity.endpoint()
        ),
    };
    Ok(render(StatusCode::OK, &page))
}

async fn queue(state: &PagesState) -> Result<QueueView, PageError> {
    let (figures, _) = state.scanning.standing().await?;
    let scanners = state.scanning.connected().into_iter().enumerate();
    let now = state.clock.now();
    Ok(QueueView {
        ready: Count(figures.ready),
        resting: Count(figures.resting),
        running: Count(figures.running),
        oldest: figures.oldest.map(|at| Moment::new(at, now)),
        scanners: scanners
            .map(|(index, scanner)| ScannerView {
                number: index + 1,
                kind: if scanner.is_original {
                    "the original's scanner"
                } else {
                    "atcr-scanner"
                },
                jobs: scanner.jobs,
                places: scanner.places,
            })
            .collect(),
    })
}

/// Jobs of a state, if there are any.
async fn list(
    state: &PagesState,
    job_state: JobState,
    id: &'static str,
    title: &'static str,
) -> Result<Option<ListView>, PageError> {
    let jobs = state.scanning.jobs(job_state, ON_A_PAGE).await?;
    if jobs.is_empty() {
        return Ok(None);
    }
    let owners: Vec<String> = jobs.iter().map(|job| job.owner.to_string()).collect();
    let names = state.accounts.handles(&owners).await?;
    let now = state.clock.now();
    Ok(Some(ListView {
        id,
        title,
        is_over: matches!(job_state, JobState::Failed | JobState::Resting),
        is_cut: jobs.len() as u64 == u64::from(ON_A_PAGE),
        jobs: jobs
            .into_iter()
            .map(|job| {
                let owner = job.owner.to_string();
                let owner = names.get(&owner).cloned().unwrap_or(owner);
                JobView::new(job, owner, now)
            })
            .collect(),
    }))
}

/// `POST /admin/scans/again`, with `digest`.
pub(super) async fn again(visit: Visit, State(state): State<PagesState>, form: Form) -> Response {
    let outcome = async {
        let captain = &visit.submitted(&form)?.captain;
        let digest = form.get("digest").and_then(|text| text.parse::<Digest>().ok());
        let digest = digest.ok_or_else(|| AdminError::Refused("This is no digest.".to_owned()))?;
        state
            .audit
            .note(captain, "scans.again", digest.as_str(), "")
            .await?;
        let queued = state.scanning.scan_again(&digest).await;
        if let Err(error) = &queued {
            let why = error.to_string();
            state
                .audit
                .note(captain, "scans.failed", digest.as_str(), &why)
                .await?;
        }
        let done = if queued? { "queued" } else { "same" };
        Ok(Redirect::to(&address("/admin/scans", &[("done", done)])).into_response())
    };
    visit.answer(outcome.await)
}
