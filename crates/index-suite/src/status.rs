//! Accounts that are hidden, taken down, renamed, and steps that do not fit.

use atcr_atproto::syntax::Did;
use atcr_index::change::{
    Applied, Batch, Coverage, Fence, Lane, Proof, QueuedWork, Status, StatusStep, Step, TakedownStep,
};
use atcr_index::page::PageRequest;
use atcr_index::ports::{
    DiscoveryLog as _, DiscoveryProgress, FoundAccount, IndexAudit as _, IndexReader as _, IndexWriter as _,
    PullIndex as _, SearchIndex as _,
};
use atcr_index::search::Query;
use atcr_index::{Collection, IndexError};
use chrono::TimeDelta;
use serde_json::json;

use crate::subject::{
    Subject, alice, bob, delete, digest, hold, identity, image, now, put_manifest, put_tag, put_value, rev,
    step,
};

async fn with_app<S: Subject>() -> S {
    let store = S::new().await;
    let owner = alice();
    let changes = vec![
        put_manifest(&owner, &image("app", '1')),
        put_tag(&owner, "app", "latest", '1', 1),
    ];
    store
        .apply(vec![
            identity(&owner, "alice.example"),
            step(&owner, None, 1, changes),
        ])
        .await;
    store
}

fn status(did: &Did, status: Status, minutes: i64) -> Step {
    Step::Status(StatusStep {
        did: did.clone(),
        status,
        at: now() + TimeDelta::minutes(minutes),
    })
}

fn takedown(repository: Option<&str>, applies: bool, minutes: i64) -> Step {
    Step::Takedown(TakedownStep {
        source: bob(),
        did: alice(),
        repository: repository.map(str::to_owned),
        applies,
        at: now() + TimeDelta::minutes(minutes),
    })
}

/// Whether the repository is anywhere to be seen.
async fn is_seen(store: &impl Subject) -> bool {
    let top = PageRequest::top(10);
    let seen = [
        store.index().repository(&alice(), "app").await.unwrap().is_some(),
        !store
            .index()
            .recently_pushed(&top)
            .await
            .unwrap()
            .items
            .is_empty(),
        !store
            .index()
            .repositories_of(&alice(), &top)
            .await
            .unwrap()
            .items
            .is_empty(),
        !store
            .index()
            .repositories_named("app", 10)
            .await
            .unwrap()
            .is_empty(),
        !store
            .index()
            .candidates(&Query::parse("app"))
            .await
            .unwrap()
            .is_empty(),
        store
            .index()
            .account(&alice())
            .await
            .unwrap()
            .unwrap()
            .repositories
            == 1,
    ];
    assert!(seen.iter().all(|is| *is == seen[0]), "{seen:?}");
    store.dump().await;
    seen[0]
}

/// What is hidden is nowhere and comes back from its own rows.
pub async fn what_is_hidden_is_nowhere_and_comes_back_from_its_own_rows<S: Subject>() {
    let store = with_app::<S>().await;
    assert!(is_seen(&store).await);
    for (hide, show) in [
        (
            status(&alice(), Status::Deactivated, 1),
            status(&alice(), Status::Active, 2),
        ),
        (takedown(None, true, 1), takedown(None, false, 2)),
        (takedown(Some("app"), true, 1), takedown(Some("app"), false, 2)),
    ] {
        store.apply(vec![hide.clone()]).await;
        assert!(!is_seen(&store).await, "{hide:?}");
        assert_eq!(store.apply(vec![hide.clone()]).await, [Applied::Known]);
        store.apply(vec![show]).await;
        assert!(is_seen(&store).await, "{hide:?}");
        // An old word does not hide it again.
        assert_eq!(store.apply(vec![hide]).await, [Applied::Known]);
        assert!(is_seen(&store).await);
    }
}

/// The stars of a hidden account do not count.
pub async fn the_stars_of_a_hidden_account_do_not_count<S: Subject>() {
    let store = with_app::<S>().await;
    let star = atcr_atproto::lexicon::star::StarRecord::new(&alice(), "app", crate::subject::at(0)).unwrap();
    let change = crate::subject::put(&bob(), Collection::Star, &"s".parse().unwrap(), &star);
    store.apply(vec![step(&bob(), None, 1, vec![change])]).await;
    let stars = async || {
        store
            .index()
            .repository(&alice(), "app")
            .await
            .unwrap()
            .unwrap()
            .card
            .stars
    };
    assert_eq!(stars().await, 1);
    store.apply(vec![status(&bob(), Status::TakenDown, 1)]).await;
    assert_eq!(stars().await, 0);
    store.apply(vec![status(&bob(), Status::Active, 2)]).await;
    assert_eq!(stars().await, 1);
    store.dump().await;
}

/// A step is done known or behind a gap.
pub async fn a_step_is_done_known_or_behind_a_gap<S: Subject>() {
    let store = with_app::<S>().await;
    let owner = alice();
    let tag = |digit, minutes| vec![put_tag(&owner, "app", "latest", digit, minutes)];
    let third = step(&owner, Some(2), 3, tag('3', 3));
    assert_eq!(
        store.apply(vec![third.clone()]).await,
        [Applied::Gap { rev: Some(rev(1)) }]
    );
    let second = step(&owner, Some(1), 2, tag('2', 2));
    let both = store.apply(vec![second.clone(), third]).await;
    assert_eq!(both, [Applied::Done, Applied::Done]);
    assert_eq!(store.apply(vec![second]).await, [Applied::Known]);
    let repository = store.index().repository(&owner, "app").await.unwrap().unwrap();
    let tag = store
        .index()
        .tag(repository.card.id, "latest")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tag.digest, Some(crate::subject::digest('3')));
    let account = store.index().account(&owner).await.unwrap().unwrap();
    assert_eq!((account.rev, account.coverage), (Some(rev(3)), Coverage::Whole));
    // An account that was never listed has a gap before anything but its first commit.
    let bobs = store.apply(vec![step(&bob(), Some(1), 2, Vec::new())]).await;
    assert_eq!(bobs, [Applied::Gap { rev: None }]);
    // Nor does a write whose base is not known.
    let Step::Records(mut unknown) = step(&bob(), None, 2, Vec::new()) else {
        unreachable!()
    };
    unknown.coverage = None;
    assert_eq!(
        store.apply(vec![Step::Records(unknown)]).await,
        [Applied::Gap { rev: None }]
    );
}

/// A step from another tree of the same revision is behind a gap.
pub async fn a_step_from_another_tree_of_the_same_revision_is_behind_a_gap<S: Subject>() {
    let store = with_app::<S>().await;
    let Step::Records(mut forked) = step(&alice(), Some(1), 2, Vec::new()) else {
        unreachable!()
    };
    forked.base_data = Some(atcr_atproto::data_model::cid_of(
        atcr_atproto::data_model::DAG_CBOR,
        b"another",
    ));
    assert_eq!(
        store.apply(vec![Step::Records(forked)]).await,
        [Applied::Gap { rev: Some(rev(1)) }]
    );
}

/// A write of ours gets its tree from the commit later.
pub async fn a_write_of_ours_gets_its_tree_from_the_commit_later<S: Subject>() {
    let store = with_app::<S>().await;
    let owner = alice();
    let Step::Records(mut own) = step(&owner, Some(1), 2, Vec::new()) else {
        unreachable!()
    };
    own.data = None;
    own.proof = Proof::Owner;
    assert_eq!(store.apply(vec![Step::Records(own)]).await, [Applied::Done]);
    // Until then no other commit fits: nothing says that it is of this tree.
    let early = store.apply(vec![step(&owner, Some(2), 3, Vec::new())]).await;
    assert_eq!(early, [Applied::Gap { rev: Some(rev(2)) }]);
    assert_eq!(
        store.apply(vec![step(&owner, Some(1), 2, Vec::new())]).await,
        [Applied::Done]
    );
    assert_eq!(
        store.apply(vec![step(&owner, Some(1), 2, Vec::new())]).await,
        [Applied::Known]
    );
}

/// An account that is distrusted is cut until all of it was compared.
pub async fn an_account_that_is_distrusted_is_cut_until_all_of_it_was_compared<S: Subject>() {
    let store = with_app::<S>().await;
    let owner = alice();
    store.apply(vec![Step::Distrust { did: owner.clone() }]).await;
    let coverage = async || store.index().account(&owner).await.unwrap().unwrap().coverage;
    assert_eq!(coverage().await, Coverage::Cut);
    let Step::Records(mut compared) = step(&owner, Some(1), 1, vec![delete(Collection::Tag, "app_latest")])
    else {
        unreachable!()
    };
    compared.coverage = Some(Coverage::Whole);
    compared.proof = Proof::Owner;
    assert_eq!(store.apply(vec![Step::Records(compared)]).await, [Applied::Done]);
    assert_eq!(coverage().await, Coverage::Whole);
    assert_eq!(
        store
            .index()
            .repository(&owner, "app")
            .await
            .unwrap()
            .unwrap()
            .card
            .tags,
        0
    );
}

/// A handle is one accounts and an old one leads to its owner.
pub async fn a_handle_is_one_accounts_and_an_old_one_leads_to_its_owner<S: Subject>() {
    let store = with_app::<S>().await;
    let handle = "alice.example".parse().unwrap();
    store.apply(vec![identity(&bob(), "alice.example")]).await;
    assert_eq!(
        store
            .index()
            .account_by_handle(&handle)
            .await
            .unwrap()
            .unwrap()
            .owner
            .did,
        bob()
    );
    assert_eq!(
        store
            .index()
            .account(&alice())
            .await
            .unwrap()
            .unwrap()
            .owner
            .handle,
        None
    );
    store
        .apply(vec![
            identity(&bob(), "bob.example"),
            identity(&alice(), "new.example"),
        ])
        .await;
    assert!(store.index().account_by_handle(&handle).await.unwrap().is_none());
    assert_eq!(store.index().former_owner(&handle).await.unwrap(), Some(bob()));
    // Two accounts exchange their handles in one batch.
    store
        .apply(vec![
            identity(&bob(), "new.example"),
            identity(&alice(), "bob.example"),
        ])
        .await;
    let owner = async |handle: &str| {
        store
            .index()
            .account_by_handle(&handle.parse().unwrap())
            .await
            .unwrap()
            .unwrap()
            .owner
            .did
    };
    assert_eq!(
        (owner("new.example").await, owner("bob.example").await),
        (bob(), alice())
    );
    let found = store.index().candidates(&Query::parse("bob")).await.unwrap();
    assert_eq!(found.len(), 1);
    store.dump().await;
}

/// A record that cannot be used is remembered and replaces what was there.
pub async fn a_record_that_cannot_be_used_is_remembered_and_replaces_what_was_there<S: Subject>() {
    let store = with_app::<S>().await;
    let owner = alice();
    let key = "app_latest".parse().unwrap();
    let broken = put_value(&owner, Collection::Tag, &key, json!({ "repository": 1 }));
    store.apply(vec![step(&owner, Some(1), 2, vec![broken])]).await;
    let view = store.index().repository(&owner, "app").await.unwrap().unwrap();
    assert_eq!(view.card.tags, 0);
    let known = store
        .index()
        .known_records(&owner, Collection::Tag)
        .await
        .unwrap();
    assert_eq!(known.len(), 1);
    store
        .apply(vec![step(
            &owner,
            Some(2),
            3,
            vec![put_tag(&owner, "app", "latest", '1', 1)],
        )])
        .await;
    assert_eq!(
        store
            .index()
            .known_records(&owner, Collection::Tag)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        store
            .index()
            .repository(&owner, "app")
            .await
            .unwrap()
            .unwrap()
            .card
            .tags,
        1
    );
}

/// Who lost a source writes nothing.
pub async fn who_lost_a_source_writes_nothing<S: Subject>() {
    let store = with_app::<S>().await;
    let (old, cursor) = store.index().take_source("relay").await.unwrap();
    assert_eq!(cursor, None);
    let (new, _) = store.index().take_source("relay").await.unwrap();
    let owner = alice();
    let fence = |epoch, cursor| Fence {
        source: "relay".to_owned(),
        epoch,
        cursor,
    };
    let batch = |fence| Batch {
        steps: vec![step(
            &owner,
            Some(1),
            2,
            vec![delete(Collection::Tag, "app_latest")],
        )],
        work: vec![QueuedWork {
            did: bob(),
            lane: Lane::Gap,
            due: now(),
        }],
        fence: Some(fence),
    };
    // Whether it moves the cursor or not.
    for cursor in [Some(7), None] {
        let refused = store.index().apply(&batch(fence(old, cursor)), now()).await;
        assert!(matches!(refused, Err(IndexError::Fenced(source)) if source == "relay"));
    }
    let found = [FoundAccount {
        did: bob(),
        rev: None,
    }];
    let refused = store
        .index()
        .discovered("list", &found, Some("next"), Some(&fence(old, None)), now())
        .await;
    assert!(matches!(refused, Err(IndexError::Fenced(source)) if source == "relay"));
    assert_eq!(store.index().queued(9).await.unwrap(), 0);
    assert_eq!(
        store.index().discovery("list").await.unwrap(),
        DiscoveryProgress::default()
    );
    assert_eq!(
        store
            .index()
            .repository(&owner, "app")
            .await
            .unwrap()
            .unwrap()
            .card
            .tags,
        1
    );
    store
        .index()
        .apply(&batch(fence(new, Some(7))), now())
        .await
        .unwrap();
    assert_eq!(
        store
            .index()
            .repository(&owner, "app")
            .await
            .unwrap()
            .unwrap()
            .card
            .tags,
        0
    );
    store
        .index()
        .discovered("list", &found, Some("next"), Some(&fence(new, None)), now())
        .await
        .unwrap();
    assert_eq!(store.index().discovery("list").await.unwrap().accounts, 1);
    // A cursor that is not moved stays.
    assert_eq!(store.index().take_source("relay").await.unwrap().1, Some(7));
}

/// What a pull needs is found by keys, and says whether it is of today.
pub async fn what_a_pull_needs_is_found_by_keys_and_says_whether_it_is_of_today<S: Subject>() {
    let store = S::new().await;
    let index = store.index();
    assert!(index.standing(&alice()).await.unwrap().is_none());
    let changes = vec![
        put_manifest(&alice(), &image("app", '1')),
        put_tag(&alice(), "app", "latest", '1', 1),
    ];
    store.apply(vec![step(&alice(), None, 1, changes)]).await;
    let standing = index.standing(&alice()).await.unwrap().unwrap();
    assert_eq!(
        (standing.rev, standing.is_behind, standing.status),
        (rev(1), false, Status::Active)
    );
    let target = index.tag_target(&alice(), "app", "latest").await.unwrap();
    assert_eq!(target, Some(digest('1')));
    for (did, repository, tag) in [
        (alice(), "app", "1.0"),
        (alice(), "other", "latest"),
        (bob(), "app", "latest"),
    ] {
        assert_eq!(index.tag_target(&did, repository, tag).await.unwrap(), None);
    }
    let manifest = index
        .pulled_manifest(&alice(), "app", &digest('1'))
        .await
        .unwrap();
    let manifest = manifest.unwrap();
    assert_eq!(manifest.media_type, "application/vnd.oci.image.manifest.v1+json");
    assert_eq!((manifest.hold, manifest.odd_rkey), (Some(hold()), None));
    let other = index
        .pulled_manifest(&alice(), "app", &digest('2'))
        .await
        .unwrap();
    assert!(other.is_none());
    // Somebody says that there is more, and that the account is gone.
    store
        .apply(vec![
            Step::HeadSeen {
                did: alice(),
                rev: rev(2),
            },
            takedown(None, true, 1),
        ])
        .await;
    let standing = index.standing(&alice()).await.unwrap().unwrap();
    assert!(standing.is_behind && standing.is_taken_down && !standing.is_visible());
}
