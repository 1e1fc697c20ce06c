//! A PostgreSQL server of one's own: a new cluster in a temporary folder, at a Unix socket that only its folder's owner reaches.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};

use crate::tools::{find_command, require_commands};

/// The user and group that it runs as when the tests run as root, which the server refuses: `nobody`.
const NOBODY: u32 = 65534;

/// Makes the cluster, starts the server, says so, and stops it when standard input ends: also when whoever started it was killed.
/// Nothing is kept, so nothing waits for the disk.
const SCRIPT: &str = r#"
folder=$1
initdb -D "$folder/data" -U atcr -A trust -E UTF8 --locale=C.UTF-8 --no-sync --no-instructions >"$folder/log" 2>&1 ||
    { tail -n 3 "$folder/log"; exit 1; }
postgres -D "$folder/data" -k "$folder" -c listen_addresses= -c max_connections=400 -c shared_buffers=${2}MB \
    -c fsync=off -c full_page_writes=off -c autovacuum_naptime=5 >>"$folder/log" 2>&1 </dev/null &
server=$!
until pg_isready -q -h "$folder"; do
    kill -0 $server 2>/dev/null || { tail -n 3 "$folder/log"; exit 1; }
    sleep 0.02
done
echo ready
read -r _
kill -INT $server
wait $server
cd /
rm -rf "$folder"
"#;

/// A server that runs. It stops, and its folder goes, when this is dropped or the process ends.
#[derive(Debug)]
pub struct PostgresServer {
    folder: PathBuf,
    keeper: Child,
}

impl PostgresServer {
    /// Starts one with the server's own default memory; installs PostgreSQL first where that is missing and can be done.
    ///
    /// # Errors
    /// One sentence that says what failed.
    pub fn start() -> Result<Self> {
        Self::start_with_memory(128)
    }

    /// Starts one with so many megabytes of shared buffers.
    ///
    /// # Errors
    /// As those of [`PostgresServer::start`].
    pub fn start_with_memory(megabytes: u32) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        require_commands(&["initdb"], &mut |_| {})?;
        let initdb = find_command("initdb").context("initdb is not there")?;
        let programs = initdb.parent().context("initdb is in no folder")?;
        let name = format!(
            "atcr-postgres-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths(std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path)))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "sh"])
            .arg(&folder)
            .arg(megabytes.to_string())
            .env("PATH", path)
            .current_dir(&folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if rustix::process::geteuid().is_root() {
            chown(&folder, Some(NOBODY), Some(NOBODY))?;
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut keeper = command.spawn().context("cannot start a shell")?;
        let mut said = String::new();
        if let Some(output) = keeper.stdout.take() {
            let mut output = BufReader::new(output);
            while output.read_line(&mut said)? > 0 {
                if said.ends_with("ready\n") {
                    return Ok(Self { folder, keeper });
                }
            }
        }
        bail!("PostgreSQL did not start: {}", said.trim().replace('\n', "; "))
    }

    /// The address of a database of it, as its superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://atcr@localhost/{database}?host={}",
            self.folder.display()
        )
    }

    /// The folder with its socket, data and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs SQL in a database and returns what it printed, a row a line.
    ///
    /// # Errors
    /// What the server said.
    pub fn run(&self, database: &str, sql: &str) -> Result<String> {
        let psql = find_command("psql").context("psql is not there")?;
        let output = Command::new(psql)
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "atcr",
                "-d",
                database,
                "-c",
                sql,
            ])
            .arg("-h")
            .arg(&self.folder)
            .stdin(Stdio::null())
            .output()
            .context("cannot start psql")?;
        if !output.status.success() {
            bail!("{sql}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Nothing to do about a shell that is gone.
        let _ = self.keeper.wait();
    }
}
