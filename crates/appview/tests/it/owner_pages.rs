//! What owners do on the pages of their images: delete with all that it means said before, undo it, write the README, compare.

use atcr_oci::{ImageManifest, Manifest, MediaType};
use atcr_test_support::fakes::PdsFault;
use atcr_web::figures::Bytes;
use http::StatusCode;
use serde_json::json;

use crate::browser::Browser;
use crate::harness::{Answer, TestAppView, descriptor, sha256};
use crate::image_pages::{image, index};

const NAME: &str = "alice.test/app";
const PAGE: &str = "/r/alice.test/app";

/// An appview whose index follows its own writes.
async fn started() -> TestAppView {
    TestAppView::start_with(|config| config.index.enabled = true).await
}

/// An image that shares its first layer with every other one of this.
fn layered(appview: &TestAppView, layer: &str) -> Manifest {
    let mut config = appview.blob(&format!("{{\"config\":{{\"Cmd\":[\"{layer}\"]}}}}"));
    config.media_type = MediaType::OCI_IMAGE_CONFIG;
    let layers = vec![appview.blob("a base of 22 bytes ...."), appview.blob(layer)];
    Manifest::from_image(&ImageManifest::new(config, layers)).unwrap()
}

fn tags(appview: &TestAppView) -> Vec<String> {
    let records = appview.pds.rkeys(&appview.alice, "io.atcr.tag");
    records.into_iter().map(|rkey| rkey.replace("app_", "")).collect()
}

fn manifests(appview: &TestAppView) -> usize {
    appview.pds.rkeys(&appview.alice, "io.atcr.manifest").len()
}

/// The fields of the page's form of deletion.
fn fields(page: &str) -> Vec<(String, String)> {
    let form = page.split("/-/delete\" class=\"actions\">").nth(1).unwrap();
    let form = form.split("</form>").next().unwrap();
    let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
    inputs
        .map(|input| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            (name.to_owned(), rest.split('"').next().unwrap().to_owned())
        })
        .collect()
}

/// Presses the button of the confirmation page.
async fn confirm(browser: &Browser<'_>, page: &Answer) -> Answer {
    page.assert_status(200);
    let fields = fields(&page.text());
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    browser.post(&format!("{PAGE}/-/delete"), &fields).await
}

/// Presses the first button that undoes something.
async fn undo(browser: &Browser<'_>, page: &str) -> Answer {
    let id = page.split("name=\"id\" value=\"").nth(1).unwrap();
    let id = id.split('"').next().unwrap();
    browser.submit(&format!("{PAGE}/-/undo"), &[("id", id)]).await
}

#[tokio::test]
async fn one_of_several_tags_is_deleted_and_comes_back() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let first = layered(&appview, "first");
    for tag in ["1.4", "1.4.2", "latest"] {
        sailor.push(NAME, tag, &first).await;
    }
    let alice = Browser::alice(&appview).await;
    let page = alice.get(&format!("{PAGE}/-/delete?tag=1.4.2")).await;
    let text = page.text();
    for words in [
        "Delete 1 tag?",
        "is still tagged <bdi>1.4, latest</bdi>",
        "Nothing: every layer is still needed",
        ">Delete 1 tag</button>",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    assert_eq!(tags(&appview).len(), 3, "a page deletes nothing");
    let deleted = confirm(&alice, &page).await;
    deleted.assert_status(303);
    assert_eq!(deleted.header("location"), format!("{PAGE}/-/tags"));
    assert_eq!(tags(&appview), ["1.4", "latest"]);
    let list = alice.get(&format!("{PAGE}/-/tags")).await.text();
    assert!(
        list.contains("Deleted 1 tag of <bdi>app</bdi>") && !list.contains("app:1.4.2"),
        "{list}"
    );
    // Strangers see nothing of it.
    let other = Browser::new(&appview).get(&format!("{PAGE}/-/tags")).await.text();
    assert!(
        !other.contains("Deleted 1 tag") && !other.contains("type=\"checkbox\""),
        "{other}"
    );
    undo(&alice, &list).await.assert_status(303);
    assert_eq!(tags(&appview), ["1.4", "1.4.2", "latest"]);
    let list = alice.get(&format!("{PAGE}/-/tags")).await.text();
    assert!(
        !list.contains("Deleted 1 tag") && list.contains("app:1.4.2"),
        "{list}"
    );
}

#[tokio::test]
async fn an_index_goes_with_its_images_and_all_comes_back_as_it_was() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let (amd64, arm64) = (image(&appview, "amd64"), image(&appview, "arm64"));
    for image in [&amd64, &arm64] {
        sailor.push(NAME, sha256(image).as_str(), image).await;
    }
    let both = index(&[("amd64", &amd64), ("arm64", &arm64)], &[]);
    for tag in ["1.0", "latest"] {
        sailor.push(NAME, tag, &both).await;
    }
    let about = Manifest::from_image(&ImageManifest {
        subject: Some(descriptor(&both)),
        ..ImageManifest::new(appview.blob("{}"), vec![appview.blob("a signature")])
    })
    .unwrap();
    sailor.push(NAME, sha256(&about).as_str(), &about).await;
    let alice = Browser::alice(&appview).await;

    // A platform of an index that stays cannot go, and its tags with it.
    let page = alice
        .get(&format!("{PAGE}/-/delete?digest={}", sha256(&amd64)))
        .await
        .text();
    assert!(
        page.contains("Nothing can be deleted") && page.contains("which stays: delete that first"),
        "{page}"
    );

    let digest = sha256(&both);
    let page = alice
        .get(&format!("{PAGE}/-/delete?digest={digest}&untagged=true"))
        .await;
    let text = page.text();
    let blobs = [&amd64, &arm64, &about].map(|image| image.blobs().map(|blob| blob.size).sum::<u64>());
    let bytes = format!("<strong>{}</strong>", Bytes(blobs.iter().sum()));
    assert!(text.contains("Delete 2 tags and 4 manifests?"), "{text}");
    assert!(text.contains(&bytes), "no {bytes} in {text}");
    let deleted = confirm(&alice, &page).await;
    deleted.assert_status(303);
    assert_eq!(deleted.header("location"), "/u/alice.test");
    assert_eq!((tags(&appview).len(), manifests(&appview)), (0, 0));
    sailor
        .get(&format!("/v2/{NAME}/manifests/latest"))
        .await
        .assert_status(404);
    alice.get(PAGE).await.assert_status(404);

    let own = alice.get("/u/alice.test").await.text();
    assert!(
        own.contains("Deleted 2 tags and 4 manifests of <bdi>app</bdi>"),
        "{own}"
    );
    // Another account cannot undo it.
    let bob = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    undo(&bob, &own).await.assert_status(403);
    undo(&alice, &own).await.assert_status(303);
    assert_eq!((tags(&appview).len(), manifests(&appview)), (2, 4));
    for reference in ["latest", "1.0", sha256(&arm64).as_str(), sha256(&about).as_str()] {
        let pulled = sailor.get(&format!("/v2/{NAME}/manifests/{reference}")).await;
        pulled.assert_status(200);
    }
    alice.get(PAGE).await.assert_status(200);
}

#[tokio::test]
async fn what_others_need_is_not_counted_as_freed_and_what_is_gone_does_not_come_back() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let (first, second) = (layered(&appview, "first"), layered(&appview, "the second"));
    sailor.push(NAME, "1", &first).await;
    sailor.push(NAME, "2", &second).await;
    let alice = Browser::alice(&appview).await;
    let page = alice.get(&format!("{PAGE}/-/delete?tag=2")).await.text();
    assert!(page.contains("stays without a tag"), "{page}");
    let page = alice.get(&format!("{PAGE}/-/delete?tag=2&untagged=true")).await;
    // Its own layer and configuration, not the base.
    let own: u64 = second.layers()[1].size + second.config().unwrap().size;
    assert!(
        page.text().contains(&format!("<strong>{}</strong>", Bytes(own))),
        "{}",
        page.text()
    );

    // The page was made before another client changed the repository.
    sailor.push(NAME, "3", &second).await;
    let again = confirm(&alice, &page).await;
    again.assert_status(200);
    assert!(
        again
            .text()
            .contains("The repository changed since the page before"),
        "{}",
        again.text()
    );
    assert_eq!(tags(&appview).len(), 3);
    let page = alice
        .get(&format!("{PAGE}/-/delete?tag=2&tag=3&untagged=true"))
        .await;
    confirm(&alice, &page).await.assert_status(303);
    assert_eq!((tags(&appview), manifests(&appview)), (vec!["1".to_owned()], 1));

    // The hold cleans up: then there is nothing to come back to, and the page says so.
    appview.hold.remove_blob(second.layers()[1].digest.as_str());
    let mut appview = appview;
    appview.restart().await;
    let alice = Browser::alice(&appview).await;
    let list = alice.get(&format!("{PAGE}/-/tags")).await.text();
    let refused = undo(&alice, &list).await;
    assert!(refused.status.is_client_error(), "{}", refused.text());
    assert!(
        refused.text().contains("names content that is not there"),
        "{}",
        refused.text()
    );
    assert_eq!((tags(&appview).len(), manifests(&appview)), (1, 1));
}

#[tokio::test]
async fn a_tag_that_was_set_anew_stays_where_it_is_when_its_deletion_is_undone() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let (first, second) = (layered(&appview, "first"), layered(&appview, "second"));
    for tag in ["1", "2", "latest"] {
        sailor.push(NAME, tag, &first).await;
    }
    let alice = Browser::alice(&appview).await;
    // All that match the filter, and exactly these.
    sailor.push(NAME, "other", &second).await;
    let page = alice.get(&format!("{PAGE}/-/delete?all=true&filter=T")).await;
    assert!(page.text().contains("Delete 2 tags?"), "{}", page.text());
    confirm(&alice, &page).await.assert_status(303);
    assert_eq!(tags(&appview), ["1", "2"]);
    sailor.push(NAME, "latest", &second).await;
    let list = alice.get(&format!("{PAGE}/-/tags")).await.text();
    let undone = undo(&alice, &list).await;
    undone.assert_status(200);
    assert!(
        undone.text().contains("stay where they are now: latest"),
        "{}",
        undone.text()
    );
    assert_eq!(tags(&appview), ["1", "2", "latest", "other"]);
    let latest = sailor.head(&format!("/v2/{NAME}/manifests/latest")).await;
    assert_eq!(latest.header("docker-content-digest"), sha256(&second).as_str());
}

#[tokio::test]
async fn nobody_else_deletes_or_writes() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    sailor.push(NAME, "1", &layered(&appview, "first")).await;
    let visitor = Browser::new(&appview);
    let bob = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    let alice = Browser::alice(&appview).await;
    let page = alice.get(&format!("{PAGE}/-/delete?tag=1")).await;
    for path in ["/-/delete?tag=1", "/-/edit"] {
        let to = visitor.get(&format!("{PAGE}{path}")).await;
        to.assert_status(303);
        assert!(to.header("location").starts_with("/auth/oauth/login?return_to="));
        let refused = bob.get(&format!("{PAGE}{path}")).await;
        refused.assert_status(403);
        assert!(
            refused
                .text()
                .contains("Only alice.test can change this; you are signed in as bob.test."),
            "{}",
            refused.text()
        );
    }
    let fields = fields(&page.text());
    let seen = fields.iter().find(|(name, _)| name == "seen").unwrap().1.clone();
    let form = [("tag", "1"), ("untagged", "false"), ("seen", seen.as_str())];
    let delete = format!("{PAGE}/-/delete");
    bob.submit(&delete, &form).await.assert_status(403);
    // From another site, without the token of a page of ours.
    alice.post(&delete, &form).await.assert_status(403);
    bob.submit(&format!("{PAGE}/-/edit"), &[("text", "mine"), ("action", "save")])
        .await
        .assert_status(403);
    // More fields than any form of ours has.
    let many = vec![("tag", "1"); 2_000];
    let refused = alice.submit(&delete, &many).await;
    refused.assert_status(400);
    assert!(
        refused.text().contains("The form is too long."),
        "{}",
        refused.text()
    );
    assert_eq!(tags(&appview).len(), 1);
    assert!(appview.pds.rkeys(&appview.alice, "io.atcr.repo.page").is_empty());
    alice.submit(&delete, &form).await.assert_status(303);
    assert!(tags(&appview).is_empty());
}

#[tokio::test]
async fn the_owner_writes_the_readme_with_a_preview_and_no_text_is_lost() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    sailor.push(NAME, "1", &layered(&appview, "first")).await;
    let alice = Browser::alice(&appview).await;
    let edit = format!("{PAGE}/-/edit");
    assert!(alice.get(PAGE).await.text().contains("Write one"));
    let page = alice.get(&edit).await.text();
    let version = |page: &str| -> String {
        let rest = page.split("name=\"version\" value=\"").nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let empty = version(&page);
    let stored = || -> Option<String> {
        let record = appview.pds.record(&appview.alice, "io.atcr.repo.page", "app")?;
        Some(record["description"].as_str()?.to_owned())
    };
    let form = |text: &'static str, version: &str, action: &'static str| {
        [
            ("text", text.to_owned()),
            ("version", version.to_owned()),
            ("action", action.to_owned()),
        ]
    };
    let send = async |form: [(&'static str, String); 3]| {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        alice.submit(&edit, &form).await
    };
    let preview = send(form("# Hi\r\n\r\n*there* <script>x</script>", &empty, "preview")).await;
    preview.assert_status(200);
    let text = preview.text();
    assert!(
        text.contains("<em>there</em>") && text.contains("not saved yet"),
        "{text}"
    );
    assert!(!text.contains("<script>x"), "{text}");
    assert_eq!(stored(), None);
    let saved = send(form("# Hi\r\n\r\nFirst.", &empty, "save")).await;
    saved.assert_status(303);
    assert_eq!(saved.header("location"), format!("{PAGE}?news=saved"));
    let after = alice.get(saved.header("location")).await.text();
    assert!(after.contains("<p>Saved.</p>"), "{after}");
    assert_eq!(stored().as_deref(), Some("# Hi\n\nFirst."));
    assert!(
        alice.get(PAGE).await.text().contains("<p>First.</p>"),
        "the page has it at once"
    );

    // Somebody else has written meanwhile: both texts are shown, and the next save replaces the one that was shown.
    let conflict = send(form("# Hi\n\nSecond.", &empty, "save")).await;
    conflict.assert_status(409);
    let text = conflict.text();
    assert!(
        text.contains("First.</textarea>") && text.contains("Second.</textarea>"),
        "{text}"
    );
    assert_eq!(stored().as_deref(), Some("# Hi\n\nFirst."));
    send(form("# Hi\n\nSecond.", &version(&text), "save"))
        .await
        .assert_status(303);
    assert_eq!(stored().as_deref(), Some("# Hi\n\nSecond."));

    // Fields of other writers stay.
    let mut record = appview
        .pds
        .record(&appview.alice, "io.atcr.repo.page", "app")
        .unwrap();
    record["theirs"] = "kept".into();
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.repo.page", "app", record);
    let now = version(&alice.get(&edit).await.text());
    send(form("Third.", &now, "save")).await.assert_status(303);
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.repo.page", "app")
        .unwrap();
    assert_eq!(
        (record["theirs"].as_str(), record["description"].as_str()),
        (Some("kept"), Some("Third."))
    );

    // A text that the lexicon does not allow, or no server takes, comes back with the reason.
    let now = version(&alice.get(&edit).await.text());
    for text in ["é".repeat(50_001), "\"\n".repeat(49_000)] {
        let long = |action| {
            [
                ("text", text.as_str()),
                ("version", now.as_str()),
                ("action", action),
            ]
        };
        if text.len() > 100_000 {
            alice.submit(&edit, &long("preview")).await.assert_status(422);
        }
        let refused = alice.submit(&edit, &long("save")).await;
        refused.assert_status(422);
        assert!(
            refused.text().contains("The text is too long."),
            "{}",
            refused.status
        );
    }
    // A sign-in that ended costs no text, and a form of another site gets none shown.
    appview
        .sign_in()
        .end(&appview.alice.parse().unwrap())
        .await
        .unwrap();
    let ended = send(form("Fourth.", &now, "save")).await;
    assert!(
        ended
            .text()
            .contains("Your sign-in ended; your text is kept here")
            && ended.text().contains("Fourth.</textarea>"),
        "{} {}",
        ended.status,
        ended.text()
    );
    let visitor = Browser::new(&appview);
    let kept = visitor
        .post(&edit, &[("text", "Fifth."), ("action", "save")])
        .await;
    kept.assert_status(422);
    assert!(kept.text().contains("Fifth.</textarea>"), "{}", kept.text());
    assert_eq!(stored().as_deref(), Some("Third."));
}

#[tokio::test]
async fn two_images_are_compared_value_by_value_and_layer_by_layer() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME, "alice.test/other"]).await;
    let build = |command: &str, label: &str, layers: &[&str]| {
        let config = serde_json::json!({
            "os": "linux", "architecture": "amd64",
            "config": { "Cmd": [command], "Env": ["PATH=/bin"], "Labels": { "version": label, "<b>": "x" } },
            "history": layers.iter().map(|layer| serde_json::json!({ "created_by": format!("RUN {layer}") })).collect::<Vec<_>>(),
        });
        let mut config = appview.blob(&config.to_string());
        config.media_type = MediaType::OCI_IMAGE_CONFIG;
        let layers = layers.iter().map(|layer| appview.blob(layer)).collect();
        Manifest::from_image(&ImageManifest::new(config, layers)).unwrap()
    };
    let old = build("serve", "1", &["base", "old part"]);
    let new = build("run", "2", &["base", "new part", "more"]);
    sailor.push(NAME, "1.0", &old).await;
    sailor.push(NAME, "2.0", &new).await;
    sailor.push("alice.test/other", "1", &new).await;
    let visitor = Browser::new(&appview);
    let page = |query: String| {
        let visitor = &visitor;
        async move { visitor.get(&format!("{PAGE}/-/diff{query}")).await }
    };
    let same_repository = page("?from=1.0&to=2.0".to_owned()).await;
    let other = page(format!("?from={}&to=1&other=alice.test/other", sha256(&old))).await;
    for answer in [same_repository, other] {
        answer.assert_status(200);
        let text = answer.text();
        for words in [
            "1 of 3 layers shared. 1 setting changed. 1 label changed.",
            "<code class=\"code-wrap\">serve</code>",
            "<code class=\"code-wrap\">run</code>",
            "RUN new part",
            "RUN old part",
            "1 value is the same",
            "<code>&#60;b&#62;</code>",
        ] {
            assert!(text.contains(words), "no {words} in {text}");
        }
        for (word, times) in [("> added<", 2), ("> removed<", 1), ("> changed<", 2)] {
            assert_eq!(text.matches(word).count(), times, "{word} in {text}");
        }
    }
    assert!(
        page("?from=1.0&to=1.0".to_owned())
            .await
            .text()
            .contains("Both are the same image.")
    );
    let form = page(String::new()).await;
    form.assert_status(200);
    assert!(form.text().contains("<option value=\"2.0\">"), "{}", form.text());
    for (query, status, words) in [
        (
            "?from=1.0&to=9",
            StatusCode::NOT_FOUND,
            "alice.test/app has no tag “9”.",
        ),
        ("?from=1.0&to=%00", StatusCode::UNPROCESSABLE_ENTITY, "Name a tag"),
        (
            "?from=1.0&to=1&other=x",
            StatusCode::UNPROCESSABLE_ENTITY,
            "OWNER/NAME",
        ),
        (
            "?from=1.0&to=1&other=alice.test/none",
            StatusCode::NOT_FOUND,
            "No repository",
        ),
    ] {
        let refused = page(query.to_owned()).await;
        assert_eq!(refused.status, status, "{query}");
        assert!(refused.text().contains(words), "{query}: {}", refused.text());
        assert!(
            refused.text().contains("value=\"1.0\""),
            "what was typed stays: {query}"
        );
    }
    // The hold is asked for configurations only, so the rest is compared without it.
    appview.hold.set_silent(true);
    appview.hold.forget_calls();
    let again = page("?from=1.0&to=2.0".to_owned()).await.text();
    assert!(again.contains("1 of 3 layers shared"), "{again}");
}

#[tokio::test]
async fn a_tag_is_moved_and_moved_back_as_the_activity_shows_it() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let (first, second) = (layered(&appview, "first"), layered(&appview, "second"));
    sailor.push(NAME, "stable", &first).await;
    sailor.push(NAME, "edge", &second).await;
    let points_at = async |tag: &str| {
        let answer = sailor.head(&format!("/v2/{NAME}/manifests/{tag}")).await;
        answer.header("docker-content-digest").to_owned()
    };
    let alice = Browser::alice(&appview).await;
    let digest = sha256(&second);
    let page = alice.get(&format!("{PAGE}@{digest}")).await.text();
    assert!(page.contains("Point a tag at this image"), "{page}");
    let set = format!("{PAGE}/-/tag");
    let form = [("tag", "stable"), ("digest", digest.as_str())];
    let bob = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    bob.submit(&set, &form).await.assert_status(403);
    alice.post(&set, &form).await.assert_status(403);
    for tag in ["", "a b", "sha256:x"] {
        let refused = alice
            .submit(&set, &[("tag", tag), ("digest", digest.as_str())])
            .await;
        refused.assert_status(400);
    }
    let missing = format!("sha256:{}", "0".repeat(64));
    alice
        .submit(&set, &[("tag", "stable"), ("digest", &missing)])
        .await
        .assert_status(404);
    assert_eq!(points_at("stable").await, sha256(&first).as_str());
    alice.submit(&set, &form).await.assert_status(303);
    assert_eq!(points_at("stable").await, digest.as_str());
    let activity = alice.get(&format!("{PAGE}/-/activity")).await.text();
    let back = format!("name=\"digest\" value=\"{}\"", sha256(&first));
    assert!(
        activity.contains("Move it back") && activity.contains(&back),
        "{activity}"
    );
    let stranger = Browser::new(&appview)
        .get(&format!("{PAGE}/-/activity"))
        .await
        .text();
    assert!(!stranger.contains("Move it back"), "{stranger}");
    let back = sha256(&first);
    alice
        .submit(&set, &[("tag", "stable"), ("digest", back.as_str())])
        .await
        .assert_status(303);
    assert_eq!(points_at("stable").await, back.as_str());
}

#[tokio::test]
async fn a_push_in_the_middle_of_a_deletion_is_not_lost() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let (first, second) = (layered(&appview, "first"), layered(&appview, "second"));
    for (tag, image) in [("1", &first), ("2", &first), ("other", &second)] {
        sailor.push(NAME, tag, image).await;
    }
    let alice = Browser::alice(&appview).await;
    let page = alice
        .get(&format!("{PAGE}/-/delete?tag=1&tag=2&untagged=true"))
        .await;
    assert!(
        page.text().contains("Delete 2 tags and 1 manifest?"),
        "{}",
        page.text()
    );
    // When the deletion is under way, another client moves one of its tags, and sets another one to its image.
    for (from, tag) in [("app_other", "2"), ("app_1", "3")] {
        let mut record = appview.pds.record(&appview.alice, "io.atcr.tag", from).unwrap();
        record["tag"] = tag.into();
        appview
            .pds
            .write_in_between(&appview.alice, "io.atcr.tag", &format!("app_{tag}"), record);
    }
    let deleted = confirm(&alice, &page).await;
    deleted.assert_status(200);
    let stays = format!("again: 2, {}.", sha256(&first));
    assert!(
        deleted.text().contains(&stays),
        "no {stays} in {}",
        deleted.text()
    );
    assert_eq!(tags(&appview), ["2", "3", "other"]);
    assert_eq!(manifests(&appview), 2);
    for (tag, image) in [("2", &second), ("3", &first)] {
        let answer = sailor.head(&format!("/v2/{NAME}/manifests/{tag}")).await;
        assert_eq!(
            answer.header("docker-content-digest"),
            sha256(image).as_str(),
            "{tag}"
        );
    }
    let list = alice.get(&format!("{PAGE}/-/tags")).await.text();
    let undone = undo(&alice, &list).await;
    assert!(
        undone.text().contains("stay where they are now: 2."),
        "{}",
        undone.text()
    );
    assert_eq!(tags(&appview), ["1", "2", "3", "other"]);
}

#[tokio::test]
async fn a_tag_that_is_moved_back_takes_no_image_away_and_an_old_page_moves_nothing() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let [first, second, third] = ["first", "second", "third"].map(|layer| layered(&appview, layer));
    let alice = Browser::alice(&appview).await;
    alice
        .submit("/settings/storage/auto-remove", &[("on", "true")])
        .await
        .assert_status(303);
    sailor.push(NAME, "stable", &first).await;
    sailor.push(NAME, "edge", &second).await;
    let set = format!("{PAGE}/-/tag");
    let point = async |image: &Manifest, now: &str| {
        let digest = sha256(image);
        let form = [("tag", "stable"), ("digest", digest.as_str()), ("now", now)];
        alice.submit(&set, &form).await
    };
    let stable = async || {
        let answer = sailor.head(&format!("/v2/{NAME}/manifests/stable")).await;
        answer.header("docker-content-digest").to_owned()
    };
    point(&second, "").await.assert_status(303);
    assert_eq!(stable().await, sha256(&second).as_str());
    assert_eq!(manifests(&appview), 2, "only a push removes what it untags");
    let activity = alice.get(&format!("{PAGE}/-/activity")).await.text();
    let now = format!("name=\"now\" value=\"{}\"", sha256(&second));
    assert!(activity.contains(&now), "no {now} in {activity}");

    sailor.push(NAME, "stable", &third).await;
    for now in [sha256(&second).as_str(), "none", "x"] {
        let refused = point(&first, now).await;
        refused.assert_status(400);
        assert!(
            refused.text().contains("was moved since the page was made"),
            "{now}: {}",
            refused.text()
        );
    }
    assert_eq!(stable().await, sha256(&third).as_str());
    point(&first, sha256(&third).as_str()).await.assert_status(303);
    assert_eq!(stable().await, sha256(&first).as_str());
    assert_eq!(manifests(&appview), 3);
    sailor
        .delete(&format!("/v2/{NAME}/manifests/stable"))
        .await
        .assert_status(202);
    point(&first, "none").await.assert_status(303);
    assert_eq!(stable().await, sha256(&first).as_str());
}

#[tokio::test]
async fn a_deletion_that_broke_off_says_so_and_is_finished_by_its_owner() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    for tag in ["1", "2"] {
        sailor.push(NAME, tag, &layered(&appview, "first")).await;
    }
    let alice = Browser::alice(&appview).await;
    let page = alice.get(&format!("{PAGE}/-/delete?tag=1")).await;
    let method = "com.atproto.repo.applyWrites";
    let fault = PdsFault::Status(500, "InternalServerError");
    appview.pds.set_fault(method, Some(fault));
    let failed = confirm(&alice, &page).await;
    assert!(failed.status.is_server_error(), "{}", failed.text());
    appview.pds.set_fault(method, None);
    assert_eq!(tags(&appview), ["1", "2"]);
    let list = alice.get(&format!("{PAGE}/-/tags")).await.text();
    assert!(
        list.contains("is not finished: some of it may still be there") && !list.contains("Deleted 1 tag of"),
        "{list}"
    );
    let id = list.split("name=\"id\" value=\"").nth(1).unwrap();
    let id = id.split('"').next().unwrap();
    let undo_path = format!("{PAGE}/-/undo");
    let bob = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    let finish = [("id", id), ("finish", "true")];
    assert!(bob.submit(&undo_path, &finish).await.status.is_client_error());
    assert_eq!(tags(&appview), ["1", "2"]);
    alice.submit(&undo_path, &finish).await.assert_status(303);
    assert_eq!(tags(&appview), ["2"]);
    let list = alice.get(&format!("{PAGE}/-/tags")).await.text();
    assert!(
        list.contains("Deleted 1 tag of") && !list.contains("is not finished"),
        "{list}"
    );
    undo(&alice, &list).await.assert_status(303);
    assert_eq!(tags(&appview), ["1", "2"]);
}

#[tokio::test]
async fn a_finished_deletion_is_not_made_again() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let first = layered(&appview, "first");
    for tag in ["1", "2"] {
        sailor.push(NAME, tag, &first).await;
    }
    let alice = Browser::alice(&appview).await;
    let page = alice.get(&format!("{PAGE}/-/delete?tag=1")).await;
    confirm(&alice, &page).await.assert_status(303);
    let list = alice.get(&format!("{PAGE}/-/tags")).await.text();
    let id = list.split("name=\"id\" value=\"").nth(1).unwrap();
    let id = id.split('"').next().unwrap();
    sailor.push(NAME, "1", &first).await;
    let finish = [("id", id), ("finish", "true")];
    let refused = alice.submit(&format!("{PAGE}/-/undo"), &finish).await;
    assert!(refused.status.is_client_error(), "{}", refused.text());
    assert_eq!(tags(&appview), ["1", "2"]);
}

#[tokio::test]
async fn a_deletion_goes_on_when_its_owner_closes_the_page() {
    let mut appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    for tag in ["1", "2"] {
        sailor.push(NAME, tag, &layered(&appview, "first")).await;
    }
    let alice = Browser::alice(&appview).await;
    let page = alice.get(&format!("{PAGE}/-/delete?tag=1")).await;
    let gate = appview.pds.gate_pages(&appview.alice);
    // The account is written to at the moment of the deletion, so it is listed again, which waits for the gate.
    let post = json!({ "$type": "app.bsky.feed.post", "text": "hello", "createdAt": "2026-01-01T00:00:00Z" });
    appview
        .pds
        .write_in_between(&appview.alice, "app.bsky.feed.post", "3kabcdefghi2x", post);
    tokio::select! {
        _ = confirm(&alice, &page) => panic!("the deletion did not wait for the account to be listed"),
        () = gate.arrived() => {}
    }
    gate.let_through(100);
    drop(alice);
    appview.stop().await;
    assert_eq!(tags(&appview), ["2"]);
}

#[tokio::test]
async fn a_text_takes_the_place_of_a_record_that_is_not_of_its_form() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    sailor.push(NAME, "1", &layered(&appview, "first")).await;
    let malformed = json!({ "$type": "io.atcr.repo.page", "repository": 7 });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.repo.page", "app", malformed);
    let alice = Browser::alice(&appview).await;
    let edit = format!("{PAGE}/-/edit");
    let page = alice.get(&edit).await.text();
    let version = page.split("name=\"version\" value=\"").nth(1).unwrap();
    let version = version.split('"').next().unwrap();
    let form = [("text", "# Mine"), ("version", version), ("action", "save")];
    alice.submit(&edit, &form).await.assert_status(303);
    let record = appview.pds.record(&appview.alice, "io.atcr.repo.page", "app");
    assert_eq!(record.unwrap()["description"], "# Mine");
}
