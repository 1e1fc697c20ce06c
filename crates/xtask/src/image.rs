//! A real image: pushed and pulled again with a Docker engine, or with skopeo where none can run.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use atcr_test_support::docker_engine::Engine;
use atcr_test_support::network::Account;
use atcr_test_support::tools::{Need, can_install_packages, require_commands};
use sha2::{Digest as _, Sha256};

use crate::progress::{Step, say};

/// The manifest's digest as the client knows it after its push, and after its pull.
pub(crate) struct Digests {
    pub(crate) pushed: String,
    pub(crate) pulled: String,
}

/// A Docker engine, where one can be installed; elsewhere the image goes by skopeo.
pub(crate) fn engine_needs() -> &'static [Need] {
    if can_install_packages() {
        &[Need::Commands(&["docker", "dockerd", "containerd", "runc"])]
    } else {
        &[]
    }
}

/// Pushes an image to `registry` as `account`, forgets it, pulls it. `folder` is for the engine's state and the image.
pub(crate) fn push_and_pull(registry: &str, account: &Account, folder: &Path) -> Result<Digests> {
    let image = format!("{registry}/{}/demo:1", account.handle);
    let work = folder.join("demo");
    std::fs::create_dir_all(&work)?;
    match Engine::find_or_start(&folder.join("docker"), &mut |line| say(line))? {
        Some(engine) => with_docker(&engine, registry, &image, account, &work),
        None => with_skopeo(&image, account, &work),
    }
}

/// Builds a three-layer image from nothing, pushes it, removes it, pulls it. The two digests are the engine's own.
fn with_docker(
    engine: &Engine,
    registry: &str,
    image: &str,
    alice: &Account,
    work: &Path,
) -> Result<Digests> {
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
    engine.login(registry, &alice.handle, &alice.app_password)?;
    step.done();
    let step = Step::begin(format!("docker push {image}"));
    engine.run(&["push", image])?;
    let pushed = repo_digest(engine, image)?;
    step.done();
    engine.run(&["rmi", "--force", image])?;
    let step = Step::begin(format!("docker pull {image}"));
    engine.run(&["pull", image])?;
    let pulled = repo_digest(engine, image)?;
    step.done();
    Ok(Digests { pushed, pulled })
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
fn with_skopeo(image: &str, alice: &Account, work: &Path) -> Result<Digests> {
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
    step.done();
    let step = Step::begin(format!("skopeo copy from {image}"));
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--src-creds",
        &credentials,
        &remote,
        &copy,
    ])?;
    let pulled = skopeo(&["inspect", "--format", "{{.Digest}}", &copy])?;
    step.done();
    Ok(Digests { pushed, pulled })
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

/// The digest of `bytes`, in hexadecimal digits.
fn hex_sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}
