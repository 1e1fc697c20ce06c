//! The process: from settings to a hold that serves, until a signal ends it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_server::Shutdown;
use atcr_server::serve::{serve, serve_within};
use atcr_server::telemetry::{install_metrics, metrics_router};
use tokio::net::TcpListener;

use super::{Hold, Surroundings, control_socket, network_resolver};
use crate::edge::control;
use crate::gc::ports::ProcessTicks;
use crate::settings::HoldSettings;

/// Serves the hold until a signal ends it: the whole of `atcr-hold serve`.
///
/// # Errors
/// What kept it from starting, for the operator to read.
pub async fn run(settings: HoldSettings) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let egress = EgressClient::new(EgressPolicy::of_server(settings.test_mode))?;
    let resolver = network_resolver(&settings, egress.clone(), &clock)?;
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("cannot watch for signals")?;

    let metrics = match settings.metrics_listen {
        None => None,
        Some(addr) => {
            let handle = install_metrics().map_err(anyhow::Error::msg)?;
            let listener = TcpListener::bind(addr)
                .await
                .with_context(|| format!("server.metrics_addr: cannot listen on {addr}"))?;
            Some((listener, metrics_router(handle)))
        }
    };
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("server.addr: cannot listen on {}", settings.listen))?;
    let surroundings = Surroundings {
        clock,
        resolver,
        shutdown: shutdown.clone(),
        ticks: Arc::new(ProcessTicks::start()),
        egress,
    };
    // Recovery, migrations and a disk that hangs may take long, and have nothing to finish.
    let Some(hold) = shutdown.unless_begun(Hold::open(&settings, surroundings)).await else {
        return Ok(());
    };
    let hold = hold?;
    hold.start_sweeper(&shutdown);
    hold.start_collection(&shutdown);
    match control::listen(&control_socket(&settings)) {
        Ok(listener) => control::serve(listener, hold.gc().clone(), &shutdown),
        // A path that is too long for a socket, say.
        Err(error) => tracing::warn!(
            error = format!("{error:#}"),
            "commands cannot reach the running hold"
        ),
    }
    hold.start_identity_watch(&shutdown);
    hold.start_publishing(&shutdown);
    hold.start_backup(&settings, &shutdown);
    if let Some((listener, router)) = metrics {
        let router = router.merge(hold.operator_routes());
        shutdown.spawn(serve(listener, router, shutdown.clone()));
    }
    if let Some(appview) = &settings.trusted_appview {
        tracing::info!(%appview, "the AppView is trusted to vouch for the content of uploads");
    } else {
        tracing::info!(
            "server.appview_did is not set: no AppView is trusted to vouch for the content of uploads"
        );
    }
    tracing::info!(addr = %settings.listen, url = %settings.public_url, "listening");
    let limits = settings.limits.listener.clone();
    serve_within(listener, hold.router(), limits, shutdown.clone()).await;

    tracing::info!("stopping: finishing requests in flight");
    let deadline = Instant::now() + settings.shutdown_grace.get();
    let finished = shutdown.drain(settings.shutdown_grace.get()).await;
    if !finished {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
    // A second signal, too, ends the patience.
    let patience = if finished {
        deadline.saturating_duration_since(Instant::now())
    } else {
        Duration::ZERO
    };
    hold.close(patience).await;
    tracing::info!("stopped");
    Ok(())
}
