//! What happens to a hold in the course of its life.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use atcr_test_support::network::{Network, Part};
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, image_manifest};
use serde_json::{Value, json};

use crate::captain::Captain;

/// The image that is pushed, so that the hold has records of layers and statistics.
const IMAGE: &str = "alice.test/followed";
/// The collection of the records that an import brings back.
const IMPORTED: &str = "com.example.imported";
/// As many operations as fit in one commit.
const OF_ONE_COMMIT: usize = 200;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// SIGTERM, and started again.
    Terminate,
    /// SIGKILL, and started again.
    Kill,
    /// Another signing key while it runs.
    Rotate,
    /// Stopped, another signing key, started again. What a follower lacks then, nobody can verify any more: it has to be there.
    RotateStopped,
    /// Stopped, a snapshot written, started again.
    Compact,
    /// Stopped, an earlier export imported that changes as many records as fit in a commit, started again.
    Import,
}

impl Operation {
    /// In the order in which they happen, again and again.
    pub(crate) const CYCLE: [Self; 8] = [
        Self::Terminate,
        Self::Rotate,
        Self::Kill,
        Self::Compact,
        Self::Import,
        Self::Kill,
        Self::RotateStopped,
        Self::Kill,
    ];

    /// Whether records may be written meanwhile.
    pub(crate) fn is_under_load(self) -> bool {
        !matches!(self, Self::Import | Self::RotateStopped)
    }

    /// What a person calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Kill => "SIGKILL",
            Self::Rotate => "key rotation, running",
            Self::RotateStopped => "key rotation, stopped",
            Self::Compact => "compaction",
            Self::Import => "import in one commit",
        }
    }

    /// Lets it happen.
    pub(crate) async fn happen(self, network: &mut Network, captain: &Captain) -> Result<()> {
        match self {
            Self::Terminate => {
                network.stop(Part::Hold).await?;
                network.start_hold().await
            }
            Self::Kill => {
                network.kill(Part::Hold).await?;
                network.start_hold().await
            }
            Self::Rotate => command(network, &["keys", "rotate"]).await.map(|_| ()),
            Self::RotateStopped => stopped(network, &["keys", "rotate"]).await.map(|_| ()),
            Self::Compact => stopped(network, &["repo", "compact"]).await.map(|_| ()),
            Self::Import => import(network, captain, 1).await,
        }
    }
}

/// Runs the hold's program; returns what it printed.
async fn command(network: &Network, arguments: &[&str]) -> Result<String> {
    let mut command = tokio::process::Command::from(network.hold_command(arguments)?);
    let output = command.output().await?;
    ensure!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs the hold's program while the hold is stopped.
async fn stopped(network: &mut Network, arguments: &[&str]) -> Result<String> {
    network.stop(Part::Hold).await?;
    let printed = command(network, arguments).await?;
    network.start_hold().await?;
    Ok(printed)
}

/// Makes so many commits full of records, exports the repository, changes them all, and imports the export: what fits in
/// one commit is one that followers can undo, and more is a new state.
pub(crate) async fn import(network: &mut Network, captain: &Captain, commits: usize) -> Result<()> {
    // Some room for a count of pulls that the hold publishes meanwhile.
    let of_one = if commits == 1 {
        OF_ONE_COMMIT - 20
    } else {
        OF_ONE_COMMIT
    };
    let writes = |kind: &str, commit: usize, text: &str| -> Vec<Value> {
        let write = |number| {
            let mut write = json!({
                "$type": format!("com.atproto.repo.applyWrites#{kind}"),
                "collection": IMPORTED,
                "rkey": format!("{commit}-{number}"),
            });
            if kind != "delete" {
                write["value"] = json!({ "$type": IMPORTED, "text": text });
            }
            write
        };
        (0..of_one).map(write).collect()
    };
    for commit in 0..commits {
        captain.apply(&writes("update", commit, "as it was")).await?;
    }
    let file = network.state().join("export.car");
    std::fs::write(&file, captain.repository().await?)?;
    for commit in 0..commits {
        let mut changes = writes("update", commit, "changed");
        changes.truncate(of_one / 2);
        let deletions = writes("delete", commit, "");
        changes.extend(deletions.into_iter().skip(of_one / 2));
        captain.apply(&changes).await?;
    }
    let path = file.to_str().context("a path of text")?;
    let printed: Value = serde_json::from_str(&stopped(network, &["repo", "import", "--json", path]).await?)?;
    let changed = printed["changed"].as_u64().unwrap_or_default();
    ensure!(
        changed >= (commits * of_one) as u64 && printed["bulk"] == (commits > 1),
        "the import did something else: {printed}"
    );
    Ok(())
}

/// Pushes an image of two layers through the appview.
pub(crate) async fn push(network: &Network, number: usize) -> Result<()> {
    let file = network.file();
    let mut client = RegistryClient::new(&file.appview.url, file.account("alice.test")?)?;
    client.authorize(IMAGE, "pull,push").await?;
    let config = client.push_blob(IMAGE, b"{}".to_vec()).await?;
    let mut layers = Vec::new();
    for layer in 0..2 {
        let layer = format!("layer {layer} of {number}").into_bytes();
        let size = layer.len();
        layers.push((client.push_blob(IMAGE, layer).await?, size));
    }
    let manifest = image_manifest((&config, 2), &layers);
    client
        .push_manifest(IMAGE, &number.to_string(), IMAGE_MANIFEST, manifest)
        .await?;
    Ok(())
}

/// The hold is killed, loses its repository, and gets it back from `backup`, which lacks what was written since it was made.
pub(crate) async fn restore(network: &mut Network, backup: &Path) -> Result<()> {
    network.kill(Part::Hold).await?;
    std::fs::remove_dir_all(network.state().join("hold/repo"))?;
    network.set_backup(Some(backup.to_owned()))?;
    command(network, &["repo", "restore"]).await?;
    network.start_hold().await
}
