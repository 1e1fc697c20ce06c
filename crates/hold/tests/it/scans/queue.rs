//! Who gets which job, and what becomes of it when a scanner or the hold goes away.

use super::*;

#[tokio::test]
async fn jobs_go_to_whoever_has_room_the_captains_first_then_the_oldest() {
    let hold = start(true).await;
    let crew = hold.crew("sailor", &["blob:write"]).await;
    let theirs = push_by(&hold, &crew, "theirs").await;
    let first = push(&hold, "first").await;
    let second = push(&hold, "second").await;
    let mut one = FakeScanner::ours(&hold, 1).await;
    assert_eq!(one.job().await.digest, first);
    assert!(one.settle().await.is_empty(), "one worker, one job");
    let mut two = FakeScanner::ours(&hold, 2).await;
    assert_eq!(two.job().await.digest, second);
    let last = two.job().await;
    assert_eq!((&last.digest, &last.user_did), (&theirs, &crew.did));
    // The same image of another owner waits for the result, and has it then.
    push_by(&hold, &crew, "first").await;
    let mut three = FakeScanner::ours(&hold, 1).await;
    assert!(three.settle().await.is_empty());
    one.say(original_result(&first, 1)).await;
    assert!(three.settle().await.is_empty());
    assert_eq!(job_state(&hold, &first).await, "done");
    hold.stop().await;
}

#[tokio::test]
async fn a_scanner_that_leaves_loses_its_jobs_and_what_it_says_later_is_passed_over() {
    let hold = start(true).await.restart(without_rests).await;
    let digest = push(&hold, "image").await;
    let mut first = FakeScanner::ours(&hold, 1).await;
    let lost = first.job().await;
    let mut second = FakeScanner::ours(&hold, 1).await;
    assert!(second.settle().await.is_empty());
    first.leave().await;
    look_after(&hold).await;
    let job = second.job().await;
    assert_eq!(job.digest, digest);
    assert!(job.seq > lost.seq);
    // Back again, with what it found for the time that is over.
    let mut first = FakeScanner::ours(&hold, 1).await;
    let mut stale = original_result(&digest, 9);
    stale["seq"] = lost.seq.into();
    stale["sbom"] = Value::Null;
    first.say(stale.clone()).await;
    assert_eq!(job_state(&hold, &digest).await, "running");
    stale["seq"] = job.seq.into();
    stale["summary"]["high"] = 2.into();
    stale["summary"]["total"] = 2.into();
    second.say(stale).await;
    assert_eq!(told(&hold, &digest).await["result"]["summary"]["high"], 2);
    hold.stop().await;
}

#[tokio::test]
async fn a_scanner_that_comes_back_before_another_has_its_job_delivers() {
    let hold = start(true).await;
    let digest = push(&hold, "image").await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let job = scanner.job().await;
    scanner.leave().await;
    // It wants new ones only, so it gets the job not again.
    let mut scanner = FakeScanner::connect(&hold, "?workers=1&cursor=-1", Some(SECRET))
        .await
        .unwrap();
    let mut result = original_result(&digest, 1);
    result["seq"] = job.seq.into();
    scanner.say(result).await;
    assert_eq!(job_state(&hold, &digest).await, "done");
    hold.stop().await;
}

#[tokio::test]
async fn a_scanner_that_is_silent_loses_its_job_when_the_lease_ends() {
    let hold = start(true).await.restart(quick).await;
    push(&hold, "image").await;
    let mut silent = FakeScanner::ours(&hold, 1).await;
    let first = silent.job().await;
    let mut other = FakeScanner::ours(&hold, 1).await;
    look_after(&hold).await;
    let second = other.job().await;
    assert_eq!(second.digest, first.digest);
    assert!(second.seq > first.seq);
    drop(other);
    hold.stop().await;
}

#[tokio::test]
async fn what_a_scanner_says_about_its_job_is_told() {
    let hold = start(true).await;
    let digest = push(&hold, "image").await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let job = scanner.job().await;
    scanner
        .say(json!({ "type": "scan_progress", "seq": job.seq, "digest": digest, "stage": "layers" }))
        .await;
    hold.hold.scanning().look_after().await.unwrap();
    let view = told(&hold, &digest).await;
    assert_eq!(
        (&view["job"]["state"], &view["job"]["stage"]),
        (&json!("running"), &json!("layers"))
    );
    hold.stop().await;
}

#[tokio::test]
async fn a_job_that_scanners_do_not_survive_is_given_up_and_a_push_tries_it_again() {
    let hold = start(true).await.restart(without_rests).await;
    let digest = push(&hold, "poison").await;
    for round in 0..5 {
        look_after(&hold).await;
        assert_eq!(job_state(&hold, &digest).await, "ready", "{round}");
        let mut scanner = FakeScanner::ours(&hold, 1).await;
        scanner.job().await;
        scanner.leave().await;
    }
    let view = told(&hold, &digest).await;
    assert_eq!(
        (&view["job"]["state"], &view["job"]["failure"]["class"]),
        (&json!("failed"), &json!("lost"))
    );
    push(&hold, "poison").await;
    assert_eq!(job_state(&hold, &digest).await, "ready");
    hold.stop().await;
}

#[tokio::test]
async fn a_job_that_is_given_back_waits_again_and_counts_no_try() {
    let hold = start(true).await;
    let digest = push(&hold, "image").await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    for _ in 0..7 {
        let job = scanner.job().await;
        let release = json!({ "type": "scan_release", "seq": job.seq, "digest": digest }).to_string();
        scanner.socket.send(Message::text(release)).await.unwrap();
    }
    assert_eq!(scanner.job().await.digest, digest);
    assert_eq!(told(&hold, &digest).await["job"]["tries"], 0);
    hold.stop().await;
}

#[tokio::test]
async fn a_hold_goes_on_after_a_restart_in_each_state() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 3).await;
    let mut jobs = Vec::new();
    let (running, resting, found) = (
        push(&hold, "running").await,
        push(&hold, "resting").await,
        push(&hold, "found").await,
    );
    for _ in 0..3 {
        jobs.push(scanner.job().await);
    }
    let job = |digest: &Digest| jobs.iter().find(|job| job.digest == *digest).unwrap();
    scanner.say(failure(job(&resting), "fetch")).await;
    let mut result = original_result(&found, 1);
    result["seq"] = job(&found).seq.into();
    result["sbom"] = Value::Null;
    result["vulnReport"] = Value::Null;
    let more = scanner.say(result).await;
    assert!(more.is_empty());
    // Its scanner hears that the hold stops, and keeps working.
    let hold = hold.restart(|_| ()).await;
    let waiting = push(&hold, "waiting").await;
    assert_eq!(job_state(&hold, &running).await, "running");
    assert_eq!(job_state(&hold, &resting).await, "resting");
    assert!(scan_record(&hold, &found).await.is_some());
    let mut scanner = FakeScanner::ours(&hold, 3).await;
    assert_eq!(scanner.job().await.digest, waiting);
    assert!(scanner.settle().await.is_empty());
    let mut result = original_result(&running, 4);
    result["seq"] = job(&running).seq.into();
    result["sbom"] = Value::Null;
    result["vulnReport"] = Value::Null;
    scanner.say(result).await;
    assert_eq!(scan_record(&hold, &running).await.unwrap()["value"]["high"], 4);
    hold.stop().await;
}

#[tokio::test]
async fn old_results_are_made_again_when_scanners_have_nothing_else_to_do() {
    let hold = start(true).await;
    let hold = hold
        .restart(|settings| settings.scanning.rescan_interval = Some(Duration::from_millis(1)))
        .await;
    let digest = push(&hold, "image").await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let job = scanner.job().await;
    scanner.say(failure(&job, "tool")).await;
    assert_eq!(job_state(&hold, &digest).await, "failed");
    let again = loop {
        hold.hold.scanning().look_after().await.unwrap();
        if let Some(job) = scanner.settle().await.pop() {
            break job;
        }
    };
    assert_eq!((again.digest, again.priority), (digest, 100));
    hold.stop().await;
}

#[tokio::test]
async fn many_jobs_over_two_scanners_that_keep_leaving_are_each_done_once() {
    const JOBS: usize = 300;
    let hold = start(true).await.restart(without_rests).await;
    let crew = hold.crew("sailor", &["blob:write"]).await;
    let mut waiting = std::collections::BTreeSet::new();
    for number in 0..JOBS {
        waiting.insert(push_by(&hold, &crew, &format!("image {number}")).await);
    }
    let mut accepted = 0;
    for round in 0.. {
        if waiting.is_empty() {
            break;
        }
        assert!(round < 10 * JOBS, "{} are left", waiting.len());
        look_after(&hold).await;
        let mut leaving = FakeScanner::ours(&hold, 4).await;
        let mut staying = FakeScanner::ours(&hold, 4).await;
        let mut got = staying.settle().await;
        // The other may have been quicker.
        leaving.settle().await;
        leaving.leave().await;
        look_after(&hold).await;
        got.extend(staying.settle().await);
        while let Some(job) = got.pop() {
            let result = json!({
                "type": "scan_result", "seq": job.seq, "digest": job.digest, "summary": { "total": 0 },
            });
            got.extend(staying.say(result).await);
            accepted += 1;
            assert!(waiting.remove(&job.digest), "twice: {}", job.digest);
            if accepted % 50 == 0 {
                break;
            }
        }
        staying.leave().await;
    }
    assert_eq!(accepted, JOBS);
    hold.stop().await;
}

#[tokio::test]
async fn old_results_are_not_made_again_while_a_job_waits_or_no_scanner_has_room() {
    let hold = start(true).await;
    let hold = hold
        .restart(|settings| settings.scanning.rescan_interval = Some(Duration::from_millis(1)))
        .await;
    let old = push(&hold, "old").await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let job = scanner.job().await;
    scanner.say(failure(&job, "tool")).await;
    let is_again = async || {
        hold.advance(chrono::TimeDelta::seconds(1));
        hold.hold.scanning().look_after().await.unwrap();
        job_state(&hold, &old).await != "failed"
    };
    push(&hold, "running").await;
    let running = scanner.job().await;
    assert!(!is_again().await, "there is no room");
    let waiting = push(&hold, "waiting").await;
    let only_new = FakeScanner::connect(&hold, "?workers=3&cursor=-1", Some(SECRET))
        .await
        .unwrap();
    assert_eq!(job_state(&hold, &waiting).await, "ready");
    assert!(!is_again().await, "a job waits");
    only_new.leave().await;
    let waiting = scanner.say(failure(&running, "tool")).await.pop().expect("a job");
    assert!(!is_again().await, "there is no room");
    scanner.say(failure(&waiting, "tool")).await;
    assert!(is_again().await);
    hold.stop().await;
}

#[tokio::test]
async fn an_image_that_could_not_be_scanned_is_forgotten_after_a_month() {
    let hold = start(true).await;
    let digest = push(&hold, "image").await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let job = scanner.job().await;
    scanner.say(failure(&job, "too-large")).await;
    // Whoever has nothing else to do would try it again.
    scanner.leave().await;
    for (days, state) in [(29, "failed"), (2, "none")] {
        hold.advance(chrono::TimeDelta::days(days));
        hold.hold.scanning().look_after().await.unwrap();
        assert_eq!(job_state(&hold, &digest).await, state, "{days} more days");
    }
    hold.stop().await;
}
