//! What pages read.

use atcr_atproto::lexicon::manifest::{BlobReference, ManifestRecord, ManifestReference, RecordPlatform};
use atcr_atproto::lexicon::repo_page::{self, RepoPageRecord};
use atcr_atproto::syntax::{Datetime, RecordKey};
use atcr_index::Collection;
use atcr_index::change::Coverage;
use atcr_index::fact::Kind;
use atcr_index::page::{Page, PageRequest, Start};
use atcr_index::ports::{IndexReader as _, IndexWriter as _};
use atcr_index::view::{RepositoryView, TagFilter, TagOrder, TagView};
use chrono::TimeDelta;

use crate::subject::{
    Subject, alice, at, bob, delete, digest, hold, identity, image, now, put, put_manifest, put_tag, step,
};

/// An index of two platforms and an attestation.
fn index_of_two(repository: &str, digit: char) -> ManifestRecord {
    let mut record = ManifestRecord::new(
        repository,
        digest(digit).as_str(),
        "application/vnd.oci.image.index.v1+json",
        at(1),
    );
    let child = |digit: char, os: &str, architecture: &str| {
        let mut child = ManifestReference::new(
            "application/vnd.oci.image.manifest.v1+json",
            digest(digit).as_str(),
            500,
        );
        child.platform = Some(RecordPlatform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant: None,
        });
        child
    };
    record.manifests = vec![
        child('1', "linux", "arm64"),
        child('2', "linux", "amd64"),
        child('3', "unknown", "unknown"),
    ];
    record.hold_did = Some(hold());
    record.annotations = [
        ("org.opencontainers.image.title", "The app"),
        ("org.opencontainers.image.description", "Serves\nfiles."),
        ("org.opencontainers.image.licenses", "MIT"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    record
}

/// Alice's `app`: an index of two images, a signature of it, an untagged image, and tags.
pub(crate) async fn with_app<S: Subject>() -> S {
    let store = S::new().await;
    let owner = alice();
    let mut signature = image("app", '8');
    signature.subject = Some(BlobReference::new("x/y", digest('9').as_str(), 1));
    signature.artifact_type = Some("application/vnd.dev.cosign.simplesigning.v1+json".to_owned());
    let mut page = RepoPageRecord::new("app", at(0));
    page.description = Some("# App\n\nWhat it is.".to_owned());
    let changes = vec![
        put_manifest(&owner, &image("app", '1')),
        put_manifest(&owner, &image("app", '2')),
        put_manifest(&owner, &image("app", '4')),
        put_manifest(&owner, &index_of_two("app", '9')),
        put_manifest(&owner, &signature),
        put_tag(&owner, "app", "1.9", '4', 1),
        put_tag(&owner, "app", "1.10", '9', 5),
        put_tag(&owner, "app", "edge", '9', 9),
        put_tag(&owner, "app", &format!("sha256-{}", "9".repeat(64)), '8', 20),
        put_tag(&owner, "app", "gone", '7', 2),
        put(
            &owner,
            Collection::RepoPage,
            &repo_page::rkey("app").unwrap(),
            &page,
        ),
    ];
    store
        .apply(vec![
            identity(&owner, "alice.example"),
            step(&owner, None, 1, changes),
        ])
        .await;
    store
}

pub(crate) async fn app(store: &impl Subject) -> RepositoryView {
    store.index().repository(&alice(), "app").await.unwrap().unwrap()
}

fn names(page: &Page<TagView>) -> Vec<&str> {
    page.items.iter().map(|tag| tag.name.as_str()).collect()
}

/// A repository shows what was tagged last and its totals.
pub async fn a_repository_shows_what_was_tagged_last_and_its_totals<S: Subject>() {
    let store = with_app::<S>().await;
    let view = app(&store).await;
    let card = &view.card;
    assert_eq!(card.owner.handle.as_ref().unwrap(), "alice.example");
    assert_eq!(
        (card.title.as_str(), card.summary.as_str()),
        ("The app", "Serves files.")
    );
    assert_eq!(
        (card.licence.as_str(), card.kind),
        ("MIT", Some(Kind::ImageIndex))
    );
    assert_eq!(card.newest_tag.as_deref(), Some("edge"));
    assert_eq!(card.platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(
        (card.tags, view.fallback_tags, view.manifests, view.referrers),
        (4, 1, 5, 1)
    );
    assert_eq!(view.readme.as_deref(), Some("# App\n\nWhat it is."));
    // Neither `latest` nor what was moved last, but the highest release.
    assert_eq!(view.pull_tag.as_deref(), Some("1.10"));
    assert_eq!(view.coverage, Coverage::Whole);
    assert!(store.index().repository(&bob(), "app").await.unwrap().is_none());
    let holds = store.index().holds_of(card.id).await.unwrap();
    assert_eq!(
        holds
            .iter()
            .map(|hold| (hold.hold.as_str(), hold.manifests))
            .collect::<Vec<_>>(),
        [("did:web:hold.example", 5)]
    );
}

/// Tags come newest first or by version and page both ways.
pub async fn tags_come_newest_first_or_by_version_and_page_both_ways<S: Subject>() {
    let store = with_app::<S>().await;
    let id = app(&store).await.card.id;
    let list = async |order, start, limit| {
        let filter = TagFilter {
            order,
            ..TagFilter::default()
        };
        store
            .index()
            .tags(id, &filter, &PageRequest::from(start, limit))
            .await
            .unwrap()
    };
    let all = list(TagOrder::Newest, Start::Top, 10).await;
    assert_eq!(names(&all), ["edge", "1.10", "gone", "1.9"]);
    assert_eq!(
        names(&list(TagOrder::Version, Start::Top, 10).await),
        ["1.10", "1.9", "gone", "edge"]
    );
    for order in [TagOrder::Newest, TagOrder::Version] {
        let whole = list(order, Start::Top, 10).await;
        let first = list(order, Start::Top, 2).await;
        assert_eq!(first.newer, None);
        let second = list(order, Start::After(first.older.clone().unwrap()), 2).await;
        assert_eq!([names(&first), names(&second)].concat(), names(&whole));
        assert_eq!(second.older, None);
        let back = list(order, Start::Before(second.newer.clone().unwrap()), 2).await;
        assert_eq!((names(&back), back.newer.as_ref()), (names(&first), None));
    }
    let edge = &all.items[0];
    assert_eq!(edge.aliases, ["1.10"]);
    let manifest = edge.manifest.as_ref().unwrap();
    let platforms: Vec<_> = manifest
        .children
        .iter()
        .map(|child| child.platform.as_ref().unwrap().name())
        .collect();
    assert_eq!(platforms, ["linux/arm64", "linux/amd64", "unknown/unknown"]);
    assert_eq!(
        manifest
            .children
            .iter()
            .map(|child| child.is_attestation)
            .collect::<Vec<_>>(),
        [false, false, true]
    );
    assert_eq!(manifest.children[0].content_size, Some(1_100));
    assert_eq!(manifest.children[2].content_size, None);
    // The manifest of a tag may be gone.
    assert_eq!(
        (&all.items[2].digest, &all.items[2].manifest),
        (&Some(digest('7')), &None)
    );
}

/// A filter goes over all tags and fallback tags are apart.
pub async fn a_filter_goes_over_all_tags_and_fallback_tags_are_apart<S: Subject>() {
    let store = with_app::<S>().await;
    let id = app(&store).await.card.id;
    let filter = |text: &str, fallback| TagFilter {
        text: text.to_owned(),
        fallback,
        ..TagFilter::default()
    };
    let page = PageRequest::top(10);
    let found = store.index().tags(id, &filter("1.", false), &page).await.unwrap();
    assert_eq!(names(&found), ["1.10", "1.9"]);
    assert_eq!(
        store.index().count_tags(id, &filter("1.", false)).await.unwrap(),
        2
    );
    assert_eq!(store.index().count_tags(id, &filter("", false)).await.unwrap(), 4);
    let fallback = store.index().tags(id, &filter("", true), &page).await.unwrap();
    assert_eq!(fallback.items.len(), 1);
    assert!(
        store
            .index()
            .tags(id, &filter("%_", false), &page)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

/// A part of several images names them all.
pub async fn a_part_of_several_images_names_them_all<S: Subject>() {
    let store = with_app::<S>().await;
    let id = app(&store).await.card.id;
    let again = vec![put_manifest(&alice(), &index_of_two("app", 'a'))];
    store.apply(vec![step(&alice(), Some(1), 2, again)]).await;
    let listed = store.index().manifests(id, None, &PageRequest::top(10)).await;
    let items = listed.unwrap().items;
    let child = items
        .iter()
        .find(|row| row.summary.digest == digest('1'))
        .unwrap();
    assert_eq!(child.parents, [digest('a'), digest('9')]);
}

/// A manifest says what keeps it.
pub async fn a_manifest_says_what_keeps_it<S: Subject>() {
    let store = with_app::<S>().await;
    let id = app(&store).await.card.id;
    let index = store.index().manifest(id, &digest('9')).await.unwrap().unwrap();
    assert_eq!(index.tags, ["edge", "1.10"]);
    assert_eq!((index.referrers, index.summary.kind), (1, Kind::ImageIndex));
    assert_eq!(index.rkey.as_str(), "9".repeat(64));
    let child = store.index().manifest(id, &digest('2')).await.unwrap().unwrap();
    assert_eq!((child.parents, child.tags.len()), (vec![digest('9')], 0));
    assert_eq!((child.summary.content_size, child.summary.layers), (1_100, 1));
    assert_eq!(child.hold, Some(hold()));
    assert!(store.index().manifest(id, &digest('7')).await.unwrap().is_none());

    let listed = store
        .index()
        .manifests(id, None, &PageRequest::top(10))
        .await
        .unwrap();
    assert_eq!(listed.items.len(), 5);
    let kept: Vec<_> = listed
        .items
        .iter()
        .map(|row| {
            (
                row.summary.digest.hex().chars().next().unwrap(),
                row.tags.len(),
                row.parents.len(),
            )
        })
        .collect();
    for expected in [('9', 2, 0), ('1', 0, 1), ('4', 1, 0), ('8', 1, 0)] {
        assert!(kept.contains(&expected), "{expected:?} in {kept:?}");
    }
    let signatures = store
        .index()
        .manifests(id, Some(Kind::Signature), &PageRequest::top(10))
        .await
        .unwrap();
    assert_eq!(signatures.items.len(), 1);
    let referrers = store
        .index()
        .referrers(id, &digest('9'), &PageRequest::top(10))
        .await
        .unwrap();
    assert_eq!(referrers.items[0].summary.digest, digest('8'));
    let all = store
        .index()
        .all_referrers(id, &PageRequest::top(10))
        .await
        .unwrap();
    assert_eq!(all.items[0].subject, Some(digest('9')));
}

/// Referrers page by digest.
pub async fn referrers_page_by_digest<S: Subject>() {
    let store = S::new().await;
    let owner = alice();
    let mut changes = Vec::new();
    for digit in ['2', '3', '4', '5', '6'] {
        let mut record = image("app", digit);
        record.subject = Some(BlobReference::new("x/y", digest('1').as_str(), 1));
        changes.push(put_manifest(&owner, &record));
    }
    store.apply(vec![step(&owner, None, 1, changes)]).await;
    let id = app(&store).await.card.id;
    let mut seen = Vec::new();
    let mut start = Start::Top;
    loop {
        let page = store
            .index()
            .referrers(id, &digest('1'), &PageRequest::from(start, 2))
            .await
            .unwrap();
        seen.extend(page.items.iter().map(|row| row.summary.digest.clone()));
        let all = page.older.clone();
        match all {
            Some(position) => start = Start::After(position.to_string().parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen, ['2', '3', '4', '5', '6'].map(digest));
}

/// A move of a tag is remembered and the first listing is none.
pub async fn a_move_of_a_tag_is_remembered_and_the_first_listing_is_none<S: Subject>() {
    let store = with_app::<S>().await;
    let id = app(&store).await.card.id;
    let moves = async |tag: Option<&str>| {
        store
            .index()
            .tag_moves(id, tag, &PageRequest::top(10))
            .await
            .unwrap()
            .items
    };
    assert_eq!(moves(None).await, []);
    let owner = alice();
    store
        .apply(vec![step(
            &owner,
            Some(1),
            2,
            vec![put_tag(&owner, "app", "edge", '4', 30)],
        )])
        .await;
    store
        .apply(vec![step(
            &owner,
            Some(2),
            3,
            vec![delete(Collection::Tag, "app_edge")],
        )])
        .await;
    store
        .apply(vec![step(
            &owner,
            Some(3),
            4,
            vec![put_tag(&owner, "app", "new", '4', 40)],
        )])
        .await;
    let seen: Vec<_> = moves(None)
        .await
        .into_iter()
        .map(|step| (step.tag, step.from, step.to))
        .collect();
    let edge = "edge".to_owned();
    assert_eq!(
        seen,
        [
            ("new".to_owned(), None, Some(digest('4'))),
            (edge.clone(), Some(digest('4')), None),
            (edge, Some(digest('9')), Some(digest('4'))),
        ]
    );
    assert_eq!(moves(Some("new")).await.len(), 1);
}

/// Of two records for one tag the one moved last counts.
pub async fn of_two_records_for_one_tag_the_one_moved_last_counts<S: Subject>() {
    let store = with_app::<S>().await;
    let owner = alice();
    let id = app(&store).await.card.id;
    let mut other =
        atcr_atproto::lexicon::tag::TagRecord::new(&owner, "app", "1.9", digest('1').as_str(), at(50))
            .unwrap();
    let odd: RecordKey = "3kodd".parse().unwrap();
    store
        .apply(vec![step(
            &owner,
            Some(1),
            2,
            vec![put(&owner, Collection::Tag, &odd, &other)],
        )])
        .await;
    let tag = async || store.index().tag(id, "1.9").await.unwrap().unwrap().digest;
    assert_eq!(tag().await, Some(digest('1')));
    other.updated_at = Some(at(-50));
    store
        .apply(vec![step(
            &owner,
            Some(2),
            3,
            vec![put(&owner, Collection::Tag, &odd, &other)],
        )])
        .await;
    assert_eq!(tag().await, Some(digest('4')));
    assert_eq!(app(&store).await.card.tags, 4);
    store.dump().await;
}

/// A time in the future does not climb the lists.
pub async fn a_time_in_the_future_does_not_climb_the_lists<S: Subject>() {
    let store = with_app::<S>().await;
    let mut record = image("evil", '1');
    record.created_at = Datetime::new(now() + TimeDelta::days(3_000));
    let bobs = bob();
    store
        .apply(vec![step(&bobs, None, 1, vec![put_manifest(&bobs, &record)])])
        .await;
    let recent = store
        .index()
        .recently_pushed(&PageRequest::top(10))
        .await
        .unwrap();
    assert_eq!(recent.items[0].pushed_at, now());
    assert_eq!(
        recent
            .items
            .iter()
            .map(|card| card.name.as_str())
            .collect::<Vec<_>>(),
        ["evil", "app"]
    );
}

/// Every record comes back under its key.
pub async fn every_record_comes_back_under_its_key<S: Subject>() {
    let store = with_app::<S>().await;
    let keys: Vec<String> = store
        .index()
        .known_records(&alice(), Collection::Tag)
        .await
        .unwrap()
        .into_iter()
        .map(|record| record.rkey.to_string())
        .collect();
    let fallback = format!("app_sha256-{}", "9".repeat(64));
    assert_eq!(
        keys,
        ["app_1.10", "app_1.9", "app_edge", "app_gone", fallback.as_str()]
    );
    assert_eq!(
        store
            .index()
            .known_records(&bob(), Collection::Tag)
            .await
            .unwrap(),
        []
    );
}

/// Every text of a record can be written and read, also one with characters that no text should have.
pub async fn a_record_with_any_characters_is_written<S: Subject>() {
    let store = S::new().await;
    let owner = alice();
    let mut record = image("app", '1');
    let odd = "a\u{0}b \u{202e}c \u{1f980} \\ ' \" {}";
    record.annotations = [
        ("org.opencontainers.image.title".to_owned(), odd.to_owned()),
        (odd.to_owned(), odd.to_owned()),
    ]
    .into();
    record.artifact_type = Some(odd.to_owned());
    let mut page = RepoPageRecord::new("app", at(0));
    page.description = Some(format!("{odd}\n\n{odd}"));
    let rkey = repo_page::rkey("app").unwrap();
    let changes = vec![
        put_manifest(&owner, &record),
        put(&owner, Collection::RepoPage, &rkey, &page),
    ];
    store.apply(vec![step(&owner, None, 1, changes)]).await;
    let view = store.index().repository(&owner, "app").await.unwrap().unwrap();
    assert!(view.readme.is_some_and(|text| text.contains('\u{1f980}')));
    assert!(view.annotations.values().any(|text| text.contains('\u{1f980}')));
    // What nobody can have is looked for and not found.
    assert!(
        store
            .index()
            .repository(&owner, "a\u{0}")
            .await
            .unwrap()
            .is_none()
    );
    assert!(store.index().tag(view.card.id, "a\u{0}").await.unwrap().is_none());
    assert!(!store.index().is_taken_down(&owner, "a\u{0}").await.unwrap());
    let filter = TagFilter {
        text: "\u{0}".to_owned(),
        ..TagFilter::default()
    };
    assert_eq!(store.index().count_tags(view.card.id, &filter).await.unwrap(), 0);
}
