//! Lists of accounts that are read in parts.

use atcr_index::change::Lane;
use atcr_index::ports::{DiscoveryLog as _, DiscoveryProgress, FoundAccount, WorkQueue as _};

use crate::subject::{Subject, alice, bob, now, rev, step};

/// A page of a list queues who is not at its revision and moves the list.
pub async fn a_page_of_a_list_queues_who_is_not_at_its_revision_and_moves_the_list<S: Subject>() {
    let store = S::new().await;
    let index = store.index();
    assert_eq!(
        index.discovery("relay").await.unwrap(),
        DiscoveryProgress::default()
    );
    store.apply(vec![step(&alice(), None, 1, Vec::new())]).await;
    let found = |did, number| FoundAccount {
        did,
        rev: Some(rev(number)),
    };
    let new = index
        .discovered(
            "relay",
            &[found(alice(), 1), found(bob(), 1)],
            Some("next"),
            None,
            now(),
        )
        .await
        .unwrap();
    assert_eq!(new, 1);
    let progress = index.discovery("relay").await.unwrap();
    assert_eq!(
        (
            progress.cursor.as_deref(),
            progress.finished_at,
            progress.accounts
        ),
        (Some("next"), None, 2)
    );
    let claimed = index.claim(&Lane::ALL, 9, now(), now()).await.unwrap();
    let claimed: Vec<_> = claimed.into_iter().map(|work| (work.did, work.lane)).collect();
    assert_eq!(claimed, [(bob(), Lane::Discovered)]);

    // The last page: the account has gone on, and the next reading begins anew.
    index
        .discovered("relay", &[found(alice(), 2)], None, None, now())
        .await
        .unwrap();
    let progress = index.discovery("relay").await.unwrap();
    assert_eq!(
        (progress.cursor, progress.finished_at, progress.accounts),
        (None, Some(now()), 3)
    );
    let claimed = index.claim(&[Lane::Audit], 9, now(), now()).await.unwrap();
    assert_eq!(claimed[0].did, alice());
    index
        .discovered("relay", &[found(bob(), 1)], Some("next"), None, now())
        .await
        .unwrap();
    let progress = index.discovery("relay").await.unwrap();
    assert_eq!((progress.finished_at, progress.accounts), (Some(now()), 1));
}
