//! What a commit proves.

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_index::change::{Change, Coverage};
use atcr_ingest::verify::{self, Refusal};
use atcr_repo::car;
use atcr_repo::firehose::{CommitEvent, RecordOp, SyncEvent};
use bytes::Bytes;

use crate::host::{Account, alice, delete, now, put_manifest, put_post, put_tag, rev};

/// An account of some commits, and the event of the last.
fn with_history() -> (Account, CommitEvent) {
    let mut account = Account::new(alice());
    account.commit(Vec::new());
    for number in 0..40 {
        account.commit(vec![put_post(&format!("post{number}"))]);
    }
    account.commit(vec![
        put_manifest("app", '1'),
        put_tag(&alice(), "app", "latest", '1'),
    ]);
    let event = account.commit(vec![
        put_manifest("app", '2'),
        put_tag(&alice(), "app", "latest", '2'),
        delete("app.bsky.feed.post/post7"),
    ]);
    (account, event)
}

fn judge(account: &Account, event: &CommitEvent) -> Result<usize, Refusal> {
    verify::commit(event, &account.key.public_key(), now()).map(|step| step.changes.len())
}

/// The event with its blocks changed.
fn with_blocks(
    event: &CommitEvent,
    change: impl Fn(Vec<(atcr_atproto::Cid, Bytes)>) -> Vec<(atcr_atproto::Cid, Bytes)>,
) -> CommitEvent {
    let mut blocks = Vec::new();
    let mut next = car::header_len(&event.blocks).unwrap();
    while let Some(section) = car::read_block(&event.blocks, next) {
        next = section.content.end;
        blocks.push((section.cid, event.blocks.slice(section.content)));
    }
    let blocks = change(blocks);
    CommitEvent {
        blocks: car::of_blocks(event.commit, blocks.iter().map(|(cid, bytes)| (cid, &**bytes))),
        ..event.clone()
    }
}

#[test]
fn a_commit_of_its_account_is_a_step() {
    let (account, event) = with_history();
    let step = verify::commit(&event, &account.key.public_key(), now()).unwrap();
    assert_eq!(step.changes.len(), 2);
    assert!(step.changes.iter().all(|change| matches!(change, Change::Put(_))));
    assert_eq!(
        (step.base, step.rev.clone(), step.coverage),
        (event.since.clone(), event.rev.clone(), None)
    );
    assert_eq!((step.base_data, step.data.is_some()), (event.prev_data, true));
    // The first commit of an account is all of it.
    let mut fresh = Account::new(alice());
    let first = fresh.commit(vec![put_manifest("app", '1')]);
    let step = verify::commit(&first, &fresh.key.public_key(), now()).unwrap();
    assert_eq!(
        (step.base, step.coverage, step.changes.len()),
        (None, Some(Coverage::Whole), 1)
    );
}

#[test]
fn an_operation_left_out_added_or_changed_is_noticed() {
    let (account, event) = with_history();
    for left_out in 0..event.ops.len() {
        let mut changed = event.clone();
        changed.ops.remove(left_out);
        assert_eq!(
            judge(&account, &changed),
            Err(Refusal::Incomplete),
            "without {left_out}"
        );
    }
    for which in 0..event.ops.len() {
        let mut changed = event.clone();
        changed.ops[which].prev = Some(cid_of(DAG_CBOR, b"another"));
        assert!(judge(&account, &changed).is_err(), "another prev of {which}");
        let mut changed = event.clone();
        changed.ops[which].cid = Some(cid_of(DAG_CBOR, b"another"));
        assert_eq!(
            judge(&account, &changed),
            Err(Refusal::Incomplete),
            "another record of {which}"
        );
    }
    // An update that hides what was there before.
    let mut changed = event.clone();
    let update = changed
        .ops
        .iter_mut()
        .find(|op| op.cid.is_some() && op.prev.is_some())
        .unwrap();
    update.prev = None;
    assert_eq!(judge(&account, &changed), Err(Refusal::Incomplete));
    let mut changed = event.clone();
    changed.ops.push(RecordOp {
        path: "io.atcr.tag/zzz".to_owned(),
        cid: None,
        prev: Some(cid_of(DAG_CBOR, b"never there")),
    });
    assert!(judge(&account, &changed).is_err());
}

#[test]
fn a_commit_of_another_key_account_or_time_is_refused() {
    let (account, event) = with_history();
    let other = SigningKey::generate(Curve::K256).public_key();
    assert_eq!(verify::commit(&event, &other, now()), Err(Refusal::BadSignature));
    let mut changed = event.clone();
    changed.repo = crate::host::bob();
    assert!(matches!(judge(&account, &changed), Err(Refusal::Malformed(_))));
    let mut changed = event.clone();
    changed.rev = rev(1_000);
    assert!(matches!(judge(&account, &changed), Err(Refusal::Malformed(_))));
    let early = now() - chrono::TimeDelta::days(3_650);
    assert_eq!(
        verify::commit(&event, &account.key.public_key(), early),
        Err(Refusal::FromTheFuture)
    );
    let mut changed = event.clone();
    changed.prev_data = Some(cid_of(DAG_CBOR, b"another tree"));
    assert_eq!(judge(&account, &changed), Err(Refusal::Incomplete));
    let mut changed = event.clone();
    changed.prev_data = None;
    assert!(matches!(judge(&account, &changed), Err(Refusal::Malformed(_))));
    // A commit in the middle that says it is the first.
    changed.since = None;
    assert_eq!(judge(&account, &changed), Err(Refusal::Incomplete));
    // The same, with the tree that its operations lead back to.
    let mut changed = event.clone();
    changed.since = None;
    assert_eq!(judge(&account, &changed), Err(Refusal::Incomplete));
    changed.prev_data = verify::commit(&event, &account.key.public_key(), now())
        .unwrap()
        .data;
    changed.ops.clear();
    assert_eq!(judge(&account, &changed), Err(Refusal::Incomplete));
}

#[test]
fn a_block_that_is_missing_or_not_what_its_name_says_is_noticed() {
    let (account, event) = with_history();
    assert_eq!(judge(&account, &event), Ok(2));
    let count = std::cell::Cell::new(0);
    with_blocks(&event, |blocks| {
        count.set(blocks.len());
        blocks
    });
    let mut refused = 0;
    for which in 0..count.get() {
        let without = with_blocks(&event, |mut blocks| {
            blocks.remove(which);
            blocks
        });
        refused += usize::from(judge(&account, &without).is_err());
        let wrong = with_blocks(&event, |mut blocks| {
            let mut bytes = blocks[which].1.to_vec();
            bytes[0] ^= 1;
            blocks[which].1 = bytes.into();
            blocks
        });
        assert_eq!(judge(&account, &wrong), Err(Refusal::WrongHash), "block {which}");
    }
    assert!(refused >= 5, "{refused} of {} blocks are needed", count.get());
    for cut in [1, 10, event.blocks.len() / 2, event.blocks.len() - 1] {
        let mut changed = event.clone();
        changed.blocks = event.blocks.slice(..cut);
        assert!(judge(&account, &changed).is_err(), "cut at {cut}");
    }
}

#[test]
fn an_event_has_a_length() {
    let (account, event) = with_history();
    let mut long = event.clone();
    long.blocks = vec![0; verify::MAX_BLOCKS + 1].into();
    assert_eq!(judge(&account, &long), Err(Refusal::TooLong));
    let mut long = event.clone();
    long.ops = vec![event.ops[0].clone(); verify::MAX_OPERATIONS + 1];
    assert_eq!(judge(&account, &long), Err(Refusal::TooLong));
}

#[test]
fn a_sync_names_a_tree_that_the_account_signed() {
    let (account, event) = with_history();
    let only_commit = with_blocks(&event, |blocks| {
        blocks
            .into_iter()
            .filter(|(cid, _)| *cid == event.commit)
            .collect()
    });
    let sync = |blocks: &Bytes| SyncEvent {
        seq: 1,
        did: alice(),
        time: event.time.clone(),
        rev: event.rev.clone(),
        blocks: blocks.clone(),
    };
    let key = account.key.public_key();
    let data = verify::commit(&event, &key, now()).unwrap().data;
    assert_eq!(verify::sync(&sync(&only_commit.blocks), &key, now()).ok(), data);
    assert!(verify::sync(&sync(&event.blocks), &key, now()).is_err());
    let other = SigningKey::generate(Curve::P256).public_key();
    assert_eq!(
        verify::sync(&sync(&only_commit.blocks), &other, now()),
        Err(Refusal::BadSignature)
    );
}
