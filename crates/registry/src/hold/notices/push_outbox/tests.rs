use super::*;

fn hold() -> Did {
    "did:web:hold.example.com".parse().unwrap()
}

fn failed(status: u16) -> RegistryError {
    RegistryError::HoldFailed {
        hold: hold(),
        status,
        reason: String::new(),
    }
}

#[test]
fn what_may_pass_is_tried_again_and_a_decision_is_not() {
    let reason = || String::from("x");
    for error in [
        failed(400),
        failed(404),
        failed(501),
        RegistryError::HoldForbidden {
            hold: hold(),
            reason: reason(),
        },
        RegistryError::QuotaExceeded {
            hold: hold(),
            reason: reason(),
        },
        RegistryError::session_ended(),
    ] {
        assert!(matches!(verdict(&error), Sent::Refused), "{error}");
    }
    for error in [
        failed(500),
        failed(502),
        failed(503),
        RegistryError::HoldTimeout { hold: hold() },
        RegistryError::HoldUnreachable {
            hold: hold(),
            reason: reason(),
        },
        RegistryError::HoldUnresolvable {
            hold: hold(),
            reason: reason(),
        },
    ] {
        assert!(matches!(verdict(&error), Sent::HoldFails(None)), "{error}");
    }
    let limited = RegistryError::HoldRateLimited {
        hold: hold(),
        retry_after: Duration::from_secs(7),
    };
    assert!(matches!(verdict(&limited), Sent::HoldFails(Some(wait)) if wait == Duration::from_secs(7)));
    for error in [
        RegistryError::HoldUnauthorized {
            hold: hold(),
            reason: reason(),
        },
        RegistryError::PdsTimeout { host: reason() },
    ] {
        assert!(matches!(verdict(&error), Sent::NotYet), "{error}");
    }
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
