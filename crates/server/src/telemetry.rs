//! The process's log and its metrics.

use std::io::IsTerminal as _;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people at a terminal.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Starts the process's log on standard error.
///
/// `level` is `debug`, `info`, `warn`, `error`, or any filter of tracing's own grammar. A second call does nothing.
///
/// # Errors
/// A sentence, if `level` is no filter.
pub fn init_logging(level: &str, format: LogFormat) -> Result<(), String> {
    let filter = log_filter(level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // An error means a subscriber is already set (tests): keep that one.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// Whether [`init_logging`] takes `level`.
///
/// # Errors
/// A sentence, if it does not.
pub fn check_log_level(level: &str) -> Result<(), String> {
    log_filter(level).map(drop)
}

fn log_filter(level: &str) -> Result<EnvFilter, String> {
    let wrong = |why: &str| format!("{level:?} is no log level ({why}); use debug, info, warn or error");
    // The grammar takes a bare word for a part of the program, of which everything is to be logged: a misspelt level would
    // silence the rest.
    for directive in level.split(',').map(str::trim) {
        if !directive.contains(['=', '[', ':']) && directive.parse::<LevelFilter>().is_err() {
            return Err(wrong(&format!("{directive:?} is none")));
        }
    }
    EnvFilter::try_new(format!(
        "{level},hyper=warn,sqlx=warn,h2=warn,rustls=warn,aws=warn"
    ))
    .map_err(|error| wrong(&error.to_string()))
}

/// The buckets of every duration metric, in seconds: 1 ms to 60 s.
const DURATION_BUCKETS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];

/// Installs the Prometheus recorder that the `metrics` macros write to.
///
/// # Errors
/// A sentence, if a recorder is already installed in this process.
pub fn install_metrics() -> Result<PrometheusHandle, String> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| format!("cannot install the metrics recorder: {error}"))
}

/// The router of the metrics listener: `GET /metrics`.
pub fn metrics_router(handle: PrometheusHandle) -> Router {
    Router::new().route(
        "/metrics",
        get(move || {
            let handle = handle.clone();
            async move {
                handle.run_upkeep();
                ([("content-type", "text/plain; version=0.0.4")], handle.render())
            }
        }),
    )
}

/// Parses a listen address: `host:port`, or `:port` for every interface.
///
/// # Errors
/// A sentence that says what is expected.
pub fn listen_addr(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') {
        format!("[::]{text}")
    } else {
        text.to_owned()
    };
    full.parse()
        .or_else(|_| full.replacen("localhost", "127.0.0.1", 1).parse())
        .map_err(|_| format!("{text:?} is no listen address; write 127.0.0.1:5000 or :5000"))
}
