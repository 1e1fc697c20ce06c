//! The AppView's settings, every value of its configuration parsed once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::{Did, Nsid};
use atcr_index_postgres::DatabaseUrl;
use atcr_server::client_address::{Network, TrustedProxies};
use atcr_server::serve::ServeLimits;
use atcr_server::telemetry::{LogFormat, check_log_level, listen_addr};
use atcr_server::{HumanDuration, Problems};
use url::{Host, Url};

use crate::config::{AppViewConfig, IndexSection, LimitsSection, RegistrySection, UpstreamSection};

/// The settings, every value parsed.
#[derive(Clone, Debug)]
pub struct AppViewSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to serve metrics, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where clients reach this server: scheme, host and port.
    pub base_url: Url,
    /// The service name in tokens and challenges: the host of the base URL.
    pub service: String,
    /// The AppView's own DID.
    pub did: Did,
    /// The hold of accounts that chose none.
    pub default_hold: Option<Did>,
    /// The proxies in front of this server.
    pub proxies: Arc<TrustedProxies>,
    /// The directory of did:plc.
    pub plc_directory: Url,
    /// The server that resolves handles, in networks without public DNS.
    pub handle_resolver: Option<Url>,
    /// Other servers may be on this machine, over plain HTTP.
    pub test_mode: bool,
    /// How long the drain may take.
    pub shutdown_grace: HumanDuration,
    /// Bytes that must be free on the disks of the data folders.
    pub free_disk_bytes: u64,
    /// Where things are kept.
    pub paths: Paths,
    /// What people read of this server.
    pub branding: BrandingSettings,
    /// The permission set that is asked for first.
    pub permission_set: Option<Nsid>,
    /// The registry's own numbers.
    pub registry: RegistrySection,
    /// Limits of what is asked of other servers.
    pub upstream: UpstreamSection,
    /// What one client or account may ask for.
    pub limits: LimitsSection,
    /// What the listener bears.
    pub listener: ServeLimits,
    /// Networks whose clients no limit counts by address.
    pub exempt: Vec<Network>,
    /// The index of the network is filled.
    pub fills_index: bool,
    /// The database of the index; `None`: the file in `paths`.
    pub index_database: Option<DatabaseUrl>,
    /// Where the index hears of the network.
    pub network: NetworkSettings,
    /// The release of the credential helper that is offered, if any.
    pub credential_helper: Option<CredentialHelperSettings>,
}

/// Where the index hears of the network.
#[derive(Clone, Debug, Default)]
pub struct NetworkSettings {
    /// Servers whose own firehose is followed.
    pub firehoses: Vec<Url>,
    /// Relays of which one's firehose is followed.
    pub relays: Vec<Url>,
    /// Jetstreams of which one is followed, as `http` or `https`.
    pub jetstreams: Vec<Url>,
    /// Places that list accounts.
    pub directories: Vec<Url>,
    /// The labeler whose takedowns hold.
    pub labeler: Option<Did>,
}

/// Where things are kept.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The folder of all that no other setting places elsewhere.
    pub data: PathBuf,
    /// The key of registry tokens.
    pub registry_key: PathBuf,
    /// The key of the AppView's own DID.
    pub appview_key: PathBuf,
    /// The key that seals sessions.
    pub vault_key: PathBuf,
    /// The key of the OAuth client.
    pub oauth_key: PathBuf,
    /// The durable database.
    pub database: PathBuf,
    /// The index of the network.
    pub index: PathBuf,
    /// The folder for bytes of uploads that are not a part yet.
    pub spool: PathBuf,
}

/// What people read of this server.
#[derive(Clone, Debug)]
pub struct BrandingSettings {
    /// Its name.
    pub name: String,
    /// URL of its logo.
    pub logo_url: Option<String>,
    /// URL of its terms of service.
    pub terms_url: Option<String>,
    /// URL of its privacy policy.
    pub privacy_url: Option<String>,
}

/// A release of the credential helper.
#[derive(Clone, Debug)]
pub struct CredentialHelperSettings {
    /// Its folder.
    pub folder: PathBuf,
    /// URL below which archives are downloaded, with a last slash; `None`: from this server.
    pub download_base_url: Option<String>,
    /// The did:key that signed the archives.
    pub signing_key: Option<String>,
}

impl AppViewSettings {
    /// Parses `config`; `None` when anything is wrong, and then `problems` has grown by all of it.
    pub fn parse(config: &AppViewConfig, problems: &mut Problems) -> Option<Self> {
        let server = &config.server;
        let listen = noted(problems, "server.addr", listen_addr(&server.addr));
        let metrics_listen = noted(
            problems,
            "server.metrics_addr",
            optional(&server.metrics_addr, listen_addr),
        );
        let named_base_url = noted(problems, "server.base_url", optional(&server.base_url, origin));
        let plc_directory = noted(
            problems,
            "server.plc_directory_url",
            url(&server.plc_directory_url),
        );
        let handle_resolver = noted(
            problems,
            "server.handle_resolver_url",
            optional(&server.handle_resolver_url, url),
        );
        let default_hold = noted(
            problems,
            "server.default_hold_did",
            optional(&server.default_hold_did, did),
        );
        let proxies = noted(
            problems,
            "server.trusted_proxies",
            trusted_proxies(&server.trusted_proxies),
        );
        let exempt = noted(
            problems,
            "limits.exempt",
            Network::parse_all(&config.limits.exempt),
        );
        let unlimited_peers = Network::parse_all(&server.trusted_proxies)
            .ok()
            .into_iter()
            .chain(exempt.clone())
            .flatten()
            .collect();
        let listener = listener(&config.limits, unlimited_peers);
        let branding = branding(config, problems);
        let credential_helper = credential_helper(config, problems);
        let network = network(config, problems);
        let index_database = noted(problems, "index.database_url", index_database(&config.index));
        let permission_set = noted(
            problems,
            "oauth.permission_set",
            optional(&config.oauth.permission_set, nsid),
        );
        if let Err(message) = check_log_level(&config.log_level) {
            problems.push("log_level", message);
        }
        let log_format = noted(problems, "log_format", log_format(&config.log_format));
        problems.require(
            !server.data_dir.as_os_str().is_empty(),
            "server.data_dir",
            "must name a folder",
        );
        check_numbers(config, problems);
        let base_url = match named_base_url? {
            Some(url) => url,
            None => noted(
                problems,
                "server.base_url",
                url(&format!("http://127.0.0.1:{}", listen?.port())),
            )?,
        };
        let did = noted(
            problems,
            "server.base_url",
            Did::web_from_url(&base_url).map_err(|error| error.to_string()),
        );
        if !problems.is_empty() {
            return None;
        }
        Some(Self {
            listen: listen?,
            metrics_listen: metrics_listen?,
            log_format: log_format?,
            service: base_url.host_str().unwrap_or("atcr.io").to_owned(),
            base_url,
            did: did?,
            default_hold: default_hold?,
            proxies: Arc::new(proxies?),
            plc_directory: plc_directory?,
            handle_resolver: handle_resolver?,
            test_mode: server.test_mode,
            shutdown_grace: server.shutdown_grace,
            free_disk_bytes: server.free_disk_bytes,
            paths: Paths::of(config),
            branding: branding?,
            permission_set: permission_set?,
            registry: config.registry.clone(),
            upstream: config.upstream.clone(),
            limits: config.limits.clone(),
            listener,
            exempt: exempt?,
            fills_index: config.index.enabled,
            index_database: index_database?,
            network: network?,
            credential_helper: Some(credential_helper?)
                .filter(|release| !release.folder.as_os_str().is_empty()),
        })
    }
}

impl Paths {
    /// Where `config` says, else below the data folder.
    fn of(config: &AppViewConfig) -> Self {
        let data = &config.server.data_dir;
        let path = |named: &Path, default: &str| {
            if named.as_os_str().is_empty() {
                data.join(default)
            } else {
                named.to_owned()
            }
        };
        Self {
            registry_key: path(&config.auth.key_path, "auth/private-key.pem"),
            appview_key: path(&config.auth.appview_key_path, "auth/appview.key"),
            vault_key: path(&config.auth.vault_key_path, "auth/vault.key"),
            oauth_key: path(&config.server.oauth_key_path, "oauth/client.key"),
            database: path(&config.ui.database_path, "ui.db"),
            index: path(&config.index.database_path, "index.db"),
            spool: data.join("spool"),
            data: data.clone(),
        }
    }
}

fn index_database(index: &IndexSection) -> Result<Option<DatabaseUrl>, String> {
    let url = optional(index.database_url.expose(), |text| {
        DatabaseUrl::parse(text).map_err(|error| error.to_string())
    })?;
    if url.is_some() && !index.database_path.as_os_str().is_empty() {
        return Err("is set beside index.database_path: the index is in one of them".to_owned());
    }
    Ok(url)
}

fn network(config: &AppViewConfig, problems: &mut Problems) -> Option<NetworkSettings> {
    let (index, jetstream) = (&config.index, &config.jetstream);
    let mut urls = |key, texts: &[String], parse: fn(&str) -> Result<Url, String>| {
        let urls = texts.iter().map(|text| parse(text));
        noted(problems, key, urls.collect::<Result<Vec<_>, _>>())
    };
    let firehoses = urls("index.firehoses", &index.firehoses, url);
    let relays = urls("index.relays", &index.relays, url);
    let jetstreams = urls("jetstream.urls", &jetstream.urls, stream_url);
    let directories = urls("jetstream.relay_endpoints", &jetstream.relay_endpoints, url);
    let labeler = noted(problems, "labeler.did", optional(&config.labeler.did, did));
    let firehoses = firehoses?;
    let directories = if jetstream.backfill_enabled {
        [directories?, firehoses.clone()].concat()
    } else {
        Vec::new()
    };
    Some(NetworkSettings {
        firehoses,
        relays: relays?,
        jetstreams: jetstreams?,
        directories,
        labeler: labeler?,
    })
}

fn branding(config: &AppViewConfig, problems: &mut Problems) -> Option<BrandingSettings> {
    let oauth = &config.oauth;
    let checked = |text: &str| url(text).map(|_| text.to_owned());
    let logo_url = noted(problems, "oauth.logo_url", optional(&oauth.logo_url, checked));
    let terms_url = noted(problems, "oauth.terms_url", optional(&oauth.terms_url, checked));
    let privacy_url = noted(
        problems,
        "oauth.privacy_url",
        optional(&oauth.privacy_url, checked),
    );
    Some(BrandingSettings {
        name: config.server.client_name.clone(),
        logo_url: logo_url?,
        terms_url: terms_url?,
        privacy_url: privacy_url?,
    })
}

/// The release of the helper; its folder is empty when none is offered.
fn credential_helper(config: &AppViewConfig, problems: &mut Problems) -> Option<CredentialHelperSettings> {
    let section = &config.credential_helper;
    let download_base_url = noted(
        problems,
        "credential_helper.download_base_url",
        optional(&section.download_base_url, |text| {
            url(text).map(|_| format!("{}/", text.trim_end_matches('/')))
        }),
    );
    let signing_key = noted(
        problems,
        "credential_helper.signing_key",
        optional(&section.signing_key, |text| {
            PublicKey::from_did_key(text)
                .map(|_| text.to_owned())
                .map_err(|error| format!("{text:?} is not a did:key: {error}"))
        }),
    );
    Some(CredentialHelperSettings {
        folder: section.release_dir.clone(),
        download_base_url: download_base_url?,
        signing_key: signing_key?,
    })
}

/// What the listener bears; a proxy sends the requests of many clients, so `unlimited_peers` open as many connections as they need.
fn listener(section: &LimitsSection, unlimited_peers: Vec<Network>) -> ServeLimits {
    ServeLimits {
        listener: "main",
        connections: usize::try_from(section.connections).unwrap_or(usize::MAX),
        connections_per_address: usize::try_from(section.connections_per_address).unwrap_or(usize::MAX),
        unlimited_peers,
        header_timeout: section.header_timeout.get(),
        write_timeout: section.write_timeout.get(),
    }
}

fn check_numbers(config: &AppViewConfig, problems: &mut Problems) {
    for (key, bound) in [
        ("limits.connections", config.limits.connections),
        (
            "limits.connections_per_address",
            config.limits.connections_per_address,
        ),
        ("registry.listed_records", config.registry.listed_records),
        ("registry.listed_bytes", config.registry.listed_bytes),
        ("upstream.requests_per_host", config.upstream.requests_per_host),
        (
            "upstream.answer_memory_bytes",
            config.upstream.answer_memory_bytes,
        ),
        (
            "registry.manifest_memory_bytes",
            config.registry.manifest_memory_bytes,
        ),
        (
            "registry.uploads_per_account",
            config.registry.uploads_per_account.into(),
        ),
        (
            "registry.spool_bytes_per_account",
            config.registry.spool_bytes_per_account,
        ),
        ("registry.spool_bytes", config.registry.spool_bytes),
    ] {
        problems.require(bound > 0, key, "must be greater than zero");
    }
    for (key, duration) in [
        ("limits.header_timeout", config.limits.header_timeout),
        ("limits.write_timeout", config.limits.write_timeout),
        ("upstream.pds_timeout", config.upstream.pds_timeout),
        ("upstream.hold_timeout", config.upstream.hold_timeout),
        (
            "registry.upload_idle_timeout",
            config.registry.upload_idle_timeout,
        ),
    ] {
        problems.require(!duration.get().is_zero(), key, "must be longer than zero");
    }
}

fn noted<T>(problems: &mut Problems, key: &str, outcome: Result<T, String>) -> Option<T> {
    outcome.map_err(|message| problems.push(key, message)).ok()
}

fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse(text).map(Some)
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}

fn trusted_proxies(networks: &[String]) -> Result<TrustedProxies, String> {
    let networks = networks.iter().map(|text| text.parse());
    networks.collect::<Result<_, _>>().map(TrustedProxies::new)
}

fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is not a URL: {error}"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(format!("{text:?} is not an http or https URL"))
    }
}

/// A URL of a WebSocket, whose connection begins as a request over HTTP.
fn stream_url(text: &str) -> Result<Url, String> {
    let http = if let Some(rest) = text.strip_prefix("wss://") {
        format!("https://{rest}")
    } else if let Some(rest) = text.strip_prefix("ws://") {
        format!("http://{rest}")
    } else {
        text.to_owned()
    };
    url(&http).map_err(|_| format!("{text:?} is not a wss, ws, https or http URL"))
}

/// A URL of nothing but scheme, host and port, from which a did:web follows.
fn origin(text: &str) -> Result<Url, String> {
    let url = url(text)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} must be scheme, host and port only"));
    }
    if matches!(url.host(), Some(Host::Ipv6(_))) {
        return Err(format!(
            "{text:?} must name a host, not an IPv6 address: it becomes the AppView's DID"
        ));
    }
    Ok(url)
}

fn nsid(text: &str) -> Result<Nsid, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an NSID, like io.atcr.authFullApp"))
}

fn did(text: &str) -> Result<Did, String> {
    // An unescaped port (did:web:host:8080) is a common slip and means one thing only.
    let text = match text
        .strip_prefix("did:web:")
        .and_then(|host| host.split_once(':'))
    {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("did:web:{host}%3A{port}")
        }
        _ => text.to_owned(),
    };
    text.parse()
        .map_err(|error| format!("{error}; write did:web:hold.example.com or did:plc:…"))
}
