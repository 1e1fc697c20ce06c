//! `atcr-scanner serve`: a connection to one hold, workers, the database's updater, and what the operator looks at.

pub mod connection;
pub mod jobs;
mod readiness;
pub mod worker;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::EgressClient;
use atcr_server::Shutdown;
use atcr_server::health;
use atcr_server::serve::serve as listen;
use atcr_server::supervise::Task;
use atcr_server::telemetry::{install_metrics, metrics_router};
use http::HeaderValue;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::connection::Connection;
use self::jobs::Jobs;
use self::worker::Worker;
use crate::adapters::hold_blobs::HoldBlobs;
use crate::adapters::kept_lists::KeptLists;
use crate::adapters::network::Accounts;
use crate::adapters::results::Results;
use crate::compose;
use crate::database::Updater;
use crate::settings::{HoldSettings, ScannerSettings};

/// The background tasks.
const CONNECTION: Task = Task::new("hold_connection");
const FIGURES: Task = Task::new("scanner_figures");

/// Jobs that this scanner has; label `state` (`waiting`, `running`).
const JOBS: &str = "atcr_scanner_jobs";

/// Bytes of layers that are kept.
const CACHED: &str = "atcr_scanner_layer_cache_bytes";

/// How often figures are taken.
const FIGURES_EVERY: std::time::Duration = std::time::Duration::from_secs(15);

/// Messages on their way to the connection.
const OUTGOING: usize = 16;

/// Scans for the hold until a signal ends it.
///
/// # Errors
/// What kept it from starting, for the operator to read.
pub async fn run(settings: ScannerSettings, hold: HoldSettings) -> anyhow::Result<()> {
    // The secret is in the environment, which other processes of this user could read.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot close the process to others")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("cannot watch for signals")?;
    let metrics = install_metrics().map_err(anyhow::Error::msg)?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("SCANNER_ADDR: cannot listen on {}", settings.listen))?;
    let scanner = shutdown
        .unless_begun(compose::scanner(&settings, shutdown.soft()))
        .await;
    let Some(scanner) = scanner else { return Ok(()) };
    let scanner = Arc::new(scanner?);
    tracing::info!(
        version = scanner.tools.scanner_version(),
        syft = %scanner.tools.syft.path.display(),
        "the tools are there"
    );

    let client = EgressClient::for_configured_hosts()?;
    let egress = compose::egress(&settings)?;
    let mut secret =
        HeaderValue::try_from(hold.secret.expose()).context("SCANNER_SHARED_SECRET is no header's value")?;
    secret.set_sensitive(true);
    let jobs = Arc::new(Jobs::new(settings.queue_size));
    let (sender, outgoing) = mpsc::channel(OUTGOING);
    let is_connected = Arc::new(AtomicBool::new(false));
    let worker = Worker {
        scanner: Arc::clone(&scanner),
        accounts: Accounts::new(
            compose::resolver(&settings, egress.clone(), &clock)?,
            egress.clone(),
        ),
        hold: HoldBlobs::configured(
            hold.url.clone(),
            hold.secret.expose().into(),
            client.clone(),
            egress,
        )?,
        results: Results::new(hold.url.clone(), client.clone(), secret.clone()),
        lists: KeptLists::new(hold.url.clone(), client.clone(), secret.clone()),
        jobs: Arc::clone(&jobs),
        outgoing: sender.clone(),
        stop: shutdown.soft().clone(),
    };
    for _ in 0..settings.workers {
        shutdown.spawn(worker.clone().run());
    }
    drop(worker);
    let connection = Connection {
        base: hold.url.clone(),
        client,
        secret,
        workers: settings.workers,
        jobs: Arc::clone(&jobs),
        databases: scanner.databases.clone(),
        outgoing,
        is_connected: Arc::clone(&is_connected),
        stop: shutdown.soft().clone(),
    };
    // Without it there is nothing to do: the process ends, also if the connection panics.
    let last = shutdown.soft().clone().drop_guard();
    CONNECTION.spawn(&shutdown, async move {
        let _last = last;
        connection.run().await;
    });
    if let Some(databases) = &scanner.databases {
        let updater = Updater::new(
            Arc::clone(databases),
            settings.database_url.clone(),
            Arc::clone(&clock),
        );
        Arc::new(updater).start(settings.database_interval, &shutdown);
    }
    start_figures(&scanner, &jobs, &shutdown);
    let readiness = readiness::of(&settings, &scanner, &jobs, is_connected, &clock, shutdown.clone());
    let router = metrics_router(metrics).merge(health::operator_routes(readiness));
    tracing::info!(addr = %settings.listen, "health and metrics");
    listen(listener, router, shutdown.clone()).await;

    tracing::info!("stopping: jobs are given back");
    let began = Instant::now();
    let giving_back = async {
        for release in jobs.close() {
            let message = connection::Outgoing {
                text: release.encode().into(),
                answers: None,
                sent: None,
            };
            if sender.send(message).await.is_err() {
                break;
            }
        }
    };
    let grace = settings.shutdown_grace;
    let are_given_back = tokio::time::timeout(grace, giving_back).await.is_ok();
    // The connection ends when the workers have said their last.
    drop(sender);
    if !shutdown.drain(grace.saturating_sub(began.elapsed())).await || !are_given_back {
        tracing::warn!(
            "some jobs could not be given back in time; the hold gives them to others when their lease ends"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

fn start_figures(scanner: &Arc<crate::scan::Scanner>, jobs: &Arc<Jobs>, shutdown: &Shutdown) {
    let (scanner, jobs) = (Arc::clone(scanner), Arc::clone(jobs));
    FIGURES.every(FIGURES_EVERY, shutdown, move || {
        #[expect(clippy::cast_precision_loss, reason = "a gauge; nothing is lost below 2^53")]
        {
            let (waiting, running) = jobs.figures();
            metrics::gauge!(JOBS, "state" => "waiting").set(waiting as f64);
            metrics::gauge!(JOBS, "state" => "running").set(running as f64);
            metrics::gauge!(CACHED).set(scanner.cache.bytes() as f64);
        }
        async { Ok::<_, std::convert::Infallible>(()) }
    });
}
