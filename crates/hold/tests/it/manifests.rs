//! What the hold remembers of pushed and pulled manifests.

use std::collections::HashSet;

use atcr_atproto::crypto::Curve;
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
    let push = notice(&sailor, "push", "m1", &[("a", 10), ("b", 20), ("a", 10)]);
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
        json!({ "userDid": sailor.did, "uniqueBlobs": 2, "totalSize": 30 })
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
    let early = hold.call(NOTIFY, Some(&stranger), &pull).await.ok();
    assert_eq!(
        early["statsUpdated"], false,
        "nothing is counted of what was never pushed"
    );
    assert!(records(&hold, "io.atcr.hold.stats").await.is_empty());

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
async fn notices_that_come_at_once_are_all_counted_and_none_twice() {
    let hold = TestHold::start(Setup::default()).await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
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
    let seeds: Vec<String> = (0..421).map(|index| format!("layer{index}")).collect();
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
        (&json!(421), &json!(842))
    );
    hold.hold.repo().verify().await.expect("the repository is whole");
    hold.stop().await;
}

#[tokio::test]
async fn layers_count_with_the_size_that_they_have() {
    let hold = TestHold::start(Setup::default()).await;
    let stored = hold.put_blob(&hold.captain, b"ten bytes.").await;
    let mut push = notice(&hold.captain, "push", "m", &[("stored", 1), ("elsewhere", 7)]);
    push["manifest"]["layers"][0]["digest"] = json!(stored);
    let told = hold.call(NOTIFY, Some(&hold.captain), &push).await.ok();
    assert_eq!(told["layersCreated"], 2);
    let mut sizes: Vec<u64> = records(&hold, "io.atcr.hold.layer")
        .await
        .iter()
        .filter_map(|layer| layer["size"].as_u64())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [7, 10]);
    let quota = hold
        .query(&format!("io.atcr.hold.getQuota?userDid={}", hold.captain.did))
        .await
        .ok();
    assert_eq!(quota["totalSize"], 17);
    hold.stop().await;
}

#[tokio::test]
async fn a_media_type_that_is_too_long_costs_no_layer_its_record() {
    let hold = TestHold::start(Setup::default()).await;
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
