//! Tiers, quotas, and members who get another tier.

use atcr_atproto::crypto::Curve;
use atcr_atproto::syntax::Did;
use atcr_auth::{AppViewTokenSigner, ContentProof};
use atcr_hold::config::{HoldConfig, TierSetting};
use atcr_hold::quota::Tiers;
use atcr_oci::{Algorithm, Digest};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::identities::Account;
use crate::harness::{Answer, Setup, TestHold};

const NOTIFY: &str = "io.atcr.hold.notifyManifest";
const UPDATE: &str = "io.atcr.hold.updateCrewTier";

fn tiers(config: &mut HoldConfig, tiers: &[(&str, &str)]) {
    let tier = |(name, quota): &(&str, &str)| TierSetting {
        name: (*name).to_owned(),
        quota: (*quota).to_owned(),
        scan_on_push: *name == "bosun",
    };
    config.quota.tiers = tiers.iter().map(tier).collect();
}

async fn hold_with_tiers(all: &[(&str, &str)]) -> TestHold {
    let setup = Setup {
        allow_all_crew: true,
        ..Setup::default()
    };
    TestHold::start_with(setup, |config| tiers(config, all)).await
}

async fn quota(hold: &TestHold, user: &Did) -> Value {
    let answer = hold.query(&format!("io.atcr.hold.getQuota?userDid={user}")).await;
    answer.ok()
}

async fn crew_record(hold: &TestHold, member: &Did) -> Value {
    let member = hold.hold.repo().crew_by_member(member).await.expect("readable");
    let rkey = member.expect("a member").rkey;
    let stored = hold
        .hold
        .repo()
        .get_record("io.atcr.hold.crew", rkey.as_str())
        .await;
    stored.expect("readable").expect("a record").value
}

#[tokio::test]
async fn everyone_has_the_limit_of_their_tier_and_the_captain_has_none() {
    let setup = Setup {
        allow_all_crew: true,
        ..Setup::default()
    };
    let hold = TestHold::start_with(setup, |config| {
        tiers(
            config,
            &[("deckhand", "5KB"), ("bosun", "5 GB"), ("quartermaster", "100GB")],
        );
        config.quota.defaults.new_crew_tier = "bosun".to_owned();
        config.quota.defaults.plankowner_crew_tier = "quartermaster".to_owned();
    })
    .await;
    let listed = hold.query("io.atcr.hold.listTiers").await.ok();
    assert_eq!(
        listed,
        json!({ "tiers": [
            { "name": "deckhand", "quotaBytes": 5120, "quotaFormatted": "5.0 KB", "scanOnPush": false },
            { "name": "bosun", "quotaBytes": 5_368_709_120_u64, "quotaFormatted": "5.0 GB", "scanOnPush": true },
            { "name": "quartermaster", "quotaBytes": 107_374_182_400_u64, "quotaFormatted": "100.0 GB", "scanOnPush": false },
        ]})
    );

    let newcomer = hold.identities.account("newcomer", Curve::K256);
    let before = quota(&hold, &newcomer.did).await;
    assert_eq!(
        (&before["limit"], &before["tier"]),
        (&json!(5_368_709_120_u64), &json!("bosun"))
    );
    hold.call("io.atcr.hold.requestCrew", Some(&newcomer), &json!({}))
        .await
        .ok();
    assert_eq!(crew_record(&hold, &newcomer.did).await["tier"], "bosun");
    assert_eq!(quota(&hold, &newcomer.did).await["tier"], "bosun");

    let founder = hold.crew("founder", &["blob:write"]).await;
    assert_eq!(quota(&hold, &founder.did).await["tier"], "quartermaster");
    let captain = quota(&hold, &hold.captain.did).await;
    assert!(
        captain.get("limit").is_none() && captain.get("tier").is_none(),
        "{captain}"
    );

    // Without tiers there are no limits, whatever records say; tiers that are gone count like a newcomer's.
    let hold = hold.restart(|settings| settings.tiers = Tiers::default()).await;
    let without = quota(&hold, &newcomer.did).await;
    assert!(
        without.get("limit").is_none() && without.get("tier").is_none(),
        "{without}"
    );
    hold.stop().await;
}

fn layers(owner: &Account, manifest: &str, layers: &[&str]) -> Value {
    let layer = |layer: &&str| json!({ "digest": Digest::of(Algorithm::Sha256, layer.as_bytes()), "size": 1, "mediaType": "application/x-layer" });
    json!({
        "repository": "app", "userDid": owner.did, "operation": "push",
        "manifestDigest": Digest::of(Algorithm::Sha256, manifest.as_bytes()),
        "manifest": { "layers": layers.iter().map(layer).collect::<Vec<_>>() },
    })
}

async fn push(hold: &TestHold, owner: &Account, manifest: &str, of: &[&str]) -> Answer {
    hold.call(NOTIFY, Some(owner), &layers(owner, manifest, of)).await
}

#[tokio::test]
async fn a_push_beyond_the_limit_is_refused_whole_and_known_layers_add_nothing() {
    let hold = hold_with_tiers(&[("deckhand", "10")]).await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    hold.place_blobs(&["four", "fives", "x", "elevenbytes"]);
    push(&hold, &sailor, "m1", &["four", "fives"]).await.ok();
    // The size is the store's, not the one that is claimed, and a layer that is named twice counts once.
    let refused = push(&hold, &sailor, "m2", &["four", "elevenbytes", "elevenbytes"]).await;
    assert_eq!(refused.error(), (403, "QuotaExceeded"));
    assert!(
        refused.message().contains("current=9 bytes, limit=10 bytes"),
        "{}",
        refused.message()
    );
    let standing = quota(&hold, &sailor.did).await;
    assert_eq!(
        (&standing["totalSize"], &standing["uniqueBlobs"]),
        (&json!(9), &json!(2))
    );
    push(&hold, &sailor, "m3", &["fives", "x"]).await.ok();
    // At the limit.
    assert_eq!(quota(&hold, &sailor.did).await["totalSize"], 10);
    push(&hold, &sailor, "m4", &["x", "four"]).await.ok();
    // What another one keeps counts for each.
    let other = hold.crew("other", &["blob:write"]).await;
    push(&hold, &other, "m1", &["four"]).await.ok();
    assert_eq!(quota(&hold, &other.did).await["totalSize"], 4);
    push(&hold, &hold.captain, "m5", &["elevenbytes"]).await.ok();
    hold.stop().await;
}

#[tokio::test]
async fn pushes_at_the_same_time_keep_to_the_limit_together() {
    let hold = hold_with_tiers(&[("deckhand", "10")]).await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    let blobs: Vec<String> = (0..24).map(|number| format!("{number:03}")).collect();
    hold.place_blobs(&blobs.iter().map(String::as_str).collect::<Vec<_>>());
    let pushes = blobs
        .iter()
        .map(async |blob| push(&hold, &sailor, blob, &[blob]).await.status);
    let statuses = join_all(pushes).await;
    let taken = statuses.iter().filter(|status| status.is_success()).count();
    assert_eq!(taken, 3, "{statuses:?}");
    let standing = quota(&hold, &sailor.did).await;
    assert_eq!(standing["totalSize"], 9);
    hold.stop().await;
}

async fn update(hold: &TestHold, token: Option<&str>, user: &Did, rank: u64) -> Answer {
    let request = hold.request(Method::POST, &format!("/xrpc/{UPDATE}"));
    let mut request = request.json(&json!({ "userDid": user, "tierRank": rank }));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    Answer::of(request).await
}

fn appview_token(hold: &TestHold, appview: &Account, user: &Did, content: Option<ContentProof>) -> String {
    use secrecy::ExposeSecret as _;
    let signer = AppViewTokenSigner::new(appview.key(), appview.did.clone()).expect("P-256");
    let token = signer.sign(hold.did(), user, content, hold.clock.now());
    token.expect("signed").expose_secret().to_owned()
}

#[tokio::test]
async fn the_trusted_appview_sets_tiers_by_rank_and_changes_nothing_else() {
    let hold = hold_with_tiers(&[("deckhand", "5GB"), ("bosun", "50GB")]).await;
    let member: Did = "did:web:member.test".parse().expect("a DID");
    let record = json!({
        "$type": "io.atcr.hold.crew", "member": member, "role": "bosun's mate", "permissions": ["blob:write", "later:word"],
        "addedAt": "2026-01-02T03:04:05.006Z", "inAnotherVersion": { "kept": [1, 2] },
    });
    // An older hold has chosen the key.
    let input =
        json!({ "repo": hold.did(), "collection": "io.atcr.hold.crew", "rkey": "3kolder", "record": record });
    hold.call("com.atproto.repo.putRecord", Some(&hold.captain), &input)
        .await
        .ok();
    let token = appview_token(&hold, &hold.appview, &member, None);
    for (rank, name) in [
        (1, "bosun"),
        (0, "deckhand"),
        (7, "bosun"),
        (u64::from(u32::MAX), "bosun"),
    ] {
        let updated = update(&hold, Some(&token), &member, rank).await.ok();
        assert_eq!(updated, json!({ "tierName": name }));
        let mut expected = record.clone();
        expected["tier"] = json!(name);
        assert_eq!(crew_record(&hold, &member).await, expected);
        assert_eq!(quota(&hold, &member).await["tier"], name);
    }
    let rev = hold.hold.repo().latest_commit().rev;
    update(&hold, Some(&token), &member, 1).await.ok();
    assert_eq!(hold.hold.repo().latest_commit().rev, rev, "nothing to write");

    let stranger: Did = "did:web:stranger.test".parse().expect("a DID");
    let theirs = appview_token(&hold, &hold.appview, &stranger, None);
    assert_eq!(
        update(&hold, Some(&theirs), &stranger, 1).await.error(),
        (404, "UserNotFound")
    );
    hold.stop().await;
}

#[tokio::test]
async fn no_other_token_sets_a_tier() {
    let hold = hold_with_tiers(&[("deckhand", "5GB"), ("bosun", "50GB")]).await;
    let member = hold.crew("member", &["crew:admin"]).await;
    let content = ContentProof {
        upload_id: "u".to_owned(),
        digest: "sha256:00".to_owned(),
        size: 1,
    };
    let other_appview = hold.identities.account("otherappview", Curve::P256);
    let other: Did = "did:web:other.test".parse().expect("a DID");
    let bad = [
        None,
        Some("not.a.token".to_owned()),
        Some(hold.token(&hold.captain)),
        Some(hold.token_for(&member, UPDATE)),
        Some(appview_token(&hold, &other_appview, &member.did, None)),
        Some(appview_token(
            &hold,
            &other_appview.clone().in_the_name_of(&hold.appview),
            &member.did,
            None,
        )),
        Some(appview_token(&hold, &hold.appview, &other, None)),
        Some(appview_token(&hold, &hold.appview, &member.did, Some(content))),
    ];
    for token in bad {
        let answer = update(&hold, token.as_deref(), &member.did, 1).await;
        assert_eq!(answer.error(), (401, "AuthRequired"), "{token:?}");
    }
    assert!(crew_record(&hold, &member.did).await.get("tier").is_none());
    hold.stop().await;

    let hold = TestHold::start(Setup::default()).await;
    let member = hold.crew("member", &["blob:write"]).await;
    let token = appview_token(&hold, &hold.appview, &member.did, None);
    let answer = update(&hold, Some(&token), &member.did, 0).await;
    assert_eq!(answer.error(), (400, "InvalidRequest"), "no tiers");
    hold.stop().await;
    let untrusting = TestHold::start_with(Setup::default(), |config| config.server.appview_did.clear()).await;
    let token = appview_token(&untrusting, &untrusting.appview, &member.did, None);
    let answer = update(&untrusting, Some(&token), &member.did, 0).await;
    assert_eq!(answer.error(), (401, "AuthRequired"));
    untrusting.stop().await;
}
