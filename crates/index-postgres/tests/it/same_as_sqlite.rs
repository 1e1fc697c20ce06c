//! Both databases say the same of the same network, in the same order.

use atcr_index::generator::{Network, Size, account_did};
use atcr_index::page::{PageRequest, Start};
use atcr_index::ports::{IndexReader, IndexWriter, SearchIndex};
use atcr_index::search::{Query, ranked};
use atcr_index::view::{TagFilter, TagOrder};
use atcr_index_sqlite::SqliteIndex;
use atcr_index_suite::Subject;
use atcr_index_suite::subject::now;

use crate::Store;

struct Sqlite {
    index: SqliteIndex,
    _folder: tempfile::TempDir,
}

impl Subject for Sqlite {
    type Index = SqliteIndex;

    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            index: SqliteIndex::open(&folder.path().join("index.db")).await.unwrap(),
            _folder: folder,
        }
    }

    fn index(&self) -> &SqliteIndex {
        &self.index
    }
}

async fn filled<S: Subject>() -> S {
    let store = S::new().await;
    for batch in Network::new(7, Size::small()).batches(now()) {
        store.index().apply(&batch, now()).await.unwrap();
    }
    store
}

/// What searches find, in order.
async fn found(index: &(impl SearchIndex + ?Sized), typed: &str) -> Vec<String> {
    let query = Query::parse(typed);
    let candidates = index.candidates(&query).await.unwrap();
    ranked(&query, candidates, now())
        .into_iter()
        .map(|card| format!("{}/{}", card.owner.did, card.name))
        .collect()
}

/// What pages show, as text: every list from its top to its end.
async fn shown(index: &(impl IndexReader + ?Sized)) -> Vec<String> {
    let mut lines = Vec::new();
    let mut cards = Vec::new();
    let mut start = Start::Top;
    loop {
        let page = index.recently_pushed(&PageRequest::from(start, 9)).await.unwrap();
        cards.extend(page.items);
        match page.older {
            Some(position) => start = Start::After(position),
            None => break,
        }
    }
    for card in &cards {
        lines.push(format!("{card:?}"));
        lines.push(format!(
            "{:?}",
            index.repository(&card.owner.did, &card.name).await.unwrap()
        ));
        for order in [TagOrder::Newest, TagOrder::Version] {
            let filter = TagFilter {
                order,
                ..TagFilter::default()
            };
            let mut start = Start::Top;
            loop {
                let request = PageRequest::from(start, 100);
                let page = index.tags(card.id, &filter, &request).await.unwrap();
                lines.extend(page.items.iter().map(|tag| format!("{tag:?}")));
                match page.older {
                    Some(position) => start = Start::After(position),
                    None => break,
                }
            }
        }
        let manifests = index
            .manifests(card.id, None, &PageRequest::top(30))
            .await
            .unwrap();
        for listed in &manifests.items {
            lines.push(format!("{listed:?}"));
        }
        for listed in manifests.items.iter().take(3) {
            let manifest = index.manifest(card.id, &listed.summary.digest).await.unwrap();
            lines.push(format!("{manifest:?}"));
        }
        let referrers = index.all_referrers(card.id, &PageRequest::top(30)).await.unwrap();
        lines.extend(referrers.items.iter().map(|listed| format!("{listed:?}")));
        let (did, top) = (&card.owner.did, PageRequest::top(30));
        lines.push(format!("{:?}", index.holds_of(card.id).await.unwrap()));
        lines.push(format!(
            "{:?}",
            index.stars_of(did, &card.name, &top).await.unwrap()
        ));
    }
    let top = PageRequest::top(30);
    lines.push(format!("{:?}", index.most_starred(&top).await.unwrap()));
    for number in 0..23 {
        let did = account_did(number);
        lines.push(format!("{:?}", index.account(&did).await.unwrap()));
        lines.push(format!("{:?}", index.repositories_of(&did, &top).await.unwrap()));
        lines.push(format!("{:?}", index.starred_by(&did, &top).await.unwrap()));
        lines.push(format!("{:?}", index.memberships(&did).await.unwrap()));
    }
    lines
}

/// Numbers of rows are the databases' own.
fn without_numbers(line: &str) -> String {
    let mut rest = line;
    let mut kept = String::new();
    while let Some(at) = rest.find("ManifestId(") {
        let (before, after) = rest.split_at(at + "ManifestId(".len());
        kept.push_str(before);
        rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
    }
    kept + rest
}

#[tokio::test]
async fn dump_pages_and_ranking_are_the_same_on_both() {
    let (postgres, sqlite): (Store, Sqlite) = (filled().await, filled().await);
    assert_eq!(postgres.dump().await, sqlite.dump().await);

    let of_postgres = shown(postgres.index()).await;
    let of_sqlite = shown(sqlite.index()).await;
    assert_eq!(of_postgres.len(), of_sqlite.len());
    for (of_postgres, of_sqlite) in of_postgres.iter().zip(&of_sqlite) {
        assert_eq!(without_numbers(of_postgres), without_numbers(of_sqlite));
    }

    let mut hits = 0;
    let names: Vec<String> = sqlite
        .index()
        .recently_pushed(&PageRequest::top(40))
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|card| card.name)
        .collect();
    let slips = names.iter().map(|name| {
        // The second and third characters change places.
        let mut characters: Vec<char> = name.chars().collect();
        if characters.len() > 3 {
            characters.swap(1, 2);
        }
        characters.into_iter().collect()
    });
    let typed = names.iter().cloned().chain(slips).chain(
        [
            "the",
            "service",
            "nginx",
            "re",
            "image builds",
            "postgers",
            "コンテナ",
            "a",
            "zzz",
            "build t",
        ]
        .map(str::to_owned),
    );
    for typed in typed {
        let of_sqlite = found(sqlite.index(), &typed).await;
        assert_eq!(found(postgres.index(), &typed).await, of_sqlite, "{typed}");
        hits += of_sqlite.len();
    }
    assert!(hits > 200, "{hits}");
}
