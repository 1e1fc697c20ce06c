//! The command lines of the processes above this one.
//!
//! Docker's protocol tells a helper only the host. The image is on the command line of the program that started the helper:
//! the parent, or a process a few steps up if a wrapper or a plug-in is in between.

use std::path::Path;

/// How many processes are looked at: helper ← plug-in ← `docker` ← `sudo` ← script leaves two to spare.
const MAX_ANCESTORS: usize = 6;
/// Longest command line that is read, in bytes.
const MAX_COMMAND_LINE: u64 = 256 * 1024;

/// Programs that move images. Above the last of these a command line says nothing about what is moved.
const CONTAINER_TOOLS: &[&str] = &[
    "docker",
    "com.docker.cli",
    "docker-buildx",
    "docker-compose",
    "podman",
    "podman-remote",
    "buildah",
    "skopeo",
    "nerdctl",
    "finch",
    "crane",
    "oras",
    "regctl",
    "regsync",
    "helm",
    "cosign",
    "ko",
    "kaniko",
    "flux",
    "apptainer",
];

/// One process above this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Its arguments, the program first.
    pub arguments: Vec<String>,
    /// The process above it.
    pub parent: Option<u32>,
}

impl Ancestor {
    /// Whether it is a tool that moves images, or a script that is one.
    fn is_container_tool(&self) -> bool {
        self.arguments.iter().take(2).any(|argument| {
            let name = Path::new(argument)
                .file_name()
                .map(|name| name.to_string_lossy())
                .unwrap_or_default();
            let name = name.strip_suffix(".exe").unwrap_or(&name);
            CONTAINER_TOOLS.contains(&name)
        })
    }
}

/// What `find` sees in the nearest ancestor in which it sees anything.
///
/// Unknown programs are passed over. The walk ends above the container tool that is nearest: the script that
/// called it may well speak of other images.
pub fn search<T>(
    mut look_up: impl FnMut(u32) -> Option<Ancestor>,
    parent: u32,
    find: impl Fn(&[String]) -> Option<T>,
) -> Option<T> {
    let mut next = Some(parent);
    let mut passed_tool = false;
    for _ in 0..MAX_ANCESTORS {
        let ancestor = look_up(next?)?;
        let is_tool = ancestor.is_container_tool();
        if passed_tool && !is_tool {
            return None;
        }
        if let Some(found) = find(&ancestor.arguments) {
            return Some(found);
        }
        passed_tool |= is_tool;
        next = ancestor.parent.filter(|parent| *parent > 1);
    }
    None
}

/// The process that started this one.
#[must_use]
pub fn parent() -> Option<u32> {
    #[cfg(unix)]
    return Some(std::os::unix::process::parent_id());
    #[cfg(not(unix))]
    return None;
}

/// Reads a process of this machine; `None` when it is gone or not ours to see.
#[must_use]
pub fn look_up(pid: u32) -> Option<Ancestor> {
    if cfg!(any(target_os = "linux", target_os = "android")) {
        proc_file_system(Path::new("/proc"), pid)
    } else if cfg!(unix) {
        process_status(pid)
    } else {
        None
    }
}

/// Reads `cmdline` and the parent's number from the process file system mounted at `root`.
fn proc_file_system(root: &Path, pid: u32) -> Option<Ancestor> {
    use std::io::Read as _;

    let folder = root.join(pid.to_string());
    let mut command_line = Vec::new();
    std::fs::File::open(folder.join("cmdline"))
        .ok()?
        .take(MAX_COMMAND_LINE)
        .read_to_end(&mut command_line)
        .ok()?;
    let arguments = command_line
        .split(|byte| *byte == 0)
        .filter(|argument| !argument.is_empty())
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect();
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    // `pid (name) state parent …`; the name may itself hold spaces and brackets.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let parent = after_name
        .split_whitespace()
        .nth(1)
        .and_then(|parent| parent.parse().ok());
    Some(Ancestor { arguments, parent })
}

/// Asks `ps`, as on macOS. It writes arguments with spaces between them, so one with a space inside falls apart; an
/// image name has none.
#[doc(hidden)]
#[must_use]
pub fn process_status(pid: u32) -> Option<Ancestor> {
    let output = std::process::Command::new("/bin/ps")
        .args(["-ww", "-o", "ppid=", "-o", "command=", "-p", &pid.to_string()])
        .stderr(std::process::Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace();
    let parent = words.next()?.parse().ok();
    Some(Ancestor {
        arguments: words.map(str::to_owned).collect(),
        parent,
    })
}
