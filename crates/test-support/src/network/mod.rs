//! A whole registry on loopback: PLC directory and reference PDS (one Node process), hold, appview.

mod config;
mod descendants;
mod file;
mod followers;
mod ports;
mod process;
mod scanner;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

pub use config::{HoldStorage, S3Storage};
pub use descendants::{adopt_orphans, end_descendants, kill_descendants};
pub use file::{Account, Endpoint, FollowerEndpoints, HoldEndpoint, NetworkFile};
pub use ports::{FollowerPorts, Ports};
pub use process::{Program, stop_pid};
pub use scanner::ScannerOptions;

use crate::tools::Workspace;
use file::write_private;
use followers::sqlite_url;

/// How long a part may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// What to start, and where it keeps its state.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// The folder of all state, logs and generated configuration.
    pub state: PathBuf,
    /// The ports to listen on.
    pub ports: Ports,
    /// Handles of the accounts to have, `.test` names; the first owns the hold.
    pub accounts: Vec<String>,
    /// Where the hold keeps objects.
    pub storage: HoldStorage,
    /// The kind of the hold's DID.
    pub hold_did: HoldDid,
    /// Whether every caller may pull from the hold.
    pub public: bool,
    /// Whether every account may push to the hold.
    pub allow_all_crew: bool,
    /// Whether manifests may name content that was not pushed.
    pub allow_missing_content: bool,
    /// How long unfinished uploads lie at the hold; `None` for its default.
    pub upload_expiry: Option<Duration>,
    /// The folder of the backup of the hold's repository; there is none if `None`.
    pub backup: Option<PathBuf>,
    /// How long the hold keeps its events; `None` for its default.
    pub event_retention: Option<Duration>,
    /// Where hold and appview serve their metrics; nowhere if `None`.
    pub metrics: Option<Ports>,
    /// A name with TLS in front of the appview; then it is a confidential OAuth client.
    pub front: Option<Front>,
    /// Where the network's relay and its followers listen; they are not started if `None`.
    pub followers: Option<FollowerPorts>,
    /// What scans the images; nothing if `None`.
    pub scanner: Option<ScannerOptions>,
}

/// The kind of a hold's DID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldDid {
    /// From its URL.
    Web,
    /// From the network's directory.
    Plc,
}

/// A name with TLS that only the PDS's process and a browser told so can resolve.
#[derive(Clone, Debug)]
pub struct Front {
    /// The name; the PDS refuses reserved ones such as `.test`.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Holds `cert.pem` and `key.pem`.
    pub folder: PathBuf,
}

impl Front {
    /// `https://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.host, self.port)
    }
}

impl NetworkOptions {
    /// The defaults of the development network with its state in `state`.
    #[must_use]
    pub fn new(state: PathBuf, ports: Ports) -> Self {
        Self {
            state,
            ports,
            accounts: vec!["alice.test".to_owned(), "bob.test".to_owned()],
            storage: HoldStorage::Filesystem,
            hold_did: HoldDid::Web,
            public: true,
            allow_all_crew: true,
            allow_missing_content: false,
            upload_expiry: None,
            backup: None,
            event_retention: None,
            metrics: None,
            front: None,
            followers: None,
            scanner: None,
        }
    }
}

/// The parts of a network, in the order they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// PLC directory and PDS.
    AtProtocol,
    /// The hold.
    Hold,
    /// The appview.
    AppView,
    /// The network's relay, which follows PDS and hold.
    Relay,
    /// The directory of accounts by collection, which follows the relay.
    CollectionDirectory,
    /// The verifying follower of the relay.
    Tap,
    /// The scanner of the hold's images.
    Scanner,
}

impl Part {
    /// The parts in the order they stop: no part loses a server that it still talks to.
    pub const STOPPING: [Self; 7] = [
        Self::Scanner,
        Self::Tap,
        Self::CollectionDirectory,
        Self::Relay,
        Self::AppView,
        Self::Hold,
        Self::AtProtocol,
    ];

    /// The parts that every network has; the others come with its followers.
    pub const ALWAYS: [Self; 3] = [Self::AppView, Self::Hold, Self::AtProtocol];

    /// What a person calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AtProtocol => "PLC directory and PDS",
            Self::Hold => "hold",
            Self::AppView => "appview",
            Self::Relay => "relay",
            Self::CollectionDirectory => "collection directory",
            Self::Tap => "tap",
            Self::Scanner => "scanner",
        }
    }

    /// Its key among the pids of [`NetworkFile`].
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::AtProtocol => "network",
            Self::Hold => "hold",
            Self::AppView => "appview",
            Self::Relay => "relay",
            Self::CollectionDirectory => "collections",
            Self::Tap => "tap",
            Self::Scanner => "scanner",
        }
    }

    /// The argument that its process has and no other: a path below the folder of the network's state.
    #[must_use]
    pub fn argument(self, state: &Path) -> PathBuf {
        match self {
            Self::AtProtocol => state.join("network"),
            Self::Hold => state.join("hold.yaml"),
            Self::AppView => state.join("appview.yaml"),
            Self::Relay => state.join("relay/persist"),
            Self::CollectionDirectory => state.join("collections/pebble"),
            Self::Tap => PathBuf::from(sqlite_url(&state.join("tap/tap.sqlite"))),
            Self::Scanner => scanner::program(state),
        }
    }
}

/// The line that the Node process prints when everything in it answers.
#[derive(Deserialize)]
struct Ready {
    accounts: Vec<Account>,
}

/// What happens while a network starts.
pub type Progress<'a> = &'a mut dyn FnMut(Part, bool);

/// A running network; dropping it stops every process it started.
#[derive(Debug)]
pub struct Network {
    options: NetworkOptions,
    workspace: Workspace,
    file: NetworkFile,
    programs: BTreeMap<&'static str, Program>,
}

impl Network {
    /// A network of which nothing runs yet; its ports are free.
    ///
    /// # Errors
    /// One sentence about a port in use, or that the folder of the state cannot be made.
    pub fn prepare(workspace: &Workspace, mut options: NetworkOptions) -> Result<Self> {
        options.ports.require_free()?;
        if let Some(ports) = &options.followers {
            ports.require_free()?;
        }
        if let Some(scanner) = &options.scanner {
            scanner.require_free()?;
        }
        std::fs::create_dir_all(options.state.join("logs"))
            .and_then(|()| options.state.canonicalize())
            .map(|state| options.state = state)
            .with_context(|| format!("cannot create {}", options.state.display()))?;
        let ports = options.ports;
        let url = |host: &str, port: u16| Endpoint {
            url: format!("http://{host}:{port}"),
        };
        let file = NetworkFile {
            appview: url("127.0.0.1", ports.appview),
            hold: HoldEndpoint {
                url: url("localhost", ports.hold).url,
                did: config::hold_did(ports),
            },
            pds: url("localhost", ports.pds),
            plc: url("localhost", ports.plc),
            scanner: options
                .scanner
                .as_ref()
                .map(|scanner| url("127.0.0.1", scanner.port)),
            followers: options.followers.map(|ports| FollowerEndpoints {
                relay: url("127.0.0.1", ports.relay),
                collections: url("127.0.0.1", ports.collections),
                tap: url("127.0.0.1", ports.tap),
            }),
            ..NetworkFile::default()
        };
        Ok(Self {
            options,
            workspace: workspace.clone(),
            file,
            programs: BTreeMap::new(),
        })
    }

    /// Starts every part in order and waits until each is healthy; `progress` is called before (`false`) and after.
    ///
    /// The programs must be built and the Node packages installed ([`crate::tools`]).
    ///
    /// # Errors
    /// One line naming the part and its log, and what the log says.
    ///
    /// # Cancel safety
    /// What was started stays known: [`Self::stop_all`] stops it, and so does dropping the network.
    pub async fn start_parts(&mut self, progress: Progress<'_>) -> Result<()> {
        progress(Part::AtProtocol, false);
        self.start_at_protocol().await?;
        progress(Part::AtProtocol, true);
        progress(Part::Hold, false);
        self.start_hold().await?;
        progress(Part::Hold, true);
        progress(Part::AppView, false);
        self.start_appview().await?;
        progress(Part::AppView, true);
        if self.options.scanner.is_some() {
            progress(Part::Scanner, false);
            self.start_scanner().await?;
            progress(Part::Scanner, true);
        }
        if let Some(ports) = self.options.followers {
            for part in [Part::Relay, Part::CollectionDirectory, Part::Tap] {
                progress(part, false);
                self.start_follower(part, ports).await?;
                progress(part, true);
            }
        }
        Ok(())
    }

    /// [`Self::prepare`] and [`Self::start_parts`] in one; nothing runs on if that fails.
    ///
    /// # Errors
    /// Those of the two.
    pub async fn start(
        workspace: &Workspace,
        options: NetworkOptions,
        progress: Progress<'_>,
    ) -> Result<Self> {
        let mut network = Self::prepare(workspace, options)?;
        network.start_parts(progress).await?;
        Ok(network)
    }

    /// The running network's addresses, accounts and processes.
    #[must_use]
    pub fn file(&self) -> &NetworkFile {
        &self.file
    }

    /// How long unfinished uploads lie at the hold, from its next start on.
    pub fn set_upload_expiry(&mut self, expiry: Duration) {
        self.options.upload_expiry = Some(expiry);
    }

    /// Whether every caller may pull, from the hold's next start on.
    pub fn set_public(&mut self, public: bool) {
        self.options.public = public;
    }

    /// Where the hold's repository is backed up, from the hold's next start or command on.
    ///
    /// # Errors
    /// If the configuration cannot be written.
    pub fn set_backup(&mut self, backup: Option<PathBuf>) -> Result<()> {
        self.options.backup = backup;
        self.configure_hold()
    }

    /// The name of this machine in the hold's URL, from the hold's next start on.
    pub fn set_hold_host(&mut self, host: &str) {
        self.file.hold.url = format!("http://{host}:{}", self.options.ports.hold);
    }

    /// A run of the hold's program with its configuration, for a command of an operator.
    ///
    /// # Errors
    /// If the program is not built.
    pub fn hold_command(&self, arguments: &[&str]) -> Result<std::process::Command> {
        let mut command = std::process::Command::new(self.workspace.binary("atcr-hold")?);
        command
            .args(arguments)
            .arg("--config")
            .arg(Part::Hold.argument(&self.options.state));
        Ok(command)
    }

    /// The folder of all state.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.options.state
    }

    /// Starts the PLC directory and the PDS on the state they have; waits until both answer.
    ///
    /// # Errors
    /// One sentence and the last lines of their log.
    pub async fn start_at_protocol(&mut self) -> Result<()> {
        let script = self.workspace.network_folder().join("network.mjs");
        let ports = self.options.ports;
        let mut arguments: Vec<OsString> = vec![script.into()];
        let mut option = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
        option("--state", Part::AtProtocol.argument(&self.options.state).into());
        option("--plc-port", ports.plc.to_string().into());
        option("--pds-port", ports.pds.to_string().into());
        option("--accounts", self.options.accounts.join(",").into());
        if let Some(front) = &self.options.front {
            option("--front-host", front.host.clone().into());
            option("--front-port", front.port.to_string().into());
            option("--front-to", ports.appview.to_string().into());
            option("--front-folder", front.folder.clone().into());
        }
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        let node = self.workspace.node()?;
        let program = self.launch(Part::AtProtocol, &node, &arguments)?;
        let line = program.ready_line(START_TIMEOUT).await?;
        let ready: Ready = serde_json::from_str(&line).context("the PDS printed something unexpected")?;
        self.file.accounts = ready.accounts;
        self.file.write(&self.options.state)
    }

    /// Starts PLC directory and PDS again with another secret for access tokens: none that was given out is taken any more.
    ///
    /// # Errors
    /// What cannot be read, written or started.
    pub async fn forget_access_tokens(&mut self) -> Result<()> {
        self.stop(Part::AtProtocol).await?;
        let path = self.options.state.join("network/secrets.json");
        let mut secrets: BTreeMap<String, String> = serde_json::from_slice(&std::fs::read(&path)?)?;
        let secret = secrets
            .get_mut("jwtSecret")
            .context("secrets.json has no jwtSecret")?;
        *secret = secret.chars().rev().collect();
        write_private(&path, &serde_json::to_vec(&secrets)?)?;
        self.start_at_protocol().await
    }

    /// Starts the hold on the state it has; waits until it is ready.
    ///
    /// # Errors
    /// One line, and what the hold's log says.
    pub async fn start_hold(&mut self) -> Result<()> {
        self.configure_hold()?;
        let url = self.file.hold.url.clone();
        self.serve(Part::Hold, "atcr-hold", &url).await?;
        self.file.hold.did = process::text_of(&format!("{url}/.well-known/atproto-did")).await?;
        self.file.write(&self.options.state)
    }

    fn configure_hold(&self) -> Result<()> {
        let owner = self.file.accounts.first();
        let owner = owner.context("a network needs at least one account")?;
        let secret = match self.options.scanner {
            Some(_) => scanner::secret(&self.options.state)?,
            None => String::new(),
        };
        config::write_hold(&self.options, &self.file, &owner.did, &secret)
    }

    /// Starts the appview on the state it has; waits until it is ready.
    ///
    /// # Errors
    /// One line, and what the appview's log says.
    pub async fn start_appview(&mut self) -> Result<()> {
        config::write_appview(&self.options, &self.file)?;
        let url = self.file.appview.url.clone();
        self.serve(Part::AppView, "atcr-appview", &url).await
    }

    /// Kills a part with SIGKILL, as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// If the part was not running.
    pub async fn kill(&mut self, part: Part) -> Result<()> {
        let program = self
            .programs
            .remove(part.key())
            .with_context(|| format!("the {} is not running", part.name()))?;
        program.kill().await
    }

    /// Stops a part with SIGTERM and waits until it has finished what was in flight.
    ///
    /// # Errors
    /// If the part was not running, or had to be killed.
    pub async fn stop(&mut self, part: Part) -> Result<()> {
        let program = self
            .programs
            .remove(part.key())
            .with_context(|| format!("the {} is not running", part.name()))?;
        program.stop().await
    }

    /// The process id of a running part.
    #[must_use]
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.programs.get(part.key()).and_then(Program::pid)
    }

    /// The part that ended by itself, if one did, with its log and what that says.
    pub fn ended(&mut self) -> Option<(Part, String)> {
        for part in Part::STOPPING.into_iter().rev() {
            if let Some(program) = self.programs.get_mut(part.key())
                && program.has_ended()
            {
                return Some((part, program.see_log()));
            }
        }
        None
    }

    /// Stops everything, the appview first.
    ///
    /// # Errors
    /// The first part that had to be killed.
    pub async fn stop_all(mut self) -> Result<()> {
        let mut outcome = Ok(());
        for part in Part::STOPPING {
            if self.programs.contains_key(part.key()) {
                let stopped = self.stop(part).await;
                outcome = outcome.and(stopped);
            }
        }
        outcome.and(NetworkFile::remove(&self.options.state))
    }

    /// Lets the processes go on without this one; [`NetworkFile`] tells how to find and stop them.
    pub fn detach(mut self) {
        for part in Part::STOPPING {
            if let Some(program) = self.programs.remove(part.key()) {
                program.detach();
            }
        }
    }

    async fn serve(&mut self, part: Part, binary: &str, url: &str) -> Result<()> {
        let binary = self.workspace.binary(binary)?;
        let config = part.argument(&self.options.state);
        let arguments = ["serve".as_ref(), "--config".as_ref(), config.as_os_str()];
        self.launch(part, &binary, &arguments)?
            .wait_for_ready(&format!("{url}/readyz"), START_TIMEOUT)
            .await
    }

    /// Starts a part's process and notes it, so that whatever happens next, it can be found and stopped.
    fn launch(&mut self, part: Part, program: &Path, arguments: &[&OsStr]) -> Result<&mut Program> {
        self.launch_with(part, program, arguments, &[])
    }

    fn launch_with(
        &mut self,
        part: Part,
        program: &Path,
        arguments: &[&OsStr],
        environment: &[(&str, OsString)],
    ) -> Result<&mut Program> {
        let log = self.log(part.key());
        let program = Program::spawn_with(part.name(), program, arguments, environment, &log)?;
        if let Some(pid) = program.pid() {
            self.file.pids.insert(part.key().to_owned(), pid);
        }
        let written = self.file.write(&self.options.state);
        let slot = self.programs.entry(part.key());
        let program = slot.insert_entry(program).into_mut();
        written.map(|()| program)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.options.state.join("logs").join(format!("{name}.log"))
    }
}
