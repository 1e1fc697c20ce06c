//! `atcr-hold doctor`: looks at a hold, running or not, from inside and, given its URL, from outside, and says what to do. It changes
//! nothing but the two objects that it writes into a bucket and removes again.
//!
//! - [`inside`]: configuration, folder, keys, disk
//! - [`store`]: where the layers are; [`backup`]: the copy of the repository
//! - [`network`]: captain, clock, AppView, relays
//! - [`outside`]: what others get to see
//! - [`finding`]: how it is said

mod backup;
mod finding;
mod inside;
mod network;
mod outside;
mod store;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use atcr_hold_pds::HoldRepo;
use clap::Args;
use serde_json::json;
use url::Url;

use self::finding::{Findings, Grade};
use super::block_on;
use crate::compose::repo_dir;
use crate::settings::HoldSettings;

/// What the doctor is told.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Configuration file; without one, defaults and the environment
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also look from outside, at this URL
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Print everything as one line of JSON
    #[arg(long)]
    json: bool,
}

/// What is looked at.
struct Patient<'s> {
    settings: &'s HoldSettings,
    /// As it is written in remedies: ` --config FILE`, or nothing.
    config: String,
    /// A process has the repository open.
    runs: bool,
}

impl DoctorArguments {
    /// Looks, and prints what was found. The exit code is 0 if all is well, 1 for warnings, 2 for problems.
    ///
    /// # Errors
    /// For the terminal: there is no runtime to be had, or nobody to print for.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let findings = block_on(self.look())?;
        let text = if self.json {
            format!(
                "{}\n",
                json!({ "worst": findings.worst(), "findings": findings.all() })
            )
        } else {
            findings.text()
        };
        std::io::stdout()
            .write_all(text.as_bytes())
            .context("cannot write to standard output")?;
        Ok(match findings.worst() {
            Grade::Ok => ExitCode::SUCCESS,
            Grade::Warning => ExitCode::from(1),
            Grade::Problem => ExitCode::from(2),
        })
    }

    async fn look(&self) -> anyhow::Result<Findings> {
        let mut findings = Findings::default();
        let Some(settings) = inside::configuration(self.config.as_deref(), &mut findings) else {
            return Ok(findings);
        };
        let config = self
            .config
            .as_ref()
            .map(|file| format!(" --config {}", file.display()));
        let patient = Patient {
            runs: !HoldRepo::is_closed_in(&repo_dir(&settings)).unwrap_or(true),
            settings: &settings,
            config: config.unwrap_or_default(),
        };
        inside::folder(&patient, &mut findings);
        inside::disk(&patient, &mut findings);
        inside::identity(&patient, &mut findings).await;
        inside::listener(&patient, &mut findings).await;
        store::look(&patient, &mut findings).await;
        backup::look(&patient, &mut findings).await;
        let network = network::Network::new(&settings)?;
        network.look(&patient, &mut findings).await;
        if let Some(url) = &self.url {
            outside::look(url, &patient, &network, &mut findings).await?;
        }
        Ok(findings)
    }
}
