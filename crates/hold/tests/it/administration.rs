//! Crew records managed by hand.

use atcr_atproto::crypto::Curve;
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
