//! A labeler's stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::identity::{DidDocument, IdentityError, IdentityResolver, ResolvedIdentity};
use atcr_atproto::syntax::{AtIdentifier, Did, Handle};
use atcr_index::ports::{IndexReader as _, IndexWriter as _};
use atcr_ingest::labels::Labels;
use ipld_core::ipld::Ipld;
use serde_json::json;

use crate::host::{Host, World, alice, bob, put_manifest};
use crate::streams::{Stream, follow};

fn labeler() -> Did {
    "did:plc:labeleraaaaaaaaaaaaaaaaa".parse().unwrap()
}

/// Knows the labeler's document.
#[derive(Clone)]
struct Known(Arc<DidDocument>);

#[async_trait]
impl IdentityResolver for Known {
    async fn resolve(&self, _identifier: &AtIdentifier) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        self.resolve_did(&labeler()).await
    }

    async fn resolve_did(&self, _did: &Did) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        Ok(Arc::new(ResolvedIdentity::new(Arc::clone(&self.0), None)))
    }

    async fn invalidate_did(&self, _did: &Did) {}

    async fn invalidate_handle(&self, _handle: &Handle) {}
}

fn known(key: &SigningKey) -> Known {
    let document = json!({
        "id": labeler().as_str(),
        "verificationMethod": [{
            "id": "#atproto_label", "type": "Multikey", "controller": labeler().as_str(),
            "publicKeyMultibase": key.public_key().to_multikey(),
        }],
    });
    Known(Arc::new(
        DidDocument::parse(&labeler(), document.to_string().as_bytes()).unwrap(),
    ))
}

/// A message with one label, signed with `key`.
fn message(seq: i128, key: &SigningKey, source: &Did, uri: &str, negated: bool, minute: u32) -> Vec<u8> {
    let text = |text: &str| Ipld::String(text.to_owned());
    let mut label = BTreeMap::from([
        ("ver".to_owned(), Ipld::Integer(1)),
        ("src".to_owned(), text(source.as_str())),
        ("uri".to_owned(), text(uri)),
        ("val".to_owned(), text("!takedown")),
        (
            "cts".to_owned(),
            text(&format!("2026-01-01T00:{minute:02}:00.000Z")),
        ),
    ]);
    if negated {
        label.insert("neg".to_owned(), Ipld::Bool(true));
    }
    let signed = serde_ipld_dagcbor::to_vec(&Ipld::Map(label.clone())).unwrap();
    label.insert("sig".to_owned(), Ipld::Bytes(key.sign(&signed).to_vec()));
    let body = Ipld::Map(BTreeMap::from([
        ("seq".to_owned(), Ipld::Integer(seq)),
        ("labels".to_owned(), Ipld::List(vec![Ipld::Map(label)])),
    ]));
    let mut frame = b"\xa2at\x67#labelsbop\x01".to_vec();
    frame.extend(serde_ipld_dagcbor::to_vec(&body).unwrap());
    frame
}

#[tokio::test]
async fn a_takedown_of_the_labeler_hides_until_it_is_lifted_and_nobody_elses_does() {
    let host = Host::with(&[alice()]);
    host.commit(
        &alice(),
        vec![put_manifest("my/app", '1'), put_manifest("other", '2')],
    );
    let world = World::new(&host).await;
    world.catch_up.run(&alice()).await.unwrap();
    let key = SigningKey::generate(Curve::K256);
    let stream = Stream::default();
    let hear = async || {
        let labels = Labels::new(
            labeler(),
            world.index.clone(),
            Arc::new(known(&key)),
            world.clock.clone(),
        );
        follow(&world, &stream.place("labeler"), labels).await.1.unwrap();
        let mut seen = Vec::new();
        for name in ["my/app", "other"] {
            let is_hidden = world.store.repository(&alice(), name).await.unwrap().is_none();
            assert_eq!(
                is_hidden,
                world.store.is_taken_down(&alice(), name).await.unwrap()
            );
            seen.push(!is_hidden);
        }
        (seen[0], seen[1])
    };
    let page = format!("at://{}/io.atcr.repo.page/my~app", alice());
    let stranger = SigningKey::generate(Curve::K256);
    stream.push_bytes(message(1, &stranger, &labeler(), &page, false, 1));
    stream.push_bytes(message(2, &key, &bob(), &page, false, 1));
    assert_eq!(hear().await, (true, true));
    stream.push_bytes(message(3, &key, &labeler(), &page, false, 2));
    assert_eq!(hear().await, (false, true));
    stream.push_bytes(message(4, &key, &labeler(), alice().as_str(), false, 3));
    assert_eq!(hear().await, (false, false));
    stream.push_bytes(message(5, &key, &labeler(), &page, true, 4));
    stream.push_bytes(message(6, &key, &labeler(), alice().as_str(), true, 5));
    // An old word comes again.
    stream.push_bytes(message(7, &key, &labeler(), alice().as_str(), false, 3));
    assert_eq!(hear().await, (true, true));
    // What happened before the server was there holds as well: the first connection begins at the start.
    assert_eq!(stream.connections()[0], Some(0));
    let source = format!("labeler {}", labeler());
    assert_eq!(world.store.take_source(&source).await.unwrap().1, Some(7));
}
