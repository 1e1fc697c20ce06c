//! The jobs that this scanner has: those that wait, in the order in which they are wanted, and those that are under way.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_scan_protocol::{Progress, Release, ScanJob};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::scan::Stage;

/// Parts of a lease after which it is renewed.
const RENEWALS: u32 = 3;

/// What a job is about: one image of one account.
pub type Subject = (Digest, Did);

/// What became of a job that the hold sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It waits.
    Waits,
    /// It is here already; the hold lost sight of it. Its number is the new one.
    Known,
    /// There is no room for it.
    Full,
    /// This scanner stops; the hold takes back what it has when the connection ends.
    Closed,
}

/// The jobs.
#[derive(Debug)]
pub struct Jobs {
    room: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By priority, then in the order in which they came.
    waiting: BTreeMap<(i64, u64), Subject>,
    held: HashMap<Subject, Held>,
    highest: Option<u64>,
    arrivals: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Held {
    job: ScanJob,
    stage: Stage,
    last_word: Instant,
}

impl Jobs {
    /// Room for `waiting` jobs that nothing is done about yet.
    #[must_use]
    pub fn new(waiting: usize) -> Self {
        Self {
            room: waiting,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Takes a job from the hold.
    pub fn take(&self, job: ScanJob) -> Taken {
        let mut state = self.lock();
        state.highest = state.highest.max(Some(job.seq));
        let subject = (job.digest.clone(), job.user_did.clone());
        if let Some(held) = state.held.get_mut(&subject) {
            held.job = job;
            held.last_word = Instant::now();
            return Taken::Known;
        }
        if state.is_closed {
            return Taken::Closed;
        }
        if state.waiting.len() >= self.room {
            return Taken::Full;
        }
        state.arrivals += 1;
        let place = (job.priority, state.arrivals);
        state.waiting.insert(place, subject.clone());
        state.held.insert(
            subject,
            Held {
                job,
                stage: Stage::Waiting,
                last_word: Instant::now(),
            },
        );
        drop(state);
        self.changed.notify_one();
        Taken::Waits
    }

    /// The next job to be done; waits for one. `None` once there will be no more.
    pub async fn next(&self) -> Option<(Subject, ScanJob)> {
        loop {
            {
                let mut state = self.lock();
                if state.is_closed {
                    // For the next of those who wait.
                    self.changed.notify_one();
                    return None;
                }
                if let Some((_, subject)) = state.waiting.pop_first()
                    && let Some(held) = state.held.get(&subject)
                {
                    let job = held.job.clone();
                    if !state.waiting.is_empty() {
                        self.changed.notify_one();
                    }
                    return Some((subject, job));
                }
            }
            self.changed.notified().await;
        }
    }

    /// The job about `subject` as the hold last sent it.
    #[must_use]
    pub fn latest(&self, subject: &Subject) -> Option<ScanJob> {
        self.lock().held.get(subject).map(|held| held.job.clone())
    }

    /// Notes at what a job is.
    pub fn note(&self, subject: &Subject, stage: Stage) {
        if let Some(held) = self.lock().held.get_mut(subject) {
            held.stage = stage;
        }
    }

    /// Forgets a job that was answered as `seq`. False if the hold has handed it out again meanwhile: its new number is still to be
    /// answered.
    #[must_use]
    pub fn done(&self, subject: &Subject, seq: u64) -> bool {
        let mut state = self.lock();
        match state.held.get(subject) {
            Some(held) if held.job.seq != seq => false,
            _ => {
                state.held.remove(subject);
                true
            }
        }
    }

    /// Forgets a job of which nothing is known: its lease ends.
    pub fn forget(&self, subject: &Subject) {
        self.lock().held.remove(subject);
    }

    /// Takes no more jobs, and returns those that waited, to be given back.
    pub fn close(&self) -> Vec<Release> {
        let mut state = self.lock();
        state.is_closed = true;
        let waiting: Vec<Subject> = std::mem::take(&mut state.waiting).into_values().collect();
        let released = waiting
            .into_iter()
            .filter_map(|subject| state.held.remove(&subject))
            .filter_map(|held| release(&held.job));
        let released = released.collect();
        drop(state);
        self.changed.notify_one();
        released
    }

    /// Words about the jobs whose lease is to be renewed now. An original hold has none.
    pub fn renewals(&self) -> Vec<Progress> {
        let now = Instant::now();
        let mut state = self.lock();
        let held = state.held.values_mut();
        held.filter_map(|held| {
            let lease = Duration::from_secs(held.job.lease_seconds?);
            if now.duration_since(held.last_word) < lease / RENEWALS {
                return None;
            }
            held.last_word = now;
            Some(Progress {
                seq: held.job.seq,
                digest: held.job.digest.clone(),
                stage: held.stage.as_str().to_owned(),
            })
        })
        .collect()
    }

    /// The last number before which nothing is open.
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        let state = self.lock();
        let open = state.held.values().map(|held| held.job.seq).min();
        open.map_or(state.highest, |open| open.checked_sub(1))
    }

    /// How many jobs wait, and how many are under way.
    #[must_use]
    pub fn figures(&self) -> (usize, usize) {
        let state = self.lock();
        (state.waiting.len(), state.held.len() - state.waiting.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words that give `job` back; `None` for that of an original hold, which does not know them.
#[must_use]
pub fn release(job: &ScanJob) -> Option<Release> {
    job.results_url.as_ref()?;
    Some(Release {
        seq: job.seq,
        digest: job.digest.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(seq: u64, priority: i64, digit: char) -> ScanJob {
        ScanJob {
            seq,
            digest: format!("sha256:{}", digit.to_string().repeat(64))
                .parse()
                .unwrap(),
            repository: "app".to_owned(),
            user_did: "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap(),
            hold_did: "did:web:hold.example".parse().unwrap(),
            hold_endpoint: "https://hold.example".parse().unwrap(),
            tag: None,
            priority,
            results_url: Some("https://hold.example/results/1".parse().unwrap()),
            lease_seconds: Some(60),
            cyclonedx: false,
            list_url: None,
        }
    }

    #[tokio::test]
    async fn the_most_wanted_job_comes_first_and_then_the_oldest() {
        let jobs = Jobs::new(10);
        for (seq, priority, digit) in [(1, 5, 'a'), (2, 0, 'b'), (3, 5, 'c'), (4, 0, 'd')] {
            assert_eq!(jobs.take(job(seq, priority, digit)), Taken::Waits);
        }
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(jobs.next().await.unwrap().1.seq);
        }
        assert_eq!(order, [2, 4, 1, 3]);
    }

    #[tokio::test]
    async fn a_job_that_is_sent_again_while_it_is_under_way_gets_the_new_number_and_no_second_place() {
        let jobs = Jobs::new(10);
        jobs.take(job(1, 0, 'a'));
        let (subject, _) = jobs.next().await.unwrap();
        assert_eq!(jobs.take(job(7, 0, 'a')), Taken::Known);
        assert_eq!(jobs.latest(&subject).unwrap().seq, 7);
        assert_eq!(jobs.figures(), (0, 1));
        // What was answered is not what the hold waits for.
        assert!(!jobs.done(&subject, 1));
        assert_eq!(jobs.figures(), (0, 1));
        assert!(jobs.done(&subject, 7));
        assert_eq!(jobs.figures(), (0, 0));
    }

    #[tokio::test]
    async fn the_cursor_is_before_the_oldest_open_job() {
        let jobs = Jobs::new(10);
        assert_eq!(jobs.cursor(), None);
        for (seq, digit) in [(5, 'a'), (6, 'b'), (7, 'c')] {
            jobs.take(job(seq, 0, digit));
        }
        let (first, _) = jobs.next().await.unwrap();
        let (second, _) = jobs.next().await.unwrap();
        assert!(jobs.done(&second, 6));
        assert_eq!(jobs.cursor(), Some(4));
        assert!(jobs.done(&first, 5));
        assert_eq!(jobs.cursor(), Some(6));
        let (third, _) = jobs.next().await.unwrap();
        assert!(jobs.done(&third, 7));
        assert_eq!(jobs.cursor(), Some(7));
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_and_what_waits_is_given_back_at_the_end() {
        let jobs = Jobs::new(2);
        assert_eq!(jobs.take(job(1, 0, 'a')), Taken::Waits);
        assert_eq!(jobs.take(job(2, 0, 'b')), Taken::Waits);
        assert_eq!(jobs.take(job(3, 0, 'c')), Taken::Full);
        let (subject, _) = jobs.next().await.unwrap();
        let released: Vec<u64> = jobs.close().into_iter().map(|release| release.seq).collect();
        assert_eq!(released, [2]);
        assert!(jobs.next().await.is_none());
        assert!(jobs.latest(&subject).is_some());
        assert_eq!(jobs.take(job(4, 0, 'd')), Taken::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_renewed_after_a_third_of_it_also_for_a_job_that_waits() {
        let jobs = Jobs::new(2);
        jobs.take(job(1, 0, 'a'));
        assert!(jobs.renewals().is_empty());
        tokio::time::advance(Duration::from_secs(21)).await;
        assert_eq!(jobs.renewals()[0].stage, "waiting");
        assert!(jobs.renewals().is_empty());
        let (subject, _) = jobs.next().await.unwrap();
        jobs.note(&subject, Stage::Cataloguing);
        tokio::time::advance(Duration::from_secs(21)).await;
        assert_eq!(jobs.renewals()[0].stage, "cataloguing");
    }
}
