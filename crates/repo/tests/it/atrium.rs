//! Why the tree is written here: docs/decisions/0002. When this test fails, the crate was mended and the decision is open
//! again.

use std::collections::BTreeSet;

use atcr_atproto::data_model::cid_of;
use atrium_repo::blockstore::MemoryBlockStore;
use atrium_repo::mst::Tree;
use futures_util::TryStreamExt as _;

use crate::trees::{Memory, value};

#[tokio::test]
async fn atrium_repo_loses_keys_that_this_tree_keeps() {
    let paths: Vec<String> = (0..1000_u32)
        .map(|number| format!("com.example.record/{}", cid_of(0x71, &number.to_be_bytes())))
        .collect();
    let mut theirs = Tree::create(MemoryBlockStore::new()).await.unwrap();
    let mut ours = Memory::default();
    let mut root = ours.build([]);
    for path in &paths {
        // It refuses a key at times, which is no loss.
        let _ = theirs.add(path, value(1)).await;
        let tree = ours.open(root).put(&ours, path, value(1)).unwrap();
        root = ours.store(&tree);
    }
    let wanted: BTreeSet<String> = paths.iter().cloned().collect();
    let (_, records) = ours.contents(root);
    assert_eq!(records.into_keys().collect::<BTreeSet<_>>(), wanted);
    let found: BTreeSet<String> = theirs.keys().try_collect().await.unwrap_or_default();
    assert!(
        found.len() < wanted.len(),
        "atrium-repo kept all {} keys",
        found.len()
    );
}
