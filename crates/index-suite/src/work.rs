//! The queue of accounts.

use atcr_index::change::{Batch, Lane, QueuedWork};
use atcr_index::ports::{IndexWriter as _, WorkQueue as _};
use chrono::TimeDelta;

use crate::subject::{Subject, alice, bob, now};

fn work(did: atcr_atproto::syntax::Did, lane: Lane, minutes: i64) -> QueuedWork {
    QueuedWork {
        did,
        lane,
        due: now() + TimeDelta::minutes(minutes),
    }
}

/// The first lane goes first and a claim is one workers.
pub async fn the_first_lane_goes_first_and_a_claim_is_one_workers<S: Subject>() {
    let store = S::new().await;
    let queue = store.index();
    queue
        .enqueue(&[work(alice(), Lane::Discovered, 0), work(bob(), Lane::Gap, 0)])
        .await
        .unwrap();
    let until = now() + TimeDelta::minutes(5);
    let claimed = queue.claim(&Lane::ALL, 1, now(), until).await.unwrap();
    assert_eq!((claimed[0].did.clone(), claimed[0].lane), (bob(), Lane::Gap));
    assert_eq!(
        queue.claim(&Lane::ALL, 9, now(), until).await.unwrap()[0].did,
        alice()
    );
    assert!(queue.claim(&Lane::ALL, 9, now(), until).await.unwrap().is_empty());
    // The worker died.
    assert_eq!(
        queue
            .claim(&Lane::ALL, 9, until, until + TimeDelta::minutes(5))
            .await
            .unwrap()
            .len(),
        2
    );
}

/// What is queued while it is worked on is worked on again.
pub async fn what_is_queued_while_it_is_worked_on_is_worked_on_again<S: Subject>() {
    let store = S::new().await;
    let queue = store.index();
    let until = now() + TimeDelta::minutes(5);
    queue.enqueue(&[work(alice(), Lane::Audit, 0)]).await.unwrap();
    queue.claim(&Lane::ALL, 1, now(), until).await.unwrap();
    let batch = Batch {
        work: vec![work(alice(), Lane::Asked, 0)],
        ..Batch::default()
    };
    store.index().apply(&batch, now()).await.unwrap();
    queue.finish(&alice()).await.unwrap();
    let again = queue.claim(&Lane::ALL, 1, now(), until).await.unwrap();
    assert_eq!(again[0].lane, Lane::Asked);
    queue.finish(&alice()).await.unwrap();
    assert!(queue.claim(&Lane::ALL, 1, until, until).await.unwrap().is_empty());
}

/// What failed waits.
pub async fn what_failed_waits<S: Subject>() {
    let store = S::new().await;
    let queue = store.index();
    queue.enqueue(&[work(alice(), Lane::Gap, 0)]).await.unwrap();
    let until = now() + TimeDelta::minutes(5);
    queue.claim(&Lane::ALL, 1, now(), until).await.unwrap();
    queue
        .retry(&alice(), now() + TimeDelta::minutes(10))
        .await
        .unwrap();
    assert!(queue.claim(&Lane::ALL, 1, until, until).await.unwrap().is_empty());
    let later = now() + TimeDelta::minutes(10);
    let claimed = queue.claim(&Lane::ALL, 1, later, later).await.unwrap();
    assert_eq!(claimed[0].attempts, 1);
}
