//! `atcr-hold repo …`.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use atcr_atproto::clock::SystemClock;
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::{HoldRepo, Import, import};
use clap::Subcommand;
use futures_util::TryStreamExt as _;
use serde_json::json;

use super::terminal::Terminal;
use super::{Common, backup, block_on, existing_repo, explained};
use crate::compose;

/// Work with the repository of a hold that is not running.
#[derive(Debug, Subcommand)]
pub(crate) enum RepoCommand {
    /// Write the whole repository as a CAR, as com.atproto.sync.getRepo serves it
    Export {
        #[command(flatten)]
        common: Common,
        /// Where to write it; standard output when left out
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write every record of exported repositories, new or not
    ///
    /// Hashes, signature and account are checked before anything is written. Up to 200 records are one commit; more become the
    /// repository's new state at once, which followers are told of by a #sync.
    Import {
        #[command(flatten)]
        common: Common,
        /// CARs, each a whole repository
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The account of the files, if it is another one than the hold's
        #[arg(long, value_name = "DID")]
        from: Option<Did>,
        /// A key that signed the files, beside the hold's own
        #[arg(long, value_name = "DID_KEY", value_parser = did_key)]
        signed_by: Vec<PublicKey>,
    },
    /// Read everything and check it: signature, tree, blocks, events, index
    Verify {
        #[command(flatten)]
        common: Common,
    },
    /// Make the index anew from the records
    Rebuild {
        #[command(flatten)]
        common: Common,
    },
    /// Copy what is new to the backup, or say what is there
    Backup {
        #[command(flatten)]
        common: Common,
        /// Only say what is there; the hold may be running
        #[arg(long)]
        status: bool,
    },
    /// Make the repository from its backup, on a machine that has the keys and no repository
    ///
    /// Hashes, signature and account are checked. Followers of the hold are told; those that saw events which the backup does not
    /// have read the repository again.
    Restore {
        #[command(flatten)]
        common: Common,
        /// A key that may have signed the backup, beside the hold's own and the one that a did:plc names now
        #[arg(long, value_name = "DID_KEY", value_parser = did_key)]
        signed_by: Vec<PublicKey>,
        /// Make a signing key if there is none, since the one that signed the backup is lost. One that is there is kept
        #[arg(long)]
        new_key: bool,
        /// Restore although a relay claims to have events or a revision of the future
        #[arg(long)]
        ignore_relays: bool,
    },
    /// Write a snapshot now, and drop events that are older than the retention
    Compact {
        #[command(flatten)]
        common: Common,
    },
}

fn did_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_did_key(text).map_err(|error| format!("no did:key: {error}"))
}

impl RepoCommand {
    /// Does what the command says.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        block_on(async move {
            match self {
                Self::Export { common, out } => export(&common, out.as_deref()).await,
                Self::Import {
                    common,
                    files,
                    from,
                    signed_by,
                } => {
                    let what = Import {
                        files,
                        from,
                        signed_by,
                    };
                    import_files(&common, what).await
                }
                Self::Verify { common } => verify(&common).await,
                Self::Rebuild { common } => rebuild(&common).await,
                Self::Compact { common } => compact(&common).await,
                Self::Backup { common, status: true } => backup::status(&common).await,
                Self::Backup { common, .. } => backup::now(&common).await,
                Self::Restore {
                    common,
                    signed_by,
                    new_key,
                    ignore_relays,
                } => {
                    let how = backup::RestoreOptions {
                        signed_by,
                        new_key,
                        ignore_relays,
                    };
                    backup::restore_newest(&common, how).await
                }
            }
        })
    }
}

async fn open(common: &Common) -> anyhow::Result<HoldRepo> {
    let options = existing_repo(&common.settings()?)?;
    HoldRepo::open(options, Arc::new(SystemClock))
        .await
        .map_err(explained)
}

async fn export(common: &Common, out: Option<&Path>) -> anyhow::Result<()> {
    anyhow::ensure!(
        out.is_some() || !std::io::stdout().is_terminal(),
        "a CAR is no text for a terminal; name a file with --out, or redirect the output"
    );
    let repo = open(common).await?;
    let terminal = Terminal::new(common.json, out.is_none());
    let result = match out {
        Some(path) => export_to_file(&repo, path, &terminal).await,
        None => export_to(&repo, &mut std::io::stdout().lock(), &terminal)
            .await
            .context("cannot write to standard output"),
    };
    let head = repo.latest_commit();
    let did = repo.did().clone();
    repo.close().await;
    let bytes = result?;
    terminal.done(
        &format!("exported {bytes} bytes at revision {}", head.rev),
        &json!({ "did": did, "rev": head.rev, "commit": head.cid.to_string(), "bytes": bytes }),
    )?;
    Ok(())
}

/// After an error the file is as it was before.
async fn export_to_file(repo: &HoldRepo, path: &Path, terminal: &Terminal) -> anyhow::Result<u64> {
    let mut name = path.file_name().context("--out must name a file")?.to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let write = async {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        let bytes = export_to(repo, &mut file, terminal).await?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        sync_folder(path)?;
        Ok::<_, anyhow::Error>(bytes)
    };
    let written = write.await;
    if written.is_err() {
        // The failure that is reported is the first one.
        let _ = std::fs::remove_file(&part);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

async fn export_to(repo: &HoldRepo, out: &mut impl Write, terminal: &Terminal) -> anyhow::Result<u64> {
    let mut pieces = std::pin::pin!(repo.export_car(None));
    let mut written = 0;
    while let Some(piece) = pieces.try_next().await? {
        out.write_all(&piece)?;
        written += piece.len() as u64;
        terminal.say(format!("exporting: {} MiB", written >> 20));
    }
    out.flush()?;
    Ok(written)
}

async fn import_files(common: &Common, what: Import) -> anyhow::Result<()> {
    let options = existing_repo(&common.settings()?)?;
    let terminal = Terminal::new(common.json, false);
    let clock = Arc::new(SystemClock);
    let done = import(options, clock, what, terminal.progress())
        .await
        .map_err(explained)?;
    let how = match (done.changed, done.is_bulk) {
        (0, _) => "nothing was written",
        (_, false) => "one commit",
        (_, true) => "a new state, which the next start announces if it has not been announced",
    };
    terminal.done(
        &format!(
            "{} records read, {} of them new or changed: {how}",
            done.found, done.changed
        ),
        &json!({ "found": done.found, "changed": done.changed, "bulk": done.is_bulk }),
    )?;
    Ok(())
}

async fn verify(common: &Common) -> anyhow::Result<()> {
    let repo = open(common).await?;
    let terminal = Terminal::new(common.json, false);
    terminal.say("verifying");
    let verified = repo.verify().await;
    let head = repo.latest_commit();
    repo.close().await;
    verified?;
    terminal.done(
        &format!("the repository is whole at revision {}", head.rev),
        &json!({ "rev": head.rev, "commit": head.cid.to_string(), "whole": true }),
    )?;
    Ok(())
}

async fn rebuild(common: &Common) -> anyhow::Result<()> {
    let settings = common.settings()?;
    let options = existing_repo(&settings)?;
    let terminal = Terminal::new(common.json, false);
    terminal.say("making the index anew");
    HoldRepo::discard_index(&compose::repo_dir(&settings)).map_err(explained)?;
    let repo = HoldRepo::open(options, Arc::new(SystemClock))
        .await
        .map_err(explained)?;
    let rows = repo.indexed_records().await;
    repo.close().await;
    let rows = rows?;
    terminal.done(
        &format!("the index has {rows} records"),
        &json!({ "indexed": rows }),
    )?;
    Ok(())
}

async fn compact(common: &Common) -> anyhow::Result<()> {
    let settings = common.settings()?;
    let folder = compose::repo_dir(&settings);
    let before = folder_bytes(&folder)?;
    let options = existing_repo(&settings)?;
    let terminal = Terminal::new(common.json, false);
    terminal.say("writing a snapshot");
    let repo = HoldRepo::open(options, Arc::new(SystemClock))
        .await
        .map_err(explained)?;
    let written = repo.write_snapshot().await;
    repo.close().await;
    written?;
    let after = folder_bytes(&folder)?;
    terminal.done(
        &format!("the folder had {before} bytes and has {after}"),
        &json!({ "bytesBefore": before, "bytesAfter": after }),
    )?;
    Ok(())
}

fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let size = || -> std::io::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(folder)? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    };
    size().with_context(|| format!("cannot read {}", folder.display()))
}
