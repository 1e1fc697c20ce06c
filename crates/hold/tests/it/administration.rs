//! Crew records managed by hand.

use atcr_atproto::crypto::Curve;
use atcr_hold::administration::{Administration, ManualWrite, Swap};
use atcr_hold::crew::CrewTurns;
use atcr_hold_pds::access::Access;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::identities::Account;
use crate::harness::{Answer, Setup, TestHold};

fn member(account: &Account, permissions: &[&str]) -> Value {
    json!({
        "$type": "io.atcr.hold.crew", "member": account.did, "role": "write", "permissions": permissions,
        "addedAt": "2026-11-01T00:00:00.000Z",
    })
}

async fn write(hold: &TestHold, method: &str, mut input: Value) -> Answer {
    input["repo"] = json!(hold.did());
    if input.get("collection").is_none() {
        input["collection"] = json!("io.atcr.hold.crew");
    }
    let nsid = format!("com.atproto.repo.{method}");
    hold.call(&nsid, Some(&hold.captain), &input).await
}

#[tokio::test]
async fn a_member_is_added_changed_and_removed_with_effect_at_once() {
    let hold = TestHold::start(Setup::default()).await;
    let sailor = hold.identities.account("sailor", Curve::K256);
    let may_write = async || {
        let input = json!({ "digest": "a" });
        hold.call("io.atcr.hold.initiateUpload", Some(&sailor), &input)
            .await
            .status
            == 200
    };
    assert!(!may_write().await);
    let created = write(
        &hold,
        "createRecord",
        json!({ "record": member(&sailor, &["blob:write"]) }),
    )
    .await
    .ok();
    assert_eq!(created["validationStatus"], "valid");
    assert!(may_write().await);

    let twice = write(
        &hold,
        "createRecord",
        json!({ "record": member(&sailor, &[]), "rkey": "other" }),
    )
    .await;
    assert_eq!(twice.error(), (409, "RecordExists"));
    let elsewhere = write(
        &hold,
        "putRecord",
        json!({ "record": member(&sailor, &[]), "rkey": "other" }),
    )
    .await;
    assert_eq!(elsewhere.error(), (409, "RecordExists"));

    let rkey = created["uri"]
        .as_str()
        .and_then(|uri| uri.rsplit('/').next())
        .expect("a key")
        .to_owned();
    let put = |permissions: &[&str], swap: Value| json!({ "record": member(&sailor, permissions), "rkey": rkey, "swapRecord": swap });
    let stale = write(&hold, "putRecord", put(&["blob:read"], Value::Null)).await;
    assert_eq!(stale.error(), (409, "InvalidSwap"));
    let changed = write(&hold, "putRecord", put(&["blob:read"], created["cid"].clone()))
        .await
        .ok();
    assert_ne!(changed["cid"], created["cid"]);
    assert!(!may_write().await);

    let delete = json!({ "rkey": rkey });
    let deleted = write(&hold, "deleteRecord", delete.clone()).await.ok();
    let again = write(&hold, "deleteRecord", delete).await.ok();
    assert_eq!(
        deleted["commit"], again["commit"],
        "nothing left to delete is no commit"
    );
    let gone = hold
        .query(&format!(
            "com.atproto.repo.getRecord?repo={}&collection=io.atcr.hold.crew&rkey={rkey}",
            hold.did()
        ))
        .await;
    assert_eq!(gone.error(), (404, "RecordNotFound"));
    hold.stop().await;
}

#[tokio::test]
async fn the_captain_record_and_the_holds_own_bookkeeping_are_out_of_reach() {
    let hold = TestHold::start(Setup::default()).await;
    let sailor = hold.identities.account("sailor", Curve::K256);
    let captain = json!({
        "owner": sailor.did, "public": true, "allowAllCrew": true, "enableBlueskyPosts": false,
        "deployedAt": "2026-11-01T00:00:00.000Z",
    });
    let rows = [
        (
            "putRecord",
            json!({ "collection": "io.atcr.hold.captain", "rkey": "self", "record": captain }),
        ),
        (
            "deleteRecord",
            json!({ "collection": "io.atcr.hold.captain", "rkey": "self" }),
        ),
        (
            "createRecord",
            json!({ "collection": "io.atcr.hold.layer", "record": {} }),
        ),
        (
            "deleteRecord",
            json!({ "collection": "io.atcr.hold.layer", "rkey": "3lcaaaaaaaa22" }),
        ),
        (
            "deleteRecord",
            json!({ "collection": "io.atcr.hold.stats", "rkey": "x" }),
        ),
        (
            "deleteRecord",
            json!({ "collection": "io.atcr.hold.scan", "rkey": "x" }),
        ),
        ("createRecord", json!({ "record": { "member": "nobody" } })),
        (
            "createRecord",
            json!({ "record": { "$type": "io.atcr.hold.stats" } }),
        ),
        (
            "putRecord",
            json!({ "rkey": "..", "record": member(&sailor, &[]) }),
        ),
        (
            "createRecord",
            json!({ "record": member(&sailor, &[]), "swapCommit": "latest" }),
        ),
        (
            "createRecord",
            json!({ "record": member(&sailor, &["x".repeat(65).as_str()]) }),
        ),
    ];
    for (method, input) in rows {
        let answer = write(&hold, method, input.clone()).await;
        assert_eq!(answer.error(), (400, "InvalidRequest"), "{method} {input}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn writes_of_one_call_happen_together_or_not_at_all() {
    let hold = TestHold::start(Setup::default()).await;
    let [anna, ben] = ["anna", "ben"].map(|name| hold.identities.account(name, Curve::K256));
    let kind = |kind: &str| format!("com.atproto.repo.applyWrites#{kind}");
    let crew = |action: &str, rkey: &str, account: &Account| {
        json!({
            "$type": kind(action), "collection": "io.atcr.hold.crew", "rkey": rkey, "value": member(account, &["blob:read"]),
        })
    };
    let post = json!({
        "$type": kind("create"), "collection": "app.bsky.feed.post",
        "value": { "text": "hello", "createdAt": "2026-11-01T00:00:00.000Z" },
    });
    let before = *hold.hold.repo().watch_seq().borrow();
    let writes = json!({ "writes": [crew("create", "anna", &anna), post, crew("update", "ben", &ben)] });
    let written = write(&hold, "applyWrites", writes).await.ok();
    let results = written["results"].as_array().expect("results");
    let said: Vec<_> = results
        .iter()
        .map(|result| (&result["$type"], &result["validationStatus"]))
        .collect();
    assert_eq!(
        said,
        [
            (&json!(kind("createResult")), &json!("valid")),
            (&json!(kind("createResult")), &json!("unknown")),
            (&json!(kind("updateResult")), &json!("valid")),
        ]
    );
    let events = hold.hold.repo().events_after(before, 10).await.expect("events");
    assert_eq!(events.len(), 1, "one commit");
    assert_eq!(
        written["commit"]["rev"],
        hold.hold.repo().latest_commit().rev.as_str()
    );

    // A member has one record, within a call as well; one that makes room for the other is no obstacle.
    let delete = json!({ "$type": kind("delete"), "collection": "io.atcr.hold.crew", "rkey": "anna" });
    let twice = json!({ "writes": [delete, crew("create", "a", &anna), crew("create", "b", &anna)] });
    assert_eq!(
        write(&hold, "applyWrites", twice).await.error(),
        (409, "RecordExists")
    );
    let there = async |rkey: &str| {
        let query = format!(
            "com.atproto.repo.getRecord?repo={}&collection=io.atcr.hold.crew&rkey={rkey}",
            hold.did()
        );
        hold.query(&query).await.status == 200
    };
    assert!(there("anna").await, "nothing of the call happened");
    let moved =
        json!({ "writes": [delete, crew("create", "a", &anna)], "swapCommit": written["commit"]["cid"] });
    let moved = write(&hold, "applyWrites", moved).await.ok();
    assert_eq!(moved["results"][0], json!({ "$type": kind("deleteResult") }));
    assert!(!there("anna").await && there("a").await);
    let stale = json!({ "writes": [delete], "swapCommit": written["commit"]["cid"] });
    assert_eq!(
        write(&hold, "applyWrites", stale).await.error(),
        (409, "InvalidSwap")
    );

    let checked = json!({ "writes": [post], "validate": true });
    assert_eq!(
        write(&hold, "applyWrites", checked).await.error(),
        (400, "InvalidRequest")
    );
    let kept = json!({ "writes": [
        { "$type": kind("create"), "collection": "io.atcr.hold.stats", "value": {} },
    ] });
    assert_eq!(
        write(&hold, "applyWrites", kept).await.error(),
        (400, "InvalidRequest")
    );
    hold.stop().await;
}

#[tokio::test]
async fn of_many_who_make_the_same_account_crew_at_once_one_succeeds() {
    let hold = TestHold::start(Setup {
        allow_all_crew: true,
        ..Setup::default()
    })
    .await;
    let sailor = hold.identities.account("sailor", Curve::K256);
    let writes = (0..8).map(|index| {
        let input = json!({ "record": member(&sailor, &["blob:read"]), "rkey": format!("key{index}") });
        let method = if index % 2 == 0 {
            "createRecord"
        } else {
            "putRecord"
        };
        let hold = &hold;
        async move { write(hold, method, input).await }
    });
    let input = json!({});
    let joining = hold.call("io.atcr.hold.requestCrew", Some(&sailor), &input);
    let (answers, joined) = futures_util::future::join(join_all(writes), joining).await;
    assert!(joined.status.is_success(), "{joined:?}");
    let written = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers
        .iter()
        .filter(|answer| answer.error() == (409, "RecordExists"))
        .count();
    assert_eq!(written + refused, 8, "{answers:?}");
    let crew = hold
        .hold
        .repo()
        .crew_page(100, None)
        .await
        .expect("readable")
        .members;
    let records = crew
        .iter()
        .filter(|found| found.record.member == sailor.did)
        .count();
    assert_eq!(records, 1);
    hold.stop().await;
}

#[tokio::test]
async fn writes_that_do_not_depend_on_each_other_share_commits_and_swaps_hold() {
    const MEMBERS: usize = 48;
    let hold = TestHold::start(Setup::default()).await;
    let before = *hold.hold.repo().watch_seq().borrow();
    let writes = (0..MEMBERS).map(|index| {
        let sailor = hold.identities.account(&format!("sailor{index}"), Curve::K256);
        let hold = &hold;
        async move {
            let record = json!({ "record": member(&sailor, &["blob:read"]) });
            let post = json!({ "collection": "app.example.post", "record": { "text": "hello" } });
            let both = futures_util::future::join(
                write(hold, "createRecord", record),
                write(hold, "createRecord", post),
            );
            both.await
        }
    });
    let mut created = None;
    for (record, post) in join_all(writes).await {
        post.ok();
        created = Some(record.ok());
    }
    let events = hold.hold.repo().events_after(before, 1000).await.expect("events");
    assert!(
        events.len() < MEMBERS,
        "{} commits for {} writes",
        events.len(),
        2 * MEMBERS
    );
    let members = hold
        .hold
        .repo()
        .crew_page(100, None)
        .await
        .expect("readable")
        .members;
    assert_eq!(members.len(), MEMBERS + 1);

    // Of those that expect the same version of a record, or the same commit, one succeeds.
    let created = created.expect("a member");
    let commit = hold.hold.repo().latest_commit().cid.to_string();
    let rkey = created["uri"]
        .as_str()
        .and_then(|uri| uri.rsplit('/').next())
        .expect("a key");
    let sailor = hold
        .identities
        .account(&format!("sailor{}", MEMBERS - 1), Curve::K256);
    for (name, expected) in [("swapCommit", &commit.into()), ("swapRecord", &created["cid"])] {
        let puts = (0..12).map(|index| {
            let word = format!("word{index}");
            let mut input = json!({ "rkey": rkey, "record": member(&sailor, &[&word]) });
            input[name] = expected.clone();
            if name == "swapCommit" {
                input["rkey"] = json!(format!("post{index}"));
                input["collection"] = json!("app.example.post");
                input["record"] = json!({ "text": word });
            }
            write(&hold, "putRecord", input)
        });
        let answers = join_all(puts).await;
        let written = answers.iter().filter(|answer| answer.status == 200).count();
        let refused = answers
            .iter()
            .filter(|answer| answer.error() == (409, "InvalidSwap"))
            .count();
        assert_eq!((written, refused), (1, 11), "{name}: {answers:?}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn a_caller_who_leaves_in_the_middle_makes_no_second_record_of_a_member_possible() {
    let hold = TestHold::start(Setup::default()).await;
    let repo = hold.hold.repo();
    let grant = Access::new(repo.clone())
        .crew_admin(&hold.captain.did)
        .await
        .expect("the captain");
    let turns = CrewTurns::default();
    let administration = Administration::new(repo.clone(), hold.hold.repo_blobs().clone(), turns);
    for polls in 1..40 {
        let sailor = hold.identities.account(&format!("sailor{polls}"), Curve::K256);
        let create = |rkey: &str| ManualWrite::Create {
            collection: "io.atcr.hold.crew".parse().expect("a collection"),
            rkey: Some(rkey.parse().expect("a key")),
            value: member(&sailor, &[]),
        };
        let (first, second) = (
            create(&format!("first{polls}")),
            create(&format!("second{polls}")),
        );
        {
            let mut leaving = Box::pin(administration.write(&grant, first, false, Swap::default()));
            for _ in 0..polls {
                if futures_util::poll!(leaving.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let _ = administration.write(&grant, second, false, Swap::default()).await;
        let page = repo.crew_page(100, None).await.expect("readable");
        let records = page
            .members
            .iter()
            .filter(|found| found.record.member == sailor.did);
        assert_eq!(records.count(), 1, "left after {polls} polls");
    }
    hold.stop().await;
}
