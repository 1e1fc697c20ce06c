//! The network's own relay, tap and collection directory follow the hold, and the appview follows them.

use std::collections::BTreeMap;

use atcr_test_support::network::{FollowerPorts, HoldDid, Part};
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, image_manifest};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;

use crate::{World, client};

const NAME: &str = "alice.test/followed";

async fn push(world: &World, tags: std::ops::Range<usize>) {
    let mut client = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
    client.authorize(NAME, "pull,push").await.expect("a token");
    let config = client.push_blob(NAME, b"{}".to_vec()).await.expect("a config");
    for tag in tags {
        let layer = format!("layer {tag}");
        let size = layer.len();
        let layer = client.push_blob(NAME, layer.into_bytes()).await.expect("a layer");
        let manifest = image_manifest((&config, 2), &[(layer, size)]);
        let tag = tag.to_string();
        let pushed = client.push_manifest(NAME, &tag, IMAGE_MANIFEST, manifest);
        pushed.await.expect("a manifest");
    }
}

async fn get(url: &str) -> Value {
    let answer = client().get(url).send().await.expect("an answer");
    answer.json().await.unwrap_or(Value::Null)
}

/// Every record of the hold, by path.
async fn records(world: &World) -> BTreeMap<String, String> {
    let hold = &world.network.file().hold;
    let described = get(&format!(
        "{}/xrpc/com.atproto.repo.describeRepo?repo={}",
        hold.url, hold.did
    ))
    .await;
    let mut records = BTreeMap::new();
    for collection in described["collections"].as_array().expect("collections") {
        let collection = collection.as_str().expect("a name");
        // The profile is of another lexicon.
        if !collection.starts_with("io.atcr.") {
            continue;
        }
        let query = format!("repo={}&collection={collection}&limit=100", hold.did);
        let page = get(&format!("{}/xrpc/com.atproto.repo.listRecords?{query}", hold.url)).await;
        for record in page["records"].as_array().expect("records") {
            let (uri, cid) = (record["uri"].as_str(), record["cid"].as_str());
            let path = uri
                .expect("a URI")
                .trim_start_matches("at://")
                .split_once('/')
                .expect("a path");
            records.insert(path.1.to_owned(), cid.expect("a CID").to_owned());
        }
    }
    records
}

/// Waits until the relay has the hold's newest commit.
async fn relayed(world: &World) {
    let file = world.network.file();
    let followers = file.followers.as_ref().expect("followers");
    let query = format!("xrpc/com.atproto.sync.getLatestCommit?did={}", file.hold.did);
    loop {
        let own = get(&format!("{}/{query}", file.hold.url)).await;
        let relayed = get(&format!("{}/{query}", followers.relay.url)).await;
        if own["cid"].is_string() && own == relayed {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_tap_and_collection_directory_have_what_the_hold_has() {
    let world = World::start_with(|options| {
        options.hold_did = HoldDid::Plc;
        options.followers = Some(FollowerPorts::free().expect("ports"));
    });
    let mut world = world.await;
    let followers = world.network.file().followers.clone().expect("followers");
    let channel = format!("{}/channel", followers.tap.url.replace("http:", "ws:"));
    let (mut channel, _) = connect_async(channel).await.expect("tap's channel");
    push(&world, 0..10).await;
    relayed(&world).await;
    world.network.stop(Part::Hold).await.expect("the hold stops");
    world.network.start_hold().await.expect("the hold starts again");
    push(&world, 10..20).await;
    relayed(&world).await;

    let expected = records(&world).await;
    assert!(expected.len() > 20, "{expected:?}");
    let mut told = BTreeMap::new();
    while told != expected {
        let message = channel.next().await.expect("a message").expect("a message");
        let message: Value = serde_json::from_slice(&message.into_data()).unwrap_or(Value::Null);
        let record = &message["record"];
        if record["did"] != world.network.file().hold.did {
            continue;
        }
        let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        let path = format!("{}/{}", text("collection"), text("rkey"));
        if !path.starts_with("io.atcr.") {
            continue;
        }
        if text("action") == "delete" {
            told.remove(&path);
        } else {
            told.insert(path, text("cid"));
        }
    }
    let hold = &world.network.file().hold.did;
    let query = "xrpc/com.atproto.sync.listReposByCollection?collection=io.atcr.hold.layer";
    loop {
        let listed = get(&format!("{}/{query}", followers.collections.url)).await;
        let repos = listed["repos"].as_array();
        if repos.is_some_and(|repos| repos.iter().any(|repo| repo["did"] == hold.as_str())) {
            break;
        }
    }
}

/// Waits until the home page, which is made from the index alone, has the image.
async fn shown(world: &World, image: &str) {
    let link = format!("href=\"/r/{image}\"");
    loop {
        let home = client().get(world.appview()).send().await;
        if let Ok(home) = home
            && home.text().await.is_ok_and(|text| text.contains(&link))
        {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_appview_finds_an_image_that_it_never_saw_being_pushed() {
    let world = World::start_with(|options| {
        options.followers = Some(FollowerPorts::free().expect("ports"));
    });
    let mut world = world.await;
    push(&world, 0..1).await;
    shown(&world, NAME).await;
    let followers = world.network.file().followers.clone().expect("followers");
    let alice = world.account("alice.test").did.clone();
    let query = "xrpc/com.atproto.sync.listReposByCollection?collection=io.atcr.manifest";
    loop {
        let listed = get(&format!("{}/{query}", followers.collections.url)).await;
        let repos = listed["repos"].as_array();
        if repos.is_some_and(|repos| repos.iter().any(|repo| repo["did"] == alice.as_str())) {
            break;
        }
    }
    // Another appview, as far as the index goes.
    world
        .network
        .stop(Part::AppView)
        .await
        .expect("the appview stops");
    let index = world.network.state().join("appview/index.db");
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(index.with_file_name(name));
    }
    world
        .network
        .start_appview()
        .await
        .expect("the appview starts again");
    shown(&world, NAME).await;

    // What somebody else's client writes comes over the relay.
    write_elsewhere(&world).await;
    shown(&world, "bob.test/elsewhere").await;
}

/// Bob writes a manifest's record at his own server.
async fn write_elsewhere(world: &World) {
    let pds = &world.network.file().pds.url;
    let (alice, bob) = (world.account("alice.test"), world.account("bob.test"));
    let query = format!(
        "xrpc/com.atproto.repo.listRecords?repo={}&collection=io.atcr.manifest",
        alice.did
    );
    let listed = get(&format!("{pds}/{query}")).await;
    let mut record = listed["records"][0]["value"].clone();
    record["repository"] = "elsewhere".into();
    // The bytes are not at his server.
    record.as_object_mut().expect("a record").remove("manifestBlob");
    let post = async |method: &str, token: Option<&str>, body: Value| {
        let request = client().post(format!("{pds}/xrpc/{method}")).json(&body);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        let answer = answer.error_for_status().expect("success");
        answer.json::<Value>().await.expect("JSON")
    };
    let body = json!({ "identifier": bob.did, "password": bob.app_password });
    let signed_in = post("com.atproto.server.createSession", None, body).await;
    let digest = record["digest"].as_str().expect("a digest");
    let rkey = digest.trim_start_matches("sha256:").to_owned();
    let body = json!({
        "repo": bob.did, "collection": "io.atcr.manifest", "rkey": rkey, "validate": false, "record": record,
    });
    let token = signed_in["accessJwt"].as_str();
    post("com.atproto.repo.createRecord", token, body).await;
}
