//! The lease of who follows the streams, in time that stands still while there is something to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use atcr_index::IndexError;
use atcr_index::ports::Leases;
use atcr_ingest::leadership::Leadership;
use atcr_server::Shutdown;
use tokio::time::{Instant, sleep};

/// A lease as the database keeps it.
#[derive(Default)]
struct OneLease(Mutex<Lease>);

#[derive(Default)]
struct Lease {
    holder: String,
    until: Option<Instant>,
    is_out_of_reach: bool,
    /// It takes what is asked, and never answers.
    is_silent: bool,
}

impl OneLease {
    fn set_out_of_reach(&self, is_out_of_reach: bool) {
        self.0.lock().unwrap().is_out_of_reach = is_out_of_reach;
    }

    fn set_silent(&self, is_silent: bool) {
        self.0.lock().unwrap().is_silent = is_silent;
    }

    /// Gives it to another server, as when its holder could not renew it in time.
    fn give_to(&self, holder: &str) {
        let mut lease = self.0.lock().unwrap();
        holder.clone_into(&mut lease.holder);
        lease.until = Some(Instant::now() + Duration::from_secs(20));
    }

    fn is_held(&self) -> bool {
        self.0
            .lock()
            .unwrap()
            .until
            .is_some_and(|until| until > Instant::now())
    }
}

#[async_trait]
impl Leases for OneLease {
    async fn hold_lease(&self, _name: &str, holder: &str, time: Duration) -> Result<bool, IndexError> {
        if self.0.lock().unwrap().is_silent {
            std::future::pending::<()>().await;
        }
        let mut lease = self.0.lock().unwrap();
        if lease.is_out_of_reach {
            return Err(IndexError::Corrupt("nothing: the database is out of reach"));
        }
        let now = Instant::now();
        if lease.holder != holder && lease.until.is_some_and(|until| until > now) {
            return Ok(false);
        }
        holder.clone_into(&mut lease.holder);
        lease.until = Some(now + time);
        Ok(true)
    }

    async fn give_up_lease(&self, _name: &str, holder: &str) -> Result<(), IndexError> {
        let mut lease = self.0.lock().unwrap();
        if lease.holder == holder {
            lease.until = None;
        }
        Ok(())
    }
}

/// Work that only a leader does: how much is under way, and how much was at most.
#[derive(Clone, Default)]
struct Work(Arc<AtomicUsize>, Arc<AtomicUsize>);

impl Work {
    fn start(&self, reign: &Shutdown) {
        let under_way = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.1.fetch_max(under_way, Ordering::SeqCst);
        let (work, stop) = (Done(self.clone()), reign.soft().clone());
        reign.spawn(async move {
            stop.cancelled().await;
            drop(work);
        });
    }

    /// Work that goes on when it is asked to stop.
    fn start_stubborn(&self, reign: &Shutdown) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let work = Done(self.clone());
        reign.spawn(async move {
            std::future::pending::<()>().await;
            drop(work);
        });
    }

    fn under_way(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Work under way, until it is dropped.
struct Done(Work);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn server(name: &str, lease: &Arc<OneLease>, work: &Work) -> (Leadership, Shutdown) {
    let leadership = Leadership::new(Arc::clone(lease) as _, name.to_owned());
    let (shutdown, work) = (Shutdown::new(), work.clone());
    leadership
        .clone()
        .spawn(&shutdown, move |reign| work.start(reign));
    (leadership, shutdown)
}

async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if is() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(is(), "{what}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_another_has_stops_and_leads_again_when_it_is_free() {
    let (lease, work) = (Arc::default(), Work::default());
    let (first, _running) = server("first", &lease, &work);
    until("it leads", || first.is_leading()).await;
    assert_eq!(work.under_way(), 1);
    lease.give_to("another");
    until("it no longer leads", || !first.is_leading()).await;
    assert_eq!(work.under_way(), 0);
    assert!(lease.is_held());
    until("it leads again", || first.is_leading()).await;
    assert_eq!(work.under_way(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_reach_the_database_stops_before_another_can_lead() {
    let (lease, work) = (Arc::default(), Work::default());
    let (first, _running) = server("first", &lease, &work);
    until("it leads", || first.is_leading()).await;
    // Out of reach for one round: it goes on.
    lease.set_out_of_reach(true);
    sleep(Duration::from_millis(2_500)).await;
    lease.set_out_of_reach(false);
    sleep(Duration::from_mins(1)).await;
    assert!(first.is_leading() && lease.is_held());
    lease.set_out_of_reach(true);
    until("it has stopped", || work.under_way() == 0).await;
    assert!(lease.is_held(), "nobody else could lead yet");
    until("it says so", || !first.is_leading()).await;
}

#[tokio::test(start_paused = true)]
async fn one_of_two_servers_leads_and_the_other_does_when_it_stops() {
    let (lease, work) = (Arc::default(), Work::default());
    let (first, running) = server("first", &lease, &work);
    until("it leads", || first.is_leading()).await;
    let (second, _running) = server("second", &lease, &work);
    sleep(Duration::from_mins(1)).await;
    assert!(first.is_leading() && !second.is_leading());
    assert_eq!(work.under_way(), 1);
    running.begin();
    running.drain(Duration::from_secs(10)).await;
    assert!(!lease.is_held(), "it is given up");
    until("the second one leads", || second.is_leading()).await;
    assert_eq!(work.under_way(), 1);
    assert_eq!(work.1.load(Ordering::SeqCst), 1, "there were never two");
}

#[tokio::test(start_paused = true)]
async fn what_a_leader_does_is_over_before_its_lease_is_although_it_does_not_stop_by_itself() {
    let (lease, work): (Arc<OneLease>, _) = (Arc::default(), Work::default());
    let leadership = Leadership::new(Arc::clone(&lease) as _, "first".to_owned());
    let (shutdown, stubborn) = (Shutdown::new(), work.clone());
    leadership
        .clone()
        .spawn(&shutdown, move |reign| stubborn.start_stubborn(reign));
    for make in [OneLease::set_out_of_reach, OneLease::set_silent] {
        until("it leads", || leadership.is_leading()).await;
        make(&lease, true);
        until("it is over", || work.under_way() == 0).await;
        assert!(lease.is_held(), "nobody else could lead yet");
        until("it says so", || !leadership.is_leading()).await;
        make(&lease, false);
    }
    // A database that took what was asked and did not answer is asked again.
    until("it leads again", || leadership.is_leading()).await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_does_not_answer_is_asked_again() {
    let (lease, work): (Arc<OneLease>, _) = (Arc::default(), Work::default());
    lease.set_silent(true);
    let (first, _running) = server("first", &lease, &work);
    sleep(Duration::from_mins(1)).await;
    lease.set_silent(false);
    until("it leads", || first.is_leading()).await;
}
