//! The plan: what the store has, against what is named.

use std::collections::{BTreeMap, HashSet};

use atcr_oci::Digest;

use super::ports::{Action, Item, StoredRun};
use super::report::{Report, RunState};
use super::{GcError, Inner};
use crate::blobs::{Standing, StoredBlob};

/// Blobs weighed at once.
const BATCH: usize = 1000;
/// Plans kept; of older runs the report is left.
const PLANS_KEPT: u32 = 30;

impl Inner {
    /// Makes a plan, or goes on with one that was interrupted.
    pub(super) async fn plan(&self) -> Result<StoredRun, GcError> {
        self.require_own_store().await?;
        let interrupted =
            self.table.runs(1).await?.into_iter().next().filter(|run| {
                matches!(run.state, RunState::Reading | RunState::Listing) && !self.is_old(run)
            });
        let mut run = match interrupted {
            Some(run) => run,
            None => self.begin().await?,
        };
        self.save_uptime().await?;
        self.at(run.id, RunState::Reading, 0);
        let horizon = self.read_accounts(&mut run).await?;
        self.table.clear_plan(run.id).await?;
        self.table
            .save_run(run.id, RunState::Listing, &run.report)
            .await?;
        self.count_strays(&mut run).await?;
        self.list_store(&mut run, horizon).await?;
        run.state = RunState::Planned;
        self.table.save_run(run.id, run.state, &run.report).await?;
        self.table.forget_former_owners(run.id).await?;
        self.table.forget_plans(PLANS_KEPT).await?;
        Ok(run)
    }

    async fn begin(&self) -> Result<StoredRun, GcError> {
        let (began_at, since) = (self.clock.now(), self.uptime.now());
        Ok(StoredRun {
            id: self.table.begin_run(began_at, since).await?,
            began_at,
            since,
            state: RunState::Reading,
            report: Report::default(),
        })
    }

    async fn list_store(&self, run: &mut StoredRun, horizon: u64) -> Result<(), GcError> {
        let mut after: Option<String> = None;
        let mut pending: Vec<StoredBlob> = Vec::new();
        loop {
            self.require_not_stopping()?;
            let page = self.inventory.list_blobs(after.as_deref()).await?;
            for blob in &page.blobs {
                run.report.stored.add(blob.size);
            }
            pending.extend(page.blobs);
            if pending.len() >= BATCH || page.next.is_none() {
                self.weigh(run, std::mem::take(&mut pending), horizon).await?;
                self.at(run.id, RunState::Listing, run.report.stored.blobs);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        self.sum_up(run).await
    }

    /// Writes down what is to become of each blob; nothing of those that are named and not condemned.
    async fn weigh(&self, run: &StoredRun, blobs: Vec<StoredBlob>, horizon: u64) -> Result<(), GcError> {
        let digests: Vec<Digest> = blobs.iter().map(|blob| blob.digest.clone()).collect();
        let kept = self.kept(&digests).await?;
        let garbage: Vec<Digest> = digests
            .into_iter()
            .filter(|digest| !kept.contains(digest))
            .collect();
        let owners = self.table.former_owners(&garbage).await?;
        let now = self.uptime.now();
        let mut items = Vec::new();
        for blob in blobs {
            let since = match self.standings.of(&blob.digest) {
                None => None,
                Some(Standing::Condemned(condemned)) => Some(condemned.since),
                Some(Standing::Leaving(_)) => continue,
            };
            let action = match since {
                None if kept.contains(&blob.digest) => continue,
                None => Action::Condemn,
                Some(_) if kept.contains(&blob.digest) => Action::Lift,
                Some(since) if self.is_due(since, now, horizon) => Action::Delete,
                Some(_) => Action::Wait,
            };
            items.push(Item {
                owner: owners.get(&blob.digest).cloned(),
                digest: blob.digest,
                action,
                bytes: blob.size,
                since,
                outcome: None,
            });
        }
        Ok(self.table.add_items(run.id, &items).await?)
    }

    /// Whether a condemnation has stood for the grace period, and every reading began longer after it than a push takes.
    fn is_due(&self, since: u64, now: u64, horizon: u64) -> bool {
        now.saturating_sub(since) >= self.options.grace.as_secs()
            && since.saturating_add(self.options.longest_push.as_secs()) < horizon
    }

    /// Those that something keeps.
    pub(super) async fn kept(&self, digests: &[Digest]) -> Result<HashSet<Digest>, GcError> {
        let mut kept = self.table.named(digests).await?;
        kept.extend(self.table.uploaded(digests).await?);
        Ok(kept)
    }

    async fn sum_up(&self, run: &mut StoredRun) -> Result<(), GcError> {
        let mut owners = BTreeMap::new();
        let mut after: Option<Digest> = None;
        let limit = u32::try_from(BATCH).unwrap_or(u32::MAX);
        loop {
            let items = self
                .table
                .items(run.id, None, false, after.as_ref(), limit)
                .await?;
            let Some(last) = items.last() else { break };
            after = Some(last.digest.clone());
            for item in items {
                let sum = match item.action {
                    Action::Lift => &mut run.report.to_lift,
                    Action::Wait => &mut run.report.waiting,
                    Action::Condemn => &mut run.report.to_condemn,
                    Action::Delete => &mut run.report.to_remove,
                };
                sum.add(item.bytes);
                if item.owner.is_none() && item.action != Action::Lift {
                    run.report.never_named.add(item.bytes);
                }
                if item.action == Action::Delete {
                    owners
                        .entry(item.owner)
                        .or_insert_with(super::Sum::default)
                        .add(item.bytes);
                }
            }
        }
        run.report.set_owners(owners);
        Ok(())
    }
}
