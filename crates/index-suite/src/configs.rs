//! Configurations of images.

use std::collections::BTreeMap;

use atcr_atproto::lexicon::manifest::{BlobReference, ManifestRecord, ManifestReference, RecordPlatform};
use atcr_index::fact::ConfigFact;
use atcr_index::ports::{ConfigLog as _, IndexReader as _, SearchIndex as _};
use atcr_index::search::{Query, ranked};
use atcr_index::view::RepositoryView;
use chrono::TimeDelta;

use crate::subject::{Subject, alice, at, digest, identity, image, now, put_manifest, put_tag, step};

const TITLE: &str = "org.opencontainers.image.title";
const DESCRIPTION: &str = "org.opencontainers.image.description";
const SOURCE: &str = "org.opencontainers.image.source";

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

async fn repository(store: &impl Subject, name: &str) -> RepositoryView {
    let found = store.index().repository(&alice(), name).await.unwrap();
    found.unwrap()
}

async fn wanted(store: &impl Subject) -> Vec<(String, atcr_oci::Digest)> {
    let wanted = store.index().wanted_configs(10, now()).await.unwrap();
    let mut wanted: Vec<_> = wanted
        .into_iter()
        .map(|wanted| (wanted.name, wanted.digest))
        .collect();
    wanted.sort();
    wanted
}

/// A card shows what the configuration of its image says, and the annotations of the manifest before it.
pub async fn a_card_shows_what_the_configuration_of_its_image_says<S: Subject>() {
    let store = S::new().await;
    let owner = alice();
    let mut titled = image("tool", '2');
    titled.annotations = texts(&[(TITLE, "The tool")]);
    let mut chart = image("chart", '3');
    chart.config = Some(BlobReference::new(
        "application/vnd.cncf.helm.config.v1+json",
        digest('d').as_str(),
        100,
    ));
    store
        .apply(vec![
            identity(&owner, "alice.example"),
            step(
                &owner,
                None,
                1,
                vec![
                    put_manifest(&owner, &image("app", '1')),
                    put_tag(&owner, "app", "latest", '1', 1),
                    put_manifest(&owner, &titled),
                    put_manifest(&owner, &chart),
                ],
            ),
        ])
        .await;
    assert_eq!(repository(&store, "app").await.card.platforms, [""; 0]);
    let (app, tool) = (("app".to_owned(), digest('c')), ("tool".to_owned(), digest('c')));
    assert_eq!(wanted(&store).await, [app, tool.clone()]);

    // One that could not be read waits.
    let all = store.index().wanted_configs(10, now()).await.unwrap();
    let first = all.iter().find(|wanted| wanted.name == "app").unwrap();
    let later = now() + TimeDelta::minutes(1);
    store.index().put_off_config(first, later).await.unwrap();
    assert_eq!(wanted(&store).await, [tool]);
    let due = store.index().wanted_configs(10, later).await.unwrap();
    assert_eq!(
        due.iter().map(|wanted| wanted.attempts).collect::<Vec<_>>(),
        [0, 1]
    );

    let labels = texts(&[
        (TITLE, "An app"),
        (DESCRIPTION, "Forecasts hailstorms"),
        (SOURCE, "https://example.com/app"),
        ("maintainer", "nobody"),
    ]);
    let says = ConfigFact::of(&labels, "linux/arm64/v8");
    store
        .index()
        .configured(&digest('c'), &says, now())
        .await
        .unwrap();
    assert!(store.index().wanted_configs(10, later).await.unwrap().is_empty());
    let view = repository(&store, "app").await;
    assert_eq!(
        (&*view.card.title, &*view.card.summary),
        ("An app", "Forecasts hailstorms")
    );
    assert_eq!(view.card.platforms, ["linux/arm64/v8"]);
    assert_eq!(view.annotations.get(SOURCE).unwrap(), "https://example.com/app");
    assert!(!view.annotations.contains_key("maintainer"));
    let view = repository(&store, "tool").await;
    assert_eq!(
        (&*view.card.title, &*view.card.summary),
        ("The tool", "Forecasts hailstorms")
    );
    assert_eq!(view.annotations.get(TITLE).unwrap(), "The tool");
    let query = Query::parse("hailstorms");
    let candidates = store.index().candidates(&query).await.unwrap();
    assert_eq!(ranked(&query, candidates, now()).len(), 2);
    store.dump().await;
}

/// A card waits for the configuration of the image that it shows now, which of an index is the first one.
pub async fn a_card_waits_for_the_image_that_it_shows<S: Subject>() {
    let store = S::new().await;
    let owner = alice();
    let mut child = image("app", '1');
    child.config = Some(BlobReference::new(
        "application/vnd.oci.image.config.v1+json",
        digest('a').as_str(),
        100,
    ));
    let mut index = ManifestRecord::new(
        "app",
        digest('2').as_str(),
        "application/vnd.oci.image.index.v1+json",
        at(0),
    );
    let mut first = ManifestReference::new(
        "application/vnd.oci.image.manifest.v1+json",
        digest('1').as_str(),
        100,
    );
    first.platform = Some(RecordPlatform {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        os_version: None,
        os_features: Vec::new(),
        variant: None,
    });
    index.manifests = vec![first];
    store
        .apply(vec![
            identity(&owner, "alice.example"),
            step(
                &owner,
                None,
                1,
                vec![
                    put_manifest(&owner, &image("app", '3')),
                    put_tag(&owner, "app", "1", '3', 1),
                    put_manifest(&owner, &child),
                    put_manifest(&owner, &index),
                ],
            ),
        ])
        .await;
    assert_eq!(wanted(&store).await, [("app".to_owned(), digest('c'))]);
    store
        .apply(vec![step(
            &owner,
            Some(1),
            2,
            vec![put_tag(&owner, "app", "2", '2', 2)],
        )])
        .await;
    assert_eq!(wanted(&store).await, [("app".to_owned(), digest('a'))]);
    let says = ConfigFact::of(&texts(&[(TITLE, "An app")]), "linux/riscv64");
    store
        .index()
        .configured(&digest('a'), &says, now())
        .await
        .unwrap();
    let card = repository(&store, "app").await.card;
    assert_eq!(
        (&*card.title, card.platforms),
        ("An app", vec!["linux/amd64".to_owned()])
    );
    assert_eq!(wanted(&store).await, []);
}
