//! The one task that writes layer records.
//!
//! It takes what waits in its mailbox and writes it in one commit. Being alone, it can look for records that are there and write
//! those that are not, with no other write in between. A push is counted once its layers are recorded.

use std::collections::HashSet;
use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::syntax::AtUri;
use atcr_hold_pds::records::layer;
use atcr_hold_pds::writer::limits::MAX_OPS;
use atcr_hold_pds::{HoldRepo, RecordWrite, RepoError, Urgency};
use atcr_server::supervise::Task;
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::counts::{Counts, Event};
use super::limits::Budgets;
use super::notice::Notice;
use super::{NoticeError, PushObserver};
use crate::quota::Quotas;
use crate::user_data::Erasures;

/// The task, in logs and metrics.
const RECORDER: Task = Task::new("record_manifests");

/// The most notices that are handled together.
const BATCH: usize = 128;

/// Layer records of one notice that go into one commit; the rest of [`MAX_OPS`] is for other notices.
const LAYERS_PER_COMMIT: usize = MAX_OPS - 50;

/// A notice and who waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) notice: Notice,
    /// When it came: an erasure since then is about it, too.
    pub(super) received_at: DateTime<Utc>,
    /// The deferred notice that this is.
    pub(super) settles: Option<i64>,
    pub(super) answer: oneshot::Sender<Result<Recorded, NoticeError>>,
}

/// What was written for a notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Layer records that are new.
    pub layers_created: usize,
    /// Whether the counts changed.
    pub stats_updated: bool,
}

/// Who waits for a notice, what was written for it, and the notice, which is to be counted.
struct Waiter {
    answer: oneshot::Sender<Result<Recorded, NoticeError>>,
    recorded: Recorded,
    notice: Notice,
    settles: Option<i64>,
}

/// The next commit, as far as it is known.
#[derive(Default)]
struct Plan {
    layers: Vec<LayerRecord>,
    manifests: HashSet<AtUri>,
    waiters: Vec<Waiter>,
}

pub(super) struct Recorder {
    pub(super) repo: HoldRepo,
    pub(super) counts: Counts,
    pub(super) observer: Arc<dyn PushObserver>,
    pub(super) budgets: Arc<Budgets>,
    pub(super) quotas: Quotas,
    pub(super) erasures: Arc<dyn Erasures>,
    /// Held while notices are being written.
    pub(super) writing: Arc<Mutex<()>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Recorder {
    /// Runs until every sender is gone and the mailbox is empty.
    pub(super) async fn run(self, mut mailbox: mpsc::Receiver<Entry>) {
        let mut batch = Vec::with_capacity(BATCH);
        while mailbox.recv_many(&mut batch, BATCH).await > 0 {
            // An erasure waits for this, so that it finds whatever was written without knowing of it.
            let _writing = self.writing.lock().await;
            let mut plan = Plan::default();
            for entry in batch.drain(..) {
                if !plan.has_room_for(&entry.notice) {
                    RECORDER
                        .catch("commit", self.commit(std::mem::take(&mut plan)))
                        .await;
                }
                // What a panic leaves in the plan are whole records of this notice, which a repetition finds.
                let manifest = entry.notice.manifest.clone();
                let planning = self.plan(&mut plan, &entry);
                match RECORDER.catch(manifest, planning).await {
                    Some(Ok(recorded)) => plan.waiters.push(Waiter {
                        answer: entry.answer,
                        recorded,
                        notice: entry.notice,
                        settles: entry.settles,
                    }),
                    Some(Err(error)) => answer(entry.answer, Err(error)),
                    None => {
                        let what = "planning a notice ended in a panic".to_owned();
                        answer(entry.answer, Err(RepoError::Corrupt { what }.into()));
                    }
                }
            }
            // Callers whose commit panicked see their answer dropped, and are told to try again.
            RECORDER.catch("commit", self.commit(plan)).await;
        }
    }

    async fn plan(&self, plan: &mut Plan, entry: &Entry) -> Result<Recorded, NoticeError> {
        let notice = &entry.notice;
        let erased_at = self.erasures.erased_at(&notice.owner).await?;
        // Erasures are noted to the millisecond.
        if erased_at.is_some_and(|at| entry.received_at.timestamp_millis() < at.timestamp_millis()) {
            return Err(NoticeError::Erased);
        }
        plan.manifests.insert(notice.manifest.clone());
        let is_accepted = entry.settles.is_some();
        let layers_created = self.plan_layers(plan, notice, is_accepted).await?;
        Ok(Recorded {
            layers_created,
            stats_updated: true,
        })
    }

    /// Plans the layer records that are missing; `is_accepted`: the push was acknowledged earlier. More than one commit can take are written at once, all but the last lot:
    /// if that fails half-way, a repeated notice finds the lots that were written.
    async fn plan_layers(
        &self,
        plan: &mut Plan,
        notice: &Notice,
        is_accepted: bool,
    ) -> Result<usize, NoticeError> {
        let wanted = notice.layer_records(&self.clock.now_datetime());
        let mut missing = layer::missing(&self.repo, &notice.manifest, wanted).await?;
        let created = missing.len();
        // Here no other push comes in between.
        if let Err(exceeded) = self.quotas.check(&notice.owner, &missing, &plan.layers).await? {
            if !is_accepted {
                return Err(exceeded.into());
            }
            tracing::warn!(did = %notice.owner, manifest = %notice.manifest, %exceeded, "a push that was accepted before is recorded");
        }
        self.budgets.layer_records(&notice.owner, created)?;
        while missing.len() > LAYERS_PER_COMMIT {
            let rest = missing.split_off(LAYERS_PER_COMMIT);
            self.repo
                .write_by(creates(&missing)?, Urgency::Background)
                .await?;
            missing = rest;
        }
        plan.layers.append(&mut missing);
        Ok(created)
    }

    async fn commit(&self, plan: Plan) {
        let outcome = match creates(&plan.layers) {
            Ok(writes) if writes.is_empty() => Ok(()),
            Ok(writes) => self.repo.write_by(writes, Urgency::Background).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, notices = plan.waiters.len(), "manifest notices could not be recorded");
        }
        for waiter in plan.waiters {
            let counted = match outcome.clone() {
                // In this order a process that ends in between has lost nothing: the push comes again.
                Ok(()) => match self.observer.pushed(&waiter.notice).await {
                    Ok(()) => self.count(&waiter).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(NoticeError::Repo(error)),
            };
            answer(waiter.answer, counted.map(|()| waiter.recorded));
        }
    }

    async fn count(&self, waiter: &Waiter) -> Result<(), NoticeError> {
        let (owner, repository) = (&waiter.notice.owner, &waiter.notice.repository);
        let counted = self.counts.add(owner, repository, Event::Push, waiter.settles);
        Ok(counted.await?)
    }
}

impl Plan {
    /// Whether `notice` may join this commit: it fits, and its manifest is not in it yet, since the second look at a
    /// manifest has to see the records of the first.
    fn has_room_for(&self, notice: &Notice) -> bool {
        let wanted = notice.layers.len().min(LAYERS_PER_COMMIT);
        self.layers.len() + wanted <= MAX_OPS && !self.manifests.contains(&notice.manifest)
    }
}

fn creates(layers: &[LayerRecord]) -> Result<Vec<RecordWrite>, RepoError> {
    layers
        .iter()
        .map(|layer| RecordWrite::create(None, layer))
        .collect()
}

/// A caller that does not wait any more needs no answer.
fn answer(waiter: oneshot::Sender<Result<Recorded, NoticeError>>, outcome: Result<Recorded, NoticeError>) {
    let _ = waiter.send(outcome);
}
