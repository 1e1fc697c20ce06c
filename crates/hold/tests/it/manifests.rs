//! What the hold remembers of pushed and pulled manifests.

use std::collections::HashSet;

use atcr_atproto::crypto::Curve;
use atcr_hold::manifests::Notice;
use atcr_hold_pds::RecordWrite;
use atcr_oci::{Algorithm, Digest};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::identities::Account;
use crate::harness::{Setup, TestHold};

const NOTIFY: &str = "io.atcr.hold.notifyManifest";

fn digest(seed: &str) -> String {
    Digest::of(Algorithm::Sha256, seed.as_bytes()).to_string()
}

fn notice(owner: &Account, operation: &str, manifest: &str, layers: &[(&str, u64)]) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(|(seed, size)| {
            json!({
                "digest": digest(seed), "size": size,
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            })
        })
        .collect();
    json!({
        "repository": "team/app",
        "userDid": owner.did,
        "manifestDigest": digest(manifest),
        "operation": operation,
        "tag": "latest",
        "manifest": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "digest": digest("config"), "size": 7 },
            "layers": layers,
        },
    })
}

async fn records(hold: &TestHold, collection: &str) -> Vec<Value> {
    // What was counted is published from time to time.
    hold.hold.counts().publish().await.expect("published");
    let page = hold
        .query(&format!(
            "com.atproto.repo.listRecords?repo={}&collection={collection}&limit=100",
            hold.did()
        ))
        .await
        .ok();
    page["records"]
        .as_array()
        .expect("records")
        .iter()
        .map(|record| record["value"].clone())
        .collect()
}

#[tokio::test]
async fn a_push_leaves_one_record_a_layer_however_often_it_is_told() {
    let hold = TestHold::start(Setup::default()).await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    hold.place_blobs(&["a layer", "b"]);
    let push = notice(
        &sailor,
        "push",
        "m1",
        &[("a layer", 10), ("b", 20), ("a layer", 10)],
    );
    let first = hold.call(NOTIFY, Some(&sailor), &push).await.ok();
    assert_eq!(
        first,
        json!({
            "success": true, "operation": "push", "statsUpdated": true, "layersCreated": 3, "postCreated": false,
        })
    );
    let again = hold.call(NOTIFY, Some(&sailor), &push).await.ok();
    assert_eq!(again["layersCreated"], 0);

    let layers = records(&hold, "io.atcr.hold.layer").await;
    assert_eq!(layers.len(), 3);
    let hex = digest("m1").strip_prefix("sha256:").expect("sha256").to_owned();
    for layer in &layers {
        assert_eq!(
            layer["manifest"],
            format!("at://{}/io.atcr.manifest/{hex}", sailor.did)
        );
        assert_eq!(layer["userDid"], sailor.did.as_str());
    }

    let quota = hold
        .query(&format!("io.atcr.hold.getQuota?userDid={}", sailor.did))
        .await
        .ok();
    assert_eq!(
        quota,
        json!({ "userDid": sailor.did, "uniqueBlobs": 2, "totalSize": 8 })
    );
    hold.stop().await;
}

#[tokio::test]
async fn pushes_and_pulls_are_counted_by_repository() {
    let hold = TestHold::start(Setup {
        public: true,
        ..Setup::default()
    })
    .await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    let stranger = hold.identities.account("stranger", Curve::K256);
    let pull = notice(&sailor, "pull", "m1", &[]);
    let push = notice(&sailor, "push", "m1", &[("a", 1)]);
    hold.call(NOTIFY, Some(&sailor), &push).await.ok();
    let pulled = hold.call(NOTIFY, Some(&stranger), &pull).await.ok();
    assert_eq!(
        pulled,
        json!({ "success": true, "operation": "pull", "statsUpdated": true })
    );
    let stats = records(&hold, "io.atcr.hold.stats").await;
    assert_eq!(stats.len(), 1);
    assert_eq!(stats[0]["ownerDid"], sailor.did.as_str());
    assert_eq!(stats[0]["repository"], "team/app");
    assert_eq!(
        (&stats[0]["pushCount"], &stats[0]["pullCount"]),
        (&json!(1), &json!(1))
    );

    let anonymous = hold.call(NOTIFY, None, &pull).await;
    assert_eq!(anonymous.error(), (401, "AuthRequired"));
    hold.stop().await;
}

#[tokio::test]
async fn a_pull_of_a_repository_without_records_is_counted_if_its_blobs_can_be_here() {
    let hold = TestHold::start(Setup {
        public: true,
        ..Setup::default()
    })
    .await;
    let owner = hold.identities.account("owner", Curve::K256);
    let stranger = hold.identities.account("stranger", Curve::K256);
    let mut elsewhere = notice(&owner, "pull", "m1", &[("a", 1)]);
    let told = hold.call(NOTIFY, Some(&stranger), &elsewhere).await.ok();
    assert_eq!(told["statsUpdated"], false, "the store has none of its blobs");
    assert!(records(&hold, "io.atcr.hold.stats").await.is_empty());

    hold.place_blobs(&["a"]);
    elsewhere["manifest"]["config"] = Value::Null;
    let told = hold.call(NOTIFY, Some(&stranger), &elsewhere).await.ok();
    assert_eq!(told["statsUpdated"], true);
    let mut index = notice(&owner, "pull", "m2", &[]);
    index["repository"] = json!("an-index");
    index["manifest"] = json!({ "manifests": [{ "digest": digest("m1"), "size": 3 }] });
    let told = hold.call(NOTIFY, Some(&stranger), &index).await.ok();
    assert_eq!(told["statsUpdated"], true, "an index names no blobs");
    let counted: Vec<Value> = records(&hold, "io.atcr.hold.stats")
        .await
        .iter()
        .map(|stats| stats["pullCount"].clone())
        .collect();
    assert_eq!(counted, [1, 1]);
    hold.stop().await;
}

#[tokio::test]
async fn pulls_alone_add_no_more_repositories_than_the_limit() {
    let setup = Setup {
        public: true,
        ..Setup::default()
    };
    let hold = TestHold::start_with(setup, |config| config.limits.new_repositories_per_hour = 20).await;
    let owner = hold.identities.account("owner", Curve::K256);
    let pull = async |reader: &Account, repository: String| {
        let mut pull = notice(&owner, "pull", "m", &[]);
        pull["repository"] = json!(repository);
        pull["manifest"] = json!({});
        let told = hold.call(NOTIFY, Some(reader), &pull).await.ok();
        told["statsUpdated"] == true
    };
    let mut counted = Vec::new();
    for index in 0..12 {
        let reader = hold.identities.account(&format!("reader{index}"), Curve::K256);
        let mut own = 0;
        for nth in 0..3 {
            own += u32::from(pull(&reader, format!("{index}/{nth}")).await);
        }
        counted.push(own);
    }
    assert_eq!(counted, [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0]);
    let reader = hold.identities.account("late", Curve::K256);
    assert!(
        pull(&reader, "0/0".to_owned()).await,
        "a known repository is counted"
    );
    hold.stop().await;
}

#[tokio::test]
async fn counts_under_the_key_of_another_hold_are_gone_on_with() {
    let hold = TestHold::start(Setup::default()).await;
    let captain = &hold.captain;
    let theirs = RecordWrite::Put {
        collection: "io.atcr.hold.stats".parse().expect("an NSID"),
        rkey: "ANOTHERKEY".parse().expect("a key"),
        value: json!({
            "ownerDid": captain.did, "repository": "team/app", "pullCount": 41, "pushCount": 7,
            "updatedAt": "2026-01-01T00:00:00.000Z",
        }),
    };
    hold.hold.repo().write(vec![theirs]).await.expect("written");
    let pull = notice(captain, "pull", "m1", &[]);
    hold.call(NOTIFY, Some(captain), &pull).await.ok();
    let stats = records(&hold, "io.atcr.hold.stats").await;
    assert_eq!(stats.len(), 1);
    assert_eq!(
        (&stats[0]["pushCount"], &stats[0]["pullCount"]),
        (&json!(7), &json!(42))
    );
    hold.stop().await;
}

#[tokio::test]
async fn an_account_beyond_its_hourly_limits_is_told_when_to_come_back() {
    let hold = TestHold::start_with(Setup::default(), |config| {
        config.limits.notices_per_hour = 4;
        config.limits.layers_per_manifest = 3;
        config.limits.layer_records_per_hour = 5;
    })
    .await;
    let seeds = ["a", "b", "c", "d"];
    hold.place_blobs(&seeds);
    let push = |manifest: &str, layers: &[&str]| {
        let layers: Vec<(&str, u64)> = layers.iter().map(|seed| (*seed, 1)).collect();
        notice(&hold.captain, "push", manifest, &layers)
    };
    let too_wide = hold.call(NOTIFY, Some(&hold.captain), &push("m0", &seeds)).await;
    assert_eq!(too_wide.error(), (400, "InvalidRequest"));
    hold.call(NOTIFY, Some(&hold.captain), &push("m1", &seeds[..3]))
        .await
        .ok();
    let over = push("m2", &seeds[..3]);
    let refused = hold.call(NOTIFY, Some(&hold.captain), &over).await;
    assert_eq!(refused.error(), (429, "RateLimitExceeded"));
    hold.call(NOTIFY, Some(&hold.captain), &push("m3", &seeds[..2]))
        .await
        .ok();
    assert_eq!(records(&hold, "io.atcr.hold.layer").await.len(), 5);

    // The same push again adds nothing, and is the last of four notices.
    hold.call(NOTIFY, Some(&hold.captain), &push("m1", &seeds[..3]))
        .await
        .ok();
    let response = hold
        .request(reqwest::Method::POST, &format!("/xrpc/{NOTIFY}"))
        .bearer_auth(hold.token(&hold.captain))
        .json(&push("m1", &seeds[..3]))
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), 429);
    let wait: u64 = response.headers()["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds");
    assert!((1..=3600).contains(&wait), "{wait}");
    let another = hold.crew("another", &["blob:write"]).await;
    let theirs = notice(&another, "push", "m1", &[("a", 1)]);
    hold.call(NOTIFY, Some(&another), &theirs).await.ok();
    hold.stop().await;
}

#[tokio::test]
async fn a_notice_may_leave_out_whatever_is_optional() {
    let hold = TestHold::start(Setup::default()).await;
    hold.place_blobs(&["a"]);
    let notice = json!({
        "repository": "app", "userDid": hold.captain.did, "manifestDigest": digest("m"), "tag": null, "operation": null,
        "manifest": {
            "mediaType": null, "config": {},
            "layers": [{}, { "digest": digest("a") }, { "size": 3 }, { "digest": null, "size": null, "mediaType": null }],
            "manifests": [{}, { "platform": {} }, { "digest": digest("child"), "platform": { "os": "linux" } }],
        },
    });
    let told = hold.call(NOTIFY, Some(&hold.captain), &notice).await.ok();
    assert_eq!(
        (&told["operation"], &told["layersCreated"]),
        (&json!("push"), &json!(1))
    );
    let layers = records(&hold, "io.atcr.hold.layer").await;
    assert_eq!(layers[0]["size"], 1, "the size is the store's");
    assert_eq!(layers[0]["mediaType"], "application/octet-stream");
    hold.stop().await;
}

#[test]
fn a_notice_keeps_tag_media_type_and_children() {
    let input = json!({
        "repository": "app", "userDid": "did:web:sailor.test", "manifestDigest": digest("m"), "tag": "v1",
        "manifest": {
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "digest": digest("child"), "size": 9, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "platform": { "os": "linux", "architecture": "arm64" },
            }],
        },
    });
    let parsed = |input: &Value| Notice::parse(serde_json::from_value(input.clone()).expect("input"), 10);
    let notice = parsed(&input).expect("valid");
    assert_eq!(notice.tag(), Some("v1"));
    assert_eq!(
        notice.media_type(),
        Some("application/vnd.oci.image.index.v1+json")
    );
    let [child] = notice.children() else {
        panic!("one child: {notice:?}");
    };
    assert_eq!(child.digest.as_str(), digest("child"));
    assert_eq!(
        child.media_type.as_deref(),
        Some("application/vnd.oci.image.manifest.v1+json")
    );
    assert_eq!(
        child
            .platform
            .as_ref()
            .map(|platform| platform.architecture.as_str()),
        Some("arm64")
    );
    let mut long = input;
    long["tag"] = json!("x".repeat(129));
    assert!(parsed(&long).is_err());
}

#[tokio::test]
async fn notices_that_come_at_once_are_all_counted_and_none_twice() {
    let hold = TestHold::start(Setup::default()).await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    hold.place_blobs(&["a", "b"]);
    let same = notice(&sailor, "push", "same", &[("a", 1), ("b", 1)]);
    let others: Vec<Value> = (0..20)
        .map(|index| notice(&sailor, "push", &format!("m{index}"), &[("a", 1)]))
        .collect();
    let calls = (0..20)
        .map(|_| hold.call(NOTIFY, Some(&sailor), &same))
        .chain(others.iter().map(|push| hold.call(NOTIFY, Some(&sailor), push)));
    let created: u64 = join_all(calls)
        .await
        .into_iter()
        .map(|answer| answer.ok()["layersCreated"].as_u64().expect("a number"))
        .sum();
    assert_eq!(created, 22);
    let layers = records(&hold, "io.atcr.hold.layer").await;
    assert_eq!(layers.len(), 22);
    let manifests: HashSet<&str> = layers
        .iter()
        .map(|layer| layer["manifest"].as_str().expect("a URI"))
        .collect();
    assert_eq!(manifests.len(), 21);
    let stats = records(&hold, "io.atcr.hold.stats").await;
    assert_eq!(stats[0]["pushCount"], 40);
    hold.stop().await;
}

#[tokio::test]
async fn more_layers_than_one_commit_takes_are_recorded_all_the_same() {
    let hold = TestHold::start(Setup::default()).await;
    let seeds: Vec<String> = (0..421).map(|index| format!("layer{index:03}")).collect();
    hold.place_blobs(&seeds.iter().map(String::as_str).collect::<Vec<_>>());
    let layers: Vec<(&str, u64)> = seeds.iter().map(|seed| (seed.as_str(), 2)).collect();
    let push = notice(&hold.captain, "push", "wide", &layers);
    let told = hold.call(NOTIFY, Some(&hold.captain), &push).await.ok();
    assert_eq!(told["layersCreated"], 421);
    let again = hold.call(NOTIFY, Some(&hold.captain), &push).await.ok();
    assert_eq!(again["layersCreated"], 0);
    let quota = hold
        .query(&format!("io.atcr.hold.getQuota?userDid={}", hold.captain.did))
        .await
        .ok();
    assert_eq!(
        (&quota["uniqueBlobs"], &quota["totalSize"]),
        (&json!(421), &json!(421 * 8))
    );
    hold.hold.repo().verify().await.expect("the repository is whole");
    hold.stop().await;
}

#[tokio::test]
async fn layers_count_with_the_size_that_they_have_and_only_if_they_are_there() {
    let hold = TestHold::start(Setup::default()).await;
    let stored = hold.put_blob(&hold.captain, b"ten bytes.").await;
    let mut push = notice(&hold.captain, "push", "m", &[("stored", 1), ("elsewhere", 7)]);
    push["manifest"]["layers"][0]["digest"] = json!(stored);
    let told = hold.call(NOTIFY, Some(&hold.captain), &push).await.ok();
    assert_eq!(told["layersCreated"], 1);
    let layers = records(&hold, "io.atcr.hold.layer").await;
    assert_eq!(layers.len(), 1, "a layer that the store does not have is dropped");
    assert_eq!(layers[0]["size"], 10);
    let quota = hold
        .query(&format!("io.atcr.hold.getQuota?userDid={}", hold.captain.did))
        .await
        .ok();
    assert_eq!(quota["totalSize"], 10);
    hold.stop().await;
}

#[tokio::test]
async fn a_media_type_that_is_too_long_costs_no_layer_its_record() {
    let hold = TestHold::start(Setup::default()).await;
    hold.place_blobs(&["a", "b", "c"]);
    let mut push = notice(&hold.captain, "push", "m", &[("a", 1), ("b", 1), ("c", 1)]);
    push["manifest"]["layers"][0]["mediaType"] = json!("x".repeat(129));
    push["manifest"]["layers"][1]["mediaType"] = json!(format!("application/x; {}", "y".repeat(200)));
    let told = hold.call(NOTIFY, Some(&hold.captain), &push).await.ok();
    assert_eq!(told["layersCreated"], 3);
    let layers = records(&hold, "io.atcr.hold.layer").await;
    let types: HashSet<&str> = layers
        .iter()
        .filter_map(|layer| layer["mediaType"].as_str())
        .collect();
    let expected = [
        "application/octet-stream",
        "application/x",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ];
    assert_eq!(types, HashSet::from(expected));
    hold.stop().await;
}

#[tokio::test]
async fn a_notice_that_cannot_be_believed_changes_nothing() {
    let hold = TestHold::start(Setup::default()).await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    let good = notice(&sailor, "push", "m", &[("a", 1)]);
    let changed = |pointer: &str, value: Value| {
        let mut input = good.clone();
        *input.pointer_mut(pointer).expect("a field") = value;
        input
    };
    let rows = [
        (
            changed("/userDid", json!(hold.captain.did)),
            (403, "UserMismatch"),
        ),
        (changed("/operation", json!("delete")), (400, "InvalidOperation")),
        (changed("/repository", json!("")), (400, "InvalidRequest")),
        (
            changed("/repository", json!("x".repeat(257))),
            (400, "InvalidRequest"),
        ),
        (
            changed("/manifestDigest", json!("sha256:zz")),
            (400, "InvalidRequest"),
        ),
        (
            changed("/manifest/layers/0/digest", json!("latest")),
            (400, "InvalidRequest"),
        ),
        (
            changed("/manifest/layers/0/size", json!(-1)),
            (400, "InvalidRequest"),
        ),
        (
            changed("/manifest/layers/0/size", json!(u64::MAX)),
            (400, "InvalidRequest"),
        ),
        (
            changed(
                "/manifest/layers",
                json!(vec![good["manifest"]["layers"][0].clone(); 5000]),
            ),
            (400, "InvalidRequest"),
        ),
    ];
    for (input, expected) in rows {
        let answer = hold.call(NOTIFY, Some(&sailor), &input).await;
        assert_eq!(answer.error(), expected, "{}", answer.message());
    }
    assert!(records(&hold, "io.atcr.hold.layer").await.is_empty());
    assert!(records(&hold, "io.atcr.hold.stats").await.is_empty());

    // The operation may be left out, and a manifest may name nothing.
    let mut bare = good.clone();
    bare.as_object_mut().expect("an object").remove("operation");
    bare["manifest"] = json!({});
    let told = hold.call(NOTIFY, Some(&sailor), &bare).await.ok();
    assert_eq!(
        (&told["operation"], &told["layersCreated"]),
        (&json!("push"), &json!(0))
    );
    hold.stop().await;
}

#[tokio::test]
async fn a_pull_is_no_commit_and_outlives_the_process_as_soon_as_it_is_answered() {
    let setup = Setup {
        public: true,
        ..Setup::default()
    };
    let hold = TestHold::start(setup).await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    let push = notice(&sailor, "push", "m1", &[]);
    hold.call(NOTIFY, Some(&sailor), &push).await.ok();
    let head = hold.hold.repo().latest_commit();
    let pull = notice(&sailor, "pull", "m1", &[]);
    for _ in 0..5 {
        hold.call(NOTIFY, Some(&sailor), &pull).await.ok();
    }
    assert_eq!(hold.hold.repo().latest_commit(), head);
    // What another process would find.
    let file = hold.data_dir().join("hold.sqlite");
    let database = atcr_hold::adapters::sqlite::open(&file).await.expect("opens");
    let store = atcr_hold::adapters::sqlite::SqliteCounts::new(database.clone());
    let counted = atcr_hold::manifests::CountStore::unpublished(&store, 10)
        .await
        .expect("readable");
    assert_eq!(counted.len(), 1);
    assert_eq!((counted[0].pushes, counted[0].pulls), (1, 5));
    database.close().await;

    // The end of the process publishes it, in one commit.
    let seq = *hold.hold.repo().watch_seq().borrow();
    let hold = hold.restart(|_| ()).await;
    let events = hold.hold.repo().events_after(seq, 10).await.expect("readable");
    assert_eq!(events.len(), 1);
    let stats = records(&hold, "io.atcr.hold.stats").await;
    assert_eq!(
        (&stats[0]["pushCount"], &stats[0]["pullCount"]),
        (&json!(1), &json!(5))
    );
    // Publishing again writes nothing.
    let head = hold.hold.repo().latest_commit();
    hold.hold.counts().publish().await.expect("published");
    assert_eq!(hold.hold.repo().latest_commit(), head);
    hold.call(NOTIFY, Some(&sailor), &pull).await.ok();
    let stats = records(&hold, "io.atcr.hold.stats").await;
    assert_eq!(stats[0]["pullCount"], 6);
    hold.stop().await;
}
