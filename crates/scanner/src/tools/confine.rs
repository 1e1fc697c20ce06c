//! What a tool may do: the process that is to become the tool takes its own rights away and then executes it.
//!
//! The scanner starts itself as `atcr-scanner __limit …`, so that everything between fork and exec is ordinary safe code. A tool
//! thus confined opens no socket, starts no process, sends no other process a signal, writes no file beyond its bound, reads and writes
//! only the paths that it is given, makes nothing but files and folders there, gains no rights by executing something, and dies with
//! the scanner.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::Args;
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use rustix::thread::set_no_new_privs;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as ArgLen, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};

/// Files that a tool may have open.
const OPEN_FILES: u64 = 4096;

/// What the tools and Go's runtime read of the system. Not `/proc`: it shows the scanner's environment. Not all of `/etc`: there are
/// other services' secrets.
const SYSTEM: [&str; 24] = [
    "/etc/ca-certificates",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/resolv.conf",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
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

/// What a tool may do where it writes: make, change, read and remove files and folders. Links, pipes, sockets and devices would lead
/// whoever reads its results elsewhere, and nothing that it wrote is executed.
fn write_rights(abi: ABI) -> BitFlags<AccessFs> {
    let refused = AccessFs::MakeSym
        | AccessFs::MakeFifo
        | AccessFs::MakeSock
        | AccessFs::MakeChar
        | AccessFs::MakeBlock
        | AccessFs::Refer
        | AccessFs::IoctlDev
        | AccessFs::Execute;
    AccessFs::from_all(abi) & !refused
}

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
    /// Folders in which it may make, change and remove files and folders
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
        .add_rules(path_beneath_rules(write, write_rights(abi)))?
        .add_rules(path_beneath_rules(["/dev/null"], write_rights(abi)))?
        .restrict_self()
        .context("landlock")?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => PathsKept::Fully,
        RulesetStatus::PartiallyEnforced => PathsKept::Partly,
        RulesetStatus::NotEnforced => PathsKept::No,
    })
}

/// Makes calls fail that no tool needs: those that reach other processes or the network, and those that start a process, which could
/// leave the tool's group and outlive it. A Go program needs threads only.
fn forbid_calls(network: bool) -> anyhow::Result<()> {
    let mut forbidden = vec![
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_process_madvise,
        libc::SYS_process_mrelease,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_tkill,
        libc::SYS_setsid,
        libc::SYS_setpgid,
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
    #[cfg(target_arch = "x86_64")]
    forbidden.extend([libc::SYS_fork, libc::SYS_vfork]);
    if !network {
        forbidden.extend([libc::SYS_socket, libc::SYS_socketpair]);
    }
    let own = u64::from(std::process::id());
    let word = |argument, op, value| SeccompCondition::new(argument, ArgLen::Dword, op, value);
    let of_others = |argument| SeccompRule::new(vec![word(argument, Op::Ne, own)?]);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        forbidden.into_iter().map(|number| (number, Vec::new())).collect();
    let thread = Op::MaskedEq(CLONE_THREAD);
    rules.insert(
        libc::SYS_clone,
        vec![SeccompRule::new(vec![word(0, thread, 0)?])?],
    );
    for call in [
        libc::SYS_kill,
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
    ] {
        rules.insert(call, vec![of_others(0)?]);
    }
    let limits_of_others = SeccompRule::new(vec![word(0, Op::Ne, 0)?, word(0, Op::Ne, own)?])?;
    rules.insert(libc::SYS_prlimit64, vec![limits_of_others]);
    // A file can be told to send signals to anyone.
    let signals = [libc::F_SETOWN, F_SETOWN_EX, F_SETSIG].map(i32::unsigned_abs);
    let signals = signals.map(|command| SeccompRule::new(vec![word(1, Op::Eq, command.into())?]));
    rules.insert(libc::SYS_fcntl, signals.into_iter().collect::<Result<_, _>>()?);
    apply(rules, libc::EPERM)?;
    // Its arguments are in memory, where no filter looks; callers that hear that there is no such call use the older one.
    apply(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?;
    #[cfg(target_arch = "x86_64")]
    seccompiler::apply_filter(&no_x32_calls()).context("seccomp")?;
    Ok(())
}

const CLONE_THREAD: u64 = 0x0001_0000;
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;

fn apply(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> anyhow::Result<()> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)
        .map_err(|_| anyhow::anyhow!("calls cannot be forbidden on {}", std::env::consts::ARCH))?;
    let denied = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program).context("seccomp")
}

/// The x32 ABI has other numbers for the same calls; nothing uses it.
#[cfg(target_arch = "x86_64")]
fn no_x32_calls() -> BpfProgram {
    const X32: u32 = 0x4000_0000;
    let step = |code, jump_unless, k| seccompiler::sock_filter {
        code,
        jt: 0,
        jf: jump_unless,
        k,
    };
    vec![
        // The number of the call; at least X32, or over the next; an error; allowed.
        step(0x20, 0, 0),
        step(0x35, 1, X32),
        step(0x06, 0, 0x0005_0000 | libc::ENOSYS.unsigned_abs()),
        step(0x06, 0, 0x7fff_0000),
    ]
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

impl Probed {
    /// Whether tools may run here; `allow_open_paths` is the operator's word that they may read and write anywhere.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn allows_tools(&self, allow_open_paths: bool) -> Result<(), String> {
        if self.opens_sockets {
            return Err("a tool could use the network".to_owned());
        }
        if self.paths == "not" && !allow_open_paths {
            return Err(
                "this kernel cannot keep tools to their paths: it has no landlock, or it is not enabled; \
                 SCANNER_ALLOW_OPEN_PATHS=true scans all the same"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// What tools could still do here, tried by a process that `launcher` starts.
///
/// # Errors
/// If it cannot be started, or a right cannot be taken away.
pub async fn probed(launcher: &Path) -> anyhow::Result<Probed> {
    let output = tokio::process::Command::new(launcher)
        .arg("__probe")
        .env_clear()
        .stdin(std::process::Stdio::null())
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(serde_json::from_slice(&output.stdout)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_run_without_kept_paths_only_if_the_operator_says_so_and_with_sockets_never() {
        let probed = |opens_sockets, paths: &str| Probed {
            opens_sockets,
            paths: paths.to_owned(),
        };
        assert!(probed(false, "fully").allows_tools(false).is_ok());
        assert!(probed(false, "partly").allows_tools(false).is_ok());
        assert!(probed(false, "not").allows_tools(false).is_err());
        assert!(probed(false, "not").allows_tools(true).is_ok());
        assert!(probed(true, "fully").allows_tools(true).is_err());
    }
}
