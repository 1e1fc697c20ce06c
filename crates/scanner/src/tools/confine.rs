//! What a tool may do: the process that is to become the tool takes its own rights away and then executes it.
//!
//! The scanner starts itself as `atcr-scanner __limit …`, so that everything between fork and exec is ordinary safe code. A tool
//! thus confined opens no socket, writes no file beyond its bound, reads and writes only the paths that it is given, gains no
//! rights by executing something, and dies with the scanner.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::Args;
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use rustix::thread::set_no_new_privs;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use serde::{Deserialize, Serialize};

/// Files that a tool may have open.
const OPEN_FILES: u64 = 4096;

/// What the tools and Go's runtime read of the system. Not `/proc`: it shows the scanner's environment.
const SYSTEM: [&str; 12] = [
    "/etc",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/sys/kernel/mm",
    "/proc/self",
    "/dev/urandom",
    // Where links in /etc lead: certificates, the resolver.
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/run/systemd/resolve",
];

/// The rights of one tool, and the tool.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Confinement {
    /// Process that starts the tool; if it is gone, there is no tool
    #[arg(long)]
    pub parent: u32,
    /// Longest file that it may write, in bytes
    #[arg(long)]
    pub file_bytes: u64,
    /// Files and folders that it may read and execute
    #[arg(long)]
    pub read: Vec<PathBuf>,
    /// Folders in which it may do anything
    #[arg(long)]
    pub write: Vec<PathBuf>,
    /// Whether it may open sockets
    #[arg(long)]
    pub network: bool,
    /// The tool and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// Whether the kernel keeps a tool to its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathsKept {
    /// It does.
    Fully,
    /// It does in part: an older kernel.
    Partly,
    /// It does not.
    No,
}

impl Confinement {
    /// The arguments of `atcr-scanner` that bring this about.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["__limit".into()];
        let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        option("--parent", self.parent.to_string().into());
        option("--file-bytes", self.file_bytes.to_string().into());
        for path in &self.read {
            option("--read", path.into());
        }
        for path in &self.write {
            option("--write", path.into());
        }
        if self.network {
            arguments.push("--network".into());
        }
        arguments.push("--".into());
        arguments.extend(self.command.iter().cloned());
        arguments
    }

    /// Takes the rights away from this process and becomes the tool.
    ///
    /// # Errors
    /// If a right cannot be taken away, or the tool cannot be executed. Nothing runs then.
    pub fn become_tool(&self) -> anyhow::Result<Infallible> {
        set_parent_process_death_signal(Some(Signal::KILL)).context("parent-death signal")?;
        let parent = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        ensure!(parent == Some(self.parent), "the scanner is gone");
        limit(Resource::Fsize, self.file_bytes)?;
        limit(Resource::Core, 0)?;
        limit(Resource::Nofile, OPEN_FILES)?;
        set_no_new_privs(true).context("no_new_privs")?;
        keep_to_paths(&self.read, &self.write)?;
        forbid_calls(self.network)?;
        let (program, arguments) = self.command.split_first().context("no tool")?;
        let error = Command::new(program).args(arguments).exec();
        Err(error).with_context(|| format!("cannot execute {}", program.display()))
    }
}

fn limit(resource: Resource, most: u64) -> anyhow::Result<()> {
    let current = rustix::process::getrlimit(resource);
    let most = current.maximum.map_or(most, |maximum| maximum.min(most));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(resource, limit).with_context(|| format!("limit of {resource:?}"))
}

/// Keeps this process, and what it becomes, to these paths, as far as the kernel can.
///
/// # Errors
/// If the kernel can and does not.
pub fn keep_to_paths(read: &[PathBuf], write: &[PathBuf]) -> anyhow::Result<PathsKept> {
    let abi = ABI::V5;
    let system = SYSTEM.iter().map(PathBuf::from).filter(|path| path.exists());
    let read = read.iter().cloned().chain(system);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(read, AccessFs::from_read(abi)))?
        .add_rules(path_beneath_rules(write, AccessFs::from_all(abi)))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::from_all(abi)))?
        .restrict_self()
        .context("landlock")?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => PathsKept::Fully,
        RulesetStatus::PartiallyEnforced => PathsKept::Partly,
        RulesetStatus::NotEnforced => PathsKept::No,
    })
}

/// Makes calls fail that no tool needs: those that reach other processes or the network.
fn forbid_calls(network: bool) -> anyhow::Result<()> {
    let mut forbidden = vec![
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_userfaultfd,
        // It opens sockets, too.
        libc::SYS_io_uring_setup,
    ];
    if !network {
        forbidden.extend([libc::SYS_socket, libc::SYS_socketpair]);
    }
    // The same calls under the numbers of the x32 ABI.
    #[cfg(target_arch = "x86_64")]
    forbidden.extend(forbidden.clone().iter().map(|number| number | 0x4000_0000));
    let rules: BTreeMap<i64, Vec<_>> = forbidden.into_iter().map(|number| (number, Vec::new())).collect();
    let architecture = TargetArch::try_from(std::env::consts::ARCH)
        .map_err(|_| anyhow::anyhow!("calls cannot be forbidden on {}", std::env::consts::ARCH))?;
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program).context("seccomp")
}

/// What a confined process could still do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probed {
    /// Whether it could open a socket.
    pub opens_sockets: bool,
    /// How far the kernel keeps it to its paths: `fully`, `partly`, `not`.
    pub paths: String,
}

/// Takes this process's rights away as a tool's, and prints what it can still do.
///
/// # Errors
/// If a right cannot be taken away.
#[expect(clippy::print_stdout, reason = "another process of ours reads it")]
pub fn probe() -> anyhow::Result<()> {
    set_no_new_privs(true).context("no_new_privs")?;
    let paths = match keep_to_paths(&[], &[])? {
        PathsKept::Fully => "fully",
        PathsKept::Partly => "partly",
        PathsKept::No => "not",
    };
    forbid_calls(false)?;
    let probed = Probed {
        opens_sockets: std::net::UdpSocket::bind("127.0.0.1:0").is_ok(),
        paths: paths.to_owned(),
    };
    println!("{}", serde_json::to_string(&probed)?);
    Ok(())
}
