//! What the hold's owner sees of the jobs, and makes due again, by a program beside the hold.

use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_hold::adapters::sqlite::{self, SqliteScans};
use atcr_hold::scanning::ScanTable as _;
use atcr_scan_protocol::JobState;

use super::*;

#[tokio::test]
async fn what_failed_is_listed_with_its_reason_and_scanned_again_before_all_others() {
    let hold = start(true).await;
    let bad = push(&hold, "bad").await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let job = scanner.job().await;
    scanner.say(failure(&job, "media-type")).await;
    let good = push(&hold, "good").await;
    let job = scanner.job().await;
    scanner.say(original_result(&job.digest, 1)).await;
    let crew = hold.crew("sailor", &["blob:write"]).await;
    let waiting = push_by(&hold, &crew, "waiting").await;
    assert_eq!(scanner.job().await.digest, waiting);

    // Another process, which has opened the file beside the hold.
    let database = sqlite::open(&hold.settings.data_dir.join("hold.sqlite")).await;
    let table = SqliteScans::new(database.expect("opened"));
    let failed = table
        .jobs(&[JobState::Failed, JobState::Resting], 10)
        .await
        .unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (
            &failed[0].digest,
            failed[0].repository.as_str(),
            failed[0].tag.as_deref()
        ),
        (&bad, "app", Some("1.0"))
    );
    assert_eq!(
        (
            failed[0].status.failure_class.as_deref(),
            failed[0].status.failure.as_deref()
        ),
        (Some("media-type"), Some("it did not work"))
    );
    let all = [JobState::Running, JobState::Done, JobState::Failed];
    assert_eq!(table.jobs(&all, 10).await.unwrap().len(), 3);
    assert_eq!(table.jobs(&all, 2).await.unwrap().len(), 2);

    let now = SystemClock.now();
    assert_eq!(table.try_again(None, now, 10).await.unwrap(), 1, "what failed");
    assert_eq!(table.try_again(None, now, 10).await.unwrap(), 0);
    // Not what runs; what is done, if it is named.
    assert_eq!(table.try_again(Some(&waiting), now, 10).await.unwrap(), 0);
    assert_eq!(table.try_again(Some(&good), now, 10).await.unwrap(), 1);
    let theirs = push_by(&hold, &crew, "theirs").await;
    look_after(&hold).await;
    let mut other = FakeScanner::ours(&hold, 3).await;
    let jobs = [other.job().await.digest, other.job().await.digest];
    assert!(jobs.contains(&bad) && jobs.contains(&good), "{jobs:?}");
    assert_eq!(other.job().await.digest, theirs);
    // The last result stays until there is another.
    assert_eq!(told(&hold, &good).await["result"]["summary"]["high"], 1);
    hold.stop().await;
}

#[tokio::test]
async fn of_old_results_the_most_pulled_are_made_again_first_and_none_is_left_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let database = sqlite::open(&dir.path().join("hold.sqlite"))
        .await
        .expect("opened");
    let table = SqliteScans::new(database.clone());
    for (name, ended, pulls) in [
        ("oldest", 1, 0),
        ("loved", 3, 90),
        ("liked", 2, 7),
        ("young", 9, 100),
    ] {
        let rows = [
            format!(
                "INSERT INTO scan_jobs (digest, owner, repository, state, priority, queued_at, tries, ended_at)
                 VALUES ('{}', 'did:web:sailor.test', '{name}', 'done', 0, 0, 0, {ended})",
                digest_of(name)
            ),
            format!(
                "INSERT INTO counts (owner, repository, pulls, pushes, is_published)
                 VALUES ('did:web:sailor.test', '{name}', {pulls}, 1, 1)"
            ),
        ];
        for row in rows {
            let row = sqlx::query(sqlx::AssertSqlSafe(row));
            row.execute(database.writer()).await.expect("planted");
        }
    }
    let mut order = Vec::new();
    let at = |millis| chrono::DateTime::from_timestamp_millis(millis).unwrap();
    for round in 0..4 {
        if table.queue_again(at(5), 100, 1, at(10 + round)).await.unwrap() == 1 {
            let ready = table.jobs(&[JobState::Ready], 1).await.unwrap();
            order.push(ready[0].repository.clone());
        }
    }
    assert_eq!(order, ["loved", "liked", "oldest"]);
}
