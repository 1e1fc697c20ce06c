//! The scanner's settings, parsed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use atcr_scan_protocol::bounds::MAX_WORKERS;
use atcr_server::telemetry::{LogFormat, check_log_level, listen_addr};
use atcr_server::{Problems, Secret};
use url::Url;

use crate::config::{LogFormatSetting, ScannerConfig};

/// Least memory of a tool in MiB: less does not load the vulnerability database.
const LEAST_MEMORY_MIB: u64 = 512;

/// Shortest and longest time of a scan.
const JOB_TIMEOUT: [Duration; 2] = [Duration::from_secs(30), Duration::from_hours(6)];

/// What every command of the scanner needs to know.
#[derive(Clone, Debug)]
pub struct ScannerSettings {
    /// Images at the same time.
    pub workers: u16,
    /// Jobs that may wait.
    pub queue_size: usize,
    /// Where images are unpacked.
    pub work_folder: PathBuf,
    /// Where databases are kept; `None` when nothing is looked up.
    pub database_folder: Option<PathBuf>,
    /// How often a newer database is looked for; `None` for never.
    pub database_interval: Option<Duration>,
    /// Where from; `None` for where the tool has it.
    pub database_url: Option<Url>,
    /// Health and metrics.
    pub listen: SocketAddr,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The program syft, if it is named.
    pub syft: Option<PathBuf>,
    /// The program grype, if it is named.
    pub grype: Option<PathBuf>,
    /// Whether tools run where the kernel cannot keep them to their paths.
    pub allow_open_paths: bool,
    /// Resident memory of a tool in bytes.
    pub tool_memory_bytes: u64,
    /// Time of one scan.
    pub job_timeout: Duration,
    /// Bytes of layers that are kept.
    pub layer_cache_bytes: u64,
    /// Bytes of an image, unpacked.
    pub unpacked_bytes: u64,
    /// The did:plc directory.
    pub plc_directory: Url,
    /// Who is asked for handles before DNS.
    pub handle_resolver: Option<Url>,
    /// Whether loopback addresses are allowed.
    pub test_mode: bool,
    /// Time to end.
    pub shutdown_grace: Duration,
}

/// The hold that is served.
#[derive(Clone, Debug)]
pub struct HoldSettings {
    /// Its address, `http` or `https`.
    pub url: Url,
    /// The shared secret.
    pub secret: Secret,
}

impl ScannerSettings {
    /// Parses `config`; `None` when anything is wrong, and then `problems` has grown by all of it, under the variables' names.
    pub fn parse(config: &ScannerConfig, problems: &mut Problems) -> Option<Self> {
        if let Err(message) = check_log_level(&config.log_level) {
            problems.push("SCANNER_LOG_LEVEL", message);
        }
        let listen = noted(problems, "SCANNER_ADDR", listen_addr(&config.addr));
        problems.require(
            (1..=MAX_WORKERS).contains(&config.workers),
            "SCANNER_WORKERS",
            "must be between 1 and 64",
        );
        problems.require(config.queue_size >= 1, "SCANNER_QUEUE_SIZE", "must be at least 1");
        problems.require(
            config.tool_memory_mib >= LEAST_MEMORY_MIB && config.tool_memory_mib <= 1 << 20,
            "SCANNER_TOOL_MEMORY_MIB",
            "must be between 512 and 1048576",
        );
        let [shortest, longest] = JOB_TIMEOUT;
        problems.require(
            (shortest..=longest).contains(&config.job_timeout.get()),
            "SCANNER_JOB_TIMEOUT",
            "must be between 30s and 6h",
        );
        problems.require(
            (1..=1 << 30).contains(&config.max_unpacked_mib),
            "SCANNER_MAX_UNPACKED_MIB",
            "must be between 1 and 1073741824",
        );
        problems.require(
            config.layer_cache_mib <= 1 << 30,
            "SCANNER_LAYER_CACHE_MIB",
            "must be at most 1073741824",
        );
        problems.require(
            !config.vuln_enabled || !config.vuln_db_path.is_empty(),
            "SCANNER_VULN_DB_PATH",
            "must name a folder",
        );
        let database_url = match config.vuln_db_url.as_str() {
            "" => Some(None),
            text => noted(problems, "SCANNER_VULN_DB_URL", http_url(text)).map(Some),
        };
        let plc_directory = noted(
            problems,
            "SCANNER_PLC_DIRECTORY_URL",
            http_url(&config.plc_directory_url),
        );
        let handle_resolver = match config.handle_resolver_url.as_str() {
            "" => Some(None),
            text => noted(problems, "SCANNER_HANDLE_RESOLVER_URL", http_url(text)).map(Some),
        };
        if !config.hold_url.is_empty() {
            noted(problems, "SCANNER_HOLD_URL", hold_url(&config.hold_url));
        }
        if !problems.is_empty() {
            return None;
        }
        let named = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
        Some(Self {
            workers: config.workers,
            queue_size: config.queue_size.into(),
            work_folder: named(&config.tmp_dir)
                .unwrap_or_else(std::env::temp_dir)
                .join("atcr-scanner"),
            database_folder: config.vuln_enabled.then(|| PathBuf::from(&config.vuln_db_path)),
            database_interval: Some(config.vuln_db_update_interval.get())
                .filter(|interval| !interval.is_zero()),
            database_url: database_url?,
            listen: listen?,
            log_format: match config.log_format {
                LogFormatSetting::Text => LogFormat::Text,
                LogFormatSetting::Json => LogFormat::Json,
            },
            syft: named(&config.syft_path),
            grype: named(&config.grype_path),
            allow_open_paths: config.allow_open_paths,
            tool_memory_bytes: config.tool_memory_mib << 20,
            job_timeout: config.job_timeout.get(),
            layer_cache_bytes: config.layer_cache_mib << 20,
            unpacked_bytes: config.max_unpacked_mib << 20,
            plc_directory: plc_directory?,
            handle_resolver: handle_resolver?,
            test_mode: config.test_mode,
            shutdown_grace: config.shutdown_grace.get(),
        })
    }
}

impl HoldSettings {
    /// The hold that `config` names.
    ///
    /// # Errors
    /// A line for each variable that is missing.
    pub fn parse(config: &ScannerConfig) -> Result<Self, String> {
        let mut missing = Vec::new();
        if config.hold_url.is_empty() {
            missing.push("SCANNER_HOLD_URL: required, for example wss://hold.example.com");
        }
        if config.shared_secret.is_empty() {
            missing.push("SCANNER_SHARED_SECRET: required, what the hold has as scanner.secret");
        }
        if !missing.is_empty() {
            return Err(missing.join("\n  "));
        }
        Ok(Self {
            url: hold_url(&config.hold_url)?,
            secret: config.shared_secret.clone(),
        })
    }
}

fn noted<T>(problems: &mut Problems, key: &str, outcome: Result<T, String>) -> Option<T> {
    outcome.map_err(|message| problems.push(key, message)).ok()
}

fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(format!("{text:?} is no http or https URL")),
    }
}

/// The hold's address with the scheme of HTTP, which is what a WebSocket begins with.
fn hold_url(text: &str) -> Result<Url, String> {
    let http = match text.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => text.to_owned(),
    };
    let mut url = http_url(&http).map_err(|_| format!("{text:?} is no ws, wss, http or https URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must have no user name; the secret is SCANNER_SHARED_SECRET".to_owned());
    }
    // Operators of the original write the method's path as well.
    url.set_path("/");
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hold_may_be_written_as_a_websocket_with_or_without_the_path() {
        for (text, url) in [
            ("wss://hold.example.com", "https://hold.example.com/"),
            (
                "ws://hold:8080/xrpc/io.atcr.hold.subscribeScanJobs",
                "http://hold:8080/",
            ),
            ("https://hold.example.com/", "https://hold.example.com/"),
        ] {
            assert_eq!(hold_url(text).unwrap().as_str(), url);
        }
        for text in [
            "hold.example.com",
            "ftp://hold.example.com",
            "wss://u:p@hold.example.com",
        ] {
            assert!(hold_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_value_is_named_by_its_variable() {
        let config = ScannerConfig {
            workers: 0,
            addr: "nowhere".to_owned(),
            hold_url: "ftp://hold".to_owned(),
            ..ScannerConfig::default()
        };
        let mut problems = Problems::default();
        assert!(ScannerSettings::parse(&config, &mut problems).is_none());
        let keys: Vec<String> = problems
            .into_vec()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        assert_eq!(keys, ["SCANNER_ADDR", "SCANNER_WORKERS", "SCANNER_HOLD_URL"]);
        let missing = HoldSettings::parse(&ScannerConfig::default()).unwrap_err();
        assert!(missing.contains("SCANNER_HOLD_URL") && missing.contains("SCANNER_SHARED_SECRET"));
    }
}
