//! An index of a file, copied.

use std::path::PathBuf;

use atcr_atproto::lexicon::manifest;
use atcr_atproto::lexicon::scan::{self, ScanRecord, SeverityCounts};
use atcr_atproto::lexicon::stats::{self, StatsRecord};
use atcr_index::Collection;
use atcr_index::change::{Applied, Batch, Fence, Lane, QueuedWork, Step, TakedownStep};
use atcr_index::fact::ConfigFact;
use atcr_index::generator::{Network, Size};
use atcr_index::ports::{
    ConfigLog as _, DiscoveryLog as _, FoundAccount, IndexAudit as _, IndexReader as _, IndexWriter as _,
    SearchIndex as _, WorkQueue as _,
};
use atcr_index::search::{Query, ranked};
use atcr_index::turn::ConfigTurn;
use atcr_index_postgres::{ImportError, Progress};
use atcr_index_sqlite::SqliteIndex;
use atcr_index_suite::Subject as _;
use atcr_index_suite::subject::{
    alice, at, bob, digest, hold, identity, image, now, put, put_manifest, put_tag, put_value, step,
};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

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
    happen(&index).await;
    File {
        index,
        path,
        _folder: folder,
    }
}

/// What has rows only after something has happened: histories, what holds say, takedowns, lists that are read, what is due.
async fn happen(index: &SqliteIndex) {
    let pulled = |count| {
        let mut record = StatsRecord::new(bob(), "app", at(0));
        record.pull_count = count;
        let key = stats::rkey(&bob(), "app").unwrap();
        put(&hold(), Collection::Stats, &key, &record)
    };
    let counts = SeverityCounts {
        critical: 1,
        high: 2,
        medium: 3,
        low: 4,
        total: 10,
    };
    let uri = manifest::at_uri(&bob(), digest('1').as_str()).unwrap();
    let scanned = ScanRecord::new(uri, "app", bob(), counts, "scanner-1", at(0));
    let key = scan::rkey(digest('1').as_str()).unwrap();
    let unusable = put_value(
        &bob(),
        Collection::Tag,
        &"odd".parse().unwrap(),
        json!({ "$type": "io.atcr.tag" }),
    );
    let first = vec![
        put_manifest(&bob(), &image("app", '1')),
        put_tag(&bob(), "app", "latest", '1', 1),
        unusable,
    ];
    let second = vec![
        put_manifest(&bob(), &image("app", '2')),
        put_tag(&bob(), "app", "latest", '2', 2),
    ];
    let takedown = TakedownStep {
        source: "did:web:labeler.example".parse().unwrap(),
        did: bob(),
        repository: Some("other".to_owned()),
        applies: true,
        at: now(),
    };
    let steps = vec![
        identity(&bob(), "bob.example"),
        step(&bob(), None, 1, first),
        step(
            &hold(),
            None,
            1,
            vec![pulled(5), put(&hold(), Collection::Scan, &key, &scanned)],
        ),
        identity(&bob(), "robert.example"),
        step(&bob(), Some(1), 2, second),
        step(&hold(), Some(1), 2, vec![pulled(9)]),
        Step::Takedown(takedown),
    ];
    // One after the other: a batch has only the last state of each record.
    for step in steps {
        assert_eq!(
            index.apply(&Batch::of(step), now()).await.unwrap(),
            [Applied::Done]
        );
    }
    index.take_source("never").await.unwrap();
    let (epoch, _) = index.take_source("relay").await.unwrap();
    let moved = Batch {
        fence: Some(Fence {
            source: "relay".to_owned(),
            epoch,
            cursor: Some(7),
        }),
        ..Batch::default()
    };
    index.apply(&moved, now()).await.unwrap();
    let found = [FoundAccount {
        did: alice(),
        rev: None,
    }];
    index
        .discovered("list", &found, Some("next"), None, now())
        .await
        .unwrap();
    let turn = ConfigTurn::default();
    let (waiting, _) = index.wanted_configs(turn, 1, now()).await.unwrap();
    let says = ConfigFact::of(
        &[("io.atcr.icon".to_owned(), "x".to_owned())].into(),
        "linux/amd64",
    );
    index.configured(&waiting[0].digest, &says, now()).await.unwrap();
    let due = QueuedWork {
        did: bob(),
        lane: Lane::Gap,
        due: now(),
    };
    index.enqueue(&[due]).await.unwrap();
    index.claim(&[Lane::Gap], 1, now(), now()).await.unwrap();
    index.retry(&bob(), now()).await.unwrap();
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
    let mut equal = Vec::new();
    let mut note = |progress| {
        if let Progress::Equal { table, rows } = progress {
            equal.push((table, rows));
        }
    };
    store.index().import_sqlite(&file.path, &mut note).await.unwrap();
    assert_eq!(equal.len(), 23);
    let empty: Vec<_> = equal.iter().filter(|(_, rows)| *rows == 0).collect();
    assert!(empty.is_empty(), "nothing is shown by copying no rows: {empty:?}");

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

/// A connection that waits for nobody.
async fn impatient(file: &File) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(&file.path)
        .busy_timeout(std::time::Duration::ZERO);
    options.connect().await.unwrap()
}

const WRITE: &str = "INSERT INTO source (name, epoch) VALUES ('written', 1)";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_to_the_file_while_it_is_copied() {
    let (store, file) = (Store::new().await, file().await);
    let mut writer = impatient(&file).await;
    let (mut tried, mut written) = (0, 0);
    let runtime = tokio::runtime::Handle::current();
    let mut note = |_| {
        tried += 1;
        let write = async { sqlx::raw_sql(WRITE).execute(&mut writer).await };
        let outcome = tokio::task::block_in_place(|| runtime.block_on(write));
        written += u32::from(outcome.is_ok());
    };
    store.index().import_sqlite(&file.path, &mut note).await.unwrap();
    assert!(tried > 21, "{tried}");
    assert_eq!(written, 0);
    // Afterwards everybody can again.
    sqlx::raw_sql(WRITE).execute(&mut writer).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_being_written_to_is_not_copied() {
    let (store, file) = (Store::new().await, file().await);
    let mut writer = impatient(&file).await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut writer)
        .await
        .unwrap();
    sqlx::raw_sql(WRITE).execute(&mut writer).await.unwrap();
    let refused = store.index().import_sqlite(&file.path, &mut |_| {}).await;
    assert!(matches!(refused, Err(ImportError::InUse)), "{refused:?}");
    assert_eq!(store.index().stats().await.unwrap().accounts, 0);
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
