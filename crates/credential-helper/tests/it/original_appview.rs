//! The whole of a sign-in at an appview of the original implementation, which answers in other words than this project's.

use serde_json::Value;

use super::fake_appview::FakeAppView;
use super::home::{ALICE, Home};

/// Random bytes in base64url, without a prefix.
const SECRET: &str = "3q2-7wVkbk0c3q2-7wVkbk0c3q2-7wVkbk0c3q2-7w8";

#[test]
fn a_device_secret_without_our_prefix_is_a_device_all_the_same() {
    let appview = FakeAppView::original(SECRET);
    let home = Home::new();
    let run = home.run(
        &[
            "login",
            &appview.host(),
            "--no-browser",
            "--device-name",
            "laptop",
        ],
        "",
    );
    assert_eq!(run.code, 0, "{run}");
    let kept: Value = serde_json::from_str(&home.read(".atcr/config.json")).unwrap();
    let account = &kept["registries"][appview.url()]["accounts"][ALICE.0];
    assert_eq!(account["device_secret"], SECRET);
    assert!(account.get("app_password").is_none(), "{account}");

    let run = home.run(&["get"], &appview.host());
    assert!(
        run.stdout
            .contains(&format!(r#""Username":"{}","Secret":"{SECRET}""#, ALICE.0)),
        "{run}"
    );
    let run = home.run(&["status"], "");
    assert_eq!(run.code, 0, "{run}");
    assert!(
        run.stdout.contains("signed in by device") && run.stdout.contains("works"),
        "{run}"
    );
}

#[test]
fn docker_login_that_hands_the_device_secret_back_does_not_make_an_app_password_of_it() {
    let appview = FakeAppView::original(SECRET);
    let home = Home::new();
    home.run(&["login", &appview.host(), "--no-browser"], "");
    let before = home.read(".atcr/config.json");
    let back = serde_json::json!({"ServerURL": appview.host(), "Username": ALICE.0, "Secret": SECRET});
    let run = home.run(&["store"], &back.to_string());
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(home.read(".atcr/config.json"), before);
    // docker logout sets a device aside, and deletes an app password.
    let run = home.run(&["erase"], &appview.host());
    assert!(run.stderr.contains("is set aside"), "{run}");
}

#[test]
fn signing_out_where_the_registry_has_no_call_for_it_says_where_to_revoke_the_device() {
    let appview = FakeAppView::original(SECRET);
    let home = Home::new();
    home.run(&["login", &appview.host(), "--no-browser"], "");
    let run = home.run(&["logout"], "");
    assert_eq!(run.code, 0, "{run}");
    insta::assert_snapshot!(appview.redact(&run.to_string()));
}
