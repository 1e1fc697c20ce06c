//! A blob service over one of the stores, and the HTTP client that was given its URLs.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::syntax::Did;
use atcr_hold::adapters::filesystem::FilesystemStore;
use atcr_hold::adapters::s3::{S3Options, S3Store};
use atcr_hold::adapters::sqlite::{self, SqliteUploads};
use atcr_hold::blobs::{
    BlobError, BlobOptions, BlobService, Completed, DownloadMethod, Initiated, ObjectKey, ObjectStore,
    PartTag, PartUrl, UploadSessions,
};
use atcr_hold::edge;
use atcr_oci::{Algorithm, Digest};
use atcr_server::database::Database;
use chrono::{DateTime, TimeDelta, Utc};
use http::{Method, StatusCode, header};
use tempfile::TempDir;
use url::Url;

use super::servers::{ACCESS_KEY, BUCKET, SECRET_KEY, Serving, Versitygw, s3s_router};

/// The host's time, moved. Not a clock that stands still: S3 servers compare with their own.
#[derive(Debug, Default)]
pub(crate) struct ShiftedClock {
    shift_secs: AtomicI64,
}

impl ShiftedClock {
    pub(crate) fn shift(&self, by: TimeDelta) {
        self.shift_secs.fetch_add(by.num_seconds(), Ordering::Relaxed);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::seconds(self.shift_secs.load(Ordering::Relaxed))
    }
}

/// Which store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Filesystem,
    S3s,
    Versitygw(PathBuf),
}

/// Everything that one test needs.
pub(crate) struct World {
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) http: reqwest::Client,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) service: BlobService,
    pub(crate) listener: TcpListener,
    folder: TempDir,
    database: Database,
    serving: Option<Serving>,
    versitygw: Option<Versitygw>,
}

impl World {
    pub(crate) async fn start(backend: Backend) -> Self {
        let folder = TempDir::new().expect("a folder");
        let bucket = folder.path().join("objects").join(BUCKET);
        std::fs::create_dir_all(bucket).expect("a bucket");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let database = open_database(folder.path()).await;
        let clock = Arc::new(ShiftedClock::default());
        let versitygw = match &backend {
            Backend::Versitygw(binary) => {
                Some(Versitygw::start(binary, &folder.path().join("objects")).await)
            }
            _ => None,
        };
        let placeholder: Arc<dyn ObjectStore> =
            Arc::new(S3Store::new(&s3_options("http://unused"), clock.clone()));
        let mut world = Self {
            service: service(&placeholder, &database, &clock),
            store: placeholder,
            backend,
            clock,
            http: reqwest::Client::builder().build().expect("a client"),
            listener,
            folder,
            database,
            serving: None,
            versitygw,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let root = self.folder.path().join("objects");
        let (store, router): (Arc<dyn ObjectStore>, _) = match self.backend {
            Backend::Filesystem => {
                let store = FilesystemStore::open(&root.join(BUCKET), self.url(), self.clock.clone())
                    .expect("a filesystem store");
                (Arc::new(store.clone()), Some(edge::store::router(store)))
            }
            Backend::S3s => (Arc::new(self.s3_store(|_| {})), Some(s3s_router(&root))),
            Backend::Versitygw(_) => (Arc::new(self.s3_store(|_| {})), None),
        };
        self.serving = router.map(|router| Serving::start(&self.listener, router));
        self.service = service(&store, &self.database, &self.clock);
        self.store = store;
    }

    /// Ends the hold as it stands, and starts it again on the same folder and the same port.
    pub(crate) async fn restart(&mut self) {
        // Lets go of idle connections, or the server would wait for them.
        self.http = reqwest::Client::builder().build().expect("a client");
        let unused: Arc<dyn ObjectStore> =
            Arc::new(S3Store::new(&s3_options("http://unused"), self.clock.clone()));
        self.service = service(&unused, &self.database, &self.clock);
        self.store = unused;
        if let Some(serving) = self.serving.take() {
            serving.stop().await;
        }
        self.database.close().await;
        self.database = open_database(self.folder.path()).await;
        self.open();
    }

    /// Where the store is reached.
    pub(crate) fn url(&self) -> Url {
        let addr = match &self.versitygw {
            Some(server) => server.addr,
            None => self.listener.local_addr().expect("an address"),
        };
        format!("http://{addr}").parse().expect("a URL")
    }

    /// A store on the same bucket, with other options.
    pub(crate) fn s3_store(&self, change: impl FnOnce(&mut S3Options)) -> S3Store {
        let mut options = s3_options(self.url().as_str());
        change(&mut options);
        S3Store::new(&options, self.clock.clone())
    }

    /// A service over `store` with this world's uploads.
    pub(crate) fn service_over(&self, store: &Arc<dyn ObjectStore>) -> BlobService {
        service(store, &self.database, &self.clock)
    }

    /// The same with other options.
    pub(crate) fn service_with_options(
        &self,
        store: &Arc<dyn ObjectStore>,
        options: BlobOptions,
    ) -> BlobService {
        let sessions = Arc::new(self.uploads());
        BlobService::new(store.clone(), sessions, self.clock.clone(), options)
    }

    /// Damages the row of `upload`, as no hold does.
    pub(crate) async fn damage_row(&self, upload: &Initiated) {
        sqlx::query("UPDATE uploads SET owner = 'nobody' WHERE id = ?")
            .bind(&upload.upload_id)
            .execute(self.database.writer())
            .await
            .expect("a damaged row");
    }

    /// The file in which every one of these stores keeps the object.
    pub(crate) fn object_path(&self, key: &ObjectKey) -> PathBuf {
        self.folder.path().join("objects").join(BUCKET).join(key.as_str())
    }

    /// What the store needs as a part that is not the last.
    pub(crate) fn large_part(&self) -> usize {
        usize::try_from(self.store.traits().min_part_size.max(100_000)).expect("a small number")
    }

    pub(crate) async fn initiate(&self) -> Initiated {
        self.service
            .initiate(
                &alice(),
                "uploads/temp-9f6c5c1e-5e2f-4a51-8d53-6c9b4b3d1f10",
                None,
            )
            .await
            .expect("an upload")
    }

    pub(crate) async fn part_url(&self, upload: &Initiated, number: u32) -> PartUrl {
        self.service
            .part_url(&alice(), &upload.upload_id, number)
            .await
            .expect("a part URL")
    }

    /// Sends one part the way an uploader does.
    pub(crate) async fn put(&self, part: &PartUrl, bytes: impl Into<reqwest::Body>) -> reqwest::Response {
        assert_eq!(part.method, "PUT");
        let mut request = self.http.put(part.url.clone());
        for (name, value) in &part.headers {
            request = request.header(name, value);
        }
        request.body(bytes).send().await.expect("an answer")
    }

    /// Sends part `number`, which is taken.
    pub(crate) async fn send(&self, upload: &Initiated, number: u32, bytes: &[u8]) -> PartTag {
        let answer = self
            .put(&self.part_url(upload, number).await, bytes.to_vec())
            .await;
        assert_eq!(answer.status(), StatusCode::OK);
        PartTag {
            part_number: number,
            etag: answer.headers()[header::ETAG].to_str().expect("text").to_owned(),
        }
    }

    pub(crate) async fn complete(
        &self,
        upload: &Initiated,
        digest: &Digest,
        parts: &[PartTag],
    ) -> Result<Completed, BlobError> {
        self.service
            .complete(&alice(), &upload.upload_id, digest, parts, None)
            .await
    }

    /// Uploads `bytes` as one part.
    pub(crate) async fn upload(&self, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        let upload = self.initiate().await;
        let part = self.send(&upload, 1, bytes).await;
        let completed = self
            .complete(&upload, &digest, &[part])
            .await
            .expect("a completed upload");
        assert_eq!(completed.size, bytes.len() as u64);
        digest
    }

    pub(crate) async fn size_of(&self, digest: &Digest) -> Option<u64> {
        let stat = self
            .service
            .stat(None, digest)
            .await
            .expect("an answer of the store");
        stat.map(|stat| stat.size)
    }

    pub(crate) async fn download_url(&self, digest: &Digest, method: DownloadMethod) -> Url {
        self.service
            .download_url(None, digest, method)
            .await
            .expect("an answer of the store")
            .expect("a blob")
            .url
    }

    /// Reads a blob through its URL.
    pub(crate) async fn download(&self, digest: &Digest) -> Vec<u8> {
        let url = self.download_url(digest, DownloadMethod::Get).await;
        let answer = self.http.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.expect("a whole body").to_vec()
    }

    pub(crate) async fn status_of(&self, method: Method, url: &Url) -> StatusCode {
        let request = self.http.request(method, url.clone()).body(Vec::new());
        request.send().await.expect("an answer").status()
    }

    /// The table of uploads.
    pub(crate) fn uploads(&self) -> SqliteUploads {
        SqliteUploads::new(self.database.clone())
    }

    /// A service on the same store, over another table of uploads.
    pub(crate) fn service_with(&self, uploads: Arc<dyn UploadSessions>) -> BlobService {
        BlobService::new(
            self.store.clone(),
            uploads,
            self.clock.clone(),
            BlobOptions::default(),
        )
    }

    /// No test leaves an upload behind.
    pub(crate) async fn assert_nothing_unfinished(&self) {
        let unfinished = self.store.list_unfinished(100).await.expect("a listing");
        assert!(unfinished.is_empty(), "{unfinished:?}");
    }
}

fn service(store: &Arc<dyn ObjectStore>, database: &Database, clock: &Arc<ShiftedClock>) -> BlobService {
    let sessions = Arc::new(SqliteUploads::new(database.clone()));
    BlobService::new(store.clone(), sessions, clock.clone(), BlobOptions::default())
}

async fn open_database(folder: &Path) -> Database {
    sqlite::open(&folder.join("hold.db")).await.expect("a database")
}

fn s3_options(endpoint: &str) -> S3Options {
    S3Options {
        bucket: BUCKET.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.parse().expect("a URL")),
        path_style: true,
        pull_zone: None,
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.into(),
    }
}

pub(crate) fn alice() -> Did {
    "did:plc:aliceaaaaaaaaaaaaaaaaaaa".parse().expect("a DID")
}

pub(crate) fn mallory() -> Did {
    "did:plc:mallorymallorymallorymal".parse().expect("a DID")
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Bytes that differ from place to place, and with `seed`.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
