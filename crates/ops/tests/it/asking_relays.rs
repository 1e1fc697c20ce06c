//! `crawl` and `record-query`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use atcr_test_support::fakes::FakePds;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::{atcr, serve};

/// A relay that agrees, and one that does not.
async fn relays() -> (String, String, Arc<Mutex<Vec<Value>>>) {
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let noted = Arc::clone(&asked);
    let agreeing = Router::new()
        .route(
            "/xrpc/com.atproto.sync.requestCrawl",
            post(move |Json(body): Json<Value>| async move {
                noted.lock().unwrap().push(body);
            }),
        )
        .route(
            "/xrpc/com.atproto.sync.getHostStatus",
            get(|| async { Json(json!({ "hostname": "x", "status": "active", "seq": 7 })) }),
        );
    let refusing = Router::new().route(
        "/xrpc/com.atproto.sync.requestCrawl",
        post(|| async {
            let body = json!({ "error": "HostBanned", "message": "not this one" });
            (StatusCode::BAD_REQUEST, Json(body))
        }),
    );
    (serve(agreeing).await, serve(refusing).await, asked)
}

#[tokio::test]
async fn each_relay_is_asked_and_says_what_it_has() {
    let (agreeing, refusing, asked) = relays().await;
    let hold = "https://hold.example.com:8443";
    let one = atcr(&["crawl", hold, "--relay", &agreeing]).await.ok();
    assert!(
        one.stdout
            .contains("follows hold.example.com:8443; it has the hold as active, followed up to event 7"),
        "{}",
        one.stdout
    );
    assert_eq!(
        *asked.lock().unwrap(),
        [json!({ "hostname": "hold.example.com:8443" })]
    );
    let both = atcr(&[
        "crawl", hold, "--relay", &refusing, "--relay", &agreeing, "--json",
    ])
    .await;
    assert_eq!(both.code, Some(1));
    assert_eq!(both.stderr, "error: 1 of 2 relays did not agree\n");
    let answers = both.json();
    assert_eq!(answers[0]["accepted"], false);
    assert!(answers[0]["error"].as_str().unwrap().contains("not this one"));
    assert_eq!(
        (&answers[1]["accepted"], &answers[1]["seq"]),
        (&true.into(), &7.into())
    );
}

/// A relay that lists accounts, two to a page.
async fn directory(dids: Vec<String>) -> String {
    let list = move |Query(query): Query<HashMap<String, String>>| async move {
        if query["collection"] != "io.atcr.tag" {
            return Err(StatusCode::NOT_FOUND);
        }
        let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
        let to = (from + 2).min(dids.len());
        let repos: Vec<Value> = dids[from..to].iter().map(|did| json!({ "did": did })).collect();
        let cursor = (to < dids.len()).then(|| to.to_string());
        Ok(Json(json!({ "repos": repos, "cursor": cursor })))
    };
    serve(Router::new().route("/xrpc/com.atproto.sync.listReposByCollection", get(list))).await
}

#[tokio::test]
async fn accounts_with_a_collection_are_found_and_their_records_read() {
    let pds = FakePds::start().await.unwrap();
    let dids: Vec<String> = ["alice.test", "bob.test", "carol.test"]
        .into_iter()
        .map(|handle| pds.add_account(handle, "password"))
        .collect();
    for (number, did) in dids.iter().enumerate() {
        for tag in 0..=number {
            let record = json!({ "$type": "io.atcr.tag", "tag": tag.to_string() });
            pds.put_record(did, "io.atcr.tag", &format!("app_{tag}"), record);
        }
    }
    let mut dids = dids;
    dids.sort_unstable();
    let relay = directory(dids.clone()).await;
    let found = atcr(&["record-query", "io.atcr.tag", "--relay", &relay])
        .await
        .ok();
    assert_eq!(found.stdout.lines().collect::<Vec<_>>(), dids);
    let some = atcr(&[
        "record-query",
        "io.atcr.tag",
        "--relay",
        &relay,
        "--limit",
        "1",
        "--json",
    ])
    .await;
    assert_eq!(some.ok().json(), [json!({ "did": dids[0] })]);

    let local = [
        "--local",
        "--plc-directory-url",
        &pds.url(),
        "--handle-resolver-url",
        &pds.url(),
    ];
    let all = [
        "record-query",
        "io.atcr.tag",
        "--relay",
        &relay,
        "--records",
        "--json",
    ];
    let read = atcr(&[&all[..], &local].concat()).await.ok();
    let mut uris: Vec<String> = read
        .json()
        .iter()
        .map(|record| record["uri"].as_str().unwrap().to_owned())
        .collect();
    uris.sort_unstable();
    assert_eq!(uris.len(), 6);
    assert!(uris[0].ends_with("/io.atcr.tag/app_0"), "{uris:?}");
    // One account that no relay is asked about.
    let one = [
        "record-query",
        "io.atcr.tag",
        "--account",
        "bob.test",
        "--records",
        "--json",
    ];
    let read = atcr(&[&one[..], &local].concat()).await.ok().json();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0]["value"]["$type"], "io.atcr.tag");

    let none = atcr(&["record-query", "io.atcr.star", "--relay", &relay]).await;
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("no relay has a list"), "{}", none.stderr);
}
