//! What every store does with the hold's own objects.

use std::path::Path;

use atcr_hold::blobs::ObjectKey;
use atcr_hold::repo_blobs::OwnObjects;
use futures_util::TryStreamExt as _;

/// Stores, reads and removes.
pub(crate) async fn own_objects(store: &dyn OwnObjects) {
    let key: ObjectKey = "repos/did-web-hold.test/blobs/bafkreib/data"
        .parse()
        .expect("a key");
    let folder = tempfile::tempdir().expect("a folder");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let file = folder.path().join("file");
    std::fs::write(&file, &bytes).expect("written");
    assert!(store.read(&key).await.expect("asked").is_none());
    put(store, &key, &file, &bytes).await;
    let (size, stream) = store.read(&key).await.expect("read").expect("there");
    assert_eq!(size, bytes.len() as u64);
    let read: Vec<_> = stream.try_collect().await.expect("read");
    assert_eq!(read.concat(), bytes);
    // Once more changes nothing.
    put(store, &key, &file, &bytes).await;
    store.remove(&key).await.expect("removed");
    assert!(store.read(&key).await.expect("asked").is_none());
    store.remove(&key).await.expect("gone already");
    put(store, &key, &file, &bytes).await;
    assert!(store.read(&key).await.expect("asked").is_some());
}

async fn put(store: &dyn OwnObjects, key: &ObjectKey, file: &Path, bytes: &[u8]) {
    let stored = store.put_file(key, file, bytes.len() as u64).await;
    stored.expect("stored");
}
