//! The index of accounts in SQLite: how a listing comes and goes.

use atcr_appview::adapters::sqlite::account_index::SqliteAccountIndex;
use atcr_appview::adapters::sqlite::{Database, open_scratch};
use atcr_atproto::lexicon::Record as _;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::syntax::Did;
use atcr_oci::{Algorithm, Digest, MAX_DESCRIPTORS};
use atcr_registry::account::ports::{AccountChange, AccountIndex as _, ListedAs, Located, RecordsPage};
use serde_json::json;
use tempfile::TempDir;

struct Index {
    index: SqliteAccountIndex,
    database: Database,
    did: Did,
    _folder: TempDir,
}

impl Index {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = open_scratch(&folder.path().join("scratch.db")).await.unwrap();
        Self {
            index: SqliteAccountIndex::new(database.clone()),
            database,
            did: "did:plc:aliceaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
            _folder: folder,
        }
    }

    async fn tags(&self) -> Vec<String> {
        self.index.tags(&self.did, "app", None, 10_000).await.unwrap()
    }

    async fn list(&self, rev: &str, page: &RecordsPage) {
        let listing = self.index.begin_listing(&self.did).await.unwrap();
        assert!(self.index.stage(listing, page).await.unwrap());
        assert!(self.index.publish(listing, &whole(rev), 1_000).await.unwrap());
    }

    async fn rows(&self, table: &'static str) -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(self.database.readers())
            .await
            .unwrap()
    }
}

fn whole(rev: &str) -> ListedAs {
    ListedAs {
        rev: rev.to_owned(),
        is_whole: true,
    }
}

fn tag(name: &str) -> Located<TagRecord> {
    let record = json!({ "repository": "app", "tag": name, "updatedAt": "2026-01-01T00:00:00Z" });
    Located {
        rkey: format!("app_{name}").parse().unwrap(),
        record: TagRecord::from_value(record).unwrap(),
    }
}

fn digest(n: usize) -> String {
    Digest::of(Algorithm::Sha256, n.to_string().as_bytes()).to_string()
}

fn manifest(n: usize, layers: usize) -> Located<ManifestRecord> {
    let layers: Vec<_> = (0..layers)
        .map(|layer| json!({ "digest": digest(1_000_000 + layer), "size": 1, "mediaType": "application/layer" }))
        .collect();
    let record = json!({
        "repository": "app", "digest": digest(n), "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "createdAt": "2026-01-01T00:00:00Z", "holdDid": "did:web:hold.example.com", "layers": layers,
    });
    Located {
        rkey: format!("m{n}").parse().unwrap(),
        record: ManifestRecord::from_value(record).unwrap(),
    }
}

fn page(tags: &[&str], manifests: Vec<Located<ManifestRecord>>) -> RecordsPage {
    RecordsPage {
        tags: tags.iter().map(|name| tag(name)).collect(),
        manifests,
        ..RecordsPage::default()
    }
}

#[tokio::test]
async fn readers_see_the_old_listing_until_the_new_one_is_published_whole() {
    let index = Index::open().await;
    index.list("1", &page(&["old"], vec![])).await;
    let listing = index.index.begin_listing(&index.did).await.unwrap();
    for tags in [["a", "b"], ["c", "d"]] {
        assert!(index.index.stage(listing, &page(&tags, vec![])).await.unwrap());
        assert_eq!(index.tags().await, ["old"]);
    }
    // Our own write meanwhile is seen at once, and goes into the listing that is under way.
    let own = AccountChange {
        tags: vec![tag("own")],
        ..AccountChange::default()
    };
    index.index.apply(&index.did, &own, "1", "2").await.unwrap();
    assert_eq!(index.tags().await, ["old", "own"]);
    assert!(index.index.stage_change(listing, &own).await.unwrap());
    assert!(index.index.publish(listing, &whole("2"), 1_000).await.unwrap());
    assert_eq!(index.tags().await, ["a", "b", "c", "d", "own"]);
    assert_eq!(index.index.listed_as(&index.did).await.unwrap(), Some(whole("2")));
    assert!(
        !index.index.publish(listing, &whole("3"), 1_000).await.unwrap(),
        "only once"
    );
}

#[tokio::test]
async fn what_was_replaced_or_left_is_swept_and_nothing_else() {
    let index = Index::open().await;
    let many: Vec<_> = (0..30).map(|n| manifest(n, 100)).collect();
    index.list("1", &page(&["old"], many.clone())).await;
    index.list("2", &page(&["new"], vec![manifest(1, 3)])).await;
    let left = index.index.begin_listing(&index.did).await.unwrap();
    assert!(index.index.stage(left, &page(&["left"], many)).await.unwrap());
    let running = index.index.begin_listing(&index.did).await.unwrap();
    assert!(
        index
            .index
            .stage(running, &page(&["running"], vec![]))
            .await
            .unwrap()
    );
    let mut staged = index.index.staged().await.unwrap();
    staged.sort_by_key(|listing| listing.0);
    assert_eq!(staged, [left, running]);
    index.index.sweep(&[left]).await.unwrap();
    assert!(!index.index.stage(left, &page(&["late"], vec![])).await.unwrap());
    for (table, rows) in [("listing", 2), ("manifest", 1), ("manifest_blob", 3), ("tag", 2)] {
        assert_eq!(index.rows(table).await, rows, "{table}");
    }
    assert_eq!(index.tags().await, ["new"]);
    assert!(index.index.publish(running, &whole("3"), 1_000).await.unwrap());
    assert_eq!(index.tags().await, ["running"]);
}

#[tokio::test]
async fn one_record_has_no_more_descriptors_than_a_manifest_may_have() {
    let index = Index::open().await;
    let huge = manifest(1, MAX_DESCRIPTORS + 1_000);
    index.list("1", &page(&[], vec![huge.clone()])).await;
    assert_eq!(index.rows("manifest_blob").await, 4_096);
    index.index.note(&index.did, &manifest(2, 5_000)).await.unwrap();
    assert_eq!(index.rows("manifest_blob").await, 8_192);
    let blob = digest(1_000_000).parse().unwrap();
    let holds = index.index.holds_of_blob(&index.did, "app", &blob).await.unwrap();
    assert_eq!(holds.len(), 1);
}

#[tokio::test]
async fn the_accounts_longest_unused_go_when_all_have_grown_too_large() {
    let index = Index::open().await;
    let dids: Vec<Did> = ["a", "b", "c"]
        .map(|name| format!("did:plc:{name:a>24}").parse().unwrap())
        .into();
    for did in &dids {
        let listing = index.index.begin_listing(did).await.unwrap();
        index.index.stage(listing, &page(&["v1"], vec![])).await.unwrap();
        let size = 500 * 1024 * 1024;
        index.index.publish(listing, &whole("1"), size).await.unwrap();
        // The first is written to all the time.
        let own = AccountChange::default();
        index.index.apply(&dids[0], &own, "1", "1").await.unwrap();
    }
    index.index.sweep(&[]).await.unwrap();
    let mut kept = Vec::new();
    for did in &dids {
        kept.push(index.index.listed_as(did).await.unwrap().is_some());
    }
    assert_eq!(kept, [true, false, true]);
    assert_eq!(index.rows("tag").await, 2);
}
