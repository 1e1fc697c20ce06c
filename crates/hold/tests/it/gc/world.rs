//! A hold's blob service, recorder and collection over a real folder, repository and database, on a clock of the test's own, beside
//! accounts whose servers a test scripts.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::ManualClock;
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::data_model::{RAW, cid_of};
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::lexicon::manifest;
use atcr_atproto::syntax::{Cid, Datetime, Did, Tid};
use atcr_hold::adapters::filesystem::{FilesystemStore, UrlSignature};
use atcr_hold::adapters::save_mark::MarkFile;
use atcr_hold::adapters::sqlite::{
    self, SqliteCounts, SqliteDeferredNotices, SqliteErasures, SqliteGc, SqliteStandings, SqliteUploads,
};
use atcr_hold::blobs::{
    BlobError, BlobInventory, BlobOptions, BlobPage, BlobService, Condemned, DownloadMethod, ObjectKey,
    PartTag, SessionsError, Standing, StandingTable, StoreError,
};
use atcr_hold::gc::ports::{AccountReader, ListedManifest, ManifestPage, StoreOwner, Ticks, Unreadable};
use atcr_hold::gc::{Gc, GcOptions, GcParts};
use atcr_hold::manifests::{Counts, ManifestNotices, Notice, NoticeLimits, Rules};
use atcr_hold::quota::{Quotas, Tiers};
use atcr_hold_pds::access::Access;
use atcr_hold_pds::records::captain::{self, CaptainSettings};
use atcr_hold_pds::records::crew;
use atcr_hold_pds::{HoldRepo, KnownEvent, RecordWrite, RepoOptions};
use atcr_oci::{Algorithm, Digest};
use atcr_server::database::Database;
use bytes::Bytes;
use chrono::TimeDelta;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Seconds that a push takes at most.
pub(crate) const PUSH: u64 = 100;
/// Seconds of grace.
pub(crate) const GRACE: u64 = 200;

pub(crate) fn options() -> GcOptions {
    GcOptions {
        grace: Duration::from_secs(GRACE),
        longest_push: Duration::from_secs(PUSH),
        removals_per_second: 0,
        brake_percent: 100,
        ..GcOptions::default()
    }
}

/// Time that passes when a test says so.
#[derive(Debug, Default)]
pub(crate) struct TestTicks(AtomicU64);

impl Ticks for TestTicks {
    fn seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What one account's server has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pds {
    rev: u64,
    pub(crate) manifests: BTreeMap<String, Vec<Digest>>,
    /// Of which repositories they are, if not of `app`.
    pub(crate) repositories: BTreeMap<String, String>,
    /// Their bytes, of those that have some.
    pub(crate) bytes: BTreeMap<String, Bytes>,
    /// Its list does not end.
    pub(crate) goes_round: bool,
    /// It proves nothing.
    pub(crate) proves_nothing: bool,
    pub(crate) is_down: bool,
    pub(crate) is_gone: bool,
}

/// The accounts' servers.
#[derive(Debug, Default)]
pub(crate) struct Network {
    accounts: Mutex<HashMap<Did, Pds>>,
    pub(crate) gate: Gate,
}

impl Network {
    pub(crate) fn change<T>(&self, did: &Did, change: impl FnOnce(&mut Pds) -> T) -> T {
        let mut accounts = self.accounts.lock().expect("not poisoned");
        change(accounts.entry(did.clone()).or_default())
    }

    pub(crate) fn write(&self, did: &Did, rkey: &str, digests: &[Digest]) {
        self.change(did, |pds| {
            pds.rev += 1;
            pds.manifests.insert(rkey.to_owned(), digests.to_vec());
        });
    }

    pub(crate) fn delete(&self, did: &Did, rkey: &str) {
        self.change(did, |pds| {
            pds.rev += 1;
            pds.manifests.remove(rkey);
        });
    }

    async fn ask(&self, did: &Did) -> Result<Pds, Unreadable> {
        self.gate.step().await;
        let pds = self.change(did, |pds| pds.clone());
        if pds.is_down {
            return Err(Unreadable::Failed("it is down".to_owned()));
        }
        if pds.is_gone {
            return Err(Unreadable::Gone("it is no more".to_owned()));
        }
        Ok(pds)
    }
}

#[async_trait]
impl AccountReader for Network {
    async fn rev(&self, did: &Did) -> Result<Tid, Unreadable> {
        Ok(Tid::from_parts(1_000_000 + self.ask(did).await?.rev, 0))
    }

    async fn page(&self, did: &Did, cursor: Option<&str>) -> Result<ManifestPage, Unreadable> {
        let pds = self.ask(did).await?;
        let (cursor, round) = if pds.goes_round {
            let next = if cursor == Some("a") { "b" } else { "a" };
            (None, Some(next.to_owned()))
        } else {
            (cursor, None)
        };
        let rest = pds
            .manifests
            .iter()
            .filter(|(rkey, _)| cursor.is_none_or(|cursor| rkey.as_str() > cursor));
        let manifests: Vec<_> = rest
            .take(2)
            .map(|(rkey, digests)| ListedManifest {
                rkey: rkey.clone(),
                record: Digest::of(Algorithm::Sha256, format!("{digests:?}").as_bytes()),
                repository: pds
                    .repositories
                    .get(rkey)
                    .map_or("app", String::as_str)
                    .to_owned(),
                digests: digests.clone(),
                bytes: pds.bytes.get(rkey).map(|bytes| cid_of(RAW, bytes)),
            })
            .collect();
        let cursor = manifests.last().filter(|_| manifests.len() == 2);
        Ok(ManifestPage {
            cursor: round.or_else(|| cursor.map(|last| last.rkey.clone())),
            manifests,
        })
    }

    async fn bytes(&self, did: &Did, cid: &Cid) -> Result<Bytes, Unreadable> {
        let pds = self.ask(did).await?;
        let bytes = pds.bytes.into_values().find(|bytes| cid_of(RAW, bytes) == *cid);
        bytes.ok_or_else(|| Unreadable::Failed("no record names any".to_owned()))
    }

    async fn is_absent(&self, did: &Did, rkey: &str, _: &Tid) -> Result<bool, Unreadable> {
        let pds = self.ask(did).await?;
        let is_absent = !pds.proves_nothing && !pds.manifests.contains_key(rkey);
        self.gate.step().await;
        Ok(is_absent)
    }
}

/// Stops whoever passes it for the n-th time, until a test lets it go on, or drops it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<Armed>>>);

#[derive(Debug)]
struct Armed {
    left: u32,
    reached: oneshot::Sender<oneshot::Sender<()>>,
}

impl Gate {
    pub(crate) fn arm(&self, steps: u32) -> oneshot::Receiver<oneshot::Sender<()>> {
        let (reached, receiver) = oneshot::channel();
        *self.0.lock().expect("not poisoned") = Some(Armed { left: steps, reached });
        receiver
    }

    pub(crate) fn disarm(&self) {
        *self.0.lock().expect("not poisoned") = None;
    }

    async fn step(&self) {
        let armed = {
            let mut armed = self.0.lock().expect("not poisoned");
            match armed.as_mut() {
                None => None,
                Some(at) if at.left > 0 => {
                    at.left -= 1;
                    None
                }
                Some(_) => armed.take(),
            }
        };
        if let Some(armed) = armed {
            let (go, gone) = oneshot::channel();
            if armed.reached.send(go).is_ok() {
                let _ = gone.await;
            }
        }
    }
}

/// The store's inventory, with a gate before and after each removal and each page.
#[derive(Debug)]
struct GatedInventory {
    store: FilesystemStore,
    gate: Gate,
    broken: Arc<Mutex<bool>>,
}

#[async_trait]
impl BlobInventory for GatedInventory {
    async fn list_blobs(&self, after: Option<&str>) -> Result<BlobPage, StoreError> {
        self.gate.step().await;
        let page = self.store.list_blobs(after).await;
        self.gate.step().await;
        page
    }

    async fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        self.gate.step().await;
        if *self.broken.lock().expect("not poisoned") {
            return Err(StoreError::Unavailable {
                action: "remove a blob",
                source: "broken".into(),
            });
        }
        let removed = self.store.remove_blob(digest).await;
        self.gate.step().await;
        removed
    }

    fn late_removal(&self) -> Duration {
        self.store.late_removal()
    }
}

/// The table of standings; after each step that is synced, the database is kept as a power failure would leave it.
#[derive(Debug)]
struct GatedStandings {
    table: SqliteStandings,
    gate: Gate,
    folder: PathBuf,
    is_full: Arc<Mutex<bool>>,
}

#[async_trait]
impl StandingTable for GatedStandings {
    async fn load(&self) -> Result<Vec<(Digest, Standing)>, SessionsError> {
        self.table.load().await
    }

    async fn condemn(
        &self,
        digests: &[Digest],
        since: u64,
        run: i64,
    ) -> Result<Vec<(Digest, Condemned)>, SessionsError> {
        let condemned = self.table.condemn(digests, since, run).await;
        self.gate.step().await;
        condemned
    }

    async fn lift(&self, digest: &Digest, is_touch: bool) -> Result<(), SessionsError> {
        let lifted = self.table.lift(digest, is_touch).await;
        self.gate.step().await;
        lifted
    }

    async fn lift_run(&self, run: i64) -> Result<Vec<Digest>, SessionsError> {
        self.table.lift_run(run).await
    }

    async fn leave(&self, digests: &[(Digest, u64)]) -> Result<Vec<Digest>, SessionsError> {
        let leaving = self.table.leave(digests).await;
        sync(&self.folder);
        self.gate.step().await;
        leaving
    }

    async fn forget(&self, digests: &[Digest]) -> Result<(), SessionsError> {
        self.gate.step().await;
        if !digests.is_empty() && *self.is_full.lock().expect("not poisoned") {
            return Err(SessionsError::Database("the disk is full".into()));
        }
        self.table.forget(digests).await
    }
}

/// Keeps the database's files as they are on the disk now.
fn sync(folder: &Path) {
    for name in ["hold.sqlite", "hold.sqlite-wal"] {
        let kept = folder.join(format!("{name}.synced"));
        if std::fs::copy(folder.join(name), &kept).is_err() {
            let _ = std::fs::remove_file(kept);
        }
    }
}

/// How the hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Stopped,
    Killed,
    PowerFailure,
    /// Then the database is put back as it was at the last [`World::sync`].
    PutBack,
}

/// A hold that runs.
pub(crate) struct Running {
    pub(crate) repo: HoldRepo,
    pub(crate) blobs: BlobService,
    pub(crate) gc: Gc,
    store: FilesystemStore,
    notices: ManifestNotices,
    recorder: JoinHandle<()>,
    database: Database,
}

pub(crate) struct World {
    pub(crate) network: Arc<Network>,
    /// Kills only: whoever waits here may hold a lock.
    pub(crate) inner_gate: Gate,
    pub(crate) ticks: Arc<TestTicks>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) members: Vec<Did>,
    pub(crate) is_store_broken: Arc<Mutex<bool>>,
    /// Nothing can be forgotten of what was condemned.
    pub(crate) is_disk_full: Arc<Mutex<bool>>,
    /// What a backup of the repository has.
    pub(crate) in_backup: Option<KnownEvent>,
    pub(crate) options: GcOptions,
    pub(crate) owner: Arc<dyn StoreOwner>,
    running: Option<Running>,
    boot: u32,
    key: SigningKey,
    folder: TempDir,
}

impl World {
    /// A hold with a captain and a member.
    pub(crate) async fn open() -> Self {
        let shared_memory = Path::new("/dev/shm");
        let folder = if shared_memory.is_dir() {
            tempfile::tempdir_in(shared_memory)
        } else {
            tempfile::tempdir()
        };
        let mut world = Self {
            network: Arc::default(),
            inner_gate: Gate::default(),
            ticks: Arc::default(),
            clock: ManualClock::standing(),
            members: ["did:web:captain.test", "did:web:member.test"]
                .map(|did| did.parse().expect("a DID"))
                .to_vec(),
            is_store_broken: Arc::default(),
            is_disk_full: Arc::default(),
            in_backup: None,
            options: options(),
            owner: Arc::new(()),
            running: None,
            boot: 0,
            key: SigningKey::generate(Curve::K256),
            folder: folder.expect("a folder"),
        };
        world.start().await;
        let settings = CaptainSettings {
            owner: Some(world.members[0].clone()),
            public: Some(true),
            allow_all_crew: Some(false),
            enable_bluesky_posts: None,
            region: captain::Stated::Unsaid,
            first_region: None,
            successor: captain::Stated::Unsaid,
            first_profile: None,
        };
        captain::ensure(&world.hold().repo, &settings, founded())
            .await
            .expect("a captain");
        world.join(&world.members[1]).await;
        world.hold().gc.save().await.expect("saved");
        world
    }

    /// Makes an account a member.
    pub(crate) async fn join(&self, did: &Did) {
        let permissions = ["blob:read", "blob:write"];
        let member = CrewRecord::new(did.clone(), "member", permissions, founded());
        crew::ensure(&self.hold().repo, &member).await.expect("a member");
    }

    /// Makes it one no longer.
    pub(crate) async fn leave(&self, did: &Did) {
        let repo = &self.hold().repo;
        while let Some(member) = repo.crew_by_member(did).await.expect("readable") {
            let deletion = RecordWrite::delete::<CrewRecord>(member.rkey).expect("a write");
            repo.write(vec![deletion]).await.expect("written");
        }
    }

    pub(crate) fn hold(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn now(&self) -> u64 {
        self.ticks.seconds()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.ticks.0.fetch_add(seconds, Ordering::SeqCst);
        self.clock
            .advance(TimeDelta::seconds(i64::try_from(seconds).expect("a short time")));
    }

    async fn start(&mut self) {
        let folder = self.folder.path();
        let mut options = RepoOptions::new(
            folder.join("repo"),
            "did:web:hold.test".parse().expect("a DID"),
            self.key.clone(),
        );
        options.known.clone_from(&self.in_backup);
        let repo = HoldRepo::open(options, self.clock.clone()).await.expect("opens");
        let database = sqlite::open(&folder.join("hold.sqlite")).await.expect("opens");
        let url = "http://hold.test".parse().expect("a URL");
        let store = FilesystemStore::open(&folder.join("objects"), url, self.clock.clone()).expect("opens");
        let parts = GcParts {
            table: Arc::new(SqliteGc::new(database.clone())),
            standing_table: Arc::new(GatedStandings {
                table: SqliteStandings::new(database.clone()),
                gate: self.inner_gate.clone(),
                folder: folder.to_owned(),
                is_full: self.is_disk_full.clone(),
            }),
            inventory: Arc::new(GatedInventory {
                store: store.clone(),
                gate: self.network.gate.clone(),
                broken: self.is_store_broken.clone(),
            }),
            owner: self.owner.clone(),
            reader: self.network.clone(),
            repo: repo.clone(),
            clock: self.clock.clone(),
            mark: Arc::new(MarkFile::new(folder.join("hold.uptime"))),
            ticks: self.ticks.clone(),
            boot: self.boot.to_string(),
        };
        let gc = Gc::open(parts, self.options.clone()).await.expect("opens");
        let blobs = BlobService::new(
            Arc::new(store.clone()),
            Arc::new(SqliteUploads::new(database.clone())),
            self.clock.clone(),
            BlobOptions {
                standings: gc.standings(),
                idle_limit: TimeDelta::seconds(10),
                ..BlobOptions::default()
            },
        );
        let count = |count: u32| count.try_into().expect("not 0");
        let (notices, recorder) = ManifestNotices::start(
            repo.clone(),
            blobs.clone(),
            Counts::new(
                repo.clone(),
                Arc::new(SqliteCounts::new(database.clone())),
                self.clock.clone(),
            ),
            Arc::new(SqliteDeferredNotices::new(database.clone())),
            Arc::new(gc.clone()),
            Rules {
                limits: NoticeLimits {
                    layers_per_notice: 10,
                    notices_per_hour: count(100_000),
                    layer_records_per_hour: count(100_000),
                    new_repositories_per_hour: count(100),
                },
                quotas: Quotas::new(repo.clone(), Tiers::default()),
                erasures: Arc::new(SqliteErasures::new(database.clone())),
            },
            self.clock.clone(),
        );
        sync(folder);
        self.running = Some(Running {
            repo,
            blobs,
            gc,
            store,
            notices,
            recorder,
            database,
        });
    }

    /// What a power failure leaves is what there is now.
    pub(crate) fn sync(&self) {
        sync(self.folder.path());
    }

    /// Ends the hold and starts it again.
    pub(crate) async fn restart(&mut self, end: End) {
        self.network.gate.disarm();
        self.inner_gate.disarm();
        let Running {
            repo,
            blobs,
            gc,
            store,
            notices,
            recorder,
            database,
        } = self.running.take().expect("it runs");
        if matches!(end, End::Stopped | End::PutBack) {
            gc.stop();
            gc.until_idle().await;
            gc.save().await.expect("saved");
        }
        drop((notices, blobs, gc, store));
        recorder.await.expect("ended");
        repo.close().await;
        database.close().await;
        self.boot += u32::from(end == End::PowerFailure);
        if matches!(end, End::PowerFailure | End::PutBack) {
            for name in ["hold.sqlite", "hold.sqlite-wal", "hold.sqlite-shm"] {
                let _ = std::fs::remove_file(self.folder.path().join(name));
            }
            for name in ["hold.sqlite", "hold.sqlite-wal"] {
                let kept = self.folder.path().join(format!("{name}.synced"));
                if kept.exists() {
                    std::fs::copy(kept, self.folder.path().join(name)).expect("restored");
                }
            }
        }
        self.start().await;
    }

    /// Whether the hold says that it has the blob, which is a promise.
    pub(crate) async fn exists(&self, did: &Did, digest: &Digest) -> bool {
        self.hold().gc.note_promise(did).await.expect("noted");
        let stat = self.hold().blobs.stat(Some(did), digest).await;
        stat.expect("an answer").is_some()
    }

    /// Sends a blob.
    pub(crate) async fn upload(&self, did: &Did, content: &[u8]) -> Result<Digest, BlobError> {
        let Running { blobs, store, .. } = self.hold();
        self.hold().gc.note_account(did).await.expect("noted");
        let begun = blobs.initiate(did, "a-layer", None).await?;
        let url = &begun.first_part.url;
        let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
        let signature: UrlSignature = serde_json::from_value(
            json!({ "exp": query["exp"].parse::<i64>().expect("a time"), "sig": query["sig"] }),
        )
        .expect("a signature");
        let mut path = url.path().rsplit('/');
        let (part, upload) = (path.next().expect("a part"), path.next().expect("an upload"));
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::copy_from_slice(content))]);
        let etag = store
            .receive_part(upload, part, &signature, body)
            .await
            .expect("taken");
        let digest = Digest::of(Algorithm::Sha256, content);
        let tag = PartTag { part_number: 1, etag };
        blobs
            .complete(did, &begun.upload_id, &digest, &[tag], None)
            .await?;
        Ok(digest)
    }

    /// Tells the hold of a push.
    pub(crate) async fn notify(&self, did: &Did, manifest: &Digest, digests: &[Digest]) {
        let layer =
            |digest: &Digest| json!({ "digest": digest, "size": 1, "mediaType": "application/x-layer" });
        let input = json!({
            "repository": "app",
            "userDid": did,
            "manifestDigest": manifest,
            "operation": "push",
            "manifest": { "layers": digests.iter().map(layer).collect::<Vec<_>>() },
        });
        let notice = Notice::parse(serde_json::from_value(input).expect("an input"), 10).expect("a notice");
        let access = Access::new(self.hold().repo.clone());
        let grant = access.write(did).await.expect("a member");
        self.hold()
            .notices
            .pushed(&grant, notice)
            .await
            .expect("recorded");
    }

    /// Where a blob lies.
    pub(crate) fn file(&self, digest: &Digest) -> PathBuf {
        self.folder
            .path()
            .join("objects")
            .join(ObjectKey::blob(digest).as_str())
    }

    /// Whether whoever pulls gets the blob. Does not look at it as a client would, which is a touch.
    pub(crate) fn is_stored(&self, digest: &Digest) -> bool {
        self.file(digest).is_file()
    }

    /// Whether a client that pulls gets the blob.
    pub(crate) async fn is_readable(&self, digest: &Digest) -> bool {
        let url = self
            .hold()
            .blobs
            .download_url(None, digest, DownloadMethod::Get)
            .await;
        url.expect("an answer").is_some() && self.is_stored(digest)
    }

    /// Forgets uploads, which keep what they brought for a while.
    pub(crate) async fn forget_uploads(&self) {
        self.clock.advance(TimeDelta::seconds(20));
        self.hold().blobs.sweep_expired().await.expect("swept");
    }

    /// Runs the collection.
    pub(crate) async fn collect(&self) -> atcr_hold::gc::Report {
        self.hold().gc.run().await.expect("a run").report
    }
}

pub(crate) fn founded() -> Datetime {
    Datetime::new(chrono::DateTime::from_timestamp(1_800_000_000, 0).expect("a time"))
}

/// The key of a manifest's record.
pub(crate) fn rkey(digest: &Digest) -> String {
    manifest::rkey(digest.as_str()).expect("a key").to_string()
}
