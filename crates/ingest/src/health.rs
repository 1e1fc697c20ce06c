//! How the streams go: for the operator, in metrics and in readiness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chrono::{DateTime, Utc};

/// 1 while the source is connected.
const CONNECTED: &str = "atcr_index_stream_connected";

/// Seconds between the newest event of a source and the moment at which it was in the index.
const LAG: &str = "atcr_index_stream_lag_seconds";

/// Connections of a source that ended.
const ENDED: &str = "atcr_index_stream_ended_total";

/// Times a place that gave nothing was left for the next one.
const MOVED_ON: &str = "atcr_index_stream_failovers_total";

/// One stream. Clones share it.
#[derive(Clone, Debug)]
pub struct StreamHealth(Arc<State>);

#[derive(Debug)]
struct State {
    name: String,
    is_connected: AtomicBool,
    frames: AtomicU64,
    lag_seconds: AtomicU64,
}

impl StreamHealth {
    pub(crate) fn new(name: &str) -> Self {
        Self(Arc::new(State {
            name: name.to_owned(),
            is_connected: AtomicBool::new(false),
            frames: AtomicU64::new(0),
            lag_seconds: AtomicU64::new(0),
        }))
    }

    /// The first of its places.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is connected now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.is_connected.load(Ordering::Relaxed)
    }

    /// Frames so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.0.frames.load(Ordering::Relaxed)
    }

    /// Age of the newest event when it was taken in, in seconds; 0 before the first.
    #[must_use]
    pub fn lag_seconds(&self) -> u64 {
        self.0.lag_seconds.load(Ordering::Relaxed)
    }

    pub(crate) fn connected(&self, place: &str) {
        self.0.is_connected.store(true, Ordering::Relaxed);
        metrics::gauge!(CONNECTED, "source" => place.to_owned()).set(1.0);
    }

    pub(crate) fn left(&self, place: &str) {
        self.0.is_connected.store(false, Ordering::Relaxed);
        metrics::gauge!(CONNECTED, "source" => place.to_owned()).set(0.0);
        metrics::counter!(ENDED, "source" => place.to_owned()).increment(1);
    }

    pub(crate) fn moved_on(place: &str) {
        metrics::counter!(MOVED_ON, "source" => place.to_owned()).increment(1);
    }

    pub(crate) fn took(&self, place: &str, frames: u64, newest: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        self.0.frames.fetch_add(frames, Ordering::Relaxed);
        let Some(newest) = newest else { return };
        let lag = u32::try_from(now.signed_duration_since(newest).num_seconds().max(0)).unwrap_or(u32::MAX);
        self.0.lag_seconds.store(lag.into(), Ordering::Relaxed);
        metrics::gauge!(LAG, "source" => place.to_owned()).set(f64::from(lag));
    }
}
