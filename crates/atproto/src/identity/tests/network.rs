//! A network on loopback: directory, did:web hosts, DNS and clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::clock::ManualClock;
use crate::crypto::{Curve, SigningKey};
use crate::egress::{EgressClient, EgressPolicy, HostLookup};
use crate::identity::dns::{TxtLookup, TxtLookupError};
use crate::identity::{Resolver, ResolverConfig};
use crate::syntax::{Did, Handle};

pub(super) const PLC: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

#[derive(Debug, thiserror::Error)]
#[error("the name server is down")]
struct Down;

/// TXT records by name; `None` for all of them while the server is down.
#[derive(Default)]
pub(super) struct FakeDns {
    records: Mutex<HashMap<String, Vec<String>>>,
    down: Mutex<bool>,
    pub(super) queries: AtomicUsize,
}

impl FakeDns {
    pub(super) fn set(&self, handle: &str, records: &[&str]) {
        let records = records.iter().map(|&record| record.to_owned()).collect();
        self.records
            .lock()
            .unwrap()
            .insert(format!("_atproto.{handle}"), records);
    }

    pub(super) fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }
}

#[async_trait]
impl TxtLookup for FakeDns {
    async fn txt(&self, name: &str) -> Result<Vec<String>, TxtLookupError> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        if *self.down.lock().unwrap() {
            return Err(TxtLookupError(Arc::new(Down)));
        }
        Ok(self
            .records
            .lock()
            .unwrap()
            .get(name)
            .cloned()
            .unwrap_or_default())
    }
}

/// Host names have no address here, except `internal.example.com`, which has a private one.
struct NoHosts;

#[async_trait]
impl HostLookup for NoHosts {
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        match host {
            "internal.example.com" => Ok(vec![[10, 0, 0, 1].into()]),
            _ => Err(std::io::Error::other("no such host")),
        }
    }
}

pub(super) struct Network {
    pub(super) plc: MockServer,
    pub(super) host: MockServer,
    pub(super) dns: Arc<FakeDns>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) resolver: Arc<Resolver>,
}

impl Network {
    pub(super) async fn start() -> Self {
        Self::with_handle_resolver(false).await
    }

    /// With `handle_resolver`, `plc` also answers `resolveHandle`.
    pub(super) async fn with_handle_resolver(handle_resolver: bool) -> Self {
        let (plc, host) = (MockServer::start().await, MockServer::start().await);
        let (dns, clock) = (Arc::new(FakeDns::default()), ManualClock::standing());
        let base: Url = plc.uri().parse().unwrap();
        let config = ResolverConfig {
            handle_resolver: handle_resolver.then(|| base.clone()),
            allow_loopback: true,
            ..ResolverConfig::new(base)
        };
        let egress = egress(true);
        let resolver = Resolver::with_dns(config, egress, clock.clone(), dns.clone()).unwrap();
        Self {
            plc,
            host,
            dns,
            clock,
            resolver: Arc::new(resolver),
        }
    }

    /// The did:web of [`Self::host`].
    pub(super) fn web_did(&self) -> Did {
        did(&format!("did:web:127.0.0.1%3A{}", self.host.address().port()))
    }

    /// Replaces what the directory says of `did`.
    pub(super) async fn publish_plc(&self, did: &str, status: u16, body: &Value) {
        self.plc.reset().await;
        answer(&self.plc, &format!("/{did}"), status, body).await;
    }

    pub(super) async fn publish_web(&self, status: u16, body: &Value) {
        self.host.reset().await;
        answer(&self.host, "/.well-known/did.json", status, body).await;
    }

    pub(super) async fn publish_handle(&self, handle: &str, status: u16, body: &Value) {
        Mock::given(method("GET"))
            .and(path("/xrpc/com.atproto.identity.resolveHandle"))
            .and(query_param("handle", handle))
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .mount(&self.plc)
            .await;
    }

    /// Requests the directory has seen since it was last published to.
    pub(super) async fn plc_requests(&self) -> usize {
        self.plc.received_requests().await.unwrap().len()
    }
}

pub(super) fn egress(allow_loopback: bool) -> EgressClient {
    EgressClient::with_lookup(
        EgressPolicy {
            allow_loopback,
            ..EgressPolicy::default()
        },
        Arc::new(NoHosts),
    )
    .unwrap()
}

pub(super) async fn answer(server: &MockServer, at: &str, status: u16, body: &Value) {
    Mock::given(method("GET"))
        .and(path(at))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

pub(super) fn did(text: &str) -> Did {
    text.parse().unwrap()
}

pub(super) fn handle(text: &str) -> Handle {
    text.parse().unwrap()
}

/// A document as a directory writes it.
pub(super) fn document(did: &str, handle: &str, key: &SigningKey) -> Value {
    json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "alsoKnownAs": [format!("at://{handle}")],
        "verificationMethod": [{
            "id": format!("{did}#atproto"),
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": key.public_key().to_multikey(),
        }],
        "service": [{
            "id": "#atproto_pds",
            "type": "AtprotoPersonalDataServer",
            "serviceEndpoint": "https://pds.example.com",
        }],
    })
}

pub(super) fn key() -> SigningKey {
    SigningKey::generate(Curve::K256)
}
