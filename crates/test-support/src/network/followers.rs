//! What follows the hosts of a network: relay, collection directory, tap.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::{FollowerPorts, Network, Part, START_TIMEOUT};
use crate::tools::GoTool;

/// Of those who may administer relay and collection directory: they listen on loopback alone.
const PASSWORD: &str = "loopback";

/// The URL of a SQLite file, as these programs take it.
pub(super) fn sqlite_url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

impl Network {
    /// Starts relay, collection directory or tap on the state it has; waits until it answers.
    ///
    /// # Errors
    /// One line, and what its log says; that it is not installed.
    pub async fn start_follower(&mut self, part: Part, ports: FollowerPorts) -> Result<()> {
        match part {
            Part::Relay => self.start_relay(ports).await,
            Part::CollectionDirectory => {
                let arguments = vec![
                    "serve".into(),
                    "--pebble".into(),
                    part.argument(self.state()).into(),
                    "--dau-directory".into(),
                    self.state().join("collections/accounts").into(),
                    "--admin-token".into(),
                    PASSWORD.into(),
                    "--clist-min-dids".into(),
                    "1".into(),
                    "--api-listen".into(),
                    address(ports.collections),
                    "--metrics-listen".into(),
                    address(ports.collections_metrics),
                    "--upstream".into(),
                    format!("ws://127.0.0.1:{}", ports.relay).into(),
                ];
                let health = format!("http://127.0.0.1:{}/_health", ports.collections);
                let program = GoTool::COLLECTION_DIRECTORY;
                self.follow(part, program, "collections", &arguments, &health)
                    .await?;
                self.crawl(ports).await
            }
            Part::Tap => {
                let arguments = vec![
                    "run".into(),
                    "--db-url".into(),
                    part.argument(self.state()).into(),
                    "--relay-url".into(),
                    format!("http://127.0.0.1:{}", ports.relay).into(),
                    "--plc-url".into(),
                    self.file().plc.url.clone().into(),
                    "--bind".into(),
                    address(ports.tap),
                    "--full-network".into(),
                    "--disable-acks".into(),
                ];
                let health = format!("http://127.0.0.1:{}/health", ports.tap);
                self.follow(part, GoTool::TAP, "tap", &arguments, &health).await
            }
            Part::AtProtocol | Part::Hold | Part::AppView | Part::Scanner => {
                bail!("the {} follows no host", part.name())
            }
        }
    }

    /// A relay takes no host on loopback when it is asked. Its first start makes its database, and then the hosts are
    /// entered there.
    async fn start_relay(&mut self, ports: FollowerPorts) -> Result<()> {
        let part = Part::Relay;
        let database = self.state().join("relay/relay.sqlite");
        let arguments = vec![
            "--admin-password".into(),
            PASSWORD.into(),
            "--plc-host".into(),
            self.file().plc.url.clone().into(),
            "serve".into(),
            "--db-url".into(),
            sqlite_url(&database).into(),
            "--persist-dir".into(),
            part.argument(self.state()).into(),
            "--bind".into(),
            address(ports.relay),
            "--metrics-listen".into(),
            address(ports.relay_metrics),
            "--allow-insecure-hosts".into(),
        ];
        let health = format!("http://127.0.0.1:{}/xrpc/_health", ports.relay);
        if !database.is_file() {
            self.follow(part, GoTool::RELAY, "relay", &arguments, &health)
                .await?;
            self.stop(part).await?;
        }
        self.enter_hosts(&database)?;
        self.follow(part, GoTool::RELAY, "relay", &arguments, &health)
            .await
    }

    /// The collection directory hears of new records from the relay; what there was before, it asks the hosts for.
    async fn crawl(&self, ports: FollowerPorts) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        for host in [&self.file.hold.url, &self.file.pds.url] {
            client
                .post(format!(
                    "http://127.0.0.1:{}/admin/pds/requestCrawl",
                    ports.collections
                ))
                .bearer_auth(PASSWORD)
                .json(&json!({ "hostname": host }))
                .send()
                .await?
                .error_for_status()
                .context("the collection directory does not read the hosts")?;
        }
        Ok(())
    }

    fn enter_hosts(&self, database: &Path) -> Result<()> {
        let host = |url: &str| url.trim_start_matches("http://").to_owned();
        let output = Command::new(self.workspace.node()?)
            .arg(self.workspace.network_folder().join("relay-hosts.mjs"))
            .arg(database)
            .args([host(&self.file.hold.url), host(&self.file.pds.url)])
            .output()
            .context("cannot start Node")?;
        if !output.status.success() {
            bail!(
                "the relay was not told of the hosts: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    async fn follow(
        &mut self,
        part: Part,
        program: GoTool,
        folder: &str,
        arguments: &[OsString],
        health: &str,
    ) -> Result<()> {
        let program = program.installed()?;
        std::fs::create_dir_all(self.state().join(folder))
            .with_context(|| format!("cannot make the folder of the {}", part.name()))?;
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        self.launch(part, &program, &arguments)?
            .wait_for_ready(health, START_TIMEOUT)
            .await
    }
}

fn address(port: u16) -> OsString {
    format!("127.0.0.1:{port}").into()
}
