//! A stream to a peer that has to take what is written at some pace. A peer that takes a byte now and then would keep its connection,
//! and whatever its answer holds, for as long as it likes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes that the peer has to take within the timeout, counted over the time in which writes wait for it.
const LEAST_BYTES: usize = 64 * 1024;

/// The stream. A write fails with `TimedOut` when writes have waited for `timeout` and the peer took less than 64 KiB meanwhile.
#[derive(Debug)]
pub(crate) struct PacedWriter<S> {
    inner: S,
    timeout: Duration,
    /// How long writes have waited, not counting the one that waits now.
    waited: Duration,
    /// Since when a write waits.
    since: Option<Instant>,
    /// What was taken meanwhile.
    taken: usize,
    timer: Pin<Box<Sleep>>,
}

impl<S: Unpin> PacedWriter<S> {
    pub(crate) fn new(inner: S, timeout: Duration) -> Self {
        Self {
            inner,
            timeout,
            waited: Duration::ZERO,
            since: None,
            taken: 0,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Writes once; `bytes` says how many the peer took of what came of it.
    fn paced<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = write(Pin::new(&mut self.inner), context) {
            if let Some(since) = self.since.take() {
                self.waited += since.elapsed();
            }
            self.taken += done.as_ref().map_or(0, bytes);
            if self.taken >= LEAST_BYTES {
                self.taken = 0;
                self.waited = Duration::ZERO;
            }
            return Poll::Ready(done);
        }
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            self.timer
                .as_mut()
                .reset(now + self.timeout.saturating_sub(self.waited));
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedWriter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.paced(
            context,
            |inner, context| inner.poll_write(context, buffer),
            |taken| *taken,
        )
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write =
            |inner: Pin<&mut S>, context: &mut Context<'_>| inner.poll_write_vectored(context, buffers);
        self.paced(context, write, |taken| *taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.paced(context, |inner, context| inner.poll_flush(context), |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.paced(context, |inner, context| inner.poll_shutdown(context), |()| 0)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedWriter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const TIMEOUT: Duration = Duration::from_mins(1);

    /// Writes 128 KiB to a peer that takes `piece` bytes and then pauses for a second, again and again.
    async fn write_to_one_that_takes(piece: usize) -> io::Result<()> {
        let (stream, mut peer) = tokio::io::duplex(1024);
        let reading = tokio::spawn(async move {
            let mut taken = vec![0; piece];
            while peer.read_exact(&mut taken).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let written = PacedWriter::new(stream, TIMEOUT)
            .write_all(&vec![7; 128 * 1024])
            .await;
        reading.abort();
        written
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_byte_now_and_then_loses_its_connection_and_a_slow_one_does_not() {
        let began = Instant::now();
        let error = write_to_one_that_takes(1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(
            began.elapsed() <= TIMEOUT + Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        write_to_one_that_takes(2048).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nothing_is_to_be_written_does_not_count() {
        let (stream, mut peer) = tokio::io::duplex(1024);
        let mut stream = PacedWriter::new(stream, TIMEOUT);
        for _ in 0..10 {
            stream.write_all(&[7; 512]).await.unwrap();
            tokio::time::sleep(TIMEOUT).await;
            peer.read_exact(&mut [0; 512]).await.unwrap();
        }
    }
}
