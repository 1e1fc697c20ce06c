//! How often clients may ask, and how each kind of endpoint refuses a request too many.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_server::Rate;
use atcr_server::address_gate::Exempt;
use atcr_server::client_address::ClientAddress;
use atcr_server::rate_limit::{Limited, Now, RateLimit};
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::config::LimitsSection;
use crate::edge::device;
use crate::edge::dialect::json::refused;
use crate::edge::dialect::page;
use crate::state::AppState;

/// The limits of this server. Those per address count an IPv6 client by its /64.
#[derive(Debug)]
pub struct Limits {
    anonymous: RateLimit<IpAddr>,
    account: RateLimit<Did>,
    tokens: RateLimit<IpAddr>,
    pages: RateLimit<IpAddr>,
    exempt: Exempt,
    /// Sign-ins begun, per address: each makes us ask other servers.
    pub sign_ins: RateLimit<IpAddr>,
    /// Device codes made, per address.
    pub device_codes: RateLimit<IpAddr>,
    /// Polls with codes that this server never issued, per address.
    pub unknown_polls: RateLimit<IpAddr>,
    /// User codes that no device waits with, per address.
    pub code_guesses: RateLimit<IpAddr>,
    /// The same, per account.
    pub code_guesses_of_account: RateLimit<String>,
}

impl Limits {
    /// The limits that `section` sets and the fixed ones. Clients that `exempt` covers are not counted by address.
    #[must_use]
    pub fn new(section: &LimitsSection, exempt: Exempt, clock: Arc<dyn Clock>) -> Self {
        let now = Now::new(move || clock.now());
        let window = Duration::from_mins(10);
        Self {
            anonymous: RateLimit::new("anonymous_requests", section.anonymous_requests, now.clone()),
            account: RateLimit::new("account_requests", section.account_requests, now.clone()),
            tokens: RateLimit::new("token_requests", section.token_requests, now.clone()),
            pages: RateLimit::new("page_requests", section.page_requests, now.clone()),
            exempt,
            sign_ins: RateLimit::new("sign_ins", Rate::new(60, window), now.clone()),
            device_codes: RateLimit::new("device_codes", Rate::new(30, window), now.clone()),
            unknown_polls: RateLimit::new("unknown_polls", Rate::new(100, window), now.clone()),
            // A person mistypes a few times. With the 2³⁰ codes there are, a thousand addresses guess one of a hundred open codes in
            // ten minutes with a chance of one in a thousand; and what they get is to sign a stranger's machine in.
            code_guesses: RateLimit::new("code_guesses", Rate::new(10, window), now.clone()),
            code_guesses_of_account: RateLimit::new("code_guesses_of_account", Rate::new(10, window), now),
        }
    }

    /// Counts a request under `/v2/`: of an account, or of an address without one.
    ///
    /// # Errors
    /// [`Limited`]
    pub fn registry_request(&self, principal: &Principal, client: &ClientAddress) -> Result<(), Limited> {
        match principal.did() {
            Some(did) => self.account.take(did),
            None => self.of_address(&self.anonymous, client),
        }
    }

    /// Counts a request to `/auth/token`.
    ///
    /// # Errors
    /// [`Limited`]
    pub fn token_request(&self, client: &ClientAddress) -> Result<(), Limited> {
        self.of_address(&self.tokens, client)
    }

    fn of_address(&self, limit: &RateLimit<IpAddr>, client: &ClientAddress) -> Result<(), Limited> {
        if self.exempt.covers(client) {
            return Ok(());
        }
        limit.take(&client.key())
    }
}

/// Counts a request of a page.
pub async fn of_pages(State(state): State<AppState>, request: Request, next: Next) -> Response {
    match counted(&state, &request) {
        Ok(()) => next.run(request).await,
        Err(limited) => page::too_many_requests(&state.site, request.uri().path(), limited),
    }
}

/// Counts a request of a page's JSON endpoint.
pub async fn of_json(State(state): State<AppState>, request: Request, next: Next) -> Response {
    match counted(&state, &request) {
        Ok(()) => next.run(request).await,
        Err(limited) => refused(&limited.into()),
    }
}

/// Counts a request of the device flow.
pub async fn of_device_flow(State(state): State<AppState>, request: Request, next: Next) -> Response {
    match counted(&state, &request) {
        Ok(()) => next.run(request).await,
        Err(limited) => device::too_many_requests(limited),
    }
}

/// Counts a request with a peer; one without did not come over the network.
fn counted(state: &AppState, request: &Request) -> Result<(), Limited> {
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
        return Ok(());
    };
    let client = state.proxies.client(*peer, request.headers());
    state.limits.of_address(&state.limits.pages, &client)
}
