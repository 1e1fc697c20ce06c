//! Pages that every visitor may see, and what is served beside them.

use std::io::Write as _;

use http::Method;

use crate::browser::Browser;
use crate::harness::{Answer, TestAppView};

#[tokio::test]
async fn the_first_page_says_how_to_push_here() {
    let appview = TestAppView::start().await;
    let host = appview.url.trim_start_matches("http://");
    let visitor = Browser::new(&appview);
    let page = visitor.get("/").await;
    page.assert_status(200);
    let text = page.text();
    assert!(
        text.contains(&format!("docker-credential-atcr login {host}")),
        "{text}"
    );
    assert!(
        text.contains(&format!("docker push {host}/alice.example.com/app:1.0")),
        "{text}"
    );
    assert!(text.contains("href=\"/auth/oauth/login\""), "{text}");

    let alice = Browser::alice(&appview).await;
    let text = alice.get("/").await.text();
    assert!(
        text.contains(&format!("docker push {host}/alice.test/app:1.0")),
        "{text}"
    );
    assert!(text.contains("action=\"/auth/logout\""), "{text}");
}

#[tokio::test]
async fn whoever_is_about_to_push_is_told_what_is_public() {
    let appview = TestAppView::start().await;
    let visitor = Browser::new(&appview);
    let alice = Browser::alice(&appview).await;
    for page in [
        visitor.get("/").await,
        visitor.get("/install").await,
        alice.get("/settings").await,
    ] {
        let text = page.text();
        for words in [
            "id=\"public\"",
            "Tags and manifests are public, even when the hold is private.",
            "A hold's records are public too",
        ] {
            assert!(text.contains(words), "no {words:?} in {text}");
        }
    }
}

#[tokio::test]
async fn assets_are_kept_for_as_long_as_they_are_the_same() {
    let appview = TestAppView::start().await;
    let page = Browser::new(&appview).get("/").await.text();
    let mut addresses: Vec<String> = page
        .split('"')
        .filter(|text| text.starts_with("/static/"))
        .map(|text| text.split('#').next().unwrap().to_owned())
        .collect();
    addresses.sort();
    addresses.dedup();
    for name in [
        "app.css",
        "htmx.js",
        "page.js",
        "theme.js",
        "icons.svg",
        "mark.svg",
        "geist.woff2",
        "third-party.txt",
    ] {
        assert!(
            addresses.iter().any(|address| address.ends_with(name)),
            "{name}: {addresses:?}"
        );
    }
    for address in &addresses {
        let answer = Answer::of(appview.get(address)).await;
        answer.assert_status(200);
        assert_eq!(
            answer.header("cache-control"),
            "public, max-age=31536000, immutable",
            "{address}"
        );
        assert!(!answer.body.is_empty(), "{address}");
    }
    let sheet = addresses
        .iter()
        .find(|address| address.ends_with("app.css"))
        .unwrap();
    let sheet = Answer::of(appview.get(sheet)).await;
    assert_eq!(sheet.header("content-type"), "text/css; charset=utf-8");
    assert!(
        sheet.text().contains("url(\"/static/"),
        "fonts have addresses of their own"
    );
    let address = addresses
        .iter()
        .find(|address| address.ends_with("htmx.js"))
        .unwrap();
    let plain = Answer::of(appview.get(address)).await;
    let packed = Answer::of(appview.get(address).header("accept-encoding", "br, gzip")).await;
    assert!(!plain.has_header("content-encoding"));
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < plain.body.len() / 2);
    // A page from before an update asks under the old address.
    let old = Answer::of(appview.get("/static/old/app.css")).await;
    old.assert_status(200);
    assert_eq!(old.header("cache-control"), "no-cache");
    for path in [
        "/static/x/nothing.css",
        "/static/x/..%2f..%2fCargo.toml",
        "/static/app.css",
    ] {
        assert_eq!(Answer::of(appview.get(path)).await.status, 404, "{path}");
    }
    // Every icon that a page shows is in the sprite.
    let sprite = addresses
        .iter()
        .find(|address| address.ends_with("icons.svg"))
        .unwrap();
    let sprite = Answer::of(appview.get(sprite)).await.text();
    for icon in page
        .split("icons.svg#")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
    {
        assert!(sprite.contains(&format!("id=\"{icon}\"")), "{icon}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_page_for_people_and_json_for_programs() {
    let appview = TestAppView::start().await;
    let page = Browser::new(&appview).get("/nothing/here").await;
    page.assert_status(404);
    assert!(page.text().contains("Page not found"));
    let answer = Answer::of(appview.get("/nothing/here")).await;
    answer.assert_status(404);
    assert_eq!(answer.json()["error"], "NotFound");
    let robots = Answer::of(appview.get("/robots.txt")).await;
    robots.assert_status(200);
    assert!(robots.text().contains("Disallow: /v2/"));
}

#[tokio::test]
async fn the_install_scripts_name_this_registry() {
    let appview = TestAppView::start().await;
    for name in [
        "install.sh",
        "install.ps1",
        "static/install.sh",
        "static/install.ps1",
    ] {
        let answer = Answer::of(appview.get(&format!("/{name}"))).await;
        answer.assert_status(200);
        assert!(answer.text().contains(&appview.url), "{name}");
        assert!(!answer.text().contains("{{"), "{name}");
    }
    let page = Browser::new(&appview).get("/install").await;
    page.assert_status(200);
    // The scripts install a release, and this registry has none.
    let text = page.text();
    for part in ["install.sh | sh", "install.ps1 | iex"] {
        assert!(!text.contains(part), "{text}");
    }
    assert!(
        text.contains("offers no ready program") && text.contains("cargo install --locked"),
        "{text}"
    );
}

#[tokio::test]
async fn a_release_of_the_helper_is_offered_where_the_operator_has_one() {
    let appview = TestAppView::start().await;
    let none = Answer::of(appview.get("/api/credential-helper/version")).await;
    none.assert_status(404);
    assert_eq!(none.json()["error"], "NotFound");
    drop(appview);

    let folder = tempfile::tempdir().unwrap();
    let archive = "docker-credential-atcr_0.1.0_Linux_x86_64.tar.gz";
    let hash = "5e".repeat(32);
    std::fs::write(
        folder.path().join("checksums.txt"),
        format!("{hash}  {archive}\n"),
    )
    .unwrap();
    std::fs::write(folder.path().join("private.txt"), "not for others").unwrap();
    let mut file = std::fs::File::create(folder.path().join(archive)).unwrap();
    file.write_all(b"archive").unwrap();
    let path = folder.path().to_owned();
    let appview = TestAppView::start_with(|config| config.credential_helper.release_dir = path).await;
    let answer = Answer::of(appview.get("/api/credential-helper/version")).await;
    answer.assert_status(200);
    let url = format!("{}/dist/{archive}", appview.url);
    assert_eq!(
        answer.json(),
        serde_json::json!({
            "version": "0.1.0",
            "archives": [{ "os": "linux", "arch": "amd64", "url": url, "sha256": hash }],
            "signing_key": null,
        })
    );
    let file = Answer::of(appview.get(&format!("/dist/{archive}"))).await;
    file.assert_status(200);
    assert_eq!(
        (file.header("content-length"), file.body.as_ref()),
        ("7", b"archive".as_slice())
    );
    Answer::of(appview.get("/dist/checksums.txt"))
        .await
        .assert_status(200);
    for path in ["/dist/private.txt", "/dist/..%2fprivate.txt", "/dist/"] {
        assert_eq!(Answer::of(appview.get(path)).await.status, 404, "{path}");
    }
    let page = Browser::new(&appview).get("/install").await.text();
    let script = format!("curl -fsSL {}/install.sh", appview.url);
    for part in [archive, &script, "install.ps1 | iex"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
}

#[tokio::test]
async fn pages_answer_head_and_refuse_other_methods() {
    let appview = TestAppView::start().await;
    for path in ["/", "/install", "/auth/oauth/login"] {
        let head = Answer::of(appview.request(Method::HEAD, path)).await;
        head.assert_status(200);
        assert!(head.body.is_empty());
        assert_eq!(
            Answer::of(appview.request(Method::PUT, path)).await.status,
            405,
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_sprite_has_every_icon_that_a_template_asks_for() {
    let appview = TestAppView::start().await;
    let sprite = appview.get(atcr_web::assets::url("icons.svg"));
    let sprite = Answer::of(sprite).await.text();
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut asked = Vec::new();
    for folder in [
        "templates/pages",
        "templates/pages/images",
        "templates/pages/settings",
        "templates/parts",
        "../web/templates/layout",
        "../web/templates/parts",
    ] {
        for template in std::fs::read_dir(here.join(folder)).unwrap() {
            let path = template.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            asked.extend(
                text.split("icon(\"")
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next())
                    .map(str::to_owned),
            );
        }
    }
    assert!(asked.len() > 20, "{asked:?}");
    for icon in asked {
        assert!(sprite.contains(&format!("id=\"{icon}\"")), "{icon}");
    }
}
