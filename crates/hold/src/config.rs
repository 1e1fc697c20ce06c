//! The hold's settings as the operator writes them. What they mean is in [`crate::settings`].

mod quota;

use std::time::Duration;

use atcr_server::{HumanDuration, Problems, Rate, Secret, Settings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::quota::{QuotaDefaults, QuotaSection, TierSetting};
use crate::settings::HoldSettings;

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
    /// How much clients may ask for. A rate is written 600/1m: so many at once, and as many again spread over the time; off is no
    /// limit. A client beyond it gets 429 and is told when to come back. An IPv6 /64 counts as one address.
    pub limits: LimitsSection,
    /// Who owns the hold and who may join.
    pub registration: RegistrationSection,
    /// How much each member may keep.
    pub quota: QuotaSection,
    /// Where blobs are kept.
    pub storage: StorageSection,
    /// Scanners, which list the packages of images and look for known vulnerabilities in them.
    pub scanner: ScannerSection,
    /// The admin site, at /admin, for the captain.
    pub admin: AdminSection,
    /// Where the hold's own repository, keys and indexes are kept.
    pub database: DatabaseSection,
    /// Garbage collection: blobs that no manifest names any more are removed.
    pub gc: GcSection,
    /// The copy of the hold's repository that is kept elsewhere while the hold runs. It has no keys: `atcr-hold keys export` writes
    /// those.
    pub backup: BackupSection,
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
    /// The URL under which clients reach the hold, scheme and host (and port) only. With did_method web the hold's DID follows from
    /// it, for good: https://hold.example.com is did:web:hold.example.com. Required.
    pub public_url: String,
    /// Whether blobs can be downloaded without signing in. Copied to the captain record at every start; empty leaves the record as it
    /// is, and a new one says no.
    pub public: Option<bool>,
    /// DID of the hold that replaces this one; AppViews send new pushes there. Copied to the captain record at every
    /// start; empty leaves the record as it is, "none" removes it.
    pub successor: String,
    /// DID of the AppView that is trusted to vouch for the content of uploads, for example "did:web:registry.example.com".
    /// Empty: none is trusted, and a hold on S3 reads each object once before it accepts it.
    pub appview_did: String,
    /// URLs of the relays that are asked to follow the hold, so that the network sees its records; separated by commas, empty
    /// for none. A relay on the internet is not asked to follow a hold whose public_url is not.
    pub relay_endpoint: String,
    /// Address of the metrics listener, for example "127.0.0.1:8081"; empty for none. Do not expose it.
    pub metrics_addr: String,
    /// Addresses and networks of proxies in front of the hold, for example 10.0.0.0/8. Their X-Forwarded-For names the client that
    /// limits count; without it all clients of a proxy count as one.
    pub trusted_proxies: Vec<String>,
    /// Server that resolves handles with com.atproto.identity.resolveHandle, for networks without public DNS. Empty: DNS and HTTPS.
    pub handle_resolver_url: String,
    /// For development on one machine: plain http and loopback addresses are allowed for the hosts of DIDs.
    pub test_mode: bool,
    /// The longest pause of a client in the middle of a request body.
    pub read_timeout: HumanDuration,
    /// How long requests in flight may take to finish when the process is asked to stop.
    pub shutdown_grace: HumanDuration,
    /// Bytes that must be free on the disks of database.path and of the objects. With fewer, /readyz answers 503, so that a load
    /// balancer stops sending requests before a write fails. 0: not checked.
    pub free_disk_bytes: u64,
}

/// How much clients may ask for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LimitsSection {
    /// Open connections. Further ones wait.
    pub connections: u32,
    /// Open connections of one address. Further ones are closed at once.
    pub connections_per_address: u32,
    /// How long a client may take to send the head of a request, and how long a connection may wait for its next request.
    pub header_timeout: HumanDuration,
    /// How long 64 KiB of an answer may wait for a client before its connection is closed.
    pub write_timeout: HumanDuration,
    /// Requests of one address without a token, or with one that is no good. Uploads and downloads at signed URLs do not count.
    pub anonymous: Rate,
    /// Requests of one account.
    pub account: Rate,
    /// Tokens of one address that are not good, before tokens from there are not looked at: checking one makes the hold ask other servers.
    /// Accounts whose token was good at that address within the last hour are not affected.
    pub failed_tokens: Rate,
    /// Accounts that join by themselves (registration.allow_all_crew), for all addresses together: each is a record for good.
    pub new_members: Rate,
    /// Repository exports (com.atproto.sync.getRepo) at once. Of these and of subscribers, addresses of one IPv4 /24 or IPv6 /48 take a
    /// quarter at most, and limits.exempt have as many of their own.
    pub repo_exports: u32,
    /// Repository exports of one address at once; here an IPv6 /56 counts as one address.
    pub repo_exports_per_address: u32,
    /// How long one repository export may take.
    pub repo_export_timeout: HumanDuration,
    /// Subscribers to the repository's events (com.atproto.sync.subscribeRepos) at once.
    pub subscribers: u32,
    /// Subscribers of one address at once; here an IPv6 /56 counts as one address.
    pub subscribers_per_address: u32,
    /// Addresses and networks that the limits per address do not count, such as an AppView that sends the requests of many people.
    pub exempt: Vec<String>,
    /// Layers of one manifest. Must not be more than limits.layer_records_per_hour.
    pub layers_per_manifest: u32,
    /// Pushes and pulls of one account that are recorded in an hour; beyond that the answer is 429.
    pub notices_per_hour: u32,
    /// Layer records that the pushes of one account add in an hour.
    pub layer_records_per_hour: u32,
    /// Repositories that the hold begins to count in an hour because of pulls alone, for all accounts together. One account
    /// adds a tenth of them at most.
    pub new_repositories_per_hour: u32,
    /// Commits of an hour for what no person waits for: layers and counts. Relays take some 2,600 events an hour of a host that they
    /// do not know.
    pub background_commits_per_hour: u32,
    /// The longest that such a write waits for its commit.
    pub background_wait: HumanDuration,
}

/// Who owns the hold and who may join.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RegistrationSection {
    /// DID of the captain. Required at the first start; later the captain record decides.
    pub owner_did: String,
    /// Whether every account may register as crew, which allows pushing. Copied to the captain record at every start; empty leaves the
    /// record as it is, and a new one says no.
    pub allow_all_crew: Option<bool>,
    /// Whether the hold posts about pushes with a tag (app.bsky.feed.post in its own repository), at most 10 in an hour about one
    /// account and 60 in all. Copied to the captain record at every start; empty leaves the record as it is, and a new one says no.
    pub enable_bluesky_posts: Option<bool>,
    /// Where the blobs are, for people to read (at most 64 bytes). Empty leaves the captain record as it is, and a new one
    /// gets the bucket's region on S3; "none" removes it.
    pub region: String,
    /// The hold's name in the profile that the first start writes; empty for its host, "none" for no profile. A crew administrator
    /// changes the profile later.
    pub profile_display_name: String,
    /// The description in that profile.
    pub profile_description: String,
}

impl Default for RegistrationSection {
    fn default() -> Self {
        Self {
            owner_did: String::new(),
            allow_all_crew: None,
            enable_bluesky_posts: None,
            region: String::new(),
            profile_display_name: String::new(),
            profile_description: "Keeps the layers of container images.".to_owned(),
        }
    }
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

/// Which results of scans are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PublishSetting {
    /// Those of a public hold.
    #[default]
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// Scanners.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ScannerSection {
    /// The secret that scanners present, at least 16 bytes; the same as SCANNER_SHARED_SECRET at the scanner. It gives access to every
    /// blob and allows writing results. Empty: no scanner may connect.
    pub secret: Secret,
    /// How old a result may be before an idle scanner makes it again; 0: it never does.
    pub rescan_interval: HumanDuration,
    /// How many images in a minute idle scanners look up again in a newer vulnerability database, from the lists of packages that the hold
    /// has; 0: they never do.
    pub rematches_per_minute: u32,
    /// Which results become records, which everybody can read: "auto", those of a public hold; "always", and of a private hold
    /// the counts only; "never". Others are told to those who may read the image.
    pub publish: PublishSetting,
}

impl Default for ScannerSection {
    fn default() -> Self {
        Self {
            secret: Secret::default(),
            rescan_interval: HumanDuration::from_secs(7 * 24 * 60 * 60),
            rematches_per_minute: 60,
            publish: PublishSetting::default(),
        }
    }
}

/// The admin site.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AdminSection {
    /// Whether the captain can sign in at /admin. The captain's account server has to reach server.public_url.
    pub enabled: bool,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { enabled: true }
    }
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
    /// How long events of the repository are kept for subscribers that were away (at most 8 GiB of them).
    pub event_retention: HumanDuration,
    /// Kind of the hold's DID: "web", from server.public_url, or "plc", made in plc_directory_url at the first start and kept in
    /// "did.txt" inside database.path.
    pub did_method: DidMethod,
    /// With plc: a DID that exists already and that this hold takes over at its first start. It needs a rotation key of that DID.
    pub did: String,
    /// The did:plc directory. Also used to look up users.
    pub plc_directory_url: String,
    /// With plc: the key that may change the DID (K-256, private, multibase); empty for the one in rotation_key_path. Whoever has it
    /// owns the DID: keep a copy away from this machine.
    pub rotation_key: Secret,
    /// With plc: file of that key, made at the first start; empty for "rotation.key" inside database.path.
    pub rotation_key_path: String,
    /// With plc: the captain's own rotation key, public (did:key:...). It is put before the hold's and can undo, for 72 hours, what
    /// the hold's key signed.
    pub captain_rotation_key: String,
}

/// Garbage collection.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GcSection {
    /// Whether it runs every night. By hand it runs in any case: `atcr-hold gc run`.
    pub enabled: bool,
    /// The hour, in UTC, after which it runs.
    pub hour: u32,
    /// Days for which the hold has run with a blob condemned before the blob is removed. Until then it can be read, and whatever comes
    /// to name it keeps it.
    pub grace_days: u32,
    /// Blobs removed in a second; 0 for as many as the store takes.
    pub removals_per_second: u32,
}

impl Default for GcSection {
    fn default() -> Self {
        Self {
            enabled: false,
            hour: 3,
            grace_days: 7,
            removals_per_second: 100,
        }
    }
}

/// The copy of the hold's repository that is kept elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BackupSection {
    /// Whether there is one. With S3 it is in the bucket of the blobs unless the keys below name another place; with files one of
    /// them must name a place, since a copy on the same disk is none.
    pub enabled: bool,
    /// A folder on another disk; empty for none.
    pub path: String,
    /// A bucket, reached with the endpoint and the keys of storage.*; empty for storage.bucket.
    pub bucket: String,
    /// What the names in the bucket begin with.
    pub prefix: String,
    /// How often what is new is copied.
    pub interval: HumanDuration,
}

impl Default for BackupSection {
    fn default() -> Self {
        Self {
            enabled: true,
            path: String::new(),
            bucket: String::new(),
            prefix: "atcr-hold/repository".to_owned(),
            interval: HumanDuration::from_secs(5),
        }
    }
}

impl Default for HoldConfig {
    fn default() -> Self {
        Self {
            version: "0.1".to_owned(),
            log_level: "info".to_owned(),
            log_format: LogFormatSetting::default(),
            server: ServerSection::default(),
            limits: LimitsSection::default(),
            registration: RegistrationSection::default(),
            quota: QuotaSection::default(),
            storage: StorageSection::default(),
            scanner: ScannerSection::default(),
            admin: AdminSection::default(),
            database: DatabaseSection::default(),
            gc: GcSection::default(),
            backup: BackupSection::default(),
        }
    }
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            addr: ":8080".to_owned(),
            public_url: String::new(),
            public: None,
            successor: String::new(),
            appview_did: String::new(),
            relay_endpoint: "https://relay1.us-east.bsky.network".to_owned(),
            metrics_addr: String::new(),
            trusted_proxies: Vec::new(),
            handle_resolver_url: String::new(),
            test_mode: false,
            read_timeout: HumanDuration::from_secs(300),
            shutdown_grace: HumanDuration::from_secs(60),
            free_disk_bytes: 256 * 1024 * 1024,
        }
    }
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 512,
            header_timeout: HumanDuration::from_secs(30),
            write_timeout: HumanDuration::from_secs(60),
            anonymous: Rate::new(3000, Duration::from_mins(1)),
            account: Rate::new(12_000, Duration::from_mins(1)),
            failed_tokens: Rate::new(600, Duration::from_mins(1)),
            new_members: Rate::new(500, Duration::from_hours(1)),
            repo_exports: 16,
            repo_exports_per_address: 2,
            repo_export_timeout: HumanDuration::from_secs(600),
            subscribers: 1024,
            subscribers_per_address: 16,
            exempt: vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
            layers_per_manifest: 1024,
            notices_per_hour: 10_000,
            layer_records_per_hour: 20_000,
            new_repositories_per_hour: 1000,
            background_commits_per_hour: 1000,
            background_wait: HumanDuration::from_secs(30),
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
            event_retention: HumanDuration::from_secs(72 * 60 * 60),
            did_method: DidMethod::default(),
            did: String::new(),
            plc_directory_url: "https://plc.directory".to_owned(),
            rotation_key: Secret::default(),
            rotation_key_path: String::new(),
            captain_rotation_key: String::new(),
        }
    }
}

impl Settings for HoldConfig {
    const ENV_PREFIX: &'static str = "HOLD";
    const OLD_VARIABLES: &'static [(&'static str, &'static str)] = &[
        ("HOLD_PUBLIC_URL", "server.public_url"),
        ("HOLD_PUBLIC", "server.public"),
        ("HOLD_OWNER", "registration.owner_did"),
        ("HOLD_ALLOW_ALL_CREW", "registration.allow_all_crew"),
    ];
    const RETIRED: &'static [(&'static str, &'static str)] = &[
        (
            "STORAGE_DRIVER",
            "objects are in S3 where storage.bucket is set, else in the folder storage.path",
        ),
        (
            "STORAGE_ROOT_DIR",
            "objects are in S3 where storage.bucket is set, else in the folder storage.path",
        ),
        (
            "log_shipper",
            "the log goes to standard error, for a collector to take",
        ),
        (
            "server.write_timeout",
            "limits.write_timeout says how long a part of an answer may wait",
        ),
        (
            "registration.profile_avatar_url",
            "a crew administrator gives the profile a picture",
        ),
        (
            "database.libsql_sync_url",
            "the repository is backed up as backup.* says",
        ),
        (
            "database.libsql_auth_token",
            "the repository is backed up as backup.* says",
        ),
        (
            "database.libsql_sync_interval",
            "the repository is backed up as backup.* says",
        ),
        (
            "labeler",
            "the AppView that follows the labeler refuses what is taken down",
        ),
    ];
    const ENV_ALIASES: &'static [(&'static str, &'static str)] = &[
        ("AWS_ACCESS_KEY_ID", "storage.access_key"),
        ("AWS_SECRET_ACCESS_KEY", "storage.secret_key"),
        ("AWS_REGION", "storage.region"),
        ("S3_REGION", "storage.region"),
        ("S3_BUCKET", "storage.bucket"),
        ("S3_ENDPOINT", "storage.endpoint"),
    ];
    const NAMED_LISTS: &'static [&'static str] = &["quota.tiers"];

    fn validate(&self, problems: &mut Problems) {
        // The outcome is not needed here, only what was wrong on the way.
        let _ = HoldSettings::parse(self, problems);
    }
}
