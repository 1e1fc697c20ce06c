//! Commands beside `serve`: they work on the folder of a hold, which most of them want stopped.
//!
//! - [`doctor`]: looks at a hold, from inside and from outside
//! - [`init`]: the configuration of a new hold, by a few questions
//! - [`identity`]: the DID and the keys: make, rotate, show, recover
//! - [`repo`]: the repository: export, import, verify, rebuild, compact
//! - [`backup`]: the repository's backup and the way back
//! - `gc`: the garbage collection of the hold that runs
//! - [`keys`]: the keys, sealed by a passphrase
//! - [`scans`]: scanned images: list, failed, again
//! - [`terminal`]: what a command says meanwhile and at its end; [`questions`]: what it asks

mod backup;
pub(crate) mod doctor;
pub(crate) mod gc;
pub mod identity;
pub(crate) mod init;
pub(crate) mod keys;
mod questions;
pub(crate) mod repo;
pub(crate) mod scans;
mod terminal;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::{HoldRepo, RepoError, RepoOptions};
use atcr_server::telemetry::{LogFormat, init_logging};
use atcr_server::{LoadOptions, Loaded, Problems, load};
use clap::Args;

use crate::compose;
use crate::config::HoldConfig;
use crate::identity::establish::folder_of;
use crate::settings::HoldSettings;

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Configuration file; without one, defaults and the environment
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Common {
    fn settings(&self) -> anyhow::Result<HoldSettings> {
        let Loaded { config, .. } = load::<HoldConfig>(&LoadOptions::from_process(self.config.clone()))?;
        let settings = HoldSettings::parse(&config, &mut Problems::default())
            .context("the configuration changed while it was read")?;
        init_logging("warn", LogFormat::Text).map_err(anyhow::Error::msg)?;
        Ok(settings)
    }
}

/// The repository that is there, with the key that belongs to it. Neither is made when it is missing.
fn existing_repo(settings: &HoldSettings) -> anyhow::Result<RepoOptions> {
    let dir = compose::repo_dir(settings);
    let did = found_did(&dir)?.ok_or_else(|| RepoError::NoRepository { folder: dir.clone() })?;
    let key = folder_of(settings).signing_key()?.with_context(|| {
        format!(
            "the signing key {} is missing; restore it from a backup",
            settings.key_path.display()
        )
    })?;
    let mut options = RepoOptions::new(dir, did, key);
    options.must_exist = true;
    Ok(options)
}

/// Whose repository is in the folder.
fn found_did(dir: &Path) -> anyhow::Result<Option<Did>> {
    let found = HoldRepo::did_in(dir)?;
    found
        .map(|did| did.parse().context("the repository's DID"))
        .transpose()
}

/// What a failed opening means to someone who has just called a command.
fn explained(error: RepoError) -> anyhow::Error {
    match error {
        RepoError::Locked { .. } => anyhow::Error::new(error).context("the hold is running; stop it first"),
        error => error.into(),
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(work)
}
