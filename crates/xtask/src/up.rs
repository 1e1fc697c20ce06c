//! `up`, `down`, `status`: a whole registry on loopback.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use atcr_test_support::network::{
    FollowerPorts, HoldDid, HoldStorage, Network, NetworkFile, NetworkOptions, Part, Ports, S3Storage,
    ScannerOptions, stop_pid,
};
use atcr_test_support::tools::{GoTool, Need, Workspace};
use clap::Args;

use crate::build::{self, BuildArguments};
use crate::interrupt::{Interrupt, Interrupted, blocking};
use crate::network::{self, fresh_state};
use crate::progress::{Step, print};
use crate::s3_check;

/// What `--network` starts.
const FOLLOWERS: [Need; 4] = [
    Need::Commands(&["cc"]),
    Need::Go(GoTool::RELAY),
    Need::Go(GoTool::COLLECTION_DIRECTORY),
    Need::Go(GoTool::TAP),
];

/// What `--scanner` starts.
const TOOLS: [Need; 2] = [Need::Go(GoTool::GRYPE), Need::Go(GoTool::SYFT)];

/// How often a foreground network is looked after.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Args)]
pub(crate) struct StateArguments {
    /// The folder of all state, logs and generated configuration
    #[arg(long, default_value = ".atcr", value_name = "DIR")]
    state: PathBuf,
}

impl StateArguments {
    /// The folder, by the one name that the processes of its network have it under.
    pub(crate) fn folder(&self, workspace: &Workspace) -> PathBuf {
        let folder = workspace.root().join(&self.state);
        folder.canonicalize().unwrap_or(folder)
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UpArguments {
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    build: BuildArguments,
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
    /// Keep objects in this S3 server instead of in files: https, or http on this machine
    #[arg(long, value_name = "URL")]
    s3_endpoint: Option<String>,
    /// The bucket; it must exist
    #[arg(long, default_value = "atcr", value_name = "NAME")]
    s3_bucket: String,
    /// The region's name
    #[arg(long, default_value = "us-east-1", value_name = "NAME")]
    s3_region: String,
    /// Refuse pulls by accounts that are not crew
    #[arg(long)]
    private: bool,
    /// Start the network's relay, tap and collection directory too, which follow PDS and hold
    #[arg(long)]
    network: bool,
    /// Start a scanner too, which lists the packages of what is pushed and looks them up
    #[arg(long)]
    scanner: bool,
    /// Where the scanner's health and metrics are
    #[arg(long, default_value_t = 9091, value_name = "PORT")]
    scanner_port: u16,
    /// Look packages up in this vulnerability database (an archive or `vulnerability.db`) instead of the public one
    #[arg(long, value_name = "FILE", requires = "scanner")]
    vuln_db: Option<PathBuf>,
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
        let mut options = NetworkOptions::new(self.state.folder(workspace), ports);
        options.storage = self.storage()?;
        options.public = !self.private;
        if self.scanner {
            options.scanner = Some(ScannerOptions {
                syft: GoTool::SYFT.path(workspace),
                grype: GoTool::GRYPE.path(workspace),
                port: self.scanner_port,
                database: self.vuln_db.clone(),
            });
        }
        let hold = options.state.join("hold");
        let is_new = self.reset || !hold.exists();
        let is_in_directory = !is_new && hold.join("did.txt").exists();
        if self.network {
            options.followers = Some(FollowerPorts::default());
            if !is_new && !is_in_directory {
                bail!(
                    "the hold in {} is a did:web, which a relay reads by https alone\nhint: `--reset` starts without \
                     the state of earlier runs, or name another folder with `--state`",
                    options.state.display()
                );
            }
        }
        if self.network || is_in_directory {
            options.hold_did = HoldDid::Plc;
        }
        Ok(options)
    }
}

/// Starts the network in the foreground, or leaves it running with `--detach`.
pub(crate) async fn up(arguments: UpArguments, interrupt: &Interrupt) -> Result<()> {
    let workspace = Workspace::locate()?;
    let options = arguments.options(&workspace)?;
    // What can be refused is refused before the build, which may take minutes.
    require_possible(&options, interrupt).await?;
    if arguments.reset {
        fresh_state(&options.state)?;
    }
    let mut more: Vec<Need> = Vec::new();
    let mut packages = Vec::new();
    if arguments.network {
        more.extend(FOLLOWERS);
    }
    if arguments.scanner {
        more.extend(TOOLS);
        packages.push(build::SCANNER);
    }
    build::prepare(&workspace, &arguments.build, &more, &packages, interrupt).await?;
    let network = match network::start(&workspace, options, interrupt).await {
        Err(error) if !error.is::<Interrupted>() && !arguments.reset => {
            bail!("{error:#}\nhint: `cargo xtask up --reset` starts without the state of earlier runs")
        }
        outcome => outcome?,
    };
    print_lines(&workspace, network.file());
    if arguments.detach {
        print("\nRunning in the background; `cargo xtask down` stops it.");
        network.detach();
        return Ok(());
    }
    print("\nPress Ctrl-C to stop.");
    watch(network, interrupt).await
}

/// Says in one line why the network cannot run.
async fn require_possible(options: &NetworkOptions, interrupt: &Interrupt) -> Result<()> {
    if let Some(file) = NetworkFile::read(&options.state)?
        && Part::STOPPING
            .iter()
            .any(|part| file.running(*part, &options.state).is_some())
    {
        bail!("the network is already running; `cargo xtask down` stops it, `cargo xtask status` shows it");
    }
    options.ports.require_free()?;
    if let Some(ports) = &options.followers {
        ports.require_free()?;
    }
    if let Some(scanner) = &options.scanner {
        scanner.require_free()?;
    }
    if let HoldStorage::S3(storage) = &options.storage {
        let storage = storage.clone();
        interrupt
            .or(blocking(move || s3_check::require_usable(&storage)))
            .await?;
    }
    Ok(())
}

/// Waits for Ctrl-C or for a part that ends by itself.
async fn watch(mut network: Network, interrupt: &Interrupt) -> Result<()> {
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    let ended = loop {
        tokio::select! {
            () = interrupt.came() => break None,
            _ = ticks.tick() => {
                if let Some(ended) = network.ended() {
                    break Some(ended);
                }
            }
        }
    };
    network::stop(network).await?;
    match ended {
        None => Ok(()),
        Some((part, log)) => bail!(
            "the {} ended by itself, so the rest was stopped; {log}",
            part.name()
        ),
    }
}

/// Stops what a detached network left running.
pub(crate) async fn down(arguments: &StateArguments) -> Result<()> {
    let state = arguments.folder(&Workspace::locate()?);
    let mut was_running = false;
    if let Some(file) = NetworkFile::read(&state)? {
        for part in Part::STOPPING {
            if let Some(pid) = file.running(part, &state) {
                was_running = true;
                let step = Step::begin(format!("stopping the {}", part.name()));
                stop_pid(pid, part.argument(&state).as_os_str()).await;
                step.done();
            }
        }
    }
    if !was_running {
        print("Nothing is running.");
    }
    NetworkFile::remove(&state)
}

/// Prints which parts run.
pub(crate) async fn status(arguments: &StateArguments) -> Result<()> {
    let state = arguments.folder(&Workspace::locate()?);
    let Some(file) = NetworkFile::read(&state)? else {
        print("Nothing is running; `cargo xtask up` starts it.");
        return Ok(());
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(2))
        .build()?;
    let mut parts = vec![
        ("appview", &file.appview.url, "/readyz", Part::AppView),
        ("hold", &file.hold.url, "/readyz", Part::Hold),
        ("PDS", &file.pds.url, "/xrpc/_health", Part::AtProtocol),
        ("PLC directory", &file.plc.url, "/_health", Part::AtProtocol),
    ];
    if let Some(followers) = &file.followers {
        parts.extend([
            ("relay", &followers.relay.url, "/xrpc/_health", Part::Relay),
            (
                "collections",
                &followers.collections.url,
                "/_health",
                Part::CollectionDirectory,
            ),
            ("tap", &followers.tap.url, "/health", Part::Tap),
        ]);
    }
    if let Some(scanner) = &file.scanner {
        parts.push(("scanner", &scanner.url, "/livez", Part::Scanner));
    }
    let mut all = true;
    for (name, url, path, part) in parts {
        let pid = file.running(part, &state);
        // Another program may have taken the port since.
        let is_healthy = pid.is_some()
            && client
                .get(format!("{url}{path}"))
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success());
        all &= is_healthy;
        match pid {
            Some(pid) if is_healthy => print(format_args!("{name:<14} running        {url}  (pid {pid})")),
            Some(pid) => print(format_args!("{name:<14} not answering  {url}  (pid {pid})")),
            None => print(format_args!("{name:<14} stopped")),
        }
    }
    if !all {
        bail!("not everything is running; `cargo xtask down` and `cargo xtask up` start afresh");
    }
    Ok(())
}

fn print_lines(workspace: &Workspace, file: &NetworkFile) {
    let registry = file.appview.url.trim_start_matches("http://");
    print(format_args!("\n  appview        {}", file.appview.url));
    print(format_args!(
        "  hold           {}  ({})",
        file.hold.url, file.hold.did
    ));
    print(format_args!("  PDS            {}", file.pds.url));
    print(format_args!("  PLC directory  {}", file.plc.url));
    if let Some(followers) = &file.followers {
        print(format_args!("  relay          {}", followers.relay.url));
        print(format_args!("  collections    {}", followers.collections.url));
        print(format_args!("  tap            {}", followers.tap.url));
    }
    if let Some(scanner) = &file.scanner {
        print(format_args!("  scanner        {}/readyz", scanner.url));
    }
    for account in &file.accounts {
        print(format_args!("\n  {}  {}", account.handle, account.did));
        print(format_args!(
            "    docker login {registry} -u {} -p {}",
            account.handle, account.app_password
        ));
        print(format_args!(
            "    docker push {registry}/{}/app:1",
            account.handle
        ));
        print(format_args!(
            "    docker pull {registry}/{}/app:1",
            account.handle
        ));
        print(format_args!("    in a browser: password {}", account.password));
    }
    print(
        "\n  Instead of docker login, sign in with the browser; Docker then finds the helper through PATH:",
    );
    print(format_args!(
        "    export PATH=\"{}:$PATH\"",
        workspace.programs().display()
    ));
    print(format_args!("    docker-credential-atcr login {registry}"));
    print(format_args!(
        "    docker-credential-atcr configure-docker {registry}"
    ));
}
