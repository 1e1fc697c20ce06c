//! `demo`: a real image goes in, its record and its objects are looked at, it comes out equal.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use atcr_test_support::docker_engine::Engine;
use atcr_test_support::network::{Account, NetworkFile};
use atcr_test_support::tools::{Workspace, require_commands};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::progress::{Step, say};
use crate::up::{self, UpArguments};

/// Brings the network up, pushes and pulls an image, compares every digest, stops the network.
pub(crate) async fn demo(arguments: UpArguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    let state = workspace.root().join(&arguments.state.state);
    let running = NetworkFile::read(&state)?;
    let network = match running {
        Some(_) => None,
        None => Some(up::start(&workspace, &arguments).await?),
    };
    let file = NetworkFile::read(&state)?.context("the network wrote no network.json")?;
    let outcome = walk(&file, &state).await;
    if let Some(network) = network {
        network.stop_all().await?;
    }
    outcome
}

async fn walk(file: &NetworkFile, state: &Path) -> Result<()> {
    let alice = file.account("alice.test")?;
    let registry = file.appview.url.trim_start_matches("http://").to_owned();
    let image = format!("{registry}/{}/demo:1", alice.handle);
    let work = state.join("demo");
    std::fs::create_dir_all(&work)?;

    let (pushed, pulled) = match Engine::find_or_start(&state.join("docker"), &mut |line| say(line))? {
        Some(engine) => with_docker(&engine, &registry, &image, alice, &work)?,
        None => with_skopeo(&image, alice, &work)?,
    };

    let record = record_of(file, alice, "demo", &pushed).await?;
    println!("\n  {}", record.uri);
    println!("  {:<10} {}", "pushed", pushed);
    println!("  {:<10} {}", "recorded", record.value.digest);
    println!("  {:<10} {}", "pulled", pulled);
    ensure!(
        pushed == record.value.digest && pushed == pulled,
        "the manifest digests differ"
    );

    println!(
        "\n  objects behind {} (named in the record → hashed from the store)",
        file.hold.did
    );
    for blob in record.value.config.iter().chain(&record.value.layers) {
        let stored = hash_object(file, alice, &blob.digest).await?;
        println!("  {:>8} B  {}\n           →  {stored}", blob.size, blob.digest);
        ensure!(stored == blob.digest, "the object differs from its name");
    }
    println!("\nEvery digest is equal.");
    Ok(())
}

/// Builds a three-layer image from nothing, pushes it, removes it, pulls it. The two digests are the engine's own.
fn with_docker(
    engine: &Engine,
    registry: &str,
    image: &str,
    alice: &Account,
    work: &Path,
) -> Result<(String, String)> {
    for (name, text) in [
        ("one", "first layer\n"),
        ("two", "second layer\n"),
        ("three", "third layer\n"),
    ] {
        std::fs::write(work.join(name), text)?;
    }
    std::fs::write(
        work.join("Dockerfile"),
        "FROM scratch\nCOPY one /\nCOPY two /\nCOPY three /\nCMD [\"/one\"]\n",
    )?;
    let folder = work.to_string_lossy();

    let step = Step::begin("docker build");
    engine.run(&["build", "--tag", image, &folder])?;
    step.done();
    let step = Step::begin("docker login");
    engine.run(&[
        "login",
        registry,
        "--username",
        &alice.handle,
        "--password",
        &alice.app_password,
    ])?;
    step.done();
    let step = Step::begin(format!("docker push {image}"));
    engine.run(&["push", image])?;
    let pushed = repo_digest(engine, image)?;
    step.done_with(&pushed);
    engine.run(&["rmi", "--force", image])?;
    let step = Step::begin(format!("docker pull {image}"));
    engine.run(&["pull", image])?;
    let pulled = repo_digest(engine, image)?;
    step.done_with(&pulled);
    Ok((pushed, pulled))
}

fn repo_digest(engine: &Engine, image: &str) -> Result<String> {
    let text = engine.run(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", image])?;
    let (_, digest) = text
        .trim()
        .split_once('@')
        .context("docker knows no digest of the image")?;
    Ok(digest.to_owned())
}

/// The same with skopeo, where no engine can run.
fn with_skopeo(image: &str, alice: &Account, work: &Path) -> Result<(String, String)> {
    require_commands(&["skopeo", "tar"], &mut |line| say(line))?;
    let layout = work.join("layout");
    write_layout(work, &layout)?;
    let credentials = format!("{}:{}", alice.handle, alice.app_password);
    let remote = format!("docker://{image}");
    let source = format!("oci:{}:demo", layout.display());
    let copy = format!("oci:{}:demo", work.join("pulled").display());

    let step = Step::begin(format!("skopeo copy to {image}"));
    skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        &credentials,
        &source,
        &remote,
    ])?;
    let pushed = skopeo(&["inspect", "--format", "{{.Digest}}", &source])?;
    step.done_with(&pushed);
    let step = Step::begin(format!("skopeo copy from {image}"));
    skopeo(&["copy", "--src-tls-verify=false", &remote, &copy])?;
    let pulled = skopeo(&["inspect", "--format", "{{.Digest}}", &copy])?;
    step.done_with(&pulled);
    Ok((pushed, pulled))
}

fn skopeo(arguments: &[&str]) -> Result<String> {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(arguments)
        .output()?;
    if !output.status.success() {
        bail!(
            "skopeo {} failed: {}",
            arguments[0],
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Writes an OCI image layout with one layer.
fn write_layout(work: &Path, layout: &Path) -> Result<()> {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    std::fs::write(work.join("hello"), "hello\n")?;
    let output = Command::new("tar")
        .args(["-cf", "-", "hello"])
        .current_dir(work)
        .output()?;
    ensure!(output.status.success(), "tar failed");
    let store = |bytes: &[u8]| -> Result<String> {
        let hex = hex_sha256(bytes);
        std::fs::write(blobs.join(&hex), bytes)?;
        Ok(format!("sha256:{hex}"))
    };
    let layer = store(&output.stdout)?;
    let config = serde_json::to_vec(&serde_json::json!({
        "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [layer] }, "config": {},
    }))?;
    let config_digest = store(&config)?;
    let manifest = serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len() },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": output.stdout.len() }],
    }))?;
    let manifest_digest = store(&manifest)?;
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest_digest, "size": manifest.len(),
        "annotations": { "org.opencontainers.image.ref.name": "demo" },
    }]});
    std::fs::write(layout.join("index.json"), serde_json::to_vec(&index)?)?;
    Ok(())
}

#[derive(Deserialize)]
struct Record {
    uri: String,
    value: Manifest,
}

#[derive(Deserialize)]
struct Manifest {
    digest: String,
    repository: String,
    config: Option<Blob>,
    #[serde(default)]
    layers: Vec<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    digest: String,
    size: u64,
}

/// The manifest's record, as the PDS hands it to anybody.
async fn record_of(file: &NetworkFile, alice: &Account, repository: &str, digest: &str) -> Result<Record> {
    let hex = digest.trim_start_matches("sha256:");
    let answer = client()?
        .get(format!("{}/xrpc/com.atproto.repo.getRecord", file.pds.url))
        .query(&[
            ("repo", alice.did.as_str()),
            ("collection", "io.atcr.manifest"),
            ("rkey", hex),
        ])
        .send()
        .await?;
    ensure!(
        answer.status().is_success(),
        "the PDS has no record of the manifest"
    );
    let record: Record = answer.json().await?;
    ensure!(
        record.value.repository == repository,
        "the record names another repository"
    );
    Ok(record)
}

/// The digest of what the hold hands out under `digest`.
async fn hash_object(file: &NetworkFile, alice: &Account, digest: &str) -> Result<String> {
    let mut answer = client()?
        .get(format!("{}/xrpc/com.atproto.sync.getBlob", file.hold.url))
        .query(&[("did", alice.did.as_str()), ("cid", digest)])
        .send()
        .await?;
    ensure!(answer.status().is_success(), "the hold has no blob {digest}");
    let mut hasher = Sha256::new();
    while let Some(chunk) = answer.chunk().await? {
        hasher.update(&chunk);
    }
    Ok(format!("sha256:{}", hex(&hasher.finalize())))
}

fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

fn hex_sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
