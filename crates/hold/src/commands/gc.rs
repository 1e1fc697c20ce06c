//! `atcr-hold gc …`: what the hold that runs collects.

use anyhow::Context as _;
use atcr_atproto::syntax::Did;
use axum::body::Body;
use clap::Subcommand;
use http::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use super::terminal::Terminal;
use super::{Common, block_on};
use crate::compose::control_socket;
use crate::gc::{Run, RunState, Status, Sum};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// See and run the garbage collection of the hold that is running
#[derive(Debug, Subcommand)]
pub(crate) enum GcCommand {
    /// Say what would go and why, and change nothing
    Plan {
        #[command(flatten)]
        common: Common,
        /// Name every blob, not only how many there are
        #[arg(long)]
        list: bool,
    },
    /// Condemn what nothing names, and remove what was condemned long enough ago
    Run {
        #[command(flatten)]
        common: Common,
        /// Carry out the plan of this run, however much it removes
        #[arg(long, value_name = "RUN")]
        confirm: Option<i64>,
    },
    /// Say what the collection does now
    Status {
        #[command(flatten)]
        common: Common,
    },
    /// Lift what a run condemned, as far as it is still there
    Undo {
        #[command(flatten)]
        common: Common,
        /// The run's number
        run: i64,
    },
    /// List the runs, the newest first
    History {
        #[command(flatten)]
        common: Common,
    },
    /// Say of an account that cannot be read, or that lost manifests, what is to become of what it named
    Account {
        #[command(flatten)]
        common: Common,
        /// The account
        did: Did,
        /// It will not come back: what only it names may go
        #[arg(long, conflicts_with = "accept")]
        release: bool,
        /// What its server does not have any more is gone indeed
        #[arg(long)]
        accept: bool,
    },
}

impl GcCommand {
    /// Does what the command says.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        block_on(async move {
            match self {
                Self::Plan { common, list } => plan(&common, list).await,
                Self::Run { common, confirm } => {
                    let path = match confirm {
                        Some(run) => format!("/gc/run?confirm={run}"),
                        None => "/gc/run".to_owned(),
                    };
                    let run: (Run, Value) = ask(&common, Method::POST, &path).await?;
                    say(&common, &told(&run.0, None), &run.1)
                }
                Self::Status { common } => {
                    let (status, json): (Status, _) = ask(&common, Method::GET, "/gc/status").await?;
                    say(&common, &state(&status), &json)
                }
                Self::Undo { common, run } => {
                    let (_, json): (Value, _) =
                        ask(&common, Method::POST, &format!("/gc/undo?run={run}")).await?;
                    let lifted = &json["lifted"];
                    say(
                        &common,
                        &format!("{lifted} blobs of run {run} are condemned no longer"),
                        &json,
                    )
                }
                Self::History { common } => {
                    let (runs, json): (Vec<Run>, _) = ask(&common, Method::GET, "/gc/history").await?;
                    let (now, _): (Status, _) = ask(&common, Method::GET, "/gc/status").await?;
                    let now = now.under_way.map(|progress| progress.run);
                    let lines: Vec<String> = runs.iter().map(|run| told(run, now)).collect();
                    say(&common, &lines.join("\n"), &json)
                }
                Self::Account {
                    common,
                    did,
                    release,
                    accept,
                } => {
                    let path = format!("/gc/account?did={did}&released={release}&accepted={accept}");
                    let (_, json): (Value, _) = ask(&common, Method::POST, &path).await?;
                    say(
                        &common,
                        &format!("{did}: released {release}, accepted {accept}"),
                        &json,
                    )
                }
            }
        })
    }
}

async fn plan(common: &Common, list: bool) -> anyhow::Result<()> {
    let (run, mut json): (Run, _) = ask(common, Method::POST, "/gc/plan").await?;
    let mut lines = vec![told(&run, None)];
    if list {
        let items = items_of(common, run.id).await?;
        lines.extend(items.iter().map(|item| {
            let word = |field: &str| item[field].as_str().unwrap_or("-").to_owned();
            let (action, digest, owner) = (word("action"), word("digest"), word("owner"));
            format!("{action:8} {digest} {:>14} {owner}", item["bytes"])
        }));
        json["items"] = Value::Array(items);
    }
    say(common, &lines.join("\n"), &json)
}

/// All items of a plan.
async fn items_of(common: &Common, run: i64) -> anyhow::Result<Vec<Value>> {
    let mut items: Vec<Value> = Vec::new();
    loop {
        let last = items.last().and_then(|item| item["digest"].as_str());
        let after = last.map(|digest| format!("&after={digest}")).unwrap_or_default();
        let (page, _): (Vec<Value>, _) =
            ask(common, Method::GET, &format!("/gc/items?run={run}{after}")).await?;
        if page.is_empty() {
            return Ok(items);
        }
        items.extend(page);
    }
}

fn say(common: &Common, text: &str, json: &Value) -> anyhow::Result<()> {
    Ok(Terminal::new(common.json, false).done(text, json)?)
}

/// Asks the hold that runs; the answer, parsed and as it is.
async fn ask<T: DeserializeOwned>(common: &Common, method: Method, path: &str) -> anyhow::Result<(T, Value)> {
    let settings = common.settings()?;
    let socket = control_socket(&settings);
    let stream = UnixStream::connect(&socket)
        .await
        .with_context(|| format!("the hold is not running: {} does not answer", socket.display()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, "hold")
        .body(Body::empty())?;
    let answering = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = axum::body::to_bytes(Body::new(answer.into_body()), MAX_ANSWER).await?;
        anyhow::Ok((status, bytes))
    };
    let (status, bytes) = tokio::select! {
        answer = answering => answer?,
        Err(error) = connection => return Err(error.into()),
    };
    let json: Value = serde_json::from_slice(&bytes).context("the hold's answer")?;
    anyhow::ensure!(
        status.is_success(),
        "{}",
        json["message"].as_str().unwrap_or("the hold refused")
    );
    Ok((
        serde_json::from_value(json.clone()).context("the hold's answer")?,
        json,
    ))
}

fn sum(sum: &Sum) -> String {
    format!("{} blobs of {} bytes", sum.blobs, sum.bytes)
}

/// What a run did; `under_way` is the one that is not over.
fn told(run: &Run, under_way: Option<i64>) -> String {
    let report = &run.report;
    let what = match run.state {
        RunState::Planned => format!(
            "would remove {}; condemn {}; {} wait for their time; {} are named again; {} layer records are of manifests that are not \
             listed any more, and go if these are proven gone",
            sum(&report.to_remove),
            sum(&report.to_condemn),
            report.waiting.blobs,
            report.to_lift.blobs,
            report.records_to_delete
        ),
        RunState::Waiting => format!(
            "would remove {}; condemned {}; {} wait for their time; deleted {} layer records",
            sum(&report.to_remove),
            sum(&report.condemned),
            report.waiting.blobs,
            report.records_deleted
        ),
        RunState::Reading | RunState::Listing | RunState::Running if under_way == Some(run.id) => {
            format!("{}, under way", run.state.as_str())
        }
        RunState::Reading | RunState::Listing | RunState::Running => {
            format!("{}, interrupted", run.state.as_str())
        }
        RunState::Done | RunState::Undone => format!(
            "{}: removed {}, condemned {}, deleted {} layer records",
            run.state.as_str(),
            sum(&report.removed),
            sum(&report.condemned),
            report.records_deleted
        ),
    };
    let mut lines = vec![format!(
        "run {} of {}: {what}",
        run.id,
        run.began_at.format("%Y-%m-%d %H:%M")
    )];
    lines.extend(report.brake.as_ref().map(|brake| {
        format!(
            "  waits for your word, since {brake}: `atcr-hold gc run --confirm {}`",
            run.id
        )
    }));
    lines.extend(report.accounts.unread.iter().map(|(did, reason)| {
        let holds_up = report.accounts.holding_up.contains(did);
        let holds_up = if holds_up { ", and holds up removals" } else { "" };
        format!("  {did} was not read{holds_up}: {reason}")
    }));
    lines.extend(
        report
            .differences
            .iter()
            .map(|(reason, count)| format!("  not done of {count} blobs: {reason}")),
    );
    lines.join("\n")
}

fn state(status: &Status) -> String {
    let now = match &status.under_way {
        Some(progress) => format!(
            "run {} is {}: {}",
            progress.run,
            progress.state.as_str(),
            progress.done
        ),
        None => "no run is under way".to_owned(),
    };
    let when = if status.nightly {
        "every night"
    } else {
        "by hand only"
    };
    let mut lines = vec![format!(
        "{now}; {} blobs are condemned, {} leave; it runs {when}",
        status.condemned, status.leaving
    )];
    lines.extend(
        status
            .under_way
            .iter()
            .flat_map(|progress| &progress.reading)
            .map(|did| format!("  is reading {did}")),
    );
    let under_way = status.under_way.as_ref().map(|progress| progress.run);
    lines.extend(
        status
            .last
            .as_ref()
            .map(|last| format!("last: {}", told(last, under_way))),
    );
    lines.join("\n")
}
