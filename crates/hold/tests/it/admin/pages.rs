//! Snapshots of the pages, and what is live in them. What differs from run to run is replaced by a name in angle brackets. Accept a change
//! with `cargo insta review`.

use atcr_atproto::lexicon::crew;
use insta::assert_snapshot;

use super::Site;
use super::browser::{Browser, Page};

/// `text` with everything between `before` and the next `until` replaced by `name`.
fn replaced(text: &str, before: &str, until: &str, name: &str) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.find(until).map_or("", |at| &part[at..]);
        out += before;
        out += name;
        out += rest;
    }
    out
}

/// The page's own part, without what differs.
fn main_of(site: &Site, page: &Page) -> String {
    let (_, main) = page.text.split_once("<main").expect("a page");
    let (main, _) = main.split_once("</main>").expect("a page");
    // What the days brought depends on the day.
    let main = main
        .split("<section class=\"stack\" aria-labelledby=\"days-title\">")
        .next()
        .unwrap_or_default();
    let host = site.hold.settings.public_url.authority().to_owned();
    let port = site.hold.settings.public_url.port().unwrap_or_default();
    let folder = site.hold.dir.path().display().to_string();
    let mut text = format!("<main{main}</main>\n")
        .replace(&host, "<host>")
        .replace(&format!("127.0.0.1%3A{port}"), "<host>")
        .replace(&folder, "<folder>");
    for (before, until, name) in [
        ("/static/", "/", "<hash>"),
        ("name=\"csrf_token\" value=\"", "\"", "<token>"),
        ("name=\"version\" value=\"", "\"", "<version>"),
        ("datetime=\"", "\"", "<time>"),
        ("\" title=\"", "\"", "<time>"),
        ("did:key:", "<", "<key>"),
        ("publicKeyMultibase&#34;: &#34;", "&", "<key>"),
        ("As of ", "<", "<time>"),
        ("on the disk of the ", "<", "<disk>"),
        ("<div><dt>Free</dt><dd>", " on", "<bytes>"),
        (
            "Newest revision</dt><dd><code class=\"break\">",
            "<",
            "<revision>",
        ),
        ("Newest event</dt><dd>", "<", "<event>"),
        ("Newest hash: <code class=\"break\">", "<", "<hash>"),
        ("Hash</span><code>", "<", "<hash>"),
        ("Request <code>", "<", "<id>"),
    ] {
        text = replaced(&text, before, until, name);
    }
    text
}

#[tokio::test]
async fn pages_for_everyone() {
    let site = Site::start_with(|config| {
        config.registration.allow_all_crew = Some(true);
        config.registration.region = "eu-central".to_owned();
    })
    .await;
    let browser = Browser::new(&site);
    // The owner's name is looked up in the background, for the next visit.
    let named = loop {
        let page = browser.get("/").await;
        if page.text.contains(">captain.test</bdi>") {
            break page;
        }
        tokio::task::yield_now().await;
    };
    assert_snapshot!("page_front", main_of(&site, &named));
    let login = browser.get("/admin/auth/login").await;
    assert_snapshot!("page_sign_in", main_of(&site, &login));
    site.account("stranger.test");
    let refused = browser
        .post("/admin/auth/oauth/authorize", &[("handle", "stranger.test")])
        .await;
    assert_snapshot!("page_refused", main_of(&site, &refused));
    // A program that asks for no page is told the same in plain text.
    let text = site.hold.get("/").send().await.unwrap();
    assert_eq!(text.headers()["content-type"], "text/plain; charset=utf-8");
    site.stop().await;
}

#[tokio::test]
async fn pages_of_the_captain() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    let bob = site.account("bob.test");
    let form = [("did", bob.did.as_str()), ("permission", "blob:write")];
    let found = browser.get("/admin/crew/add?account=bob.test").await;
    assert_snapshot!("page_add", main_of(&site, &found));
    browser
        .submit("/admin/crew/add", &form)
        .await
        .leads_to("/admin/crew?done=added");
    // The layers are counted in the background.
    while !browser.get("/admin").await.text.contains("each once") {
        tokio::task::yield_now().await;
    }
    let href = format!("/admin/crew/member/{}", crew::rkey(&bob.did).unwrap());
    for (name, path) in [
        ("dashboard", "/admin"),
        ("crew", "/admin/crew?done=added"),
        ("member", href.as_str()),
        ("member_remove", &format!("{href}/delete")),
        ("import", "/admin/crew/import"),
        ("storage", "/admin/storage"),
        ("scans", "/admin/scans"),
        ("relays", "/admin/relays"),
        ("backup", "/admin/backup"),
        ("identity", "/admin/identity"),
        ("settings", "/admin/settings"),
        ("audit", "/admin/audit"),
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(!page.text.contains("style="), "{path}");
        assert_snapshot!(format!("page_{name}"), main_of(&site, &page));
    }
    site.stop().await;
}

#[tokio::test]
async fn the_dashboard_asks_for_its_live_part_and_the_part_is_a_page_without_a_script() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    let page = browser.get("/admin").await.ok();
    assert!(page.contains("hx-get=\"/admin/part/standing\""), "{page}");
    // There is no backup.
    for text in [
        "<h1>1 thing needs attention</h1>",
        "<a href=\"/admin/backup\">More about it: Backup</a>",
    ] {
        assert!(page.contains(text), "{page}");
    }
    let part = browser.part("/admin/part/standing").await.ok();
    assert!(part.trim_start().starts_with("<div id=\"standing\""), "{part}");
    let whole = browser.get("/admin/part/standing").await.ok();
    assert!(whole.contains("<title>Dashboard"), "{whole}");
    // A part for somebody who is signed out loads the page anew, which leads to the sign-in.
    let refused = Browser::new(&site).part("/admin/part/standing").await;
    assert_eq!(
        (refused.status, refused.headers["hx-refresh"].to_str().unwrap()),
        (401, "true")
    );
    // What does not work is said first.
    let site = Site {
        hold: site.hold.restart(|_| ()).await,
        pds: site.pds,
    };
    // Nothing was asked how it is yet.
    std::fs::rename(
        site.hold.data_dir().join("objects"),
        site.hold.data_dir().join("elsewhere"),
    )
    .unwrap();
    let browser = Browser::of_captain(&site).await;
    browser
        .get("/admin")
        .await
        .says(200, "The part “store” does not work");
    site.stop().await;
}

#[tokio::test]
async fn what_is_counted_of_layers_is_not_nothing_while_accounts_keep_something() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    while !browser.get("/admin").await.text.contains("each once") {
        tokio::task::yield_now().await;
    }
    let captain = site.hold.captain.did.clone();
    let layer = atcr_hold_pds::RecordWrite::Put {
        collection: "io.atcr.hold.layer".parse().unwrap(),
        rkey: "layer".parse().unwrap(),
        value: serde_json::json!({
            "$type": "io.atcr.hold.layer", "digest": format!("sha256:{:064}", 1), "size": 88, "mediaType": "x",
            "manifest": format!("at://{captain}/io.atcr.manifest/m"), "userDid": captain,
            "createdAt": "2026-01-01T00:00:00.000Z",
        }),
    };
    site.repo().write(vec![layer]).await.unwrap();
    let page = browser.get("/admin").await.ok();
    assert!(page.contains("88 B of 1 account"), "{page}");
    assert!(!page.contains("0, each once"), "{page}");
    // It is counted again although the first count is not old.
    while !browser.get("/admin").await.text.contains("1, each once") {
        tokio::task::yield_now().await;
    }
    browser
        .get("/admin/storage")
        .await
        .says(200, "88 B in 1 layer, each counted once");
    site.stop().await;
}

/// The icons, styles and scripts that pages name are there.
#[tokio::test]
async fn what_pages_ask_for_is_served() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    let page = browser.get("/admin").await.ok();
    let mut assets = 0;
    for part in page.split("\"/static/").skip(1) {
        let path = part.split(['"', '#']).next().unwrap();
        let asset = browser.get(&format!("/static/{path}")).await;
        assert_eq!(asset.status, 200, "{path}");
        assert_eq!(asset.headers["x-content-type-options"], "nosniff");
        assets += 1;
    }
    assert!(assets > 5);
    let sprite = page
        .split("href=\"")
        .find(|part| part.contains("icons.svg#"))
        .unwrap();
    let sprite = browser.get(sprite.split(['"', '#']).next().unwrap()).await.ok();
    for (path, text) in templates() {
        for name in text.split("icon(\"").skip(1) {
            let name = name.split('"').next().unwrap();
            assert!(sprite.contains(&format!("id=\"{name}\"")), "{path}: {name}");
        }
    }
    site.stop().await;
}

/// Every template of the hold.
fn templates() -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let folders = ["pages", "layout"].map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    let files = folders.into_iter().flatten().map(|file| file.unwrap().path());
    files
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}
