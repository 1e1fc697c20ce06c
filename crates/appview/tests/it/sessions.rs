//! Sessions with PDSes: kept, renewed, ended.

use atcr_appview::adapters::sqlite::open_durable;
use chrono::TimeDelta;
use futures_util::future::join_all;
use http::Method;

use crate::harness::{Answer, PASSWORD, TestAppView};

const APP: &str = "alice.test/app";

#[tokio::test]
async fn a_restart_signs_nobody_out() {
    let mut appview = TestAppView::start().await;
    let image = appview.image("restart");
    let token = appview.sailor("alice.test", &[APP]).await.token;
    appview.restart().await;
    appview.pds.forget_calls();
    let path = format!("/v2/{APP}/manifests/v1");
    let push = appview
        .request(Method::PUT, &path)
        .bearer_auth(&token)
        .body(image.bytes().clone());
    Answer::of(push).await.assert_status(201);
    assert_eq!(appview.pds.count("com.atproto.server.createSession"), 0);
    assert_eq!(appview.pds.count("com.atproto.server.refreshSession"), 0);
}

#[tokio::test]
async fn ten_layers_are_one_login() {
    let appview = TestAppView::start().await;
    let scope = format!("repository:{APP}:pull,push");
    let scopes = [scope.as_str()];
    let tokens = join_all((0..10).map(|_| appview.token_response("alice.test", PASSWORD, &scopes))).await;
    assert!(tokens.iter().all(|answer| answer.status == 200));
    assert_eq!(appview.pds.count("com.atproto.server.createSession"), 1);
}

#[tokio::test]
async fn an_expired_access_token_is_renewed_once_for_all_who_need_it() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let images: Vec<_> = (0..8).map(|n| appview.image(&format!("renew {n}"))).collect();
    appview.pds.expire_access_tokens();
    appview.pds.forget_calls();
    let tags: Vec<String> = (0..8).map(|n| format!("v{n}")).collect();
    let pushes = images
        .iter()
        .zip(&tags)
        .map(|(image, tag)| alice.push(APP, tag, image));
    join_all(pushes).await;
    assert_eq!(appview.pds.count("com.atproto.server.refreshSession"), 1);
    assert_eq!(appview.pds.count("com.atproto.server.createSession"), 0);
}

#[tokio::test]
async fn a_token_about_to_expire_is_renewed_before_it_is_used() {
    let appview = TestAppView::start().await;
    appview.token("alice.test", &[]).await;
    appview.clock.advance(TimeDelta::hours(3));
    appview.pds.set_access_lifetime(6 * 3600);
    appview.pds.forget_calls();
    let alice = appview.sailor("alice.test", &[APP]).await;
    alice.push(APP, "v1", &appview.image("early")).await;
    assert_eq!(appview.pds.count("com.atproto.server.refreshSession"), 1);
}

#[tokio::test]
async fn a_renewed_session_outlives_a_restart() {
    let mut appview = TestAppView::start().await;
    let token = appview.sailor("alice.test", &[APP]).await.token;
    appview.pds.expire_access_tokens();
    for (tag, restart) in [("v1", true), ("v2", false)] {
        let image = appview.image(tag);
        let path = format!("/v2/{APP}/manifests/{tag}");
        let push = appview
            .request(Method::PUT, &path)
            .bearer_auth(&token)
            .body(image.bytes().clone());
        Answer::of(push).await.assert_status(201);
        if restart {
            appview.restart().await;
        }
    }
    assert_eq!(appview.pds.count("com.atproto.server.refreshSession"), 1);
}

#[tokio::test]
async fn a_renewed_session_that_cannot_be_written_is_used() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let database = open_durable(&appview.data().join("data/ui.db")).await.unwrap();
    let fill = sqlx::query(
        "CREATE TRIGGER full BEFORE UPDATE ON pds_session BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
    );
    fill.execute(database.writer()).await.unwrap();
    appview.pds.expire_access_tokens();
    for tag in ["v1", "v2"] {
        alice.push(APP, tag, &appview.image(tag)).await;
    }
    assert_eq!(appview.pds.count("com.atproto.server.refreshSession"), 1);
    let empty = sqlx::query("DROP TRIGGER full");
    empty.execute(database.writer()).await.unwrap();
    appview.pds.expire_access_tokens();
    alice.push(APP, "v3", &appview.image("v3")).await;
    assert_eq!(appview.pds.count("com.atproto.server.refreshSession"), 2);
}

#[tokio::test]
async fn an_ended_session_asks_for_a_sign_in_and_a_sign_in_helps() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    appview.pds.end_sessions();
    let image = appview.image("ended");
    let answer = alice.try_push(APP, "v1", &image).await;
    answer.assert_error(401, "UNAUTHORIZED");
    assert!(answer.message().contains("sign in again"), "{}", answer.message());
    // The password was verified a moment ago, but there is no session behind it any more.
    let alice = appview.sailor("alice.test", &[APP]).await;
    assert_eq!(appview.pds.count("com.atproto.server.createSession"), 2);
    alice.push(APP, "v1", &image).await;
}

#[tokio::test]
async fn sessions_are_sealed_on_disk() {
    let mut appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    alice.push(APP, "v1", &appview.image("sealed")).await;
    appview.stop().await;
    let database = std::fs::read(appview.data().join("data/ui.db")).unwrap();
    let contains = |needle: &str| {
        database
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
    };
    assert!(contains("alice"), "the session is there");
    assert!(
        !contains("access.ey") && !contains("refresh.ey"),
        "and no token can be read in it"
    );
}
