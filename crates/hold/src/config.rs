//! The hold's settings: as written by the operator ([`HoldConfig`]), and parsed ([`HoldSettings`]).

use std::net::SocketAddr;
use std::path::PathBuf;

use atcr_atproto::syntax::Did;
use atcr_config::telemetry::{LogFormat, check_log_level, listen_addr};
use atcr_config::{HumanDuration, Problems, Secret, Settings};
use chrono::TimeDelta;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::adapters::s3::S3Options;

/// Longer than anybody waits for an upload, and short enough to count back from any date.
const MAX_UPLOAD_EXPIRY: TimeDelta = TimeDelta::days(3650);

/// Settings of an ATCR hold.
///
/// Every key can be overridden by the variable named in brackets. A key that is left out has the default written here.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HoldConfig {
    /// Version of this file's layout.
    pub version: String,
    /// What is logged: debug, info, warn or error; or a filter such as "info,atcr_hold=debug".
    pub log_level: String,
    /// How a log line looks: text for people, json for collectors.
    pub log_format: LogFormatSetting,
    /// The web server, and what the hold is to the network.
    pub server: ServerSection,
    /// Who owns the hold and who may join.
    pub registration: RegistrationSection,
    /// Where blobs are kept.
    pub storage: StorageSection,
    /// Where the hold's own repository, keys and indexes are kept.
    pub database: DatabaseSection,
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

/// The web server, and what the hold is to the network.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServerSection {
    /// Address and port to listen on; ":8080" listens on every interface.
    pub addr: String,
    /// The URL under which clients reach the hold, scheme and host (and port) only. The hold's DID follows from it:
    /// https://hold.example.com is did:web:hold.example.com. Required.
    pub public_url: String,
    /// Whether anybody may download blobs without signing in. Copied to the captain record at every start.
    pub public: bool,
    /// DID of the hold that replaces this one; AppViews send new pushes there. Copied to the captain record at every
    /// start; empty for none.
    pub successor: String,
    /// DID of the AppView that is trusted to vouch for the content of uploads; empty for none. With none, or for others'
    /// uploads, a hold on S3 reads each object once before it accepts it.
    pub appview_did: String,
    /// Address of the metrics listener, for example "127.0.0.1:8081"; empty for none. Do not expose it.
    pub metrics_addr: String,
    /// For development on one machine: plain http and loopback addresses are allowed for the hosts of DIDs.
    pub test_mode: bool,
    /// The longest pause of a client in the middle of a request body.
    pub read_timeout: HumanDuration,
    /// How long requests in flight may take to finish when the process is asked to stop.
    pub shutdown_grace: HumanDuration,
}

/// Who owns the hold and who may join.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RegistrationSection {
    /// DID of the captain. Required at the first start; later the captain record decides.
    pub owner_did: String,
    /// Whether anybody who signs in may register as crew, which allows pushing. Copied to the captain record at every
    /// start.
    pub allow_all_crew: bool,
    /// Where the blobs are, for people to read (at most 64 bytes). Empty: the bucket's region on S3, else nothing.
    pub region: String,
}

/// The store that keeps the blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StorageDriver {
    /// `s3` when a bucket is named, else `filesystem`.
    #[default]
    Auto,
    /// A folder on this machine.
    Filesystem,
    /// An S3 bucket.
    S3,
}

/// Where blobs are kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StorageSection {
    /// "filesystem", "s3", or "auto": s3 when a bucket is named, else filesystem.
    pub driver: StorageDriver,
    /// Filesystem: the folder of the objects; empty for "objects" inside database.path.
    pub path: String,
    /// S3: the bucket. Also read from S3_BUCKET.
    pub bucket: String,
    /// S3: the region; services other than AWS mostly ignore it. Also read from AWS_REGION and S3_REGION.
    pub region: String,
    /// S3: the service's URL; empty for AWS. Also read from S3_ENDPOINT.
    pub endpoint: String,
    /// S3 with an endpoint: address buckets as a path (https://host/bucket) rather than as a host name
    /// (https://bucket.host). AWS itself is always addressed by host name.
    pub path_style: bool,
    /// S3: base URL of a CDN in front of the bucket, put in place of the endpoint in download URLs; empty for none. The
    /// CDN has to forward the original Host header.
    pub pull_zone: String,
    /// S3: the access key's id. Also read from AWS_ACCESS_KEY_ID.
    pub access_key: Secret,
    /// S3: the secret access key. Also read from AWS_SECRET_ACCESS_KEY.
    pub secret_key: Secret,
    /// How long an unfinished upload may lie idle before it is removed. AppViews go on with an upload for a day.
    pub upload_expiry: HumanDuration,
}

/// How the hold's DID came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DidMethod {
    /// `did:web`, from the public URL.
    #[default]
    Web,
    /// `did:plc`, from a directory.
    Plc,
}

/// Where the hold's own repository, keys and indexes are kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DatabaseSection {
    /// The data folder: repository, SQLite files, keys and, by default, the blobs.
    pub path: String,
    /// File of the key that signs the repository (K-256, made when missing); empty for "signing.key" inside
    /// database.path.
    pub key_path: String,
    /// Kind of the hold's DID: "web".
    pub did_method: DidMethod,
    /// Directory in which the did:plc identities of users are looked up.
    pub plc_directory_url: String,
}

impl Default for HoldConfig {
    fn default() -> Self {
        Self {
            version: "0.1".to_owned(),
            log_level: "info".to_owned(),
            log_format: LogFormatSetting::default(),
            server: ServerSection::default(),
            registration: RegistrationSection::default(),
            storage: StorageSection::default(),
            database: DatabaseSection::default(),
        }
    }
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            addr: ":8080".to_owned(),
            public_url: String::new(),
            public: false,
            successor: String::new(),
            appview_did: "did:web:atcr.io".to_owned(),
            metrics_addr: String::new(),
            test_mode: false,
            read_timeout: HumanDuration::from_secs(300),
            shutdown_grace: HumanDuration::from_secs(60),
        }
    }
}

impl Default for StorageSection {
    fn default() -> Self {
        Self {
            driver: StorageDriver::default(),
            path: String::new(),
            bucket: String::new(),
            region: "us-east-1".to_owned(),
            endpoint: String::new(),
            path_style: true,
            pull_zone: String::new(),
            access_key: Secret::default(),
            secret_key: Secret::default(),
            upload_expiry: HumanDuration::from_secs(24 * 60 * 60),
        }
    }
}

impl Default for DatabaseSection {
    fn default() -> Self {
        Self {
            path: "/var/lib/atcr-hold".to_owned(),
            key_path: String::new(),
            did_method: DidMethod::default(),
            plc_directory_url: "https://plc.directory".to_owned(),
        }
    }
}

impl Settings for HoldConfig {
    const ENV_PREFIX: &'static str = "HOLD";
    const ENV_ALIASES: &'static [(&'static str, &'static str)] = &[
        ("HOLD_PUBLIC_URL", "server.public_url"),
        ("HOLD_PUBLIC", "server.public"),
        ("HOLD_OWNER", "registration.owner_did"),
        ("HOLD_ALLOW_ALL_CREW", "registration.allow_all_crew"),
        ("AWS_ACCESS_KEY_ID", "storage.access_key"),
        ("AWS_SECRET_ACCESS_KEY", "storage.secret_key"),
        ("AWS_REGION", "storage.region"),
        ("S3_REGION", "storage.region"),
        ("S3_BUCKET", "storage.bucket"),
        ("S3_ENDPOINT", "storage.endpoint"),
    ];

    fn validate(&self, problems: &mut Problems) {
        // The outcome is not needed here, only what was wrong on the way.
        let _ = HoldSettings::parse(self, problems);
    }
}

/// The settings, every value parsed.
#[derive(Clone, Debug)]
pub struct HoldSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to serve metrics, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Scheme and host of the hold; path `/`.
    pub public_url: Url,
    /// The hold's DID.
    pub did: Did,
    /// Anonymous reads.
    pub public: bool,
    /// The hold that replaces this one.
    pub successor: Option<Did>,
    /// The AppView whose content proofs are believed.
    pub trusted_appview: Option<Did>,
    /// Loopback and plain http are allowed.
    pub test_mode: bool,
    /// The longest pause inside a request body.
    pub read_timeout: HumanDuration,
    /// How long the drain may take.
    pub shutdown_grace: HumanDuration,
    /// The captain to create at the first start.
    pub owner: Option<Did>,
    /// Anybody who signs in may join.
    pub allow_all_crew: bool,
    /// What the captain record says about the place.
    pub region: Option<String>,
    /// The store.
    pub storage: StorageSettings,
    /// How long an unfinished upload may lie idle.
    pub upload_expiry: TimeDelta,
    /// The data folder.
    pub data_dir: PathBuf,
    /// The signing key's file.
    pub key_path: PathBuf,
    /// The directory of did:plc.
    pub plc_directory: Url,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// The store, every value parsed.
#[derive(Clone, Debug)]
pub enum StorageSettings {
    /// A folder.
    Filesystem {
        /// The folder.
        path: PathBuf,
    },
    /// A bucket.
    S3(Box<S3Options>),
}

impl HoldSettings {
    /// Parses `config`; `None` when anything is wrong, and then `problems` has grown by all of it.
    pub fn parse(config: &HoldConfig, problems: &mut Problems) -> Option<Self> {
        if let Err(message) = check_log_level(&config.log_level) {
            problems.push("log_level", message);
        }
        let listen = noted(problems, "server.addr", listen_addr(&config.server.addr));
        let metrics_listen = match config.server.metrics_addr.as_str() {
            "" => Some(None),
            text => noted(problems, "server.metrics_addr", listen_addr(text)).map(Some),
        };
        let public_url = noted(
            problems,
            "server.public_url",
            public_url(&config.server.public_url, config.server.test_mode),
        );
        let did = public_url.as_ref().and_then(|url| {
            noted(
                problems,
                "server.public_url",
                Did::web_from_url(url).map_err(|error| format!("no did:web can be made of it: {error}")),
            )
        });
        let successor = noted(
            problems,
            "server.successor",
            optional_did(&config.server.successor),
        );
        let trusted_appview = noted(
            problems,
            "server.appview_did",
            optional_did(&config.server.appview_did),
        );
        let owner = noted(
            problems,
            "registration.owner_did",
            optional_did(&config.registration.owner_did),
        );
        problems.require(
            config.registration.region.len() <= 64,
            "registration.region",
            "must be at most 64 bytes",
        );
        let upload_expiry = noted(
            problems,
            "storage.upload_expiry",
            upload_expiry(config.storage.upload_expiry),
        );
        problems.require(
            !config.server.read_timeout.get().is_zero(),
            "server.read_timeout",
            "must be longer than nothing",
        );
        problems.require(
            !config.database.path.is_empty(),
            "database.path",
            "must name a folder",
        );
        problems.require(
            config.database.did_method == DidMethod::Web,
            "database.did_method",
            "plc is not supported yet; use web",
        );
        let plc_directory = noted(
            problems,
            "database.plc_directory_url",
            base_url(&config.database.plc_directory_url),
        );
        let data_dir = PathBuf::from(&config.database.path);
        let storage = storage(&config.storage, &data_dir, problems);
        let region = match (config.registration.region.as_str(), &storage) {
            ("", Some(StorageSettings::S3(s3))) => Some(s3.region.clone()),
            ("", _) => None,
            (text, _) => Some(text.to_owned()),
        };
        let key_path = match config.database.key_path.as_str() {
            "" => data_dir.join("signing.key"),
            path => PathBuf::from(path),
        };
        if !problems.is_empty() {
            return None;
        }
        Some(Self {
            listen: listen?,
            metrics_listen: metrics_listen?,
            public_url: public_url?,
            did: did?,
            public: config.server.public,
            successor: successor?,
            trusted_appview: trusted_appview?,
            test_mode: config.server.test_mode,
            read_timeout: config.server.read_timeout,
            shutdown_grace: config.server.shutdown_grace,
            upload_expiry: upload_expiry?,
            owner: owner?,
            allow_all_crew: config.registration.allow_all_crew,
            region,
            storage: storage?,
            data_dir,
            key_path,
            plc_directory: plc_directory?,
            log_format: match config.log_format {
                LogFormatSetting::Text => LogFormat::Text,
                LogFormatSetting::Json => LogFormat::Json,
            },
        })
    }
}

fn storage(
    section: &StorageSection,
    data_dir: &std::path::Path,
    problems: &mut Problems,
) -> Option<StorageSettings> {
    let s3 = match section.driver {
        StorageDriver::Auto => !section.bucket.is_empty(),
        StorageDriver::Filesystem => false,
        StorageDriver::S3 => true,
    };
    if !s3 {
        let path = match section.path.as_str() {
            "" => data_dir.join("objects"),
            path => PathBuf::from(path),
        };
        return Some(StorageSettings::Filesystem { path });
    }
    problems.require(
        !section.bucket.is_empty(),
        "storage.bucket",
        "must name the bucket (or set S3_BUCKET)",
    );
    problems.require(!section.region.is_empty(), "storage.region", "must be set");
    problems.require(
        !section.access_key.is_empty(),
        "storage.access_key",
        "must be set (or AWS_ACCESS_KEY_ID)",
    );
    problems.require(
        !section.secret_key.is_empty(),
        "storage.secret_key",
        "must be set (or AWS_SECRET_ACCESS_KEY)",
    );
    let mut optional_url = |key: &str, text: &str| match text {
        "" => Some(None),
        text => noted(problems, key, origin_url(text)).map(Some),
    };
    let endpoint = optional_url("storage.endpoint", &section.endpoint);
    let pull_zone = optional_url("storage.pull_zone", &section.pull_zone);
    Some(StorageSettings::S3(Box::new(S3Options {
        bucket: section.bucket.clone(),
        region: section.region.clone(),
        path_style: section.path_style && !section.endpoint.is_empty(),
        endpoint: endpoint?,
        pull_zone: pull_zone?,
        access_key: section.access_key.expose().to_owned(),
        secret_key: SecretString::from(section.secret_key.expose().to_owned()),
    })))
}

fn noted<T>(problems: &mut Problems, key: &str, outcome: Result<T, String>) -> Option<T> {
    outcome.map_err(|message| problems.push(key, message)).ok()
}

fn upload_expiry(duration: HumanDuration) -> Result<TimeDelta, String> {
    let within = |expiry: &TimeDelta| *expiry > TimeDelta::zero() && *expiry <= MAX_UPLOAD_EXPIRY;
    let expiry = TimeDelta::from_std(duration.get()).ok().filter(within);
    expiry.ok_or_else(|| "must be longer than nothing and at most ten years".to_owned())
}

fn optional_did(text: &str) -> Result<Option<Did>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| format!("{text:?} is no DID; write did:plc:… or did:web:…"))
}

fn base_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(format!("{text:?} is no http or https URL")),
    }
}

/// A URL that is scheme, host and port and nothing else.
fn origin_url(text: &str) -> Result<Url, String> {
    let url = base_url(text)?;
    let is_origin = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if is_origin {
        Ok(url)
    } else {
        Err("must be scheme, host and port only".to_owned())
    }
}

fn public_url(text: &str, test_mode: bool) -> Result<Url, String> {
    if text.is_empty() {
        return Err(
            "must be the URL under which clients reach the hold, such as https://hold.example.com".to_owned(),
        );
    }
    let url = origin_url(text)?;
    if url.scheme() != "https" && !test_mode {
        return Err("must be https (plain http needs server.test_mode)".to_owned());
    }
    Ok(url)
}
