//! A whole registry on loopback: PLC directory and reference PDS (one Node process), hold, appview.

mod config;
mod process;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

pub use config::{HoldStorage, S3Storage};
pub use process::{Program, is_running, stop_pid};

use crate::tools::Workspace;

/// How long a part may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// The ports of the four parts, all on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The PLC directory.
    pub plc: u16,
    /// The reference PDS.
    pub pds: u16,
    /// The hold.
    pub hold: u16,
    /// The appview.
    pub appview: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            plc: 2582,
            pds: 2583,
            hold: 8080,
            appview: 5000,
        }
    }
}

impl Ports {
    /// Four ports that nobody listens on now.
    ///
    /// # Errors
    /// The operating system's, if none can be had.
    pub fn free() -> Result<Self> {
        // All four are held until all are chosen, so that no two are the same.
        let held: Vec<TcpListener> = (0..4)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<Result<_, _>>()?;
        let ports: Vec<u16> = held
            .iter()
            .map(|l| l.local_addr().map(|a| a.port()))
            .collect::<Result<_, _>>()?;
        let [plc, pds, hold, appview] = ports[..] else {
            bail!("the system gave no four ports")
        };
        Ok(Self {
            plc,
            pds,
            hold,
            appview,
        })
    }

    /// Refuses ports that are taken, naming the option that chooses another.
    ///
    /// # Errors
    /// One sentence about the first port in use.
    pub fn require_free(&self) -> Result<()> {
        for (name, port) in [
            ("plc", self.plc),
            ("pds", self.pds),
            ("hold", self.hold),
            ("appview", self.appview),
        ] {
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
                bail!(
                    "port {port} is in use by another program; stop that program, or choose another port with --{name}-port"
                );
            }
        }
        Ok(())
    }
}

/// One demo account of the local PDS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The handle, for example `alice.test`.
    pub handle: String,
    /// The DID in the local directory.
    pub did: String,
    /// The account's own password.
    pub password: String,
    /// A password for `docker login`.
    pub app_password: String,
}

/// Where a part answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Endpoint {
    /// The base URL, without a slash at its end.
    pub url: String,
}

/// Where the hold answers, and its DID.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HoldEndpoint {
    /// The base URL, without a slash at its end.
    pub url: String,
    /// The `did:web` of the hold.
    pub did: String,
}

/// The running network as scripts see it: `.atcr/network.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NetworkFile {
    /// The appview.
    pub appview: Endpoint,
    /// The hold.
    pub hold: HoldEndpoint,
    /// The PDS.
    pub pds: Endpoint,
    /// The PLC directory.
    pub plc: Endpoint,
    /// The demo accounts.
    pub accounts: Vec<Account>,
    /// The processes, by part: `network`, `hold`, `appview`.
    pub pids: BTreeMap<String, u32>,
}

impl NetworkFile {
    /// Reads the file of the network whose state is in `state`; `None` if none was written.
    ///
    /// # Errors
    /// If the file is there and cannot be read or understood.
    pub fn read(state: &Path) -> Result<Option<Self>> {
        let path = state.join("network.json");
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(
                serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?,
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn write(&self, state: &Path) -> Result<()> {
        let path = state.join("network.json");
        let fresh = state.join("network.json.new");
        write_private(&fresh, &serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&fresh, &path)?;
        Ok(())
    }

    /// The account with `handle`.
    ///
    /// # Errors
    /// If the network has no such account.
    pub fn account(&self, handle: &str) -> Result<&Account> {
        self.accounts
            .iter()
            .find(|a| a.handle == handle)
            .with_context(|| format!("no account {handle}"))
    }
}

/// Writes `bytes` to `path` for the owner's eyes only.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
        .with_context(|| format!("cannot write {}", path.display()))
}

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
    /// Whether everybody may pull from the hold.
    pub public: bool,
    /// Whether everybody with an account may push to the hold.
    pub allow_all_crew: bool,
    /// A name with TLS in front of the appview; then it is a confidential OAuth client.
    pub front: Option<Front>,
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
            public: true,
            allow_all_crew: true,
            front: None,
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
}

impl Part {
    /// What a person calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AtProtocol => "PLC directory and PDS",
            Self::Hold => "hold",
            Self::AppView => "appview",
        }
    }

    /// Its key among the pids of [`NetworkFile`].
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::AtProtocol => "network",
            Self::Hold => "hold",
            Self::AppView => "appview",
        }
    }
}

/// The line that the Node process prints when everything in it answers.
#[derive(Deserialize)]
struct Ready {
    plc: Endpoint,
    pds: Endpoint,
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
    network: Option<Program>,
    hold: Option<Program>,
    appview: Option<Program>,
}

impl Network {
    /// Starts every part in order and waits until each is healthy; `progress` is called before (`false`) and after.
    ///
    /// The programs must be built and the Node packages installed ([`crate::tools`]).
    ///
    /// # Errors
    /// One sentence naming the part, and the last lines of its log.
    pub async fn start(
        workspace: &Workspace,
        options: NetworkOptions,
        progress: Progress<'_>,
    ) -> Result<Self> {
        options.ports.require_free()?;
        std::fs::create_dir_all(options.state.join("logs"))?;
        let mut network = Self {
            options,
            workspace: workspace.clone(),
            file: NetworkFile::default(),
            network: None,
            hold: None,
            appview: None,
        };
        progress(Part::AtProtocol, false);
        network.start_at_protocol().await?;
        progress(Part::AtProtocol, true);
        progress(Part::Hold, false);
        network.start_hold().await?;
        progress(Part::Hold, true);
        progress(Part::AppView, false);
        network.start_appview().await?;
        progress(Part::AppView, true);
        Ok(network)
    }

    /// The running network's addresses, accounts and processes.
    #[must_use]
    pub fn file(&self) -> &NetworkFile {
        &self.file
    }

    /// Whether everybody may pull, from the hold's next start on.
    pub fn set_public(&mut self, public: bool) {
        self.options.public = public;
    }

    /// The folder of all state.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.options.state
    }

    async fn start_at_protocol(&mut self) -> Result<()> {
        let script = self.workspace.network_folder().join("network.mjs");
        let ports = self.options.ports;
        let mut arguments: Vec<OsString> = vec![script.into()];
        let mut option = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
        option("--state", self.options.state.join("network").into());
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
        let mut program = Program::spawn(&self.workspace.node()?, &arguments, &self.log("network"))?;
        let line = program.ready_line(START_TIMEOUT).await?;
        let ready: Ready = serde_json::from_str(&line).context("the PDS printed something unexpected")?;
        self.file.plc = ready.plc;
        self.file.pds = ready.pds;
        self.file.accounts = ready.accounts;
        self.note(Part::AtProtocol, &program)?;
        self.network = Some(program);
        Ok(())
    }

    /// Starts the hold on the state it has; waits until it is ready.
    ///
    /// # Errors
    /// One sentence and the last lines of the hold's log.
    pub async fn start_hold(&mut self) -> Result<()> {
        let owner = self
            .file
            .accounts
            .first()
            .context("a network needs at least one account")?
            .did
            .clone();
        let path = config::write_hold(&self.options, &self.file, &owner)?;
        let url = format!("http://localhost:{}", self.options.ports.hold);
        let program = self.serve(Part::Hold, "atcr-hold", &path, &url).await?;
        self.file.hold = HoldEndpoint {
            url,
            did: config::hold_did(self.options.ports),
        };
        self.note(Part::Hold, &program)?;
        self.hold = Some(program);
        Ok(())
    }

    /// Starts the appview on the state it has; waits until it is ready.
    ///
    /// # Errors
    /// One sentence and the last lines of the appview's log.
    pub async fn start_appview(&mut self) -> Result<()> {
        let path = config::write_appview(&self.options, &self.file)?;
        let url = format!("http://127.0.0.1:{}", self.options.ports.appview);
        let program = self.serve(Part::AppView, "atcr-appview", &path, &url).await?;
        self.file.appview = Endpoint { url };
        self.note(Part::AppView, &program)?;
        self.appview = Some(program);
        Ok(())
    }

    /// Kills a part with SIGKILL, as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// If the part was not running.
    pub async fn kill(&mut self, part: Part) -> Result<()> {
        let program = self
            .slot(part)
            .take()
            .with_context(|| format!("the {} is not running", part.name()))?;
        program.kill().await
    }

    /// Stops a part with SIGTERM and waits until it has finished what was in flight.
    ///
    /// # Errors
    /// If the part was not running, or had to be killed.
    pub async fn stop(&mut self, part: Part) -> Result<()> {
        let program = self
            .slot(part)
            .take()
            .with_context(|| format!("the {} is not running", part.name()))?;
        program.stop().await
    }

    /// The process id of a running part.
    #[must_use]
    pub fn pid(&self, part: Part) -> Option<u32> {
        match part {
            Part::AtProtocol => self.network.as_ref(),
            Part::Hold => self.hold.as_ref(),
            Part::AppView => self.appview.as_ref(),
        }
        .and_then(Program::pid)
    }

    /// The part that ended by itself, if one did, with the last lines of its log.
    pub fn ended(&mut self) -> Option<(Part, String)> {
        for part in [Part::AtProtocol, Part::Hold, Part::AppView] {
            if let Some(program) = self.slot(part)
                && program.has_ended()
            {
                return Some((part, program.log_tail()));
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
        for part in [Part::AppView, Part::Hold, Part::AtProtocol] {
            if self.slot(part).is_some() {
                let stopped = self.stop(part).await;
                outcome = outcome.and(stopped);
            }
        }
        let _ = std::fs::remove_file(self.options.state.join("network.json"));
        outcome
    }

    /// Lets the processes go on without this one; [`NetworkFile`] tells how to find and stop them.
    pub fn detach(mut self) {
        for part in [Part::AtProtocol, Part::Hold, Part::AppView] {
            if let Some(program) = self.slot(part).take() {
                program.detach();
            }
        }
    }

    async fn serve(&self, part: Part, binary: &str, config: &Path, url: &str) -> Result<Program> {
        let mut program = Program::spawn(
            &self.workspace.binary(binary)?,
            &["serve".as_ref(), "--config".as_ref(), config.as_os_str()],
            &self.log(part.key()),
        )?;
        program
            .wait_for_ready(part.name(), &format!("{url}/readyz"), START_TIMEOUT)
            .await?;
        Ok(program)
    }

    fn slot(&mut self, part: Part) -> &mut Option<Program> {
        match part {
            Part::AtProtocol => &mut self.network,
            Part::Hold => &mut self.hold,
            Part::AppView => &mut self.appview,
        }
    }

    fn note(&mut self, part: Part, program: &Program) -> Result<()> {
        if let Some(pid) = program.pid() {
            self.file.pids.insert(part.key().to_owned(), pid);
        }
        self.file.write(&self.options.state)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.options.state.join("logs").join(format!("{name}.log"))
    }
}
