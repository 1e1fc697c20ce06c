//! Vectors of others for the tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use atcr_atproto::syntax::Cid;
use atcr_repo::mst::{Node, Tree, diff, key, proof};
use serde_json::Value;

use crate::suites;
use crate::trees::{Memory, assert_invertible};
use crate::{car_reader, trees};

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

fn texts<'a>(value: &'a Value, field: &str) -> Vec<&'a str> {
    value[field]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect()
}

fn cids(value: &Value, field: &str) -> BTreeSet<Cid> {
    texts(value, field)
        .into_iter()
        .map(|cid| cid.parse().unwrap())
        .collect()
}

#[test]
fn common_prefixes_are_counted_in_bytes() {
    let Some(vectors) = suites::interop_json("mst/common_prefix.json") else {
        return;
    };
    for vector in vectors.as_array().unwrap() {
        let (left, right) = (text(vector, "left"), text(vector, "right"));
        let expected = vector["len"].as_u64().unwrap();
        assert_eq!(
            key::common_prefix(left.as_bytes(), right.as_bytes()) as u64,
            expected,
            "{left:?} {right:?}"
        );
    }
}

#[test]
fn keys_have_the_height_that_others_give_them() {
    let Some(vectors) = suites::interop_json("mst/key_heights.json") else {
        return;
    };
    for vector in vectors.as_array().unwrap() {
        let key = text(vector, "key");
        assert_eq!(
            u64::from(key::height(key.as_bytes())),
            vector["height"].as_u64().unwrap(),
            "{key}"
        );
    }
    let Some(suite) = suites::find("atproto-interop-tests") else {
        return;
    };
    for key in std::fs::read_to_string(suite.join("mst/example_keys.txt"))
        .unwrap()
        .lines()
    {
        assert_eq!(key::height(key.as_bytes()).to_string(), key[1..2], "{key}");
    }
}

/// Roots that the reference implementation's own tests name.
#[test]
fn small_trees_have_the_roots_that_others_give_them() {
    let leaf: Cid = "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454"
        .parse()
        .unwrap();
    let known: [(&[&str], &str); 5] = [
        (&[], "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"),
        (
            &["3jqfcqzm3fo2j"],
            "bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu",
        ),
        (
            &["3jqfcqzm3fx2j"],
            "bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai",
        ),
        (
            &[
                "3jqfcqzm3fp2j",
                "3jqfcqzm3fr2j",
                "3jqfcqzm3fs2j",
                "3jqfcqzm3ft2j",
                "3jqfcqzm4fc2j",
            ],
            "bafyreicmahysq4n6wfuxo522m6dpiy7z7qzym3dzs756t5n7nfdgccwq7m",
        ),
        (
            &[
                "3jqfcqzm3fn2j",
                "3jqfcqzm3fo2j",
                "3jqfcqzm3fp2j",
                "3jqfcqzm3fs2j",
                "3jqfcqzm3ft2j",
                "3jqfcqzm3fu2j",
            ],
            "bafyreifnqrwbk6ffmyaz5qtujqrzf5qmxf7cbxvgzktl4e3gabuxbtatv4",
        ),
    ];
    for (keys, root) in known {
        let paths: Vec<String> = keys
            .iter()
            .map(|key| format!("com.example.record/{key}"))
            .collect();
        let mut memory = Memory::default();
        assert_eq!(
            memory.build(paths.iter().map(|path| (&**path, leaf))).to_string(),
            root,
            "{keys:?}"
        );
    }
}

#[test]
fn commit_proofs_have_the_blocks_that_others_ask_for() {
    let Some(vectors) = suites::interop_json("firehose/commit-proof-fixtures.json") else {
        return;
    };
    for vector in vectors.as_array().unwrap() {
        let comment = text(vector, "comment");
        let leaf: Cid = text(vector, "leafValue").parse().unwrap();
        let mut memory = Memory::default();
        let old = memory.build(texts(vector, "keys").into_iter().map(|key| (key, leaf)));
        assert_eq!(old.to_string(), text(vector, "rootBeforeCommit"), "{comment}");

        let mut tree = memory.open(old);
        for key in texts(vector, "adds") {
            tree = tree.put(&memory, key, leaf).unwrap();
        }
        for key in texts(vector, "dels") {
            tree = tree.remove(&memory, key).unwrap();
        }
        let new = memory.store(&tree);
        assert_eq!(new.to_string(), text(vector, "rootAfterCommit"), "{comment}");

        let diff = diff::diff(&memory, &memory.open(old), &memory.open(new)).unwrap();
        let sent = sent_nodes(&memory, new, &diff);
        let wanted = cids(vector, "blocksInProof");
        assert!(
            wanted.is_subset(&sent),
            "{comment}: {:?}",
            wanted.difference(&sent)
        );
        assert_invertible(&memory.restricted(sent), &diff.changes, old, new);
    }
}

fn sent_nodes(memory: &Memory, new: Cid, diff: &diff::Diff) -> BTreeSet<Cid> {
    let mut sent = diff.created.clone();
    for change in &diff.changes {
        proof::covering(&memory.open(new), memory, &change.key, &mut sent).unwrap();
    }
    sent
}

/// Every pair of the 128 trees that can be made of seven keys on three layers.
#[test]
fn every_small_diff_is_the_one_that_others_found() {
    let Some(archive) = suites::find("mst-test-suite.tar.xz") else {
        return;
    };
    let folder = unpack(&archive);
    let (mut cases, mut exact) = (0, 0);
    let mut memory = Memory::default();
    let roots: Vec<Cid> = (0..128)
        .map(|number| {
            let car =
                std::fs::read(folder.join(format!("cars/exhaustive/exhaustive_{number:03}.car"))).unwrap();
            let car = car_reader::read(&car);
            for (cid, bytes) in &car.blocks {
                let node = Node::decode(bytes).unwrap();
                assert_eq!(&node.encode().unwrap(), bytes);
                memory.0.insert(*cid, Arc::new(node));
            }
            car.root
        })
        .collect();
    for (a, old) in roots.iter().enumerate() {
        for (b, new) in roots.iter().enumerate() {
            let case = folder.join(format!("tests/diff/exhaustive/exhaustive_{a:03}_{b:03}.json"));
            let case: Value = serde_json::from_slice(&std::fs::read(case).unwrap()).unwrap();
            let results = &case["results"];
            let diff = diff::diff(&memory, &memory.open(*old), &memory.open(*new)).unwrap();
            assert_eq!(diff.created, cids(results, "created_nodes"), "{a} to {b}");
            assert_eq!(diff.removed, cids(results, "deleted_nodes"), "{a} to {b}");
            let ops: Vec<_> = results["record_ops"].as_array().unwrap().iter().map(op).collect();
            let found: Vec<_> = diff
                .changes
                .iter()
                .map(|change| (change.key.to_string(), change.old, change.new))
                .collect();
            assert_eq!(found, ops, "{a} to {b}");

            let mut edited = memory.open(*old);
            for change in &diff.changes {
                edited = match change.new {
                    Some(value) => edited.put(&memory, &change.key, value).unwrap(),
                    None => edited.remove(&memory, &change.key).unwrap(),
                };
            }
            assert_eq!(edited.finish().unwrap().root, *new, "{a} to {b}");

            let sent = sent_nodes(&memory, *new, &diff);
            for wanted in ["proof_nodes", "inductive_proof_nodes"] {
                let wanted = cids(results, wanted);
                assert!(
                    wanted.is_subset(&sent),
                    "{a} to {b}: {:?}",
                    wanted.difference(&sent)
                );
            }
            assert_invertible(&memory.restricted(sent.clone()), &diff.changes, *old, *new);
            cases += 1;
            exact += usize::from(sent == &cids(results, "inductive_proof_nodes") | &diff.created);
        }
    }
    assert_eq!(cases, 16_384);
    println!("{exact} of {cases} commits carry no node beyond the least");
}

fn op(op: &Value) -> (String, Option<Cid>, Option<Cid>) {
    let cid = |field: &str| op[field].as_str().map(|cid| cid.parse().unwrap());
    (text(op, "rpath").to_owned(), cid("old_value"), cid("new_value"))
}

/// The unpacked archive, under the target folder.
fn unpack(archive: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mst-test-suite");
    if !folder.is_dir() {
        let parent = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let status = Command::new("tar")
            .arg("xJf")
            .arg(archive)
            .arg("-C")
            .arg(parent.path())
            .status()
            .unwrap();
        assert!(status.success(), "tar and xz unpack the suite");
        // Another test run may have been faster.
        if std::fs::rename(parent.path(), &folder).is_ok() {
            let _ = parent.keep();
        }
    }
    folder
}

#[test]
fn a_tree_can_be_read_with_missing_nodes_named() {
    let mut memory = Memory::default();
    let keys: Vec<String> = (0..50)
        .map(|number| format!("com.example.record/{number}"))
        .collect();
    let root = memory.build(keys.iter().map(|key| (&**key, trees::value(1))));
    let (nodes, _) = memory.contents(root);
    for missing in nodes {
        let mut partial = memory.clone();
        partial.0.remove(&missing);
        let found = Tree::open(&partial, root).and_then(|tree| {
            keys.iter()
                .try_for_each(|key| tree.get(&partial, key).map(|_| ()))
        });
        assert_eq!(found, Err(atcr_repo::DataError::Missing(missing)));
    }
}
