//! The one task that writes layer and stats records.
//!
//! It takes what waits in its mailbox and writes it in one commit, so that counting a hundred pulls of one image costs one
//! write of one record. Being alone, it can read counts and write them back with no other write in between.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::stats::StatsRecord;
use atcr_atproto::syntax::{AtUri, Did, RecordKey};
use atcr_hold_pds::records::stats::StrangeKeys;
use atcr_hold_pds::records::{layer, stats};
use atcr_hold_pds::writer::limits::MAX_OPS;
use atcr_hold_pds::{HoldRepo, RecordWrite, RepoError};
use atcr_server::supervise::Task;
use tokio::sync::{OnceCell, mpsc, oneshot};

use super::NoticeError;
use super::limits::Budgets;
use super::notice::Notice;

/// The task, in logs and metrics.
const RECORDER: Task = Task::new("record_manifests");

/// The most notices that are handled together.
const BATCH: usize = 128;

/// Layer records of one notice that go into one commit; the rest of [`MAX_OPS`] is for the counts.
const LAYERS_PER_COMMIT: usize = MAX_OPS - 50;

/// What happened to the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Push,
    Pull,
}

/// A notice and who waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) event: Event,
    pub(super) notice: Notice,
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

type Waiter = (oneshot::Sender<Result<Recorded, NoticeError>>, Recorded);

/// The next commit, as far as it is known.
#[derive(Default)]
struct Plan {
    layers: Vec<LayerRecord>,
    manifests: HashSet<AtUri>,
    stats: HashMap<(Did, String), (RecordKey, StatsRecord)>,
    waiters: Vec<Waiter>,
}

/// Finds the counts of a repository, under whatever key they are.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    repo: HoldRepo,
    /// Looked for at the first notice. Nothing adds to them later: the recorder alone writes counts, under its own keys.
    strange: Arc<OnceCell<StrangeKeys>>,
}

impl Counts {
    pub(super) fn new(repo: HoldRepo) -> Self {
        Self {
            repo,
            strange: Arc::default(),
        }
    }

    async fn get(&self, notice: &Notice) -> Result<Option<(RecordKey, StatsRecord)>, RepoError> {
        let strange = self
            .strange
            .get_or_try_init(|| StrangeKeys::find(&self.repo))
            .await?;
        stats::get(&self.repo, strange, &notice.owner, &notice.repository).await
    }

    /// Whether a push or a pull was recorded of the repository, or a push of the manifest.
    pub(super) async fn has_records_of(&self, notice: &Notice) -> Result<bool, RepoError> {
        Ok(self.get(notice).await?.is_some()
            || !self.repo.layers_of_manifest(&notice.manifest).await?.is_empty())
    }
}

pub(super) struct Recorder {
    repo: HoldRepo,
    counts: Counts,
    budgets: Arc<Budgets>,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    pub(super) fn new(repo: HoldRepo, counts: Counts, budgets: Arc<Budgets>, clock: Arc<dyn Clock>) -> Self {
        Self {
            repo,
            counts,
            budgets,
            clock,
        }
    }

    /// Runs until every sender is gone and the mailbox is empty.
    pub(super) async fn run(self, mut mailbox: mpsc::Receiver<Entry>) {
        let mut batch = Vec::with_capacity(BATCH);
        while mailbox.recv_many(&mut batch, BATCH).await > 0 {
            let mut plan = Plan::default();
            for entry in batch.drain(..) {
                if !plan.has_room_for(&entry.notice) {
                    RECORDER
                        .catch("commit", self.commit(std::mem::take(&mut plan)))
                        .await;
                }
                // What a panic leaves in the plan are whole records of this notice, which a repetition finds.
                let manifest = entry.notice.manifest.clone();
                let planning = self.plan(&mut plan, entry.event, entry.notice);
                match RECORDER.catch(manifest, planning).await {
                    Some(Ok(recorded)) => plan.waiters.push((entry.answer, recorded)),
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

    async fn plan(&self, plan: &mut Plan, event: Event, notice: Notice) -> Result<Recorded, NoticeError> {
        match event {
            Event::Push => {
                plan.manifests.insert(notice.manifest.clone());
                let layers_created = self.plan_layers(plan, &notice).await?;
                self.plan_count(plan, &notice, StatsRecord::count_push).await?;
                Ok(Recorded {
                    layers_created,
                    stats_updated: true,
                })
            }
            Event::Pull => {
                self.plan_count(plan, &notice, StatsRecord::count_pull).await?;
                Ok(Recorded {
                    layers_created: 0,
                    stats_updated: true,
                })
            }
        }
    }

    /// Plans the layer records that are missing. More than one commit can take are written at once, all but the last lot:
    /// if that fails half-way, a repeated notice finds the lots that were written.
    async fn plan_layers(&self, plan: &mut Plan, notice: &Notice) -> Result<usize, NoticeError> {
        let now = self.clock.now_datetime();
        let wanted = notice
            .layers
            .iter()
            .map(|layer| {
                LayerRecord::new(
                    layer.digest.to_string(),
                    layer.size,
                    layer.media_type.clone(),
                    notice.manifest.clone(),
                    notice.owner.clone(),
                    now.clone(),
                )
            })
            .collect();
        let mut missing = layer::missing(&self.repo, &notice.manifest, wanted).await?;
        let created = missing.len();
        self.budgets.layer_records(&notice.owner, created)?;
        while missing.len() > LAYERS_PER_COMMIT {
            let rest = missing.split_off(LAYERS_PER_COMMIT);
            self.repo.write(creates(&missing)?).await?;
            missing = rest;
        }
        plan.layers.append(&mut missing);
        Ok(created)
    }

    async fn plan_count(
        &self,
        plan: &mut Plan,
        notice: &Notice,
        count: fn(&mut StatsRecord, atcr_atproto::syntax::Datetime),
    ) -> Result<(), RepoError> {
        let now = self.clock.now_datetime();
        let key = (notice.owner.clone(), notice.repository.clone());
        if let Some((_, record)) = plan.stats.get_mut(&key) {
            count(record, now);
            return Ok(());
        }
        let (rkey, mut record) = match self.counts.get(notice).await? {
            Some(found) => found,
            None => {
                let record = StatsRecord::new(notice.owner.clone(), &notice.repository, now.clone());
                (stats::new_key(&record)?, record)
            }
        };
        count(&mut record, now);
        plan.stats.insert(key, (rkey, record));
        Ok(())
    }

    async fn commit(&self, plan: Plan) {
        let outcome = match plan.writes() {
            Ok(writes) if writes.is_empty() => Ok(()),
            Ok(writes) => self.repo.write(writes).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, notices = plan.waiters.len(), "manifest notices could not be recorded");
        }
        for (waiter, recorded) in plan.waiters {
            answer(
                waiter,
                outcome.clone().map(|()| recorded).map_err(NoticeError::Repo),
            );
        }
    }
}

impl Plan {
    /// Whether `notice` may join this commit: it fits, and its manifest is not in it yet, since the second look at a
    /// manifest has to see the records of the first.
    fn has_room_for(&self, notice: &Notice) -> bool {
        let planned = self.layers.len() + self.stats.len();
        let wanted = notice.layers.len().min(LAYERS_PER_COMMIT) + 1;
        planned + wanted <= MAX_OPS && !self.manifests.contains(&notice.manifest)
    }

    fn writes(&self) -> Result<Vec<RecordWrite>, RepoError> {
        let mut writes = creates(&self.layers)?;
        for (rkey, record) in self.stats.values() {
            writes.push(stats::write(rkey.clone(), record)?);
        }
        Ok(writes)
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
