//! What a proof proves of an image, and that no other proof does.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::data_model::{DAG_CBOR, cid_of, record_to_ipld};
use atcr_atproto::identity::DidDocument;
use atcr_atproto::lexicon::manifest::{self, ManifestRecord};
use atcr_atproto::lexicon::tag::{self, TagRecord};
use atcr_atproto::lexicon::{BlobRef, Record};
use atcr_atproto::syntax::{Cid, Datetime, Did, RecordKey, Tid};
use atcr_oci::{Algorithm, Digest};
use atcr_repo::mst::{Entry, MAX_KEY_BYTES, Node, proof};
use atcr_repo::provenance::{
    Evidence, EvidenceSource, Expected, GatherError, RecordEvidence, Refusal, Verdict, gather, verify,
};
use atcr_repo::{Block, car, commit};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use ipld_core::ipld::Ipld;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::trees::Memory;

const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const BYTES: &[u8] = br#"{"schemaVersion":2,"layers":[]}"#;
const NOW: u64 = 1_800_000_000_000_000;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(i64::try_from(NOW).unwrap()).unwrap()
}

fn alice() -> Did {
    "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap()
}

fn mallory() -> Did {
    "did:plc:mmmmmmmmmmmmmmmmmmmmmmmm".parse().unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(Curve::K256, &[seed; 32]).unwrap()
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, BYTES)
}

/// A proof in parts: the commit, and all blocks.
type Parts = (Cid, Vec<(Cid, Vec<u8>)>);

fn car_of((root, blocks): &Parts) -> Bytes {
    car::of_blocks(*root, blocks.iter().map(|(cid, bytes)| (cid, bytes.as_slice())))
}

#[derive(Clone)]
struct Account {
    did: Did,
    key: SigningKey,
    records: BTreeMap<String, Vec<u8>>,
    rev: Tid,
}

impl Account {
    /// An account with an image, its tag, and a hundred other records.
    fn with_image(did: Did, key: SigningKey) -> Self {
        let mut account = Self {
            did,
            key,
            records: BTreeMap::new(),
            rev: Tid::from_parts(NOW - 1_000_000, 1),
        };
        for number in 0..100 {
            let post = serde_json::json!({ "$type": "app.example.post", "text": number });
            account.put_value(&format!("app.example.post/{number:03}"), &post);
        }
        account.put_manifest(&manifest::rkey(digest().as_str()).unwrap(), "app");
        account.put_tag(&tag::rkey("app", "1").unwrap(), "app", "1", &digest());
        account
    }

    fn put_value(&mut self, path: &str, value: &serde_json::Value) {
        let bytes = serde_ipld_dagcbor::to_vec(&record_to_ipld(value).unwrap()).unwrap();
        self.records.insert(path.to_owned(), bytes);
    }

    fn put_manifest(&mut self, rkey: &RecordKey, repository: &str) {
        let mut record = ManifestRecord::new(repository, digest().as_str(), MEDIA_TYPE, Datetime::new(now()));
        record.manifest_blob = Some(BlobRef::of(BYTES, MEDIA_TYPE));
        record.hold_did = "did:web:hold.example".parse().ok();
        self.put_value(&manifest_path(rkey), &record.to_value().unwrap());
    }

    fn put_tag(&mut self, rkey: &RecordKey, repository: &str, name: &str, digest: &Digest) {
        let record = TagRecord::new(&self.did, repository, name, digest.as_str(), Datetime::new(now()));
        self.put_value(&tag_path(rkey), &record.unwrap().to_value().unwrap());
    }

    fn document(&self) -> DidDocument {
        let text = serde_json::json!({
            "id": self.did,
            "alsoKnownAs": ["at://alice.example"],
            "verificationMethod": [{
                "id": format!("{}#atproto", self.did), "type": "Multikey", "controller": self.did,
                "publicKeyMultibase": self.key.public_key().to_multikey(),
            }],
        });
        DidDocument::parse(&self.did, text.to_string().as_bytes()).unwrap()
    }

    /// The proof of `path`: commit, nodes on the way, and the record if it is there.
    fn proof(&self, path: &str) -> Parts {
        let mut memory = Memory::default();
        let records = self
            .records
            .iter()
            .map(|(path, bytes)| (path.as_str(), cid_of(DAG_CBOR, bytes)));
        let root = memory.build(records);
        let signed = commit::sign(&self.did, &self.rev, root, &self.key).unwrap();
        let tree = memory.open(root);
        let mut blocks = vec![(signed.cid, signed.bytes.to_vec())];
        for cid in proof::path(&tree, &memory, path).unwrap() {
            blocks.push((cid, memory.0[&cid].encode().unwrap()));
        }
        // Of an empty tree there is no way, only the root.
        if blocks.len() == 1 {
            blocks.push((root, memory.0[&root].encode().unwrap()));
        }
        if let Some(cid) = tree.get(&memory, path).unwrap() {
            blocks.push((cid, self.records[path].clone()));
        }
        (signed.cid, blocks)
    }

    fn evidence(&self) -> Evidence {
        let of = |path: String, rkey: RecordKey| RecordEvidence {
            proof: car_of(&self.proof(&path)),
            rkey,
        };
        let (tag_key, key) = (
            tag::rkey("app", "1").unwrap(),
            manifest::rkey(digest().as_str()).unwrap(),
        );
        Evidence {
            tag: Some(of(tag_path(&tag_key), tag_key.clone())),
            manifest: of(manifest_path(&key), key.clone()),
            bytes: Bytes::from_static(BYTES),
        }
    }
}

fn tag_path(rkey: &RecordKey) -> String {
    format!("io.atcr.tag/{rkey}")
}

fn manifest_path(rkey: &RecordKey) -> String {
    format!("io.atcr.manifest/{rkey}")
}

fn expected(reference: &str) -> Expected {
    Expected {
        repository: "app".to_owned(),
        reference: reference.parse().unwrap(),
        not_before: None,
        now: now(),
    }
}

fn judge(account: &Account, evidence: &Evidence) -> Result<Verdict, Refusal> {
    verify(&account.document(), &expected("1"), evidence)
}

/// The commit with one field changed; its signature stays.
fn edited(commit: &[u8], field: &str, value: Ipld) -> Block {
    let mut fields: BTreeMap<String, Ipld> = serde_ipld_dagcbor::from_slice(commit).unwrap();
    fields.insert(field.to_owned(), value);
    Block::of(serde_ipld_dagcbor::to_vec(&fields).unwrap())
}

#[test]
fn a_tag_leads_to_signed_records_and_the_bytes() {
    for curve in [Curve::K256, Curve::P256] {
        let account = Account::with_image(alice(), SigningKey::from_bytes(curve, &[7; 32]).unwrap());
        let verdict = judge(&account, &account.evidence()).unwrap();
        assert_eq!((verdict.did.clone(), verdict.digest.clone()), (alice(), digest()));
        assert_eq!(verdict.key, account.key.public_key());
        assert_eq!(verdict.claimed_handle.unwrap().as_str(), "alice.example");
        assert_eq!(verdict.hold.unwrap().as_str(), "did:web:hold.example");
        assert_eq!(verdict.created_at.to_utc(), now());
        assert_eq!(verdict.manifest.rev, account.rev);
        assert_eq!(
            verdict.manifest.signed_at(),
            now() - chrono::TimeDelta::seconds(1)
        );
        let (name, statement, moved_at) = verdict.tag.unwrap();
        assert_eq!((name.as_str(), moved_at.unwrap().to_utc()), ("1", now()));
        assert_eq!(statement.uri, format!("at://{}/io.atcr.tag/app_1", alice()));
        // By digest no tag is needed.
        let named = expected(digest().as_str());
        let evidence = Evidence {
            tag: None,
            ..account.evidence()
        };
        assert!(
            verify(&account.document(), &named, &evidence)
                .unwrap()
                .tag
                .is_none()
        );
        assert_eq!(judge(&account, &evidence).unwrap_err().code(), "proof_malformed");
    }
}

#[test]
fn a_record_of_another_repository_tag_or_key_is_refused() {
    let account = Account::with_image(alice(), key(1));
    let evidence = account.evidence();
    let code = |expected: &Expected, evidence: &Evidence| {
        verify(&account.document(), expected, evidence)
            .unwrap_err()
            .code()
    };
    let other_repository = Expected {
        repository: "other".to_owned(),
        ..expected(digest().as_str())
    };
    assert_eq!(code(&other_repository, &evidence), "another_image");
    assert_eq!(code(&expected("2"), &evidence), "another_key");
    let other = Digest::of(Algorithm::Sha256, b"other");
    assert_eq!(code(&expected(other.as_str()), &evidence), "another_key");
    // `a_b` + `c` has the key of `a` + `b_c`.
    let mut colliding = account.clone();
    colliding.put_tag(&tag::rkey("app", "1_2").unwrap(), "app_1", "2", &digest());
    let rkey = tag::rkey("app", "1_2").unwrap();
    let evidence = Evidence {
        tag: Some(RecordEvidence {
            proof: car_of(&colliding.proof(&tag_path(&rkey))),
            rkey,
        }),
        ..colliding.evidence()
    };
    assert_eq!(code(&expected("1_2"), &evidence), "another_image");
    // What is no manifest's record.
    let mut broken = account.clone();
    let path = manifest_path(&account.evidence().manifest.rkey);
    broken.put_value(&path, &serde_json::json!({ "$type": "io.atcr.manifest" }));
    assert_eq!(
        judge(&account, &broken.evidence()).unwrap_err().code(),
        "record_malformed"
    );
    // A document without the key.
    let text = serde_json::json!({ "id": alice() }).to_string();
    let document = DidDocument::parse(&alice(), text.as_bytes()).unwrap();
    assert_eq!(
        verify(&document, &expected("1"), &account.evidence())
            .unwrap_err()
            .code(),
        "no_key"
    );
}

/// What is mutated, made once.
struct Whole {
    account: Account,
    evidence: Evidence,
    /// Of the manifest's record, and of the tag's.
    proofs: [Parts; 2],
}

impl Whole {
    fn of(account: Account) -> Self {
        let evidence = account.evidence();
        let tag_key = &evidence.tag.as_ref().unwrap().rkey;
        let proofs = [
            account.proof(&manifest_path(&evidence.manifest.rkey)),
            account.proof(&tag_path(tag_key)),
        ];
        Self {
            account,
            evidence,
            proofs,
        }
    }
}

/// A way to change evidence, with what it must be refused as; `None` if that depends on the place.
fn mutated(whole: &Whole, kind: u8, choice: usize) -> (Evidence, Expected, Option<&'static str>) {
    let account = &whole.account;
    let mut evidence = whole.evidence.clone();
    let mut expected = expected("1");
    let tag_key = tag::rkey("app", "1").unwrap();
    let path = if choice.is_multiple_of(2) {
        manifest_path(&evidence.manifest.rkey)
    } else {
        tag_path(&tag_key)
    };
    let place = choice / 2;
    let proof = |evidence: &mut Evidence, bytes: Bytes| {
        let target = if choice.is_multiple_of(2) {
            &mut evidence.manifest
        } else {
            evidence.tag.as_mut().unwrap()
        };
        target.proof = bytes;
    };
    let (root, blocks) = whole.proofs[choice % 2].clone();
    let bytes_of_all = car_of(&(root, blocks.clone()));
    let with_commit = |commit: Block| {
        let mut blocks = blocks.clone();
        blocks[0] = (commit.cid, commit.bytes.to_vec());
        car_of(&(commit.cid, blocks))
    };
    let mut resigned = account.clone();
    let code = match kind {
        // Any bit.
        0..=2 => {
            let mut bytes = bytes_of_all.to_vec();
            let bit = place % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            proof(&mut evidence, bytes.into());
            None
        }
        // Any block is left out, or its content is another's.
        3 => {
            let mut blocks = blocks.clone();
            blocks.remove(place % blocks.len());
            proof(&mut evidence, car_of(&(root, blocks)));
            None
        }
        4 => {
            let mut blocks = blocks.clone();
            let index = place % blocks.len();
            let other = blocks[(index + 1) % blocks.len()].1.clone();
            blocks[index].1 = other;
            proof(&mut evidence, car_of(&(root, blocks)));
            Some("wrong_hash")
        }
        // Cut.
        5 => {
            proof(&mut evidence, bytes_of_all.slice(..place % bytes_of_all.len()));
            None
        }
        // Another record under the same key, in a whole tree, under the old signature.
        6 => {
            resigned.put_value(&path, &serde_json::json!({ "place": place }));
            let (_, forged) = resigned.proof(&path);
            let fields: BTreeMap<String, Ipld> = serde_ipld_dagcbor::from_slice(&forged[0].1).unwrap();
            let commit = edited(&blocks[0].1, "data", fields["data"].clone());
            let mut blocks = forged;
            blocks[0] = (commit.cid, commit.bytes.to_vec());
            proof(&mut evidence, car_of(&(commit.cid, blocks)));
            Some("bad_signature")
        }
        // The signature: any bit, or another length.
        7 => {
            let fields: BTreeMap<String, Ipld> = serde_ipld_dagcbor::from_slice(&blocks[0].1).unwrap();
            let Ipld::Bytes(mut signature) = fields["sig"].clone() else {
                panic!("a signature")
            };
            let bit = place % 513;
            if bit == 512 {
                signature.pop();
            } else {
                signature[bit / 8] ^= 1 << (bit % 8);
            }
            let commit = edited(&blocks[0].1, "sig", Ipld::Bytes(signature));
            proof(&mut evidence, with_commit(commit));
            Some("bad_signature")
        }
        // Another key.
        8 => {
            resigned.key = key(u8::try_from(place % 200 + 2).unwrap());
            proof(&mut evidence, car_of(&resigned.proof(&path)));
            Some("bad_signature")
        }
        // Another account, by its own key or by this one's.
        9 => {
            let key = if place.is_multiple_of(2) {
                key(99)
            } else {
                account.key.clone()
            };
            let other = Account::with_image(mallory(), key);
            proof(&mut evidence, car_of(&other.proof(&path)));
            Some("another_account")
        }
        // An older state.
        10 => {
            let older = NOW - 2_000_000 - u64::try_from(place % 1_000_000).unwrap();
            resigned.rev = Tid::from_parts(older, 1);
            expected.not_before = Some(account.rev.clone());
            proof(&mut evidence, car_of(&resigned.proof(&path)));
            Some("older_revision")
        }
        // A revision that is another's, or of the future.
        11 => {
            let rev = Tid::from_parts(NOW - u64::try_from(place % 900_000).unwrap(), 2);
            let commit = edited(&blocks[0].1, "rev", Ipld::String(rev.to_string()));
            proof(&mut evidence, with_commit(commit));
            Some("bad_signature")
        }
        12 => {
            resigned.rev = Tid::from_parts(NOW + 400_000_000 + u64::try_from(place % 1_000_000).unwrap(), 1);
            proof(&mut evidence, car_of(&resigned.proof(&path)));
            Some("from_the_future")
        }
        // The record was deleted.
        13 => {
            resigned.records.remove(&path);
            proof(&mut evidence, car_of(&resigned.proof(&path)));
            Some("no_such_record")
        }
        // The tag points elsewhere since.
        14 => {
            let elsewhere = Digest::of(Algorithm::Sha256, &place.to_be_bytes());
            resigned.put_tag(&tag_key, "app", "1", &elsewhere);
            evidence.tag = resigned.evidence().tag;
            Some("another_key")
        }
        // Other bytes.
        _ => {
            let mut bytes = BYTES.to_vec();
            let bit = place % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            evidence.bytes = bytes.into();
            Some("bytes_differ")
        }
    };
    (evidence, expected, code)
}

/// Kinds of [`mutated`].
const KINDS: u8 = 16;

#[test]
fn a_thousand_changed_proofs_are_all_refused() {
    let account = Account::with_image(alice(), key(1));
    assert!(judge(&account, &account.evidence()).is_ok());
    let whole = Whole::of(account);
    let config = Config {
        cases: 1_000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[42; 32]));
    let seen = RefCell::new(HashMap::<u8, u32>::new());
    let document = whole.account.document();
    let ran = runner.run(&(0..KINDS, any::<u32>()), |(kind, choice)| {
        let (evidence, expected, code) = mutated(&whole, kind, choice as usize);
        *seen.borrow_mut().entry(kind).or_default() += 1;
        let refusal = verify(&document, &expected, &evidence).map(|verdict| verdict.digest);
        prop_assert!(refusal.is_err(), "kind {kind}");
        if let Some(code) = code {
            prop_assert_eq!(refusal.unwrap_err().code(), code);
        }
        Ok(())
    });
    ran.unwrap();
    assert_eq!(seen.borrow().len(), usize::from(KINDS));
}

/// The account's server.
struct Server {
    account: Account,
    asked: Arc<std::sync::Mutex<Vec<String>>>,
}

impl EvidenceSource for Server {
    type Error = &'static str;

    async fn record_proof(
        &self,
        did: &Did,
        collection: &str,
        rkey: &RecordKey,
    ) -> Result<Option<Bytes>, &'static str> {
        assert_eq!(*did, self.account.did);
        self.asked.lock().unwrap().push(rkey.to_string());
        Ok(Some(car_of(&self.account.proof(&format!("{collection}/{rkey}")))))
    }

    async fn manifest_bytes(&self, _: &Did, cid: &Cid) -> Result<Bytes, &'static str> {
        if *cid == BlobRef::of(BYTES, MEDIA_TYPE).cid {
            Ok(Bytes::from_static(BYTES))
        } else {
            Err("no such blob")
        }
    }
}

#[tokio::test]
async fn the_second_key_of_an_image_is_looked_at_when_the_first_is_anothers() {
    let mut account = Account::with_image(alice(), key(1));
    // The same bytes in two repositories, and a tag whose first key another tag has.
    account.put_manifest(
        &manifest::rkey_in_repository(digest().as_str(), "b").unwrap(),
        "b",
    );
    account.put_tag(&tag::rkey("b", "x_y").unwrap(), "b_x", "y", &digest());
    account.put_tag(&tag::rkey_beside("b", "x_y").unwrap(), "b", "x_y", &digest());
    let document = account.document();
    let server = Server {
        account,
        asked: Arc::default(),
    };
    let wanted = Expected {
        repository: "b".to_owned(),
        ..expected("x_y")
    };
    let evidence = gather(&server, &document, &wanted).await.unwrap();
    assert_eq!(server.asked.lock().unwrap().len(), 4);
    let verdict = verify(&document, &wanted, &evidence).unwrap();
    assert!(verdict.manifest.uri.contains(&format!("{}.", digest().hex())));
    // What is under none of its keys is refused with what the first says.
    let missing = Expected {
        repository: "c".to_owned(),
        ..expected("1")
    };
    let refused = gather(&server, &document, &missing).await.unwrap_err();
    assert_eq!(
        refused,
        GatherError::Refused(Refusal::NoSuchRecord {
            path: "io.atcr.tag/c_1".to_owned()
        })
    );
}

#[test]
fn an_account_without_records_is_proven_to_have_no_image() {
    let mut account = Account::with_image(alice(), key(1));
    account.records.clear();
    let refusal = judge(&account, &account.evidence()).unwrap_err();
    assert_eq!(refusal.code(), "no_such_record");
}

#[test]
fn a_short_proof_that_unfolds_in_memory_is_refused() {
    let mut account = Account::with_image(alice(), key(1));
    let rkey = account.evidence().manifest.rkey;
    let refused = |account: &Account, (root, blocks): Parts| {
        let mut evidence = account.evidence();
        evidence.manifest.proof = car_of(&(root, blocks));
        verify(&account.document(), &expected(digest().as_str()), &evidence).unwrap_err()
    };

    // A node whose keys each repeat a long prefix.
    let node = |length: usize| {
        let entries = (0..1_000).map(|number| Entry {
            key: format!("{}{number:04}", "a".repeat(length - 4)).into(),
            value: cid_of(DAG_CBOR, b"a record"),
            right: None,
        });
        let entries = entries.collect();
        Block::of(Node { left: None, entries }.encode().unwrap())
    };
    assert_eq!(
        Node::decode(&node(MAX_KEY_BYTES).bytes).unwrap().entries.len(),
        1_000
    );
    assert!(Node::decode(&node(MAX_KEY_BYTES + 1).bytes).is_err());
    let node = node(100_000);
    let commit = commit::sign(&account.did, &account.rev, node.cid, &account.key).unwrap();
    let blocks = vec![
        (commit.cid, commit.bytes.to_vec()),
        (node.cid, node.bytes.to_vec()),
    ];
    assert_eq!(
        refused(&account, (commit.cid, blocks)),
        Refusal::BrokenPath("a key is too long")
    );

    // A record of many small values.
    let mut record = b"\xa1\x61a\x9a\x00\x02\x00\x00".to_vec();
    record.extend(b"\xa1\x60\xf6".repeat(0x2_0000));
    let path = manifest_path(&rkey);
    account.records.insert(path.clone(), record);
    let proof = account.proof(&path);
    assert_eq!(
        refused(&account, proof),
        Refusal::RecordMalformed {
            path,
            reason: "it has too many values for its length".to_owned()
        }
    );
}

#[test]
fn a_refusal_and_a_verdict_keep_no_more_of_a_strangers_text_than_is_shown() {
    let long = "a".repeat(500_000);
    let code_and_length = |account: &Account| {
        let refusal = verify(
            &account.document(),
            &expected(digest().as_str()),
            &account.evidence(),
        );
        let refusal = refusal.unwrap_err();
        (refusal.code(), format!("{refusal:?}").len())
    };
    let rkey = manifest::rkey(digest().as_str()).unwrap();
    let path = manifest_path(&rkey);
    let mut account = Account::with_image(alice(), key(1));
    account.put_manifest(&rkey, &long);
    let (code, length) = code_and_length(&account);
    assert!(code == "another_image" && length < 1_000, "{code}: {length}");

    let record = ManifestRecord::new("app", digest().as_str(), &long, Datetime::new(now()));
    account.put_value(&path, &record.to_value().unwrap());
    let (code, length) = code_and_length(&account);
    assert!(code == "record_malformed" && length < 1_000, "{code}: {length}");

    // Of an account whose name nobody has signed.
    let account = Account::with_image(alice(), key(1));
    let mut evidence = account.evidence();
    let (_, blocks) = account.proof(&path);
    let commit = edited(&blocks[0].1, "did", Ipld::String(long));
    evidence.manifest.proof = car_of(&(commit.cid, vec![(commit.cid, commit.bytes.to_vec())]));
    let refusal = verify(&account.document(), &expected(digest().as_str()), &evidence).unwrap_err();
    assert_eq!(refusal.code(), "another_account");
    assert!(format!("{refusal:?}").len() < 1_000);
}
