//! The scanner's settings as the operator writes them: environment variables and nothing else. What they mean is in
//! [`crate::settings`].

use std::time::Duration;

use atcr_server::{HumanDuration, Problems, Secret, Settings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::ScannerSettings;

/// Settings of an ATCR scanner. `SCANNER_` and the field's name in upper case is the variable.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ScannerConfig {
    /// The hold: `wss://hold.example.com`; `ws`, `https` and `http` are taken as well. Required to serve.
    pub hold_url: String,
    /// The secret that the hold has as `scanner.secret`. Required to serve.
    pub shared_secret: Secret,
    /// Images that are scanned at the same time.
    pub workers: u16,
    /// Jobs that may wait here.
    pub queue_size: u16,
    /// Where images are unpacked and layers kept; empty for a folder below the system's temporary folder.
    pub tmp_dir: String,
    /// Whether vulnerabilities are looked up, or packages only listed.
    pub vuln_enabled: bool,
    /// Where vulnerability databases are kept.
    pub vuln_db_path: String,
    /// How often a newer vulnerability database is looked for; 0s for never.
    pub vuln_db_update_interval: HumanDuration,
    /// Where the database's `latest.json` is; empty for where the tool has it.
    pub vuln_db_url: String,
    /// Address of health and metrics.
    pub addr: String,
    /// What is logged: debug, info, warn or error; or a filter.
    pub log_level: String,
    /// How a log line looks.
    pub log_format: LogFormatSetting,
    /// The program syft; empty to look on PATH.
    pub syft_path: String,
    /// The program grype; empty to look on PATH.
    pub grype_path: String,
    /// Whether images are scanned on a kernel that cannot keep tools to their paths (no landlock): then a tool that an image takes over
    /// reads and changes whatever the scanner's user may.
    pub allow_open_paths: bool,
    /// Resident memory in MiB that one run of a tool may take.
    pub tool_memory_mib: u64,
    /// How long one scan may take.
    pub job_timeout: HumanDuration,
    /// MiB of layers that are kept for images that share them; 0 for none.
    pub layer_cache_mib: u64,
    /// MiB that all layers of an image may have, unpacked.
    pub max_unpacked_mib: u64,
    /// The did:plc directory.
    pub plc_directory_url: String,
    /// A service with com.atproto.identity.resolveHandle that is asked before DNS; empty for none. Only `scan` looks handles up.
    pub handle_resolver_url: String,
    /// For development on one machine: plain http and loopback addresses are allowed for PDSes and stores.
    pub test_mode: bool,
    /// How long giving jobs back may take at the end.
    pub shutdown_grace: HumanDuration,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormatSetting {
    /// For people at a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for ScannerConfig {
    fn default() -> Self {
        Self {
            hold_url: String::new(),
            shared_secret: Secret::default(),
            workers: 2,
            queue_size: 100,
            tmp_dir: String::new(),
            vuln_enabled: true,
            vuln_db_path: "/var/lib/atcr-scanner/vulndb".to_owned(),
            vuln_db_update_interval: HumanDuration(Duration::from_hours(24)),
            vuln_db_url: String::new(),
            addr: ":9090".to_owned(),
            log_level: "info".to_owned(),
            log_format: LogFormatSetting::Text,
            syft_path: String::new(),
            grype_path: String::new(),
            allow_open_paths: false,
            tool_memory_mib: 2048,
            job_timeout: HumanDuration(Duration::from_mins(9)),
            layer_cache_mib: 4096,
            max_unpacked_mib: 20 * 1024,
            plc_directory_url: "https://plc.directory".to_owned(),
            handle_resolver_url: String::new(),
            test_mode: false,
            shutdown_grace: HumanDuration(Duration::from_secs(20)),
        }
    }
}

impl Settings for ScannerConfig {
    const ENV_PREFIX: &'static str = "SCANNER";

    fn validate(&self, problems: &mut Problems) {
        let _ = ScannerSettings::parse(self, problems);
    }
}
