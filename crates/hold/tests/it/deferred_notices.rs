//! Pushes that wait for promised layers: when they are recorded, and how often they are counted.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::{Clock as _, ManualClock};
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::syntax::Did;
use atcr_hold::adapters::filesystem::FilesystemStore;
use atcr_hold::adapters::sqlite::{self, SqliteCounts, SqliteDeferredNotices, SqliteErasures, SqliteUploads};
use atcr_hold::blobs::{BlobOptions, BlobService, ObjectKey};
use atcr_hold::crew::CrewTurns;
use atcr_hold::manifests::{
    CountStore as _, Counted, Counts, DeferredNotices as _, Event, ManifestNotices, Notice, NoticeError,
    NoticeLimits, PushObserver, Recorded, Rules,
};
use atcr_hold::quota::{Quotas, Tiers};
use atcr_hold::user_data::{Erasures as _, UserData};
use atcr_hold_pds::access::Access;
use atcr_hold_pds::{HoldRepo, RecordWrite, RepoOptions};
use atcr_oci::{Algorithm, Digest};
use chrono::TimeDelta;
use futures_util::FutureExt as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// The parts of a hold that record pushes, over files, with a clock that stands.
struct Parts {
    clock: Arc<ManualClock>,
    repo: HoldRepo,
    deferred: SqliteDeferredNotices,
    counts: SqliteCounts,
    erasures: SqliteErasures,
    notices: ManifestNotices,
    recorder: JoinHandle<()>,
    owner: Did,
    dir: TempDir,
}

impl Parts {
    /// One account may add two layer records in an hour.
    async fn open() -> Self {
        Self::open_with(Arc::new(())).await
    }

    async fn open_with(observer: Arc<dyn PushObserver>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::host();
        let options = RepoOptions::new(
            dir.path().join("repo"),
            "did:web:hold.test".parse().expect("a DID"),
            SigningKey::generate(Curve::K256),
        );
        let repo = HoldRepo::open(options, clock.clone()).await.expect("opens");
        let database = sqlite::open(&dir.path().join("hold.sqlite"))
            .await
            .expect("opens");
        let url = "http://hold.test".parse().expect("a URL");
        let store = FilesystemStore::open(&dir.path().join("objects"), url, clock.clone()).expect("opens");
        let blobs = BlobService::new(
            Arc::new(store),
            Arc::new(SqliteUploads::new(database.clone())),
            clock.clone(),
            BlobOptions::default(),
        );
        let (deferred, counts) = (
            SqliteDeferredNotices::new(database.clone()),
            SqliteCounts::new(database.clone()),
        );
        let count = |count: u32| count.try_into().expect("not 0");
        let (notices, recorder) = ManifestNotices::start(
            repo.clone(),
            blobs,
            Counts::new(repo.clone(), Arc::new(counts.clone()), clock.clone()),
            Arc::new(deferred.clone()),
            observer,
            Rules {
                limits: NoticeLimits {
                    layers_per_notice: 2,
                    notices_per_hour: count(100),
                    layer_records_per_hour: count(2),
                    new_repositories_per_hour: count(100),
                },
                quotas: Quotas::new(repo.clone(), Tiers::default()),
                erasures: Arc::new(SqliteErasures::new(database.clone())),
            },
            clock.clone(),
        );
        Self {
            clock,
            repo,
            deferred,
            counts,
            erasures: SqliteErasures::new(database),
            notices,
            recorder,
            owner: "did:web:sailor.test".parse().expect("a DID"),
            dir,
        }
    }

    /// Keeps a push of a manifest with two layers, which are in the store.
    async fn defer(&self, manifest: &str) {
        let notice = self.notice(manifest);
        let is_kept = self
            .deferred
            .add(&self.owner, &notice, self.clock.now(), 100)
            .await
            .expect("kept");
        assert!(is_kept);
    }

    /// A push of a manifest with two layers, which are in the store.
    fn notice(&self, manifest: &str) -> Notice {
        let layer = |number: u32| {
            let content = format!("{manifest} {number}");
            let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
            let file = self
                .dir
                .path()
                .join("objects")
                .join(ObjectKey::blob(&digest).as_str());
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, content).expect("written");
            json!({ "digest": digest, "size": 1, "mediaType": "application/x-layer" })
        };
        let input = json!({
            "repository": "app",
            "userDid": self.owner,
            "manifestDigest": Digest::of(Algorithm::Sha256, manifest.as_bytes()),
            "operation": "push",
            "manifest": { "layers": [layer(1), layer(2)] },
        });
        Notice::parse(serde_json::from_value(input).expect("an input"), 2).expect("a notice")
    }

    async fn add_member(&self, did: &Did) {
        let now = self.clock.now_datetime();
        let member = CrewRecord::new(did.clone(), "member", ["blob:write"], now);
        let rkey = crew::rkey(did).expect("a key");
        let write = RecordWrite::create(Some(rkey), &member).expect("a record");
        self.repo.write(vec![write]).await.expect("written");
    }

    /// Begins a push by the owner, who is a member.
    async fn push(&self) -> JoinHandle<Result<Recorded, NoticeError>> {
        self.add_member(&self.owner).await;
        let access = Access::new(self.repo.clone());
        let grant = access.write(&self.owner).await.expect("a member");
        let (notices, notice) = (self.notices.clone(), self.notice("pushed"));
        tokio::spawn(async move { notices.pushed(&grant, notice).await })
    }

    fn user_data(&self) -> UserData {
        UserData::new(
            self.repo.clone(),
            Counts::new(
                self.repo.clone(),
                Arc::new(self.counts.clone()),
                self.clock.clone(),
            ),
            self.notices.clone(),
            Arc::new(self.erasures.clone()),
            CrewTurns::default(),
            self.clock.clone(),
        )
    }

    async fn layers(&self) -> usize {
        let keys = self.repo.layers_of_user(&self.owner, 100, None).await;
        keys.expect("readable").len()
    }

    async fn waiting(&self) -> usize {
        self.deferred.list(i64::MIN, 100).await.expect("readable").len()
    }

    async fn pushes(&self) -> u64 {
        let counted = self.counts.unpublished(10).await.expect("readable");
        counted.iter().map(|counted| counted.pushes).sum()
    }

    async fn round(&self) {
        self.notices.record_deferred().await.expect("listed");
    }

    async fn close(self) {
        drop(self.notices);
        self.recorder.await.expect("ended");
        self.repo.close().await;
    }
}

#[tokio::test]
async fn a_push_beyond_its_owners_hour_is_recorded_when_there_is_room_again_however_often_it_was_tried() {
    let parts = Parts::open().await;
    parts.defer("first").await;
    parts.defer("second").await;
    // More rounds than failures that would set it aside.
    for _ in 0..30 {
        parts.round().await;
        parts.clock.advance(TimeDelta::seconds(61));
    }
    assert_eq!((parts.waiting().await, parts.pushes().await), (1, 1));
    parts.clock.advance(TimeDelta::hours(1));
    parts.round().await;
    assert_eq!((parts.waiting().await, parts.pushes().await), (0, 2));
    parts.close().await;
}

#[tokio::test]
async fn a_deferred_push_is_counted_and_forgotten_in_one_step() {
    let parts = Parts::open().await;
    parts.defer("once").await;
    let id = parts.deferred.list(i64::MIN, 100).await.expect("readable")[0];
    let start = Counted {
        owner: parts.owner.clone(),
        repository: "app".to_owned(),
        pulls: 0,
        pushes: 0,
        last_pull: None,
        last_push: None,
    };
    // A process that was killed after the first, and does not know.
    for _ in 0..2 {
        parts
            .counts
            .add(&start, Event::Push, parts.clock.now(), Some(id))
            .await
            .expect("counted");
        assert_eq!((parts.waiting().await, parts.pushes().await), (0, 1));
    }
    parts
        .counts
        .add(&start, Event::Push, parts.clock.now(), None)
        .await
        .expect("counted");
    assert_eq!(parts.pushes().await, 2);
    parts.close().await;
}

/// Keeps a push at one of two steps until it is let on.
#[derive(Debug)]
struct Gate {
    is_at_the_end: bool,
    reached: Semaphore,
    open: Semaphore,
}

impl Gate {
    fn new(is_at_the_end: bool) -> Arc<Self> {
        Arc::new(Self {
            is_at_the_end,
            reached: Semaphore::new(0),
            open: Semaphore::new(0),
        })
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.expect("open").forget();
    }

    async fn reached(&self) {
        self.reached.acquire().await.expect("open").forget();
    }
}

#[async_trait]
impl PushObserver for Gate {
    async fn named(&self, _: &Notice) -> Result<(), NoticeError> {
        if !self.is_at_the_end {
            self.pass().await;
        }
        Ok(())
    }

    async fn pushed(&self, _: &Notice) -> Result<(), NoticeError> {
        if self.is_at_the_end {
            self.pass().await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_push_that_came_before_its_owner_was_erased_is_not_recorded_afterwards() {
    let gate = Gate::new(false);
    let parts = Parts::open_with(gate.clone()).await;
    let pushing = parts.push().await;
    gate.reached().await;
    parts.clock.advance(TimeDelta::seconds(1));
    assert!(parts.user_data().erase(&parts.owner).await.expect("erased").crew);
    gate.open.add_permits(1);
    let outcome = pushing.await.expect("no panic");
    assert!(matches!(outcome, Err(NoticeError::Erased)), "{outcome:?}");
    assert_eq!((parts.layers().await, parts.pushes().await), (0, 0));
    // Who comes back is recorded again.
    let again = parts.push().await;
    gate.open.add_permits(1);
    assert_eq!(
        again.await.expect("no panic").expect("recorded").layers_created,
        2
    );
    parts.close().await;
}

#[tokio::test]
async fn an_erasure_waits_for_what_is_being_written_and_takes_it() {
    let gate = Gate::new(true);
    let parts = Parts::open_with(gate.clone()).await;
    let pushing = parts.push().await;
    gate.reached().await;
    assert_eq!(parts.layers().await, 2);
    let (data, owner) = (parts.user_data(), parts.owner.clone());
    let mut erasing = tokio::spawn(async move { data.erase(&owner).await });
    let member = || parts.repo.crew_by_member(&parts.owner);
    while member().await.expect("readable").is_some() {
        tokio::task::yield_now().await;
    }
    // It does not end before the push has ended: not within a hundred writes to the same places, of which it needs few.
    for n in 0..100 {
        assert!((&mut erasing).now_or_never().is_none());
        let other: Did = format!("did:web:other{n}.test").parse().expect("a DID");
        parts
            .erasures
            .note(&other, parts.clock.now())
            .await
            .expect("noted");
        parts.add_member(&other).await;
    }
    gate.open.add_permits(1);
    pushing.await.expect("no panic").expect("recorded");
    erasing.await.expect("no panic").expect("erased");
    assert_eq!((parts.layers().await, parts.pushes().await), (0, 0));
    parts.close().await;
}
