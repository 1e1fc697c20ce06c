//! Configurations of images.

use std::collections::BTreeMap;

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::manifest::{BlobReference, ManifestRecord, ManifestReference, RecordPlatform};
use atcr_atproto::syntax::RecordKey;
use atcr_index::Collection;
use atcr_index::fact::ConfigFact;
use atcr_index::ports::{ConfigLog as _, IndexReader as _, SearchIndex as _};
use atcr_index::search::{Query, ranked};
use atcr_index::turn::ConfigTurn;
use atcr_index::view::RepositoryView;
use chrono::TimeDelta;

use crate::subject::{
    Subject, alice, at, bob, digest, identity, image, now, put, put_manifest, put_tag, step,
};

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
    let (wanted, _) = store
        .index()
        .wanted_configs(ConfigTurn::default(), 10, now())
        .await
        .unwrap();
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
    let turn = ConfigTurn::default();
    let (all, _) = store.index().wanted_configs(turn, 10, now()).await.unwrap();
    let first = all.iter().find(|wanted| wanted.name == "app").unwrap();
    let later = now() + TimeDelta::minutes(1);
    store.index().put_off_config(first, later).await.unwrap();
    assert_eq!(wanted(&store).await, [tool]);
    let (due, _) = store.index().wanted_configs(turn, 10, later).await.unwrap();
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
    let (none, _) = store.index().wanted_configs(turn, 10, later).await.unwrap();
    assert!(none.is_empty());
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

fn with_config(repository: &str, manifest: char, config: char, hold: &str) -> ManifestRecord {
    let mut record = image(repository, manifest);
    record.config = Some(BlobReference::new(
        "application/vnd.oci.image.config.v1+json",
        digest(config).as_str(),
        100,
    ));
    record.hold_did = Some(hold.parse().unwrap());
    record
}

/// Accounts take turns, and what failed waits behind what was never tried.
pub async fn an_account_with_many_images_is_in_nobodys_way<S: Subject>() {
    let store = S::new().await;
    let mut steps = vec![
        identity(&alice(), "alice.example"),
        identity(&bob(), "bob.example"),
    ];
    let many = |number: u32| {
        let mut record = image(&format!("app-{number}"), 'a');
        record.digest = format!("sha256:{number:064}");
        put_manifest(&alice(), &record)
    };
    steps.push(step(&alice(), None, 1, (0..20).map(many).collect()));
    steps.push(step(
        &bob(),
        None,
        1,
        vec![put_manifest(&bob(), &image("tool", 'b'))],
    ));
    store.apply(steps).await;
    let index = store.index();
    let (first, turn) = index
        .wanted_configs(ConfigTurn::default(), 32, now())
        .await
        .unwrap();
    let owners = |wanted: &[atcr_index::ports::WantedConfig]| {
        let of = |did| wanted.iter().filter(|wanted| wanted.did == did).count();
        (of(alice()), of(bob()))
    };
    assert_eq!(owners(&first), (4, 1));
    assert_eq!(turn, ConfigTurn::default());
    // In a short turn the next account follows.
    let (short, turn) = index.wanted_configs(turn, 4, now()).await.unwrap();
    assert_eq!(owners(&short), (4, 0));
    let (short, turn) = index.wanted_configs(turn, 4, now()).await.unwrap();
    assert_eq!((owners(&short), turn), ((0, 1), ConfigTurn::default()));
    // A quarter of a turn is for what failed.
    let later = now() + TimeDelta::minutes(1);
    for wanted in &first {
        index.put_off_config(wanted, later).await.unwrap();
    }
    let (mixed, _) = index.wanted_configs(turn, 4, later).await.unwrap();
    let attempts: Vec<u32> = mixed.iter().map(|wanted| wanted.attempts).collect();
    assert_eq!(attempts, [0, 0, 0, 0, 1]);
}

/// What no card shows is forgotten, and what is in a hold that became private.
pub async fn configurations_that_nobody_may_see_are_forgotten<S: Subject>() {
    let store = S::new().await;
    let (owner, open, closed) = (alice(), "did:web:open.example", "did:web:closed.example");
    store
        .apply(vec![
            identity(&owner, "alice.example"),
            step(
                &owner,
                None,
                1,
                vec![
                    put_manifest(&owner, &with_config("app", '1', 'a', open)),
                    put_manifest(&owner, &with_config("tool", '2', 'b', closed)),
                ],
            ),
        ])
        .await;
    let index = store.index();
    for (config, title) in [('a', "An app"), ('b', "A tool")] {
        let says = ConfigFact::of(&texts(&[(TITLE, title)]), "linux/arm64");
        index.configured(&digest(config), &says, now()).await.unwrap();
    }
    assert_eq!(&*repository(&store, "tool").await.card.title, "A tool");
    // A page at a time, of which nothing is forgotten.
    let first = index.forget_configs(None, 1).await.unwrap();
    assert_eq!(first, Some(digest('a')));
    let second = index.forget_configs(first.as_ref(), 1).await.unwrap();
    assert_eq!(second, Some(digest('b')));
    assert_eq!(index.forget_configs(second.as_ref(), 1).await.unwrap(), None);
    assert_eq!(index.renew_cards(10, now()).await.unwrap(), 0);

    // Another image, and a hold that is private now.
    let closed_hold: atcr_atproto::syntax::Did = closed.parse().unwrap();
    let mut captain = CaptainRecord::new(owner.clone(), at(0));
    captain.public = false;
    let moved = put_manifest(&owner, &{
        let mut newer = with_config("app", '3', 'c', open);
        newer.created_at = at(9);
        newer
    });
    store
        .apply(vec![
            step(&owner, Some(1), 2, vec![moved]),
            step(
                &closed_hold,
                None,
                1,
                vec![put(
                    &closed_hold,
                    Collection::Captain,
                    &RecordKey::literal_self(),
                    &captain,
                )],
            ),
        ])
        .await;
    index.forget_configs(None, 10).await.unwrap();
    assert!(!repository(&store, "tool").await.annotations.contains_key(TITLE));
    // One at a time: the card that showed it.
    assert_eq!(index.renew_cards(1, now()).await.unwrap(), 1);
    assert_eq!(index.renew_cards(1, now()).await.unwrap(), 0);
    let card = repository(&store, "tool").await.card;
    assert_eq!((&*card.title, card.platforms.len()), ("", 0));
    // It waits for the day when the hold shows it again.
    let (waiting, _) = index
        .wanted_configs(ConfigTurn::default(), 10, now())
        .await
        .unwrap();
    let mut waiting: Vec<_> = waiting
        .into_iter()
        .map(|wanted| (wanted.name, wanted.digest, wanted.is_private))
        .collect();
    waiting.sort();
    assert_eq!(
        waiting,
        [
            ("app".to_owned(), digest('c'), false),
            ("tool".to_owned(), digest('b'), true)
        ]
    );
    // What was forgotten is looked at no more.
    assert_eq!(index.forget_configs(None, 10).await.unwrap(), None);
    store.dump().await;
}

/// More cards than one transaction writes show one configuration.
pub async fn many_cards_show_one_configuration<S: Subject>() {
    let store = S::new().await;
    let owner = alice();
    let put = |number: usize| {
        let mut record = image(&format!("app-{number}"), 'a');
        record.digest = format!("sha256:{number:064}");
        put_manifest(&owner, &record)
    };
    store
        .apply(vec![
            identity(&owner, "alice.example"),
            step(&owner, None, 1, (0..1_001).map(put).collect()),
        ])
        .await;
    let says = ConfigFact::of(&texts(&[(TITLE, "An app")]), "");
    store
        .index()
        .configured(&digest('c'), &says, now())
        .await
        .unwrap();
    assert_eq!(wanted(&store).await, []);
    for name in ["app-0", "app-500", "app-1000"] {
        assert_eq!(&*repository(&store, name).await.card.title, "An app", "{name}");
    }
}
