//! `atcr-hold scans …`.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_oci::Digest;
use atcr_scan_protocol::JobState;
use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::terminal::Terminal;
use super::{Common, block_on};
use crate::adapters::sqlite::{self, SqliteScans};
use crate::compose::DATABASE_FILE;
use crate::scanning::{ListedJob, ScanTable};

/// Jobs that one statement makes due, so that a hold that runs is not kept waiting.
const PORTION: u32 = 500;
/// Longest text in a table, in characters.
const WIDEST: usize = 160;

/// See which images were scanned, and have them scanned again. The hold may run.
#[derive(Debug, Subcommand)]
pub(crate) enum ScansCommand {
    /// List jobs, those first that were queued or ended last
    List {
        #[command(flatten)]
        common: Common,
        /// Only jobs of that state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// List what failed, and why; also what is tried again by itself
    Failed {
        #[command(flatten)]
        common: Common,
        /// At most so many
        #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Have images scanned again, before all others. A hold that runs begins within seconds
    Again {
        #[command(flatten)]
        common: Common,
        /// The images' manifests, as `scans list --json` and the pages name them
        #[arg(required_unless_present = "failed", value_name = "DIGEST")]
        digests: Vec<Digest>,
        /// All that were given up
        #[arg(long, conflicts_with = "digests")]
        failed: bool,
    },
}

/// The state of a job.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum State {
    /// It waits for a scanner
    Ready,
    /// It failed, and waits for another try
    Resting,
    /// A scanner has it
    Running,
    /// There is a result
    Done,
    /// It was given up
    Failed,
    /// It is no image
    NotApplicable,
}

impl State {
    const fn job(self) -> JobState {
        match self {
            Self::Ready => JobState::Ready,
            Self::Resting => JobState::Resting,
            Self::Running => JobState::Running,
            Self::Done => JobState::Done,
            Self::Failed => JobState::Failed,
            Self::NotApplicable => JobState::NotApplicable,
        }
    }
}

impl ScansCommand {
    /// Does what the command says.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        block_on(async move {
            match self {
                Self::List { common, state, limit } => {
                    let all = State::value_variants().iter().map(|state| state.job()).collect();
                    let states: Vec<JobState> = state.map_or(all, |state| vec![state.job()]);
                    list(&common, &states, limit).await
                }
                Self::Failed { common, limit } => {
                    list(&common, &[JobState::Failed, JobState::Resting], limit).await
                }
                Self::Again { common, digests, .. } => again(&common, &digests).await,
            }
        })
    }
}

/// The table of the hold's folder, which is not made when it is missing.
async fn open(common: &Common) -> anyhow::Result<Arc<dyn ScanTable>> {
    let path = common.settings()?.data_dir.join(DATABASE_FILE);
    anyhow::ensure!(path.is_file(), "there is no hold in {}", path.display());
    let database = sqlite::open(&path).await?;
    Ok(Arc::new(SqliteScans::new(database)))
}

async fn list(common: &Common, states: &[JobState], limit: u32) -> anyhow::Result<()> {
    let table = open(common).await?;
    let figures = table.figures().await?;
    let jobs = table.jobs(states, limit).await?;
    let documents: Vec<_> = jobs.iter().map(json_of).collect();
    let terminal = Terminal::new(common.json, false);
    let counts = format!(
        "{} waiting, {} running, {} resting",
        figures.ready, figures.running, figures.resting
    );
    terminal.done(
        &table_of(&jobs, &counts),
        &json!({
            "ready": figures.ready, "running": figures.running, "resting": figures.resting, "jobs": documents,
        }),
    )?;
    Ok(())
}

async fn again(common: &Common, digests: &[Digest]) -> anyhow::Result<()> {
    let table = open(common).await?;
    let now = SystemClock.now();
    let mut queued = 0;
    if digests.is_empty() {
        loop {
            let portion = table.try_again(None, now, PORTION).await?;
            queued += portion;
            if portion < u64::from(PORTION) {
                break;
            }
        }
    }
    for digest in digests {
        let found = table.try_again(Some(digest), now, PORTION).await?;
        if found == 0 {
            let status = table.status(digest, 1).await?;
            let status = status.with_context(|| format!("the hold has no scan of {digest}"))?;
            anyhow::ensure!(
                status.state != JobState::NotApplicable,
                "{digest} is no image, so it is not scanned"
            );
        }
        queued += found;
    }
    let images = if queued == 1 { "image is" } else { "images are" };
    Terminal::new(common.json, false).done(
        &format!("{queued} {images} scanned again"),
        &json!({ "queued": queued }),
    )?;
    Ok(())
}

fn json_of(job: &ListedJob) -> serde_json::Value {
    let status = &job.status;
    json!({
        "digest": job.digest, "owner": job.owner, "repository": job.repository, "tag": job.tag, "state": status.state.as_str(),
        "queuedAt": status.queued_at, "endedAt": status.ended_at, "tries": status.tries, "stage": status.stage,
        "class": status.failure_class, "failure": status.failure,
    })
}

fn table_of(jobs: &[ListedJob], counts: &str) -> String {
    let mut text = format!("{counts}\n");
    for job in jobs {
        let status = &job.status;
        let name = match &job.tag {
            Some(tag) => format!("{}/{}:{tag}", job.owner, job.repository),
            None => format!("{}/{}", job.owner, job.repository),
        };
        let said = status.failure.as_deref().or(status.failure_class.as_deref());
        let more = said.or(status.stage.as_deref()).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<15}  {}  {}  {}  {}",
            status.state.as_str(),
            time(status.ended_at.unwrap_or(status.queued_at)),
            job.digest,
            shown(&name),
            shown(more)
        );
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// What a scanner or pusher wrote, without anything that a terminal obeys.
fn shown(text: &str) -> String {
    let plain = text.chars().map(|character| {
        let is_plain = !character.is_control()
            && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        if is_plain { character } else { '\u{fffd}' }
    });
    plain.take(WIDEST).collect()
}
