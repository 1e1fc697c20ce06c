//! Blobs and uploads over a real database, a real spool and a fake hold, driven through the handlers.

mod ask;
mod clean_up;
mod fixed_ports;
mod interrupted_sessions;
mod limits;
mod mounts;
mod original_hold;
mod over_http;
mod pulls;
mod session_owners;
mod sessions;
mod stores;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atcr_appview::adapters::hold::{HoldClient, HoldTimeouts};
use atcr_appview::adapters::spool::{FileSpool, SpoolLimits};
use atcr_appview::adapters::sqlite::uploads::SqliteUploads;
use atcr_appview::adapters::sqlite::{Database, open_scratch};
use atcr_appview::edge::error::EdgeError;
use atcr_appview::edge::registry::{RegistryCall, blobs, uploads};
use atcr_atproto::clock::ManualClock;
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::syntax::AtIdentifier;
use atcr_auth::principal::Principal;
use atcr_auth::registry_token::RegistryClaims;
use atcr_oci::{Digest, RegistryRequest, RepositoryRequest};
use atcr_registry::access::{Caller, Permissions};
use atcr_registry::blob::{BlobParts, Blobs};
use atcr_registry::context::RequestContext;
use atcr_registry::error::{RegistryError, UploadError};
use atcr_registry::upload::{UploadParts, Uploads};
use atcr_test_support::fakes::{FakeHold, StoreKind};
use axum::body::Bytes;
use axum::response::Response;
use http::StatusCode;
use http::header::{LOCATION, RANGE};
use tempfile::TempDir;

pub(crate) use ask::{Ask, body, header};
use fixed_ports::{Accounts, CountedTokens, EveryDevice, FixedDirectory, PlainProofs};
pub(crate) use fixed_ports::{claims, hold_ref, principal};

pub(crate) const ALICE: &str = "did:plc:aliceaaaaaaaaaaaaaaaaaaa";

pub(crate) const BOB: &str = "did:plc:bobbbbbbbbbbbbbbbbbbbbbb";

pub(crate) const MIB: usize = 1024 * 1024;

/// The appview's blob side.
pub(crate) struct BlobSide {
    pub(crate) hold: FakeHold,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) tokens: Arc<CountedTokens>,
    pub(crate) directory: Arc<FixedDirectory>,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) data: TempDir,
    database: Database,
    timeouts: HoldTimeouts,
    limits: Limits,
}

/// What an operator may set.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// How long a client may be silent.
    pub(crate) body_idle: Duration,
    /// Unfinished uploads of one account.
    pub(crate) sessions: u32,
    /// Bytes in the spool.
    pub(crate) spool: SpoolLimits,
    /// Blobs that go through at once.
    pub(crate) proxied: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_idle: Duration::from_secs(30),
            sessions: 1_000,
            spool: SpoolLimits {
                account_bytes: u64::MAX,
                total_bytes: u64::MAX,
            },
            proxied: 8,
        }
    }
}

impl BlobSide {
    pub(crate) async fn start(kind: StoreKind) -> Self {
        Self::start_with(kind, Limits::default()).await
    }

    pub(crate) async fn start_with(kind: StoreKind, limits: Limits) -> Self {
        let hold = FakeHold::start(kind).await.unwrap();
        let data = tempfile::tempdir().unwrap();
        let database = open_scratch(&data.path().join("appview.db")).await.unwrap();
        let directory = Arc::new(FixedDirectory {
            holds: Mutex::new(vec![hold_ref(&hold)]),
            sources: Mutex::default(),
        });
        let (clock, tokens) = (ManualClock::standing(), Arc::new(CountedTokens::default()));
        let timeouts = HoldTimeouts {
            call: Duration::from_secs(20),
            idle: Duration::from_secs(20),
        };
        let (blobs, uploads) = assemble(&data, &database, &directory, &clock, &tokens, timeouts, limits);
        Self {
            hold,
            clock,
            tokens,
            directory,
            blobs,
            uploads,
            data,
            database,
            timeouts,
            limits,
        }
    }

    /// Takes the process down and up again: what is not on disk is gone.
    pub(crate) async fn restart(&mut self) {
        self.database.close().await;
        self.database = open_scratch(&self.data.path().join("appview.db")).await.unwrap();
        let (blobs, uploads) = assemble(
            &self.data,
            &self.database,
            &self.directory,
            &self.clock,
            &self.tokens,
            self.timeouts,
            self.limits,
        );
        (self.blobs, self.uploads) = (blobs, uploads);
    }

    /// A request of `caller`, signed in on the request itself.
    pub(crate) async fn send(&self, caller: &str, request: Ask) -> Result<Response, RegistryError> {
        self.send_with(principal(caller), None, request).await
    }

    /// A request of alice.
    pub(crate) async fn alice(&self, request: Ask) -> Result<Response, RegistryError> {
        self.send(ALICE, request).await
    }

    pub(crate) async fn send_with(
        &self,
        principal: Principal,
        claims: Option<RegistryClaims>,
        ask: Ask,
    ) -> Result<Response, RegistryError> {
        let (path, query) = match ask.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (ask.target.as_str(), None),
        };
        let RegistryRequest::Repository { name, request } =
            RegistryRequest::parse(ask.method, path, query).unwrap()
        else {
            unreachable!("{path} is about no repository")
        };
        let owner = Accounts::identity(&AtIdentifier::from_image_segment(name.identity()).unwrap()).unwrap();
        let context = RequestContext {
            name,
            owner,
            requester: principal.did().map_or("192.0.2.1", |did| did.as_str()).into(),
        };
        let call = RegistryCall {
            caller: Caller { principal, claims },
            context,
            headers: ask.headers,
            body: ask.body,
        };
        let permissions = Permissions::new(Arc::new(EveryDevice));
        match request {
            RepositoryRequest::Blob(request) => blobs::answer(&self.blobs, &permissions, request, call).await,
            RepositoryRequest::Upload(request) => {
                match uploads::answer(&self.uploads, &permissions, request, call).await {
                    Ok(response) => Ok(response),
                    Err(EdgeError::Registry(error)) => Err(error),
                    Err(other) => unreachable!("{other:?} is of the request itself"),
                }
            }
            other => unreachable!("{other:?} is not about blobs"),
        }
    }

    /// Starts a session of alice and returns its location.
    pub(crate) async fn begin(&self) -> String {
        let response = self
            .alice(Ask::post("/v2/alice.test/app/blobs/uploads/"))
            .await
            .unwrap();
        assert_eq!(
            (response.status(), header(&response, &RANGE)),
            (StatusCode::ACCEPTED, "0-0".to_owned())
        );
        header(&response, &LOCATION)
    }

    /// Sends a chunk and returns the `Range` of the answer.
    pub(crate) async fn patch(
        &self,
        location: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<String, RegistryError> {
        let response = self.alice(Ask::patch(location).bytes(bytes)).await?;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        Ok(header(&response, &RANGE))
    }

    /// Finishes a session, with a last chunk if there is one.
    pub(crate) async fn put(
        &self,
        location: &str,
        digest: &Digest,
        bytes: impl Into<Bytes>,
    ) -> Result<(), RegistryError> {
        let response = self
            .alice(Ask::put(&format!("{location}?digest={digest}")).bytes(bytes))
            .await?;
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(
            header(&response, &LOCATION),
            format!("/v2/alice.test/app/blobs/{digest}")
        );
        Ok(())
    }

    /// Finishes a session with what of `bytes` comes after `sent`; the hold has them all then.
    pub(crate) async fn finish(&self, location: &str, bytes: &Bytes, sent: usize) {
        self.put(location, &sha256(bytes), bytes.slice(sent..))
            .await
            .unwrap();
        self.assert_stored(&sha256(bytes), bytes);
    }

    /// A session of alice is no more.
    pub(crate) async fn assert_gone(&self, location: &str) {
        let gone = self.range(location).await;
        assert!(
            matches!(gone, Err(RegistryError::Upload(UploadError::Unknown { .. }))),
            "{gone:?}"
        );
    }

    /// Where a session of alice stands.
    pub(crate) async fn range(&self, location: &str) -> Result<String, RegistryError> {
        let response = self.alice(Ask::get(location)).await?;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        Ok(header(&response, &RANGE))
    }

    /// Whether the spool is empty.
    pub(crate) fn spool_is_empty(&self) -> bool {
        std::fs::read_dir(self.data.path().join("spool"))
            .unwrap()
            .next()
            .is_none()
    }

    /// The hold's store has the blob and saw nothing that a real one would have refused.
    pub(crate) fn assert_stored(&self, digest: &Digest, bytes: &[u8]) {
        let stored = self.hold.blob(digest.as_ref()).unwrap();
        assert!(
            stored == bytes,
            "{} bytes stored, {} expected",
            stored.len(),
            bytes.len()
        );
        assert_eq!(self.hold.violations(), Vec::<String>::new());
        assert_eq!(self.hold.open_uploads(), 0);
    }
}

fn assemble(
    data: &TempDir,
    database: &Database,
    directory: &Arc<FixedDirectory>,
    clock: &Arc<ManualClock>,
    tokens: &Arc<CountedTokens>,
    timeouts: HoldTimeouts,
    limits: Limits,
) -> (Arc<Blobs>, Arc<Uploads>) {
    let egress = EgressClient::new(EgressPolicy::of_server(true)).unwrap();
    let gateway = Arc::new(HoldClient::new(egress, timeouts));
    let blobs = Arc::new(Blobs::new(BlobParts {
        directory: Arc::clone(directory) as _,
        tokens: Arc::clone(tokens) as _,
        gateway: Arc::clone(&gateway) as _,
        proxied_user_agents: vec!["old-client/".to_owned()],
        proxied_at_once: limits.proxied,
        patience: timeouts.call,
    }));
    let uploads = Arc::new(Uploads::new(UploadParts {
        directory: Arc::clone(directory) as _,
        tokens: Arc::clone(tokens) as _,
        gateway,
        sessions: Arc::new(SqliteUploads::new(database.clone())),
        spool: Arc::new(FileSpool::open(data.path().join("spool"), limits.spool).unwrap()),
        proofs: Arc::new(PlainProofs),
        blobs: Arc::clone(&blobs),
        identities: Arc::new(Accounts),
        clock: Arc::clone(clock) as _,
        body_idle: limits.body_idle,
        sessions_per_account: limits.sessions,
    }));
    (blobs, uploads)
}

/// Bytes that differ from place to place.
pub(crate) fn noise(len: usize) -> Bytes {
    const BLOCK: usize = 64 * 1024;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(BLOCK);
    while block.len() < BLOCK {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        block.extend_from_slice(&(state >> 16).to_le_bytes()[..4]);
    }
    let mut bytes = Vec::with_capacity(len + BLOCK);
    while bytes.len() < len {
        block[..8].copy_from_slice(&bytes.len().to_le_bytes());
        bytes.extend_from_slice(&block);
    }
    bytes.truncate(len);
    bytes.into()
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(atcr_oci::Algorithm::Sha256, bytes)
}
