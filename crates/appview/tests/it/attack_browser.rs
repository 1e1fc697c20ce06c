//! Attacks on people with a browser: each test is one.

use http::Method;

use crate::browser::{Browser, wait_for_approval};
use crate::harness::{Answer, PASSWORD, TestAppView, open_captain};

/// Every request that changes something by a session's cookie.
async fn changing_requests(appview: &TestAppView, browser: &Browser<'_>) -> Vec<(Method, String)> {
    browser.device("laptop").await;
    let id = browser.device_ids().await.remove(0);
    let waiting = wait_for_approval(appview, "waiting").await;
    vec![
        (
            Method::POST,
            format!("/device/approve?user_code={}&approve=true", waiting.user_code),
        ),
        (Method::POST, format!("/settings/devices/{id}/revoke")),
        (Method::POST, "/settings/sign-out-everywhere".to_owned()),
        (Method::DELETE, format!("/api/devices/{id}")),
        (Method::POST, "/auth/logout".to_owned()),
    ]
}

#[tokio::test]
async fn requests_from_other_sites_change_nothing() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let token = browser.csrf_token().await;
    let requests = changing_requests(&appview, &browser).await;
    let own = appview.url.as_str();
    let elsewhere: [&[(&str, &str)]; 8] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", own), ("sec-fetch-site", "cross-site")],
        &[
            ("origin", "http://127.0.0.1:1"),
            ("sec-fetch-site", "same-origin"),
        ],
    ];
    for (method, path) in &requests {
        for headers in elsewhere {
            let mut request = appview
                .request(method.clone(), path)
                .header("x-csrf-token", &token);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = browser.send(request).await;
            assert_eq!(answer.status, 403, "{method} {path} with {headers:?}");
        }
    }
    assert_eq!(browser.device_ids().await.len(), 1);
}

#[tokio::test]
async fn a_form_without_the_sessions_own_token_changes_nothing() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let bob = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    let (alices, bobs) = (browser.csrf_token().await, bob.csrf_token().await);
    let (_, cookie) = browser.cookie("atcr_session").unwrap();
    assert_ne!(alices, bobs);
    for (method, path) in changing_requests(&appview, &browser).await {
        for token in ["", "x", bobs.as_str(), &alices[1..], cookie.as_str()] {
            let request = appview
                .request(method.clone(), &path)
                .header("origin", &appview.url)
                .header("sec-fetch-site", "same-origin")
                .form(&[("csrf_token", token)]);
            assert_eq!(
                browser.send(request).await.status,
                403,
                "{method} {path} {token:?}"
            );
        }
    }
    assert_eq!(browser.device_ids().await.len(), 1);
}

#[tokio::test]
async fn no_link_signs_anybody_in_or_out_or_approves_anything() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let waiting = wait_for_approval(&appview, "laptop").await;
    let sign_ins = appview.pds.oauth_sessions();
    let form = browser
        .get("/auth/oauth/authorize?handle=bob.test&return_to=%2Fsettings")
        .await;
    form.assert_status(200);
    assert!(form.text().contains("value=\"bob.test\""));
    for path in [
        "/auth/logout".to_owned(),
        format!("/device/approve?user_code={}&approve=true", waiting.user_code),
    ] {
        browser.get(&path).await.assert_status(405);
    }
    browser
        .get(&format!("/device?user_code={}&approve=true", waiting.user_code))
        .await
        .assert_status(200);
    assert!(browser.device_ids().await.is_empty());
    assert_eq!(appview.pds.oauth_sessions(), sign_ins);
    browser.get("/settings").await.assert_status(200);
}

#[tokio::test]
async fn a_sign_in_does_not_lead_to_other_sites() {
    let appview = TestAppView::start().await;
    for place in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/.//evil.example",
        "javascript:alert(1)",
        "/auth/oauth/login?return_to=//evil.example",
        "%2f%2fevil.example",
    ] {
        let browser = Browser::new(&appview);
        let finished = browser.sign_in("alice.test", &appview.alice, place).await;
        finished.assert_status(303);
        assert_eq!(finished.header("location"), "/", "{place:?}");
    }
}

#[tokio::test]
async fn somebody_elses_sign_in_is_not_finished_in_this_browser() {
    let appview = TestAppView::start().await;
    // Bob begins, approves, and sends Alice the link that finishes it: Alice would push into Bob's account.
    let (bob, alice) = (Browser::new(&appview), Browser::new(&appview));
    let link = bob.approved("bob.test", &appview.bob, "/").await;
    alice.get(&link).await.assert_status(400);
    assert!(alice.cookie("atcr_session").is_none());

    // Also when she is on her way herself.
    let link = bob.approved("bob.test", &appview.bob, "/").await;
    let hers = alice.approved("alice.test", &appview.alice, "/settings").await;
    alice.get(&link).await.assert_status(400);
    assert!(alice.cookie("atcr_session").is_none());
    // It is spoilt for Bob too: a state is good once.
    bob.get(&link).await.assert_status(400);
    alice.get(&hers).await.assert_status(303);
    let settings = alice.get("/settings").await.text();
    assert!(settings.contains("alice.test") && !settings.contains("bob.test"));
}

#[tokio::test]
async fn a_callback_is_good_once_and_only_as_it_was_given() {
    let appview = TestAppView::start().await;
    let browser = Browser::new(&appview);
    let callback = browser.approved("alice.test", &appview.alice, "/").await;
    for forged in [
        "/auth/oauth/callback".to_owned(),
        "/auth/oauth/callback?code=x&state=y&iss=z".to_owned(),
        "/auth/oauth/callback?error=access_denied".to_owned(),
    ] {
        browser.get(&forged).await.assert_status(400);
    }
    browser.get(&callback).await.assert_status(303);
    let again = browser.get(&callback).await;
    again.assert_status(400);
    assert!(!again.has_header("set-cookie"));
}

#[tokio::test]
async fn a_planted_cookie_does_not_become_a_session() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let (name, before) = browser.cookie("atcr_session").unwrap();
    browser
        .sign_in("alice.test", &appview.alice, "/")
        .await
        .assert_status(303);
    let (_, after) = browser.cookie("atcr_session").unwrap();
    assert_ne!(before, after);
    let planted = Browser::new(&appview);
    planted.set_cookie(&name, &before);
    planted.get("/settings").await.assert_status(303);

    let request = appview
        .get("/settings")
        .header("cookie", format!("{name}={after}; {name}={after}"));
    Answer::of(request).await.assert_status(303);
}

#[tokio::test]
async fn one_kind_of_secret_is_none_of_another() {
    let appview = TestAppView::start().await;
    appview.hold.office().set_captain(open_captain());
    let browser = Browser::alice(&appview).await;
    let (name, cookie) = browser.cookie("atcr_session").unwrap();
    let device = browser.device("laptop").await;
    let waiting = wait_for_approval(&appview, "waiting").await;
    let registry = appview
        .token("alice.test", &["repository:alice.test/app:pull,push"])
        .await;
    let csrf = browser.csrf_token().await;
    // What the account's server gave for a hold; it is no secret of ours to give.
    let sailor = appview.sailor("alice.test", &["alice.test/app"]).await;
    let image = appview.image("crew");
    sailor.push("alice.test/app", "v1", &image).await;
    let service = appview.hold.office().crew().remove(0);
    let service = service.strip_prefix("Bearer ").unwrap();

    for secret in [
        device.as_str(),
        &registry,
        &waiting.device_code,
        &csrf,
        PASSWORD,
        service,
    ] {
        let request = appview
            .get("/settings")
            .header("cookie", format!("{name}={secret}"));
        Answer::of(request).await.assert_status(303);
        let request = appview.get("/api/devices").bearer_auth(secret);
        Answer::of(request).await.assert_status(401);
    }
    for secret in [device.as_str(), &cookie, &waiting.device_code, &csrf, service] {
        Answer::of(appview.get("/v2/").bearer_auth(secret))
            .await
            .assert_error(401, "UNAUTHORIZED");
    }
    for secret in [cookie.as_str(), &registry, &waiting.device_code, &csrf, service] {
        let answer = appview.token_response("alice.test", secret, &[]).await;
        answer.assert_error(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn secrets_that_are_almost_right_are_wrong() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let (secret, other) = (browser.device("one").await, browser.device("two").await);
    let (head, tail) = secret.rsplit_once('_').unwrap();
    let (_, other_tail) = other.rsplit_once('_').unwrap();
    for forged in [
        format!("{head}_{other_tail}"),
        format!("{head}_{}", "A".repeat(43)),
        format!("{head}_{}", &tail[1..]),
        format!("{head}_"),
        head.to_owned(),
        "atcr_device_".to_owned(),
        secret.to_uppercase(),
    ] {
        let answer = appview.token_response("alice.test", &forged, &[]).await;
        assert_eq!(answer.status, 401, "{forged}");
    }
    // A right one is the account's that approved it, whatever name comes with it.
    let scope = "repository:bob.test/app:pull,push";
    let answer = appview.token_response("bob.test", &secret, &[scope]).await;
    assert!(
        answer.status == 403 || !answer.text().contains("push"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn what_others_wrote_is_text_on_our_pages() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    let hostile = "\u{202e}<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{0}\u{200b}";
    let waiting = wait_for_approval(&appview, hostile).await;
    let page = browser
        .get(&format!("/device?user_code={}", waiting.user_code))
        .await;
    page.assert_status(200);
    browser.approve(&waiting).await.assert_status(200);
    crate::browser::poll(&appview, &waiting.device_code)
        .await
        .assert_status(200);
    let settings = browser.get("/settings").await;
    let encoded: String = url::form_urlencoded::byte_serialize(hostile.as_bytes()).collect();
    let login = browser.get(&format!("/auth/oauth/login?handle={encoded}")).await;
    let error = browser.post("/auth/oauth/login", &[("handle", hostile)]).await;
    let code = browser.get(&format!("/device?user_code={encoded}")).await;
    let missing = browser.get(&format!("/{encoded}")).await;
    for answer in [page, settings, login, error, code, missing] {
        let text = answer.text();
        assert!(
            !text.contains("<script>alert") && !text.contains("<img src=x"),
            "{text}"
        );
        assert!(!text.contains('\u{0}'), "{text}");
    }
    // Names of devices lose what turns or hides text; they stand beside words of ours.
    let listed = browser.get("/api/devices").await.text();
    assert!(
        !listed.contains('\u{202e}') && !listed.contains('\u{200b}'),
        "{listed}"
    );
}

#[tokio::test]
async fn forms_lead_nowhere_but_here_and_the_sign_ins_to_servers_over_tls() {
    let (development, appview) = (
        TestAppView::start().await,
        TestAppView::start_with(|config| {
            config.server.base_url = "https://registry.example".to_owned();
            config.server.test_mode = false;
        })
        .await,
    );
    let ask = async |appview: &TestAppView, path: &str| {
        let answer = Answer::of(appview.get(path).header("accept", "text/html")).await;
        let policy = answer.header("content-security-policy").to_owned();
        let (_, targets) = policy.split_once("form-action ").unwrap();
        (
            targets.to_owned(),
            answer.header("strict-transport-security").to_owned(),
        )
    };
    for (appview, sign_in, transport) in [
        (&development, "'self' https: http:", ""),
        (&appview, "'self' https:", "max-age=31536000"),
    ] {
        for path in ["/", "/install", "/nowhere"] {
            let expected = ("'self'".to_owned(), transport.to_owned());
            assert_eq!(ask(appview, path).await, expected, "{path}");
        }
        let expected = (sign_in.to_owned(), transport.to_owned());
        assert_eq!(ask(appview, "/auth/oauth/login").await, expected);
    }
    // What is no page says it as well.
    let ping = Answer::of(appview.get("/v2/")).await;
    assert_eq!(ping.header("strict-transport-security"), "max-age=31536000");
}

#[tokio::test]
async fn pages_run_nothing_that_is_not_a_file_of_ours() {
    let appview = TestAppView::start().await;
    let browser = Browser::alice(&appview).await;
    browser.device("laptop").await;
    let waiting = wait_for_approval(&appview, "waiting").await;
    for path in [
        "/".to_owned(),
        "/install".to_owned(),
        "/settings".to_owned(),
        "/device".to_owned(),
        format!("/device?user_code={}", waiting.user_code),
        "/auth/oauth/login".to_owned(),
        "/nowhere".to_owned(),
        "/auth/oauth/callback".to_owned(),
    ] {
        let answer = browser.get(&path).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{path}: {policy}"
        );
        assert!(
            !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        let text = answer.text();
        assert!(
            !text.contains("<style") && !text.contains(" style="),
            "{path}: {text}"
        );
        assert!(
            !text.contains(" onclick") && !text.contains(" onload") && !text.contains(" onerror"),
            "{path}"
        );
        for script in text.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/static/"), "{path}: {script}");
        }
        assert!(
            !text.contains("http://") || path == "/install",
            "{path} loads from elsewhere: {text}"
        );
    }
}
