//! A sign-in from its start to its end.

use atcr_sessions::oauth::{FinishedSignIn, OAuthFlowError};
use atcr_test_support::fakes::PdsFault;
use chrono::TimeDelta;

use super::{APP, alice_signed_in, browser, callback, did, sign_in, start};
use crate::harness::TestAppView;

#[tokio::test]
async fn a_sign_in_ends_in_a_session_a_profile_and_a_push() {
    let appview = TestAppView::start().await;
    let finished = sign_in(appview.sign_in(), &appview.pds, "@Alice.test ", &appview.alice)
        .await
        .unwrap();
    assert_eq!(
        finished,
        FinishedSignIn {
            did: did(&appview.alice),
            handle: Some("alice.test".to_owned()),
            return_to: "/settings".to_owned(),
        }
    );
    assert!(appview.sign_in().is_live(&finished.did).await.unwrap());
    let profile = appview
        .pds
        .record(&appview.alice, "io.atcr.sailor.profile", "self");
    assert!(profile.is_some(), "the first sign-in made a profile");
    let alice = appview.oauth_sailor(&appview.alice, &[APP]);
    alice.push(APP, "v1", &appview.image("oauth")).await;
}

#[tokio::test]
async fn a_manifest_of_any_type_is_within_the_scopes_and_keeps_its_type() {
    let appview = alice_signed_in().await;
    let alice = appview.oauth_sailor(&appview.alice, &[APP]);
    let kind = "application/vnd.example.thing.v1+json";
    let manifest = appview.image_with("another type", |image| {
        image.media_type = kind.parse().unwrap();
    });
    alice.push(APP, "v1", &manifest).await;
    let answer = alice.get(&format!("/v2/{APP}/manifests/v1")).await;
    answer.assert_status(200);
    assert_eq!(answer.header("content-type"), kind);
}

#[tokio::test]
async fn a_no_of_the_user_is_told_in_the_servers_words() {
    let appview = TestAppView::start().await;
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let answer = appview.pds.deny(url.as_str()).unwrap();
    let error = appview
        .sign_in()
        .finish(callback(answer), &browser())
        .await
        .unwrap_err();
    assert!(matches!(&error, OAuthFlowError::Denied { reason, .. } if reason == "the user said no"));
}

#[tokio::test]
async fn a_sign_in_that_took_too_long_has_to_be_begun_again() {
    let appview = TestAppView::start().await;
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let query = callback(appview.pds.approve(url.as_str(), &appview.alice).unwrap());
    appview.clock.advance(TimeDelta::minutes(16));
    let error = appview.sign_in().finish(query, &browser()).await.unwrap_err();
    assert!(matches!(error, OAuthFlowError::NoSuchRequest));
}

#[tokio::test]
async fn an_unknown_name_and_a_silent_server_are_told_apart() {
    let appview = TestAppView::start().await;
    for name in ["nobody.test", "not a handle", ""] {
        let error = appview.sign_in().start(name, start()).await.unwrap_err();
        assert!(
            matches!(error, OAuthFlowError::UnknownAccount { .. }),
            "{name}: {error}"
        );
    }
    appview
        .pds
        .set_fault("oauth/par", Some(PdsFault::Status(503, "Unavailable")));
    let error = appview.sign_in().start("alice.test", start()).await.unwrap_err();
    assert!(
        matches!(error, OAuthFlowError::ServerUnavailable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_clock_that_is_off_is_named_whichever_way() {
    let appview = TestAppView::start().await;
    for offset in [300, -300] {
        appview.pds.misbehave(|server| {
            server.token_error = Some("invalid_client".to_owned());
            server.date_offset = offset;
        });
        let error = sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
            .await
            .unwrap_err();
        let OAuthFlowError::ClockSkew { seconds, .. } = error else {
            panic!("{error}");
        };
        // This clock minus that one.
        assert!((seconds + offset).abs() <= 10, "{seconds}");
    }
}
