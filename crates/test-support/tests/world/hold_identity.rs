//! A hold whose DID is in the directory: made, moved to another URL, its key changed, its machine lost and recovered.

use std::fs;
use std::process::Command;
use std::time::Duration;

use atcr_test_support::network::{FollowerPorts, HoldDid, Part};
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, image_manifest};
use atcr_test_support::tools::Workspace;
use serde_json::Value;

use crate::{World, client, run, succeed};

const NAME: &str = "alice.test/moved";
/// How long a relay may take to hear of a commit.
const RELAY_PATIENCE: Duration = Duration::from_mins(1);

async fn push(world: &World, tag: &str) {
    let mut client = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
    client.authorize(NAME, "pull,push").await.expect("a token");
    let config = client.push_blob(NAME, b"{}".to_vec()).await.expect("a config");
    let layer = client
        .push_blob(NAME, format!("layer {tag}").into_bytes())
        .await
        .expect("a layer");
    let size = format!("layer {tag}").len();
    client
        .push_manifest(
            NAME,
            tag,
            IMAGE_MANIFEST,
            image_manifest((&config, 2), &[(layer, size)]),
        )
        .await
        .expect("a manifest");
}

async fn pull(world: &World, tag: &str) {
    let mut client = RegistryClient::anonymous(world.appview()).expect("a client");
    client.authorize(NAME, "pull").await.expect("a token");
    let manifest = client
        .manifest(NAME, tag)
        .await
        .expect("an answer")
        .expect("the tag");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let layer = manifest["layers"][0]["digest"].as_str().expect("a digest");
    let back = client.blob(NAME, layer).await.expect("an answer");
    assert_eq!(back.as_deref(), Some(format!("layer {tag}").as_bytes()));
}

/// What the directory says of the hold's DID.
async fn document(world: &World) -> Value {
    let file = world.network.file();
    let url = format!("{}/{}", file.plc.url, file.hold.did);
    let answer = client().get(url).send().await.expect("an answer");
    answer.json().await.expect("a document")
}

/// The signing key that the directory has, as a did:key.
async fn key_in_directory(world: &World) -> String {
    let file = world.network.file();
    let url = format!("{}/{}/data", file.plc.url, file.hold.did);
    let answer = client().get(url).send().await.expect("an answer");
    let data: Value = answer.json().await.expect("data");
    let key = &data["verificationMethods"]["atproto"];
    key.as_str().expect("a key").to_owned()
}

/// The reference library verifies the repository with the key in the document.
fn verify(world: &World, layers: &str) {
    let workspace = Workspace::locate().expect("the workspace");
    let file = world.network.file();
    let output = succeed(
        Command::new(workspace.node().expect("node"))
            .arg(workspace.network_folder().join("verify.mjs"))
            .arg("--lexicons")
            .arg(workspace.root().join("crates/atproto/lexicons"))
            .args(["--plc", &file.plc.url, "--hold", &file.hold.url])
            .args(["--hold-did", &file.hold.did, "--pds", &file.pds.url])
            .args(["--account", &world.account("alice.test").did])
            .args(["--expect-layers", layers]),
    );
    assert!(output.contains("verified"), "{output}");
}

fn shown(world: &World) -> Value {
    let mut command = world
        .network
        .hold_command(&["identity", "show", "--json"])
        .expect("the hold's program");
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn operate(world: &World, arguments: &[&str]) -> String {
    succeed(&mut world.network.hold_command(arguments).expect("the hold's program"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_in_the_directory_moves_changes_its_key_and_outlives_its_machine() {
    let mut world = World::start_with(|options| options.hold_did = HoldDid::Plc).await;
    let did = world.network.file().hold.did.clone();
    assert!(did.starts_with("did:plc:"), "{did}");
    push(&world, "made").await;
    pull(&world, "made").await;
    verify(&world, "1");
    assert_eq!(shown(&world)["differences"], Value::Array(Vec::new()));

    // Another URL.
    world.network.stop(Part::AppView).await.expect("stopped");
    world.network.stop(Part::Hold).await.expect("stopped");
    world.network.set_hold_host("127.0.0.1");
    world.network.start_hold().await.expect("it starts");
    world.network.start_appview().await.expect("it starts");
    assert_eq!(world.network.file().hold.did, did);
    let url = world.network.file().hold.url.clone();
    let moved = document(&world).await;
    assert_eq!(moved["service"][0]["serviceEndpoint"], url.as_str());
    assert_eq!(moved["service"][1]["serviceEndpoint"], url.as_str());
    assert_eq!(moved["alsoKnownAs"][0], url.replace("http://", "at://"));
    pull(&world, "made").await;
    push(&world, "moved").await;

    // Another key, while it runs.
    let old = key_in_directory(&world).await;
    let said = operate(&world, &["keys", "rotate"]);
    let new = key_in_directory(&world).await;
    assert_ne!(new, old);
    assert!(said.contains(&new), "{said}");
    push(&world, "rotated").await;
    verify(&world, "3");
    // And while it does not.
    world.network.stop(Part::Hold).await.expect("stopped");
    operate(&world, &["keys", "rotate"]);
    assert_ne!(key_in_directory(&world).await, new);
    world.network.start_hold().await.expect("it starts");
    push(&world, "stopped").await;
    verify(&world, "4");

    // The machine is lost. The rotation key was kept elsewhere, and so were the objects.
    world.network.kill(Part::Hold).await.expect("killed");
    let data = world.network.state().join("hold");
    let key = fs::read(data.join("rotation.key")).expect("the rotation key");
    for entry in fs::read_dir(&data).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.ends_with("objects") {
            continue;
        }
        if path.is_dir() {
            fs::remove_dir_all(path).expect("removed");
        } else {
            fs::remove_file(path).expect("removed");
        }
    }
    let refused = run(&mut world
        .network
        .hold_command(&["identity", "recover", "--did", &did])
        .expect("the hold's program"));
    assert!(
        !refused.success && refused.text.contains("rotation key"),
        "{}",
        refused.text
    );
    write_key(&data.join("rotation.key"), &key);
    let lost = key_in_directory(&world).await;
    operate(&world, &["identity", "recover", "--did", &did]);
    assert_ne!(key_in_directory(&world).await, lost);
    world.network.start_hold().await.expect("it starts");
    assert_eq!(world.network.file().hold.did, did);
    pull(&world, "rotated").await;
    push(&world, "recovered").await;
    verify(&world, "1");
    assert_eq!(shown(&world)["differences"], Value::Array(Vec::new()));
}

/// Waits until the relay has the hold's newest commit: it takes none whose signature or chain does not verify.
async fn relayed(world: &World) {
    let file = world.network.file();
    let followers = file.followers.as_ref().expect("followers");
    let newest = async |url: &str| -> Value {
        let url = format!(
            "{url}/xrpc/com.atproto.sync.getLatestCommit?did={}",
            file.hold.did
        );
        let answer = client().get(url).send().await.expect("an answer");
        answer.json().await.unwrap_or(Value::Null)
    };
    let same = async {
        loop {
            let own = newest(&file.hold.url).await;
            if own["cid"].is_string() && own == newest(&followers.relay.url).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(RELAY_PATIENCE, same)
        .await
        .expect("the relay follows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_relay_follows_the_hold_over_changes_of_its_key() {
    let mut world = World::start_with(|options| {
        options.hold_did = HoldDid::Plc;
        options.followers = Some(FollowerPorts::free().expect("ports"));
    })
    .await;
    push(&world, "before").await;
    relayed(&world).await;
    operate(&world, &["keys", "rotate"]);
    relayed(&world).await;
    push(&world, "after").await;
    relayed(&world).await;
    world.network.stop(Part::Hold).await.expect("stopped");
    operate(&world, &["keys", "rotate"]);
    world.network.start_hold().await.expect("it starts");
    push(&world, "again").await;
    relayed(&world).await;
}

fn write_key(path: &std::path::Path, key: &[u8]) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(key))
        .expect("written");
}
