//! Resident memory of both servers while they are pushed to.

use std::path::Path;

use anyhow::{Context as _, Result};
use atcr_test_support::network::{HoldStorage, Network, Part};
use atcr_test_support::tools::Workspace;

use super::content::Layer;
use super::{forget_peak, network, peak_mib, throughput, versitygw};

const MIB: u64 = 1024 * 1024;

/// Sixteen pushes at once, to files and to S3.
pub(crate) async fn sixteen(workspace: &Workspace, folder: &Path, mib: u64) -> Result<()> {
    let network = network(workspace, folder, HoldStorage::Filesystem).await?;
    sixteen_to(&network, mib, "files").await?;
    network.stop_all().await?;
    let (gateway, storage) = versitygw(workspace, folder).await?;
    let network = super::network(workspace, folder, HoldStorage::S3(storage)).await?;
    sixteen_to(&network, mib, "S3").await?;
    network.stop_all().await?;
    gateway.stop().await?;
    std::fs::remove_dir_all(folder.join("s3"))?;
    Ok(())
}

async fn sixteen_to(network: &Network, mib: u64, store: &str) -> Result<()> {
    let client = throughput::ready(network).await?;
    reset(network)?;
    let pushes: Vec<_> = (0..16_u64)
        .map(|seed| {
            let client = client.clone();
            tokio::spawn(async move { throughput::push(&client, Layer::new(seed + 1, mib * MIB)).await })
        })
        .collect();
    for push in pushes {
        push.await??;
    }
    report(network, &format!("16 pushes of {mib} MiB at once to {store}"))
}

/// One very large layer to files.
pub(crate) async fn large(workspace: &Workspace, folder: &Path, gib: u64) -> Result<()> {
    let network = network(workspace, folder, HoldStorage::Filesystem).await?;
    let client = throughput::ready(&network).await?;
    reset(&network)?;
    let rate = throughput::push(&client, Layer::new(77, gib * 1024 * MIB)).await?;
    report(
        &network,
        &format!("one layer of {gib} GiB to files ({rate:.0} MiB/s)"),
    )?;
    network.stop_all().await
}

fn pids(network: &Network) -> Result<[(&'static str, u32); 2]> {
    Ok([
        (
            "appview",
            network.pid(Part::AppView).context("the appview does not run")?,
        ),
        ("hold", network.pid(Part::Hold).context("the hold does not run")?),
    ])
}

fn reset(network: &Network) -> Result<()> {
    pids(network)?.iter().try_for_each(|(_, pid)| forget_peak(*pid))
}

fn report(network: &Network, what: &str) -> Result<()> {
    for (name, pid) in pids(network)? {
        println!("peak resident memory, {what}: {name} {:.0} MiB", peak_mib(pid)?);
    }
    Ok(())
}
