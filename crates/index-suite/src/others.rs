//! What others say of a repository: stars, counts of holds and results of scans.

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::lexicon::scan::{self, ScanRecord, SeverityCounts};
use atcr_atproto::lexicon::star::StarRecord;
use atcr_atproto::lexicon::stats::{self, StatsRecord};
use atcr_atproto::lexicon::{crew, manifest, star};
use atcr_atproto::syntax::{Datetime, Did, RecordKey};
use atcr_index::Collection;
use atcr_index::change::Change;
use atcr_index::page::PageRequest;
use atcr_index::ports::IndexReader as _;
use chrono::TimeDelta;

use crate::pages::{app, with_app};
use crate::subject::{
    Subject, alice, at, bob, delete, digest, hold, identity, image, now, put, put_manifest, step,
};

fn star_of(repository: &str, rkey: &str) -> Change {
    let record = StarRecord::new(&alice(), repository, at(3)).unwrap();
    put(&bob(), Collection::Star, &rkey.parse().unwrap(), &record)
}

/// An account stars a repository once whatever records it has.
pub async fn an_account_stars_a_repository_once_whatever_records_it_has<S: Subject>() {
    let store = with_app::<S>().await;
    let derived = star::rkey(&alice(), "app").unwrap();
    let changes = vec![
        star_of("app", derived.as_str()),
        star_of("app", "again"),
        star_of("nothing", "other"),
    ];
    store
        .apply(vec![
            identity(&bob(), "bob.example"),
            step(&bob(), None, 1, changes),
        ])
        .await;
    assert_eq!(app(&store).await.card.stars, 1);
    let top = PageRequest::top(10);
    let starrers = store.index().stars_of(&alice(), "app", &top).await.unwrap().items;
    assert_eq!(starrers.len(), 1);
    assert_eq!(starrers[0].starrer.did, bob());
    let starred = store.index().starred_by(&bob(), &top).await.unwrap().items;
    assert_eq!(
        starred.iter().map(|card| card.name.as_str()).collect::<Vec<_>>(),
        ["app"]
    );
    assert_eq!(store.index().most_starred(&top).await.unwrap().items.len(), 1);
    let mut keys = store.index().stars_given(&bob(), &alice(), "app").await.unwrap();
    keys.sort_by_key(|key| key.to_string());
    assert_eq!(keys.len(), 2);
    store
        .apply(vec![step(
            &bob(),
            Some(1),
            2,
            vec![delete(Collection::Star, "again")],
        )])
        .await;
    assert_eq!(app(&store).await.card.stars, 1);
    store
        .apply(vec![step(
            &bob(),
            Some(2),
            3,
            vec![delete(Collection::Star, derived.as_str())],
        )])
        .await;
    assert_eq!(app(&store).await.card.stars, 0);
    // A star that was there before the repository counts when the repository comes.
    let owner = alice();
    store
        .apply(vec![step(
            &owner,
            Some(1),
            2,
            vec![put_manifest(&owner, &image("nothing", '5'))],
        )])
        .await;
    let nothing = store
        .index()
        .repository(&alice(), "nothing")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(nothing.card.stars, 1);
    store.dump().await;
}

fn count_of(hold: &Did, pulls: u64, days: i64) -> Change {
    let mut record = StatsRecord::new(alice(), "app", at(0));
    record.pull_count = pulls;
    record.push_count = 2;
    record.last_pull = Some(Datetime::new(now() - TimeDelta::days(days)));
    put(
        hold,
        Collection::Stats,
        &stats::rkey(&alice(), "app").unwrap(),
        &record,
    )
}

/// Pulls are what the repositorys own holds say.
pub async fn pulls_are_what_the_repositorys_own_holds_say<S: Subject>() {
    let store = with_app::<S>().await;
    let (ours, stranger) = (hold(), "did:web:stranger.example".parse().unwrap());
    store
        .apply(vec![step(&ours, None, 1, vec![count_of(&ours, 100, 2)])])
        .await;
    store
        .apply(vec![step(
            &stranger,
            None,
            1,
            vec![count_of(&stranger, 1_000_000, 2)],
        )])
        .await;
    assert_eq!(app(&store).await.card.pulls, 100);
    store
        .apply(vec![step(&ours, Some(1), 2, vec![count_of(&ours, 130, 1)])])
        .await;
    // The hold lost its counts and began anew.
    store
        .apply(vec![step(&ours, Some(2), 3, vec![count_of(&ours, 5, 0)])])
        .await;
    let view = app(&store).await;
    assert_eq!((view.card.pulls, view.pushes), (135, 2));
    assert_eq!(view.last_pull, Some(now()));
    let today = now().date_naive();
    let days = store
        .index()
        .pulls_by_day(view.card.id, today - TimeDelta::days(30), today)
        .await
        .unwrap();
    let days: Vec<_> = days.iter().map(|day| (day.day, day.pulls)).collect();
    assert_eq!(days, [(today - TimeDelta::days(1), 30), (today, 5)]);
    store.dump().await;
}

/// Counts that are more than a number has room for are capped, and stop nothing.
pub async fn counts_that_are_more_than_a_number_has_room_for_are_capped<S: Subject>() {
    const MOST_OF_A_RECORD: u64 = 1 << 52;
    const MOST: u64 = 1 << 62;
    let store = with_app::<S>().await;
    let (owner, key) = (alice(), stats::rkey(&alice(), "app").unwrap());
    let holds: Vec<Did> = (0..260)
        .map(|number| format!("did:web:hold{number}.example").parse().unwrap())
        .collect();
    let named = holds.iter().enumerate().map(|(number, hold)| {
        let mut record = image("app", '1');
        record.digest = format!("sha256:{number:064x}");
        record.hold_did = Some(hold.clone());
        put_manifest(&owner, &record)
    });
    store.apply(vec![step(&owner, Some(1), 2, named.collect())]).await;
    // Each counts to the most that a record can say, and begins anew, again and again, all on one day.
    for number in 0..17 {
        let mut record = StatsRecord::new(alice(), "app", at(0));
        record.pull_count = if number % 2 == 0 { MOST_OF_A_RECORD } else { 0 };
        record.push_count = record.pull_count;
        let base = (number > 0).then_some(number);
        let of_hold = |hold: &Did| {
            let count = put(hold, Collection::Stats, &key, &record);
            step(hold, base, number + 1, vec![count])
        };
        store.apply(holds.iter().map(of_hold).collect()).await;
    }
    let view = app(&store).await;
    assert_eq!((view.card.pulls, view.pushes), (MOST, MOST));
    let (from, to) = ((now() - TimeDelta::days(2)).date_naive(), now().date_naive());
    let days = store.index().pulls_by_day(view.card.id, from, to).await.unwrap();
    assert_eq!(days.iter().map(|day| day.pulls).collect::<Vec<_>>(), [MOST]);
    store.dump().await;
    // With one hold the sum is exact again.
    let gone = holds[1..].iter().map(|hold| {
        let change = delete(Collection::Stats, key.as_str());
        step(hold, Some(17), 18, vec![change])
    });
    store.apply(gone.collect()).await;
    let carried = 8 * MOST_OF_A_RECORD;
    assert_eq!(app(&store).await.card.pulls, carried + MOST_OF_A_RECORD);
    store.dump().await;
}

/// Holds and their members are found from both sides.
pub async fn holds_and_their_members_are_found_from_both_sides<S: Subject>() {
    let store = S::new().await;
    let mut captain = CaptainRecord::new(alice(), at(0));
    captain.allow_all_crew = true;
    let member = CrewRecord::new(bob(), "member", ["blob:read"], at(0));
    let changes = vec![
        put(&hold(), Collection::Captain, &RecordKey::literal_self(), &captain),
        put(&hold(), Collection::Crew, &crew::rkey(&bob()).unwrap(), &member),
    ];
    store
        .apply(vec![
            identity(&hold(), "hold.example"),
            step(&hold(), None, 1, changes),
        ])
        .await;
    assert_eq!(
        store.index().hold(&hold()).await.unwrap().unwrap().captain,
        alice()
    );
    assert_eq!(store.index().open_holds(10).await.unwrap().len(), 1);
    assert_eq!(
        store.index().memberships(&alice()).await.unwrap()[0].permissions,
        Vec::<String>::new()
    );
    assert_eq!(
        store.index().memberships(&bob()).await.unwrap()[0].permissions,
        ["blob:read"]
    );
    assert!(store.index().hold(&alice()).await.unwrap().is_none());
}

/// A scan counts when the hold has the manifest.
pub async fn a_scan_counts_when_the_hold_has_the_manifest<S: Subject>() {
    let store = with_app::<S>().await;
    let record = |user: Did| {
        let counts = SeverityCounts {
            critical: 1,
            high: 2,
            medium: 0,
            low: 0,
            total: 3,
        };
        let uri = manifest::at_uri(&user, digest('4').as_str()).unwrap();
        ScanRecord::new(uri, "app", user, counts, "scanner-1", at(0))
    };
    let key = scan::rkey(digest('4').as_str()).unwrap();
    let stranger: Did = "did:web:stranger.example".parse().unwrap();
    for scanner in [hold(), stranger] {
        let change = put(&scanner, Collection::Scan, &key, &record(alice()));
        store.apply(vec![step(&scanner, None, 1, vec![change])]).await;
    }
    let scans = store.index().scans(&alice(), &digest('4')).await.unwrap();
    assert_eq!(scans.len(), 1);
    assert_eq!((scans[0].hold.clone(), scans[0].severities.high), (hold(), 2));
}
