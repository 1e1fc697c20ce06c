//! Notices of pushes, of which none is lost: written down before the push is acknowledged, sent by a task of their hold until the
//! hold has answered, also after a restart.
//!
//! A hold that fails is left alone for a while, longer each time; so is a notice that only its pusher's PDS keeps from being sent.
//! After a day it is given up. A notice may arrive twice, when an answer is lost, and in any order: a hold writes records for
//! the layers that a manifest does not have yet, and adds to counts, so neither changes what it ends up with but a count.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::egress::party;
use atcr_atproto::lexicon::notify_manifest::NotifyManifestInput;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_server::Shutdown;
use atcr_server::shared_places::{Place, SharedPlaces};
use atcr_server::supervise::{Quarantine, Task};
use chrono::{DateTime, Utc};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::error::RegistryError;
use crate::hold::notices::retry::{Backoff, GIVE_UP_AFTER, LONGEST_PAUSE, Sent, verdict};
use crate::hold::notices::sender::NoticeSender;

/// Notices on their way at once to holds that answered the last one, to all of them and to one.
const AT_ONCE: usize = 48;
const PER_HOLD: usize = 4;

/// Notices on their way at once to holds that did not, or that are new: a stranger can name holds that take a notice and say nothing. One
/// such hold gets one notice at a time, holds below one registered name [`TRIALS_OF_PARTY`], and one account has as many under way.
const TRIALS_AT_ONCE: usize = 16;
const TRIALS_OF_PARTY: usize = 4;

/// Holds remembered to have answered.
const ANSWERING: u64 = 10_000;

/// The task, in logs and metrics.
const SENDING: Task = Task::new("send_push_notices");

/// A notice whose sending panics this often is set aside.
const TRIES: u32 = 5;

/// Notices read at once.
const BATCH: u32 = 32;

/// A notice that waits, in the order in which they were written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoticeId(pub i64);

impl fmt::Display for NoticeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A notice that its hold has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingNotice {
    /// Its name.
    pub id: NoticeId,
    /// Who pushed.
    pub principal: Principal,
    /// What the hold is to be told.
    pub notice: NotifyManifestInput,
}

/// Keeps notices until their hold has answered. They survive what the account's sessions survive.
#[async_trait]
pub trait NoticeOutbox: Send + Sync {
    /// Writes a notice down. Returns how many older ones of the same account had to go for it.
    async fn add(
        &self,
        principal: &Principal,
        hold: &Did,
        notice: &NotifyManifestInput,
        pushed_at: DateTime<Utc>,
    ) -> Result<u64, RegistryError>;

    /// The holds that notices wait for.
    async fn holds(&self) -> Result<Vec<Did>, RegistryError>;

    /// At most `limit` notices for `hold` that were written down after `after`, in order.
    async fn waiting(
        &self,
        hold: &Did,
        after: Option<NoticeId>,
        limit: u32,
    ) -> Result<Vec<PendingNotice>, RegistryError>;

    /// Forgets notices; repeating it is harmless.
    async fn remove(&self, notices: &[NoticeId]) -> Result<(), RegistryError>;

    /// Forgets the notices for `hold` of pushes before `than`, and returns how many those were.
    async fn remove_older(&self, hold: &Did, than: DateTime<Utc>) -> Result<u64, RegistryError>;
}

/// The right to have a notice on its way.
enum Slot<'a> {
    Answering {
        _slot: SemaphorePermit<'a>,
    },
    Trial {
        // Dropped in this order.
        _in_all: Place,
        _of_account: Place,
    },
}

struct Inner {
    sender: NoticeSender,
    outbox: Arc<dyn NoticeOutbox>,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    slots: Semaphore,
    /// By who pushed.
    trials_by_account: SharedPlaces,
    /// By whose hold it is, and in all.
    trials: SharedPlaces,
    /// The holds that answered the last notice.
    answering: moka::sync::Cache<Did, ()>,
    /// The holds whose task runs, and what tells it of a new notice.
    running: Mutex<HashMap<Did, Arc<Notify>>>,
    /// Notices whose sending panics.
    poisoned: Quarantine<NoticeId>,
}

/// The entry of a running task, which does not outlive it.
struct Running {
    inner: Arc<Inner>,
    hold: Did,
    news: Arc<Notify>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.inner.running();
        // A task that retired has made room already, perhaps for another.
        if running
            .get(&self.hold)
            .is_some_and(|news| Arc::ptr_eq(news, &self.news))
        {
            running.remove(&self.hold);
        }
    }
}

/// Sends notices of pushes.
#[derive(Clone)]
pub struct PushNotices(Arc<Inner>);

impl PushNotices {
    /// Sends through `sender` what is in `outbox`; the sending is done by tasks of `shutdown`, which waits for what can be sent
    /// without a pause.
    #[must_use]
    pub fn new(
        sender: NoticeSender,
        outbox: Arc<dyn NoticeOutbox>,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) -> Self {
        Self(Arc::new(Inner {
            sender,
            outbox,
            clock,
            shutdown,
            slots: Semaphore::new(AT_ONCE),
            trials_by_account: SharedPlaces::new(usize::MAX, TRIALS_OF_PARTY),
            trials: SharedPlaces::new(TRIALS_AT_ONCE, TRIALS_OF_PARTY),
            answering: moka::sync::Cache::new(ANSWERING),
            running: Mutex::default(),
            poisoned: Quarantine::new(SENDING, TRIES),
        }))
    }

    /// Begins to send what an earlier run of the program left.
    ///
    /// # Errors
    /// The database's.
    pub async fn resume(&self) -> Result<(), RegistryError> {
        for hold in self.0.outbox.holds().await? {
            self.send_to(&hold);
        }
        Ok(())
    }

    /// Writes down that `hold` is to be told, and begins to. Nothing waits for the hold.
    ///
    /// A push is in the account already and must not fail by this: when it cannot be written down, it is sent from memory, once.
    pub async fn add(&self, principal: &Principal, hold: &Did, notice: NotifyManifestInput) {
        let now = self.0.clock.now();
        match self.0.outbox.add(principal, hold, &notice, now).await {
            Ok(0) => {}
            Ok(crowded_out) => {
                tracing::error!(
                    did = principal.did().map(Did::as_str),
                    crowded_out,
                    "holds will not be notified of pushes: too many notices of the account wait"
                );
            }
            Err(error) => {
                tracing::error!(
                    hold.did = %hold, digest = notice.manifest_digest, error = &error as &dyn std::error::Error,
                    "could not record the notice of a push; its hold is notified once"
                );
                let (inner, principal, hold) = (Arc::clone(&self.0), principal.clone(), hold.clone());
                SENDING.spawn(&self.0.shutdown, async move {
                    let sent = inner.sender.send(&principal, &hold, &notice).await;
                    if let Err(error) = sent {
                        tracing::error!(hold.did = %hold, %error, "a hold was not notified of a push");
                    }
                });
                return;
            }
        }
        self.send_to(hold);
    }

    /// Sees to it that a task sends what waits for `hold`.
    fn send_to(&self, hold: &Did) {
        let mut running = self.0.running();
        if let Some(news) = running.get(hold) {
            news.notify_one();
            return;
        }
        let news = Arc::new(Notify::new());
        running.insert(hold.clone(), Arc::clone(&news));
        drop(running);
        let task = Running {
            inner: Arc::clone(&self.0),
            hold: hold.clone(),
            news,
        };
        SENDING.spawn(&self.0.shutdown, async move {
            task.inner.serve(&task.hold, &task.news).await;
        });
    }
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, HashMap<Did, Arc<Notify>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends until nothing waits for `hold`. Asked to stop, it makes no further pause.
    async fn serve(&self, hold: &Did, news: &Notify) {
        let mut at_hold = Backoff::default();
        let mut by_notice: HashMap<NoticeId, Backoff> = HashMap::new();
        loop {
            let pass = self.pass(hold, &mut at_hold, &mut by_notice);
            let left = match SENDING.attempt(hold, pass).await {
                Ok(left) => left,
                Err(_) => {
                    at_hold.fail(None);
                    1
                }
            };
            if left == 0 || self.shutdown.soft().is_cancelled() {
                if self.retire(hold, news) {
                    return;
                }
                continue;
            }
            let next = if at_hold.is_over() {
                by_notice.values().filter_map(|backoff| backoff.until).min()
            } else {
                at_hold.until
            };
            tokio::select! {
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)) => {}
                () = news.notified(), if at_hold.is_over() => {}
                () = self.shutdown.soft().cancelled() => {}
            }
        }
    }

    /// Ends the task of `hold` unless there is news, which is looked for under the lock, so that none is left behind.
    fn retire(&self, hold: &Did, news: &Notify) -> bool {
        let mut running = self.running();
        if news.notified().now_or_never().is_some() {
            return false;
        }
        running.remove(hold);
        true
    }

    /// Goes once through everything that waits for `hold` and may be sent now. Returns how many still wait.
    async fn pass(
        &self,
        hold: &Did,
        at_hold: &mut Backoff,
        by_notice: &mut HashMap<NoticeId, Backoff>,
    ) -> Result<usize, RegistryError> {
        let given_up = self
            .outbox
            .remove_older(hold, self.clock.now() - GIVE_UP_AFTER)
            .await?;
        if given_up > 0 {
            tracing::error!(hold.did = %hold, given_up, "a hold could not be notified of pushes for a day and will not be");
        }
        let (mut after, mut left) = (None, HashSet::new());
        loop {
            let batch = self.outbox.waiting(hold, after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some(last.id);
            let is_ready =
                |id: &NoticeId| at_hold.is_over() && by_notice.get(id).is_none_or(Backoff::is_over);
            let (ready, waiting): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(|notice| is_ready(&notice.id));
            left.extend(waiting.into_iter().map(|notice| notice.id));
            let at_once = if self.answering.contains_key(hold) {
                PER_HOLD
            } else {
                1
            };
            let mut sent = stream::iter(ready)
                .map(async |notice| (notice.id, self.try_to_send(hold, &notice).await))
                .buffer_unordered(at_once);
            let mut done = Vec::new();
            let mut is_failing = false;
            while let Some((id, sent)) = sent.next().await {
                match sent {
                    Sent::Told | Sent::Refused => {
                        if matches!(sent, Sent::Told) {
                            at_hold.worked();
                        }
                        by_notice.remove(&id);
                        done.push(id);
                    }
                    Sent::NotYet => {
                        by_notice.entry(id).or_default().fail(None);
                        left.insert(id);
                    }
                    Sent::SetAside => {
                        by_notice.entry(id).or_default().fail(Some(LONGEST_PAUSE));
                        left.insert(id);
                    }
                    Sent::HoldFails(at_least) => {
                        // Several that were under way when it failed are one failure.
                        if !std::mem::replace(&mut is_failing, true) {
                            at_hold.fail(at_least);
                        }
                        left.insert(id);
                    }
                }
            }
            drop(sent);
            self.outbox.remove(&done).await?;
            if is_failing {
                break;
            }
        }
        by_notice.retain(|id, _| left.contains(id));
        Ok(left.len())
    }

    /// As [`send`](Self::send); a panic leaves the notice for later, and one that panics each time is set aside.
    async fn try_to_send(&self, hold: &Did, pending: &PendingNotice) -> Sent {
        let sending = async { Ok::<_, Infallible>(self.send(hold, pending).await) };
        match self.poisoned.attempt(&pending.id, sending).await {
            Some(Ok(sent)) => sent,
            Some(Err(_)) => Sent::NotYet,
            None => Sent::SetAside,
        }
    }

    /// Waits until a notice of `pusher` may be on its way to `hold`. `None` never happens.
    async fn slot(&self, hold: &Did, pusher: &Principal) -> Option<Slot<'_>> {
        if self.answering.contains_key(hold) {
            return Some(Slot::Answering {
                _slot: self.slots.acquire().await.ok()?,
            });
        }
        let pusher = pusher.did().map(Did::as_str).unwrap_or_default();
        Some(Slot::Trial {
            _of_account: self.trials_by_account.acquire(pusher).await?,
            _in_all: self.trials.acquire(&party_of(hold)).await?,
        })
    }

    async fn send(&self, hold: &Did, pending: &PendingNotice) -> Sent {
        let Some(_slot) = self.slot(hold, &pending.principal).await else {
            return Sent::NotYet;
        };
        let error = match self.sender.send(&pending.principal, hold, &pending.notice).await {
            Ok(()) => {
                self.answering.insert(hold.clone(), ());
                return Sent::Told;
            }
            Err(error) => error,
        };
        let sent = verdict(&error);
        if let Sent::HoldFails(_) = sent {
            self.answering.invalidate(hold);
        }
        let (digest, did) = (&pending.notice.manifest_digest, pending.principal.did());
        match sent {
            Sent::Refused => {
                tracing::error!(hold.did = %hold, did = did.map(Did::as_str), digest, %error, "a hold will not be notified of a push");
            }
            _ => {
                tracing::info!(hold.did = %hold, digest, %error, "a hold could not be notified of a push now; it will be later");
            }
        }
        sent
    }
}

/// Whose hold this is, as far as its DID tells. A `did:plc` says nothing, and one account can make any number: all of those are one
/// party until they have answered.
fn party_of(hold: &Did) -> String {
    match hold.as_str().strip_prefix("did:web:") {
        Some(rest) => party(
            rest.split(':')
                .next()
                .unwrap_or(rest)
                .split("%3A")
                .next()
                .unwrap_or(rest),
        ),
        None => "did:plc".to_owned(),
    }
}

impl std::fmt::Debug for PushNotices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushNotices").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
