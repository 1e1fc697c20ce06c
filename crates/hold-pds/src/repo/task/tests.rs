//! The task on a disk that is full, and with an engine that panics.

use atcr_atproto::clock::{SystemClock, TidClock};
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::syntax::Did;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::engine::{EngineOptions, Signers};
use crate::log::LogLimits;
use crate::repo::Seen;
use crate::simulation::disk::{Fault, SimDisk};
use crate::writer::RecordWrite;
use crate::writer::prepare::prepare;

struct Running {
    disk: SimDisk,
    did: Did,
    tids: Arc<TidClock>,
    healthy: Arc<AtomicBool>,
    mailbox: mpsc::Sender<Message>,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = SimDisk::new(1, false);
        let did: Did = "did:web:hold.example.com".parse().unwrap();
        let clock = Arc::new(SystemClock);
        let tids = Arc::new(TidClock::new(clock.clone()));
        let options = EngineOptions {
            did: did.clone(),
            handle: None,
            endpoint: None,
            replaces: None,
            signing_key: SigningKey::from_bytes(Curve::K256, &[7; 32]).unwrap(),
            signers: Signers::Own,
            seen: Seen::default(),
            known: None,
            must_exist: false,
            node_cache_bytes: 64 * 1024,
            limits: LogLimits {
                prefill_bytes: 64 * 1024,
                // A snapshot is always due.
                snapshot_after_bytes: 1,
                ..LogLimits::DEFAULT
            },
            clock,
            tids: Arc::clone(&tids),
        };
        let engine = Engine::open(Arc::new(disk.clone()), options).unwrap();
        let index = Index::open(folder.path(), engine.view().log_id).await.unwrap();
        let healthy = Arc::new(AtomicBool::new(true));
        let published = Published {
            view: watch::channel(Arc::new(engine.view().clone())).0,
            seq: watch::channel(0).0,
            healthy: Arc::clone(&healthy),
            index_lag: Arc::default(),
            indexed: watch::channel(0).0,
        };
        let (mailbox, messages) = mpsc::channel(MAILBOX);
        let lock = Lock::take(folder.path()).unwrap();
        let task =
            tokio::spawn(WriterTask::new(engine, index, published, lock, EventBudget::DEFAULT).run(messages));
        Self {
            disk,
            did,
            tids,
            healthy,
            mailbox,
            task,
            _folder: folder,
        }
    }

    /// `None` if there is no answer.
    async fn write(&self, text: &str) -> Option<Answer> {
        let put = RecordWrite::Put {
            collection: "com.example.record".parse().unwrap(),
            rkey: "a".parse().unwrap(),
            value: json!({ "$type": "com.example.record", "text": text }),
        };
        let prepared = prepare(&self.did, &self.tids, vec![put], Vec::new()).unwrap();
        let (reply, answer) = oneshot::channel();
        let message = Message::Write {
            prepared,
            urgency: Urgency::Interactive,
            reply,
        };
        self.mailbox.send(message).await.unwrap();
        answer.await.ok()
    }

    async fn snapshot(&self) -> Result<(), RepoError> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Message::Snapshot(reply)).await.unwrap();
        answer.await.unwrap()
    }

    async fn close(self) -> SimDisk {
        self.mailbox.send(Message::Close).await.unwrap();
        self.task.await.unwrap();
        self.disk
    }
}

#[tokio::test]
async fn after_a_snapshot_found_no_room_writes_go_on_without_another_try_each() {
    let running = Running::start().await;
    // Less than a table takes; the log has its room already.
    running.disk.set_room(Some(3000));
    running.write("1").await.unwrap().unwrap();
    running.snapshot().await.unwrap_err();
    let (created, sizes) = (running.disk.created(), running.disk.sizes());
    for text in ["2", "3", "4"] {
        running.write(text).await.unwrap().unwrap();
    }
    let names = |sizes: &[(String, usize)]| sizes.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let disk = running.close().await;
    assert_eq!(disk.created(), created);
    assert_eq!(names(&disk.sizes()), names(&sizes));
    assert!(
        sizes
            .iter()
            .all(|(name, _)| name == "manifest" || name.ends_with(".seg")),
        "{sizes:?}"
    );
}

#[tokio::test]
async fn a_snapshot_that_is_asked_for_is_tried_after_one_that_found_no_room() {
    let running = Running::start().await;
    running.disk.set_room(Some(3000));
    running.write("1").await.unwrap().unwrap();
    running.snapshot().await.unwrap_err();
    running.disk.set_room(None);
    running.snapshot().await.unwrap();
    running.close().await;
}

#[tokio::test]
async fn an_engine_that_panics_takes_no_writes_any_more_and_the_repository_is_not_healthy() {
    let running = Running::start().await;
    running.disk.plan(0, Fault::Panic);
    assert!(running.write("1").await.is_none());
    assert!(running.write("2").await.is_none());
    assert!(matches!(running.snapshot().await, Err(RepoError::Closed)));
    assert!(!running.healthy.load(Ordering::Relaxed));
    running.close().await;
}
