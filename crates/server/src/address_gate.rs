//! Middleware that counts requests per client address and refuses those beyond a limit.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::client_address::{ClientAddress, Network};
use crate::rate_limit::{Limited, RateLimit};

/// Clients whose requests no limit counts.
#[derive(Clone, Debug, Default)]
pub struct Exempt(Arc<[Network]>);

impl Exempt {
    /// The clients in `networks`.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks.into())
    }

    /// Whether `client` is exempt. A client whose own address is unknown is never exempt: it could be any client of the peer.
    #[must_use]
    pub fn covers(&self, client: &ClientAddress) -> bool {
        client
            .own
            .is_some_and(|address| self.0.iter().any(|network| network.contains(address)))
    }
}

/// A limit per client address in front of routes.
#[derive(Clone, Debug)]
pub struct AddressGate {
    /// How many.
    pub limit: RateLimit<IpAddr>,
    /// Clients that are not counted.
    pub exempt: Exempt,
    /// Whether a request counts here.
    pub counts: fn(&Request) -> bool,
    /// The refusal, in the dialect of the routes behind the gate.
    pub refuse: fn(Limited) -> Response,
}

impl AddressGate {
    /// Counts a request of `client`.
    ///
    /// # Errors
    /// [`Limited`]
    pub fn admit(&self, client: &ClientAddress) -> Result<(), Limited> {
        if self.exempt.covers(client) {
            return Ok(());
        }
        self.limit.take(&client.key())
    }
}

/// Lets a request through the gate or answers with the refusal. It goes inside of
/// [`client_address::layer`](crate::client_address::layer); a request without a [`ClientAddress`] did not come over the network and is
/// not counted.
pub async fn layer(State(gate): State<Arc<AddressGate>>, request: Request, next: Next) -> Response {
    if (gate.counts)(&request)
        && let Some(client) = request.extensions().get::<ClientAddress>()
        && let Err(limited) = gate.admit(client)
    {
        tracing::debug!(client = %client.key(), retry_after_s = limited.retry_after.as_secs(), "refused: too many requests");
        return (gate.refuse)(limited);
    }
    next.run(request).await
}
