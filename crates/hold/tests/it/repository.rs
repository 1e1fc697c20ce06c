//! The hold's repository, as other servers read it.

use atcr_atproto::syntax::Tid;
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestHold};

#[tokio::test]
async fn records_are_read_one_by_one_and_in_pages() {
    let hold = TestHold::start(Setup::default()).await;
    for index in 0..4 {
        hold.crew(&format!("crew{index}"), &["blob:read"]).await;
    }
    let did = hold.did().clone();
    let captain = hold
        .query(&format!(
            "com.atproto.repo.getRecord?repo={did}&collection=io.atcr.hold.captain&rkey=self"
        ))
        .await
        .ok();
    assert_eq!(captain["uri"], format!("at://{did}/io.atcr.hold.captain/self"));
    assert_eq!(captain["value"]["$type"], "io.atcr.hold.captain");
    assert_eq!(captain["value"]["owner"], hold.captain.did.as_str());
    let cid = captain["cid"].as_str().expect("a CID");
    let by_cid = |cid: &str| {
        format!("com.atproto.repo.getRecord?repo={did}&collection=io.atcr.hold.captain&rkey=self&cid={cid}")
    };
    hold.query(&by_cid(cid)).await.ok();
    let other = hold
        .query(&by_cid(
            "bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        ))
        .await;
    assert_eq!(other.error(), (404, "RecordNotFound"));

    for reverse in ["", "&reverse=true"] {
        let mut keys: Vec<String> = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = hold
                .query(&format!(
                    "com.atproto.repo.listRecords?repo={did}&collection=io.atcr.hold.crew&limit=2{reverse}{cursor}"
                ))
                .await
                .ok();
            let records = page["records"].as_array().expect("records");
            assert!(records.len() <= 2);
            keys.extend(
                records
                    .iter()
                    .map(|record| record["uri"].as_str().expect("a URI").to_owned()),
            );
            match page["cursor"].as_str() {
                None => break,
                Some(next) => cursor = format!("&cursor={next}"),
            }
        }
        // The captain is crew too.
        assert_eq!(keys.len(), 5);
        let mut sorted = keys.clone();
        sorted.sort();
        if reverse.is_empty() {
            sorted.reverse();
        }
        assert_eq!(keys, sorted, "reverse: {reverse:?}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn the_repository_describes_itself_the_same_everywhere() {
    let hold = TestHold::start(Setup::default()).await;
    let did = hold.did().clone();
    let host = did.web_host().expect("a host");
    for repo in [did.as_str(), host.as_str()] {
        let described = hold
            .query(&format!("com.atproto.repo.describeRepo?repo={repo}"))
            .await
            .ok();
        assert_eq!(described["did"], did.as_str());
        assert_eq!(described["handle"], host.as_str());
        assert_eq!(described["handleIsCorrect"], true);
        assert_eq!(described["didDoc"]["id"], did.as_str());
        assert_eq!(
            described["collections"],
            json!([
                "io.atcr.hold.captain",
                "io.atcr.hold.crew",
                "sh.tangled.actor.profile"
            ])
        );
    }
    let latest = hold
        .query(&format!("com.atproto.sync.getLatestCommit?did={did}"))
        .await
        .ok();
    let status = hold
        .query(&format!("com.atproto.sync.getRepoStatus?did={did}"))
        .await
        .ok();
    assert_eq!(
        status,
        json!({ "did": did, "active": true, "rev": latest["rev"] })
    );
    let repos = hold.query("com.atproto.sync.listRepos").await.ok();
    assert_eq!(
        repos,
        json!({ "repos": [{ "did": did, "head": latest["cid"], "rev": latest["rev"], "active": true }] })
    );
    let no_more = hold.query("com.atproto.sync.listRepos?cursor=x").await.ok();
    assert_eq!(no_more, json!({ "repos": [] }));
    let resolved = hold
        .query(&format!("com.atproto.identity.resolveHandle?handle={host}"))
        .await
        .ok();
    assert_eq!(resolved, json!({ "did": did }));
    let server = hold.query("com.atproto.server.describeServer").await.ok();
    assert_eq!(server["did"], did.as_str());
    hold.stop().await;
}

#[tokio::test]
async fn what_is_not_there_has_its_name() {
    let hold = TestHold::start(Setup::default()).await;
    let did = hold.did().clone();
    let rows: [(String, (u16, &str)); 9] = [
        (
            format!("com.atproto.repo.getRecord?repo={did}&collection=io.atcr.hold.captain&rkey=other"),
            (404, "RecordNotFound"),
        ),
        (
            "com.atproto.repo.getRecord?repo=did:web:x.test&collection=io.atcr.hold.captain&rkey=self"
                .to_owned(),
            (404, "RepoNotFound"),
        ),
        (
            "com.atproto.repo.describeRepo?repo=someone.test".to_owned(),
            (404, "RepoNotFound"),
        ),
        (
            "com.atproto.sync.getRepo?did=did:web:x.test".to_owned(),
            (404, "RepoNotFound"),
        ),
        (
            format!("com.atproto.sync.getRepo?did={did}&since=yesterday"),
            (400, "InvalidRequest"),
        ),
        (
            format!("com.atproto.repo.listRecords?repo={did}&collection=nonsense"),
            (400, "InvalidRequest"),
        ),
        (
            format!("com.atproto.sync.getRecord?did={did}&collection=io.atcr.hold.crew&rkey=.."),
            (400, "InvalidRequest"),
        ),
        ("com.atproto.repo.getRecord".to_owned(), (400, "InvalidRequest")),
        (
            "com.atproto.identity.resolveHandle?handle=someone.test".to_owned(),
            (404, "HandleNotFound"),
        ),
    ];
    for (query, expected) in rows {
        assert_eq!(hold.query(&query).await.error(), expected, "{query}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn exports_are_cars_with_the_newest_commit_as_root() {
    let hold = TestHold::start(Setup::default()).await;
    let did = hold.did().clone();
    let before = latest(&hold).await;
    hold.crew("newcomer", &["blob:read"]).await;
    let after = latest(&hold).await;
    assert_ne!(before, after);

    let whole = car(&hold, &format!("com.atproto.sync.getRepo?did={did}")).await;
    let since = car(
        &hold,
        &format!("com.atproto.sync.getRepo?did={did}&since={}", before.1),
    )
    .await;
    let proof = car(
        &hold,
        &format!("com.atproto.sync.getRecord?did={did}&collection=io.atcr.hold.captain&rkey=self"),
    )
    .await;
    let absence = car(
        &hold,
        &format!("com.atproto.sync.getRecord?did={did}&collection=io.atcr.hold.captain&rkey=other"),
    )
    .await;
    let root: atcr_atproto::Cid = after.0.parse().expect("a CID");
    for bytes in [&whole, &since, &proof, &absence] {
        let header = &bytes[..100];
        let needle = root.to_bytes();
        assert!(header.windows(needle.len()).any(|window| window == needle));
    }
    assert!(since.len() < whole.len(), "{} < {}", since.len(), whole.len());
    hold.hold.repo().verify().await.expect("the repository is whole");
    hold.stop().await;
}

#[tokio::test]
async fn blocks_are_given_by_their_names_as_long_as_the_repository_has_them() {
    let hold = TestHold::start(Setup::default()).await;
    let did = hold.did().clone();
    let before = latest(&hold).await;
    hold.crew("newcomer", &["blob:read"]).await;
    let after = latest(&hold).await;
    let record = hold
        .query(&format!(
            "com.atproto.repo.getRecord?repo={did}&collection=io.atcr.hold.captain&rkey=self"
        ))
        .await
        .ok();
    let record = record["cid"].as_str().expect("a CID").to_owned();
    let query = format!(
        "com.atproto.sync.getBlocks?did={did}&cids={0}&cids={record}&cids={0}&cids={record}",
        after.0
    );
    let bytes = car(&hold, &query).await;
    let mut position = atcr_repo::car::header_len(&bytes).expect("a header");
    let mut found = Vec::new();
    while let Some(section) = atcr_repo::car::read_block(&bytes, position) {
        position = section.content.end;
        found.push(section.cid.to_string());
    }
    assert_eq!((found, position), (vec![after.0, record], bytes.len()));

    let refused = [
        (format!("did={did}&cids={}", before.0), (400, "BlockNotFound")),
        (format!("did={did}&cids=nonsense"), (400, "InvalidRequest")),
        (format!("did={did}"), (400, "InvalidRequest")),
        ("did=did:web:x.test&cids=x".to_owned(), (400, "InvalidRequest")),
        (
            format!("did=did:web:x.test&cids={}", before.0),
            (404, "RepoNotFound"),
        ),
        (
            format!("did={did}{}", format!("&cids={}", before.0).repeat(201)),
            (400, "InvalidRequest"),
        ),
    ];
    for (parameters, expected) in refused {
        let answer = hold
            .query(&format!("com.atproto.sync.getBlocks?{parameters}"))
            .await;
        assert_eq!(answer.error(), expected, "{parameters:.100}");
    }
    let by_collection = async |collection: &str| {
        let query = format!("com.atproto.sync.listReposByCollection?collection={collection}");
        hold.query(&query).await.ok()
    };
    assert_eq!(
        by_collection("io.atcr.hold.crew").await,
        json!({ "repos": [{ "did": did }] })
    );
    assert_eq!(by_collection("io.atcr.hold.layer").await, json!({ "repos": [] }));
    hold.stop().await;
}

async fn latest(hold: &TestHold) -> (String, Tid) {
    let commit: Value = hold
        .query(&format!("com.atproto.sync.getLatestCommit?did={}", hold.did()))
        .await
        .ok();
    let cid = commit["cid"].as_str().expect("a CID").to_owned();
    let rev = commit["rev"].as_str().expect("a rev").parse().expect("a TID");
    (cid, rev)
}

async fn car(hold: &TestHold, query: &str) -> Vec<u8> {
    let response = hold
        .get(&format!("/xrpc/{query}"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/vnd.ipld.car");
    response.bytes().await.expect("a body").to_vec()
}

#[tokio::test]
async fn the_repository_of_a_private_hold_is_public() {
    let hold = TestHold::start(Setup::default()).await;
    let path = format!(
        "/xrpc/com.atproto.repo.listRecords?repo={}&collection=io.atcr.hold.crew",
        hold.did()
    );
    let answer = Answer::of(hold.get(&path)).await.ok();
    assert_eq!(answer["records"].as_array().map(Vec::len), Some(1));
    hold.stop().await;
}
