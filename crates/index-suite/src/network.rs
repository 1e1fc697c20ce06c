//! The made-up network.

use atcr_index::generator::{Network, Size, account_did};
use atcr_index::page::{PageRequest, Start};
use atcr_index::ports::{IndexAudit as _, IndexReader as _};

use crate::subject::{Subject, now};

/// A made up network is the same each time and can be paged through.
pub async fn a_made_up_network_is_the_same_each_time_and_can_be_paged_through<S: Subject>() {
    let (one, two) = (S::new().await, S::new().await);
    for store in [&one, &two] {
        Network::new(7, Size::small())
            .load(store.index(), now())
            .await
            .unwrap();
    }
    assert_eq!(one.dump().await, two.dump().await);
    let stats = one.index().stats().await.unwrap();
    assert_eq!((stats.accounts, stats.repositories), (23, 60));
    assert!(
        stats.manifests > 1_000 && stats.tags > 1_500 && stats.stars > 50,
        "{stats:?}"
    );

    let mut seen = Vec::new();
    let mut start = Start::Top;
    while let Some(position) = {
        let page = one
            .index()
            .recently_pushed(&PageRequest::from(start.clone(), 7))
            .await
            .unwrap();
        seen.extend(page.items.iter().map(|card| card.id));
        assert!(
            page.items
                .is_sorted_by_key(|card| std::cmp::Reverse(card.pushed_at))
        );
        page.older
    } {
        start = Start::After(position);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 60);
    let account = one.index().account(&account_did(0)).await.unwrap().unwrap();
    assert!(account.repositories > 0 && account.owner.handle.is_some());
}
