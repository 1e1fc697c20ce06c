//! How accounts' servers are asked: patiently, in small pieces, and within bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use atcr_atproto::clock::SystemClock;
use atcr_atproto::crypto::Curve;
use atcr_hold::adapters::account_manifests::AccountManifests;
use atcr_hold::gc::ports::AccountReader as _;
use axum::Router;
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use crate::harness::egress;
use crate::harness::identities::Identities;

use super::world::{End, World, rkey};
use atcr_oci::{Algorithm, Digest};

const CID: &str = "bafyreihffx5a2e7k5uwrmmgofbvzujc5cmw5h4espouwuxt3liqoflx3ee";

fn manifest(name: &str) -> Digest {
    Digest::of(Algorithm::Sha256, name.as_bytes())
}

#[tokio::test]
async fn a_server_that_wants_fewer_requests_or_has_long_records_is_read_all_the_same() {
    let identities = Arc::new(Identities::default());
    let account = identities.account("author", Curve::K256);
    let did = account.did.clone();
    let asked = Arc::new(AtomicU32::new(0));
    let commit = {
        let asked = asked.clone();
        move || {
            let is_first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if is_first {
                    let wait = [(header::RETRY_AFTER, "0")];
                    return (StatusCode::TOO_MANY_REQUESTS, wait).into_response();
                }
                axum::Json(json!({ "cid": CID, "rev": "3lcsuodlq4c2e" })).into_response()
            }
        }
    };
    let digest = manifest("one");
    let uri = format!("at://{did}/io.atcr.manifest/{}", rkey(&digest));
    let list = move |RawQuery(query): RawQuery| {
        let query = query.unwrap_or_default();
        let is_one = query.split('&').any(|parameter| parameter == "limit=1");
        // Of more than one the answer is longer than an answer may be.
        let long = if is_one { 0 } else { 4 * 1024 * 1024 };
        let is_odd = query.contains("cursor=odd");
        let blob = if is_odd { json!("?") } else { json!(null) };
        let value = json!({
            "repository": "app", "digest": digest, "manifestBlob": blob, "annotation": "x".repeat(long),
        });
        let page = json!({ "records": [{ "uri": uri, "cid": CID, "value": value }] });
        async move { axum::Json(page) }
    };
    let server = Router::new()
        .route("/xrpc/com.atproto.sync.getLatestCommit", get(commit))
        .route("/xrpc/com.atproto.repo.listRecords", get(list));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move { axum::serve(listener, server).await });
    identities.publish_at(&account, Some(&url));
    let reader = AccountManifests::new(egress(), identities, Arc::new(SystemClock));
    reader.rev(&did).await.expect("an answer");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let page = reader.page(&did, None).await.expect("a page");
    assert_eq!(page.manifests.len(), 1);
    assert_eq!(page.manifests[0].repository, "app");
    let refused = reader.page(&did, Some("odd")).await.expect_err("not read");
    assert!(refused.to_string().contains("is not understood"), "{refused}");
    serving.abort();
}

#[tokio::test]
async fn an_account_beyond_the_bounds_counts_as_not_read() {
    let mut world = World::open().await;
    world.options.most_manifests = 3;
    world.options.most_names = 5;
    world.restart(End::Stopped).await;
    let member = world.members[1].clone();
    let blob = world.upload(&member, b"blob").await.expect("stored");
    let reason = async |world: &World| world.collect().await.accounts.unread.get(&member).cloned();
    for number in 0..3 {
        let key = rkey(&manifest(&number.to_string()));
        world.network.write(&member, &key, std::slice::from_ref(&blob));
    }
    assert_eq!(reason(&world).await, None);
    world
        .network
        .write(&member, &rkey(&manifest("3")), std::slice::from_ref(&blob));
    let many = reason(&world).await.expect("not read");
    assert!(many.contains("more than 3 manifests"), "{many}");
    world.network.change(&member, |pds| pds.manifests.clear());
    let names: Vec<Digest> = (0..6).map(|number| manifest(&number.to_string())).collect();
    world.network.write(&member, &rkey(&manifest("0")), &[]);
    assert_eq!(reason(&world).await, None, "the others are proven gone");
    world.network.write(&member, &rkey(&manifest("4")), &names);
    let long = reason(&world).await.expect("not read");
    assert!(long.contains("too many blobs"), "{long}");
    world.network.write(&member, &rkey(&manifest("4")), &[]);
    world.network.change(&member, |pds| pds.goes_round = true);
    let round = reason(&world).await.expect("not read");
    assert!(round.contains("round in circles"), "{round}");
}

#[tokio::test]
async fn an_account_whose_server_does_not_end_is_given_up_and_shown() {
    let mut world = World::open().await;
    world.options.read_within = Duration::from_millis(500);
    world.restart(End::Stopped).await;
    let reached = world.network.gate.arm(0);
    let gc = world.hold().gc.clone();
    let run = tokio::spawn(async move { gc.run().await });
    let never_goes_on = reached.await.expect("reached");
    let progress = world.hold().gc.status().await.expect("an answer").under_way;
    let reading = progress.expect("a run is under way").reading;
    assert!(
        reading.iter().any(|did| world.members.contains(did)),
        "{reading:?}"
    );
    let report = run.await.expect("no panic").expect("a run").report;
    drop(never_goes_on);
    let unread: Vec<_> = report.accounts.unread.values().collect();
    assert_eq!(unread.len(), 1, "{report:?}");
    assert!(unread[0].contains("was not read within"), "{unread:?}");
}
