//! The settings of the AppView; their doc comments are the comments of the example file.

use std::path::PathBuf;
use std::time::Duration;

use atcr_server::{HumanDuration, Problems, Rate, Secret, Settings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::AppViewSettings;

/// Configuration of the ATCR AppView. Every key is optional. An environment variable overrides its key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AppViewConfig {
    /// Version of this file's layout.
    pub version: String,
    /// Log level: debug, info, warn or error.
    pub log_level: String,
    /// Log format: text or json.
    pub log_format: String,
    /// The server and its place in the network.
    pub server: ServerSection,
    /// Keys. A missing file is created, readable by its owner only.
    pub auth: AuthSection,
    /// Sign-in at the account server.
    pub oauth: OAuthSection,
    /// The registry.
    pub registry: RegistrySection,
    /// How often clients may ask. A rate is a number in a time, like 600/1m: so many at once, and then as many again spread evenly over
    /// the time; or off. A request too many gets status 429 with Retry-After.
    pub limits: LimitsSection,
    /// Other servers.
    pub upstream: UpstreamSection,
    /// The local databases.
    pub ui: UiSection,
    /// The index of the network, from which pages are made.
    pub index: IndexSection,
    /// Where the index hears of the network.
    pub jetstream: JetstreamSection,
    /// Who may take things down.
    pub labeler: LabelerSection,
    /// Releases of the credential helper that this server offers.
    pub credential_helper: CredentialHelperSection,
}

/// The server and its place in the network.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServerSection {
    /// Address and port to listen on. Without an address: every interface.
    pub addr: String,
    /// URL at which clients reach this server. The token endpoint, the service name in tokens and the AppView's did:web are derived from
    /// it. Empty: http://127.0.0.1 with the port of addr, for development.
    pub base_url: String,
    /// Name of this server on the page where account servers ask their users for consent.
    pub client_name: String,
    /// P-256 key with which this server authenticates as an OAuth client. Created when missing. Unused while base_url is on localhost.
    /// Empty: oauth/client.key in the data folder.
    pub oauth_key_path: PathBuf,
    /// DID of the hold for accounts that have chosen none, for example did:web:hold.example.com. Empty: such accounts cannot push.
    pub default_hold_did: String,
    /// Folder for keys, databases and unfinished uploads, unless a key below names another place.
    pub data_dir: PathBuf,
    /// Directory of did:plc documents.
    pub plc_directory_url: String,
    /// Server that resolves handles with com.atproto.identity.resolveHandle, for networks without public DNS. Empty: DNS and HTTPS.
    pub handle_resolver_url: String,
    /// Address of the listener for /metrics, for example 127.0.0.1:5001. Empty: no listener.
    pub metrics_addr: String,
    /// Addresses and networks of proxies in front of this server, for example 10.0.0.0/8. Their X-Forwarded-For names the client. Limits
    /// count all clients of a proxy that is not listed as one client.
    pub trusted_proxies: Vec<String>,
    /// Time that requests have to finish after the process was asked to stop.
    pub shutdown_grace: HumanDuration,
    /// Bytes that must be free on the disks of the databases and of unfinished uploads. With fewer, /readyz answers 503, so that a load
    /// balancer stops sending requests before a write fails. 0: not checked.
    pub free_disk_bytes: u64,
    /// For development only: allow other servers on this machine, over plain HTTP.
    pub test_mode: bool,
}

/// Keys. A missing file is created, readable by its owner only.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthSection {
    /// P-256 key of registry tokens, PEM. Empty: auth/private-key.pem in the data folder.
    pub key_path: PathBuf,
    /// Key of the AppView's own DID, which signs statements to holds. Empty: auth/appview.key in the data folder.
    pub appview_key_path: PathBuf,
    /// Key that seals sessions in the database. Empty: auth/vault.key in the data folder.
    pub vault_key_path: PathBuf,
}

/// Sign-in at the account server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OAuthSection {
    /// URL of a logo for the consent page of account servers. Empty: none.
    pub logo_url: String,
    /// URL of the terms of service for that page. Empty: none.
    pub terms_url: String,
    /// URL of the privacy policy for that page. Empty: none.
    pub privacy_url: String,
    /// Permission set to request instead of a list of record collections, for example io.atcr.authFullApp. It reads better on the consent
    /// page, and its publisher decides what it grants. Servers that cannot resolve it are asked for the list. Empty: always the list.
    pub permission_set: String,
}

/// The registry.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RegistrySection {
    /// Accept manifests that name blobs or manifests that were not pushed (sparse images and indexes).
    pub allow_missing_content: bool,
    /// Bytes of manifests kept in memory.
    pub manifest_cache_bytes: u64,
    /// Bytes of manifests kept on disk, so that an image that was pulled or pushed here once can be pulled while its owner's server does
    /// not answer, and without asking it. 0 keeps none.
    pub kept_manifest_bytes: u64,
    /// Memory for manifests on their way, in bytes: half for those that are being pushed or served, half for what is made of pushed ones.
    /// One account, or one client without an account, has a quarter at most. Beyond it requests wait, and then get status 429.
    pub manifest_memory_bytes: u64,
    /// Records of one account that are listed. Lists of an account with more are incomplete and say so.
    pub listed_records: u64,
    /// Bytes of one account's records that are listed.
    pub listed_bytes: u64,
    /// User-Agent prefixes of clients that cannot follow a redirect. They get blobs through this server. None by default: every large
    /// registry redirects, and the clients that are known to fail are old or use the name of a library (Open Policy Agent once sent
    /// containerd/1.7).
    pub proxied_user_agents: Vec<String>,
    /// Blobs that go through this server at once, for those clients and for signed-in ones that ask for it.
    pub proxied_at_once: usize,
    /// Unfinished uploads of one account. An upload ends a day after its last byte.
    pub uploads_per_account: u32,
    /// Bytes of one account's uploads on this server's disk, where they wait for a store that takes parts. One upload needs up to four
    /// parts: 64 MiB for a layer of up to 23 GiB, 14 GiB for the largest blob there can be.
    pub spool_bytes_per_account: u64,
    /// Bytes of such uploads of all accounts together. No account has more than is left for others.
    pub spool_bytes: u64,
    /// Longest pause of a client in the middle of an upload, and of a hold's store in the middle of a blob.
    pub upload_idle_timeout: HumanDuration,
}

/// How often clients may ask.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LimitsSection {
    /// Open connections. Further ones wait.
    pub connections: u64,
    /// Open connections of one address (of IPv6: of one /64). Further ones are closed at once. Proxies and exempt networks are not counted.
    pub connections_per_address: u64,
    /// Time that a client has to send the head of a request, and that a connection may wait for its next request.
    pub header_timeout: HumanDuration,
    /// Time that a client may take no byte of an answer before its connection is closed.
    pub write_timeout: HumanDuration,
    /// Requests under /v2/ without an account, per client address (of IPv6: per /64).
    pub anonymous_requests: Rate,
    /// Requests under /v2/ of one account, from all of its clients together.
    pub account_requests: Rate,
    /// Requests for tokens (/auth/token), per client address.
    pub token_requests: Rate,
    /// Sign-ins with a password that fail, whatever they fail by, per client address. Each makes this server look up an account and ask its
    /// server. One under way counts until it succeeds.
    pub failed_sign_ins: Rate,
    /// Requests for pages and their JSON, and of the device flow, per client address.
    pub page_requests: Rate,
    /// Networks whose clients are not counted by address, for example 10.0.0.0/8.
    pub exempt: Vec<String>,
}

/// Other servers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UpstreamSection {
    /// Time limit for one answer of a PDS.
    pub pds_timeout: HumanDuration,
    /// Time limit for one answer of a hold. Transfers of blobs are limited by registry.upload_idle_timeout instead.
    pub hold_timeout: HumanDuration,
    /// Requests to one PDS or hold under way at once. Four times as many wait for them.
    pub requests_per_host: u64,
    /// Memory for all answers of PDSes and holds, in bytes: half for those that arrive, half for what is made of them. One server has a
    /// quarter at most.
    pub answer_memory_bytes: u64,
}

/// The local databases.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UiSection {
    /// SQLite file with sessions, devices and pending notices to holds. A second file beside it, with -scratch in its name, holds what can
    /// be made again: the index of accounts and unfinished uploads. Empty: ui.db in the data folder.
    pub database_path: PathBuf,
}

/// The index of the network, from which pages are made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IndexSection {
    /// Fill the index. Without it, pages show only what was indexed before.
    pub enabled: bool,
    /// SQLite file of the index. All but the history of tags and pulls by day can be built again from the network. Empty: index.db in the
    /// data folder.
    pub database_path: PathBuf,
    /// PostgreSQL database (15 or later, UTF8) for the index instead of that file: postgres://user:password@host/database, with
    /// ?sslmode=verify-full for one that is not on this machine. Several servers may share it; one of them follows the network, and another
    /// one takes over within 10 s. Sessions, devices and notices stay in ui.db, each server its own, so servers that share an index have
    /// base URLs of their own. Empty: the file.
    pub database_url: Secret,
    /// Servers whose own firehose is followed, for example https://pds.example.com: account servers and holds. What their accounts write
    /// is indexed within seconds, and their accounts are found at the start. For servers that no relay follows, and for one's own.
    pub firehoses: Vec<String>,
    /// Relays whose firehose is followed, for example https://relay1.us-east.bsky.network: the first one that answers. Every commit of the
    /// network comes over the wire, and those about images are verified. A Jetstream is the cheaper way.
    pub relays: Vec<String>,
}

/// Where the index hears of the network.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JetstreamSection {
    /// Jetstreams of either version: the first one that answers. What one says is not believed; it has the account's own server asked.
    /// Empty: none, as in a network of one's own.
    pub urls: Vec<String>,
    /// Find the accounts of the network at the start and each day: those with images, at relay_endpoints and at index.firehoses.
    pub backfill_enabled: bool,
    /// Relays and collection directories that list accounts by collection.
    pub relay_endpoints: Vec<String>,
}

/// Who may take things down.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LabelerSection {
    /// DID of the labeler whose label !takedown, on an account or on the page record of a repository, hides that here and refuses pulls
    /// and pushes. It is followed while index.enabled is true. Empty: none.
    pub did: String,
}

/// Releases of the credential helper that this server offers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CredentialHelperSection {
    /// Folder of one release: checksums.txt, and the archives that it lists unless they are downloaded from elsewhere. Read at the start.
    /// Empty: no release is offered.
    pub release_dir: PathBuf,
    /// URL below which the archives are downloaded. Empty: from this server, below /dist/.
    pub download_base_url: String,
    /// The did:key that signed the archives. The signature of an archive is in a file with .sig added to its name. Empty: archives are not
    /// signed.
    pub signing_key: String,
}

impl Default for AppViewConfig {
    fn default() -> Self {
        Self {
            version: "0.1".to_owned(),
            log_level: "info".to_owned(),
            log_format: "text".to_owned(),
            server: ServerSection::default(),
            auth: AuthSection::default(),
            oauth: OAuthSection::default(),
            registry: RegistrySection::default(),
            limits: LimitsSection::default(),
            upstream: UpstreamSection::default(),
            ui: UiSection::default(),
            index: IndexSection::default(),
            jetstream: JetstreamSection::default(),
            labeler: LabelerSection::default(),
            credential_helper: CredentialHelperSection::default(),
        }
    }
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            addr: ":5000".to_owned(),
            base_url: String::new(),
            client_name: "AT Container Registry".to_owned(),
            oauth_key_path: PathBuf::new(),
            default_hold_did: String::new(),
            data_dir: PathBuf::from("/var/lib/atcr"),
            plc_directory_url: "https://plc.directory".to_owned(),
            handle_resolver_url: String::new(),
            metrics_addr: String::new(),
            trusted_proxies: Vec::new(),
            shutdown_grace: HumanDuration::from_secs(30),
            free_disk_bytes: 256 * 1024 * 1024,
            test_mode: false,
        }
    }
}

impl Default for IndexSection {
    fn default() -> Self {
        Self {
            enabled: true,
            database_path: PathBuf::new(),
            database_url: Secret::default(),
            firehoses: Vec::new(),
            relays: Vec::new(),
        }
    }
}

impl Default for JetstreamSection {
    fn default() -> Self {
        let second = |region| {
            format!("wss://jetstream.{region}.bsky.network/xrpc/network.bsky.jetstream.subscribeEvents")
        };
        Self {
            urls: vec![
                second("us-west"),
                second("us-east"),
                "wss://jetstream2.us-west.bsky.network/subscribe".to_owned(),
            ],
            backfill_enabled: true,
            relay_endpoints: vec!["https://relay1.us-east.bsky.network".to_owned()],
        }
    }
}

impl Default for RegistrySection {
    fn default() -> Self {
        Self {
            allow_missing_content: false,
            manifest_cache_bytes: 16 * 1024 * 1024,
            kept_manifest_bytes: 1024 * 1024 * 1024,
            manifest_memory_bytes: 48 * 1024 * 1024,
            listed_records: 100_000,
            listed_bytes: 128 * 1024 * 1024,
            proxied_user_agents: Vec::new(),
            proxied_at_once: 64,
            uploads_per_account: 1_000,
            spool_bytes_per_account: 16 * 1024 * 1024 * 1024,
            spool_bytes: 64 * 1024 * 1024 * 1024,
            upload_idle_timeout: HumanDuration::from_secs(60),
        }
    }
}

impl Default for LimitsSection {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self {
            connections: 4096,
            connections_per_address: 1024,
            header_timeout: HumanDuration::from_secs(30),
            write_timeout: HumanDuration::from_secs(60),
            // A pull of 40 layers by a machine that is not signed in is some 100 requests; behind one address are often many machines.
            anonymous_requests: Rate::new(2_400, minute),
            // A build farm's.
            account_requests: Rate::new(60_000, minute),
            token_requests: Rate::new(1_200, minute),
            failed_sign_ins: Rate::new(300, minute),
            page_requests: Rate::new(600, minute),
            exempt: Vec::new(),
        }
    }
}

impl Default for UpstreamSection {
    fn default() -> Self {
        Self {
            pds_timeout: HumanDuration::from_secs(15),
            hold_timeout: HumanDuration::from_secs(30),
            requests_per_host: 128,
            answer_memory_bytes: 48 * 1024 * 1024,
        }
    }
}

impl Settings for AppViewConfig {
    const ENV_PREFIX: &'static str = "ATCR";
    const OLD_VARIABLES: &'static [(&'static str, &'static str)] = &[
        ("ATCR_HTTP_ADDR", "server.addr"),
        ("ATCR_BASE_URL", "server.base_url"),
        ("ATCR_DEFAULT_HOLD_DID", "server.default_hold_did"),
        ("JETSTREAM_URL", "jetstream.urls"),
        ("ATCR_RELAY_ENDPOINT", "jetstream.relay_endpoints"),
    ];
    const RETIRED: &'static [(&'static str, &'static str)] = &[
        (
            "ATCR_DEBUG_ADDR",
            "server.metrics_addr is where an operator looks in",
        ),
        ("ATCR_UI_ENABLED", "there are always pages"),
        (
            "ATCR_BACKFILL_INTERVAL",
            "accounts are looked for at the start and each day",
        ),
        ("CLAUDE_API_KEY", "there is no advice on images"),
        ("STRIPE_SECRET_KEY", "nothing is billed"),
        ("STRIPE_WEBHOOK_SECRET", "nothing is billed"),
        (
            "log_shipper",
            "the log goes to standard error, for a collector to take",
        ),
        ("server.client_short_name", "server.client_name is the only name"),
        (
            "server.registry_domains",
            "images are named by the host of server.base_url",
        ),
        (
            "ui.libsql_sync_url",
            "the database is one file; the index may be in PostgreSQL (index.database_url)",
        ),
        (
            "ui.libsql_auth_token",
            "the database is one file; the index may be in PostgreSQL (index.database_url)",
        ),
        (
            "ui.libsql_sync_interval",
            "the database is one file; the index may be in PostgreSQL (index.database_url)",
        ),
        (
            "ui.theme",
            "pages have one look, light or dark as each reader likes",
        ),
        ("health", "holds are asked when they are needed"),
        (
            "jetstream.backfill_interval",
            "accounts are looked for at the start and each day",
        ),
        ("auth.cert_path", "the key of auth.key_path needs no certificate"),
        ("auth.token_expiration", "a token for Docker lives 5 minutes"),
        (
            "auth.service_name",
            "the service's name is the host of server.base_url",
        ),
        (
            "credential_helper.tangled_repo",
            "credential_helper.release_dir or download_base_url says where releases are",
        ),
        (
            "legal",
            "oauth.terms_url and oauth.privacy_url lead to your own pages",
        ),
        ("ai", "there is no advice on images"),
        ("billing", "nothing is billed"),
    ];

    fn validate(&self, problems: &mut Problems) {
        let _ = AppViewSettings::parse(self, problems);
    }
}
