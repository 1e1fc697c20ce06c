//! [`TestHold`]: the real routes on a real listener, over a folder of its own, with identities kept in memory.

mod clock;
pub(crate) mod directory;
pub(crate) mod identities;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::crypto::Curve;
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::syntax::Did;
use atcr_hold::blobs::ObjectKey;
use atcr_hold::compose::{Hold, StartError, Surroundings};
use atcr_hold::config::HoldConfig;
use atcr_hold::settings::{HoldSettings, StorageSettings};
use atcr_hold_pds::records::crew;
use atcr_oci::{Algorithm, Digest};
use atcr_server::serve::serve_within;
use atcr_server::{Problems, Shutdown};
use chrono::TimeDelta;
use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use clock::TestClock;
use identities::{Account, Identities};

/// How long a test waits for the hold to finish what is in flight.
const GRACE: Duration = Duration::from_secs(30);

/// How a hold differs from the default: private, and closed to new crew.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) public: bool,
    pub(crate) allow_all_crew: bool,
}

/// A hold that is serving. Ask it to [`TestHold::stop`], which checks that it comes down cleanly.
pub(crate) struct TestHold {
    pub(crate) identities: Arc<Identities>,
    pub(crate) captain: Account,
    pub(crate) appview: Account,
    pub(crate) settings: HoldSettings,
    pub(crate) dir: TempDir,
    pub(crate) hold: Hold,
    pub(crate) clock: Arc<dyn Clock>,
    own_clock: Arc<TestClock>,
    http: Client,
    shutdown: Shutdown,
}

impl TestHold {
    pub(crate) async fn start(setup: Setup) -> Self {
        Self::start_with(setup, |_| ()).await
    }

    /// As [`start`](Self::start), with a configuration that `change` has changed.
    pub(crate) async fn start_with(setup: Setup, change: impl FnOnce(&mut HoldConfig)) -> Self {
        let identities = Arc::new(Identities::default());
        let captain = identities.account("captain", Curve::K256);
        let appview = identities.account("appview", Curve::P256);
        let dir = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let mut config = HoldConfig::default();
        config.server.addr = addr.to_string();
        config.server.public_url = format!("http://{addr}");
        config.server.test_mode = true;
        config.server.public = Some(setup.public);
        config.server.appview_did = appview.did.to_string();
        config.registration.owner_did = captain.did.to_string();
        config.registration.allow_all_crew = Some(setup.allow_all_crew);
        config.database.path = dir.path().join("data").display().to_string();
        change(&mut config);
        let settings = settings(&config);
        Self::serve(identities, captain, appview, settings, dir, listener)
            .await
            .expect("the hold opens")
    }

    async fn serve(
        identities: Arc<Identities>,
        captain: Account,
        appview: Account,
        settings: HoldSettings,
        dir: TempDir,
        listener: TcpListener,
    ) -> Result<Self, StartError> {
        let own_clock = Arc::new(TestClock::default());
        let clock: Arc<dyn Clock> = own_clock.clone();
        let shutdown = Shutdown::new();
        let surroundings = Surroundings {
            ticks: Arc::new(atcr_hold::gc::ports::ProcessTicks::start()),
            clock: clock.clone(),
            resolver: identities.clone(),
            shutdown: shutdown.clone(),
            egress: egress(),
        };
        let hold = Hold::open(&settings, surroundings).await?;
        shutdown.spawn(serve_within(
            listener,
            hold.router(),
            settings.limits.listener.clone(),
            shutdown.clone(),
        ));
        let http = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .build()
            .expect("a client");
        Ok(Self {
            identities,
            captain,
            appview,
            settings,
            dir,
            hold,
            clock,
            own_clock,
            http,
            shutdown,
        })
    }

    /// Stops the hold and starts it again on the same folder, with settings that `change` has changed.
    pub(crate) async fn restart(self, change: impl FnOnce(&mut HoldSettings)) -> Self {
        let stopped = self.stop_to_restart().await;
        stopped.start(change).await.expect("the hold opens")
    }

    /// Stops the hold and keeps what it takes to start it again.
    pub(crate) async fn stop_to_restart(self) -> Stopped {
        let Self {
            identities,
            captain,
            appview,
            settings,
            dir,
            hold,
            shutdown,
            ..
        } = self;
        shutdown.begin();
        assert!(shutdown.drain(GRACE).await, "the hold finishes by itself");
        hold.close(GRACE).await;
        Stopped {
            identities,
            captain,
            appview,
            settings,
            dir,
        }
    }

    /// Stops the hold; its folder lives as long as what this returns.
    pub(crate) async fn stop_keeping(self) -> TempDir {
        self.shutdown.begin();
        assert!(self.shutdown.drain(GRACE).await, "the hold finishes by itself");
        self.hold.close(GRACE).await;
        self.dir
    }

    pub(crate) async fn stop(self) {
        self.shutdown.begin();
        assert!(self.shutdown.drain(GRACE).await, "the hold finishes by itself");
        self.hold.close(GRACE).await;
    }

    /// Puts the hold's clock ahead.
    pub(crate) fn advance(&self, by: TimeDelta) {
        self.own_clock.advance(by);
    }

    pub(crate) fn did(&self) -> &Did {
        self.hold.repo().did()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.settings.data_dir.clone()
    }

    /// An account with a crew record of these permissions.
    pub(crate) async fn crew(&self, name: &str, permissions: &[&str]) -> Account {
        let account = self.identities.account(name, Curve::K256);
        let record = CrewRecord::new(
            account.did.clone(),
            "member",
            permissions.iter().copied(),
            self.clock.now_datetime(),
        );
        crew::ensure(self.hold.repo(), &record)
            .await
            .expect("the record is written");
        account
    }

    /// A service token for this hold as an account asks for it to call `nsid`: the methods that administer take no other.
    pub(crate) fn token_for(&self, account: &Account, nsid: &str) -> String {
        account.token(self.did(), Some(nsid), self.clock.now())
    }

    /// A service token for this hold, of the kind the AppView's scopes ask for.
    pub(crate) fn token(&self, account: &Account) -> String {
        account.token(self.did(), Some("com.atproto.repo.getRecord"), self.clock.now())
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let base = self.settings.public_url.as_str().trim_end_matches('/');
        self.http.request(method, format!("{base}{path}"))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// A procedure, called by `caller` or anonymously: records are written with a token made for the method, everything else
    /// with the AppView's kind.
    pub(crate) async fn call(&self, nsid: &str, caller: Option<&Account>, input: &Value) -> Answer {
        let mut request = self.request(Method::POST, &format!("/xrpc/{nsid}")).json(input);
        if let Some(account) = caller {
            let token = if nsid.starts_with("com.atproto.repo.") {
                self.token_for(account, nsid)
            } else {
                self.token(account)
            };
            request = request.bearer_auth(token);
        }
        Answer::of(request).await
    }

    /// A query, asked anonymously.
    pub(crate) async fn query(&self, nsid_and_parameters: &str) -> Answer {
        Answer::of(self.get(&format!("/xrpc/{nsid_and_parameters}"))).await
    }
}

/// A hold that does not run.
pub(crate) struct Stopped {
    pub(crate) identities: Arc<Identities>,
    pub(crate) captain: Account,
    pub(crate) appview: Account,
    pub(crate) settings: HoldSettings,
    pub(crate) dir: TempDir,
}

impl Stopped {
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.settings.data_dir.clone()
    }

    /// Starts it with settings that `change` has changed.
    pub(crate) async fn start(
        mut self,
        change: impl FnOnce(&mut HoldSettings),
    ) -> Result<TestHold, StartError> {
        change(&mut self.settings);
        let listener = TcpListener::bind(self.settings.listen)
            .await
            .expect("the same port");
        let Self {
            identities,
            captain,
            appview,
            settings,
            dir,
        } = self;
        TestHold::serve(identities, captain, appview, settings, dir, listener).await
    }

    /// Why it does not start.
    pub(crate) async fn refusal(&self) -> String {
        let surroundings = Surroundings {
            ticks: Arc::new(atcr_hold::gc::ports::ProcessTicks::start()),
            clock: Arc::new(SystemClock),
            resolver: self.identities.clone(),
            shutdown: Shutdown::new(),
            egress: egress(),
        };
        let error = Hold::open(&self.settings, surroundings)
            .await
            .expect_err("the hold must not start");
        let error = anyhow::Error::new(error);
        format!("{error:#}")
    }
}

/// A client that reaches hosts on this machine.
pub(crate) fn egress() -> EgressClient {
    EgressClient::new(EgressPolicy {
        allow_loopback: true,
        ..EgressPolicy::default()
    })
    .expect("a client")
}

/// Settings out of a configuration that must be right.
pub(crate) fn settings(config: &HoldConfig) -> HoldSettings {
    let mut problems = Problems::default();
    HoldSettings::parse(config, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.into_vec()))
}

/// Status and JSON body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, body }
    }

    /// The output of a call that succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.body
    }

    /// Status and error name of a call that was refused.
    pub(crate) fn error(&self) -> (u16, &str) {
        (
            self.status.as_u16(),
            self.body["error"].as_str().unwrap_or_default(),
        )
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl TestHold {
    /// Begins an upload and sends its one part; the input of `completeUpload` but for the digest.
    pub(crate) async fn send_blob(&self, caller: &Account, bytes: &[u8]) -> Value {
        let begun = self
            .call(
                "io.atcr.hold.initiateUpload",
                Some(caller),
                &json!({ "digest": "uploads/temp-1" }),
            )
            .await
            .ok();
        let url = begun["part"]["url"].as_str().expect("a URL");
        let sent = self
            .http
            .put(url)
            .body(bytes.to_vec())
            .send()
            .await
            .expect("an answer");
        assert!(sent.status().is_success(), "{sent:?}");
        let etag = sent.headers()["etag"].to_str().expect("text");
        json!({ "uploadId": begun["uploadId"], "parts": [{ "partNumber": 1, "etag": etag }] })
    }

    /// The bytes at a signed URL.
    pub(crate) async fn follow(&self, url: &str) -> Vec<u8> {
        let response = self.http.get(url).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        response.bytes().await.expect("a body").to_vec()
    }

    /// Puts blobs into the store without uploading them.
    pub(crate) fn place_blobs(&self, blobs: &[&str]) {
        let StorageSettings::Filesystem { path } = &self.settings.storage else {
            panic!("the test's store is a folder");
        };
        for blob in blobs {
            let digest = Digest::of(Algorithm::Sha256, blob.as_bytes());
            let file = path.join(ObjectKey::blob(&digest).as_str());
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, blob).expect("written");
        }
    }

    /// Uploads a blob as `caller`; its digest.
    pub(crate) async fn put_blob(&self, caller: &Account, bytes: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let mut input = self.send_blob(caller, bytes).await;
        input["digest"] = json!(digest);
        self.call("io.atcr.hold.completeUpload", Some(caller), &input)
            .await
            .ok();
        digest
    }
}
