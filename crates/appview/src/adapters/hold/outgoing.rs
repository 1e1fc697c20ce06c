//! A part as a request body that can be watched.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use atcr_registry::blob::ports::{ByteStream, PartBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// What happened to a body so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    taken: AtomicU64,
    waiting: AtomicBool,
    broken: AtomicBool,
}

impl Progress {
    /// Whether the body itself failed: then the connection's error is only the consequence.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Returns when for `idle` neither the connection took bytes nor the body kept it waiting for some.
    pub(super) async fn stalled(&self, idle: Duration) {
        let mut seen = self.taken.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(idle).await;
            let taken = self.taken.load(Ordering::Relaxed);
            if taken == seen && !self.waiting.load(Ordering::Relaxed) {
                return;
            }
            seen = taken;
        }
    }
}

/// The body of a part's request.
pub(super) struct Outgoing {
    bytes: Mutex<ByteStream>,
    left: Option<u64>,
    progress: Arc<Progress>,
}

impl Outgoing {
    /// Wraps `body`; what becomes of it shows in the second value.
    pub(super) fn new(body: PartBody) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress::default());
        (
            Self {
                bytes: Mutex::new(body.bytes),
                left: body.len,
                progress: Arc::clone(&progress),
            },
            progress,
        )
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        let bytes = this.bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        let polled = bytes.as_mut().poll_next(cx);
        this.progress
            .waiting
            .store(polled.is_pending(), Ordering::Relaxed);
        polled.map(|piece| {
            let piece = piece?;
            match &piece {
                Ok(bytes) => {
                    let len = bytes.len() as u64;
                    this.left = this.left.map(|left| left.saturating_sub(len));
                    this.progress.taken.fetch_add(len.max(1), Ordering::Relaxed);
                }
                Err(_) => this.progress.broken.store(true, Ordering::Relaxed),
            }
            Some(piece.map(Frame::data))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
