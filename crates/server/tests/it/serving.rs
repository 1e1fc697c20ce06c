//! The listener and the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use atcr_server::{Shutdown, serve::serve};
use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Notify;

#[tokio::test]
async fn a_request_in_flight_is_finished_and_no_new_one_is_taken() {
    let entered = Arc::new(Notify::new());
    let release = Arc::new(Notify::new());
    let router = Router::new().route(
        "/slow",
        get({
            let (entered, release) = (entered.clone(), release.clone());
            async move |ConnectInfo(peer): ConnectInfo<SocketAddr>| {
                entered.notify_one();
                release.notified().await;
                peer.ip().to_string()
            }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let shutdown = Shutdown::new();
    let server = tokio::spawn(serve(listener, router, shutdown.clone()));

    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = tokio::spawn(client.get(format!("http://{address}/slow")).send());
    entered.notified().await;
    shutdown.begin();
    server.await.expect("the accept loop ends");
    assert!(
        client.get(format!("http://{address}/slow")).send().await.is_err(),
        "nobody accepts any more"
    );

    release.notify_one();
    let answer = request.await.expect("joined").expect("answered");
    assert_eq!(answer.text().await.expect("a body"), "127.0.0.1");
    assert!(
        shutdown.drain(Duration::from_secs(30)).await,
        "everything finished by itself"
    );
}

#[tokio::test]
async fn a_task_that_does_not_finish_is_dropped_after_the_grace() {
    let shutdown = Shutdown::new();
    shutdown.spawn(std::future::pending());
    shutdown.begin();
    assert!(!shutdown.drain(Duration::ZERO).await);
}
