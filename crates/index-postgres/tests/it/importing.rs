//! An index of a file, copied.

use std::path::PathBuf;

use atcr_index::generator::{Network, Size};
use atcr_index::ports::{IndexAudit as _, IndexReader as _, IndexWriter as _, SearchIndex as _};
use atcr_index::search::{Query, ranked};
use atcr_index_postgres::{ImportError, Progress};
use atcr_index_sqlite::SqliteIndex;
use atcr_index_suite::Subject as _;
use atcr_index_suite::subject::{alice, identity, image, now, put_manifest, put_tag, step};

use crate::Store;

struct File {
    index: SqliteIndex,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

async fn file() -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.db");
    let index = SqliteIndex::open(&path).await.unwrap();
    for batch in Network::new(7, Size::small()).batches(now()) {
        index.apply(&batch, now()).await.unwrap();
    }
    File {
        index,
        path,
        _folder: folder,
    }
}

async fn lines(index: &impl atcr_index::ports::IndexAudit) -> Vec<String> {
    let mut lines = Vec::new();
    index
        .dump(&mut |line| lines.push(format!("{line:?}")))
        .await
        .unwrap();
    lines
}

#[tokio::test]
async fn a_copied_index_is_the_same_is_found_and_goes_on() {
    let (store, file) = (Store::new().await, file().await);
    let mut equal = 0;
    let mut note = |progress| equal += u64::from(matches!(progress, Progress::Equal { .. }));
    store.index().import_sqlite(&file.path, &mut note).await.unwrap();
    assert_eq!(equal, 21);

    assert_eq!(lines(store.index()).await, lines(&file.index).await);
    assert_eq!(
        store.index().stats().await.unwrap(),
        file.index.stats().await.unwrap()
    );
    assert_eq!(store.index().recount().await.unwrap(), []);
    let mut hits = 0;
    for typed in ["the", "service", "a", "build t", "postgers"] {
        let query = Query::parse(typed);
        let mut names = Vec::new();
        for candidates in [
            store.index().candidates(&query).await.unwrap(),
            file.index.candidates(&query).await.unwrap(),
        ] {
            let cards = ranked(&query, candidates, now());
            names.push(cards.into_iter().map(|card| card.name).collect::<Vec<_>>());
        }
        assert_eq!(names[0], names[1], "{typed}");
        hits += names[0].len();
    }
    assert!(hits > 20, "{hits}");

    // New rows get numbers of their own.
    let changes = vec![
        put_manifest(&alice(), &image("app", '1')),
        put_tag(&alice(), "app", "latest", '1', 1),
    ];
    store
        .apply(vec![
            identity(&alice(), "alice.example"),
            step(&alice(), None, 1, changes),
        ])
        .await;
    store.dump().await;
    assert!(store.index().repository(&alice(), "app").await.unwrap().is_some());
}

#[tokio::test]
async fn nothing_is_copied_beside_what_is_there() {
    let (store, file) = (Store::new().await, file().await);
    store.apply(vec![identity(&alice(), "alice.example")]).await;
    let refused = store.index().import_sqlite(&file.path, &mut |_| {}).await;
    assert!(
        matches!(refused, Err(ImportError::NotEmpty("account"))),
        "{refused:?}"
    );
    assert_eq!(store.index().stats().await.unwrap().accounts, 1);
}

#[tokio::test]
async fn what_the_database_changes_on_its_way_in_is_noticed_and_nothing_is_kept() {
    let (store, file) = (Store::new().await, file().await);
    store.run(
        "CREATE FUNCTION atcr_index.change() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN IF NEW.name = 'latest' THEN NEW.moved_at := NEW.moved_at + 1; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER change BEFORE INSERT ON atcr_index.tag FOR EACH ROW EXECUTE FUNCTION atcr_index.change()",
    );
    let refused = store.index().import_sqlite(&file.path, &mut |_| {}).await;
    assert!(
        matches!(refused, Err(ImportError::Different { table: "tag", .. })),
        "{refused:?}"
    );
    store.run("DROP FUNCTION atcr_index.change CASCADE");
    assert_eq!(store.index().stats().await.unwrap().accounts, 0);
    // It can be done again.
    store
        .index()
        .import_sqlite(&file.path, &mut |_| {})
        .await
        .unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_there_is_said() {
    let (store, folder) = (Store::new().await, tempfile::tempdir().unwrap());
    let missing = store
        .index()
        .import_sqlite(&folder.path().join("none.db"), &mut |_| {})
        .await;
    assert!(matches!(missing, Err(ImportError::File(_))));
}
