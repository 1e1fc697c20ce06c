//! Scanners that leave, come back, or do not survive an image.

use atcr_hold::adapters::sqlite;

use super::*;

#[tokio::test]
async fn a_result_that_cannot_be_read_is_a_failure_of_its_job_alone() {
    let hold = start(true).await;
    let poison = push(&hold, "poison").await;
    let good = push(&hold, "good").await;
    let mut scanner = FakeScanner::ours(&hold, 2).await;
    let (first, second) = (scanner.job().await, scanner.job().await);
    assert_eq!((&first.digest, &second.digest), (&poison, &good));
    scanner
        .say(json!({ "type": "scan_result", "seq": first.seq, "digest": poison, "summary": { "total": -1 } }))
        .await;
    let view = told(&hold, &poison).await;
    assert_eq!(
        (&view["job"]["state"], &view["job"]["failure"]["class"]),
        (&json!("resting"), &json!("result"))
    );
    assert_eq!(job_state(&hold, &good).await, "running");
    hold.stop().await;
}

#[tokio::test]
async fn a_scanner_that_keeps_breaking_off_fails_none_of_the_jobs_that_it_had_beside_others() {
    let hold = start(true).await;
    let mut images = Vec::new();
    for number in 0..3 {
        images.push(push(&hold, &format!("image {number}")).await);
    }
    for _ in 0..5 {
        let mut scanner = FakeScanner::ours(&hold, 3).await;
        scanner.settle().await;
        scanner.leave().await;
    }
    for image in &images {
        let view = told(&hold, image).await;
        assert_eq!(
            (&view["job"]["state"], &view["job"]["tries"]),
            (&json!("resting"), &json!(1))
        );
    }
    hold.stop().await;
}

#[tokio::test]
async fn the_end_of_an_old_connection_takes_no_job_from_the_scanner_that_is_back() {
    let hold = start(true).await;
    let digest = push(&hold, "image").await;
    let mut old = FakeScanner::ours(&hold, 1).await;
    let job = old.job().await;
    let mut back = FakeScanner::connect(&hold, "?workers=1&cursor=-1", Some(SECRET))
        .await
        .unwrap();
    back.say(json!({ "type": "scan_progress", "seq": job.seq, "digest": digest, "stage": "layers" }))
        .await;
    old.leave().await;
    let view = told(&hold, &digest).await;
    assert_eq!(
        (&view["job"]["state"], &view["job"]["tries"]),
        (&json!("running"), &json!(0))
    );
    back.leave().await;
    assert_eq!(job_state(&hold, &digest).await, "resting");
    hold.stop().await;
}

/// An original scanner whose two jobs were given to another, which has done them.
async fn overtaken(hold: &TestHold) -> (FakeScanner, [Digest; 2]) {
    let images = [push(hold, "slow").await, push(hold, "slower").await];
    let mut original = FakeScanner::original(hold).await;
    let mut other = FakeScanner::connect(hold, "?workers=2&cursor=-1", Some(SECRET))
        .await
        .unwrap();
    for job in [original.hear().await, original.hear().await] {
        other
            .say(json!({ "type": "scan_release", "seq": job["seq"], "digest": job["digest"] }))
            .await;
    }
    other.leave().await;
    let mut other = FakeScanner::ours(hold, 2).await;
    for job in [other.job().await, other.job().await] {
        other.say(failure(&job, "tool")).await;
    }
    other.leave().await;
    (original, images)
}

#[tokio::test]
async fn a_late_result_without_a_number_frees_the_place_of_its_job() {
    let hold = start(true).await;
    let (mut original, images) = overtaken(&hold).await;
    for image in &images {
        original.say(original_result(image, 1)).await;
    }
    let next = push(&hold, "next").await;
    let jobs = original.settle().await;
    assert_eq!(jobs.first().map(|job| &job.digest), Some(&next));
    hold.stop().await;
}

#[tokio::test]
async fn jobs_that_others_have_take_no_place_for_long() {
    let hold = start(true).await;
    let hold = hold
        .restart(|settings| settings.scanning.ping_interval = Duration::from_millis(20))
        .await;
    let mut original = FakeScanner::original(&hold).await;
    for name in ["slow", "slower"] {
        push(&hold, name).await;
        original.hear().await;
    }
    // As when another has got them.
    let database = sqlite::open(&hold.data_dir().join("hold.sqlite")).await.unwrap();
    sqlx::query("UPDATE scan_jobs SET holder = 0, seq = seq + 1000000")
        .execute(database.writer())
        .await
        .unwrap();
    let next = push(&hold, "next").await;
    let job = tokio::time::timeout(PATIENCE, original.job()).await;
    assert_eq!(job.expect("a job").digest, next);
    hold.stop().await;
}

#[tokio::test]
async fn a_place_is_free_again_after_a_result_that_cannot_be_read_and_word_of_a_job_that_is_anothers() {
    let hold = start(true).await;
    let poison = push(&hold, "poison").await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let job = scanner.job().await;
    let next = push(&hold, "next").await;
    let mut jobs = scanner
        .say(json!({ "type": "scan_result", "seq": job.seq, "digest": poison, "summary": { "total": -1 } }))
        .await;
    let job = jobs.pop().expect("the next one");
    assert_eq!(job.digest, next);
    // Given back in its name, and done by another.
    let mut other = FakeScanner::connect(&hold, "?workers=1&cursor=-1", Some(SECRET))
        .await
        .unwrap();
    other
        .say(json!({ "type": "scan_release", "seq": job.seq, "digest": next }))
        .await;
    other.leave().await;
    let mut other = FakeScanner::ours(&hold, 1).await;
    let given = other.job().await;
    other.say(failure(&given, "tool")).await;
    other.leave().await;
    let last = push(&hold, "last").await;
    let jobs = scanner
        .say(json!({ "type": "scan_progress", "seq": job.seq, "digest": next, "stage": "layers" }))
        .await;
    assert_eq!(jobs.first().map(|job| &job.digest), Some(&last));
    hold.stop().await;
}

#[tokio::test]
async fn a_word_about_another_image_or_anothers_job_changes_nothing() {
    let hold = start(true).await;
    let digest = push(&hold, "image").await;
    let mut holder = FakeScanner::ours(&hold, 1).await;
    let job = holder.job().await;
    let mut stranger = FakeScanner::ours(&hold, 1).await;
    stranger
        .say(json!({ "type": "scan_release", "seq": job.seq, "digest": digest_of("another") }))
        .await;
    assert_eq!(job_state(&hold, &digest).await, "running");
    let unreadable =
        json!({ "type": "scan_result", "seq": job.seq, "digest": digest, "summary": { "total": -1 } });
    let end = stranger.provoke(unreadable.to_string()).await;
    assert_eq!(end, Some(CloseCode::Policy));
    let view = told(&hold, &digest).await;
    assert_eq!(
        (&view["job"]["state"], &view["job"]["tries"]),
        (&json!("running"), &json!(0))
    );
    hold.stop().await;
}

#[tokio::test]
async fn a_scanner_with_a_job_that_was_lost_before_gets_no_other_one_beside_it() {
    let hold = start(true).await.restart(without_rests).await;
    let poison = push(&hold, "poison").await;
    let mut scanner = FakeScanner::ours(&hold, 2).await;
    scanner.job().await;
    scanner.leave().await;
    look_after(&hold).await;
    let mut scanner = FakeScanner::ours(&hold, 2).await;
    let job = scanner.job().await;
    assert_eq!(job.digest, poison);
    let next = push(&hold, "next").await;
    assert!(scanner.settle().await.is_empty());
    let jobs = scanner.say(failure(&job, "tool")).await;
    assert_eq!(jobs.first().map(|job| &job.digest), Some(&next));
    hold.stop().await;
}

#[tokio::test]
async fn a_scanner_that_answers_no_ping_loses_its_job() {
    let hold = start(true).await;
    let hold = hold
        .restart(|settings| {
            without_rests(settings);
            settings.scanning.ping_interval = Duration::from_millis(20);
            settings.scanning.pong_within = Duration::from_millis(100);
        })
        .await;
    let digest = push(&hold, "image").await;
    let mut silent = FakeScanner::ours(&hold, 1).await;
    silent.job().await;
    // Nobody reads its socket, so nobody answers.
    let is_lost = async { while job_state(&hold, &digest).await == "running" {} };
    tokio::time::timeout(PATIENCE, is_lost).await.expect("lost");
    hold.stop().await;
}

#[tokio::test]
async fn a_scanner_that_waits_hears_of_a_job_that_lapsed_without_asking() {
    let hold = start(true).await;
    let hold = hold
        .restart(|settings| {
            quick(settings);
            settings.scanning.ping_interval = Duration::from_hours(1);
        })
        .await;
    let digest = push(&hold, "image").await;
    let mut silent = FakeScanner::ours(&hold, 1).await;
    silent.job().await;
    let mut other = FakeScanner::ours(&hold, 1).await;
    assert!(other.settle().await.is_empty());
    look_after(&hold).await;
    let job = tokio::time::timeout(PATIENCE, other.job()).await;
    assert_eq!(job.expect("a job").digest, digest);
    hold.stop().await;
}
