//! The figures of docs/PERFORMANCE.md but that of `cargo xtask up`, each measured beside what it is compared with, in one run:
//!
//! `cargo run --release -p atcr-test-support --example bench -- all`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod content;
mod helper;
mod manifests;
mod memory;
mod processor;
mod throughput;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use atcr_test_support::network::{HoldStorage, Network, NetworkOptions, Ports, Program, S3Storage};
use atcr_test_support::registry_client::RegistryClient;
use atcr_test_support::s3_server::start_versitygw;
use atcr_test_support::tools::{GoTool, Need, Workspace};
use clap::{Parser, ValueEnum};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// A 1 GiB layer to the filesystem store, beside dd; and back.
    Filesystem,
    /// A 1 GiB layer to versitygw, beside a raw client; and back.
    S3,
    /// Resident memory with 16 pushes at once, and with one large layer.
    Memory,
    /// A 1 MB image: the registry's own share of the time.
    SmallImage,
    /// GET of a manifest by digest.
    Manifest,
    /// The credential helper's `get`, start to end.
    Helper,
    /// Everything.
    All,
}

/// Measures the registry on this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value = "all")]
    figure: Figure,
    /// How many MiB the layer has
    #[arg(long, default_value_t = 1024)]
    layer_mib: u64,
    /// How many GiB the large layer has
    #[arg(long, default_value_t = 20)]
    large_gib: u64,
    /// How often each throughput is measured
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// The folder for state; it should be on the disk that is to be measured
    #[arg(long, default_value = ".atcr/bench")]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let workspace = Workspace::locate()?;
    let folder = workspace.root().join(&arguments.folder);
    let wanted = |figure| arguments.figure == figure || arguments.figure == Figure::All;
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    if wanted(Figure::Filesystem) {
        throughput::filesystem(&workspace, &folder, arguments.layer_mib, arguments.runs).await?;
    }
    if wanted(Figure::S3) {
        throughput::s3(&workspace, &folder, arguments.layer_mib, arguments.runs).await?;
    }
    if wanted(Figure::SmallImage) {
        manifests::small_image(&workspace, &folder).await?;
    }
    if wanted(Figure::Manifest) {
        manifests::warm_get(&workspace, &folder).await?;
    }
    if wanted(Figure::Helper) {
        helper::get(&workspace, &folder)?;
    }
    if wanted(Figure::Memory) {
        memory::sixteen(&workspace, &folder, arguments.layer_mib).await?;
        memory::large(&workspace, &folder, arguments.large_gib).await?;
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// A network with fresh state below `folder`.
async fn network(workspace: &Workspace, folder: &Path, storage: HoldStorage) -> Result<Network> {
    let state = folder.join("network");
    if state.exists() {
        std::fs::remove_dir_all(&state)?;
    }
    let mut options = NetworkOptions::new(state, Ports::free()?);
    options.storage = storage;
    Network::start(workspace, options, &mut |_, _| {}).await
}

/// Alice's client with a token to push to `name`.
async fn pusher(network: &Network, name: &str) -> Result<RegistryClient> {
    let mut client = RegistryClient::new(&network.file().appview.url, network.file().account("alice.test")?)?;
    client.authorize(name, "pull,push").await?;
    Ok(client)
}

/// versitygw with its objects below `folder`.
async fn versitygw(workspace: &Workspace, folder: &Path) -> Result<(Program, S3Storage)> {
    Need::Go(GoTool::VERSITYGW).install(workspace, &|_| {})?;
    let folder = folder.join("s3");
    std::fs::create_dir_all(&folder)?;
    start_versitygw(&folder).await
}

/// The middle one of `values`.
fn median(values: &mut [f64]) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    match values.get(values.len() / 2) {
        Some(value) => Ok(*value),
        None => bail!("nothing was measured"),
    }
}

/// Peak resident memory of a process since [`forget_peak`], in MiB.
fn peak_mib(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .context("no VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kib / 1024.0)
}

/// Starts the measurement of [`peak_mib`] anew.
fn forget_peak(pid: u32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("cannot reset the peak of the memory")
}
