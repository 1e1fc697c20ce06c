//! Joining a hold.

use atcr_atproto::crypto::Curve;
use atcr_hold_pds::access::{Access, Membership};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::identities::Account;
use crate::harness::{Answer, Setup, TestHold};

const REQUEST: &str = "io.atcr.hold.requestCrew";

#[tokio::test]
async fn anybody_joins_an_open_hold_once() {
    let hold = TestHold::start(Setup {
        allow_all_crew: true,
        ..Setup::default()
    })
    .await;
    let sailor = hold.identities.account("sailor", Curve::P256);
    let joined = hold.call(REQUEST, Some(&sailor), &json!({})).await;
    assert_eq!(joined.status, 201);
    assert_eq!(joined.body["status"], "created");
    let again = hold.call(REQUEST, Some(&sailor), &json!({})).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.body["status"], "already_member");
    assert_eq!(again.body["uri"], joined.body["uri"]);
    assert_eq!(again.body["cid"], joined.body["cid"]);

    // A first push works straight away.
    hold.put_blob(&sailor, b"a layer").await;

    let anonymous = hold.call(REQUEST, None, &json!({})).await;
    assert_eq!(anonymous.error(), (401, "AuthRequired"));
    hold.stop().await;
}

#[tokio::test]
async fn nobody_grants_themselves_more_than_the_hold_gives_away() {
    let hold = TestHold::start(Setup {
        allow_all_crew: true,
        ..Setup::default()
    })
    .await;
    let rows: [(Value, &str, Value); 4] = [
        (
            json!({ "role": "admin", "permissions": ["crew:admin", "blob:write"] }),
            "member",
            json!(["blob:write"]),
        ),
        (
            json!({ "role": "read", "permissions": ["blob:read"] }),
            "read",
            json!(["blob:read"]),
        ),
        (
            json!({ "role": "owner" }),
            "member",
            json!(["blob:read", "blob:write"]),
        ),
        (json!({}), "member", json!(["blob:read", "blob:write"])),
    ];
    for (index, (input, role, permissions)) in rows.into_iter().enumerate() {
        let account = hold.identities.account(&format!("sailor{index}"), Curve::K256);
        let joined = hold.call(REQUEST, Some(&account), &input).await.ok();
        let uri = joined["uri"].as_str().expect("a URI");
        let rkey = uri.rsplit('/').next().expect("a key");
        let record = hold
            .query(&format!(
                "com.atproto.repo.getRecord?repo={}&collection=io.atcr.hold.crew&rkey={rkey}",
                hold.did()
            ))
            .await
            .ok();
        assert_eq!(record["value"]["role"], role, "{input}");
        assert_eq!(record["value"]["permissions"], permissions, "{input}");
        assert_eq!(record["value"]["member"], account.did.as_str());
    }
    let greedy = hold.identities.account("greedy", Curve::K256);
    let input = json!({ "permissions": ["crew:admin"] });
    let refused = hold.call(REQUEST, Some(&greedy), &input).await;
    assert_eq!(refused.error(), (400, "InvalidRequest"));
    hold.stop().await;
}

#[tokio::test]
async fn a_closed_hold_takes_nobody_but_knows_its_own() {
    let hold = TestHold::start(Setup::default()).await;
    let stranger = hold.identities.account("stranger", Curve::K256);
    let refused = hold.call(REQUEST, Some(&stranger), &json!({})).await;
    assert_eq!(refused.error(), (403, "RegistrationDisabled"));
    let member = hold.crew("member", &["blob:read"]).await;
    for account in [&member, &hold.captain] {
        let known = hold.call(REQUEST, Some(account), &json!({})).await;
        assert_eq!(
            (known.status.as_u16(), &known.body["status"]),
            (200, &json!("already_member"))
        );
    }
    hold.stop().await;
}

#[tokio::test]
async fn joining_many_times_at_once_makes_one_record() {
    let hold = TestHold::start(Setup {
        allow_all_crew: true,
        ..Setup::default()
    })
    .await;
    let sailor = hold.identities.account("sailor", Curve::K256);
    let answers = join_all((0..8).map(|_| hold.call(REQUEST, Some(&sailor), &Value::Null))).await;
    // `null` is no input; an empty object is.
    assert!(
        answers
            .iter()
            .all(|answer| answer.error() == (400, "InvalidRequest"))
    );
    let input = json!({});
    let answers = join_all((0..8).map(|_| hold.call(REQUEST, Some(&sailor), &input))).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1);
    assert!(
        answers.iter().all(|answer| answer.status.is_success()),
        "{answers:?}"
    );
    let membership = Access::new(hold.hold.repo().clone())
        .membership(&sailor.did)
        .await
        .expect("readable");
    assert!(matches!(membership, Membership::Crew(_)));
    hold.stop().await;
}

#[tokio::test]
async fn a_flood_of_joins_ends_at_the_hours_bound_and_leaves_members_alone() {
    let setup = Setup {
        allow_all_crew: true,
        ..Setup::default()
    };
    let hold = TestHold::start_with(setup, |config| {
        config.limits.new_members = "2/1h".parse().expect("a rate");
    })
    .await;
    let account = |name: &str| hold.identities.account(name, Curve::K256);
    let [first, second, third] = ["first", "second", "third"].map(account);
    let input = json!({});
    for member in [&first, &second] {
        // Many calls of one account count once.
        let joined = join_all((0..4).map(|_| hold.call(REQUEST, Some(member), &input))).await;
        assert!(
            joined.iter().all(|answer| answer.status.is_success()),
            "{joined:?}"
        );
    }
    let request = hold
        .request(reqwest::Method::POST, &format!("/xrpc/{REQUEST}"))
        .bearer_auth(hold.token(&third))
        .json(&json!({}));
    let refused = request.send().await.expect("an answer");
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1800");
    let body: Value = refused.json().await.expect("JSON");
    assert_eq!(body["error"], "RateLimitExceeded");
    for member in [&first, &hold.captain] {
        hold.call(REQUEST, Some(member), &json!({})).await.ok();
    }
    let page = hold
        .query(&format!(
            "com.atproto.repo.listRecords?repo={}&collection=io.atcr.hold.crew",
            hold.did()
        ))
        .await
        .ok();
    assert_eq!(
        page["records"].as_array().map(Vec::len),
        Some(3),
        "the captain and two"
    );
    hold.stop().await;
}

#[tokio::test]
async fn tiers_and_quota_are_there_without_limits() {
    let hold = TestHold::start(Setup::default()).await;
    assert_eq!(
        hold.query("io.atcr.hold.listTiers").await.ok(),
        json!({ "tiers": [] })
    );
    let quota = hold
        .query("io.atcr.hold.getQuota?userDid=did:plc:7iza6de2dwap2sbkpav7c6c6")
        .await
        .ok();
    assert_eq!(
        quota,
        json!({ "userDid": "did:plc:7iza6de2dwap2sbkpav7c6c6", "uniqueBlobs": 0, "totalSize": 0 })
    );
    let bad = hold.query("io.atcr.hold.getQuota?userDid=alice.test").await;
    assert_eq!(bad.error(), (400, "InvalidUserDid"));
    hold.stop().await;
}

/// How many crew records name the member.
async fn records_of(hold: &TestHold, member: &Account) -> usize {
    let mut cursor = None;
    let mut found = 0;
    loop {
        let page = hold
            .hold
            .repo()
            .crew_page(100, cursor.as_deref())
            .await
            .expect("readable");
        let theirs = page
            .members
            .iter()
            .filter(|crew| crew.record.member == member.did);
        found += theirs.count();
        cursor = page.cursor;
        if cursor.is_none() {
            return found;
        }
    }
}

fn by_hand(hold: &TestHold, member: &Account, rkey: &str) -> Value {
    json!({
        "repo": hold.did(), "collection": "io.atcr.hold.crew", "rkey": rkey,
        "record": {
            "$type": "io.atcr.hold.crew", "member": member.did, "role": "write", "permissions": ["blob:write", "crew:admin"],
            "addedAt": "2026-11-01T00:00:00.000Z",
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_races_a_member_has_one_record() {
    let setup = Setup {
        allow_all_crew: true,
        ..Setup::default()
    };
    let hold = TestHold::start(setup).await;
    for round in 0..8 {
        let member = hold.identities.account(&format!("sailor{round}"), Curve::K256);
        let joins = (0..4).map(async |_| hold.call(REQUEST, Some(&member), &json!({})).await);
        let creations = (0..3).map(async |number| {
            let input = by_hand(&hold, &member, &format!("r{round}x{number}"));
            let nsid = "com.atproto.repo.createRecord";
            hold.call(nsid, Some(&hold.captain), &input).await
        });
        let erasures = (0..round % 2).map(async |_| {
            hold.call("io.atcr.hold.deleteUserData", Some(&member), &json!({}))
                .await
        });
        let (joined, created, erased): (Vec<Answer>, Vec<Answer>, Vec<Answer>) =
            tokio::join!(join_all(joins), join_all(creations), join_all(erasures));
        assert!(
            joined
                .iter()
                .chain(&erased)
                .all(|answer| answer.status.is_success())
        );
        assert!(
            created
                .iter()
                .all(|answer| matches!(answer.status.as_u16(), 200 | 409))
        );
        let records = records_of(&hold, &member).await;
        assert!(records <= 1 && (records == 1 || round % 2 == 1), "{records}");
    }
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_who_is_removed_while_asking_to_join_stays_removed() {
    let hold = TestHold::start(Setup::default()).await;
    for round in 0..10 {
        let member = hold.identities.account(&format!("sailor{round}"), Curve::K256);
        let rkey = format!("r{round}");
        let input = by_hand(&hold, &member, &rkey);
        hold.call("com.atproto.repo.createRecord", Some(&hold.captain), &input)
            .await
            .ok();
        let joins = (0..12).map(async |_| {
            hold.call(REQUEST, Some(&member), &json!({}))
                .await
                .status
                .as_u16()
        });
        let remove = json!({ "repo": hold.did(), "collection": "io.atcr.hold.crew", "rkey": rkey });
        let removal = hold.call("com.atproto.repo.deleteRecord", Some(&hold.captain), &remove);
        let (joined, removed) = tokio::join!(join_all(joins), removal);
        removed.ok();
        assert!(
            joined.iter().all(|status| matches!(status, 200 | 403)),
            "{joined:?}"
        );
        assert_eq!(records_of(&hold, &member).await, 0);
    }
    hold.stop().await;
}
