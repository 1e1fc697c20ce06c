//! Accounts found in lists.

use std::sync::Arc;

use atcr_atproto::syntax::Did;
use atcr_index::Collection;
use atcr_index::ports::IndexReader as _;
use atcr_ingest::discovery::{Discovery, List};
use chrono::TimeDelta;

use crate::host::{Host, World, alice, bob, put_manifest, put_post, put_tag};
use crate::streams::Lists;

pub(crate) fn discovery(world: &World, lists: &Lists, always: Vec<Did>) -> Discovery {
    Discovery::new(
        world.index.clone(),
        Arc::new(lists.clone()),
        world.clock.clone(),
        vec!["https://relay.example".parse().unwrap()],
        always,
    )
}

fn nobody() -> Did {
    "did:plc:nobodyaaaaaaaaaaaaaaaaaa".parse().unwrap()
}

const MANIFESTS: List = List::With(Collection::Manifest);

#[tokio::test]
async fn a_list_is_read_to_its_end_and_goes_on_where_it_was_left() {
    let host = Host::with(&[alice(), bob(), nobody()]);
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    host.commit(&bob(), vec![put_manifest("app", '2')]);
    host.commit(&nobody(), vec![put_post("hello")]);
    let world = World::new(&host).await;
    let lists = Lists::default();
    for did in [nobody(), alice(), bob()] {
        lists.add(MANIFESTS, &did, None);
    }
    lists.go_down_after(Some(1));
    let discovery = discovery(&world, &lists, Vec::new());
    discovery.run_due().await.unwrap_err();
    // What the first page had is known already.
    assert_eq!(world.scheduler.drain().await.unwrap(), 2);
    assert!(world.store.repository(&alice(), "app").await.unwrap().is_some());
    assert!(world.store.account(&nobody()).await.unwrap().is_none());

    lists.go_down_after(None);
    lists.asked();
    discovery.run_due().await.unwrap();
    assert_eq!(
        lists.asked()[0],
        (Collection::Manifest.nsid(), Some("2".to_owned()))
    );
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    assert!(world.store.repository(&bob(), "app").await.unwrap().is_some());

    // Not again before a day has passed; then what was missed is found.
    discovery.run_due().await.unwrap();
    assert_eq!(lists.asked(), []);
    host.commit(&bob(), vec![put_tag(&bob(), "app", "missed", '2')]);
    world.clock.advance(TimeDelta::hours(25));
    discovery.run_due().await.unwrap();
    assert_eq!(lists.asked()[0], (Collection::Manifest.nsid(), None));
    world.scheduler.drain().await.unwrap();
    let view = world.store.repository(&bob(), "app").await.unwrap().unwrap();
    assert_eq!(view.card.tags, 1);
}

#[tokio::test]
async fn a_host_without_lists_by_collection_lists_all_and_who_is_current_is_left_alone() {
    let host = Host::with(&[alice(), bob()]);
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    let world = World::new(&host).await;
    world.catch_up.run(&alice()).await.unwrap();
    let lists = Lists::default();
    lists.have_only_all();
    let rev = host.change(&alice(), |account| account.rev());
    lists.add(List::All, &alice(), Some(rev));
    let hold = bob();
    host.commit(&hold, vec![put_manifest("of-the-hold", '2')]);
    discovery(&world, &lists, vec![hold.clone()])
        .run_due()
        .await
        .unwrap();
    // The default hold is read though nobody lists it.
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    assert!(
        world
            .store
            .repository(&hold, "of-the-hold")
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_page_without_accounts_is_not_the_end_and_a_list_of_them_is_left() {
    let host = Host::with(&[alice(), bob(), nobody()]);
    host.commit(&alice(), vec![put_manifest("app", '1')]);
    let world = World::new(&host).await;
    let lists = Lists::default();
    for did in [nobody(), bob(), alice()] {
        lists.add(MANIFESTS, &did, None);
    }
    lists.leave_out_first_page();
    discovery(&world, &lists, Vec::new()).run_due().await.unwrap();
    assert_eq!(world.scheduler.drain().await.unwrap(), 1);
    assert!(world.store.repository(&alice(), "app").await.unwrap().is_some());

    lists.have_no_end();
    lists.asked();
    discovery(&world, &lists, Vec::new()).run_all().await.unwrap();
    let of_manifests = lists
        .asked()
        .into_iter()
        .filter(|(list, _)| *list == Collection::Manifest.nsid());
    assert_eq!(of_manifests.count(), 101);
}
