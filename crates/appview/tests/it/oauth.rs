//! Signing in through the account's own server, and the sessions that come of it; the server is a fake that is strict about
//! proofs and fails on request.

use std::collections::HashMap;

use atcr_atproto::syntax::Did;
use atcr_sessions::oauth::{
    BrowserBinding, CallbackQuery, FinishedSignIn, FlowStart, OAuthFlowError, SignInFlow,
};
use atcr_test_support::fakes::{FakePds, PdsFault};
use chrono::TimeDelta;
use futures_util::future::join_all;
use url::Url;

use crate::harness::{Answer, TestAppView};

const APP: &str = "alice.test/app";

fn browser() -> BrowserBinding {
    BrowserBinding("this browser".to_owned())
}

fn start() -> FlowStart {
    FlowStart {
        return_to: "/settings".to_owned(),
        browser: browser(),
    }
}

fn callback(mut query: HashMap<String, String>) -> CallbackQuery {
    CallbackQuery {
        code: query.remove("code"),
        state: query.remove("state"),
        iss: query.remove("iss"),
        error: query.remove("error"),
        error_description: query.remove("error_description"),
    }
}

fn did(text: &str) -> Did {
    text.parse().unwrap()
}

/// The whole dance.
async fn sign_in(
    flow: &dyn SignInFlow,
    pds: &FakePds,
    handle: &str,
    did: &str,
) -> Result<FinishedSignIn, OAuthFlowError> {
    let url = flow.start(handle, start()).await?;
    let answer = pds.approve(url.as_str(), did).unwrap();
    flow.finish(callback(answer), &browser()).await
}

async fn alice_signed_in() -> TestAppView {
    let appview = TestAppView::start().await;
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    appview.pds.forget_calls();
    appview
}

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
async fn the_request_is_announced_with_pkce_a_hint_and_the_least_scopes() {
    let appview = TestAppView::start().await;
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(
        query.len(),
        2,
        "nothing but client_id and request_uri is in the browser's hands"
    );
    assert!(query["client_id"].starts_with("http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%3A"));
    let announced = appview.pds.announced(url.as_str()).unwrap();
    assert_eq!(announced["code_challenge_method"], "S256");
    assert_eq!(announced["login_hint"], "alice.test");
    assert_eq!(
        announced["redirect_uri"],
        format!("{}/auth/oauth/callback", appview.url)
    );
    let scope = &announced["scope"];
    assert!(
        scope.starts_with("atproto repo:io.atcr.manifest ") && !scope.contains("transition"),
        "{scope}"
    );
    assert!(
        scope.contains(" rpc:com.atproto.repo.getRecord?aud=* blob:application/vnd.oci."),
        "{scope}"
    );
}

#[tokio::test]
async fn a_server_without_granular_scopes_is_asked_for_the_coarse_one() {
    let appview = TestAppView::start().await;
    appview.pds.misbehave(|server| {
        server.known_scopes = Some(vec!["atproto".to_owned(), "transition:generic".to_owned()]);
    });
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let announced = appview.pds.announced(url.as_str()).unwrap();
    assert_eq!(announced["scope"], "atproto transition:generic");
    // It is remembered: the next sign-in is one request.
    appview.pds.forget_calls();
    appview.sign_in().start("alice.test", start()).await.unwrap();
    assert_eq!(appview.pds.count("oauth/par"), 1);
}

#[tokio::test]
async fn a_server_that_drops_scopes_is_asked_for_the_coarse_one_the_next_time() {
    let appview = TestAppView::start().await;
    appview
        .pds
        .misbehave(|server| server.granted_scope = Some("atproto".to_owned()));
    let error = sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap_err();
    assert!(matches!(error, OAuthFlowError::Denied { .. }), "{error}");
    assert_eq!(appview.pds.oauth_sessions(), 0, "what is of no use is given back");
    appview.pds.misbehave(|server| server.granted_scope = None);
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let announced = appview.pds.announced(url.as_str()).unwrap();
    assert_eq!(announced["scope"], "atproto transition:generic");
}

/// An AppView that asks for a permission set, at a server that grants `granted`.
async fn with_permission_set(granted: &str) -> TestAppView {
    let appview = TestAppView::start_with(|config| {
        "io.atcr.authFullApp".clone_into(&mut config.oauth.permission_set);
    })
    .await;
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let asked = appview.pds.announced(url.as_str()).unwrap()["scope"].clone();
    assert!(asked.contains("include:io.atcr.authFullApp"), "{asked}");
    let granted = asked.replace("include:io.atcr.authFullApp", granted);
    let granted = granted.split(' ').filter(|scope| !scope.is_empty());
    let granted = granted.collect::<Vec<_>>().join(" ");
    appview
        .pds
        .misbehave(|server| server.granted_scope = Some(granted));
    appview
}

#[tokio::test]
async fn a_permission_set_may_come_back_as_what_it_stands_for() {
    let appview = with_permission_set("repo:io.atcr.manifest repo:io.atcr.tag").await;
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}

#[tokio::test]
async fn a_server_that_drops_the_permission_set_is_asked_for_its_parts_the_next_time() {
    let appview = with_permission_set("").await;
    let error = sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, OAuthFlowError::Denied { reason, .. } if reason.contains("include:io.atcr.authFullApp")),
        "{error}"
    );
    assert_eq!(appview.pds.oauth_sessions(), 0);
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let asked = appview.pds.announced(url.as_str()).unwrap()["scope"].clone();
    assert!(
        asked.contains(" repo:io.atcr.manifest ") && !asked.contains("include:"),
        "{asked}"
    );
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

/// What an attacker may change in a callback, and what he gets.
async fn refused(change: impl FnOnce(&mut CallbackQuery, &mut BrowserBinding)) -> (OAuthFlowError, usize) {
    let appview = TestAppView::start().await;
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let mut query = callback(appview.pds.approve(url.as_str(), &appview.alice).unwrap());
    let mut browser = browser();
    change(&mut query, &mut browser);
    let error = appview.sign_in().finish(query, &browser).await.unwrap_err();
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    (error, appview.pds.count("oauth/code"))
}

#[tokio::test]
async fn a_callback_with_a_wrong_state_issuer_or_browser_is_refused_before_its_code_is_sent_anywhere() {
    let (error, codes) = refused(|query, _| query.state = Some("another".to_owned())).await;
    assert!(matches!(error, OAuthFlowError::NoSuchRequest) && codes == 0);
    let (error, codes) = refused(|query, _| query.state = None).await;
    assert!(matches!(error, OAuthFlowError::NoSuchRequest) && codes == 0);
    let (error, codes) = refused(|query, _| query.iss = Some("https://evil.example".to_owned())).await;
    assert!(matches!(error, OAuthFlowError::Untrusted { .. }) && codes == 0);
    let (error, codes) = refused(|query, _| query.iss = None).await;
    assert!(matches!(error, OAuthFlowError::Untrusted { .. }) && codes == 0);
    let (error, codes) = refused(|_, browser| browser.0 = "another browser".to_owned()).await;
    assert!(matches!(error, OAuthFlowError::OtherBrowser) && codes == 0);
}

#[tokio::test]
async fn a_replayed_callback_is_refused_here_and_leaves_the_session_alone() {
    let appview = TestAppView::start().await;
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let query = callback(appview.pds.approve(url.as_str(), &appview.alice).unwrap());
    appview.sign_in().finish(query.clone(), &browser()).await.unwrap();
    let error = appview.sign_in().finish(query, &browser()).await.unwrap_err();
    assert!(matches!(error, OAuthFlowError::NoSuchRequest));
    assert_eq!(appview.pds.count("oauth/code"), 1);
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}

#[tokio::test]
async fn a_code_of_another_sign_in_is_worthless() {
    let appview = TestAppView::start().await;
    let flow = appview.sign_in();
    let (mine, stolen) = (
        flow.start("alice.test", start()).await.unwrap(),
        flow.start("bob.test", start()).await.unwrap(),
    );
    let mut query = callback(appview.pds.approve(mine.as_str(), &appview.alice).unwrap());
    query.code = callback(appview.pds.approve(stolen.as_str(), &appview.bob).unwrap()).code;
    let error = flow.finish(query, &browser()).await.unwrap_err();
    assert!(matches!(error, OAuthFlowError::ServerRefused { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_signs_in_somebody_else_is_not_believed() {
    let appview = TestAppView::start().await;
    appview
        .pds
        .misbehave(|server| server.sub = Some("did:plc:bobtestaaaaaaaaaaaaaaaaa".to_owned()));
    let error = sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap_err();
    assert!(matches!(error, OAuthFlowError::Untrusted { .. }), "{error}");
    for account in [&appview.alice, &appview.bob] {
        assert!(!appview.sign_in().is_live(&did(account)).await.unwrap());
    }
    assert_eq!(appview.pds.oauth_sessions(), 0, "the tokens are given back");
}

#[tokio::test]
async fn a_server_in_charge_of_no_such_account_is_not_believed() {
    let appview = TestAppView::start().await;
    let other = FakePds::start().await.unwrap();
    let url = appview.sign_in().start("alice.test", start()).await.unwrap();
    let query = callback(appview.pds.approve(url.as_str(), &appview.alice).unwrap());
    appview.pds.move_account(&appview.alice, &other.url());
    let error = appview.sign_in().finish(query, &browser()).await.unwrap_err();
    assert!(matches!(error, OAuthFlowError::Untrusted { .. }), "{error}");
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}

#[tokio::test]
async fn a_server_that_calls_itself_otherwise_or_gives_bearer_tokens_is_not_used() {
    let appview = TestAppView::start().await;
    appview
        .pds
        .misbehave(|server| server.issuer = Some("https://other.example".to_owned()));
    let error = appview.sign_in().start("alice.test", start()).await.unwrap_err();
    assert!(matches!(error, OAuthFlowError::ServerRefused { .. }), "{error}");
    appview.pds.misbehave(|server| {
        server.issuer = None;
        server.bearer = true;
    });
    let error = sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap_err();
    assert!(matches!(error, OAuthFlowError::ServerRefused { .. }), "{error}");
    assert_eq!(appview.pds.oauth_sessions(), 0, "the tokens are given back");
}

#[tokio::test]
async fn a_refresh_that_brings_bearer_tokens_ends_the_session_and_gives_them_back() {
    let appview = alice_signed_in().await;
    appview.pds.misbehave(|server| server.bearer = true);
    appview.clock.advance(TimeDelta::hours(2));
    let sailor = appview.oauth_sailor(&appview.alice, &[APP]);
    let answer = sailor.try_push(APP, "v1", &appview.image("bearer")).await;
    answer.assert_error(401, "UNAUTHORIZED");
    assert!(
        answer.message().contains("not bound to a key"),
        "{}",
        answer.message()
    );
    assert_eq!(appview.pds.oauth_sessions(), 0);
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
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
    // From now on nobody asks the server.
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
async fn sessions_for_other_scopes_are_dropped_at_the_start() {
    let mut appview = alice_signed_in().await;
    appview.configure(|config| config.oauth.permission_set = "io.atcr.authFullApp".to_owned());
    appview.restart().await;
    assert!(
        !appview.sign_in().is_live(&did(&appview.alice)).await.unwrap(),
        "the client_id of a loopback client names its scopes"
    );
}

/// A confidential client; servers and browsers here do not mind that it is not at its address.
async fn confidential() -> TestAppView {
    let appview = TestAppView::start_with(|config| {
        "https://registry.example".clone_into(&mut config.server.base_url);
    })
    .await;
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    appview
}

#[tokio::test]
async fn a_confidential_clients_sessions_for_other_scopes_are_dropped_at_the_start() {
    let mut appview = confidential().await;
    appview.restart().await;
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    appview.configure(|config| config.oauth.permission_set = "io.atcr.authFullApp".to_owned());
    appview.restart().await;
    assert!(
        appview.sign_in().is_live(&did(&appview.alice)).await.unwrap(),
        "it is among the steps still"
    );
    // A session of the step that is asked for no more.
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    appview.configure(|config| config.oauth.permission_set = String::new());
    appview.restart().await;
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
}

#[tokio::test]
async fn sessions_of_another_client_key_are_dropped_at_the_start() {
    let mut appview = confidential().await;
    appview.restart().await;
    assert!(appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
    appview.stop().await;
    std::fs::remove_file(appview.data().join("data/oauth/client.key")).unwrap();
    appview.restart().await;
    assert!(!appview.sign_in().is_live(&did(&appview.alice)).await.unwrap());
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

#[tokio::test]
async fn a_public_client_has_documents_without_a_key() {
    let appview = TestAppView::start().await;
    let answer = Answer::of(appview.get("/oauth-client-metadata.json")).await;
    answer.assert_status(200);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.json()["token_endpoint_auth_method"], "none");
    let keys = Answer::of(appview.get("/oauth-jwks.json")).await;
    assert_eq!(keys.json(), serde_json::json!({ "keys": [] }));
}

#[tokio::test]
async fn a_confidential_client_publishes_its_key_and_keeps_it() {
    let mut appview = TestAppView::start_with(|config| {
        config.server.base_url = "https://registry.example".to_owned();
    })
    .await;
    let answer = Answer::of(appview.get("/oauth-client-metadata.json")).await;
    let document = answer.json();
    assert_eq!(
        document["client_id"],
        "https://registry.example/oauth-client-metadata.json"
    );
    assert_eq!(
        document["redirect_uris"][0],
        "https://registry.example/auth/oauth/callback"
    );
    assert_eq!(document["token_endpoint_auth_method"], "private_key_jwt");
    assert_eq!(document["token_endpoint_auth_signing_alg"], "ES256");
    assert_eq!(document["dpop_bound_access_tokens"], true);
    assert_eq!(document["application_type"], "web");
    let key = &document["jwks"]["keys"][0];
    assert!(key["kid"].as_str().unwrap().starts_with("did:key:zDn"), "{key}");
    assert!(key.get("d").is_none(), "the private part stays here");
    assert_eq!(
        Answer::of(appview.get("/client-metadata.json")).await.json(),
        document
    );
    assert_eq!(
        Answer::of(appview.get("/oauth-jwks.json")).await.json(),
        document["jwks"]
    );
    let file = std::fs::metadata(appview.data().join("data/oauth/client.key")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.permissions());
    assert_eq!(mode & 0o777, 0o600);
    appview.restart().await;
    assert_eq!(
        Answer::of(appview.get("/oauth-client-metadata.json"))
            .await
            .json(),
        document
    );
}
