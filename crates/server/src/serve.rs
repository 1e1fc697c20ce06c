//! A listener that serves a router until the shutdown and finishes what is in flight.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::Shutdown;
use crate::client_address::{Network, client_key};
use crate::paced_writer::PacedWriter;

/// The most that is read from a connection at once. A body arrives in frames of this size, each with its own allocation: glibc
/// returns freed blocks of 64 KiB and more to the kernel, and faulting the memory in again costs more than reading into it.
const READ_BUFFER_BYTES: usize = 60 * 1024;

/// The wait after an accept that failed (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The log says at most this often that all connections are in use.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// Open connections, label `listener`.
const CONNECTIONS: &str = "atcr_connections";

/// Connections that were closed at once because their address had too many, label `listener`.
const REFUSED: &str = "atcr_connections_refused_total";

/// Connections that were closed because the client took next to nothing of an answer for too long, label `listener`.
const STALLED: &str = "atcr_connections_stalled_total";

/// The limits of a listener.
#[derive(Clone, Debug)]
pub struct ServeLimits {
    /// The listener's name in logs and metrics.
    pub listener: &'static str,
    /// Connections at once. Further ones wait in the kernel's queue until one ends.
    pub connections: usize,
    /// Connections at once of one address, an IPv6 /64 counting as one. Further ones are closed at once.
    pub connections_per_address: usize,
    /// Peers to which `connections_per_address` does not apply: proxies.
    pub unlimited_peers: Vec<Network>,
    /// How long a client may take to send the head of a request; also how long a connection may wait for its next request.
    pub header_timeout: Duration,
    /// How long an answer may wait for a client that takes less than 64 KiB of it meanwhile; then its connection is closed.
    pub write_timeout: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            listener: "main",
            connections: 4096,
            connections_per_address: 1024,
            unlimited_peers: Vec::new(),
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_mins(1),
        }
    }
}

/// [`serve_within`] the default limits.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    serve_within(listener, router, ServeLimits::default(), shutdown).await;
}

/// Serves `router` on `listener` within `limits` until the soft shutdown; each connection then finishes its request and closes.
///
/// Handlers find the peer's address as [`ConnectInfo<SocketAddr>`] among the request's extensions. Connections are
/// tasks of `shutdown`, so [`Shutdown::drain`] waits for them.
pub async fn serve_within(listener: TcpListener, router: Router, limits: ServeLimits, shutdown: Shutdown) {
    let mut slots = Slots::new(&limits);
    let addresses = Addresses::default();
    loop {
        let accepted = tokio::select! {
            () = shutdown.soft().cancelled() => return,
            accepted = slots.accept(&listener) => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let Some(place) = addresses.admit(peer.ip(), &limits) else {
                    metrics::counter!(REFUSED, "listener" => limits.listener).increment(1);
                    tracing::debug!(%peer, "connection refused: its address has too many");
                    continue;
                };
                let connection = Connection {
                    peer,
                    _slot: slot,
                    _place: place,
                    _open: Open::new(limits.listener),
                };
                shutdown.spawn(connection.serve(stream, router.clone(), limits.clone(), shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connections that may be open at once.
struct Slots {
    free: Arc<Semaphore>,
    listener: &'static str,
    warned: Option<Instant>,
}

impl Slots {
    fn new(limits: &ServeLimits) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            listener: limits.listener,
            warned: None,
        }
    }

    /// Waits until one more connection may be open, and then for it.
    async fn accept(
        &mut self,
        listener: &TcpListener,
    ) -> std::io::Result<(TcpStream, SocketAddr, Option<OwnedSemaphorePermit>)> {
        let slot = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(slot) => Some(slot),
            Err(_) => {
                self.warn();
                // The semaphore is never closed.
                Arc::clone(&self.free).acquire_owned().await.ok()
            }
        };
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, slot))
    }

    /// Says that all slots are taken, at most once in [`WARN_EVERY`].
    fn warn(&mut self) {
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                listener = self.listener,
                "limits.connections are all in use; new connections wait"
            );
        }
    }
}

/// How many connections each address has.
#[derive(Clone, Debug, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of an address; dropping it ends the count.
#[derive(Debug)]
struct Place(Option<(Addresses, IpAddr)>);

impl Addresses {
    fn admit(&self, peer: IpAddr, limits: &ServeLimits) -> Option<Place> {
        if limits
            .unlimited_peers
            .iter()
            .any(|network| network.contains(peer))
        {
            return Some(Place(None));
        }
        let key = client_key(peer);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_insert(0);
        if *count >= limits.connections_per_address {
            return None;
        }
        *count += 1;
        Some(Place(Some((self.clone(), key))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((Addresses(counts), key)) = &self.0 else {
            return;
        };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(key);
            }
        }
    }
}

/// Counts an open connection while it lives.
struct Open(metrics::Gauge);

impl Open {
    fn new(listener: &'static str) -> Self {
        let gauge = metrics::gauge!(CONNECTIONS, "listener" => listener);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A connection and what it holds until it ends.
struct Connection {
    peer: SocketAddr,
    _slot: Option<OwnedSemaphorePermit>,
    _place: Place,
    _open: Open,
}

impl Connection {
    async fn serve(self, stream: TcpStream, router: Router, limits: ServeLimits, shutdown: Shutdown) {
        let peer = self.peer;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let service = tower_service(router, peer);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(READ_BUFFER_BYTES)
            .serve_connection(
                TokioIo::new(PacedWriter::new(stream, limits.write_timeout)),
                TowerToHyperService::new(service),
            )
            .with_upgrades();
        tokio::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = shutdown.soft().cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            if is_stalled(&error) {
                metrics::counter!(STALLED, "listener" => limits.listener).increment(1);
                tracing::info!(%peer, "connection closed: the client took nothing, or next to nothing, of its answer for too long");
            } else {
                tracing::debug!(%error, %peer, "connection ended early");
            }
        }
    }
}

/// Whether the write timeout ended the connection. The header timeout is another kind of error of hyper's.
fn is_stalled(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|source| source.kind() == std::io::ErrorKind::TimedOut)
}

fn tower_service(
    router: Router,
    peer: SocketAddr,
) -> impl tower::Service<
    hyper::Request<Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future: Send,
> + Clone {
    tower::service_fn(move |request: hyper::Request<Incoming>| {
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(ConnectInfo(peer));
        let request = hyper::Request::from_parts(parts, axum::body::Body::new(body));
        tower::ServiceExt::oneshot(router.clone(), request)
    })
}
