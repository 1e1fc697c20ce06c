//! Signing in and out, against a registry that can misbehave.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use atcr_credential_helper::appview::{AppView, AppViewError, DeviceCode};
use atcr_credential_helper::clock::Clock;
use atcr_credential_helper::device_flow::{DeviceFlowError, await_approval};
use serde_json::{Value, json};

use super::fake_appview::{Answer, FakeAppView, approved, pending};
use super::home::{ALICE, BOB, Home, config};

fn alice() -> Answer {
    approved(ALICE.0, ALICE.1, "atcr_device_new_alice")
}

#[test]
fn a_headless_login_shows_address_and_code_and_keeps_the_account() {
    let appview = FakeAppView::with_polls([pending(), alice()]);
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
    insta::assert_snapshot!(appview.redact(&run.to_string()));
    assert_eq!(
        appview.asked_of("/auth/device/code")[0].body,
        r#"{"device_name":"laptop"}"#
    );
    let run = home.run(&["get"], &appview.host());
    assert!(
        run.stdout
            .contains(r#""Username":"alice.test","Secret":"atcr_device_new_alice""#),
        "{run}"
    );
    assert_eq!(home.mode(".atcr/config.json"), 0o600);
}

#[test]
fn a_login_in_json_has_two_lines_on_standard_output() {
    let appview = FakeAppView::with_polls([alice()]);
    let home = Home::new();
    let run = home.run(&["login", &appview.host(), "--json", "--device-name", "ci"], "");
    assert_eq!(run.code, 0, "{run}");
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(&appview.redact(line)).unwrap())
        .collect();
    insta::assert_json_snapshot!(lines);
    assert!(
        !run.to_string().contains("atcr_device_new"),
        "the secret is shown nowhere"
    );
}

#[test]
fn login_can_make_docker_use_it_at_once() {
    let appview = FakeAppView::with_polls([alice()]);
    let home = Home::new();
    home.write_program("bin/docker-credential-atcr", "");
    let run = home.run(&["login", &appview.host(), "--configure-docker"], "");
    assert_eq!(run.code, 0, "{run}");
    let docker: Value = serde_json::from_str(&home.read(".docker/config.json")).unwrap();
    assert_eq!(docker["credHelpers"][appview.host()], "atcr");
}

#[test]
fn a_denied_login_keeps_nothing() {
    let appview = FakeAppView::with_polls([Answer::json(400, json!({"error": "access_denied"}))]);
    let home = Home::new();
    let run = home.run(
        &["login", &appview.host(), "--no-browser", "--device-name", "x"],
        "",
    );
    insta::assert_snapshot!(appview.redact(&run.to_string()));
    assert!(!home.exists(".atcr/config.json"));
}

#[test]
fn an_expired_code_says_what_to_do() {
    let appview = FakeAppView::with_polls([Answer::json(200, json!({"error": "expired_token"}))]);
    let home = Home::new();
    let run = home.run(&["login", &appview.host(), "--no-browser"], "");
    assert_eq!(run.code, 1);
    assert!(
        run.stderr
            .ends_with("error: the code has expired\nhint: run login again and approve within ten minutes\n"),
        "{run}"
    );
}

#[test]
fn what_is_no_registry_is_called_that() {
    let appview = FakeAppView::start();
    let home = Home::new();
    let run = home.run(&["login", &appview.host(), "--no-browser"], "");
    insta::assert_snapshot!(appview.redact(&run.to_string()));
    let run = home.run(&["login", "http://registry.example"], "");
    insta::assert_snapshot!("plain_http", run);
    let run = home.run(&["login", "not a registry"], "");
    assert_eq!(run.code, 1, "{run}");
}

#[test]
fn a_second_account_becomes_active_and_the_first_stays() {
    let appview = FakeAppView::with_polls([alice()]);
    let home = Home::new();
    home.run(&["login", &appview.host(), "--no-browser"], "");
    appview.on(
        "/auth/device/token",
        [approved(BOB.0, BOB.1, "atcr_device_new_bob")],
    );
    home.run(&["login", &appview.host(), "--no-browser"], "");
    let get = || home.run(&["get"], &appview.host()).stdout;
    assert!(get().contains("bob.test"));
    let run = home.run(&["switch"], "");
    assert_eq!(run.code, 0, "{run}");
    assert!(get().contains("alice.test"));
}

#[test]
fn signing_in_again_ends_the_device_that_is_replaced_also_under_a_new_handle() {
    let appview = FakeAppView::with_polls([approved("alice.renamed.test", ALICE.1, "atcr_device_new_alice")]);
    let home = Home::with_config(&config(&appview.url(), &[ALICE]));
    let run = home.run(&["login", &appview.host(), "--no-browser"], "");
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(
        appview.asked_of("/auth/device/revoke")[0].body,
        r#"{"device_secret":"atcr_device_of_alice.test"}"#
    );
    let text = home.read(".atcr/config.json");
    assert!(
        text.contains("alice.renamed.test") && !text.contains("\"alice.test\""),
        "{text}"
    );
}

#[test]
fn an_account_whose_handle_does_not_resolve_is_kept_under_its_did() {
    let appview = FakeAppView::with_polls([approved("handle.invalid", ALICE.1, "atcr_device_new_alice")]);
    let home = Home::new();
    home.run(&["login", &appview.host(), "--no-browser"], "");
    let run = home.run(&["get"], &appview.host());
    assert!(
        run.stdout.contains(&format!("\"Username\":\"{}\"", ALICE.1)),
        "{run}"
    );
}

#[test]
fn a_token_in_the_environment_that_hides_the_sign_in_is_warned_of() {
    let appview = FakeAppView::with_polls([alice()]);
    let mut home = Home::new();
    home.set("ATCR_REGISTRY", appview.host());
    home.set("ATCR_USERNAME", "ci.test");
    home.set("ATCR_TOKEN", "pw");
    let run = home.run(&["login", "--no-browser"], "");
    assert!(run.stderr.contains("takes precedence over this sign-in"), "{run}");
}

#[test]
fn another_sites_sign_in_page_is_warned_of() {
    let appview = FakeAppView::with_polls([alice()]);
    appview.on(
        "/auth/device/code",
        [Answer::json(
            200,
            json!({"device_code": "d", "user_code": "ABCD-1234", "verification_uri": "https://elsewhere.example/device", "interval": 1}),
        )],
    );
    let run = Home::new().run(&["login", &appview.host(), "--no-browser"], "");
    assert!(run.stderr.contains("warning: "), "{run}");
    assert!(run.stderr.contains("sends you to another site"), "{run}");
}

#[test]
fn garbage_is_refused_before_it_is_shown_or_kept() {
    let code = |user_code: &str, uri: &str| {
        Answer::json(
            200,
            json!({"device_code": "d", "user_code": user_code, "verification_uri": uri, "interval": 1}),
        )
    };
    let page = "https://atcr.io/device";
    for answer in [
        code("AB\u{1b}[2J", page),
        code("", page),
        code("ABCD-1234", "http://atcr.io/device"),
        code("ABCD-1234", "file:///etc/passwd"),
        code("ABCD-1234", "javascript:alert(1)"),
        code("ABCD-1234", "https://atcr.io/device;touch x"),
        code("ABCD-1234", "https://atcr.io@evil.example/"),
        code("ABCD-1234", "https://atcr.io/\u{1b}[2J"),
        code("ABCD-1234", "--help"),
        Answer::bytes(200, "<html>"),
        Answer::bytes(302, "").header("location", "https://elsewhere.example/"),
    ] {
        let appview = FakeAppView::with_polls([alice()]);
        appview.on("/auth/device/code", [answer]);
        let run = Home::new().run(&["login", &appview.host(), "--no-browser"], "");
        assert_eq!(run.code, 1, "{run}");
        assert!(!run.stderr.contains('\u{1b}'), "{run}");
        assert!(appview.asked_of("/auth/device/token").is_empty());
    }
    for answer in [
        approved(ALICE.0, "alice", "atcr_device_x"),
        approved(ALICE.0, ALICE.1, ""),
        approved(ALICE.0, ALICE.1, &"x".repeat(5000)),
        approved(ALICE.0, ALICE.1, "atcr_device_x\nHost: evil"),
        approved("alice\r\n.test", ALICE.1, "atcr_device_x"),
        approved("alice", ALICE.1, "atcr_device_x"),
        Answer::json(200, json!({})),
        Answer::json(400, json!({"error": "something_new"})),
    ] {
        let appview = FakeAppView::with_polls([answer]);
        let home = Home::new();
        let run = home.run(&["login", &appview.host(), "--no-browser"], "");
        assert_eq!(run.code, 1, "{run}");
        assert!(!home.exists(".atcr/config.json"));
    }
}

/// Time that passes only by waiting.
struct ManualClock {
    start: Instant,
    waits: RefCell<Vec<Duration>>,
}

impl ManualClock {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            waits: RefCell::default(),
        }
    }

    fn waited_secs(&self) -> Vec<u64> {
        self.waits.borrow().iter().map(Duration::as_secs).collect()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.start + self.waits.borrow().iter().sum::<Duration>()
    }

    fn sleep(&self, duration: Duration) {
        self.waits.borrow_mut().push(duration);
    }
}

fn poll(answers: impl IntoIterator<Item = Answer>) -> (Result<String, DeviceFlowError>, Vec<u64>) {
    let appview = FakeAppView::with_polls(answers);
    let code = DeviceCode {
        device_code: "device-code-1".to_owned().into(),
        user_code: "ABCD-1234".to_owned(),
        verification_uri: String::new(),
        verification_uri_complete: None,
        expires_in: Duration::from_mins(1),
        interval: Duration::from_secs(5),
    };
    let clock = ManualClock::new();
    let client = AppView::new(&appview.host().parse().unwrap());
    let outcome = await_approval(&client, &code, &clock).map(|login| login.did);
    (outcome, clock.waited_secs())
}

#[test]
fn slow_down_lengthens_every_later_wait_by_five_seconds() {
    let slow_down = || Answer::json(400, json!({"error": "slow_down"}));
    let (outcome, waits) = poll([pending(), slow_down(), pending(), slow_down(), alice()]);
    assert_eq!(outcome.unwrap(), ALICE.1);
    assert_eq!(waits, [5, 5, 10, 10, 15]);
}

#[test]
fn a_rate_limit_is_waited_out_as_long_as_it_says() {
    let limited = Answer::bytes(429, "").header("retry-after", "17");
    let (outcome, waits) = poll([limited, alice()]);
    assert_eq!(outcome.unwrap(), ALICE.1);
    assert_eq!(waits, [5, 17]);
}

#[test]
fn a_registry_that_restarts_meanwhile_is_waited_for() {
    let down = || Answer::bytes(503, "");
    let (outcome, _) = poll([down(), down(), pending(), down(), alice()]);
    assert_eq!(outcome.unwrap(), ALICE.1);
}

#[test]
fn pending_is_understood_with_whichever_status_a_registry_says_it() {
    let word = |status| Answer::json(status, json!({"error": "authorization_pending"}));
    let (outcome, _) = poll([
        word(200),
        word(202),
        word(400),
        word(401),
        word(403),
        word(404),
        word(428),
        word(429),
        Answer::bytes(202, ""),
        Answer::bytes(204, ""),
        Answer::bytes(428, "precondition required"),
        alice(),
    ]);
    assert_eq!(outcome.unwrap(), ALICE.1);
}

#[test]
fn the_end_of_a_flow_is_understood_with_whichever_status_a_registry_says_it() {
    for status in [200, 400, 401, 403, 410] {
        let (outcome, _) = poll([Answer::json(status, json!({"error": "access_denied"}))]);
        assert!(
            matches!(outcome, Err(DeviceFlowError::Denied)),
            "{status}: {outcome:?}"
        );
        let (outcome, _) = poll([Answer::json(status, json!({"error": "expired_token"}))]);
        assert!(
            matches!(outcome, Err(DeviceFlowError::Expired)),
            "{status}: {outcome:?}"
        );
    }
}

#[test]
fn an_account_in_an_answer_that_refuses_is_not_taken() {
    let body = json!({"device_secret": "atcr_device_x", "handle": ALICE.0, "did": ALICE.1});
    let (outcome, _) = poll([Answer::json(403, body)]);
    assert!(
        matches!(
            outcome,
            Err(DeviceFlowError::AppView(AppViewError::Refused {
                status: 403,
                ..
            }))
        ),
        "{outcome:?}"
    );
}

#[test]
fn polling_ends_when_the_code_does() {
    let (outcome, waits) = poll([pending()]);
    assert!(matches!(outcome, Err(DeviceFlowError::Expired)), "{outcome:?}");
    assert_eq!(waits.iter().sum::<u64>(), 60);
}

#[test]
fn a_refusal_in_plain_words_ends_polling() {
    let (outcome, waits) = poll([Answer::json(403, json!({"error": "nope", "message": "go away"}))]);
    match outcome {
        Err(DeviceFlowError::AppView(AppViewError::Refused { status, message, .. })) => {
            assert_eq!((status, message.as_str()), (403, "go away"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(waits.len(), 1);
}
