//! Writes in the background share commits.

use std::time::Duration;

use atcr_hold_pds::{EventBudget, HoldRepo, Urgency};

use crate::repository::{TestClock, create, options, put, scratch, texts};

/// One token, and no other for an hour.
const ONE: EventBudget = EventBudget {
    per_hour: 1,
    longest_wait: Duration::from_hours(1),
    warn_per_day: u64::MAX,
};

#[tokio::test]
async fn without_a_token_a_background_write_goes_with_the_next_commit_or_with_the_end() {
    let dir = scratch();
    let mut options = options(dir.path());
    options.events = ONE;
    let repo = HoldRepo::open(options.clone(), TestClock::new()).await.unwrap();
    let background = |key: &str| repo.write_by(vec![create(key, "x")], Urgency::Background);
    background("a").await.unwrap();
    let first = repo.latest_commit();

    let (left, right, now) = tokio::join!(
        background("b"),
        background("c"),
        repo.write(vec![create("d", "x")])
    );
    let commits = [left.unwrap().commit, right.unwrap().commit, now.unwrap().commit];
    assert!(
        commits.iter().all(|commit| *commit == repo.latest_commit()),
        "one commit"
    );
    assert!(repo.latest_commit().rev > first.rev);

    let (last, ()) = tokio::join!(background("e"), repo.close());
    last.unwrap();
    let repo = HoldRepo::open(options, TestClock::new()).await.unwrap();
    assert_eq!(texts(&repo).await.len(), 5);
    repo.close().await;
}

#[tokio::test]
async fn a_background_write_waits_no_longer_than_it_should() {
    let dir = scratch();
    let mut options = options(dir.path());
    options.events = EventBudget {
        longest_wait: Duration::from_millis(20),
        ..ONE
    };
    let repo = HoldRepo::open(options, TestClock::new()).await.unwrap();
    for number in 0..5 {
        repo.write_by(vec![put("a", &number.to_string())], Urgency::Background)
            .await
            .unwrap();
    }
    assert_eq!(texts(&repo).await, [("a".to_owned(), "4".to_owned())]);
    repo.close().await;
}
