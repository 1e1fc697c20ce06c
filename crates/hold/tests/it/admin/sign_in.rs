//! Nobody but the captain gets in, and a session is for one browser in one network.

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::syntax::RecordKey;
use atcr_hold_pds::RecordWrite;
use serde_json::Value;

use super::Site;
use super::browser::Browser;
use crate::harness::Answer;

/// Addresses at which a form changes something, with and without a member's key.
const FORMS: [&str; 8] = [
    "/admin/auth/logout",
    "/admin/crew/add",
    "/admin/crew/import",
    "/admin/crew/member/{rkey}",
    "/admin/crew/member/{rkey}/delete",
    "/admin/relays/crawl",
    "/admin/scans/again",
    "/admin/settings",
];

/// Pages of the site.
const PAGES: [&str; 14] = [
    "/admin",
    "/admin/part/standing",
    "/admin/crew",
    "/admin/crew/add",
    "/admin/crew/import",
    "/admin/crew/export",
    "/admin/crew/member/{rkey}",
    "/admin/crew/member/{rkey}/delete",
    "/admin/storage",
    "/admin/scans",
    "/admin/backup",
    "/admin/identity",
    "/admin/settings",
    "/admin/nothing-here",
];

#[tokio::test]
async fn the_captain_signs_in_at_their_own_server_and_out_again() {
    let site = Site::start().await;
    let browser = Browser::new(&site);
    browser.get("/admin").await.leads_to("/admin/auth/login");
    let login = browser.get("/admin/auth/login").await;
    login.says(200, "Only the owner of this hold");
    // The form leads to another server, and its page says so to the browser.
    let policy = login.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("form-action 'self' https:"));

    let captain = site.hold.captain.did.to_string();
    browser
        .sign_in("@Captain.test", &captain)
        .await
        .leads_to("/admin");
    let dashboard = browser.get("/admin").await;
    dashboard.says(200, "captain.test");
    let policy = dashboard.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.ends_with("form-action 'self'"), "{policy}");
    assert_eq!(dashboard.headers["cache-control"], "no-store");
    // The tokens are of no use to the hold.
    while site.pds.count("oauth/revoke") == 0 {
        tokio::task::yield_now().await;
    }

    browser
        .submit("/admin/auth/logout", &[])
        .await
        .says(200, "You are signed out");
    browser.get("/admin").await.leads_to("/admin/auth/login");
    site.stop().await;
}

#[tokio::test]
async fn nobody_else_is_even_sent_to_their_server() {
    let site = Site::start().await;
    let admin = site.account("admin.test");
    let record = atcr_atproto::lexicon::crew::CrewRecord::new(
        admin.did.clone(),
        "admin",
        ["blob:write", "crew:admin"],
        site.hold.clock.now_datetime(),
    );
    atcr_hold_pds::records::crew::ensure(site.hold.hold.repo(), &record)
        .await
        .unwrap();
    site.account("stranger.test");
    let browser = Browser::new(&site);
    for handle in ["admin.test", "stranger.test", admin.did.as_str()] {
        let refused = browser
            .post("/admin/auth/oauth/authorize", &[("handle", handle)])
            .await;
        refused.says(403, "for the captain only");
        refused.says(403, "crew:admin");
    }
    assert_eq!(site.pds.count("oauth/par"), 0);
    browser
        .post("/admin/auth/oauth/authorize", &[("handle", "nobody.test")])
        .await
        .says(422, "nobody.test");
    assert!(browser.cookie_names().is_empty());
    browser.get("/admin").await.leads_to("/admin/auth/login");
    site.stop().await;
}

#[tokio::test]
async fn a_server_that_signs_another_account_in_is_not_believed() {
    let site = Site::start().await;
    let stranger = site.account("stranger.test");
    let browser = Browser::new(&site);
    let answer = browser.sign_in("captain.test", stranger.did.as_str()).await;
    answer.says(400, "This sign-in was stopped");
    browser.get("/admin").await.leads_to("/admin/auth/login");

    // Nor is an answer that another browser brings, or one that is brought twice.
    let captain = site.hold.captain.did.to_string();
    let callback = browser.approved("captain.test", &captain).await;
    Browser::new(&site)
        .get(&callback)
        .await
        .says(400, "began in another browser");
    let callback = browser.approved("captain.test", &captain).await;
    browser.get(&callback).await.leads_to("/admin");
    browser.get(&callback).await.says(400, "This sign-in has ended");
    // The user says no.
    let started = browser
        .post("/admin/auth/oauth/authorize", &[("handle", "captain.test")])
        .await;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(site.pds.deny(&started.location).unwrap().iter());
    browser
        .get(&format!("/admin/auth/oauth/callback?{}", query.finish()))
        .await
        .says(403, "the user said no");
    site.stop().await;
}

#[tokio::test]
async fn a_session_ends_when_its_token_comes_from_elsewhere() {
    let site = Site::start().await;
    for (name, address) in [("Other browser", "192.0.2.7"), ("Test browser", "198.51.100.7")] {
        let browser = Browser::of_captain(&site).await;
        // The same network is the same place.
        browser
            .copied("Test browser", "192.0.2.99")
            .get("/admin")
            .await
            .says(200, "Dashboard");
        let thief = browser.copied(name, address);
        thief.get("/admin").await.leads_to("/admin/auth/login");
        browser.get("/admin").await.leads_to("/admin/auth/login");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_captain_of_before_is_out_at_once() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    let other = site.account("other.test");
    let mut captain = site.repo().captain().await.unwrap().unwrap();
    captain.owner = other.did.clone();
    let value: Value = CaptainRecord::to_value(&captain).unwrap();
    site.repo()
        .write(vec![RecordWrite::Put {
            collection: nsid::HOLD_CAPTAIN.parse().unwrap(),
            rkey: RecordKey::literal_self(),
            value,
        }])
        .await
        .unwrap();
    browser.get("/admin").await.leads_to("/admin/auth/login");
    let new = Browser::new(&site);
    new.sign_in("other.test", other.did.as_str())
        .await
        .leads_to("/admin");
    site.stop().await;
}

#[tokio::test]
async fn a_form_works_from_the_sites_own_pages_only_and_pages_are_for_the_captain_only() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    let member = site.account("member.test");
    let form = [("did", member.did.as_str()), ("permission", "blob:read")];
    browser
        .submit("/admin/crew/add", &form)
        .await
        .leads_to("/admin/crew?done=added");
    let rkey = atcr_atproto::lexicon::crew::rkey(&member.did)
        .unwrap()
        .to_string();
    let commit = site.repo().latest_commit().rev;
    let token = browser.csrf_token().await;
    let stranger = Browser::new(&site);
    for path in FORMS {
        let path = path.replace("{rkey}", &rkey);
        let with_token = [&form[..], &[("csrf_token", token.as_str())]].concat();
        browser.post(&path, &form).await.says(403, "Nothing was changed");
        for origin in ["https://elsewhere.example", "null"] {
            browser
                .post_from(origin, &path, &with_token)
                .await
                .says(403, "Nothing was changed");
        }
        if path != "/admin/auth/logout" {
            stranger.post(&path, &with_token).await.says(401, "Sign in first");
        }
    }
    // A sign-in does not begin from elsewhere either.
    stranger
        .post_from(
            "https://elsewhere.example",
            "/admin/auth/login",
            &[("handle", "captain.test")],
        )
        .await
        .says(403, "Nothing was changed");
    for path in PAGES {
        let path = path.replace("{rkey}", &rkey);
        stranger.get(&path).await.leads_to("/admin/auth/login");
    }
    assert_eq!(site.repo().latest_commit().rev, commit, "nothing was written");
    browser
        .get("/admin/nothing-here")
        .await
        .says(404, "Page not found");
    site.stop().await;
}

#[tokio::test]
async fn the_hold_says_who_it_is_to_account_servers() {
    let site = Site::start().await;
    let metadata = Answer::of(site.hold.get("/oauth-client-metadata.json"))
        .await
        .ok();
    assert_eq!(metadata["scope"], "atproto");
    let redirect = metadata["redirect_uris"][0].as_str().unwrap();
    assert!(redirect.ends_with("/admin/auth/oauth/callback"), "{redirect}");
    site.stop().await;

    // Without the site there is a front page and nothing else.
    let site = Site::start_with(|config| config.admin.enabled = false).await;
    let browser = Browser::new(&site);
    for path in ["/admin", "/admin/auth/login", "/oauth-client-metadata.json"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    let front = browser.get("/").await.ok();
    assert!(!front.contains("/admin"), "{front}");
    site.stop().await;
}
