//! What an operator does: reads numbers, stops a server.

use std::net::SocketAddr;

use atcr_test_support::network::{Part, Ports};
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, digest, image_manifest};
use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::World;

async fn pusher(world: &World, name: &str) -> RegistryClient {
    let mut client = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
    client.authorize(name, "pull,push").await.expect("a token");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn both_servers_count_what_they_do() {
    let ports = Ports::free().expect("ports");
    let world = World::start_with(|options| options.metrics = Some(ports)).await;
    let name = "alice.test/counted";
    let client = pusher(&world, name).await;
    let config = client.push_blob(name, b"{}".to_vec()).await.expect("a config");
    client
        .push_manifest(name, "1", IMAGE_MANIFEST, image_manifest((&config, 2), &[]))
        .await
        .expect("a manifest");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (port, counted) in [
        (ports.appview, "atcr_http_requests_total{"),
        (ports.appview, "atcr_http_request_duration_seconds_bucket{"),
        (ports.hold, "hold_blobs_stored_total 1"),
        (ports.hold, "hold_blob_bytes_stored_total 2"),
    ] {
        let answer = http
            .get(format!("http://127.0.0.1:{port}/metrics"))
            .send()
            .await
            .expect("an answer");
        let text = answer.text().await.expect("text");
        assert!(text.contains(counted), "{counted} is not in\n{text}");
        assert!(!text.contains("did:"), "a label names an account:\n{text}");
    }
}

/// Returns when no program listens at `url` any more.
async fn refuses(url: &str) {
    let address: SocketAddr = url
        .trim_start_matches("http://")
        .replace("localhost", "127.0.0.1")
        .parse()
        .expect("an address");
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_told_to_stop_finishes_the_upload_that_is_under_way() {
    let mut world = World::start().await;
    let name = "alice.test/finished";
    for part in [Part::AppView, Part::Hold] {
        let client = pusher(&world, name).await;
        let url = match part {
            Part::AppView => world.network.file().appview.url.clone(),
            _ => world.network.file().hold.url.clone(),
        };
        // More than the sockets between can hold: when it is taken, the servers have begun to read.
        let layer: Vec<u8> = (0..64_u8).flat_map(|n| vec![n; 1024 * 1024]).collect();
        let (half, rest) = layer.split_at(layer.len() / 2);
        let (sender, receiver) = mpsc::channel::<Bytes>(1);
        let body = stream::unfold(receiver, |mut receiver| async {
            let bytes = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(bytes), receiver))
        });
        let at = client.start_upload(name).await.expect("an upload");
        let patching = {
            let (client, at) = (client.clone(), at.clone());
            tokio::spawn(async move { client.patch_upload(&at, reqwest::Body::wrap_stream(body)).await })
        };
        for chunk in half.chunks(1024 * 1024) {
            sender
                .send(Bytes::copy_from_slice(chunk))
                .await
                .expect("it is read");
        }
        let stopping = world.network.stop(part);
        let finishing = async {
            refuses(&url).await;
            for chunk in rest.chunks(1024 * 1024) {
                sender
                    .send(Bytes::copy_from_slice(chunk))
                    .await
                    .expect("it is read");
            }
            drop(sender);
            patching.await.expect("joined").expect("the chunk is taken")
        };
        let (stopped, at) = tokio::join!(stopping, finishing);
        stopped.expect("it ends by itself");
        match part {
            Part::AppView => world.network.start_appview().await.expect("it starts again"),
            _ => world.network.start_hold().await.expect("it starts again"),
        }
        client
            .finish_upload(&at, &digest(&layer))
            .await
            .expect("finished");
        let back = client.blob(name, &digest(&layer)).await.expect("an answer");
        assert!(back.as_deref() == Some(&layer[..]), "it came back changed");
    }
}
