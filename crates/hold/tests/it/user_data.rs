//! What the hold knows of one user: told and erased.

use atcr_atproto::crypto::Curve;
use atcr_atproto::lexicon::hold_user_data::ExportUserDataOutput;
use atcr_hold::adapters::sqlite::{self, SqliteAdmin, SqliteErasures};
use atcr_hold::admin::accounts::HandleTable as _;
use atcr_hold::user_data::Erasures as _;
use atcr_hold_pds::RecordWrite;
use atcr_oci::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::harness::identities::Account;
use crate::harness::{Answer, Setup, TestHold};

const EXPORT: &str = "io.atcr.hold.exportUserData";
const DELETE: &str = "io.atcr.hold.deleteUserData";

async fn push(hold: &TestHold, owner: &Account, repository: &str, layers: &[&str]) {
    let layer = |layer: &&str| json!({ "digest": Digest::of(Algorithm::Sha256, layer.as_bytes()), "size": 1, "mediaType": "application/x-layer" });
    let input = json!({
        "repository": repository, "userDid": owner.did, "operation": "push",
        "manifestDigest": Digest::of(Algorithm::Sha256, repository.as_bytes()),
        "manifest": { "layers": layers.iter().map(layer).collect::<Vec<_>>() },
    });
    hold.call("io.atcr.hold.notifyManifest", Some(owner), &input)
        .await
        .ok();
}

async fn export(hold: &TestHold, user: &Account) -> Value {
    let request = hold.get(&format!("/xrpc/{EXPORT}")).bearer_auth(hold.token(user));
    Answer::of(request).await.ok()
}

fn put(collection: &str, rkey: &str, value: Value) -> RecordWrite {
    RecordWrite::Put {
        collection: collection.parse().expect("an NSID"),
        rkey: rkey.parse().expect("a key"),
        value,
    }
}

fn post(mentioned: &str) -> Value {
    json!({
        "$type": "app.bsky.feed.post", "text": format!("{mentioned} pushed an image"), "createdAt": "2026-01-01T00:00:00.000Z",
        "facets": [{
            "index": { "byteStart": 0, "byteEnd": 3 },
            "features": [{ "$type": "app.bsky.richtext.facet#mention", "did": mentioned }],
        }],
    })
}

/// A hold with two users who have pushed the same.
async fn hold_of_two() -> (TestHold, Account, Account) {
    let hold = TestHold::start(Setup::default()).await;
    hold.place_blobs(&["a", "bb", "ccc"]);
    let alice = hold.crew("alice", &["blob:write"]).await;
    let bob = hold.crew("bob", &["blob:write"]).await;
    for user in [&alice, &bob] {
        push(&hold, user, "one", &["a", "bb"]).await;
        push(&hold, user, "two", &["bb", "ccc"]).await;
    }
    hold.hold.counts().publish().await.expect("published");
    let posts = [&alice, &bob].map(|user| {
        let key = user.did.as_str().replace(':', ".");
        put("app.bsky.feed.post", &key, post(user.did.as_str()))
    });
    hold.hold.repo().write(posts.to_vec()).await.expect("written");
    (hold, alice, bob)
}

#[tokio::test]
async fn an_export_has_everything_of_the_caller_and_nothing_of_others() {
    let (hold, alice, _) = hold_of_two().await;
    let exported = export(&hold, &alice).await;
    let parsed: ExportUserDataOutput = serde_json::from_value(exported.clone()).expect("as in the lexicon");
    assert_eq!((&parsed.hold_did, &parsed.user_did), (hold.did(), &alice.did));
    assert!(!parsed.is_captain);
    assert_eq!(parsed.crew_record.expect("a member").permissions, ["blob:write"]);
    let mut sizes: Vec<u64> = parsed.layer_records.iter().map(|layer| layer.size).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2, 3]);
    let mut stats: Vec<(&str, u64)> = parsed
        .stats_records
        .iter()
        .map(|stats| (&*stats.repository, stats.push_count))
        .collect();
    stats.sort_unstable();
    assert_eq!(stats, [("one", 1), ("two", 1)]);
    let posts: Vec<&str> = parsed.bluesky_posts.iter().map(|post| &*post.text).collect();
    assert_eq!(posts, [format!("{} pushed an image", alice.did)]);
    assert!(!exported.to_string().contains("did:web:bob"), "{exported}");

    let captain = export(&hold, &hold.captain).await;
    assert_eq!(
        (&captain["isCaptain"], &captain["layerRecords"]),
        (&json!(true), &json!([]))
    );
    let stranger = hold.identities.account("stranger", Curve::K256);
    let nothing = export(&hold, &stranger).await;
    assert!(nothing.get("crewRecord").is_none(), "{nothing}");
    let anonymous = hold.query(EXPORT).await;
    assert_eq!(anonymous.error(), (401, "AuthRequired"));
    hold.stop().await;
}

#[tokio::test]
async fn an_export_of_many_pages_is_one_document() {
    let hold = TestHold::start(Setup::default()).await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    let layer = |number: u32| {
        put(
            "io.atcr.hold.layer",
            &format!("layer{number:04}"),
            json!({
                "$type": "io.atcr.hold.layer", "digest": format!("sha256:{number:064}"), "size": number, "mediaType": "x",
                "manifest": format!("at://{}/io.atcr.manifest/m", sailor.did), "userDid": sailor.did,
                "createdAt": "2026-01-01T00:00:00.000Z",
            }),
        )
    };
    for lot in [0..200, 200..400, 400..450] {
        hold.hold
            .repo()
            .write(lot.map(layer).collect())
            .await
            .expect("written");
    }
    let exported = export(&hold, &sailor).await;
    let sizes: Vec<u64> = exported["layerRecords"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|layer| layer["size"].as_u64().expect("a number"))
        .collect();
    assert_eq!(sizes, (0..450).collect::<Vec<u64>>());

    let deleted = hold.call(DELETE, Some(&sailor), &json!({})).await.ok();
    assert_eq!(deleted["layersDeleted"], 450);
    hold.stop().await;
}

#[tokio::test]
async fn a_deletion_takes_what_is_the_callers_and_says_what_goes_later() {
    let (hold, alice, bob) = hold_of_two().await;
    let before = export(&hold, &bob).await;
    // A second record of the same member, from an imported repository; and a count that is not published yet.
    let second = json!({
        "$type": "io.atcr.hold.crew", "member": alice.did, "role": "write", "permissions": ["blob:write"],
        "addedAt": "2026-01-01T00:00:00.000Z",
    });
    let writes = vec![put("io.atcr.hold.crew", "3kolder", second)];
    hold.hold.repo().write(writes).await.expect("written");
    push(&hold, &alice, "three", &["a"]).await;
    let database = sqlite::open(&hold.data_dir().join("hold.sqlite"))
        .await
        .expect("opened");
    let handles = SqliteAdmin::new(database.clone());
    let dids = [&alice, &bob].map(|user| user.did.to_string());
    for did in &dids {
        let keeping = handles.keep(did, Some("name.test"), hold.clock.now());
        keeping.await.expect("kept");
    }

    let deleted = hold.call(DELETE, Some(&alice), &json!({})).await.ok();
    let message = deleted["message"].as_str().expect("a text").to_owned();
    assert!(message.contains("garbage collection"), "{message}");
    assert_eq!(
        deleted,
        json!({ "success": true, "crewDeleted": true, "layersDeleted": 5, "statsDeleted": 2, "message": message })
    );
    let known = handles.handles(&dids).await.expect("readable");
    assert_eq!(known.keys().collect::<Vec<_>>(), [&dids[1]]);
    hold.hold.counts().publish().await.expect("published");
    let after = export(&hold, &alice).await;
    assert!(after.get("crewRecord").is_none(), "{after}");
    assert_eq!(after["layerRecords"], json!([]));
    assert_eq!(after["statsRecords"], json!([]));
    let begin = json!({ "digest": "uploads/temp-1" });
    let refused = hold
        .call("io.atcr.hold.initiateUpload", Some(&alice), &begin)
        .await;
    assert_eq!(refused.error(), (403, "Forbidden"));

    let mut kept = export(&hold, &bob).await;
    kept["exportedAt"] = before["exportedAt"].clone();
    assert_eq!(kept, before);
    let again = hold.call(DELETE, Some(&alice), &json!({})).await.ok();
    assert_eq!(
        (
            &again["crewDeleted"],
            &again["layersDeleted"],
            &again["statsDeleted"]
        ),
        (&json!(false), &json!(0), &json!(0))
    );
    let anonymous = hold.call(DELETE, None, &json!({})).await;
    assert_eq!(anonymous.error(), (401, "AuthRequired"));

    // Of strangers nothing is noted, of the erased it is when.
    let stranger = hold.identities.account("stranger", Curve::K256);
    hold.call(DELETE, Some(&stranger), &json!({})).await.ok();
    let erasures = SqliteErasures::new(database);
    let erased_at = async |user: &Account| erasures.erased_at(&user.did).await.expect("asked");
    assert!(erased_at(&alice).await.is_some_and(|at| at <= hold.clock.now()));
    assert_eq!((erased_at(&bob).await, erased_at(&stranger).await), (None, None));
    hold.stop().await;
}

#[tokio::test]
async fn the_captain_stays_captain() {
    let hold = TestHold::start(Setup::default()).await;
    hold.place_blobs(&["a"]);
    push(&hold, &hold.captain, "one", &["a"]).await;
    let deleted = hold.call(DELETE, Some(&hold.captain), &json!({})).await.ok();
    assert_eq!(
        (&deleted["crewDeleted"], &deleted["layersDeleted"]),
        (&json!(false), &json!(1))
    );
    assert!(
        deleted["message"]
            .as_str()
            .expect("a text")
            .contains("stay the captain")
    );
    push(&hold, &hold.captain, "one", &["a"]).await;
    let member = hold.hold.repo().crew_by_member(&hold.captain.did).await;
    assert!(member.expect("readable").is_some());
    hold.stop().await;
}
