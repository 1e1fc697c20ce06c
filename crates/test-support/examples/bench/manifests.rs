//! Small things: the registry's own share of a small push, and manifests by digest.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use atcr_test_support::network::{HoldStorage, Network};
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, image_manifest};
use atcr_test_support::tools::{Workspace, require_commands};
use serde_json::json;

use super::{median, network, pusher};

const NAME: &str = "alice.test/small";
const IMAGES: u32 = 40;

/// A 1 MB image (one layer, config, manifest) again and again: its time less what the PDS takes to write a blob and a
/// commit of the same size, and less what the disk takes to write and flush the same objects.
pub(crate) async fn small_image(workspace: &Workspace, folder: &Path) -> Result<()> {
    let network = network(workspace, folder, HoldStorage::Filesystem).await?;
    let client = pusher(&network, NAME).await?;
    let pds = PdsWriter::new(&network).await?;
    let (mut total, mut pds_time, mut disk_time, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for count in 0..IMAGES {
        let layer = format!("{count:08}").into_bytes().repeat(125_000);
        let config = format!("{{\"count\":{count}}}").into_bytes();
        let (layer_size, config_size) = (layer.len(), config.len());

        let started = Instant::now();
        write_flushed(&folder.join("raw-layer"), &layer)?;
        write_flushed(&folder.join("raw-config"), &config)?;
        let disk = started.elapsed().as_secs_f64() * 1e3;

        let started = Instant::now();
        let config = client.push_blob(NAME, config).await?;
        let layer = client.push_blob(NAME, layer).await?;
        let manifest = image_manifest((&config, config_size), &[(layer, layer_size)]);
        client
            .push_manifest(NAME, &format!("v{count}"), IMAGE_MANIFEST, manifest.clone())
            .await?;
        let whole = started.elapsed().as_secs_f64() * 1e3;

        let pds = pds.write(count, &manifest).await?;
        own.push(whole - pds - disk);
        total.push(whole);
        pds_time.push(pds);
        disk_time.push(disk);
    }
    println!(
        "1 MB image, p50 of {IMAGES}: {:.0} ms; the PDS's writes {:.0} ms; the raw object writes {:.0} ms; the rest {:.0} ms",
        median(&mut total)?,
        median(&mut pds_time)?,
        median(&mut disk_time)?,
        median(&mut own)?
    );
    network.stop_all().await
}

fn write_flushed(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}

/// What a push asks of the PDS, asked directly: one blob, one commit with two records.
struct PdsWriter {
    http: reqwest::Client,
    url: String,
    did: String,
    token: String,
}

impl PdsWriter {
    async fn new(network: &Network) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let file = network.file();
        let alice = file.account("alice.test")?;
        let session: serde_json::Value = http
            .post(format!("{}/xrpc/com.atproto.server.createSession", file.pds.url))
            .json(&json!({ "identifier": alice.handle, "password": alice.app_password }))
            .send()
            .await?
            .json()
            .await?;
        let token = session["accessJwt"].as_str().context("no session")?.to_owned();
        Ok(Self {
            http,
            url: file.pds.url.clone(),
            did: alice.did.clone(),
            token,
        })
    }

    /// Milliseconds.
    async fn write(&self, count: u32, manifest: &[u8]) -> Result<f64> {
        let mut bytes = manifest.to_vec();
        bytes.push(b'\n');
        let started = Instant::now();
        let blob: serde_json::Value = self
            .http
            .post(format!("{}/xrpc/com.atproto.repo.uploadBlob", self.url))
            .bearer_auth(&self.token)
            .header("content-type", IMAGE_MANIFEST)
            .body(bytes)
            .send()
            .await?
            .json()
            .await?;
        let create = |collection: &str, key: String, value: serde_json::Value| json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": collection, "rkey": key, "value": value });
        let writes = [
            create(
                "com.example.manifest",
                format!("raw-{count}"),
                json!({
                    "$type": "com.example.manifest", "manifestBlob": blob["blob"], "createdAt": "2026-01-01T00:00:00Z",
                }),
            ),
            create(
                "com.example.tag",
                format!("raw-{count}"),
                json!({ "$type": "com.example.tag", "tag": "v" }),
            ),
        ];
        let answer = self
            .http
            .post(format!("{}/xrpc/com.atproto.repo.applyWrites", self.url))
            .bearer_auth(&self.token)
            .json(&json!({ "repo": self.did, "validate": false, "writes": writes }))
            .send()
            .await?;
        ensure!(
            answer.status().is_success(),
            "the PDS refused: {}",
            answer.text().await?
        );
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }
}

/// GET of one manifest by digest, as fast as wrk can ask on one of the cores.
pub(crate) async fn warm_get(workspace: &Workspace, folder: &Path) -> Result<()> {
    require_commands(&["wrk"], &mut |line| println!("{line}"))?;
    let network = network(workspace, folder, HoldStorage::Filesystem).await?;
    let client = pusher(&network, NAME).await?;
    let config = client.push_blob(NAME, b"{}".to_vec()).await?;
    let digest = client
        .push_manifest(NAME, "1", IMAGE_MANIFEST, image_manifest((&config, 2), &[]))
        .await?;
    let mut anonymous = RegistryClient::anonymous(&network.file().appview.url)?;
    anonymous.authorize(NAME, "pull").await?;
    let request = anonymous
        .request(reqwest::Method::GET, &format!("/v2/{NAME}/manifests/{digest}"))
        .build()?;
    let authorization = request
        .headers()
        .get("authorization")
        .context("no token")?
        .to_str()?
        .to_owned();
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", "32", "--duration", "10s"])
        .args(["--header", &format!("Authorization: {authorization}")])
        .arg(request.url().as_str())
        .output()?;
    ensure!(output.status.success(), "wrk failed");
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx"), "not every answer was 200:\n{text}");
    let rate = text
        .lines()
        .find(|line| line.starts_with("Requests/sec"))
        .context("wrk printed no rate")?;
    println!("manifest GET by digest, warm: {}", rate.trim());
    network.stop_all().await
}
