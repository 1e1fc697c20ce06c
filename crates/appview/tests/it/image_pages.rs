//! Pages about images: what was pushed is on them, whatever it says of itself does no harm, and what is not there is said to be missing.

use std::time::Duration;

use atcr_appview::settings::AppViewSettings;
use atcr_atproto::clock::Clock as _;
use atcr_atproto::data_model;
use atcr_atproto::syntax::Did;
use atcr_index::Collection;
use atcr_index::change::{Batch, Change, Coverage, IdentityStep, Proof, RecordsStep, Step};
use atcr_index::fact::RecordFact;
use atcr_index::ports::{IndexReader as _, IndexWriter as _};
use atcr_index_sqlite::SqliteIndex;
use atcr_oci::{Descriptor, Digest, ImageIndex, ImageManifest, Manifest, MediaType, Platform};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Answer, TestAppView, descriptor, sha256};

/// Brings the index to what the account's server has, as a catch-up does.
pub(crate) async fn catch_up(appview: &TestAppView, settings: &AppViewSettings, did: &str, handle: &str) {
    let index = SqliteIndex::open(&settings.paths.index).await.unwrap();
    let owner: Did = did.parse().unwrap();
    let base = index
        .account(&owner)
        .await
        .unwrap()
        .and_then(|account| account.rev);
    let mut changes = Vec::new();
    for collection in Collection::ALL {
        for rkey in appview.pds.rkeys(did, collection.nsid()) {
            let value = appview.pds.record(did, collection.nsid(), &rkey).unwrap();
            let cid = data_model::cid_of(data_model::RAW, value.to_string().as_bytes());
            let record = RecordFact::read(&owner, collection, rkey.parse().unwrap(), cid, value);
            changes.push(Change::Put(record));
        }
    }
    let batch = Batch {
        steps: vec![
            Step::Identity(IdentityStep {
                did: owner.clone(),
                handle: Some(handle.parse().unwrap()),
                pds: None,
                signing_key: None,
            }),
            Step::Records(RecordsStep {
                did: owner,
                base,
                base_data: None,
                rev: appview.pds.rev(did).unwrap().parse().unwrap(),
                data: None,
                proof: Proof::Owner,
                coverage: whole(),
                changes,
            }),
        ],
        ..Batch::default()
    };
    index.apply(&batch, appview.clock.now()).await.unwrap();
    index.close().await;
}

/// All of the account, as a step says it.
pub(crate) fn whole<T: From<Coverage>>() -> T {
    Coverage::Whole.into()
}

/// The configuration of an image that runs something.
pub(crate) fn config(architecture: &str) -> Value {
    json!({
        "os": "linux", "architecture": architecture, "created": "2026-05-12T10:00:00Z",
        "config": {
            "Entrypoint": ["/app"], "Cmd": ["serve", "--all files"], "User": "65532",
            "Env": ["PATH=/bin", "GREETING=<b>hi</b>"], "ExposedPorts": { "8080/tcp": {} },
            "Labels": { "org.opencontainers.image.source": "https://github.com/alice/app" },
        },
        "history": [
            { "created_by": "ENV GREETING=<b>hi</b>", "empty_layer": true },
            { "created_by": format!("RUN /bin/sh -c make {architecture} # buildkit") },
        ],
    })
}

/// An image for `architecture`, its blobs in the hold.
pub(crate) fn image(appview: &TestAppView, architecture: &str) -> Manifest {
    let mut config = appview.blob(&config(architecture).to_string());
    config.media_type = MediaType::OCI_IMAGE_CONFIG;
    let layer = appview.blob(&format!("a layer for {architecture}"));
    Manifest::from_image(&ImageManifest::new(config, vec![layer])).unwrap()
}

/// An index of `images`, for `linux` on the architectures, with annotations.
pub(crate) fn index(images: &[(&str, &Manifest)], annotations: &[(&str, &str)]) -> Manifest {
    let children: Vec<Descriptor> = images
        .iter()
        .map(|(architecture, image)| Descriptor {
            platform: Some(Platform::new("linux", architecture)),
            ..descriptor(image)
        })
        .collect();
    let mut index = ImageIndex::new(children);
    for (name, value) in annotations {
        index
            .annotations
            .insert(format!("org.opencontainers.image.{name}"), (*value).to_owned());
    }
    Manifest::from_index(&index).unwrap()
}

/// Alice pushes an image for two platforms as `1.4.2` and `latest`, with a README.
pub(crate) async fn push(appview: &TestAppView) -> Digest {
    let name = "alice.test/tools/app";
    let alice = appview.sailor("alice.test", &[name]).await;
    let (amd64, arm64) = (image(appview, "amd64"), image(appview, "arm64"));
    for image in [&amd64, &arm64] {
        alice.push(name, sha256(image).as_str(), image).await;
    }
    let index = index(
        &[("arm64", &arm64), ("amd64", &amd64)],
        &[
            ("description", "Says <b>hello</b>"),
            ("source", "https://github.com/alice/app"),
            ("licenses", "MIT"),
            ("documentation", "javascript:alert(1)"),
        ],
    );
    for tag in ["1.4.2", "latest"] {
        alice.push(name, tag, &index).await;
    }
    appview.pds.put_record(
        &appview.alice,
        "io.atcr.repo.page",
        "tools~app",
        json!({
            "$type": "io.atcr.repo.page", "repository": "tools/app", "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-01-01T00:00:00Z",
            "description": "# Tools\n\nRead [the guide](docs/guide.md).\n\n<script>alert(1)</script><img src=x onerror=alert(1)>\n",
        }),
    );
    catch_up(appview, &appview.settings(), &appview.alice, "alice.test").await;
    sha256(&index)
}

#[tokio::test]
async fn what_was_pushed_is_on_every_page() {
    let appview = TestAppView::start().await;
    let digest = push(&appview).await;
    let host = appview.url.trim_start_matches("http://").to_owned();
    let visitor = Browser::new(&appview);
    let page = |path: &'static str| {
        let visitor = &visitor;
        async move {
            let page = visitor.get(path).await;
            page.assert_status(200);
            page.text()
        }
    };

    for path in ["/", "/search?q=tools", "/search?q=hello", "/u/alice.test"] {
        let text = page(path).await;
        assert!(
            text.contains("href=\"/r/alice.test/tools/app\""),
            "{path}: {text}"
        );
        assert!(
            text.contains("Says &#60;b&#62;hello&#60;/b&#62;"),
            "{path}: {text}"
        );
        assert!(text.contains("linux/amd64"), "{path}: {text}");
    }

    let text = page("/r/alice.test/tools/app").await;
    for part in [
        format!("docker pull {host}/alice.test/tools/app:latest"),
        format!("podman pull --tls-verify=false {host}/alice.test/tools/app:latest"),
        format!("docker pull {host}/alice.test/tools/app@{digest}"),
        "<h3 id=\"readme-tools\">Tools</h3>".to_owned(),
        "https://github.com/alice/app/blob/HEAD/docs/guide.md".to_owned(),
        "https://spdx.org/licenses/MIT.html".to_owned(),
        "(says the image)".to_owned(),
    ] {
        assert!(text.contains(&part), "no {part} in {text}");
    }
    assert!(
        !text.contains("<script>alert") && !text.contains("onerror") && !text.contains("href=\"javascript"),
        "{text}"
    );

    let text = page("/r/alice.test/tools/app/-/tags").await;
    for part in ["same as <bdi>latest</bdi>", "2 platforms", &digest.hex()[..12]] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    // amd64 first, whatever the index says.
    assert!(text.find("linux/amd64") < text.find("linux/arm64"), "{text}");

    for path in [
        "/r/alice.test/tools/app:1.4.2",
        "/r/alice.test/tools/app:1.4.2?platform=linux/arm64",
    ] {
        let text = page(path).await;
        let architecture = if path.contains("arm64") { "arm64" } else { "amd64" };
        for part in [
            digest.as_str(),
            "<code>/app</code>",
            "serve &#39;--all files&#39;",
            &format!("RUN /bin/sh -c make {architecture}"),
            "GREETING",
            "12 May 2026, 10:00 UTC",
            "at://did:plc:",
        ] {
            assert!(text.contains(part), "{path}: no {part} in {text}");
        }
        assert!(!text.contains("<b>hi</b>"), "{text}");
    }
    let text = page("/r/alice.test/tools/app/-/manifests").await;
    assert!(
        text.contains("part of <a href=\"/r/alice.test/tools/app@sha256:"),
        "{text}"
    );
    let text = page("/r/alice.test/tools/app/-/referrers").await;
    assert!(text.contains("No signatures or SBOMs."), "{text}");
    page("/r/alice.test/tools/app/-/activity").await;
    page("/r/alice.test/tools/app/-/stars").await;
}

#[tokio::test]
async fn a_plain_push_for_one_platform_is_an_image() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &["alice.test/solo"]).await;
    let image = image(&appview, "amd64");
    alice.push("alice.test/solo", "1.0", &image).await;
    // As other registries write it, and this one did.
    let digest = sha256(&image);
    let mut record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", digest.hex())
        .unwrap();
    record["artifactType"] = json!("application/vnd.oci.image.config.v1+json");
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.manifest", digest.hex(), record);
    catch_up(&appview, &appview.settings(), &appview.alice, "alice.test").await;

    let visitor = Browser::new(&appview);
    let host = appview.url.trim_start_matches("http://").to_owned();
    for path in ["/r/alice.test/solo", "/r/alice.test/solo:1.0"] {
        let text = visitor.get(path).await.text();
        for part in [
            &format!("docker pull {host}/alice.test/solo:1.0") as &str,
            "Vulnerabilities",
        ] {
            assert!(text.contains(part), "{path}: no {part} in {text}");
        }
        assert!(!text.contains("oras pull"), "{path}: {text}");
    }
    let text = visitor.get("/r/alice.test/solo:1.0").await.text();
    assert!(text.contains("id=\"configuration\""), "{text}");
    let text = visitor.get("/search?q=solo&kind=image").await.text();
    assert!(text.contains("href=\"/r/alice.test/solo\""), "{text}");

    // An index may name it for another platform than the image itself does.
    let wrong = index(&[("arm64", &image)], &[]);
    alice.push("alice.test/solo", "wrong", &wrong).await;
    catch_up(&appview, &appview.settings(), &appview.alice, "alice.test").await;
    let text = visitor.get("/r/alice.test/solo:wrong").await.text();
    let warning = "The index says linux/arm64; the image itself says linux/amd64.";
    assert!(text.contains(warning), "{text}");
}

#[tokio::test]
async fn an_image_that_describes_itself_by_labels_alone_is_described() {
    let appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    let alice = appview.sailor("alice.test", &["alice.test/solo"]).await;
    alice
        .push("alice.test/solo", "1.0", &image(&appview, "amd64"))
        .await;
    let visitor = Browser::new(&appview);
    let described = async {
        loop {
            let text = visitor.get("/r/alice.test/solo").await.text();
            if text.contains("href=\"https://github.com/alice/app\"") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), described)
        .await
        .expect("the labels are on the page");
    let text = visitor.get("/u/alice.test").await.text();
    assert!(text.contains("linux/amd64"), "{text}");
}

#[tokio::test]
async fn the_names_people_paste_lead_to_pages() {
    let appview = TestAppView::start().await;
    push(&appview).await;
    let did = appview.alice.clone();
    let host = appview.url.trim_start_matches("http://");
    let visitor = Browser::new(&appview);
    let pasted = visitor.get("/alice.test/tools/app:1.4.2").await;
    pasted.assert_status(308);
    assert_eq!(pasted.header("location"), "/r/alice.test/tools/app:1.4.2");
    let typed = visitor
        .get(&format!("/search?q={host}/alice.test/tools/app:1.4.2"))
        .await;
    typed.assert_status(303);
    assert_eq!(typed.header("location"), "/r/alice.test/tools/app:1.4.2");
    // The permanent ID leads to the same page, which says what its address is.
    let page = visitor.get(&format!("/r/{did}/tools/app")).await;
    page.assert_status(200);
    let canonical = format!("<{}/r/alice.test/tools/app>; rel=\"canonical\"", appview.url);
    assert!(
        page.header("link").starts_with(&canonical),
        "{}",
        page.header("link")
    );
}

#[tokio::test]
async fn what_is_missing_is_said_to_be_missing_and_the_way_on_is_named() {
    let appview = TestAppView::start().await;
    push(&appview).await;
    let visitor = Browser::new(&appview);
    for (path, words, way_on) in [
        (
            "/r/alice.test/nothing",
            "No such repository",
            "href=\"/u/alice.test\"",
        ),
        (
            "/r/alice.test/tools/app:9",
            "No such image",
            "href=\"/r/alice.test/tools/app/-/tags\"",
        ),
        ("/r/nobody.test/app", "No such account", "href=\"/search\""),
        ("/u/nobody.test", "No such account", "href=\"/search\""),
        ("/r/alice.test/App", "Page not found", "href=\"/\""),
        ("/u/x", "Page not found", "href=\"/\""),
    ] {
        let page = visitor.get(path).await;
        page.assert_status(404);
        assert!(
            page.text().contains(words) && page.text().contains(way_on),
            "{path}: {}",
            page.text()
        );
    }
    let text = visitor.get("/search?q=zzzzzz").await.text();
    assert!(text.contains("Nothing matches “<bdi>zzzzzz</bdi>”"), "{text}");
    let text = visitor.get("/u/bob.test").await.text();
    assert!(text.contains("No images."), "{text}");
    let alice = Browser::alice(&appview).await;
    let own = alice.get("/").await.text();
    assert!(
        own.contains("Your images") && own.contains("href=\"/r/alice.test/tools/app\""),
        "{own}"
    );
    let bob = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    let text = bob.get("/").await.text();
    assert!(
        text.contains("Three lines push the first one") && text.contains("/bob.test/app:1.0"),
        "{text}"
    );
}

#[tokio::test]
async fn a_hold_that_is_down_blanks_one_box() {
    let appview = TestAppView::start().await;
    push(&appview).await;
    appview.hold.set_silent(true);
    let visitor = Browser::new(&appview);
    let page = visitor.get("/r/alice.test/tools/app:1.4.2").await;
    page.assert_status(200);
    let text = page.text();
    assert!(
        text.contains("notice--warning") && text.contains("The hold does not answer"),
        "{text}"
    );
    assert!(
        text.contains("id=\"layers\"") && text.contains("not recorded"),
        "{text}"
    );
    visitor.get("/r/alice.test/tools/app").await.assert_status(200);
}

#[tokio::test]
async fn tags_are_filtered_sorted_and_paged_by_the_server() {
    let appview = TestAppView::start().await;
    let digest = push(&appview).await;
    for number in 0..120 {
        let tag = format!("2.{number}");
        let record =
            atcr_test_support::fakes::pds::original::tag(&appview.alice, "tools/app", &tag, digest.as_str());
        appview
            .pds
            .put_record(&appview.alice, "io.atcr.tag", &format!("tools_app_{tag}"), record);
    }
    catch_up(&appview, &appview.settings(), &appview.alice, "alice.test").await;
    let visitor = Browser::new(&appview);
    let tags = |text: &str| -> Vec<String> {
        let rows = text
            .split("class=\"table__main\" href=\"/r/alice.test/tools/app:")
            .skip(1);
        rows.map(|row| row.split('"').next().unwrap().to_owned())
            .collect()
    };
    let link = |text: &str, rel: &str| -> Option<String> {
        let before = text
            .split(&format!("rel=\"{rel}\""))
            .next()
            .filter(|before| before.len() < text.len())?;
        let href = before.rsplit("href=\"").next()?.split('"').next()?;
        Some(href.replace("&#38;", "&").replace("&amp;", "&"))
    };
    let mut path = "/r/alice.test/tools/app/-/tags?sort=version".to_owned();
    let mut all = Vec::new();
    for _ in 0..5 {
        let text = visitor.get(&path).await.text();
        all.extend(tags(&text));
        match link(&text, "next") {
            Some(next) => path = next,
            None => break,
        }
    }
    assert_eq!(all.len(), 122);
    assert_eq!((all[0].as_str(), all[110].as_str()), ("2.119", "2.9"));
    let text = visitor.get(&path).await.text();
    let back = visitor.get(&link(&text, "prev").unwrap()).await.text();
    assert_eq!(tags(&back), all[50..100]);
    let text = visitor
        .get("/r/alice.test/tools/app/-/tags?filter=.11")
        .await
        .text();
    assert_eq!(tags(&text).len(), 11, "{text}");
    let none = visitor
        .get("/r/alice.test/tools/app/-/tags?filter=<x>")
        .await
        .text();
    assert!(none.contains("No tag has “&#60;x&#62;” in its name."), "{none}");
}

#[tokio::test]
async fn a_star_is_a_record_of_whoever_gives_it() {
    let appview = TestAppView::start().await;
    push(&appview).await;
    let path = "/r/alice.test/tools/app/-/star";
    let bob = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    let page = |text: &str| text.contains(">Starred</span>");
    let stars = || appview.pds.rkeys(&appview.bob, "io.atcr.sailor.star").len();
    // Without the token of a page of ours, nothing happens.
    bob.post(path, &[("star", "true")]).await.assert_status(403);
    assert_eq!(stars(), 0);
    let given = bob.submit(path, &[("star", "true")]).await;
    given.assert_status(303);
    assert_eq!(given.header("location"), "/r/alice.test/tools/app");
    assert_eq!(stars(), 1);
    catch_up(&appview, &appview.settings(), &appview.bob, "bob.test").await;
    let text = bob.get("/r/alice.test/tools/app").await.text();
    assert!(page(&text) && text.contains("1 star<"), "{text}");
    assert!(
        bob.get("/u/bob.test/-/stars")
            .await
            .text()
            .contains("/r/alice.test/tools/app")
    );
    assert!(
        bob.get("/r/alice.test/tools/app/-/stars")
            .await
            .text()
            .contains("href=\"/u/bob.test\"")
    );
    // Twice is once.
    bob.submit(path, &[("star", "true")]).await.assert_status(303);
    assert_eq!(stars(), 1);
    bob.submit(path, &[("star", "false")]).await.assert_status(303);
    assert_eq!(stars(), 0);
    // A visitor is led to sign in, and back.
    let visitor = Browser::new(&appview);
    let text = visitor.get("/r/alice.test/tools/app").await.text();
    assert!(
        text.contains("/auth/oauth/login?return_to=%2Fr%2Falice.test%2Ftools%2Fapp"),
        "{text}"
    );
}

#[tokio::test]
async fn feeds_and_badges_say_what_the_index_knows() {
    let appview = TestAppView::start().await;
    let digest = push(&appview).await;
    // The first listing of an account is no news.
    let record =
        atcr_test_support::fakes::pds::original::tag(&appview.alice, "tools/app", "2.0", digest.as_str());
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.tag", "tools_app_2.0", record);
    catch_up(&appview, &appview.settings(), &appview.alice, "alice.test").await;
    let visitor = Browser::new(&appview);
    let feed = visitor.get("/r/alice.test/tools/app/-/feed").await;
    feed.assert_status(200);
    assert_eq!(feed.header("content-type"), "application/atom+xml; charset=utf-8");
    let text = feed.text();
    assert!(
        text.contains("<title>alice.test/tools/app:2.0 is new</title>"),
        "{text}"
    );
    assert!(text.contains(&format!("<summary>{digest}</summary>")), "{text}");
    for (name, words) in [
        ("pulls", "pulls: 0"),
        ("tag", "image: latest"),
        ("size", "size: "),
    ] {
        let badge = visitor
            .get(&format!("/r/alice.test/tools/app/-/badge/{name}.svg"))
            .await;
        badge.assert_status(200);
        assert_eq!(badge.header("content-type"), "image/svg+xml");
        assert!(badge.text().contains(words), "{}", badge.text());
    }
    visitor
        .get("/r/alice.test/tools/app/-/badge/other.svg")
        .await
        .assert_status(404);
}

#[tokio::test]
async fn the_parts_of_pages_are_shown_where_pages_are_made() {
    let appview = TestAppView::start().await;
    let page = Answer::of(appview.get("/components").header("accept", "text/html")).await;
    page.assert_status(200);
    let text = page.text();
    for forbidden in [" style=", "<script>", "onclick"] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
}

/// What the page of the tags says.
async fn tags_page(appview: &TestAppView) -> String {
    let page = Browser::new(appview).get("/r/alice.test/tools/app/-/tags").await;
    page.assert_status(200);
    page.text()
}

#[tokio::test]
async fn a_push_and_a_deletion_are_on_the_pages_when_they_are_acknowledged() {
    let appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    let name = "alice.test/tools/app";
    let alice = appview.sailor("alice.test", &[name]).await;
    let image = image(&appview, "amd64");
    for tag in ["first-tag", "second-tag", "third-tag"] {
        alice.push(name, tag, &image).await;
        assert!(tags_page(&appview).await.contains(tag), "{tag}");
    }
    let gone = alice.delete(&format!("/v2/{name}/manifests/second-tag")).await;
    gone.assert_status(202);
    let text = tags_page(&appview).await;
    assert!(
        text.contains("third-tag") && !text.contains("second-tag"),
        "{text}"
    );
}

#[tokio::test]
async fn an_account_that_the_index_does_not_know_is_read_when_its_page_is_opened() {
    let mut appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    let name = "alice.test/tools/app";
    let image = image(&appview, "amd64");
    appview
        .sailor("alice.test", &[name])
        .await
        .push(name, "1.0", &image)
        .await;
    let empty = appview.settings().paths.index.with_file_name("empty.db");
    appview.configure(|config| config.index.database_path = empty);
    appview.restart().await;
    let visitor = Browser::new(&appview);
    visitor.get("/r/alice.test/tools/app").await.assert_status(200);
    let home = visitor.get("/").await.text();
    assert!(home.contains("href=\"/r/alice.test/tools/app\""), "{home}");
}

#[tokio::test]
async fn the_pages_of_an_old_handle_lead_to_the_new_one() {
    let mut appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    let name = "alice.test/tools/app";
    let image = image(&appview, "amd64");
    let alice = appview.sailor("alice.test", &[name]).await;
    alice.push(name, "1.0", &image).await;
    appview.pds.rename(&appview.alice, "renamed.test");
    // The identity is not asked for again while it is remembered.
    appview.restart().await;
    let visitor = Browser::new(&appview);
    let found = visitor.get(&format!("/u/{}", appview.alice)).await;
    found.assert_status(200);
    while found_name(&appview).await != "/r/renamed.test/tools/app/-/tags" {
        tokio::task::yield_now().await;
    }
    let user = visitor.get("/u/alice.test").await;
    user.assert_status(307);
    assert_eq!(user.header("location"), "/u/renamed.test");
}

/// Where the old address of the tags leads.
async fn found_name(appview: &TestAppView) -> String {
    let answer = Browser::new(appview).get("/r/alice.test/tools/app/-/tags").await;
    answer.header("location").to_owned()
}

#[tokio::test]
async fn the_account_of_a_sailor_who_signs_in_is_read_at_once() {
    let mut appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    let name = "alice.test/tools/app";
    let image = image(&appview, "amd64");
    let alice = appview.sailor("alice.test", &[name]).await;
    alice.push(name, "1.0", &image).await;
    let empty = appview.settings().paths.index.with_file_name("empty.db");
    appview.configure(|config| config.index.database_path = empty);
    appview.restart().await;
    let visitor = Browser::alice(&appview).await;
    // The home page is made from the index alone.
    while !visitor
        .get("/")
        .await
        .text()
        .contains("href=\"/r/alice.test/tools/app\"")
    {
        tokio::task::yield_now().await;
    }
}
