//! What people do who know Docker and not this registry: what they read then leads them on, and nothing of theirs is lost.

use http::Method;

use crate::browser::Browser;
use crate::harness::{Answer, Sailor, TestAppView, sha256};
use crate::image_pages::{image, index};

const NAME: &str = "alice.test/app";
const PAGE: &str = "/r/alice.test/app";

/// An appview whose index follows its own writes.
async fn started() -> TestAppView {
    TestAppView::start_with(|config| config.index.enabled = true).await
}

fn host(appview: &TestAppView) -> String {
    appview.url.trim_start_matches("http://").to_owned()
}

/// Deletes what `query` chooses, as the page's form does.
async fn delete(browser: &Browser<'_>, query: &str) {
    let page = browser.get(&format!("{PAGE}/-/delete?{query}")).await.text();
    let seen = page.split("name=\"seen\" value=\"").nth(1).unwrap();
    let seen = seen.split('"').next().unwrap();
    let chosen = query.split('&').map(|pair| pair.split_once('=').unwrap());
    let form: Vec<(&str, &str)> = chosen.chain([("seen", seen)]).collect();
    browser
        .submit(&format!("{PAGE}/-/delete"), &form)
        .await
        .assert_status(303);
}

/// The deletions that a page offers to undo, the last one first.
fn ids(page: &str) -> Vec<String> {
    let forms = page.split("name=\"id\" value=\"").skip(1);
    forms
        .map(|form| form.split('"').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn deletions_that_are_undone_in_the_wrong_order_lose_nothing() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let image = appview.image("first");
    sailor.push(NAME, "1", &image).await;
    let alice = Browser::alice(&appview).await;
    delete(&alice, "tag=1").await;
    delete(&alice, &format!("digest={}", sha256(&image))).await;
    let own = alice.get("/u/alice.test").await.text();
    let [of_image, of_tag] = ids(&own).try_into().unwrap();
    let undo = async |id: &str| alice.submit(&format!("{PAGE}/-/undo"), &[("id", id)]).await;

    let too_early = undo(&of_tag).await;
    too_early.assert_status(200);
    let text = too_early.text();
    assert!(
        text.contains("is not there any more: 1.") && text.contains("undo that deletion first"),
        "{text}"
    );
    assert!(text.contains("href=\"/u/alice.test\""), "{text}");
    let own = alice.get("/u/alice.test").await.text();
    assert_eq!(ids(&own), [of_image.clone(), of_tag.clone()], "both are kept");

    undo(&of_image).await.assert_status(303);
    let done = undo(&of_tag).await;
    done.assert_status(303);
    let list = alice.get(done.header("location")).await.text();
    assert!(
        list.contains("what was deleted is back") && list.contains("app:1\""),
        "{list}"
    );
    assert!(ids(&list).is_empty(), "{list}");
    let pulled = sailor.head(&format!("/v2/{NAME}/manifests/1")).await;
    assert_eq!(pulled.header("docker-content-digest"), sha256(&image).as_str());
}

#[tokio::test]
async fn a_push_without_a_sign_in_says_how_to_sign_in() {
    let appview = TestAppView::start().await;
    let scope = format!("repository:{NAME}:pull,push");
    let token = Answer::of(appview.get("/auth/token").query(&[("scope", &scope)])).await;
    let nobody = Sailor {
        appview: &appview,
        token: token.json()["token"].as_str().unwrap().to_owned(),
    };
    let upload = format!("/v2/{NAME}/blobs/uploads/");
    let refused = Answer::of(nobody.request(Method::POST, &upload)).await;
    refused.assert_error(401, "UNAUTHORIZED");
    let (message, host) = (refused.message(), host(&appview));
    for part in [
        "you are not signed in".to_owned(),
        format!("`docker-credential-atcr login {host}`"),
        format!("`docker login {host}`"),
    ] {
        assert!(message.contains(&part), "no {part} in {message}");
    }
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    // An account whose token is for something else only needs another one.
    let other = appview.sailor("alice.test", &["alice.test/other"]).await;
    let refused = Answer::of(other.request(Method::POST, &upload)).await;
    assert!(
        !refused.message().contains("not signed in"),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn a_push_under_a_name_that_is_not_ones_own_says_the_name_that_is() {
    let appview = TestAppView::start().await;
    let own = format!(
        "You are signed in as alice.test: name the image {}/alice.test/app",
        host(&appview)
    );
    for (name, why) in [
        ("bob.test/app", "bob.test/app is not yours to write to"),
        ("alice.tset/app", "there is no account alice.tset"),
        ("alice/app", "alice is no account, a handle has a dot"),
    ] {
        let scope = format!("repository:{name}:pull,push");
        let refused = appview
            .token_response("alice.test", crate::harness::PASSWORD, &[&scope])
            .await;
        refused.assert_error(403, "DENIED");
        let message = refused.message();
        assert!(message.contains(why) && message.contains(&own), "{message}");
    }
    let refused = Answer::of(appview.request(Method::POST, "/v2/app/blobs/uploads/")).await;
    assert!(
        refused.message().contains("such as alice.example.com/app"),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn a_pull_says_whether_the_repository_or_only_the_tag_is_missing() {
    let appview = TestAppView::start().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    sailor.push(NAME, "1", &appview.image("first")).await;
    let pull = async |name: &str, tag: &str| {
        let reader = appview.sailor("alice.test", &[]).await;
        let scope = format!("repository:{name}:pull");
        let token = appview.token("alice.test", &[&scope]).await;
        let reader = Sailor { token, ..reader };
        let answer = reader.get(&format!("/v2/{name}/manifests/{tag}")).await;
        (answer.code(), answer.message())
    };
    let (code, message) = pull(NAME, "2").await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("MANIFEST_UNKNOWN", "manifest 2 is not in alice.test/app")
    );
    let (code, message) = pull("alice.test/ap", "1").await;
    assert_eq!(code, "MANIFEST_UNKNOWN");
    assert!(
        message.contains("there is no repository alice.test/ap"),
        "{message}"
    );
    let (_, message) = pull("alice/app", "1").await;
    assert!(message.contains("a handle has a dot"), "{message}");
}

#[tokio::test]
async fn a_tag_that_is_somewhere_else_is_moved_after_a_question_and_back_with_one_button() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let (first, second) = (appview.image("first"), appview.image("second"));
    sailor.push(NAME, "stable", &first).await;
    sailor.push(NAME, "edge", &second).await;
    let stable = async || {
        let answer = sailor.head(&format!("/v2/{NAME}/manifests/stable")).await;
        answer.header("docker-content-digest").to_owned()
    };
    let alice = Browser::alice(&appview).await;
    let (from, to) = (sha256(&first), sha256(&second));
    let page = alice.get(&format!("{PAGE}:edge")).await.text();
    assert!(page.contains("name=\"ask\" value=\"true\""), "{page}");
    let set = format!("{PAGE}/-/tag");
    let form = [("tag", "stable"), ("digest", to.as_str()), ("ask", "true")];
    let asked = alice.submit(&set, &form).await;
    asked.assert_status(200);
    let text = asked.text();
    let now = format!("name=\"now\" value=\"{from}\"");
    assert!(
        text.contains("Move the tag <bdi>stable</bdi>?") && text.contains(&now),
        "{text}"
    );
    assert_eq!(stable().await, from.as_str(), "a question moves nothing");
    let answer = [("tag", "stable"), ("digest", to.as_str()), ("now", from.as_str())];
    let moved = alice.submit(&set, &answer).await;
    moved.assert_status(303);
    assert_eq!(stable().await, to.as_str());
    let after = alice.get(moved.header("location")).await.text();
    let undo = format!("name=\"digest\" value=\"{from}\"><input type=\"hidden\" name=\"now\" value=\"{to}\"");
    for part in ["The tag <bdi>stable</bdi> points at", ">Undo<", &undo] {
        assert!(after.contains(part), "no {part} in {after}");
    }
    // A tag that is not there yet is set at once.
    let new = [("tag", "new"), ("digest", to.as_str()), ("ask", "true")];
    alice.submit(&set, &new).await.assert_status(303);

    // A name that is none keeps what was typed, at its field.
    let wrong = [("tag", "my tag!"), ("digest", to.as_str()), ("ask", "true")];
    let refused = alice.submit(&set, &wrong).await;
    refused.assert_status(400);
    let text = refused.text();
    for part in [
        "value=\"my tag!\" aria-invalid=\"true\"",
        "id=\"set-tag-error\"",
        "<details class=\"fold\" open>",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[tokio::test]
async fn a_deletion_of_nothing_leads_back_to_the_list_it_was_chosen_from() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    for tag in ["1", "2"] {
        sailor.push(NAME, tag, &appview.image(tag)).await;
    }
    let alice = Browser::alice(&appview).await;
    for (query, list) in [("", "tags"), ("?list=manifests", "manifests")] {
        let nothing = alice.get(&format!("{PAGE}/-/delete{query}")).await;
        nothing.assert_status(303);
        let page = alice.get(nothing.header("location")).await;
        page.assert_status(200);
        assert!(
            nothing
                .header("location")
                .starts_with(&format!("{PAGE}/-/{list}?"))
        );
        assert!(page.text().contains("tick the boxes"), "{}", page.text());
    }
    // The page before is shown again by Back, and its button pressed again.
    delete(&alice, "tag=1").await;
    let again = alice
        .submit(&format!("{PAGE}/-/delete"), &[("tag", "1"), ("seen", "x")])
        .await;
    again.assert_status(303);
    let page = alice.get(again.header("location")).await.text();
    assert!(page.contains("what you chose is gone already"), "{page}");
}

#[tokio::test]
async fn lists_say_how_many_tags_they_leave_out() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let image = appview.image("first");
    for number in 0..61 {
        sailor.push(NAME, &format!("t{number:02}"), &image).await;
    }
    let visitor = Browser::new(&appview);
    let digest = sha256(&image);
    for (path, more) in [
        ("/-/manifests".to_owned(), "53 more</a>"),
        ("/-/tags".to_owned(), "52 more</a>"),
        (format!("@{digest}"), "and 11 more</a>"),
    ] {
        let page = visitor.get(&format!("{PAGE}{path}")).await.text();
        assert!(page.contains(more), "no {more} in {path}: {page}");
    }
}

#[tokio::test]
async fn a_preview_is_a_part_of_the_page_and_no_page_of_its_own() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    sailor.push(NAME, "1", &appview.image("first")).await;
    let alice = Browser::alice(&appview).await;
    let edit = format!("{PAGE}/-/edit");
    let page = alice.get(&edit).await.text();
    // With scripts the part comes in by itself; without, the browser goes to where it is.
    for part in [
        format!("formaction=\"{edit}#preview\""),
        "hx-target=\"#preview\"".to_owned(),
        "<section id=\"preview\">".to_owned(),
        "id=\"edit-news\"".to_owned(),
    ] {
        assert!(page.contains(&part), "no {part} in {page}");
    }
    let form = [("text", "# Hi"), ("action", "preview")];
    let shown = alice.submit(&edit, &form).await;
    shown.assert_status(200);
    let text = shown.text();
    let preview = text.split("<section id=\"preview\"").nth(1).unwrap();
    assert!(preview.contains(">Hi</h"), "{text}");
}

#[tokio::test]
async fn addresses_that_are_spelled_another_way_lead_to_the_page() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    sailor.push(NAME, "1", &appview.image("first")).await;
    let visitor = Browser::new(&appview);
    for (from, to) in [
        ("/alice.test", "/u/alice.test"),
        ("/alice.test/", "/u/alice.test"),
        ("/r/alice.test", "/u/alice.test"),
        ("/r/alice.test/", "/u/alice.test"),
        ("/u/alice.test/", "/u/alice.test"),
        ("/r/alice.test/app/", PAGE),
        ("/r/alice.test/app/-/tags/", "/r/alice.test/app/-/tags"),
    ] {
        let answer = visitor.get(from).await;
        answer.assert_status(308);
        assert_eq!(answer.header("location"), to, "{from}");
        visitor.get(to).await.assert_status(200);
    }
    let no_handle = visitor.get("/u/alice").await;
    no_handle.assert_status(404);
    assert!(
        no_handle.text().contains("A handle has a dot"),
        "{}",
        no_handle.text()
    );
    for nothing in ["/r/alice.test/App@nothing", "/nothing/", "/u/", "/r/"] {
        visitor.get(nothing).await.assert_status(404);
    }
}

#[tokio::test]
async fn a_code_of_the_right_form_is_called_unknown_and_not_malformed() {
    let appview = TestAppView::start().await;
    let alice = Browser::alice(&appview).await;
    for (code, words) in [
        ("ABCD9999", "No device is waiting with this code"),
        ("ABCD-999", "four letters and four digits"),
    ] {
        let page = alice.get(&format!("/device?user_code={code}")).await;
        page.assert_status(422);
        assert!(page.text().contains(words), "{}", page.text());
    }
}

#[tokio::test]
async fn an_image_for_several_platforms_names_the_one_whose_scan_a_list_shows() {
    let appview = started().await;
    let sailor = appview.sailor("alice.test", &[NAME]).await;
    let (amd64, arm64) = (image(&appview, "amd64"), image(&appview, "arm64"));
    for image in [&amd64, &arm64] {
        sailor.push(NAME, sha256(image).as_str(), image).await;
    }
    sailor.push(NAME, "latest", &amd64).await;
    let both = index(&[("arm64", &arm64), ("amd64", &amd64)], &[]);
    sailor.push(NAME, "2.0", &both).await;
    let visitor = Browser::new(&appview);
    let tags = visitor.get(&format!("{PAGE}/-/tags")).await.text();
    let shown = "Scan report</a> <span class=\"said\">linux/amd64</span>";
    assert_eq!(tags.matches(shown).count(), 1, "{tags}");
}
