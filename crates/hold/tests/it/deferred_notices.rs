//! Pushes that wait for promised layers: when they are recorded, and how often they are counted.

use std::sync::Arc;

use atcr_atproto::clock::{Clock as _, ManualClock};
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::syntax::Did;
use atcr_hold::adapters::filesystem::FilesystemStore;
use atcr_hold::adapters::sqlite::{self, SqliteCounts, SqliteDeferredNotices, SqliteUploads};
use atcr_hold::blobs::{BlobOptions, BlobService, ObjectKey};
use atcr_hold::manifests::{
    CountStore as _, Counted, Counts, DeferredNotices as _, Event, ManifestNotices, Notice, NoticeLimits,
    Rules,
};
use atcr_hold::quota::{Quotas, Tiers};
use atcr_hold_pds::{HoldRepo, RepoOptions};
use atcr_oci::{Algorithm, Digest};
use chrono::TimeDelta;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The parts of a hold that record pushes, over files, with a clock that stands.
struct Parts {
    clock: Arc<ManualClock>,
    repo: HoldRepo,
    deferred: SqliteDeferredNotices,
    counts: SqliteCounts,
    notices: ManifestNotices,
    recorder: JoinHandle<()>,
    owner: Did,
    dir: TempDir,
}

impl Parts {
    /// One account may add two layer records in an hour.
    async fn open() -> Self {
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
            SqliteCounts::new(database),
        );
        let count = |count: u32| count.try_into().expect("not 0");
        let (notices, recorder) = ManifestNotices::start(
            repo.clone(),
            blobs,
            Counts::new(repo.clone(), Arc::new(counts.clone()), clock.clone()),
            Arc::new(deferred.clone()),
            Arc::new(()),
            Rules {
                limits: NoticeLimits {
                    layers_per_notice: 2,
                    notices_per_hour: count(100),
                    layer_records_per_hour: count(2),
                    new_repositories_per_hour: count(100),
                },
                quotas: Quotas::new(repo.clone(), Tiers::default()),
            },
            clock.clone(),
        );
        Self {
            clock,
            repo,
            deferred,
            counts,
            notices,
            recorder,
            owner: "did:web:sailor.test".parse().expect("a DID"),
            dir,
        }
    }

    /// Keeps a push of a manifest with two layers, which are in the store.
    async fn defer(&self, manifest: &str) {
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
        let notice = Notice::parse(serde_json::from_value(input).expect("an input"), 2).expect("a notice");
        let is_kept = self
            .deferred
            .add(&self.owner, &notice, self.clock.now(), 100)
            .await
            .expect("kept");
        assert!(is_kept);
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
