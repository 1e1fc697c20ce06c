//! Grype: a list of packages to a list of findings, and the vulnerability database, which is its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::child::{self, Ended, Limits, Run};
use super::{Tool, surroundings};
use crate::bounds::MAX_DOCUMENT_BYTES;
use crate::error::ScanError;

/// Longest file of a vulnerability database, in bytes; the public one has some 500 MiB as it is fetched, and is several times that
/// unpacked.
const MAX_DATABASE_BYTES: u64 = 8 << 30;

/// Memory of the updater in bytes.
const UPDATE_MEMORY_BYTES: u64 = 2 << 30;

/// How long an update may take.
const UPDATE_TIME: Duration = Duration::from_mins(30);

/// How long the database may take to say what it is.
const STATUS_TIME: Duration = Duration::from_mins(2);

/// `db check`: there is a newer one.
const NEWER: i32 = 100;

/// What of the scanner's environment the updater gets: how it reaches the internet.
const PASSED_ON: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Grype with what starts it.
#[derive(Clone, Debug)]
pub struct Grype {
    /// The program that confines it.
    pub launcher: PathBuf,
    /// The program.
    pub tool: Tool,
    /// When it is cancelled, what is done with the database ends.
    pub stop: CancellationToken,
}

/// Whether a command of the database uses the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network<'a> {
    None,
    /// It does, and reads this list of databases, or the tool's own.
    From(Option<&'a Url>),
}

/// What a vulnerability database says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseStatus {
    /// When it was built.
    pub built: DateTime<Utc>,
    /// The version of its schema.
    pub schema: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    schema_version: Option<String>,
    built: Option<DateTime<Utc>>,
    valid: Option<bool>,
    error: Option<String>,
}

impl Grype {
    /// Looks up the packages in `list`, Syft's own form, in the database in `database`, into the file `report`.
    ///
    /// # Errors
    /// `Database`, `Limit`, `Tool`, `Shutdown`.
    pub async fn look_up(
        &self,
        list: &Path,
        database: &Path,
        (folder, report): (&Path, &Path),
        (memory_bytes, time): (u64, Duration),
        stop: &CancellationToken,
    ) -> Result<(), ScanError> {
        let mut scheme = OsString::from("sbom:");
        scheme.push(list);
        let run = Run {
            tool: "grype",
            program: &self.tool.path,
            arguments: vec![scheme, "-o".into(), "json".into(), "--file".into(), report.into()],
            environment: environment(folder, database, memory_bytes),
            folder,
            readable: vec![list.to_owned(), database.to_owned()],
            writable: report.parent().map(Path::to_owned).into_iter().collect(),
            network: false,
            limits: Limits {
                memory_bytes,
                disk_bytes: 1 << 30,
                file_bytes: MAX_DOCUMENT_BYTES as u64 * 2,
                time,
            },
        };
        let ended = child::run(&self.launcher, run, stop).await?;
        if ended.status.success() {
            return Ok(());
        }
        Err(match ended.failure("grype") {
            ScanError::Tool { detail, .. } if detail.contains("database") || detail.contains(" db") => {
                ScanError::Database(detail)
            }
            failure => failure,
        })
    }

    /// What the database in `database` says of itself. It is asked in `folder`.
    ///
    /// # Errors
    /// `Database` if it is none that works.
    pub async fn status(&self, database: &Path, folder: &Path) -> Result<DatabaseStatus, ScanError> {
        let limits = Limits {
            time: STATUS_TIME,
            ..UPDATE_LIMITS
        };
        let ended = self
            .database(
                &["db", "status", "-o", "json"],
                (database, folder),
                limits,
                Network::None,
            )
            .await?;
        let status: Status =
            serde_json::from_slice(&ended.stdout).map_err(|_| ScanError::Database(ended.reason()))?;
        match status {
            Status {
                built: Some(built),
                valid: Some(true) | None,
                error: None,
                schema_version,
            } => Ok(DatabaseStatus {
                built,
                schema: schema_version.unwrap_or_default(),
            }),
            Status { error, .. } => Err(ScanError::Database(
                error.unwrap_or_else(|| "it does not work".to_owned()),
            )),
        }
    }

    /// Whether there is a newer database than that in `database`.
    ///
    /// # Errors
    /// `Database` if that cannot be found out.
    pub async fn has_newer(
        &self,
        database: &Path,
        folder: &Path,
        from: Option<&Url>,
    ) -> Result<bool, ScanError> {
        let limits = Limits {
            time: STATUS_TIME,
            ..UPDATE_LIMITS
        };
        let ended = self
            .database(&["db", "check"], (database, folder), limits, Network::From(from))
            .await?;
        match ended.status.code() {
            Some(0) => Ok(false),
            Some(NEWER) => Ok(true),
            _ => Err(ScanError::Database(ended.reason())),
        }
    }

    /// Fetches the newest database into `database`, from `from` or from where the tool has it.
    ///
    /// # Errors
    /// `Database`.
    pub async fn update(&self, database: &Path, folder: &Path, from: Option<&Url>) -> Result<(), ScanError> {
        let ended = self
            .database(
                &["db", "update"],
                (database, folder),
                UPDATE_LIMITS,
                Network::From(from),
            )
            .await?;
        succeeded(&ended)
    }

    /// Takes the database in `archive`, a file, into `database`.
    ///
    /// # Errors
    /// `Database`.
    pub async fn import(&self, archive: &Path, database: &Path, folder: &Path) -> Result<(), ScanError> {
        let path = archive.to_string_lossy();
        let ended = self
            .database(
                &["db", "import", &path],
                (database, folder),
                UPDATE_LIMITS,
                Network::None,
            )
            .await?;
        succeeded(&ended)
    }

    /// A command of the database.
    async fn database(
        &self,
        arguments: &[&str],
        (database, folder): (&Path, &Path),
        limits: Limits,
        network: Network<'_>,
    ) -> Result<Ended, ScanError> {
        let mut environment = environment(folder, database, limits.memory_bytes);
        if let Network::From(from) = network {
            let passed_on = PASSED_ON
                .iter()
                .filter_map(|name| Some((*name, std::env::var_os(name)?)));
            environment.extend(passed_on);
            environment.extend(from.map(|url| ("GRYPE_DB_UPDATE_URL", url.as_str().into())));
        }
        let mut readable = Vec::new();
        if let ["db", "import", path] = arguments {
            readable.push(PathBuf::from(path));
        }
        if network != Network::None {
            // Certificates of the operator's own, wherever they are.
            let files = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
            let folders = std::env::var_os("SSL_CERT_DIR").unwrap_or_default();
            readable.extend(files.into_iter().chain(std::env::split_paths(&folders)));
            readable.retain(|path| path.is_absolute());
        }
        let run = Run {
            tool: "grype",
            program: &self.tool.path,
            arguments: arguments.iter().map(OsString::from).collect(),
            environment,
            folder,
            readable,
            writable: vec![database.to_owned()],
            network: network != Network::None,
            limits,
        };
        child::run(&self.launcher, run, &self.stop).await
    }
}

const UPDATE_LIMITS: Limits = Limits {
    memory_bytes: UPDATE_MEMORY_BYTES,
    disk_bytes: 2 * MAX_DATABASE_BYTES,
    file_bytes: MAX_DATABASE_BYTES,
    time: UPDATE_TIME,
};

fn succeeded(ended: &Ended) -> Result<(), ScanError> {
    if ended.status.success() {
        Ok(())
    } else {
        Err(ScanError::Database(ended.reason()))
    }
}

fn environment(folder: &Path, database: &Path, memory_bytes: u64) -> Vec<(&'static str, OsString)> {
    let mut environment = surroundings(folder, memory_bytes);
    environment.extend([
        ("GRYPE_CHECK_FOR_APP_UPDATE", "false".into()),
        ("GRYPE_DB_AUTO_UPDATE", "false".into()),
        // Its age is a part of the result; an old database finds more than none.
        ("GRYPE_DB_VALIDATE_AGE", "false".into()),
        ("GRYPE_DB_CACHE_DIR", database.as_os_str().to_owned()),
    ]);
    environment
}
