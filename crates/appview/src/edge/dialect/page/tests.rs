use std::time::Duration;

use atcr_sessions::SessionError;
use atcr_sessions::oauth::OAuthFlowError as Flow;

use super::{PageError, rendering, sentence};
use atcr_server::rate_limit::Limited;

#[test]
fn every_error_has_its_status() {
    let host = || "pds.example".to_owned();
    let reason = || "why".to_owned();
    let limited = Limited {
        retry_after: Duration::from_secs(90),
    };
    for (error, status) in [
        (PageError::NotFound, 404),
        (PageError::SignInFirst, 401),
        (PageError::OtherSite, 403),
        (PageError::Refused("No."), 400),
        (PageError::Limited(limited), 429),
        (
            Flow::UnknownAccount {
                name: host(),
                reason: reason(),
            }
            .into(),
            422,
        ),
        (
            Flow::ServerUnavailable {
                host: host(),
                reason: reason(),
            }
            .into(),
            502,
        ),
        (
            Flow::ServerRefused {
                host: host(),
                reason: reason(),
            }
            .into(),
            502,
        ),
        (
            Flow::Denied {
                host: host(),
                reason: reason(),
            }
            .into(),
            403,
        ),
        (Flow::NoSuchRequest.into(), 400),
        (Flow::OtherBrowser.into(), 400),
        (
            Flow::Untrusted {
                host: host(),
                reason: reason(),
            }
            .into(),
            400,
        ),
        (
            Flow::ClockSkew {
                host: host(),
                seconds: 400,
            }
            .into(),
            502,
        ),
        (SessionError::internal("secret detail").into(), 500),
        (SessionError::app_password_session_ended().into(), 401),
    ] {
        let rendering = rendering(&error);
        assert_eq!(rendering.status.as_u16(), status, "{error:?}");
        assert!(!rendering.text.contains("secret detail"), "{error:?}");
        assert!(rendering.text.ends_with('.'), "{error:?}");
    }
}

#[test]
fn sentences_stand_alone() {
    assert_eq!(sentence("the server fails"), "The server fails.");
    assert_eq!(sentence("Really?"), "Really?");
}
