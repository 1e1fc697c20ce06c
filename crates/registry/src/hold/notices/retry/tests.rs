use atcr_atproto::pds::PdsFailure;
use atcr_atproto::syntax::Did;

use super::*;

fn hold() -> Did {
    "did:web:hold.example.com".parse().unwrap()
}

#[test]
fn what_may_pass_is_tried_again_and_a_decision_is_not() {
    let message = || String::from("x");
    let verdict_on = |error: HoldError| verdict(&error.of(&hold()));
    let session_ended = AccessError::SessionEnded { sentence: message() };
    assert!(matches!(verdict(&session_ended.into()), Sent::Refused));
    for error in [
        HoldError::Refused { message: message() },
        HoldError::Forbidden { message: message() },
        HoldError::QuotaExceeded { message: message() },
    ] {
        assert!(matches!(verdict_on(error.clone()), Sent::Refused), "{error}");
    }
    for error in [
        HoldError::Failed { message: message() },
        HoldError::TimedOut,
        HoldError::Unreachable { reason: message() },
        HoldError::Unresolvable { reason: message() },
        HoldError::Malformed { what: "a list" },
    ] {
        assert!(
            matches!(verdict_on(error.clone()), Sent::HoldFails(None)),
            "{error}"
        );
    }
    let retry_after = Duration::from_secs(7);
    let limited = verdict_on(HoldError::Busy { retry_after });
    assert!(matches!(limited, Sent::HoldFails(Some(wait)) if wait == retry_after));
    assert!(matches!(verdict_on(HoldError::Unauthorized), Sent::NotYet));
    let silent_pds = PdsFailure::Timeout { host: message() };
    assert!(matches!(verdict(&silent_pds.into()), Sent::NotYet));
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_ten_minutes_and_are_no_shorter_than_asked_for() {
    let mut backoff = Backoff::default();
    assert!(backoff.is_over());
    let mut pauses = Vec::new();
    for _ in 0..40 {
        backoff.fail(None);
        assert!(!backoff.is_over());
        pauses.push((backoff.until.unwrap() - Instant::now()).as_secs());
    }
    assert_eq!(pauses[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]);
    assert!(pauses[10..].iter().all(|pause| *pause == 600));
    let mut backoff = Backoff::default();
    backoff.fail(Some(Duration::from_secs(90)));
    assert_eq!(backoff.until.unwrap() - Instant::now(), Duration::from_secs(90));
    tokio::time::advance(Duration::from_secs(90)).await;
    assert!(backoff.is_over());
}
