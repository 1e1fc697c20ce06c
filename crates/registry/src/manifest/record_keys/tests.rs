use atcr_atproto::syntax::Datetime;
use atcr_oci::Algorithm;

use super::*;

fn record(repository: &str) -> ManifestRecord {
    let created_at: Datetime = "2026-01-02T03:04:05.000Z".parse().unwrap();
    ManifestRecord::new(repository, digest().to_string(), "application/json", created_at)
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"manifest")
}

fn keys(repository: &str) -> ManifestKeys {
    ManifestKeys::new(&digest(), repository).unwrap()
}

#[test]
fn the_first_repository_gets_the_shared_key() {
    let placed = place(&keys("app"), "app", None, None);
    assert_eq!(
        placed,
        Placement {
            rkey: keys("app").shared,
            exists: false,
            surplus: None
        }
    );
}

#[test]
fn a_further_repository_gets_a_key_of_its_own() {
    let (keys, shared) = (keys("web"), record("app"));
    let placed = place(&keys, "web", Some(&shared), None);
    assert_eq!(
        placed,
        Placement {
            rkey: keys.own.clone(),
            exists: false,
            surplus: None
        }
    );
    let placed = place(&keys, "web", Some(&shared), Some(&record("web")));
    assert_eq!(
        placed,
        Placement {
            rkey: keys.own,
            exists: true,
            surplus: None
        }
    );
}

#[test]
fn a_repository_that_has_both_keys_loses_the_surplus_one() {
    let keys = keys("app");
    let placed = place(&keys, "app", Some(&record("app")), Some(&record("app")));
    assert_eq!(
        placed,
        Placement {
            rkey: keys.shared,
            exists: true,
            surplus: Some(keys.own)
        }
    );
}

#[test]
fn a_repository_has_a_manifest_only_if_a_record_says_so() {
    assert!(find("web", Some(&record("app")), None).is_none());
    assert!(find("web", Some(&record("app")), Some(&record("web"))).is_some());
    // A hash that collides would bring another repository's record.
    assert!(find("web", None, Some(&record("other"))).is_none());
}

#[test]
fn the_last_repository_takes_the_shared_record_along() {
    let shared = keys("app").shared;
    let copies = [(shared.clone(), "app".to_owned())];
    let removal = remove(&shared, "app", &copies).unwrap();
    assert_eq!(
        removal,
        Removal {
            delete: vec![shared.clone()],
            move_from: None
        }
    );
    assert_eq!(remove(&shared, "web", &copies), None);
}

#[test]
fn another_repository_inherits_the_shared_key() {
    let shared = keys("app").shared;
    let copies = [
        (shared.clone(), "app".to_owned()),
        (keys("web").own, "web".to_owned()),
        (keys("api").own, "api".to_owned()),
    ];
    let removal = remove(&shared, "app", &copies).unwrap();
    assert_eq!(
        removal,
        Removal {
            delete: vec![keys("api").own],
            move_from: Some(keys("api").own)
        }
    );
}

#[test]
fn a_repository_with_its_own_key_leaves_the_shared_one_alone() {
    let shared = keys("app").shared;
    let copies = [
        (shared.clone(), "app".to_owned()),
        (keys("web").own, "web".to_owned()),
    ];
    let removal = remove(&shared, "web", &copies).unwrap();
    assert_eq!(
        removal,
        Removal {
            delete: vec![keys("web").own],
            move_from: None
        }
    );
}
