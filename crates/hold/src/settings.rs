//! The hold's settings, every value of its configuration parsed.

mod gc;
mod identity;
mod limits;
mod quota;
mod scanner;
mod stores;

use std::net::SocketAddr;
use std::path::PathBuf;

use atcr_atproto::egress::address_ranges::is_local_host;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::EventBudget;
use atcr_hold_pds::records::captain::Stated;
use atcr_hold_pds::records::profile::FirstProfile;
use atcr_server::client_address::Network;
use atcr_server::telemetry::{LogFormat, check_log_level, listen_addr};
use atcr_server::{HumanDuration, Problems};
use chrono::TimeDelta;
use url::Url;

use crate::config::{HoldConfig, LogFormatSetting, RegistrationSection};
use crate::gc::GcOptions;
use crate::manifests::NoticeLimits;
use crate::quota::Tiers;
use crate::scanning::ScanOptions;

pub use identity::{IdentitySettings, PlcSettings};
pub use limits::Limits;
pub use stores::{BackupSettings, StorageSettings};

use identity::identity;
use limits::{limits, notice_limits};
use scanner::scanning;
use stores::{backup, storage};

/// In `server.successor` and `registration.region`: the captain record shall not have the field.
const NONE: &str = "none";

/// Bytes of a profile's name and description. What applications show is shorter.
const MAX_NAME_LEN: usize = 640;
const MAX_DESCRIPTION_LEN: usize = 2560;

/// Longer than an upload is ever waited for, and short enough to count back from any date.
const MAX_UPLOAD_EXPIRY: TimeDelta = TimeDelta::days(3650);

/// The settings, every value parsed.
#[derive(Clone, Debug)]
pub struct HoldSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to serve metrics, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Scheme and host of the hold; path `/`.
    pub public_url: Url,
    /// What the hold's DID is, or where it comes from.
    pub identity: IdentitySettings,
    /// Anonymous reads, if the configuration says.
    pub public: Option<bool>,
    /// The hold that replaces this one.
    pub successor: Stated<Did>,
    /// The AppView whose content proofs are believed.
    pub trusted_appview: Option<Did>,
    /// Relays that are asked to follow the hold.
    pub relays: Vec<Url>,
    /// Proxies whose word about their clients counts.
    pub trusted_proxies: Vec<Network>,
    /// How much clients may ask for.
    pub limits: Limits,
    /// The server that resolves handles, in networks without public DNS.
    pub handle_resolver: Option<Url>,
    /// Loopback and plain http are allowed.
    pub test_mode: bool,
    /// The longest pause inside a request body.
    pub read_timeout: HumanDuration,
    /// How long the drain may take.
    pub shutdown_grace: HumanDuration,
    /// Bytes that must be free on the disks of the data folders.
    pub free_disk_bytes: u64,
    /// The captain to create at the first start.
    pub owner: Option<Did>,
    /// Every account may join, if the configuration says.
    pub allow_all_crew: Option<bool>,
    /// The hold posts about pushes, if the configuration says.
    pub enable_bluesky_posts: Option<bool>,
    /// What the captain record says about the place.
    pub region: Stated<String>,
    /// The place of a captain record that has none.
    pub first_region: Option<String>,
    /// The profile that the first start writes.
    pub first_profile: Option<FirstProfile>,
    /// How much one account may have recorded.
    pub notice_limits: NoticeLimits,
    /// How much each member may keep.
    pub tiers: Tiers,
    /// The store.
    pub storage: StorageSettings,
    /// How long an unfinished upload may lie idle.
    pub upload_expiry: TimeDelta,
    /// The data folder.
    pub data_dir: PathBuf,
    /// How long events are kept for subscribers that were away.
    pub event_retention: HumanDuration,
    /// Bytes of one file of the repository's log; `None` for the default.
    pub log_segment_bytes: Option<u32>,
    /// The signing key's file.
    pub key_path: PathBuf,
    /// The directory of did:plc.
    pub plc_directory: Url,
    /// How many events the repository may make.
    pub events: EventBudget,
    /// How images are scanned.
    pub scanning: ScanOptions,
    /// When what nothing names is removed.
    pub gc: GcOptions,
    /// Whether the captain can sign in at the admin site.
    pub admin: bool,
    /// Where the repository is backed up.
    pub backup: BackupSettings,
    /// How often.
    pub backup_interval: HumanDuration,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl HoldSettings {
    /// The host, with its port if it is not the usual one: how relays name the hold.
    #[must_use]
    pub fn hostname(&self) -> String {
        let host = self.public_url.host_str().unwrap_or_default();
        match self.public_url.port() {
            None => host.to_owned(),
            Some(port) => format!("{host}:{port}"),
        }
    }

    /// Where the trusted AppView has its pages, as far as its DID tells.
    #[must_use]
    pub fn appview_site(&self) -> Option<Url> {
        let host = self.trusted_appview.as_ref()?.web_host()?;
        let scheme = if self.test_mode { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{host}/")).ok()
    }

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
            stated(&config.server.successor, parse_did),
        );
        let trusted_appview = noted(
            problems,
            "server.appview_did",
            optional_did(&config.server.appview_did),
        );
        let relays = noted(
            problems,
            "server.relay_endpoint",
            relays(&config.server.relay_endpoint, public_url.as_ref()),
        );
        let trusted_proxies = noted(
            problems,
            "server.trusted_proxies",
            Network::parse_all(&config.server.trusted_proxies),
        );
        let handle_resolver = match config.server.handle_resolver_url.as_str() {
            "" => Some(None),
            text => noted(problems, "server.handle_resolver_url", base_url(text)).map(Some),
        };
        let limits = limits(&config.limits, trusted_proxies.as_deref(), problems);
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
        let first_profile = first_profile(&config.registration, public_url.as_ref(), problems);
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
        let plc_directory = noted(
            problems,
            "database.plc_directory_url",
            base_url(&config.database.plc_directory_url),
        );
        let gc = gc::gc(config, problems);
        let data_dir = PathBuf::from(&config.database.path);
        let identity = identity(&config.database, did, &data_dir, problems);
        let storage = storage(&config.storage, &data_dir, problems);
        let region = noted(
            problems,
            "registration.region",
            stated(&config.registration.region, |text| Ok(text.to_owned())),
        );
        let first_region = match &storage {
            Some(StorageSettings::S3(s3)) => Some(s3.region.clone()),
            _ => None,
        };
        let notice_limits = notice_limits(&config.limits, problems);
        let tiers = quota::tiers(&config.quota, problems);
        let backup = backup(config, storage.as_ref(), &data_dir, problems);
        let scanning = scanning(&config.scanner, public_url.as_ref(), problems);
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
            identity: identity?,
            public: config.server.public,
            successor: successor?,
            trusted_appview: trusted_appview?,
            relays: relays?,
            trusted_proxies: trusted_proxies?,
            handle_resolver: handle_resolver?,
            limits: limits?,
            test_mode: config.server.test_mode,
            read_timeout: config.server.read_timeout,
            shutdown_grace: config.server.shutdown_grace,
            free_disk_bytes: config.server.free_disk_bytes,
            upload_expiry: upload_expiry?,
            owner: owner?,
            allow_all_crew: config.registration.allow_all_crew,
            enable_bluesky_posts: config.registration.enable_bluesky_posts,
            region: region?,
            first_region,
            first_profile,
            notice_limits: notice_limits?,
            tiers: tiers?,
            storage: storage?,
            data_dir,
            event_retention: config.database.event_retention,
            log_segment_bytes: None,
            key_path,
            plc_directory: plc_directory?,
            events: EventBudget {
                per_hour: config.limits.background_commits_per_hour,
                longest_wait: config.limits.background_wait.get(),
                ..EventBudget::DEFAULT
            },
            scanning: scanning?,
            gc,
            admin: config.admin.enabled,
            backup: backup?,
            backup_interval: config.backup.interval,
            log_format: match config.log_format {
                LogFormatSetting::Text => LogFormat::Text,
                LogFormatSetting::Json => LogFormat::Json,
            },
        })
    }
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
    parse_did(text).map(Some)
}

fn parse_did(text: &str) -> Result<Did, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no DID; write did:plc:… or did:web:…"))
}

fn stated<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Stated<T>, String> {
    match text {
        "" => Ok(Stated::Unsaid),
        NONE => Ok(Stated::Removed),
        text => parse(text).map(Stated::This),
    }
}

/// The profile of a new hold, whose name is its host's unless it has another; "none" is no profile.
fn first_profile(
    section: &RegistrationSection,
    public_url: Option<&Url>,
    problems: &mut Problems,
) -> Option<FirstProfile> {
    for (key, text, limit) in [
        (
            "registration.profile_display_name",
            &section.profile_display_name,
            MAX_NAME_LEN,
        ),
        (
            "registration.profile_description",
            &section.profile_description,
            MAX_DESCRIPTION_LEN,
        ),
    ] {
        problems.require(
            text.len() <= limit,
            key,
            &format!("must be at most {limit} bytes"),
        );
    }
    let display_name = match section.profile_display_name.as_str() {
        NONE => return None,
        "" => public_url?.host_str()?.to_owned(),
        name => name.to_owned(),
    };
    Some(FirstProfile {
        display_name,
        description: section.profile_description.clone(),
    })
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

/// The relays named; of a hold that only this machine or a private network reaches, those that may reach it.
fn relays(text: &str, public_url: Option<&Url>) -> Result<Vec<Url>, String> {
    let is_local = |url: &Url| url.host().is_some_and(|host| is_local_host(&host));
    let mut relays = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let relay = origin_url(part)?;
        if !public_url.is_some_and(is_local) || is_local(&relay) {
            relays.push(relay);
        }
    }
    relays.dedup();
    Ok(relays)
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
