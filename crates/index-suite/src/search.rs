//! Search.

use atcr_atproto::lexicon::repo_page::{self, RepoPageRecord};
use atcr_index::Collection;
use atcr_index::ports::SearchIndex as _;
use atcr_index::search::{Query, ranked};
use proptest::prelude::*;

use crate::subject::{Subject, alice, at, delete, identity, image, now, put, put_manifest, step};

async fn with_texts<S: Subject>() -> S {
    let store = S::new().await;
    let owner = alice();
    let mut changes = Vec::new();
    for (place, name) in ["nginx", "nginx-proxy", "web/shop", "postgres"]
        .into_iter()
        .enumerate()
    {
        let digit = char::from(b'1' + u8::try_from(place).unwrap());
        let mut record = image(name, digit);
        record.annotations = [(
            "org.opencontainers.image.title".to_owned(),
            format!("The {name} title"),
        )]
        .into();
        changes.push(put_manifest(&owner, &record));
    }
    let mut page = RepoPageRecord::new("web/shop", at(0));
    page.description = Some("# Shop\n\nSells zucchini and Überraschungen.".to_owned());
    changes.push(put(
        &owner,
        Collection::RepoPage,
        &repo_page::rkey("web/shop").unwrap(),
        &page,
    ));
    store
        .apply(vec![
            identity(&owner, "alice.example"),
            step(&owner, None, 1, changes),
        ])
        .await;
    store
}

async fn found(store: &impl Subject, typed: &str) -> Vec<String> {
    let query = Query::parse(typed);
    let candidates = store.index().candidates(&query).await.unwrap();
    ranked(&query, candidates, now())
        .into_iter()
        .map(|card| card.name)
        .collect()
}

/// Words are found in every field and the exact name comes first.
pub async fn words_are_found_in_every_field_and_the_exact_name_comes_first<S: Subject>() {
    let store = with_texts::<S>().await;
    assert_eq!(found(&store, "nginx").await, ["nginx", "nginx-proxy"]);
    assert_eq!(found(&store, "ngin").await.len(), 2);
    assert_eq!(found(&store, "zucchini").await, ["web/shop"]);
    assert_eq!(found(&store, "uberrasch").await, ["web/shop"]);
    assert_eq!(found(&store, "shop title").await, ["web/shop"]);
    assert_eq!(found(&store, "alice postgres").await, ["postgres"]);
    assert_eq!(found(&store, "alice.example/postgres").await[0], "postgres");
    assert_eq!(found(&store, "web/shop").await[0], "web/shop");
    assert!(found(&store, "zebra").await.is_empty());
}

/// A slip of the finger finds the name.
pub async fn a_slip_of_the_finger_finds_the_name<S: Subject>() {
    let store = with_texts::<S>().await;
    for typed in ["postgers", "posgres", "postgress"] {
        assert_eq!(found(&store, typed).await, ["postgres"], "{typed}");
    }
    // Not in texts.
    assert!(found(&store, "zuchini").await.is_empty());
}

/// A text that is gone is not found.
pub async fn a_text_that_is_gone_is_not_found<S: Subject>() {
    let store = with_texts::<S>().await;
    store
        .apply(vec![step(
            &alice(),
            Some(1),
            2,
            vec![delete(Collection::RepoPage, "web~shop")],
        )])
        .await;
    assert!(found(&store, "zucchini").await.is_empty());
    store
        .apply(vec![step(
            &alice(),
            Some(2),
            3,
            vec![delete(Collection::Manifest, &"4".repeat(64))],
        )])
        .await;
    assert!(found(&store, "postgres").await.is_empty());
    assert!(found(&store, "postgers").await.is_empty());
}

/// No text is taken for an operator of the database's.
pub fn any_text_can_be_searched_for<S: Subject>() {
    const TEXTS: &str = "\\PC{0,40}|[a-z\"*():^ -]{0,20}|NEAR\\(a b\\)|[a-c\u{0}'\\\\|&!:%_]{0,12}|[\\u{900}-\\u{97f}\\u{2460}-\\u{24ff}]{0,12}";
    let config = ProptestConfig {
        cases: 8,
        ..ProptestConfig::default()
    };
    proptest!(config, |(texts in prop::collection::vec(TEXTS, 40))| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = with_texts::<S>().await;
            for text in &texts {
                found(&store, text).await;
            }
        });
    });
}
