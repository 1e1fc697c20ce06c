//! How long `completeUpload` of a large layer takes on S3 when no AppView vouches for it: until it is answered, and until the blob
//! is there, step by step.
//!
//! ```text
//! cargo bench -p atcr-hold --bench s3_completion -- <versitygw> [GiB] [sent|sparse] [folder]
//! ```
//! The steps are those of the blob service: the server joins the parts; the hold reads the object back and hashes it; the server
//! copies it to its content address.
//!
//! - `sent`: the layer goes in by presigned URLs in parts of 64 MiB, and every step is taken. The folder needs room for three
//!   times the layer: the parts, the joined object, and the copy.
//! - `sparse`: the joined object is a file without blocks, so that only what the hold adds is measured, without a disk: reading
//!   back and hashing.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that fails may say so any way it likes"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use atcr_atproto::clock::SystemClock;
use atcr_atproto::syntax::Did;
use atcr_hold::adapters::s3::{S3Options, S3Store};
use atcr_hold::adapters::sqlite::{self, SqliteUploads};
use atcr_hold::blobs::{
    Assembled, BlobOptions, BlobService, DownloadMethod, ObjectBytes, ObjectKey, ObjectStat, ObjectStore,
    PartTag, PartUrl, PresignedUrl, StoreError, StoreTraits, StoreUpload, Unfinished,
};
use atcr_oci::{Algorithm, DigestHasher};
use bytes::Bytes;
use chrono::{DateTime, Utc};

const PART: usize = 64 * 1024 * 1024;
const KEY: &str = "measured";
const BUCKET: &str = "measured";

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(versitygw) = arguments.next() else {
        println!("nothing is measured: name a versitygw binary");
        return;
    };
    let gib: usize = arguments.next().map_or(1, |text| text.parse().unwrap());
    let is_sparse = arguments.next().as_deref() == Some("sparse");
    let folder = arguments.next().unwrap_or_else(|| "target/bench-s3".to_owned());
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(folder.join("store").join(BUCKET)).unwrap();
    let server = Server::start(Path::new(&versitygw), &folder.join("store")).await;
    measure(gib, is_sparse, &server.url, &folder).await;
    drop(server);
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn measure(gib: usize, is_sparse: bool, url: &str, folder: &Path) {
    let clock = Arc::new(SystemClock);
    let options = S3Options {
        bucket: BUCKET.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(url.parse().unwrap()),
        path_style: true,
        pull_zone: None,
        access_key: KEY.to_owned(),
        secret_key: KEY.to_owned().into(),
    };
    let store = Timed {
        store: S3Store::new(&options, clock.clone()),
        started: Instant::now(),
        sparse: is_sparse.then(|| Sparse {
            bucket: folder.join("store").join(BUCKET),
            size: (gib * 1024 * 1024 * 1024) as u64,
        }),
    };
    let database = sqlite::open(&folder.join("hold.sqlite")).await.unwrap();
    let sessions = Arc::new(SqliteUploads::new(database));
    let blobs = BlobService::new(Arc::new(store), sessions, clock, BlobOptions::default());
    let owner: Did = "did:plc:aliceaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();

    let upload = blobs.initiate(&owner, "uploads/temp-1", None).await.unwrap();
    let mut hasher = DigestHasher::new(Algorithm::Sha256);
    let mut tags = Vec::new();
    let zeros = vec![0; PART];
    let begun = Instant::now();
    for part_number in 1..=u32::try_from(gib * 1024 * 1024 * 1024 / PART).unwrap() {
        if is_sparse {
            hasher.update(&zeros);
            let etag = String::new();
            tags.push(PartTag { part_number, etag });
            continue;
        }
        let part = blobs
            .part_url(&owner, &upload.upload_id, part_number)
            .await
            .unwrap();
        let bytes = Bytes::from(noise(part_number));
        hasher.update(&bytes);
        let answer = http.put(part.url).body(bytes).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        tags.push(PartTag {
            part_number,
            etag: answer.headers()["etag"].to_str().unwrap().to_owned(),
        });
    }
    let digest = hasher.finish();
    println!(
        "{gib} GiB sent and hashed by the client in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let mut closed = blobs.promises_closed();
    let begun = Instant::now();
    let completed = blobs
        .complete(&owner, &upload.upload_id, &digest, &tags, None)
        .await
        .unwrap();
    assert_eq!(completed.size, (gib * 1024 * 1024 * 1024) as u64);
    println!(
        "completeUpload answered in {:.1} s{}",
        begun.elapsed().as_secs_f64(),
        if completed.is_promised {
            ", with a promise"
        } else {
            ""
        }
    );
    if completed.is_promised {
        closed.changed().await.unwrap();
        println!(
            "the blob was there, and the promise kept, after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
    }
}

/// Bytes that do not compress, other ones for every part.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(PART);
    while bytes.len() < PART {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// The store, saying when its steps begin and end.
#[derive(Debug)]
struct Timed {
    store: S3Store,
    started: Instant,
    sparse: Option<Sparse>,
}

/// Files without blocks in place of joined objects.
#[derive(Debug)]
struct Sparse {
    bucket: PathBuf,
    size: u64,
}

impl Sparse {
    fn assemble(&self, key: &ObjectKey) -> Assembled {
        let path = self.bucket.join(key.as_str());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(self.size).unwrap();
        Assembled {
            size: self.size,
            digest: None,
            version: None,
        }
    }
}

impl Timed {
    fn at(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

#[async_trait]
impl ObjectStore for Timed {
    fn traits(&self) -> StoreTraits {
        self.store.traits()
    }

    async fn begin(&self, key: &ObjectKey, algorithm: Algorithm) -> Result<StoreUpload, StoreError> {
        self.store.begin(key, algorithm).await
    }

    async fn part_url(
        &self,
        upload: &StoreUpload,
        part_number: u32,
        expires_at: DateTime<Utc>,
    ) -> Result<PartUrl, StoreError> {
        self.store.part_url(upload, part_number, expires_at).await
    }

    async fn measure(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Option<u64>, StoreError> {
        match &self.sparse {
            Some(sparse) => Ok(Some(sparse.size)),
            None => self.store.measure(upload, parts).await,
        }
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Assembled, StoreError> {
        if let Some(sparse) = &self.sparse {
            return Ok(sparse.assemble(&upload.key));
        }
        let begun = self.at();
        let outcome = self.store.assemble(upload, parts).await;
        println!("  the server joined the parts in {:.1} s", self.at() - begun);
        outcome
    }

    async fn read_assembled(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        range: std::ops::Range<u64>,
    ) -> Result<ObjectBytes, StoreError> {
        if range.start == 0 {
            println!("  reading back begins at {:.1} s", self.at());
        }
        self.store.read_assembled(upload, assembled, range).await
    }

    async fn publish(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        key: &ObjectKey,
    ) -> Result<(), StoreError> {
        let begun = self.at();
        println!("  it was read back and hashed at {begun:.1} s");
        if self.sparse.is_some() {
            return Ok(());
        }
        let outcome = self.store.publish(upload, assembled, key).await;
        println!(
            "  the server copied it to its address in {:.1} s",
            self.at() - begun
        );
        outcome
    }

    async fn discard(&self, upload: &StoreUpload) -> Result<(), StoreError> {
        self.store.discard(upload).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        self.store.stat(key).await
    }

    async fn download_url(
        &self,
        key: &ObjectKey,
        method: DownloadMethod,
        expires_at: DateTime<Utc>,
    ) -> Result<PresignedUrl, StoreError> {
        self.store.download_url(key, method, expires_at).await
    }

    async fn list_unfinished(&self, limit: usize) -> Result<Vec<Unfinished>, StoreError> {
        self.store.list_unfinished(limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}

/// A running versitygw. Ends with this value.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    async fn start(binary: &Path, folder: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap();
        let process = Command::new(binary)
            .env("ROOT_ACCESS_KEY", KEY)
            .env("ROOT_SECRET_KEY", KEY)
            .args(["--quiet", "--port", &port.to_string(), "posix"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while tokio::net::TcpStream::connect(port).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            process,
            url: format!("http://{port}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
