//! Device secrets of another server: a helper keeps one after an operator has replaced the original server with this one.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::harness::{PASSWORD, TestAppView};

const CREATE_SESSION: &str = "com.atproto.server.createSession";

#[tokio::test]
async fn a_device_secret_of_another_server_goes_to_no_account_server_and_counts_as_no_guess() {
    let appview = TestAppView::start().await;
    let random = [0xa7_u8; 32];
    let hex = "a7".repeat(32);
    let plain = URL_SAFE_NO_PAD.encode(random);
    let secrets = [
        format!("atcr_device_{plain}"),
        format!("atcr_device_{hex}"),
        plain,
        STANDARD.encode(random),
        hex,
    ];
    let host = appview.url.trim_start_matches("http://");
    let sentence = format!("this device is no longer signed in; run docker-credential-atcr login {host}");
    // Ten wrong passwords are the limit.
    for secret in secrets.iter().cycle().take(25) {
        let answer = appview.token_response("alice.test", secret, &[]).await;
        answer.assert_error(401, "UNAUTHORIZED");
        assert_eq!(answer.message(), sentence, "{secret}");
    }
    assert_eq!(appview.pds.count(CREATE_SESSION), 0);
    appview
        .token_response("alice.test", PASSWORD, &[])
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_long_password_of_a_person_is_no_device_secret() {
    let appview = TestAppView::start().await;
    for password in [
        "correct horse battery staple, and a few words more to make it long",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        &"z".repeat(64),
    ] {
        let before = appview.pds.count(CREATE_SESSION);
        appview
            .token_response("bob.test", password, &[])
            .await
            .assert_error(401, "UNAUTHORIZED");
        assert_eq!(appview.pds.count(CREATE_SESSION), before + 1, "{password}");
    }
}
