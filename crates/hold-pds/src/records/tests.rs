use std::sync::Arc;

use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::nsid;
use atcr_atproto::lexicon::stats::StatsRecord;
use atcr_atproto::syntax::{AtUri, Did, RecordKey};
use serde_json::json;
use tempfile::TempDir;

use super::captain::{self, CaptainError, CaptainSettings, Stated};
use super::crew::{self, Ensured};
use super::layer;
use super::stats::{self, StrangeKeys};
use crate::repo::{HoldRepo, RepoOptions};
use crate::writer::RecordWrite;

async fn repo() -> (HoldRepo, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate(Curve::K256);
    let options = RepoOptions::new(dir.path().join("repo"), did("hold"), key);
    let repo = HoldRepo::open(options, Arc::new(SystemClock)).await.unwrap();
    (repo, dir)
}

fn did(name: &str) -> Did {
    format!("did:web:{name}.test").parse().unwrap()
}

fn layers(manifest: &AtUri, digests: &[&str]) -> Vec<LayerRecord> {
    let now = SystemClock.now_datetime();
    let layer = |digest: &&str| {
        LayerRecord::new(
            *digest,
            1,
            "application/x",
            manifest.clone(),
            did("sailor"),
            now.clone(),
        )
    };
    digests.iter().map(layer).collect()
}

fn digests(layers: &[LayerRecord]) -> Vec<&str> {
    layers.iter().map(|layer| layer.digest.as_str()).collect()
}

#[tokio::test]
async fn only_the_layers_that_an_interrupted_push_did_not_record_are_missing() {
    let (repo, _dir) = repo().await;
    let manifest: AtUri = "at://did:web:sailor.test/io.atcr.manifest/abc".parse().unwrap();
    let all = layers(&manifest, &["a", "b", "a", "c"]);
    let missing = layer::missing(&repo, &manifest, all.clone()).await.unwrap();
    assert_eq!(digests(&missing), ["a", "b", "a", "c"]);

    let written = layers(&manifest, &["a", "c"]);
    let writes = written
        .iter()
        .map(|layer| RecordWrite::create(None, layer).unwrap());
    repo.write(writes.collect()).await.unwrap();
    let missing = layer::missing(&repo, &manifest, all.clone()).await.unwrap();
    assert_eq!(digests(&missing), ["b", "a"]);

    let other: AtUri = "at://did:web:sailor.test/io.atcr.manifest/def".parse().unwrap();
    let missing = layer::missing(&repo, &other, layers(&other, &["a"]))
        .await
        .unwrap();
    assert_eq!(digests(&missing), ["a"]);
}

#[tokio::test]
async fn a_member_under_an_older_key_is_found_and_kept() {
    let (repo, _dir) = repo().await;
    let now = SystemClock.now_datetime();
    let old = CrewRecord::new(did("sailor"), "read", ["blob:read"], now.clone());
    let key: RecordKey = "did:web:sailor.test".parse().unwrap();
    repo.write(vec![RecordWrite::put(key.clone(), &old).unwrap()])
        .await
        .unwrap();
    let wanted = CrewRecord::new(did("sailor"), "write", ["blob:write"], now);
    let Ensured::Existed(found) = crew::ensure(&repo, &wanted).await.unwrap() else {
        panic!("a second record was written");
    };
    assert_eq!(found.uri.rkey(), Some(key));
    let member = repo.crew_by_member(&did("sailor")).await.unwrap().unwrap();
    assert_eq!(member.record, old);
}

#[tokio::test]
async fn of_several_records_of_a_member_the_one_that_counts_stays() {
    let (repo, _dir) = repo().await;
    let record =
        |name: &str, role: &str| CrewRecord::new(did(name), role, ["blob:read"], SystemClock.now_datetime());
    let mut writes = Vec::new();
    // More members than are looked at together.
    for number in 0..210 {
        let name = format!("sailor{number:03}");
        for key in ["a", "b"] {
            let key: RecordKey = format!("{key}{number:03}").parse().unwrap();
            writes.push(RecordWrite::put(key, &record(&name, "old")).unwrap());
        }
        if number % 2 == 0 {
            writes.push(crew::write(&record(&name, "own")).unwrap());
        }
    }
    let single: RecordKey = "c".parse().unwrap();
    writes.push(RecordWrite::put(single.clone(), &record("single", "old")).unwrap());
    for lot in writes.chunks(200) {
        repo.write(lot.to_vec()).await.unwrap();
    }
    assert_eq!(crew::keep_one_each(&repo).await.unwrap(), 210 + 105);
    for number in 0..210 {
        let member = did(&format!("sailor{number:03}"));
        let found = repo.crew_by_member(&member).await.unwrap().unwrap();
        let is_own = number % 2 == 0;
        assert_eq!(found.record.role, if is_own { "own" } else { "old" });
        assert!(is_own || found.rkey.as_str().starts_with('b'));
    }
    assert_eq!(
        repo.crew_by_member(&did("single")).await.unwrap().unwrap().rkey,
        single
    );
    assert_eq!(crew::keep_one_each(&repo).await.unwrap(), 0);
}

#[tokio::test]
async fn the_captain_is_made_once_and_then_follows_the_settings() {
    let (repo, _dir) = repo().await;
    let mut settings = CaptainSettings {
        owner: None,
        public: None,
        allow_all_crew: Some(false),
        enable_bluesky_posts: None,
        region: Stated::Unsaid,
        first_region: None,
        successor: Stated::Unsaid,
        first_profile: None,
    };
    let now = SystemClock.now_datetime();
    let refused = captain::ensure(&repo, &settings, now.clone()).await;
    assert!(matches!(refused, Err(CaptainError::OwnerNeeded)));

    settings.owner = Some(did("captain"));
    captain::ensure(&repo, &settings, now.clone()).await.unwrap();
    let first = repo.latest_commit();
    let owner = repo.crew_by_member(&did("captain")).await.unwrap().unwrap();
    assert_eq!(owner.record.role, "owner");

    settings.owner = Some(did("another"));
    captain::ensure(&repo, &settings, now.clone()).await.unwrap();
    assert_eq!(repo.latest_commit(), first, "nothing to write");
    settings.public = Some(true);
    let captain = captain::ensure(&repo, &settings, now).await.unwrap();
    assert_eq!((captain.owner, captain.public), (did("captain"), true));
    assert!(repo.captain().await.unwrap().unwrap().public);
    // What the settings do not say an administrator or an import has said.
    settings.public = None;
    let now = SystemClock.now_datetime();
    assert!(captain::ensure(&repo, &settings, now).await.unwrap().public);
}

#[tokio::test]
async fn the_captain_record_keeps_what_the_settings_do_not_mention() {
    let (repo, _dir) = repo().await;
    let key = RecordKey::literal_self();
    let written = json!({
        "$type": "io.atcr.hold.captain", "owner": did("captain"), "public": false, "allowAllCrew": true,
        "enableBlueskyPosts": true, "deployedAt": "2026-01-01T00:00:00Z", "region": "eu-central",
        "successor": "did:web:next.test", "provider": "a field of another version",
    });
    let write = RecordWrite::Put {
        collection: nsid::HOLD_CAPTAIN.parse().unwrap(),
        rkey: key.clone(),
        value: written.clone(),
    };
    repo.write(vec![write]).await.unwrap();

    let mut settings = CaptainSettings {
        owner: None,
        public: Some(true),
        allow_all_crew: None,
        enable_bluesky_posts: None,
        region: Stated::Unsaid,
        first_region: Some("us-east-1".to_owned()),
        successor: Stated::Unsaid,
        first_profile: None,
    };
    let now = SystemClock.now_datetime();
    captain::ensure(&repo, &settings, now.clone()).await.unwrap();
    let stored = || async {
        let stored = repo.get_record(nsid::HOLD_CAPTAIN, key.as_str()).await.unwrap();
        stored.unwrap().value
    };
    let mut expected = written;
    expected["public"] = json!(true);
    assert_eq!(stored().await, expected);

    settings.region = Stated::This("eu-north".to_owned());
    settings.successor = Stated::Removed;
    captain::ensure(&repo, &settings, now).await.unwrap();
    expected["region"] = json!("eu-north");
    expected.as_object_mut().unwrap().remove("successor");
    assert_eq!(stored().await, expected);
}

#[tokio::test]
async fn counts_under_another_key_are_found_and_gone_on_with() {
    let (repo, _dir) = repo().await;
    let now = SystemClock.now_datetime();
    let mut theirs = StatsRecord::new(did("sailor"), "app", now.clone());
    theirs.count_pull(now.clone());
    let strange_key: RecordKey = "UPPERCASEKEY".parse().unwrap();
    let ours = StatsRecord::new(did("sailor"), "other", now);
    let own_key = stats::new_key(&ours).unwrap();
    let writes = vec![
        stats::write(strange_key.clone(), &theirs).unwrap(),
        stats::write(own_key.clone(), &ours).unwrap(),
    ];
    repo.write(writes).await.unwrap();

    let keys = StrangeKeys::find(&repo).await.unwrap();
    let found = async |repository| {
        stats::get(&repo, &keys, &did("sailor"), repository)
            .await
            .unwrap()
    };
    assert_eq!(found("app").await, Some((strange_key, theirs)));
    assert_eq!(found("other").await, Some((own_key, ours)));
    assert_eq!(found("third").await, None);
}
