//! A call to something outside the process (a PDS, a hold, a store, a database): a span, its time in the metrics, and one line in
//! the log if it was slow or failed.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use tracing::Instrument as _;

/// Time of a call; labels `port`, `operation`, `outcome`.
const DURATION: &str = "atcr_port_call_duration_seconds";

/// A call that takes longer than this is slow, unless it says otherwise.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// A statement of a database that takes longer than this is slow.
const SLOW_STATEMENT_AFTER: Duration = Duration::from_millis(250);

/// How a call ended. The names are the label `outcome` and the field `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `ok`: the call succeeded.
    Ok,
    /// `refused`: the other side works and refused, which the caller expected to be possible.
    Refused,
    /// `failed`: the other side does not work, or did not answer.
    Failed,
    /// `dropped`: the caller cancelled the call.
    Dropped,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// One call through a port, before it is made.
#[derive(Clone, Debug)]
pub struct PortCall<'a> {
    port: &'static str,
    operation: &'static str,
    peer: Option<&'a str>,
    slow_after: Duration,
}

impl<'a> PortCall<'a> {
    /// `operation` of `port`, both lower case with underscores: `pds`, `put_record`.
    #[must_use]
    pub const fn new(port: &'static str, operation: &'static str) -> Self {
        Self {
            port,
            operation,
            peer: None,
            slow_after: SLOW_AFTER,
        }
    }

    /// `operation` of the SQLite database.
    #[must_use]
    pub const fn database(operation: &'static str) -> Self {
        Self::new("database", operation).slow_after(SLOW_STATEMENT_AFTER)
    }

    /// Names the host that is called.
    #[must_use]
    pub const fn peer(mut self, host: &'a str) -> Self {
        self.peer = Some(host);
        self
    }

    /// Sets the time from which on the call is slow.
    #[must_use]
    pub const fn slow_after(mut self, time: Duration) -> Self {
        self.slow_after = time;
        self
    }

    /// Makes the call. Every error counts as [`Outcome::Failed`].
    ///
    /// # Errors
    /// The call's own.
    pub async fn run<T, E>(self, call: impl Future<Output = Result<T, E>>) -> Result<T, E>
    where
        E: Error + 'static,
    {
        self.run_with(call, |_| Outcome::Failed).await
    }

    /// Makes the call; `outcome_of` says what an error means.
    ///
    /// # Errors
    /// The call's own.
    pub async fn run_with<T, E>(
        self,
        call: impl Future<Output = Result<T, E>>,
        outcome_of: impl FnOnce(&E) -> Outcome,
    ) -> Result<T, E>
    where
        E: Error + 'static,
    {
        let span = tracing::info_span!("port.call", port = self.port, operation = self.operation);
        let timed = async {
            let mut timed = Timed::begin(&self);
            let result = call.await;
            match &result {
                Ok(_) => timed.end(Outcome::Ok, None),
                Err(error) => timed.end(outcome_of(error), Some(error)),
            }
            result
        };
        timed.instrument(span).await
    }
}

/// A call in progress. If it is dropped before its end, it counts as [`Outcome::Dropped`].
struct Timed<'c, 'a> {
    call: &'c PortCall<'a>,
    started: Instant,
    is_over: bool,
}

impl<'c, 'a> Timed<'c, 'a> {
    fn begin(call: &'c PortCall<'a>) -> Self {
        Self {
            call,
            started: Instant::now(),
            is_over: false,
        }
    }

    fn end(&mut self, outcome: Outcome, error: Option<&(dyn Error + 'static)>) {
        self.is_over = true;
        let PortCall {
            port,
            operation,
            peer,
            slow_after,
        } = *self.call;
        let elapsed = self.started.elapsed();
        let labels = [
            ("port", port),
            ("operation", operation),
            ("outcome", outcome.name()),
        ];
        metrics::histogram!(DURATION, &labels).record(elapsed.as_secs_f64());
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let outcome_name = outcome.name();
        match outcome {
            Outcome::Failed => tracing::warn!(
                port,
                operation,
                peer.host = peer,
                duration_ms,
                outcome = outcome_name,
                error,
                "call failed"
            ),
            _ if elapsed >= slow_after => tracing::warn!(
                port,
                operation,
                peer.host = peer,
                duration_ms,
                outcome = outcome_name,
                error,
                "call was slow"
            ),
            _ => tracing::debug!(
                port,
                operation,
                peer.host = peer,
                duration_ms,
                outcome = outcome_name,
                error,
                "call"
            ),
        }
    }
}

impl Drop for Timed<'_, '_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(Outcome::Dropped, None);
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
