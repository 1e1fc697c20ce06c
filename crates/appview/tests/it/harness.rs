//! `TestAppView`: the real router on a listener, with a fake PDS and a fake hold outside.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use atcr_appview::compose::{Outside, compose};
use atcr_appview::config::AppViewConfig;
use atcr_appview::settings::AppViewSettings;
use atcr_atproto::clock::{Clock, ManualClock};
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_auth::registry_token::{AccessEntry, RegistryKey, RegistryTokenIssuer};
use atcr_oci::{Algorithm, Descriptor, Digest, ImageIndex, ImageManifest, Manifest, MediaType};
use atcr_server::{HumanDuration, Problems, Shutdown, serve};
use atcr_sessions::oauth::SignInFlow;
use atcr_test_support::fakes::{FakeHold, FakePds, StoreKind};
use http::{Method, StatusCode};
use reqwest::RequestBuilder;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const PASSWORD: &str = "abcd-efgh-ijkl-mnop";

/// A running AppView in its little network: `alice.test` and `bob.test` at one PDS, one public hold.
pub(crate) struct TestAppView {
    pub(crate) pds: FakePds,
    pub(crate) hold: FakeHold,
    pub(crate) alice: String,
    pub(crate) bob: String,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) url: String,
    client: reqwest::Client,
    config: AppViewConfig,
    data: TempDir,
    address: SocketAddr,
    shutdown: Shutdown,
    serving: Option<JoinHandle<()>>,
    sign_in: Option<Arc<dyn SignInFlow>>,
}

impl TestAppView {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// `change` may change the configuration.
    pub(crate) async fn start_with(change: impl FnOnce(&mut AppViewConfig)) -> Self {
        let pds = FakePds::start().await.unwrap();
        let hold = FakeHold::start(StoreKind::Streaming).await.unwrap();
        let (alice, bob) = (
            pds.add_account("alice.test", PASSWORD),
            pds.add_account("bob.test", PASSWORD),
        );
        let data = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = AppViewConfig::default();
        config.server.addr = address.to_string();
        config.server.data_dir = data.path().join("data");
        config.server.plc_directory_url = pds.url();
        config.server.handle_resolver_url = pds.url();
        config.server.default_hold_did = hold.did();
        config.server.test_mode = true;
        // It reads accounts of its own accord, and most tests count who reads what.
        config.index.enabled = false;
        config.jetstream.urls = Vec::new();
        config.jetstream.relay_endpoints = Vec::new();
        config.upstream.pds_timeout = HumanDuration::from_secs(20);
        config.upstream.hold_timeout = HumanDuration::from_secs(20);
        change(&mut config);
        let mut appview = Self {
            pds,
            hold,
            alice,
            bob,
            // The fake PDS runs on the host's clock, so this one starts there.
            clock: ManualClock::host(),
            url: format!("http://{address}"),
            client: client(),
            config,
            data,
            address,
            shutdown: Shutdown::new(),
            serving: None,
            sign_in: None,
        };
        appview.serve(listener).await;
        appview
    }

    async fn serve(&mut self, listener: TcpListener) {
        let outside = Outside {
            clock: Arc::clone(&self.clock) as _,
        };
        let shutdown = self.shutdown.clone();
        let app = compose(&settings(&self.config), outside, shutdown.clone())
            .await
            .unwrap();
        self.sign_in = Some(app.sign_in);
        self.serving = Some(tokio::spawn(async move {
            serve::serve(listener, app.router, shutdown.clone()).await;
            shutdown.drain(std::time::Duration::from_secs(20)).await;
            app.database.close().await;
        }));
    }

    /// Stops the process as a signal does and starts another one on its data.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.shutdown = Shutdown::new();
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener).await;
    }

    /// Stops the process; what it was doing is finished when this returns.
    pub(crate) async fn stop(&mut self) {
        // Idle connections would keep the drain waiting for their next request.
        self.client = client();
        self.shutdown.begin();
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap();
        }
    }

    /// Changes the configuration of the process that [`Self::restart`] starts.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut AppViewConfig)) {
        change(&mut self.config);
    }

    /// Signing in through the account's server, as the pages do it.
    pub(crate) fn sign_in(&self) -> &dyn SignInFlow {
        self.sign_in.as_deref().unwrap()
    }

    /// Another process on the same data and with the same clock, on a port of its own but under the same base URL.
    pub(crate) async fn second(&self) -> SecondAppView {
        let shutdown = Shutdown::new();
        let outside = Outside {
            clock: Arc::clone(&self.clock) as _,
        };
        let mut config = self.config.clone();
        config.server.base_url.clone_from(&self.url);
        let app = compose(&settings(&config), outside, shutdown.clone())
            .await
            .unwrap();
        SecondAppView {
            sign_in: app.sign_in,
            shutdown,
        }
    }

    /// A registry token of an account that signed in through OAuth.
    pub(crate) fn oauth_sailor(&self, did: &str, repositories: &[&str]) -> Sailor<'_> {
        let key = RegistryKey::load_or_create(&settings(&self.config).paths.registry_key).unwrap();
        let issuer = RegistryTokenIssuer::new(key, settings(&self.config).service);
        let principal = Principal::Sailor {
            did: did.parse().unwrap(),
            auth_method: AuthMethod::OAuth,
        };
        let access = repositories.iter().map(|name| AccessEntry {
            resource_type: "repository".to_owned(),
            name: (*name).to_owned(),
            actions: vec!["pull".to_owned(), "push".to_owned(), "delete".to_owned()],
        });
        let issued = issuer.issue(&principal, access, self.clock.now()).unwrap();
        Sailor {
            appview: self,
            token: issued.token.expose_secret().to_owned(),
        }
    }

    /// Its configuration, for another process.
    pub(crate) fn configuration(&self) -> AppViewConfig {
        self.config.clone()
    }

    /// The settings that it runs with.
    pub(crate) fn settings(&self) -> AppViewSettings {
        settings(&self.config)
    }

    pub(crate) fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// A request to `path`, which begins with a slash.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// Asks the token endpoint with a user name and password.
    pub(crate) async fn token_response(&self, username: &str, password: &str, scopes: &[&str]) -> Answer {
        let query: Vec<(&str, &str)> = scopes.iter().map(|scope| ("scope", *scope)).collect();
        let request = self
            .get("/auth/token")
            .query(&query)
            .basic_auth(username, Some(password));
        Answer::of(request).await
    }

    /// A token of `username` for `scopes`.
    pub(crate) async fn token(&self, username: &str, scopes: &[&str]) -> String {
        let answer = self.token_response(username, PASSWORD, scopes).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// A caller with every right on each of `repositories`.
    pub(crate) async fn sailor(&self, username: &str, repositories: &[&str]) -> Sailor<'_> {
        let scopes: Vec<String> = repositories
            .iter()
            .map(|name| format!("repository:{name}:pull,push,delete"))
            .collect();
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        Sailor {
            appview: self,
            token: self.token(username, &scopes).await,
        }
    }

    /// Stores a config or layer in the hold, as an upload would.
    pub(crate) fn blob(&self, bytes: &str) -> Descriptor {
        let digest: Digest = self.hold.put_blob(bytes.as_bytes().to_vec()).parse().unwrap();
        Descriptor::new(MediaType::OCI_LAYER_TAR_GZIP, digest, bytes.len() as u64)
    }

    /// An image whose blobs are in the hold; `seed` makes it differ from others.
    pub(crate) fn image(&self, seed: &str) -> Manifest {
        self.image_with(seed, |_| {})
    }

    pub(crate) fn image_with(&self, seed: &str, change: impl FnOnce(&mut ImageManifest)) -> Manifest {
        let mut config = self.blob(&format!("config of {seed}"));
        config.media_type = MediaType::OCI_IMAGE_CONFIG;
        let mut image = ImageManifest::new(config, vec![self.blob(&format!("layer of {seed}"))]);
        change(&mut image);
        Manifest::from_image(&image).unwrap()
    }
}

/// What is needed of another process on the same data.
pub(crate) struct SecondAppView {
    pub(crate) sign_in: Arc<dyn SignInFlow>,
    shutdown: Shutdown,
}

impl Drop for SecondAppView {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl Drop for TestAppView {
    fn drop(&mut self) {
        self.shutdown.begin();
        if !std::thread::panicking() {
            let violations = self.hold.violations();
            assert!(
                violations.is_empty(),
                "the hold saw what no store takes: {violations:?}"
            );
        }
    }
}

/// No proxies, no redirects, like a container client.
fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// An index of `manifests`.
pub(crate) fn index_of(manifests: &[&Manifest]) -> Manifest {
    let children = manifests.iter().map(|manifest| descriptor(manifest)).collect();
    Manifest::from_index(&ImageIndex::new(children)).unwrap()
}

pub(crate) fn descriptor(manifest: &Manifest) -> Descriptor {
    Descriptor::new(manifest.media_type().clone(), sha256(manifest), manifest.size())
}

pub(crate) fn sha256(manifest: &Manifest) -> Digest {
    manifest.digest(Algorithm::Sha256)
}

/// A captain record of a hold that takes every account as crew.
pub(crate) fn open_captain() -> Value {
    json!({
        "$type": "io.atcr.hold.captain", "owner": "did:plc:captainaaaaaaaaaaaaaaaaa", "public": true,
        "allowAllCrew": true, "enableBlueskyPosts": false, "deployedAt": "2026-01-01T00:00:00Z",
    })
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: BTreeMap<String, String>,
    pub(crate) body: bytes::Bytes,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let status = response.status();
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in response.headers() {
            let value = value.to_str().unwrap();
            headers
                .entry(name.to_string())
                .and_modify(|known| *known = format!("{known}, {value}"))
                .or_insert_with(|| value.to_owned());
        }
        Self {
            status,
            headers,
            body: response.bytes().await.unwrap(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of an error answer.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The sentence of an error answer.
    pub(crate) fn message(&self) -> String {
        self.json()["errors"][0]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Status and code of an error answer.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.code()),
            (status, code.to_owned()),
            "{}",
            self.text()
        );
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
    }
}

/// A caller with a token.
pub(crate) struct Sailor<'a> {
    pub(crate) appview: &'a TestAppView,
    pub(crate) token: String,
}

impl Sailor<'_> {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.appview.request(method, path).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::HEAD, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    /// Pushes a manifest under `<name>:<reference>` and expects success.
    pub(crate) async fn push(&self, name: &str, reference: &str, manifest: &Manifest) -> Answer {
        let answer = self.try_push(name, reference, manifest).await;
        answer.assert_status(201);
        answer
    }

    pub(crate) async fn try_push(&self, name: &str, reference: &str, manifest: &Manifest) -> Answer {
        let request = self
            .request(Method::PUT, &format!("/v2/{name}/manifests/{reference}"))
            .header("content-type", manifest.media_type().as_str())
            .body(manifest.bytes().clone());
        Answer::of(request).await
    }
}

/// The settings of `config`, which is a good one.
pub(crate) fn settings(config: &AppViewConfig) -> AppViewSettings {
    AppViewSettings::parse(config, &mut Problems::default()).unwrap()
}
