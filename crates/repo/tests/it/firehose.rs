//! Messages of `subscribeRepos`, byte by byte.

use atcr_atproto::syntax::{Datetime, Did, Tid};
use atcr_repo::car;
use atcr_repo::firehose::{
    AccountEvent, CommitEvent, Glance, GlancedEvent, IdentityEvent, Message, RecordOp, SyncEvent, error,
    info, is_identity,
};
use ipld_core::ipld::Ipld;

use crate::trees::value;

fn did() -> Did {
    "did:web:hold.example.com".parse().unwrap()
}

fn time() -> Datetime {
    "2026-05-01T12:00:00.000Z".parse().unwrap()
}

fn rev(number: u64) -> Tid {
    Tid::from_parts(number, 7)
}

fn commit(number: u64, since: Option<u64>) -> CommitEvent {
    let op = |path: &str, cid, prev| RecordOp {
        path: path.to_owned(),
        cid,
        prev,
    };
    CommitEvent {
        seq: number,
        repo: did(),
        time: time(),
        commit: value(number),
        rev: rev(number),
        since: since.map(rev),
        prev_data: since.map(value),
        ops: vec![
            op("com.example.record/a", Some(value(1)), None),
            op("com.example.record/b", Some(value(2)), Some(value(3))),
            op("com.example.record/c", None, Some(value(4))),
        ],
        blocks: car::of_blocks(
            value(number),
            [(&value(1), &b"not CBOR, which no reader of a frame minds"[..])],
        ),
    }
}

/// The kind, and the fields of the body in the order of the bytes.
fn parts(frame: &[u8]) -> (Ipld, Ipld) {
    // A header is shorter than its longest, so a cut can be found by trying.
    for cut in 1..frame.len() {
        let (header, body) = frame.split_at(cut);
        if let (Ok(header), Ok(found)) = (
            serde_ipld_dagcbor::from_slice::<Ipld>(header),
            serde_ipld_dagcbor::from_slice::<Ipld>(body),
        ) {
            assert_eq!(serde_ipld_dagcbor::to_vec(&found).unwrap(), body, "canonical");
            return (header, found);
        }
    }
    panic!("not two values");
}

#[test]
fn every_message_is_canonical_and_is_read_back() {
    let messages = [
        Message::Commit(Box::new(commit(1 << 50, Some((1 << 50) - 1)))),
        Message::Commit(Box::new(commit(24, None))),
        Message::Identity(IdentityEvent {
            seq: 5,
            did: did(),
            time: time(),
            handle: Some("hold.example.com".to_owned()),
        }),
        Message::Account(AccountEvent {
            seq: 6,
            did: did(),
            time: time(),
            active: false,
            status: Some("deactivated".to_owned()),
        }),
        Message::Sync(SyncEvent {
            seq: 7,
            did: did(),
            time: time(),
            rev: rev(3),
            blocks: vec![0; 300].into(),
        }),
    ];
    for message in messages {
        let frame = match &message {
            Message::Commit(event) => {
                let encoded = event.encode().unwrap();
                assert_eq!(encoded.frame[encoded.blocks.clone()], event.blocks);
                encoded.frame
            }
            Message::Identity(event) => event.encode().unwrap(),
            Message::Account(event) => event.encode().unwrap(),
            Message::Sync(event) => event.encode().unwrap(),
        };
        parts(&frame);
        assert_eq!(is_identity(&frame), matches!(message, Message::Identity(_)));
        assert_eq!(Message::decode(&frame).unwrap(), message);
        // Something is lost.
        assert!(Message::decode(&frame[..frame.len() - 1]).is_err());
    }
}

#[test]
fn a_commit_has_the_fields_that_relays_ask_for() {
    let frame = commit(9, Some(8)).encode().unwrap().frame;
    assert!(frame.starts_with(b"\xa2atg#commitbop\x01"));
    let (_, Ipld::Map(body)) = parts(&frame) else {
        panic!("no map");
    };
    let fields: Vec<&str> = body.keys().map(|key| &**key).collect();
    assert_eq!(
        fields,
        [
            "blobs", "blocks", "commit", "ops", "prevData", "rebase", "repo", "rev", "seq", "since", "time",
            "tooBig"
        ]
    );
    assert_eq!(body["rebase"], Ipld::Bool(false));
    assert_eq!(body["tooBig"], Ipld::Bool(false));
    assert_eq!(body["blobs"], Ipld::List(Vec::new()));
    let (_, Ipld::Map(first)) = parts(&commit(9, None).encode().unwrap().frame) else {
        panic!("no map");
    };
    assert!(first["since"] == Ipld::Null && !first.contains_key("prevData"));
}

#[test]
fn information_and_errors_have_no_seq() {
    let frame = info("OutdatedCursor", "some events are gone").unwrap();
    assert!(frame.starts_with(b"\xa2ate#infobop\x01"));
    let frame = error("FutureCursor", "there is no such event yet").unwrap();
    assert!(frame.starts_with(b"\xa1bop\x20"));
    let (_, Ipld::Map(body)) = parts(&frame) else {
        panic!("no map");
    };
    assert_eq!(body["error"], Ipld::String("FutureCursor".to_owned()));
}

#[test]
fn a_glance_sees_whose_an_event_is_and_what_it_touches() {
    let event = commit(9, Some(8));
    let frame = event.encode().unwrap().frame;
    let expected = GlancedEvent {
        seq: 9,
        did: event.repo.as_str(),
        time: "2026-05-01T12:00:00.000Z",
        rev: Some(event.rev.as_str()),
        paths: Some(vec![
            "com.example.record/a",
            "com.example.record/b",
            "com.example.record/c",
        ]),
    };
    assert_eq!(Glance::at(&frame).unwrap(), Glance::Event(expected.clone()));
    // Not everybody sorts the header.
    let body = frame.strip_prefix(b"\xa2atg#commitbop\x01").unwrap();
    let unsorted = [b"\xa2bop\x01atg#commit", body].concat();
    assert_eq!(Glance::at(&unsorted).unwrap(), Glance::Event(expected));
    assert_eq!(
        Message::decode(&unsorted).unwrap(),
        Message::Commit(Box::new(event))
    );

    let gap = info("OutdatedCursor", "").unwrap();
    assert_eq!(
        Glance::at(&gap).unwrap(),
        Glance::Info("OutdatedCursor".to_owned())
    );
    let end = error("FutureCursor", "").unwrap();
    assert_eq!(
        Glance::at(&end).unwrap(),
        Glance::Error("FutureCursor".to_owned())
    );
    // A kind of the future is no reason to leave a stream; what is no message is told apart.
    assert_eq!(Glance::at(b"\xa2atd#newbop\x01\xa0").unwrap(), Glance::Unknown);
    for bytes in [
        &b""[..],
        b"what is this?",
        b"\xa2atg#commitbop\x01\xa0",
        &frame[..40],
    ] {
        assert!(Glance::at(bytes).is_err(), "{bytes:?}");
    }
}
