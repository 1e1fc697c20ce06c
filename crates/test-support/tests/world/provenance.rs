//! An image is provable from its author's own server, with our tools and with the reference implementation's, and no longer once the
//! record changes.

use std::collections::BTreeMap;
use std::process::Command;

use atcr_test_support::network::Part;
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, image_manifest};
use atcr_test_support::tools::Workspace;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::clients::write_multi_arch_layout;
use crate::sign_in::Helper;
use crate::{World, client, succeed};

/// How many images two verifiers must agree on; by hand 1,000.
const IMAGES: &str = "ATCR_PROVEN_IMAGES";

/// `verify --json` with `arguments`: the exit code and what it says.
fn verify(world: &World, helper: &Helper, arguments: &[&str]) -> (i32, Value) {
    let file = world.network.file();
    let output = helper
        .command()
        .args(["verify", "--json", "--local"])
        .args([
            "--plc-directory-url",
            &file.plc.url,
            "--handle-resolver-url",
            &file.pds.url,
        ])
        .args(arguments)
        .output()
        .expect("the helper");
    let said = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap_or(-1), said)
}

/// Makes `change` to the record of the manifest with this hash, as another client of the account would.
async fn change_record(world: &World, handle: &str, hash: &str, change: impl FnOnce(&mut Value)) {
    let (pds, account) = (&world.network.file().pds.url, world.account(handle));
    let session: Value = client()
        .post(format!("{pds}/xrpc/com.atproto.server.createSession"))
        .json(&json!({ "identifier": account.handle, "password": account.password }))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("a session");
    let query = [
        ("repo", account.did.as_str()),
        ("collection", "io.atcr.manifest"),
        ("rkey", hash),
    ];
    let found: Value = client()
        .get(format!("{pds}/xrpc/com.atproto.repo.getRecord"))
        .query(&query)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("a record");
    let mut record = found["value"].clone();
    change(&mut record);
    let written = client()
        .post(format!("{pds}/xrpc/com.atproto.repo.putRecord"))
        .bearer_auth(session["accessJwt"].as_str().expect("a token"))
        .json(&json!({
            "repo": account.did, "collection": "io.atcr.manifest", "rkey": hash, "record": record, "validate": false,
        }))
        .send()
        .await
        .expect("an answer");
    assert!(written.status().is_success(), "{:?}", written.text().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_pushed_is_proven_until_its_record_changes() {
    let mut world = World::start().await;
    let (registry, helper) = (world.registry(), Helper::new(&world));
    let layout = world.folder("layout");
    let digest = write_multi_arch_layout(&layout);
    succeed(
        Command::new("skopeo")
            .args([
                "copy",
                "--all",
                "--preserve-digests",
                "--dest-tls-verify=false",
                "--dest-creds",
            ])
            .arg(world.credentials("alice.test"))
            .arg(format!("oci:{}:multi", layout.display()))
            .arg(format!("docker://{registry}/alice.test/tools/app:1.4")),
    );
    let image = format!("{registry}/alice.test/tools/app:1.4");
    let kept = world.folder("kept").join("app.proof").display().to_string();
    let (code, said) = verify(&world, &helper, &[&image, "--layers", "--save-proof", &kept]);
    assert_eq!((code, said["verdict"].as_str()), (0, Some("proven")), "{said}");
    assert_eq!(said["digest"].as_str(), Some(digest.as_str()));
    assert_eq!(said["handle"].as_str(), Some("alice.test"));
    // An index, two images, two configurations, two layers; the index itself is from the account's server.
    assert_eq!(said["hashed"]["count"], 6, "{said}");
    let rev = said["manifest"]["rev"].as_str().expect("a revision").to_owned();
    let by_did = format!("{}/tools/app:1.4", said["did"].as_str().expect("a DID"));

    // The page says the same, late.
    let browser = Browser::start(&world.folder("browser"), &[]).await;
    browser
        .open(&format!("{}/r/alice.test/tools/app:1.4", world.appview()))
        .await;
    browser.press("Check now").await;
    browser.wait_for_text("Signed by the account of alice.test").await;
    browser.wait_for_text(said["key"].as_str().expect("a key")).await;
    browser.wait_for("#proof [data-copy]:not([hidden])").await;
    assert!(browser.url().await.ends_with("/r/alice.test/tools/app:1.4"));

    let hash = digest.trim_start_matches("sha256:");
    let other = format!("sha256:{}", "0".repeat(64));
    change_record(&world, "alice.test", hash, |record| {
        record["digest"] = json!(other);
    })
    .await;
    let (code, said) = verify(&world, &helper, &[&image]);
    assert_eq!(
        (code, said["code"].as_str()),
        (3, Some("another_image")),
        "{said}"
    );

    // The file proves what was, to somebody without network, by the operations of the DID; not to one who asks for newer.
    world.network.stop(Part::AtProtocol).await.expect("the PDS stops");
    // A file proves no handle: it is asked for by DID.
    let (code, said) = verify(&world, &helper, &["--proof", &kept, &by_did]);
    assert_eq!(
        (code, said["key_believed_by"].as_str()),
        (0, Some("operations")),
        "{said}"
    );
    let (code, said) = verify(&world, &helper, &["--proof", &kept, &image]);
    assert_eq!(
        (code, said["code"].as_str()),
        (3, Some("handle_not_proven")),
        "{said}"
    );
    let newer = "jzzzzzzzzzzzz";
    assert!(rev.as_str() < newer);
    let (code, said) = verify(&world, &helper, &["--proof", &kept, "--not-before", newer]);
    assert_eq!(
        (code, said["code"].as_str()),
        (3, Some("older_revision")),
        "{said}"
    );
    let (code, said) = verify(&world, &helper, &[&image]);
    assert_eq!((code, said["verdict"].as_str()), (1, Some("unchecked")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_implementation_proves_the_same_images() {
    let world = World::start().await;
    let helper = Helper::new(&world);
    let images: usize = std::env::var(IMAGES).map_or(4, |text| text.parse().expect("a number"));
    let name = "alice.test/proven";
    let mut registry = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
    registry.authorize(name, "pull,push").await.expect("a token");
    let config = registry.push_blob(name, b"{}".to_vec()).await.expect("a config");
    for number in 0..images {
        // A token lives for minutes only.
        if number % 200 == 199 {
            registry.authorize(name, "pull,push").await.expect("a token");
        }
        let layer = format!("layer {number}").into_bytes();
        let size = layer.len();
        let layer = registry.push_blob(name, layer).await.expect("a layer");
        let manifest = image_manifest((&config, 2), &[(layer, size)]);
        registry
            .push_manifest(name, &number.to_string(), IMAGE_MANIFEST, manifest)
            .await
            .expect("a manifest");
    }
    // One of them is not what its record says.
    let tags: Vec<String> = (0..images).map(|number| number.to_string()).collect();
    let image = |tag: &str| format!("{}/{name}:{tag}", world.registry());
    let (_, first) = verify(&world, &helper, &[&image(&tags[0])]);
    let spoiled = first["digest"].as_str().expect("a digest").to_owned();
    let hash = spoiled.trim_start_matches("sha256:").to_owned();
    let (_, second) = verify(&world, &helper, &[&image(&tags[1])]);
    let other = second["digest"].clone();
    change_record(&world, "alice.test", &hash, |record| {
        record["digest"] = other;
    })
    .await;

    let workspace = Workspace::locate().expect("the workspace");
    let file = world.network.file();
    let printed = succeed(
        Command::new(workspace.node().expect("node"))
            .arg(workspace.network_folder().join("prove.mjs"))
            .args(["--plc", &file.plc.url, "--pds", &file.pds.url])
            .args(["--account", &world.account("alice.test").did]),
    );
    let lines = printed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let theirs: BTreeMap<String, Value> = lines
        .map(|line| (line["rkey"].as_str().expect("a key").to_owned(), line))
        .collect();
    assert_eq!(theirs.len(), images);
    for tag in &tags {
        let (code, ours) = verify(&world, &helper, &[&image(tag)]);
        if *tag == tags[0] {
            assert_eq!((code, ours["verdict"].as_str()), (3, Some("refused")), "{ours}");
            assert_eq!(
                theirs[&hash]["refused"].as_str(),
                Some("the bytes do not hash to the digest")
            );
            continue;
        }
        assert_eq!(code, 0, "{ours}");
        let digest = ours["digest"].as_str().expect("a digest");
        let line = &theirs[digest.trim_start_matches("sha256:")];
        assert_eq!(
            (&ours["digest"], &ours["manifest"]["cid"], &ours["key"]),
            (&line["digest"], &line["cid"], &line["key"]),
            "{line}"
        );
    }
}
