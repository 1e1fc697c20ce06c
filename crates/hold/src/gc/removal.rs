//! A plan carried out: each item is looked at once more, and done, or it is said why not.

use std::time::Duration;

use atcr_oci::Digest;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::ports::{Action, Item, StoredRun};
use super::report::RunState;
use super::{GcError, Inner};
use crate::blobs::{Purpose, Standing};

/// Blobs that were taken away from promises. Whatever comes in between, they are given back when their removal cannot come to effect any
/// more.
struct Departure<'a> {
    inner: &'a Inner,
    leaving: Vec<Digest>,
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        let late = self.inner.inventory.late_removal().as_secs();
        let until = self.inner.uptime.now() + late;
        self.inner.standings.hold(&self.leaving, until);
    }
}

/// Items looked at together.
const BATCH: u32 = 500;
/// Blobs that leave together: one commit that waits for the disk.
const LEAVE_AT_ONCE: usize = 100;
/// Removals asked of the store at once.
const REMOVALS_AT_ONCE: usize = 16;

/// Earlier runs of which one has removed something, or this is the first one that would.
const RUNS_ASKED: u32 = 100;

const DONE: &str = "done";
const NAMED: &str = "something names it by now";
const TOUCHED: &str = "it was asked for meanwhile";
const FAILED: &str = "the store failed";

impl Inner {
    /// Does what the plan says. Without the captain's word nothing is removed if it is too much.
    pub(super) async fn carry_out(&self, mut run: StoredRun, confirmed: bool) -> Result<StoredRun, GcError> {
        self.require_own_store().await?;
        self.save_uptime().await?;
        run.state = RunState::Running;
        run.report.brake = None;
        self.table.save_run(run.id, run.state, &run.report).await?;
        self.forget_absent(&run).await?;
        self.each(&mut run, Action::Lift).await?;
        self.each(&mut run, Action::Condemn).await?;
        self.reconcile(&mut run).await?;
        run.report.brake = if confirmed { None } else { self.brake(&run).await? };
        if let Some(reason) = &run.report.brake {
            tracing::warn!(
                run = run.id,
                reason,
                "the run waits for the captain's word before it removes anything"
            );
            run.state = RunState::Waiting;
        } else {
            self.each(&mut run, Action::Delete).await?;
            run.state = RunState::Done;
        }
        run.report.ended_at = Some(self.clock.now());
        self.table.save_run(run.id, run.state, &run.report).await?;
        tracing::info!(
            run = run.id,
            condemned = run.report.condemned.blobs,
            removed = run.report.removed.blobs,
            removed_bytes = run.report.removed.bytes,
            "garbage collection"
        );
        Ok(run)
    }

    /// Why the captain has to say that the run may remove what it would.
    async fn brake(&self, run: &StoredRun) -> Result<Option<String>, GcError> {
        let whole = run.report.stored.bytes;
        let percent = self.options.brake_percent;
        let is_much = |part: u64| u128::from(part) * 100 > u128::from(whole) * u128::from(percent);
        let part = run.report.to_remove.bytes;
        if is_much(part) {
            return Ok(Some(format!(
                "it would remove {part} of {whole} bytes, more than {percent} %"
            )));
        }
        let part = run.report.never_named.bytes;
        if run.report.to_remove.blobs == 0 || !is_much(part) {
            return Ok(None);
        }
        let runs = self.table.runs(RUNS_ASKED).await?;
        let is_first = runs.iter().all(|run| run.report.removed.blobs == 0);
        Ok(is_first.then(|| {
            format!(
                "{part} of {whole} bytes, more than {percent} %, were never named here: they may be another hold's, and nothing was \
                 removed before"
            )
        }))
    }

    /// Condemned blobs that the store does not have any more.
    async fn forget_absent(&self, run: &StoredRun) -> Result<(), GcError> {
        let condemned: Vec<Digest> = self
            .standings
            .all()
            .into_iter()
            .filter(|(_, standing)| matches!(standing, Standing::Condemned(of) if of.run != run.id))
            .map(|(digest, _)| digest)
            .collect();
        for digests in condemned.chunks(LEAVE_AT_ONCE) {
            let planned = self.table.planned(run.id, digests).await?;
            let absent: Vec<Digest> = digests
                .iter()
                .filter(|digest| !planned.contains(*digest))
                .cloned()
                .collect();
            self.standings.forget(&absent).await?;
        }
        Ok(())
    }

    async fn each(&self, run: &mut StoredRun, action: Action) -> Result<(), GcError> {
        let mut after: Option<Digest> = None;
        let mut done = 0;
        loop {
            self.require_not_stopping()?;
            let items = self
                .table
                .items(run.id, Some(action), true, after.as_ref(), BATCH)
                .await?;
            let Some(last) = items.last() else { break };
            after = Some(last.digest.clone());
            done += items.len() as u64;
            match action {
                Action::Wait => {}
                Action::Lift => {
                    for item in &items {
                        self.standings.promise(&item.digest, Purpose::Kept).await?;
                    }
                    let outcomes: Vec<_> = items.iter().map(|item| (item, DONE)).collect();
                    self.outcomes(run, &outcomes).await?;
                }
                Action::Condemn => self.condemn(run, &items).await?,
                Action::Delete => {
                    for items in items.chunks(LEAVE_AT_ONCE) {
                        self.require_not_stopping()?;
                        self.remove(run, items).await?;
                        self.pace(items.len()).await;
                    }
                }
            }
            self.at(run.id, RunState::Running, done);
        }
        Ok(())
    }

    async fn condemn(&self, run: &mut StoredRun, items: &[Item]) -> Result<(), GcError> {
        let digests: Vec<Digest> = items.iter().map(|item| item.digest.clone()).collect();
        let kept = self.kept(&digests).await?;
        let (kept, left): (Vec<_>, Vec<_>) = items.iter().partition(|item| kept.contains(&item.digest));
        let digests: Vec<Digest> = left.iter().map(|item| item.digest.clone()).collect();
        let uptime = self.uptime.clone();
        self.standings
            .condemn(&digests, move || uptime.now(), run.id)
            .await?;
        for item in &left {
            run.report.condemned.add(item.bytes);
        }
        let kept = kept.into_iter().map(|item| (item, NAMED));
        let outcomes: Vec<_> = left.into_iter().map(|item| (item, DONE)).chain(kept).collect();
        self.outcomes(run, &outcomes).await
    }

    /// Removes blobs whose condemnation still stands as the plan saw it.
    async fn remove(&self, run: &mut StoredRun, items: &[Item]) -> Result<(), GcError> {
        let digests: Vec<Digest> = items.iter().map(|item| item.digest.clone()).collect();
        let kept = self.kept(&digests).await?;
        let mut outcomes = Vec::new();
        let mut due = Vec::new();
        for item in items {
            if kept.contains(&item.digest) {
                self.standings.promise(&item.digest, Purpose::Kept).await?;
                outcomes.push((item, NAMED));
            } else if let Some(since) = item.since {
                due.push((item.digest.clone(), since));
            }
        }
        let leaving = self.standings.leave(&due).await?;
        let departure = Departure {
            inner: self,
            leaving: leaving.clone(),
        };
        let removals: Vec<(Digest, bool)> = stream::iter(leaving)
            .map(|digest| self.remove_one(digest).boxed())
            .buffer_unordered(REMOVALS_AT_ONCE)
            .collect()
            .await;
        let removed = removals.iter().filter(|(_, is_removed)| *is_removed);
        let gone: Vec<Digest> = removed.map(|(digest, _)| digest.clone()).collect();
        self.table.forget_links(&gone).await?;
        self.standings.forget(&gone).await?;
        drop(departure);
        for item in items.iter().filter(|item| !kept.contains(&item.digest)) {
            let removal = removals.iter().find(|(digest, _)| *digest == item.digest);
            outcomes.push((
                item,
                match removal {
                    None => TOUCHED,
                    Some((_, true)) => {
                        run.report.removed.add(item.bytes);
                        DONE
                    }
                    Some((_, false)) => FAILED,
                },
            ));
        }
        self.outcomes(run, &outcomes).await
    }

    /// Asks the store to remove a blob, and says whether it is gone.
    async fn remove_one(&self, digest: Digest) -> (Digest, bool) {
        let removed = self.inventory.remove_blob(&digest).await;
        if let Err(error) = &removed {
            tracing::warn!(%digest, error = error as &dyn std::error::Error, "a blob was not removed");
        }
        (digest, removed.is_ok())
    }

    async fn outcomes(&self, run: &mut StoredRun, outcomes: &[(&Item, &str)]) -> Result<(), GcError> {
        for (_, outcome) in outcomes.iter().filter(|(_, outcome)| *outcome != DONE) {
            run.report.differs(outcome);
        }
        let rows: Vec<(Digest, String)> = outcomes
            .iter()
            .map(|(item, outcome)| (item.digest.clone(), (*outcome).to_owned()))
            .collect();
        self.table.set_outcomes(run.id, &rows).await?;
        Ok(self.table.save_run(run.id, run.state, &run.report).await?)
    }

    async fn pace(&self, removed: usize) {
        let per_second = self.options.removals_per_second;
        if per_second > 0 {
            let removed = u32::try_from(removed).unwrap_or(u32::MAX);
            let pause = tokio::time::sleep(Duration::from_secs(1) * removed / per_second);
            let _ = self.stop.run_until_cancelled(pause).await;
        }
    }
}
