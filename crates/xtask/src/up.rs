//! `up`, `down`, `status`: a whole registry on loopback.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use atcr_test_support::network::{
    HoldStorage, Network, NetworkFile, NetworkOptions, Part, Ports, S3Storage, is_running, stop_pid,
};
use atcr_test_support::tools::Workspace;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::build;
use crate::progress::Step;

/// How often a foreground network is looked after.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Args)]
pub(crate) struct StateArguments {
    /// The folder of all state, logs and generated configuration
    #[arg(long, default_value = ".atcr", value_name = "DIR")]
    pub(crate) state: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UpArguments {
    #[command(flatten)]
    pub(crate) state: StateArguments,
    /// Leave everything running and return
    #[arg(long)]
    detach: bool,
    /// Delete the state of earlier runs first
    #[arg(long)]
    reset: bool,
    /// The PLC directory's port
    #[arg(long, default_value_t = Ports::default().plc, value_name = "PORT")]
    plc_port: u16,
    /// The PDS's port
    #[arg(long, default_value_t = Ports::default().pds, value_name = "PORT")]
    pds_port: u16,
    /// The hold's port
    #[arg(long, default_value_t = Ports::default().hold, value_name = "PORT")]
    hold_port: u16,
    /// The appview's port
    #[arg(long, default_value_t = Ports::default().appview, value_name = "PORT")]
    appview_port: u16,
    /// Keep objects in this S3 server instead of in files
    #[arg(long, value_name = "URL")]
    s3_endpoint: Option<String>,
    /// The bucket; it must exist
    #[arg(long, default_value = "atcr", value_name = "NAME")]
    s3_bucket: String,
    /// The region's name
    #[arg(long, default_value = "us-east-1", value_name = "NAME")]
    s3_region: String,
    /// Refuse pulls from people who are not of the crew
    #[arg(long)]
    private: bool,
}

impl UpArguments {
    fn storage(&self) -> Result<HoldStorage> {
        let Some(endpoint) = &self.s3_endpoint else {
            return Ok(HoldStorage::Filesystem);
        };
        let key = |name: &str| {
            std::env::var(name).with_context(|| format!("--s3-endpoint needs credentials: set {name}"))
        };
        Ok(HoldStorage::S3(S3Storage {
            endpoint: endpoint.clone(),
            bucket: self.s3_bucket.clone(),
            region: self.s3_region.clone(),
            access_key: key("AWS_ACCESS_KEY_ID")?,
            secret_key: key("AWS_SECRET_ACCESS_KEY")?,
        }))
    }

    fn options(&self, workspace: &Workspace) -> Result<NetworkOptions> {
        let ports = Ports {
            plc: self.plc_port,
            pds: self.pds_port,
            hold: self.hold_port,
            appview: self.appview_port,
        };
        let mut options = NetworkOptions::new(workspace.root().join(&self.state.state), ports);
        options.storage = self.storage()?;
        options.public = !self.private;
        Ok(options)
    }
}

/// Starts the network in the foreground, or leaves it running with `--detach`.
pub(crate) async fn up(arguments: UpArguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    let network = start(&workspace, &arguments).await?;
    print_lines(&workspace, network.file());
    if arguments.detach {
        println!("\nRunning in the background; `cargo xtask down` stops it.");
        network.detach();
        return Ok(());
    }
    println!("\nPress Ctrl-C to stop.");
    watch(network).await
}

/// Builds what is needed and starts every part, with a line for each step.
pub(crate) async fn start(workspace: &Workspace, arguments: &UpArguments) -> Result<Network> {
    let options = arguments.options(workspace)?;
    if let Some(file) = NetworkFile::read(&options.state)?
        && file.pids.iter().any(|(part, pid)| is_running(*pid, word(part)))
    {
        bail!("the network is already running; `cargo xtask down` stops it, `cargo xtask status` shows it");
    }
    if arguments.reset && options.state.exists() {
        std::fs::remove_dir_all(&options.state)
            .with_context(|| format!("cannot delete {}", options.state.display()))?;
    }
    build::prepare(workspace)?;
    let mut step = None;
    Network::start(workspace, options, &mut |part: Part, done| {
        if done {
            if let Some(step) = step.take() {
                Step::done(step);
            }
        } else {
            step = Some(Step::begin(part.name()));
        }
    })
    .await
}

/// Waits for Ctrl-C or for a part that ends by itself.
async fn watch(mut network: Network) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = ticks.tick() => {
                if let Some((part, log)) = network.ended() {
                    network.stop_all().await?;
                    bail!("the {} ended by itself; everything was stopped:\n{log}", part.name());
                }
            }
        }
    }
    let step = Step::begin("stopping");
    network.stop_all().await?;
    step.done();
    Ok(())
}

/// Stops what a detached network left running.
pub(crate) async fn down(arguments: &StateArguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    let state = workspace.root().join(&arguments.state);
    let Some(file) = NetworkFile::read(&state)? else {
        println!("Nothing is running.");
        return Ok(());
    };
    for part in [Part::AppView, Part::Hold, Part::AtProtocol] {
        if let Some(pid) = file.pids.get(part.key()) {
            let step = Step::begin(format!("stopping the {}", part.name()));
            stop_pid(*pid, word(part.key())).await;
            step.done();
        }
    }
    std::fs::remove_file(state.join("network.json")).context("cannot remove network.json")
}

/// Prints which parts run.
pub(crate) async fn status(arguments: &StateArguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    let Some(file) = NetworkFile::read(&workspace.root().join(&arguments.state))? else {
        println!("Nothing is running; `cargo xtask up` starts it.");
        return Ok(());
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(2))
        .build()?;
    let parts = [
        ("appview", file.appview.url.clone(), "/readyz", "appview"),
        ("hold", file.hold.url.clone(), "/readyz", "hold"),
        ("PDS", file.pds.url.clone(), "/xrpc/_health", "network"),
        ("PLC directory", file.plc.url.clone(), "/_health", "network"),
    ];
    let mut all = true;
    for (name, url, path, key) in parts {
        let healthy = client
            .get(format!("{url}{path}"))
            .send()
            .await
            .is_ok_and(|a| a.status().is_success());
        let pid = file.pids.get(key).copied().unwrap_or_default();
        let state = match (healthy, is_running(pid, word(key))) {
            (true, _) => "running",
            (false, true) => "not answering",
            (false, false) => "stopped",
        };
        all &= healthy;
        println!("{name:<14} {state:<14} {url} (pid {pid})");
    }
    if !all {
        bail!("not everything is running; `cargo xtask down` and `cargo xtask up` start afresh");
    }
    Ok(())
}

/// A word of the command line that tells a part's process from any other that got its pid.
fn word(part: &str) -> &'static str {
    match part {
        "hold" => "atcr-hold",
        "appview" => "atcr-appview",
        _ => "network.mjs",
    }
}

fn print_lines(workspace: &Workspace, file: &NetworkFile) {
    let registry = file.appview.url.trim_start_matches("http://");
    println!("\n  appview        {}", file.appview.url);
    println!("  hold           {}  ({})", file.hold.url, file.hold.did);
    println!("  PDS            {}", file.pds.url);
    println!("  PLC directory  {}", file.plc.url);
    for account in &file.accounts {
        println!("\n  {}  {}", account.handle, account.did);
        println!(
            "    docker login {registry} -u {} -p {}",
            account.handle, account.app_password
        );
        println!("    docker push {registry}/{}/app:1", account.handle);
        println!("    docker pull {registry}/{}/app:1", account.handle);
        println!("    in a browser: password {}", account.password);
    }
    println!(
        "\n  Instead of docker login, sign in with the browser; Docker then finds the helper through PATH:"
    );
    println!("    export PATH=\"{}:$PATH\"", helper_folder(workspace).display());
    println!("    docker-credential-atcr login {registry}");
    println!("    docker-credential-atcr configure-docker {registry}");
}

/// The folder of the credential helper.
fn helper_folder(workspace: &Workspace) -> PathBuf {
    workspace
        .binary("docker-credential-atcr")
        .ok()
        .and_then(|binary| binary.parent().map(PathBuf::from))
        .unwrap_or_else(|| workspace.root().join("target/release"))
}
