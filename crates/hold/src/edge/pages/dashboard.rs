//! `/admin`: whether everything is all right.

use askama::Template;
use atcr_web::drawings::{ChartDay, DayChart};
use atcr_web::figures::{Bytes, Count, exact};
use atcr_web::moment::Moment;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::PagesState;
use super::error::PageError;
use super::frame::{Frame, section};
use super::visit::Visit;
use crate::admin::history::Shown;
use crate::admin::overview::{Attention, BackupStanding};

/// The dashboard.
const HERE: &str = "/admin";

#[derive(Template)]
#[template(path = "pages/dashboard.html")]
struct DashboardPage {
    chrome: Chrome,
    frame: Frame,
    standing: StandingView,
    charts: Vec<ChartView>,
}

/// Counts by day.
struct ChartView {
    id: &'static str,
    title: &'static str,
    chart: DayChart,
    sentence: String,
    rows: Vec<(String, String)>,
}

/// The standing alone, for a script that asks again.
#[derive(Template)]
#[template(path = "pages/standing.html")]
struct StandingPart {
    chrome: Chrome,
    standing: StandingView,
}

/// How the hold is, in words.
struct StandingView {
    attention: Vec<AttentionView>,
    members: Count,
    tiers: Vec<(String, Count)>,
    accounts: Count,
    stored: Bytes,
    layers: Option<LayersView>,
    disks: Vec<(&'static str, Bytes)>,
    backup: String,
    relays: Vec<RelayView>,
    subscribers: Count,
    scans: Option<ScansView>,
    version: &'static str,
    checked: Moment,
}

impl StandingView {
    /// The answer to the question that brings the captain here.
    fn headline(&self) -> String {
        match self.attention.len() {
            0 => "Everything is all right".to_owned(),
            1 => "1 thing needs attention".to_owned(),
            many => format!("{many} things need attention"),
        }
    }
}

/// Something that needs attention.
struct AttentionView {
    text: String,
    is_urgent: bool,
    /// The page about it, and its name.
    page: Option<(&'static str, &'static str)>,
}

impl From<Attention> for AttentionView {
    fn from(attention: Attention) -> Self {
        Self {
            text: attention.text,
            is_urgent: attention.is_urgent,
            page: section(attention.href).filter(|(href, _)| *href != HERE),
        }
    }
}

struct LayersView {
    blobs: Count,
    bytes: Bytes,
    at: Moment,
}

struct RelayView {
    host: String,
    follows: bool,
    asked: Option<Moment>,
}

struct ScansView {
    waiting: Count,
    running: Count,
    scanners: Count,
    oldest: Option<Moment>,
}

/// `GET /admin`.
pub(super) async fn page(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = async {
        let frame = Frame::new(&visit, HERE)?;
        let page = DashboardPage {
            chrome: visit.chrome(),
            frame,
            standing: view(&state).await?,
            charts: charts(&state).await?,
        };
        Ok(render(StatusCode::OK, &page))
    };
    visit.answer(outcome.await)
}

/// `GET /admin/part/standing`: what the page asks for again by itself. Without a script it is the whole page.
pub(super) async fn part(visit: Visit, State(state): State<PagesState>) -> Response {
    if !visit.wants_part() {
        return page(visit, State(state)).await;
    }
    let outcome = async {
        visit.captain()?;
        let part = StandingPart {
            chrome: visit.chrome(),
            standing: view(&state).await?,
        };
        Ok(render(StatusCode::OK, &part))
    };
    visit.answer(outcome.await)
}

async fn view(state: &PagesState) -> Result<StandingView, PageError> {
    let standing = state.overview.standing().await?;
    let now = state.clock.now();
    let members = Count(standing.members());
    let tiers = standing.tiers.into_iter().map(|(tier, members)| {
        let name = tier.unwrap_or_else(|| "no tier".to_owned());
        (name, Count(members))
    });
    Ok(StandingView {
        attention: standing.attention.into_iter().map(AttentionView::from).collect(),
        members,
        tiers: tiers.collect(),
        accounts: Count(standing.usage.accounts),
        stored: Bytes(standing.usage.bytes),
        layers: standing.layers.map(|layers| LayersView {
            blobs: Count(layers.totals.blobs),
            bytes: Bytes(layers.totals.bytes),
            at: Moment::new(layers.at, now),
        }),
        disks: standing
            .disks
            .into_iter()
            .map(|(name, bytes)| (name, Bytes(bytes)))
            .collect(),
        backup: in_words(standing.backup),
        relays: standing
            .relays
            .into_iter()
            .map(|(relay, relay_state)| RelayView {
                host: relay.host_str().unwrap_or_default().to_owned(),
                follows: relay_state.accepted,
                asked: relay_state.accepted_at.map(|at| Moment::new(at.to_utc(), now)),
            })
            .collect(),
        subscribers: Count(standing.subscribers),
        scans: standing.scans.map(|(figures, scanners)| ScansView {
            waiting: Count(figures.ready + figures.resting),
            running: Count(figures.running),
            scanners: Count(scanners),
            oldest: figures.oldest.map(|at| Moment::new(at, now)),
        }),
        version: env!("CARGO_PKG_VERSION"),
        checked: Moment::new(now, now),
    })
}

async fn charts(state: &PagesState) -> Result<Vec<ChartView>, PageError> {
    let days = state.history.days().await?;
    let chart = |id, title, label, of: fn(&Shown) -> Option<u64>, in_words: fn(u64) -> String| {
        let counts = days.iter().map(|day| ChartDay {
            name: day.day.format("%-d %B %Y").to_string(),
            count: of(day),
        });
        let chart = DayChart {
            days: counts.collect(),
            label,
        };
        let known = chart.days.iter().filter_map(|day| day.count);
        let sentence = match (known.clone().next_back(), chart.busiest()) {
            (None, _) => "Nothing was noted yet: this begins to fill tomorrow.".to_owned(),
            (Some(_), None) => "None on the days that were noted.".to_owned(),
            (Some(last), Some(most)) => format!(
                "Last noted: {}. Most: {}, on {}.",
                in_words(last),
                in_words(most.count.unwrap_or(0)),
                most.name
            ),
        };
        let noted = chart.days.iter().rev();
        let rows = noted.filter_map(|day| Some((day.name.clone(), in_words(day.count?))));
        ChartView {
            id,
            title,
            sentence,
            rows: rows.collect(),
            chart,
        }
    };
    Ok(vec![
        chart("pushes", "Pushes", "Pushes by day", |day| day.pushes, exact),
        chart("pulls", "Pulls", "Pulls by day", |day| day.pulls, exact),
        chart(
            "growth",
            "Stored by accounts",
            "Bytes that accounts keep, by day",
            |day| day.bytes,
            |bytes| Bytes(bytes).to_string(),
        ),
    ])
}

/// How far the backup is.
pub(super) fn in_words(backup: BackupStanding) -> String {
    match backup {
        BackupStanding::None => "there is none".to_owned(),
        BackupStanding::Complete => "everything is in it".to_owned(),
        BackupStanding::Behind(behind) if behind.as_secs() < 120 => {
            format!("behind by {} seconds", behind.as_secs())
        }
        BackupStanding::Behind(behind) => format!("behind by {} minutes", behind.as_secs() / 60),
    }
}
