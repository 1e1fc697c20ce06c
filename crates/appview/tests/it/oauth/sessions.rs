//! Sessions at work: renewed, ended, moved, kept.

use atcr_test_support::fakes::{FakePds, PdsFault};
use chrono::TimeDelta;
use futures_util::future::join_all;
use url::Url;

use super::{APP, alice_signed_in, browser, callback, did, sign_in, start};

#[tokio::test]
async fn sessions_and_open_sign_ins_outlive_a_restart() {
    let mut appview = alice_signed_in().await;
    let url = appview.sign_in().start("bob.test", start()).await.unwrap();
    appview.restart().await;
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    let query = callback(appview.pds.approve(url.as_str(), &appview.bob).unwrap());
    appview.sign_in().finish(query, &browser()).await.unwrap();
    assert!(appview.sign_in().is_live(&did(&appview.bob)).await.unwrap());
}

#[tokio::test]
async fn fifty_pushes_with_an_expired_access_token_are_one_refresh() {
    let appview = alice_signed_in().await;
    let alice = appview.oauth_sailor(&appview.alice, &[APP]);
    let images: Vec<_> = (0..50).map(|n| appview.image(&format!("image {n}"))).collect();
    let tags: Vec<String> = (0..50).map(|n| format!("v{n}")).collect();
    appview.pds.expire_oauth_access_tokens();
    let pushes = images
        .iter()
        .zip(&tags)
        .map(|(image, tag)| alice.push(APP, tag, image));
    join_all(pushes).await;
    assert_eq!(appview.pds.count("oauth/refresh"), 1);
}

#[tokio::test]
async fn a_token_about_to_expire_is_renewed_before_it_is_used_and_nobody_waits_twice() {
    let appview = alice_signed_in().await;
    let alice = did(&appview.alice);
    appview
        .clock
        .advance(TimeDelta::minutes(59) + TimeDelta::seconds(30));
    let live = join_all((0..50).map(|_| appview.sign_in().is_live(&alice))).await;
    assert!(live.into_iter().all(Result::unwrap));
    assert_eq!(appview.pds.count("oauth/refresh"), 1);
}

#[tokio::test]
async fn two_processes_on_one_database_spend_a_refresh_token_once() {
    let appview = alice_signed_in().await;
    let second = appview.second().await;
    let alice = did(&appview.alice);
    // Both have the session in memory.
    assert!(second.sign_in.is_live(&alice).await.unwrap());
    assert!(appview.sign_in().is_live(&alice).await.unwrap());
    for round in 1..=3 {
        appview.clock.advance(TimeDelta::hours(2));
        let calls = (0..20).map(|n| {
            let flow = if n % 2 == 0 {
                &*second.sign_in
            } else {
                appview.sign_in()
            };
            flow.is_live(&alice)
        });
        assert!(join_all(calls).await.into_iter().all(Result::unwrap));
        assert_eq!(appview.pds.count("oauth/refresh"), round);
    }
}

#[tokio::test]
async fn nonces_that_change_cost_a_request_and_nothing_else() {
    let appview = alice_signed_in().await;
    let alice = appview.oauth_sailor(&appview.alice, &[APP]);
    alice.push(APP, "v1", &appview.image("one")).await;
    appview.pds.rotate_nonce();
    alice.push(APP, "v2", &appview.image("two")).await;
    appview.pds.rotate_nonces_always();
    alice.push(APP, "v3", &appview.image("three")).await;
    appview.clock.advance(TimeDelta::hours(2));
    appview.pds.rotate_nonce();
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    assert_eq!(appview.pds.count("oauth/refresh"), 1);
}

#[tokio::test]
async fn a_session_that_the_server_ended_says_where_to_sign_in_again() {
    let appview = alice_signed_in().await;
    let alice = appview.oauth_sailor(&appview.alice, &[APP]);
    appview.pds.end_oauth_sessions();
    let answer = alice.try_push(APP, "v1", &appview.image("ended")).await;
    answer.assert_error(401, "UNAUTHORIZED");
    let place = format!("sign in again at {}/auth/oauth/login", appview.url);
    assert!(answer.message().ends_with(&place), "{}", answer.message());
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    // From now on no call goes to the server.
    appview.pds.forget_calls();
    let answer = alice.try_push(APP, "v1", &appview.image("ended")).await;
    answer.assert_error(401, "UNAUTHORIZED");
    assert!(answer.message().ends_with(&place), "{}", answer.message());
    assert_eq!(appview.pds.count("oauth/refresh"), 0);
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    alice.push(APP, "v1", &appview.image("ended")).await;
}

#[tokio::test]
async fn a_server_that_is_down_ends_no_session() {
    let mut appview = alice_signed_in().await;
    let alice = did(&appview.alice);
    appview.clock.advance(TimeDelta::hours(2));
    appview
        .pds
        .set_fault("oauth/refresh", Some(PdsFault::Status(500, "Down")));
    assert!(appview.sign_in().is_live(&alice).await.is_err());
    let sailor = appview.oauth_sailor(&appview.alice, &[APP]);
    let answer = sailor.try_push(APP, "v1", &appview.image("down")).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    appview.pds.set_fault("oauth/refresh", None);
    assert!(appview.sign_in().is_live(&alice).await.unwrap());
    appview.clock.advance(TimeDelta::hours(2));
    appview.pds.stop().await;
    assert!(appview.sign_in().is_live(&alice).await.is_err());
    appview.pds.resume().await.unwrap();
    assert!(appview.sign_in().is_live(&alice).await.unwrap());
}

#[tokio::test]
async fn an_account_that_moved_away_is_signed_out_with_the_reason() {
    let appview = alice_signed_in().await;
    let other = FakePds::start().await.unwrap();
    appview.pds.move_account(&appview.alice, &other.url());
    appview.clock.advance(TimeDelta::hours(2));
    let sailor = appview.oauth_sailor(&appview.alice, &[APP]);
    let answer = sailor.try_push(APP, "v1", &appview.image("moved")).await;
    answer.assert_error(401, "UNAUTHORIZED");
    let message = answer.message();
    let host = Url::parse(&other.url()).unwrap();
    let host = format!("127.0.0.1:{}", host.port().unwrap());
    assert!(
        message.contains(&format!("the account has moved to {host}")),
        "{message}"
    );
    assert!(message.contains("/auth/oauth/login"), "{message}");
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}

#[tokio::test]
async fn signing_out_gives_the_tokens_back_and_forgets_them_even_if_the_server_is_down() {
    let mut appview = alice_signed_in().await;
    let alice = did(&appview.alice);
    assert_eq!(appview.pds.oauth_sessions(), 1);
    appview.sign_in().end(&alice).await.unwrap();
    assert_eq!(appview.pds.oauth_sessions(), 0);
    assert!(!appview.sign_in().is_live(&alice).await.unwrap());
    appview.sign_in().end(&alice).await.unwrap();

    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    appview.pds.stop().await;
    appview.sign_in().end(&alice).await.unwrap();
    appview.pds.resume().await.unwrap();
    assert!(!appview.sign_in().is_live(&alice).await.unwrap());
}

#[tokio::test]
async fn a_second_sign_in_takes_the_place_of_the_first_and_a_failed_one_does_not() {
    let mut appview = alice_signed_in().await;
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    appview
        .pds
        .misbehave(|server| server.granted_scope = Some("atproto".to_owned()));
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap_err();
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    // What is done behind the sign-in's back is done when the process has stopped.
    appview.stop().await;
    assert_eq!(
        appview.pds.oauth_sessions(),
        1,
        "the first session was given back"
    );
}

#[tokio::test]
async fn a_clock_that_is_off_at_a_refresh_is_named_and_ends_no_session() {
    for (offset, seconds) in [(300_i64, "-"), (-300, "")] {
        let appview = alice_signed_in().await;
        appview.clock.advance(TimeDelta::hours(2));
        appview.pds.misbehave(|server| {
            server.token_error = Some("invalid_client".to_owned());
            // This clock is two hours ahead of the fake's already.
            server.date_offset = offset + 2 * 3600;
        });
        let sailor = appview.oauth_sailor(&appview.alice, &[APP]);
        let answer = sailor.try_push(APP, "v1", &appview.image("skew")).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        let message = answer.message();
        assert!(message.contains("differs from its own by"), "{message}");
        assert_eq!(message.contains("by -"), seconds == "-", "{message}");
        appview.pds.misbehave(|server| {
            server.token_error = None;
            server.date_offset = 0;
        });
        assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    }
}

#[tokio::test]
async fn nothing_of_a_session_can_be_read_on_disk() {
    let mut appview = alice_signed_in().await;
    appview.sign_in().start("bob.test", start()).await.unwrap();
    appview.stop().await;
    let database = std::fs::read(appview.data().join("data/ui.db")).unwrap();
    let contains = |needle: &str| {
        database
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
    };
    assert!(contains(&appview.alice), "the session is there");
    for needle in [
        "oauth-access-",
        "oauth-refresh-",
        "code_verifier",
        "this browser",
        "dpop_key",
    ] {
        assert!(!contains(needle), "{needle} can be read");
    }
}
