//! skopeo, podman, crane and oras push and pull.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use atcr_test_support::registry_client::{IMAGE_MANIFEST, digest, image_manifest};
use atcr_test_support::tools::GoTool;

use crate::{World, run, succeed, tool};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Writes an OCI layout that holds an index of two platforms, tagged `multi`; returns the index's digest.
pub(crate) fn write_multi_arch_layout(layout: &Path) -> String {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("a folder");
    let store = |bytes: &[u8]| {
        let digest = digest(bytes);
        std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).expect("a blob");
        digest
    };
    let children: Vec<_> = ["amd64", "arm64"]
        .iter()
        .map(|architecture| {
            let layer = format!("layer of {architecture}").into_bytes();
            let config = serde_json::json!({
                "architecture": architecture, "os": "linux", "config": {},
                "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
            })
            .to_string();
            let manifest = image_manifest(
                (&store(config.as_bytes()), config.len()),
                &[(store(&layer), layer.len())],
            );
            serde_json::json!({
                "mediaType": IMAGE_MANIFEST, "digest": store(&manifest), "size": manifest.len(),
                "platform": { "architecture": architecture, "os": "linux" },
            })
        })
        .collect();
    let index =
        serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children }).to_string();
    let index_digest = store(index.as_bytes());
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("oci-layout");
    let root = serde_json::json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": INDEX, "digest": index_digest, "size": index.len(),
        "annotations": { "org.opencontainers.image.ref.name": "multi" },
    }]});
    std::fs::write(layout.join("index.json"), root.to_string()).expect("index.json");
    index_digest
}

/// Every blob of a layout, by its file name.
fn blobs(layout: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(layout.join("blobs/sha256"))
        .expect("blobs")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(path).expect("a blob"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_a_multi_arch_index_there_and_back_byte_for_byte() {
    let world = World::start().await;
    let (from, to) = (world.folder("from"), world.folder("to"));
    write_multi_arch_layout(&from);
    let remote = format!("docker://{}/alice.test/multi:1", world.registry());
    succeed(
        Command::new("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--all",
                "--preserve-digests",
                "--dest-tls-verify=false",
            ])
            .args([
                "--dest-creds",
                &world.credentials("alice.test"),
                &format!("oci:{}:multi", from.display()),
                &remote,
            ]),
    );
    // Without credentials: the hold is public.
    succeed(
        Command::new("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--all",
                "--preserve-digests",
                "--src-tls-verify=false",
            ])
            .args([&remote, &format!("oci:{}:multi", to.display())]),
    );
    assert_eq!(blobs(&from), blobs(&to));
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_crane_and_oras_push_and_pull() {
    let world = World::start().await;
    let registry = world.registry();
    let account = world.account("alice.test").clone();
    let layout = world.folder("layout");
    let index = write_multi_arch_layout(&layout);

    let home = world.folder("home");
    let crane = || {
        let mut command = tool(GoTool::CRANE);
        command.env("HOME", &home).env("DOCKER_CONFIG", &home);
        command
    };
    succeed(crane().args([
        "auth",
        "login",
        &registry,
        "-u",
        &account.handle,
        "-p",
        &account.app_password,
    ]));
    let multi = format!("{registry}/alice.test/by/crane:1");
    succeed(
        crane()
            .args(["push", "--insecure", "--index"])
            .arg(&layout)
            .arg(&multi),
    );
    // crane pushes the layout's own index.json, whose one member is the tagged index.
    let pulled = world.folder("pulled-by-crane");
    succeed(
        crane()
            .args(["pull", "--insecure", "--format", "oci", &multi])
            .arg(&pulled),
    );
    for (name, bytes) in blobs(&layout) {
        assert_eq!(blobs(&pulled).get(&name), Some(&bytes), "{name} (index {index})");
    }
    let copy = format!("{registry}/alice.test/by/crane:copied");
    succeed(crane().args(["copy", "--insecure", &multi, &copy]));
    let digest_of = |image: &str| {
        succeed(crane().args(["digest", "--insecure", image]))
            .trim()
            .to_owned()
    };
    assert_eq!(digest_of(&copy), digest_of(&multi));
    assert_eq!(
        succeed(crane().args(["ls", "--insecure", &format!("{registry}/alice.test/by/crane")])),
        "1\ncopied\n"
    );

    let oras = |folder: &Path| {
        let mut command = tool(GoTool::ORAS);
        command
            .env("HOME", &home)
            .env("DOCKER_CONFIG", &home)
            .current_dir(folder);
        command
    };
    let files = world.folder("files");
    std::fs::write(files.join("note.txt"), "an artifact\n").expect("a file");
    std::fs::write(files.join("sbom.json"), "{\"sbom\":true}\n").expect("a file");
    let artifact = format!("{registry}/alice.test/artifact:1");
    succeed(oras(&files).args(["push", "--plain-http", &artifact, "note.txt:text/plain"]));
    succeed(oras(&files).args([
        "attach",
        "--plain-http",
        "--artifact-type",
        "application/vnd.example.sbom",
        &artifact,
        "sbom.json:application/json",
    ]));
    let tree = succeed(oras(&files).args(["discover", "--plain-http", "--format", "json", &artifact]));
    assert!(
        tree.contains("application/vnd.example.sbom"),
        "the attachment is a referrer:\n{tree}"
    );
    let back = world.folder("back");
    succeed(oras(&back).args(["pull", "--plain-http", &artifact]));
    assert_eq!(
        std::fs::read(back.join("note.txt")).expect("pulled"),
        b"an artifact\n"
    );

    let storage = world.folder("podman");
    let podman = || {
        let mut command = Command::new("podman");
        command
            .args(["--root", &storage.join("root").to_string_lossy()])
            .args(["--runroot", &storage.join("run").to_string_lossy()])
            .args(["--storage-driver", "vfs"])
            .env("HOME", &home);
        command
    };
    let tar = storage.join("root.tar");
    succeed(
        Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(&files)
            .arg("note.txt"),
    );
    let image = format!("{registry}/alice.test/by/podman:1");
    succeed(podman().arg("import").arg(&tar).arg(&image));
    let credentials = world.credentials("alice.test");
    succeed(podman().args(["push", "--tls-verify=false", "--creds", &credentials, &image]));
    succeed(podman().args(["rmi", "--force", &image]));
    succeed(podman().args(["pull", "--tls-verify=false", &image]));

    let foreign = run(podman().args([
        "push",
        "--tls-verify=false",
        "--creds",
        &credentials,
        &image,
        &format!("{registry}/bob.test/app:1"),
    ]));
    assert!(
        !foreign.success && foreign.text.contains("403"),
        "{}",
        foreign.text
    );
}
