//! The reference implementation's own tools accept what the hold and the appview wrote.

use std::process::Command;

use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, image_manifest};
use atcr_test_support::tools::Workspace;

use crate::{World, succeed};

const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_tools_verify_the_holds_repository_and_every_record() {
    let world = World::start().await;
    let name = "alice.test/checked";
    let mut client = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
    client.authorize(name, "pull,push").await.expect("a token");
    let config = client.push_blob(name, b"{}".to_vec()).await.expect("a config");
    for tag in ["1", "2"] {
        let layer = client
            .push_blob(name, format!("layer {tag}").into_bytes())
            .await
            .expect("a layer");
        let manifest = image_manifest((&config, 2), &[(layer, 7)]);
        client
            .push_manifest(name, tag, IMAGE_MANIFEST, manifest)
            .await
            .expect("a manifest");
    }
    // An index with all that its record may restate, and what the record has to leave out.
    let child = image_manifest((&config, 2), &[]);
    let child_size = child.len();
    let child = client
        .push_manifest(name, "child", IMAGE_MANIFEST, child)
        .await
        .expect("a child");
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_INDEX,
        "artifactType": "application/vnd.example+type",
        "subject": { "mediaType": IMAGE_MANIFEST, "digest": child, "size": child_size },
        "annotations": { "org.opencontainers.image.title": "all", "$link": "none" },
        "manifests": [
            {
                "mediaType": IMAGE_MANIFEST, "digest": child, "size": child_size,
                "platform": {
                    "os": "windows", "architecture": "arm", "variant": "v7", "os.version": "1".repeat(65),
                    "os.features": ["win32k"],
                },
            },
            {
                "mediaType": format!("{IMAGE_MANIFEST};{}", "x".repeat(200)), "digest": child, "size": child_size,
                "urls": ["https://example.com/child"],
                "platform": { "os": "o".repeat(33), "architecture": "arm" },
            },
        ],
    });
    client
        .push_manifest(name, "index", IMAGE_INDEX, index.to_string().into_bytes())
        .await
        .expect("an index");
    let workspace = Workspace::locate().expect("the workspace");
    let file = world.network.file();
    let output = succeed(
        Command::new(workspace.node().expect("node"))
            .arg(workspace.network_folder().join("verify.mjs"))
            .args([
                "--lexicons",
                &workspace.root().join("crates/atproto/lexicons").to_string_lossy(),
            ])
            .args([
                "--plc",
                &file.plc.url,
                "--hold",
                &file.hold.url,
                "--hold-did",
                &file.hold.did,
            ])
            .args([
                "--pds",
                &file.pds.url,
                "--account",
                &world.account("alice.test").did,
            ])
            .args(["--expect-layers", "2"]),
    );
    assert!(output.contains("verified"), "{output}");
}
