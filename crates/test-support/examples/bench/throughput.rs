//! One layer through the appview, beside the same bytes without us.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use atcr_test_support::network::{HoldStorage, Network, S3Storage};
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, image_manifest};
use atcr_test_support::tools::Workspace;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::content::Layer;
use super::processor::ProcessorTime;
use super::{median, network, pusher, versitygw};

const MIB: u64 = 1024 * 1024;
const NAME: &str = "alice.test/bench";

/// Before each measurement nothing is written for as long: a disk that saves up credit has as much for either, and a virtual machine
/// gives memory of deleted files back to its host, which either then gets from there again.
const REST: Duration = Duration::from_secs(8);

/// Pushes a layer to the filesystem store and pulls it, beside `dd … conv=fdatasync` on the same disk. The files of both stay until
/// the end: a file written to the memory of one just deleted is a different thing to measure.
pub(crate) async fn filesystem(workspace: &Workspace, folder: &Path, mib: u64, runs: usize) -> Result<()> {
    let network = network(workspace, folder, HoldStorage::Filesystem).await?;
    let client = pusher(&network, NAME).await?;
    let (mut raw, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let before = ProcessorTime::of(&network)?;
    for run in 1..=runs {
        let layer = Layer::new(run as u64, mib * MIB);
        let digest = layer.digest();
        tokio::time::sleep(REST).await;
        let copied = dd(&folder.join(format!("dd-{run}")), mib)?;
        tokio::time::sleep(REST).await;
        let pushed = push_as(&client, layer, &digest).await?;
        println!(
            "  push {pushed:.0} MiB/s, dd {copied:.0} MiB/s: {:.2}",
            pushed / copied
        );
        ratios.push(pushed / copied);
        raw.push(copied);
        ours.push(pushed);
    }
    let used = ProcessorTime::of(&network)?.since(&before);
    let (raw, ours) = (median(&mut raw)?, median(&mut ours)?);
    println!(
        "filesystem push: {ours:.0} MiB/s; dd conv=fdatasync: {raw:.0} MiB/s; median ratio {:.2}",
        median(&mut ratios)?
    );
    println!(
        "processor time per GiB pushed: {}",
        used.per_gib(runs as u64 * mib)
    );

    let layer = Layer::new(1, mib * MIB);
    publish(&client, layer).await?;
    let mut rates = Vec::new();
    for _ in 0..runs.max(3) {
        rates.push(pull(&client, &layer.digest(), layer.size()).await?);
    }
    println!(
        "filesystem pull, page cache, through the redirect: {:.0} MB/s",
        median(&mut rates)? * MIB as f64 / 1e6
    );
    network.stop_all().await
}

/// Pushes a layer to versitygw and pulls it, beside a client that does the same S3 operations itself.
pub(crate) async fn s3(workspace: &Workspace, folder: &Path, mib: u64, runs: usize) -> Result<()> {
    let (gateway, storage) = versitygw(workspace, folder).await?;
    let bucket = storage.bucket.clone();
    let raw_client = raw_client(&storage);
    let network = network(workspace, folder, HoldStorage::S3(storage)).await?;
    let client = pusher(&network, NAME).await?;
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    let mut last = None;
    for run in 0..runs {
        raw.push(raw_push(&raw_client, &bucket, Layer::new(run as u64 + 101, mib * MIB)).await?);
        let layer = Layer::new(run as u64 + 1, mib * MIB);
        ours.push(push(&client, layer).await?);
        last = Some(layer);
    }
    let (raw, ours) = (median(&mut raw)?, median(&mut ours)?);
    println!(
        "S3 push: {ours:.0} MiB/s; raw client, same operations: {raw:.0} MiB/s; ratio {:.2}",
        ours / raw
    );

    let layer = last.context("no run")?;
    publish(&client, layer).await?;
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..runs.max(3) {
        raw.push(raw_pull(&raw_client, &bucket, "raw/final").await?);
        ours.push(pull(&client, &layer.digest(), layer.size()).await?);
    }
    let (raw, ours) = (median(&mut raw)?, median(&mut ours)?);
    println!(
        "S3 pull: {ours:.0} MiB/s; raw GET: {raw:.0} MiB/s; ratio {:.2}",
        ours / raw
    );
    network.stop_all().await?;
    gateway.stop().await
}

/// A push as docker does it (POST, one chunked PATCH, PUT), in MiB/s.
pub(crate) async fn push(client: &RegistryClient, layer: Layer) -> Result<f64> {
    push_as(client, layer, &layer.digest()).await
}

async fn push_as(client: &RegistryClient, layer: Layer, digest: &str) -> Result<f64> {
    let started = Instant::now();
    let at = client.start_upload(NAME).await?;
    let at = client
        .patch_upload(&at, reqwest::Body::wrap_stream(layer.stream()))
        .await?;
    client.finish_upload(&at, digest).await?;
    Ok(layer.size() as f64 / MIB as f64 / started.elapsed().as_secs_f64())
}

/// Names the layer in a manifest, as a layer that is pulled is.
async fn publish(client: &RegistryClient, layer: Layer) -> Result<()> {
    let config = client.push_blob(NAME, b"{}".to_vec()).await?;
    let size = usize::try_from(layer.size())?;
    let manifest = image_manifest((&config, 2), &[(layer.digest(), size)]);
    client.push_manifest(NAME, "1", IMAGE_MANIFEST, manifest).await?;
    Ok(())
}

/// A pull through the redirect, in MiB/s; the bytes are counted, not hashed.
async fn pull(client: &RegistryClient, digest: &str, size: u64) -> Result<f64> {
    let started = Instant::now();
    let answer = client
        .request(reqwest::Method::GET, &format!("/v2/{NAME}/blobs/{digest}"))
        .send()
        .await?;
    ensure!(
        answer.status().is_success(),
        "the pull was answered {}",
        answer.status()
    );
    let received = count(answer).await?;
    ensure!(received == size, "{received} bytes came of {size}");
    Ok(size as f64 / MIB as f64 / started.elapsed().as_secs_f64())
}

async fn count(answer: reqwest::Response) -> Result<u64> {
    let mut body = answer.bytes_stream();
    let mut received = 0;
    while let Some(chunk) = body.try_next().await? {
        received += chunk.len() as u64;
    }
    Ok(received)
}

fn dd(file: &Path, mib: u64) -> Result<f64> {
    let started = Instant::now();
    let output = Command::new("dd")
        .args([
            "if=/dev/zero",
            "bs=1M",
            &format!("count={mib}"),
            "conv=fdatasync",
            &format!("of={}", file.display()),
        ])
        .output()?;
    let elapsed = started.elapsed().as_secs_f64();
    ensure!(output.status.success(), "dd failed");
    Ok(mib as f64 / elapsed)
}

fn raw_client(storage: &S3Storage) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&storage.endpoint)
        .region(Region::new(storage.region.clone()))
        .credentials_provider(Credentials::new(
            &storage.access_key,
            &storage.secret_key,
            None,
            None,
            "bench",
        ))
        .force_path_style(true)
        .request_checksum_calculation(aws_sdk_s3::config::RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(aws_sdk_s3::config::ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}

/// Parts of 16 MiB, two at a time, complete, copy to a final key, delete: what a push through the hold makes S3 do.
async fn raw_push(client: &Client, bucket: &str, layer: Layer) -> Result<f64> {
    const PART: u64 = 16 * MIB;
    let started = Instant::now();
    let created = client
        .create_multipart_upload()
        .bucket(bucket)
        .key("raw/temporary")
        .send()
        .await?;
    let upload = created.upload_id().context("no upload id")?;
    let parts: Vec<CompletedPart> = stream::iter(0..layer.size().div_ceil(PART))
        .map(|index| async move {
            let number = i32::try_from(index + 1)?;
            let body = ByteStream::from(layer.part(index * PART, PART));
            let sent = client
                .upload_part()
                .bucket(bucket)
                .key("raw/temporary")
                .upload_id(upload)
                .part_number(number)
                .body(body)
                .send()
                .await?;
            let tag = sent.e_tag().context("no ETag")?;
            anyhow::Ok(CompletedPart::builder().part_number(number).e_tag(tag).build())
        })
        .buffered(2)
        .try_collect()
        .await?;
    client
        .complete_multipart_upload()
        .bucket(bucket)
        .key("raw/temporary")
        .upload_id(upload)
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
        .send()
        .await?;
    let source = format!("{bucket}/raw/temporary");
    client
        .copy_object()
        .bucket(bucket)
        .key("raw/final")
        .copy_source(source)
        .send()
        .await?;
    client
        .delete_object()
        .bucket(bucket)
        .key("raw/temporary")
        .send()
        .await?;
    Ok(layer.size() as f64 / MIB as f64 / started.elapsed().as_secs_f64())
}

async fn raw_pull(client: &Client, bucket: &str, key: &str) -> Result<f64> {
    let presigning =
        aws_sdk_s3::presigning::PresigningConfig::expires_in(std::time::Duration::from_mins(15))?;
    let url = client
        .get_object()
        .bucket(bucket)
        .key(key)
        .presigned(presigning)
        .await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let started = Instant::now();
    let received = count(http.get(url.uri()).send().await?).await?;
    Ok(received as f64 / MIB as f64 / started.elapsed().as_secs_f64())
}

/// Networks of the other figures push to the same name.
pub(crate) async fn ready(network: &Network) -> Result<RegistryClient> {
    pusher(network, NAME).await
}
