//! The tree against a sorted map.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use atcr_atproto::syntax::Cid;
use atcr_repo::mst::{diff, key, proof, range};
use proptest::prelude::*;

use crate::trees::{Memory, assert_invertible, value};

/// Eight keys on each of six layers: small trees of that many layers meet every edge case.
fn keys() -> Vec<String> {
    let mut by_layer: [Vec<String>; 6] = Default::default();
    for number in 0_u32.. {
        let candidate = format!("com.example.record/{number:06}");
        if let Some(keys) = by_layer.get_mut(usize::from(key::height(candidate.as_bytes())))
            && keys.len() < 8
        {
            keys.push(candidate);
        }
        if by_layer.iter().all(|keys| keys.len() == 8) {
            break;
        }
    }
    by_layer.concat()
}

#[derive(Clone, Debug)]
enum Op {
    Put(usize, u64),
    Remove(usize),
}

fn commits() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let op = prop_oneof![
        3 => (0..48_usize, 0..4_u64).prop_map(|(key, value)| Op::Put(key, value)),
        2 => (0..48_usize).prop_map(Op::Remove),
    ];
    prop::collection::vec(prop::collection::vec(op, 0..8), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn edits_diffs_and_proofs_agree_with_a_sorted_map(commits in commits()) {
        let keys = keys();
        let mut memory = Memory::default();
        let mut model: BTreeMap<String, Cid> = BTreeMap::new();
        let mut root = memory.build([]);
        for commit in commits {
            let before = model.clone();
            let mut tree = memory.open(root);
            for op in commit {
                match op {
                    Op::Put(key, number) => {
                        tree = tree.put(&memory, &keys[key], value(number)).unwrap();
                        model.insert(keys[key].clone(), value(number));
                    }
                    Op::Remove(key) => {
                        tree = tree.remove(&memory, &keys[key]).unwrap();
                        model.remove(&keys[key]);
                    }
                }
            }
            let new = memory.store(&tree);

            // The same tree, whatever led to it.
            prop_assert_eq!(memory.build(model.iter().map(|(key, value)| (&**key, *value))), new);
            prop_assert_eq!(memory.build(model.iter().rev().map(|(key, value)| (&**key, *value))), new);
            let tree = memory.open(new);
            for key in &keys {
                prop_assert_eq!(tree.get(&memory, key).unwrap(), model.get(key).copied());
            }

            for after in ["", "com.example.record/", "com.example.recorda", "z"].into_iter().chain(keys.iter().map(|key| &**key)) {
                let growing = range::ascending(&tree, &memory, after, Some("com.example.record/"), 5).unwrap();
                let expected = model.range::<str, _>((Bound::Excluded(after), Bound::Unbounded)).take(5);
                prop_assert!(growing.iter().map(|(key, value)| (&**key, value)).eq(expected.map(|(key, value)| (&**key, value))));
                let falling = range::descending(&tree, &memory, after, Some("com.example.record/"), 5).unwrap();
                let expected = model.range::<str, _>((Bound::Unbounded, Bound::Excluded(after))).rev().take(5);
                prop_assert!(falling.iter().map(|(key, value)| (&**key, value)).eq(expected.map(|(key, value)| (&**key, value))));
            }
            prop_assert_eq!(range::ascending(&tree, &memory, "", None, usize::MAX).unwrap().len(), model.len());
            prop_assert_eq!(range::ascending(&tree, &memory, "", Some("com.example.z/"), 5).unwrap(), []);

            let diff = diff::diff(&memory, &memory.open(root), &tree).unwrap();
            let (old_nodes, old_records) = memory.contents(root);
            let (new_nodes, new_records) = memory.contents(new);
            prop_assert_eq!(&old_records, &before);
            prop_assert_eq!(&new_records, &model);
            prop_assert_eq!(&diff.created, &(&new_nodes - &old_nodes));
            prop_assert_eq!(&diff.removed, &(&old_nodes - &new_nodes));
            let changed: BTreeSet<&String> = before
                .keys()
                .chain(model.keys())
                .filter(|key| before.get(*key) != model.get(*key))
                .collect();
            let found: Vec<&str> = diff.changes.iter().map(|change| &*change.key).collect();
            prop_assert_eq!(found, changed.into_iter().map(|key| &**key).collect::<Vec<_>>());
            for change in &diff.changes {
                prop_assert_eq!(change.old, before.get(&*change.key).copied());
                prop_assert_eq!(change.new, model.get(&*change.key).copied());
            }

            let mut sent = diff.created.clone();
            for change in &diff.changes {
                proof::covering(&tree, &memory, &change.key, &mut sent).unwrap();
            }
            assert_invertible(&memory.restricted(sent), &diff.changes, root, new);
            for key in &keys {
                let path = memory.restricted(proof::path(&tree, &memory, key).unwrap());
                let found = if model.is_empty() { None } else { path.open(new).get(&path, key).unwrap() };
                prop_assert_eq!(found, model.get(key).copied());
            }
            root = new;
        }
    }
}
