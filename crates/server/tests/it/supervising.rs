//! Background work that fails.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use atcr_server::Shutdown;
use atcr_server::supervise::{Failed, Quarantine, Task};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::captured_log::CapturedLog;

const PERIOD: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn a_loop_goes_on_after_a_round_that_panics_and_after_one_that_fails() {
    let log = CapturedLog::start();
    let shutdown = Shutdown::new();
    let (rounds, mut seen) = mpsc::unbounded_channel();
    let mut round = 0;
    Task::new("test_loop").every(PERIOD, &shutdown, move || {
        round += 1;
        // The first panics before it is a future at all.
        assert!(round != 1, "the first round is bad");
        let rounds = rounds.clone();
        async move {
            assert!(round != 2, "the second round is bad");
            let _ = rounds.send(round);
            if round == 3 {
                Err("the third fails")
            } else {
                Ok(())
            }
        }
    });
    assert_eq!(seen.recv().await, Some(3));
    assert_eq!(seen.recv().await, Some(4));
    for said in [
        "the first round is bad",
        "the second round is bad",
        "the third fails",
    ] {
        let lines = log.lines_with(said);
        assert!(
            lines
                .iter()
                .any(|line| line.contains("test_loop") && line.contains("goes on")),
            "{lines:?}"
        );
    }
    shutdown.begin();
    assert!(shutdown.drain(PERIOD).await);
}

#[tokio::test(start_paused = true)]
async fn a_loop_whose_rounds_fail_pauses_longer_each_time_but_for_ever_never() {
    let shutdown = Shutdown::new();
    let (rounds, mut seen) = mpsc::unbounded_channel();
    let started = Instant::now();
    let failing = Arc::new(AtomicU32::new(6));
    Task::new("test_pauses").every(PERIOD, &shutdown, {
        let failing = Arc::clone(&failing);
        move || {
            let _ = rounds.send(started.elapsed().as_secs() / PERIOD.as_secs());
            let fails = failing
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok();
            async move { if fails { Err("not yet") } else { Ok(()) } }
        }
    });
    let mut at = Vec::new();
    for _ in 0..9 {
        at.push(seen.recv().await.expect("a round"));
    }
    assert_eq!(at, [0, 2, 6, 14, 22, 30, 38, 39, 40]);
}

#[tokio::test]
async fn an_item_that_panics_does_not_keep_the_others_from_being_done() {
    let task = Task::new("test_items");
    let mut done = Vec::new();
    for item in 0..5 {
        let outcome = task
            .attempt(item, async move {
                assert!(item != 2, "item {item} is poisoned");
                Ok::<_, Infallible>(item)
            })
            .await;
        match outcome {
            Ok(item) => done.push(item),
            Err(Failed::Panic(message)) => assert_eq!(message, "item 2 is poisoned"),
            Err(Failed::Error(never)) => match never {},
        }
    }
    assert_eq!(done, [0, 1, 3, 4]);
}

#[tokio::test]
async fn an_item_that_keeps_failing_is_set_aside_and_the_log_says_so_once() {
    let log = CapturedLog::start();
    let quarantine: Quarantine<String> = Quarantine::new(Task::new("test_quarantine"), 3);
    let tries = AtomicU32::new(0);
    let poisoned = "poisoned".to_owned();
    for _ in 0..10 {
        quarantine
            .attempt(&poisoned, async {
                tries.fetch_add(1, Ordering::SeqCst);
                Err::<(), _>("it fails")
            })
            .await;
    }
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    let said = log.lines_with("set aside");
    assert_eq!(said.len(), 1, "{}", log.text());
    assert!(
        said[0].contains("test_quarantine") && said[0].contains("poisoned"),
        "{said:?}"
    );
    assert!(
        quarantine
            .attempt(&"other".to_owned(), async { Ok::<_, &str>(()) })
            .await
            .is_some()
    );
}

#[tokio::test]
async fn an_item_that_succeeds_in_between_is_not_set_aside() {
    let quarantine: Quarantine<u8> = Quarantine::new(Task::new("test_recovers"), 2);
    for round in 0..10 {
        let outcome = quarantine
            .attempt(&1, async {
                if round % 2 == 0 {
                    Err("now and then")
                } else {
                    Ok(())
                }
            })
            .await;
        assert!(outcome.is_some(), "round {round}");
    }
}

#[tokio::test]
async fn a_slot_does_not_outlive_the_task_that_panicked_with_it() {
    let shutdown = Shutdown::new();
    let slots = Arc::new(Semaphore::new(1));
    let slot = Arc::clone(&slots).try_acquire_owned().expect("a slot");
    Task::new("test_slot").spawn(&shutdown, async move {
        let _slot = slot;
        tokio::task::yield_now().await;
        panic!("with the slot in hand");
    });
    let _free = slots.acquire().await.expect("the slot comes back");
    shutdown.begin();
    assert!(shutdown.drain(PERIOD).await);
}
