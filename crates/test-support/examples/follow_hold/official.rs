//! The repository as the reference implementation reads it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use atcr_atproto::syntax::{Cid, Tid};
use atcr_test_support::network::NetworkFile;
use atcr_test_support::tools::Workspace;
use serde::Deserialize;

/// Runs `records.mjs`, which verifies the signature, the tree and every block.
#[derive(Clone, Debug)]
pub(crate) struct OfficialReader {
    node: PathBuf,
    script: PathBuf,
    arguments: Vec<String>,
}

/// A whole repository.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) rev: Tid,
    /// The root of its tree.
    pub(crate) data: Cid,
    /// By path.
    pub(crate) records: BTreeMap<String, Cid>,
}

#[derive(Deserialize)]
struct Output {
    rev: String,
    data: String,
    records: BTreeMap<String, String>,
}

impl OfficialReader {
    pub(crate) fn new(workspace: &Workspace, file: &NetworkFile) -> Result<Self> {
        let options = [
            ("--plc", &file.plc.url),
            ("--host", &file.hold.url),
            ("--did", &file.hold.did),
        ];
        Ok(Self {
            node: workspace.node()?,
            script: workspace.network_folder().join("records.mjs"),
            arguments: options
                .iter()
                .flat_map(|(name, value)| [(*name).to_owned(), (*value).clone()])
                .collect(),
        })
    }

    /// Reads the repository from the hold.
    pub(crate) async fn read(&self) -> Result<Repository> {
        let output = tokio::process::Command::new(&self.node)
            .arg(&self.script)
            .args(&self.arguments)
            .output()
            .await
            .context("cannot start Node")?;
        ensure!(
            output.status.success(),
            "the reference implementation refuses the repository: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let output: Output = serde_json::from_slice(&output.stdout)?;
        let records = output.records.into_iter();
        Ok(Repository {
            rev: output.rev.parse()?,
            data: output.data.parse()?,
            records: records
                .map(|(path, cid)| Ok((path, cid.parse()?)))
                .collect::<Result<_>>()?,
        })
    }
}
