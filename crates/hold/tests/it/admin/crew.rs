//! Members are looked up, added, changed, removed and imported, and the audit log tells.

use atcr_atproto::lexicon::crew;
use atcr_atproto::lexicon::nsid;
use atcr_hold_pds::RecordWrite;
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::Site;
use super::browser::Browser;

/// The member's record.
async fn record(site: &Site, did: &atcr_atproto::syntax::Did) -> Option<Value> {
    let member = site.repo().crew_by_member(did).await.unwrap()?;
    let stored = site
        .repo()
        .get_record(nsid::HOLD_CREW, member.rkey.as_str())
        .await;
    Some(stored.unwrap().unwrap().value)
}

/// A hold with two tiers.
async fn with_tiers() -> Site {
    Site::start_with(|config| {
        config.quota.tiers = ["deckhand=5GB", "bosun=50GB"]
            .map(|tier| serde_json::from_value(json!(tier)).unwrap())
            .to_vec();
    })
    .await
}

#[tokio::test]
async fn a_member_is_looked_up_added_changed_and_removed() {
    let site = with_tiers().await;
    let bob = site.account("bob.test");
    site.pds.put_record(
        bob.did.as_str(),
        "app.bsky.actor.profile",
        "self",
        json!({ "$type": "app.bsky.actor.profile", "displayName": "Bob <b>the</b> Builder" }),
    );
    let browser = Browser::of_captain(&site).await;
    // What is typed is shown as it is before anything is saved.
    let found = browser.get("/admin/crew/add?account=%40BOB.test").await;
    found.says(200, "Bob &#60;b&#62;the&#60;/b&#62; Builder");
    found.says(200, bob.did.as_str());
    assert_eq!(record(&site, &bob.did).await, None);
    for (typed, says) in [("nobody.test", "No account has the name"), ("x", "is no handle")] {
        browser
            .get(&format!("/admin/crew/add?account={typed}"))
            .await
            .says(422, says);
    }
    let did = bob.did.as_str();
    browser
        .submit(
            "/admin/crew/add",
            &[("did", did), ("permission", "blob:read"), ("tier", "admiral")],
        )
        .await
        .says(422, "There are deckhand, bosun");
    browser
        .submit("/admin/crew/add", &[("did", did)])
        .await
        .says(422, "at least one permission");
    browser
        .submit(
            "/admin/crew/add",
            &[("did", did), ("permission", "blob:read"), ("tier", "bosun")],
        )
        .await
        .leads_to("/admin/crew?done=added");
    let added = record(&site, &bob.did).await.unwrap();
    assert_eq!(
        (&added["role"], &added["permissions"], &added["tier"]),
        (&json!("member"), &json!(["blob:read"]), &json!("bosun"))
    );
    // Twice is not twice.
    browser
        .submit("/admin/crew/add", &[("did", did), ("permission", "blob:write")])
        .await
        .says(409, "Already a member");

    let list = browser.get("/admin/crew?q=bob").await;
    list.says(200, "bob.test");
    assert!(!list.text.contains("captain.test</bdi></a>"), "only Bob is found");
    let href = format!("/admin/crew/member/{}", crew::rkey(&bob.did).unwrap());
    browser.get(&href).await.says(200, "0 % of 50.0 GiB");

    // Words of a later version stay.
    let mut value = added.clone();
    value["permissions"] = json!(["blob:read", "blob:scan"]);
    value["note"] = json!("since ever");
    let write = RecordWrite::Put {
        collection: nsid::HOLD_CREW.parse().unwrap(),
        rkey: crew::rkey(&bob.did).unwrap(),
        value,
    };
    site.repo().write(vec![write]).await.unwrap();
    let form = [
        ("permission", "blob:read"),
        ("permission", "blob:write"),
        ("role", "guest"),
        ("tier", ""),
    ];
    browser
        .submit(&href, &form)
        .await
        .leads_to(&format!("{href}?done=saved"));
    browser
        .submit(&href, &form)
        .await
        .leads_to(&format!("{href}?done=same"));
    let changed = record(&site, &bob.did).await.unwrap();
    assert_eq!(
        changed["permissions"],
        json!(["blob:read", "blob:write", "blob:scan"])
    );
    assert_eq!(
        (&changed["role"], &changed["note"]),
        (&json!("guest"), &json!("since ever"))
    );
    assert_eq!(changed.get("tier"), None);
    browser
        .submit(&href, &[("permission", "all:of:it")])
        .await
        .says(422, "is no permission");

    browser
        .get(&format!("{href}/delete"))
        .await
        .says(200, "What stays");
    browser
        .submit(&format!("{href}/delete"), &[])
        .await
        .leads_to("/admin/crew?done=removed");
    assert_eq!(record(&site, &bob.did).await, None);
    browser.get(&href).await.says(404, "No such member");
    site.stop().await;
}

#[tokio::test]
async fn the_captain_stays_as_the_captain_is() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    let captain = site.hold.captain.did.clone();
    let before = record(&site, &captain).await;
    let href = format!("/admin/crew/member/{}", crew::rkey(&captain).unwrap());
    browser.get(&href).await.says(200, "This is you, the captain");
    browser
        .submit(&href, &[("permission", "blob:read")])
        .await
        .says(409, "The captain stays");
    browser
        .get(&format!("{href}/delete"))
        .await
        .says(409, "The captain stays");
    browser
        .submit(&format!("{href}/delete"), &[])
        .await
        .says(409, "The captain stays");
    assert_eq!(record(&site, &captain).await, before);
    site.stop().await;
}

#[tokio::test]
async fn an_import_does_what_it_showed() {
    let site = with_tiers().await;
    let browser = Browser::of_captain(&site).await;
    let (bob, eve) = (site.account("bob.test"), site.account("eve.test"));
    browser
        .submit(
            "/admin/crew/add",
            &[("did", bob.did.as_str()), ("permission", "blob:read")],
        )
        .await
        .leads_to("/admin/crew?done=added");
    let captain = site.hold.captain.did.to_string();
    let text = format!(
        "handle,permissions,tier\nbob.test,blob:read blob:write,bosun\neve.test,,\neve.test,,\nnobody.test,,\n{captain},blob:read,\n{},fly,\n",
        eve.did
    );
    let shown = browser.submit("/admin/crew/import", &[("members", &text)]).await;
    for says in [
        "1 member is added",
        "1 is changed",
        "4 rows are left out",
        "in a row above",
        "The captain stays",
        "is no permission",
    ] {
        shown.says(200, says);
    }
    assert_eq!(
        record(&site, &eve.did).await,
        None,
        "nothing is done before it was shown"
    );
    let mark = shown.text.split("name=\"mark\" value=\"").nth(1).unwrap();
    let mark = mark.split('"').next().unwrap();
    // What was shown is not what it would do by now.
    let tess = site.account("tess.test");
    let other = format!("{text}tess.test,,\n");
    browser
        .submit("/admin/crew/import", &[("members", &other), ("mark", mark)])
        .await
        .says(200, "The members have changed since");
    assert_eq!(record(&site, &tess.did).await, None);
    browser
        .submit("/admin/crew/import", &[("members", &text), ("mark", mark)])
        .await
        .leads_to("/admin/crew?done=imported&added=1&changed=1");
    browser
        .get("/admin/crew?done=imported&added=1&changed=1")
        .await
        .says(200, "Added: 1. Changed: 1.");
    assert_eq!(record(&site, &bob.did).await.unwrap()["tier"], "bosun");
    assert_eq!(record(&site, &eve.did).await.unwrap()["tier"], "deckhand");
    assert_eq!(
        record(&site, &eve.did).await.unwrap()["permissions"],
        json!(["blob:read", "blob:write"])
    );
    // What an export writes, an import takes, and nothing is different.
    for (format, kind) in [("csv", "text/csv; charset=utf-8"), ("json", "application/json")] {
        let export = browser.get(&format!("/admin/crew/export?format={format}")).await;
        assert_eq!(export.headers["content-type"], kind);
        let text = export.ok();
        assert!(text.contains("bob.test"), "{text}");
        browser
            .submit("/admin/crew/import", &[("members", &text)])
            .await
            .says(200, "3 stay as they are");
    }
    browser
        .submit("/admin/crew/import", &[("members", "name\nx\n")])
        .await
        .says(422, "first line");
    site.stop().await;
}

/// Writes a record of a member past the site, as an imported repository may have it.
async fn write_member(site: &Site, rkey: &str, value: Value) {
    let write = RecordWrite::Put {
        collection: nsid::HOLD_CREW.parse().unwrap(),
        rkey: rkey.parse().unwrap(),
        value,
    };
    site.repo().write(vec![write]).await.unwrap();
}

fn member_value(did: &str, permissions: &[&str], tier: Option<&str>) -> Value {
    let mut value = json!({
        "$type": nsid::HOLD_CREW, "member": did, "role": "member", "permissions": permissions,
        "addedAt": "2026-01-01T00:00:00.000Z",
    });
    if let Some(tier) = tier {
        value["tier"] = json!(tier);
    }
    value
}

#[tokio::test]
async fn who_was_removed_since_the_preview_does_not_come_back_by_the_import() {
    let site = with_tiers().await;
    let browser = Browser::of_captain(&site).await;
    let bob = site.account("bob.test");
    browser
        .submit(
            "/admin/crew/add",
            &[("did", bob.did.as_str()), ("permission", "blob:read")],
        )
        .await
        .leads_to("/admin/crew?done=added");
    let text = "handle,permissions,tier\nbob.test,blob:read blob:write,deckhand\n";
    let shown = browser.submit("/admin/crew/import", &[("members", text)]).await;
    shown.says(200, "1 is changed");
    let href = format!("/admin/crew/member/{}", crew::rkey(&bob.did).unwrap());
    browser
        .submit(&format!("{href}/delete"), &[])
        .await
        .leads_to("/admin/crew?done=removed");
    browser
        .submit(
            "/admin/crew/import",
            &[("members", text), ("mark", &shown.field("mark"))],
        )
        .await
        .says(200, "The members have changed since");
    assert_eq!(record(&site, &bob.did).await, None);
    site.stop().await;
}

#[tokio::test]
async fn an_import_that_stops_says_what_was_done() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    let did = |number: usize| format!("did:web:m{number:03}.test");
    // The key of the 150th is taken by another member's record.
    let taken = crew::rkey(&did(150).parse().unwrap()).unwrap();
    let other = member_value("did:web:other.test", &["blob:read"], None);
    write_member(&site, taken.as_str(), other).await;
    let text = (1..=160).fold("did\n".to_owned(), |text, number| text + &did(number) + "\n");
    let shown = browser.submit("/admin/crew/import", &[("members", &text)]).await;
    shown.says(200, "160 members are added");
    let stopped = browser
        .submit(
            "/admin/crew/import",
            &[("members", &text), ("mark", &shown.field("mark"))],
        )
        .await;
    stopped.says(409, "100 members were added or changed, and 60 members were not");
    assert!(!stopped.text.contains("Nothing was changed"), "{}", stopped.text);
    assert!(record(&site, &did(100).parse().unwrap()).await.is_some());
    assert_eq!(record(&site, &did(101).parse().unwrap()).await, None);
    browser
        .get("/admin/audit")
        .await
        .says(200, "the last 60 entries of the import were not done");
    site.stop().await;
}

#[tokio::test]
async fn an_export_of_what_this_version_does_not_know_is_taken_by_an_import() {
    let site = with_tiers().await;
    let browser = Browser::of_captain(&site).await;
    let dids = ["did:web:bob.test", "did:web:eve.test"];
    for (did, words, tier) in [
        (dids[0], ["blob:read", "blob:scan"], "gone"),
        (dids[1], ["blob:write", "=cmd()"], "bosun"),
    ] {
        let rkey = crew::rkey(&did.parse().unwrap()).unwrap();
        write_member(&site, rkey.as_str(), member_value(did, &words, Some(tier))).await;
    }
    for format in ["csv", "json"] {
        let export = browser.get(&format!("/admin/crew/export?format={format}")).await;
        let text = export.ok();
        assert!(!text.contains("cmd()"), "{text}");
        browser
            .submit("/admin/crew/import", &[("members", &text)])
            .await
            .says(200, "3 stay as they are, 0 rows are left out");
    }
    site.stop().await;
}

fn settings_form<'a>(version: &'a str, public: &'a str, joining: &'a str) -> [(&'a str, &'a str); 3] {
    [("version", version), ("public", public), ("joining", joining)]
}

#[tokio::test]
async fn a_form_that_was_open_while_something_changed_changes_nothing() {
    let site = Site::start_with(|config| {
        config.server.public = None;
        config.registration.allow_all_crew = None;
    })
    .await;
    let browser = Browser::of_captain(&site).await;
    // The settings: two pages are open, and the second one closes the hold.
    let first = browser.get("/admin/settings").await.field("version");
    browser
        .submit("/admin/settings", &settings_form(&first, "yes", "yes"))
        .await
        .leads_to("/admin/settings?done=saved");
    let open = browser.get("/admin/settings").await.field("version");
    browser
        .submit("/admin/settings", &settings_form(&open, "no", "yes"))
        .await
        .leads_to("/admin/settings?done=saved");
    browser
        .submit("/admin/settings", &settings_form(&open, "yes", "no"))
        .await
        .says(422, "was changed elsewhere meanwhile");
    let captain = site.repo().captain().await.unwrap().unwrap();
    assert!(!captain.public && captain.allow_all_crew);

    // A member: what was taken away meanwhile is not given back.
    let bob = site.account("bob.test");
    let form = [
        ("did", bob.did.as_str()),
        ("permission", "blob:read"),
        ("permission", "blob:write"),
    ];
    browser
        .submit("/admin/crew/add", &form)
        .await
        .leads_to("/admin/crew?done=added");
    let href = format!("/admin/crew/member/{}", crew::rkey(&bob.did).unwrap());
    let open = browser.get(&href).await.field("version");
    let saved = format!("{href}?done=saved");
    browser
        .submit(&href, &[("version", &open), ("permission", "blob:read")])
        .await
        .leads_to(&saved);
    browser
        .submit(
            &href,
            &[
                ("version", &open),
                ("permission", "blob:write"),
                ("role", "guest"),
            ],
        )
        .await
        .says(409, "changed elsewhere meanwhile");
    browser
        .submit(&href, &[("version", "x"), ("permission", "blob:write")])
        .await
        .says(409, "changed elsewhere meanwhile");
    assert_eq!(
        record(&site, &bob.did).await.unwrap()["permissions"],
        json!(["blob:read"])
    );
    site.stop().await;
}

#[tokio::test]
async fn a_member_has_a_page_whatever_the_key_and_keeps_the_tier_while_there_are_none() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    let did = "did:web:bob.test";
    write_member(&site, "export", member_value(did, &["blob:read"], Some("bosun"))).await;
    let list = browser.get("/admin/crew?q=bob").await.ok();
    assert!(list.contains("\"/admin/crew/member/export\""), "{list}");
    let href = "/admin/crew/member/export";
    browser.get(href).await.says(200, did);
    browser
        .submit(
            href,
            &[
                ("permission", "blob:read"),
                ("permission", "blob:write"),
                ("role", "guest"),
            ],
        )
        .await
        .leads_to("/admin/crew/member/export?done=saved");
    let changed = record(&site, &did.parse().unwrap()).await.unwrap();
    assert_eq!(
        (&changed["tier"], &changed["role"]),
        (&json!("bosun"), &json!("guest"))
    );
    // What was chosen stays chosen when it is refused.
    let refused = browser
        .submit(
            href,
            &[
                ("role", "guest with a name that is much too long"),
                ("permission", "crew:admin"),
            ],
        )
        .await;
    refused.says(422, "is longer than 32 bytes");
    refused.says(422, "value=\"crew:admin\" checked");
    assert!(!refused.text.contains("value=\"blob:read\" checked"));
    site.stop().await;
}

#[tokio::test]
async fn the_audit_log_has_every_change_and_shows_when_it_was_tampered_with() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    browser
        .get("/admin/audit")
        .await
        .says(200, "Nothing was changed here yet");
    let bob = site.account("bob.test");
    let form = [("did", bob.did.as_str()), ("permission", "blob:read")];
    browser
        .submit("/admin/crew/add", &form)
        .await
        .leads_to("/admin/crew?done=added");
    browser
        .submit("/admin/crew/add", &form)
        .await
        .says(409, "Already a member");
    let href = format!("/admin/crew/member/{}", crew::rkey(&bob.did).unwrap());
    browser
        .submit(&format!("{href}/delete"), &[])
        .await
        .leads_to("/admin/crew?done=removed");
    browser
        .submit("/admin/relays/crawl", &[])
        .await
        .leads_to("/admin/relays?done=asked");
    let log = browser.get("/admin/audit").await;
    log.says(200, "The chain of 5 entries is whole");
    for says in [
        "added a member",
        "that did not work",
        "removed a member",
        "asked the relays",
        bob.did.as_str(),
        "member; blob:read; tier none",
    ] {
        log.says(200, says);
    }
    let path = site.hold.data_dir().join("hold.sqlite");
    let options = SqliteConnectOptions::new().filename(path);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    for (change, at) in [
        ("UPDATE audit_log SET subject = 'did:web:x' WHERE seq = 3", 3),
        ("DELETE FROM audit_log WHERE seq = 2", 2),
    ] {
        sqlx::query(change).execute(&mut database).await.unwrap();
        browser
            .get("/admin/audit")
            .await
            .says(200, &format!("The chain is broken at entry {at}"));
    }
    database.close().await.unwrap();
    site.stop().await;
}

#[tokio::test]
async fn a_member_is_found_by_handle_among_many_who_are_none() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    let did: atcr_atproto::syntax::Did = "did:web:zoe.example".parse().unwrap();
    let rkey = crew::rkey(&did).unwrap();
    let value = member_value(did.as_str(), &["blob:read"], None);
    write_member(&site, rkey.as_str(), value).await;
    let path = site.hold.data_dir().join("hold.sqlite");
    let options = SqliteConnectOptions::new().filename(path);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let strangers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        INSERT OR REPLACE INTO known_handles SELECT 'did:plc:' || i, 's' || i || '.sea.test', 4102444800 FROM n";
    sqlx::query(strangers)
        .bind(3000)
        .execute(&mut database)
        .await
        .unwrap();
    sqlx::query("INSERT INTO known_handles VALUES ('did:web:zoe.example', 'zoe.sea.test', 4102444800)")
        .execute(&mut database)
        .await
        .unwrap();
    let found = browser.get("/admin/crew?q=sea.test").await;
    found.says(200, "zoe.sea.test");
    assert!(!found.text.contains("Type more of the handle"));
    sqlx::query(strangers)
        .bind(30_000)
        .execute(&mut database)
        .await
        .unwrap();
    let many = browser.get("/admin/crew?q=sea.test").await;
    many.says(200, "Type more of the handle");
    database.close().await.unwrap();
    site.stop().await;
}

#[tokio::test]
async fn a_large_crew_is_paged_in_both_directions() {
    let site = Site::start().await;
    let browser = Browser::of_captain(&site).await;
    let writes: Vec<RecordWrite> = (0..120)
        .map(|number| {
            let did: atcr_atproto::syntax::Did = format!("did:web:m{number:03}.test").parse().unwrap();
            let added = format!("2026-01-01T00:{:02}:{:02}.000Z", number / 60, number % 60);
            let record = crew::CrewRecord::new(did.clone(), "member", ["blob:read"], added.parse().unwrap());
            RecordWrite::create(Some(crew::rkey(&did).unwrap()), &record).unwrap()
        })
        .collect();
    for part in writes.chunks(100) {
        site.repo().write(part.to_vec()).await.unwrap();
    }
    let link = |page: &str, name: &str| {
        let before = page.split(&format!("\" rel=\"{name}\"")).next().unwrap();
        let href = before.rsplit("href=\"").next().unwrap();
        page.contains(&format!("rel=\"{name}\""))
            .then(|| href.replace("&#38;", "&"))
    };
    let first = browser.get("/admin/crew").await.ok();
    // The captain joined last.
    assert!(first.contains("captain.test") && first.contains("m119.test") && first.contains("m071.test"));
    assert_eq!(link(&first, "prev"), None);
    let second = browser.get(&link(&first, "next").unwrap()).await.ok();
    assert!(second.contains("m070.test") && second.contains("m021.test"));
    let third = browser.get(&link(&second, "next").unwrap()).await.ok();
    assert!(third.contains("m020.test") && third.contains("m000.test"));
    assert_eq!(link(&third, "next"), None);
    let back = browser.get(&link(&third, "prev").unwrap()).await.ok();
    assert!(back.contains("m070.test") && back.contains("m021.test") && !back.contains("m020.test"));
    browser
        .get("/admin/crew?q=m042&sort=storage")
        .await
        .says(200, "m042.test");
    browser.get("/admin/crew?q=%25_").await.says(200, "No member has");
    site.stop().await;
}

#[tokio::test]
async fn what_the_file_leaves_open_is_set_here_and_what_it_fixes_is_not() {
    let site = Site::start_with(|config| {
        config.registration.region = "eu-central".to_owned();
        config.server.public = None;
    })
    .await;
    let browser = Browser::of_captain(&site).await;
    let form = [
        ("region", "elsewhere"),
        ("successor", "did:web:next.test"),
        ("public", "yes"),
        ("joining", "yes"),
    ];
    browser
        .submit("/admin/settings", &form)
        .await
        .leads_to("/admin/settings?done=saved");
    browser
        .submit("/admin/settings", &form)
        .await
        .leads_to("/admin/settings?done=same");
    let captain = site.repo().captain().await.unwrap().unwrap();
    assert_eq!(captain.region.as_deref(), Some("eu-central"), "the file fixes it");
    assert!(
        captain.public && !captain.allow_all_crew,
        "the file fixes one of them"
    );
    assert_eq!(captain.successor.unwrap().as_str(), "did:web:next.test");
    let own = site.hold.did().to_string();
    for (successor, says) in [("next.test", "named by its DID"), (&own, "not its own successor")] {
        let refused = browser
            .submit("/admin/settings", &[("successor", successor), ("public", "no")])
            .await;
        refused.says(422, says);
        // What was typed and chosen still stands there.
        refused.says(422, &format!("name=\"successor\" value=\"{successor}\""));
        refused.says(422, "name=\"public\" value=\"no\" checked");
    }
    browser
        .submit("/admin/settings", &[("successor", "")])
        .await
        .leads_to("/admin/settings?done=saved");
    assert_eq!(site.repo().captain().await.unwrap().unwrap().successor, None);
    browser
        .get("/admin/audit")
        .await
        .says(200, "successor: did:web:next.test → none");
    site.stop().await;
}
