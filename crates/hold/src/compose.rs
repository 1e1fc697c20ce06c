//! Wiring: settings in, a running hold out. The only place that knows both ports and adapters.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::{EgressClient, EgressError, EgressPolicy};
use atcr_atproto::identity::{IdentityResolver, Resolver, ResolverConfig};
use atcr_hold_pds::access::Access;
use atcr_hold_pds::records::captain::{self, CaptainError, CaptainSettings};
use atcr_hold_pds::{HoldRepo, RepoError};
use atcr_server::Shutdown;
use atcr_server::address_gate::Exempt;
use atcr_server::client_address::TrustedProxies;
use atcr_server::database::{Database, OpenError};
use atcr_server::disk_space::{DataFolder, DiskSpace};
use atcr_server::health::{self, Figures, Part, Readiness, Reason};
use atcr_server::private_files::make_private_folder;
use atcr_server::rate_limit::{Now, RateLimit};
use atcr_server::serve::{serve, serve_within};
use atcr_server::telemetry::{install_metrics, metrics_router};
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::adapters::filesystem::{FilesystemStore, FolderBackup};
use crate::adapters::observed::{ObservedOwnObjects, ObservedStore, ObservedUploads};
use crate::adapters::pds_sessions::PdsSessions;
use crate::adapters::relay_client::RelayClient;
use crate::adapters::s3::{S3Backup, S3Store};
use crate::adapters::sqlite::{self, SqliteCounts, SqliteDeferredNotices, SqliteRepoBlobs, SqliteUploads};
use crate::administration::Administration;
use crate::backup::{Backup, BackupError, BackupStore, download};
use crate::blobs::{BlobOptions, BlobService, KEEPER, ObjectStore, SWEEP};
use crate::crew::{CrewTurns, Enlistment};
use crate::edge::auth::TokenVerifier;
use crate::edge::caller_limits::CallerLimits;
use crate::edge::com_atproto_sync::subscribe_repos::Subscribers;
use crate::edge::{relays, store as store_routes};
use crate::firehose::Firehose;
use crate::guarded_blobs::GuardedBlobs;
use crate::identity::IdentityError;
use crate::identity::establish::{establish, folder_of};
use crate::identity::folder::FolderState;
use crate::identity::watch::{IdentityWatch, WatchError};
use crate::manifests::{Counts, ManifestNotices};
use crate::relays::Announcements;
use crate::repo_blobs::{OwnObjects, RepoBlobs, SWEEP as SWEEP_REPO_BLOBS};
use crate::routes::{self, Front};
use crate::settings::{BackupSettings, HoldSettings, Limits, StorageSettings};
use crate::state::AppState;

/// How often expired uploads are removed. The first sweep is at the start.
const SWEEP_INTERVAL: Duration = Duration::from_mins(30);
/// How often open promises that nothing works on are looked for. At the start those of the process before are found.
const RESUME_INTERVAL: Duration = Duration::from_mins(1);

/// How long the last copy to the backup may take when the process ends.
const BACKUP_AT_END: Duration = Duration::from_secs(20);
/// How long a new hold waits for the answer whether there is a backup.
const BACKUP_ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Inside the data folder: the repository, of which nothing else may be in the folder.
pub(crate) const REPO_DIR: &str = "repo";
/// Inside the data folder: the table of uploads.
pub(crate) const DATABASE_FILE: &str = "hold.sqlite";
/// Inside the data folder: blobs of the repository on their way to the store.
const SPOOL_DIR: &str = "blob-uploads";

/// Why the hold does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made.
    #[error("cannot make the data folder {}", path.display())]
    DataDir {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The hold has no identity, or may not use it.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The repository does not open.
    #[error("cannot open the repository")]
    Repo(#[source] RepoError),
    /// The document cannot be read, or the key not changed, while the hold runs.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The table of uploads does not open.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The object store does not open.
    #[error("cannot open the object store in {}", path.display())]
    Store {
        /// Its folder.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The client for relays cannot be made.
    #[error("cannot make the client for relays")]
    Relays(#[from] EgressError),
    /// The account had a repository, which is not in the folder.
    #[error(
        "there is no repository in {}, and {place} has a backup of it with events up to {seq}: run `atcr-hold repo restore`. To \
         begin a new hold of the same name instead, set backup.prefix to another place",
        path.display()
    )]
    NotRestored {
        /// The repository's folder.
        path: PathBuf,
        /// Where the backup is.
        place: String,
        /// The newest event in it.
        seq: u64,
    },
    /// The folder is empty, and it cannot be told whether the account has a backup.
    #[error(
        "{} is empty, and whether {place} has a backup of this account is not known: {reason}; start again when it answers, or \
         set backup.enabled to false for a hold that never had one",
        path.display()
    )]
    BackupUnknown {
        /// The repository's folder.
        path: PathBuf,
        /// Where the backup would be.
        place: String,
        /// Why it is not known.
        reason: String,
    },
    /// The hold has no captain.
    #[error(transparent)]
    Captain(#[from] CaptainError),
}

/// The folder of the hold's repository.
pub(crate) fn repo_dir(settings: &HoldSettings) -> PathBuf {
    settings.data_dir.join(REPO_DIR)
}

/// What the hold needs from its surroundings.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The network's identities.
    pub resolver: Arc<dyn IdentityResolver>,
    /// The process's end.
    pub shutdown: Shutdown,
    /// The client for hosts that callers name.
    pub egress: EgressClient,
}

/// A hold that is open but not serving.
#[derive(Debug)]
pub struct Hold {
    router: Router,
    repo: HoldRepo,
    blobs: BlobService,
    repo_blobs: RepoBlobs,
    database: Database,
    completions: TaskTracker,
    recorder: JoinHandle<()>,
    readiness: Readiness,
    announcements: Announcements,
    identity: IdentityWatch,
    backup: Option<Backup>,
    counts: Counts,
}

impl Hold {
    /// Opens everything `settings` name, and makes the captain record say what they say.
    ///
    /// # Errors
    /// See [`StartError`]: each names what the operator has to look at.
    pub async fn open(settings: &HoldSettings, surroundings: Surroundings) -> Result<Self, StartError> {
        let Surroundings {
            clock,
            resolver,
            egress,
            shutdown,
        } = surroundings;
        // Keys live in the data folder, so only its owner may look inside.
        make_private_folder(&settings.data_dir).map_err(|source| StartError::DataDir {
            path: settings.data_dir.clone(),
            source,
        })?;
        require_owner(settings)?;
        let backup_store = backup_store(settings);
        if let Some(store) = &backup_store {
            check_no_backup(&**store, settings).await?;
        }
        let established = establish(settings, &*clock).await?;
        let identity = Arc::new(established.identity.clone());
        let did = identity.did().clone();
        let mut options = established
            .repo_options(settings, &*clock)
            .await?
            .with_retention(settings.event_retention.get());
        if let Some(bytes) = settings.log_segment_bytes {
            options = options.with_segment_bytes(bytes);
        }
        options.events = settings.events;
        let repo = HoldRepo::open(options, clock.clone())
            .await
            .map_err(StartError::Repo)?;
        established.finish()?;
        let captain_settings = CaptainSettings {
            owner: settings.owner.clone(),
            public: settings.public,
            allow_all_crew: settings.allow_all_crew,
            region: settings.region.clone(),
            first_region: settings.first_region.clone(),
            successor: settings.successor.clone(),
            first_profile: settings.first_profile.clone(),
        };
        let captain = captain::ensure(&repo, &captain_settings, clock.now_datetime()).await?;

        let database = sqlite::open(&settings.data_dir.join(DATABASE_FILE)).await?;
        let Store {
            objects,
            own_objects,
            routes: store_routes,
        } = open_store(settings, &clock)?;
        let spool = settings.data_dir.join(SPOOL_DIR);
        let repo_blobs = RepoBlobs::open(
            Arc::new(ObservedOwnObjects::new(own_objects)),
            Arc::new(SqliteRepoBlobs::new(database.clone())),
            repo.clone(),
            spool.clone(),
            Exempt::new(settings.limits.exempt.clone()),
            clock.clone(),
        )
        .map_err(|source| StartError::DataDir { path: spool, source })?;
        let completions = TaskTracker::new();
        let blobs = BlobService::new(
            Arc::new(ObservedStore::new(objects)),
            Arc::new(ObservedUploads::new(Arc::new(SqliteUploads::new(
                database.clone(),
            )))),
            clock.clone(),
            BlobOptions {
                idle_limit: settings.upload_expiry,
                tasks: completions.clone(),
                stop: shutdown.soft().clone(),
                ..BlobOptions::default()
            },
        );
        let counts = Counts::new(
            repo.clone(),
            Arc::new(SqliteCounts::new(database.clone())),
            clock.clone(),
        );
        let (notices, recorder) = ManifestNotices::start(
            repo.clone(),
            blobs.clone(),
            counts.clone(),
            Arc::new(SqliteDeferredNotices::new(database.clone())),
            &settings.notice_limits,
            clock.clone(),
        );
        let resumed = blobs.clone();
        KEEPER.every(RESUME_INTERVAL, &shutdown, move || {
            let blobs = resumed.clone();
            async move { blobs.resume_promises().await }
        });
        notices.record_deferred_until(&shutdown);
        let crew_turns = CrewTurns::default();
        let limits = caller_limits(&settings.limits, &clock);
        let front = Front {
            read_timeout: settings.read_timeout.get(),
            proxies: Arc::new(TrustedProxies::new(settings.trusted_proxies.clone())),
            anonymous: limits.anonymous(),
        };
        let announcements = Announcements::start(
            &settings.relays,
            settings.hostname(),
            Arc::new(RelayClient::new()?),
            clock.clone(),
            &shutdown,
        );
        let firehose = Firehose::start(
            repo.clone(),
            settings.limits.firehose.clone(),
            clock.clone(),
            &shutdown,
        );
        announcements.announce_after(firehose.identity_changes(), &shutdown);
        let subscribers = Subscribers {
            firehose,
            shutdown: shutdown.clone(),
        };
        let watch = IdentityWatch::new(
            identity.clone(),
            established.folder,
            established.plc,
            repo.clone(),
            resolver.clone(),
            clock.clone(),
        );
        let backup = backup_store.map(|store| Backup::new(repo.clone(), store, clock.clone()));
        let readiness = Readiness::new(
            vec![
                Box::new(DatabasePart(database.clone())),
                Box::new(RepoPart(repo.clone())),
                Box::new(StorePart(blobs.clone())),
                Box::new(disk_space(settings)),
                Box::new(BackupPart(backup.clone())),
            ],
            shutdown,
            health::FRESH_FOR,
        );
        let state = AppState {
            identity: identity.clone(),
            access: Access::new(repo.clone()),
            tokens: TokenVerifier::new(
                did.clone(),
                settings.trusted_appview.clone(),
                resolver.clone(),
                Arc::new(PdsSessions::new(egress, resolver)),
                clock.clone(),
            )
            .with_limits(limits),
            blobs: GuardedBlobs::new(blobs.clone()),
            notices,
            administration: Administration::new(repo.clone(), repo_blobs.clone(), crew_turns.clone()),
            repo_blobs: repo_blobs.clone(),
            enlistment: Enlistment::new(repo.clone(), crew_turns, settings.limits.new_members, clock),
            exports: settings.limits.exports.clone(),
            subscribers,
            readiness: readiness.clone(),
            repo: repo.clone(),
        };
        let router = routes::router(state, store_routes, front);
        tracing::info!(
            %did, captain = %captain.owner, public = captain.public, allow_all_crew = captain.allow_all_crew,
            "hold open"
        );
        Ok(Self {
            router,
            repo,
            blobs,
            repo_blobs,
            database,
            completions,
            recorder,
            readiness,
            announcements,
            identity: watch,
            backup,
            counts,
        })
    }

    /// The routes of the metrics listener: which parts do not work, and how far each relay is.
    pub fn operator_routes(&self) -> Router {
        health::operator_routes(self.readiness.clone())
            .merge(relays::operator_routes(self.announcements.clone()))
    }

    /// The relays, and how far each is.
    #[must_use]
    pub fn announcements(&self) -> &Announcements {
        &self.announcements
    }

    /// The routes, to be served.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The repository.
    #[must_use]
    pub fn repo(&self) -> &HoldRepo {
        &self.repo
    }

    /// The blob service, without its guard.
    #[must_use]
    pub fn blobs(&self) -> &BlobService {
        &self.blobs
    }

    /// Blobs that the hold's records refer to.
    #[must_use]
    pub fn repo_blobs(&self) -> &RepoBlobs {
        &self.repo_blobs
    }

    /// Removes expired uploads, and blobs that no record refers to, from now on until the soft shutdown.
    pub fn start_sweeper(&self, shutdown: &Shutdown) {
        let repo_blobs = self.repo_blobs.clone();
        SWEEP_REPO_BLOBS.every(SWEEP_INTERVAL, shutdown, move || {
            let repo_blobs = repo_blobs.clone();
            async move { repo_blobs.sweep().await.map(drop) }
        });
        let blobs = self.blobs.clone();
        SWEEP.every(SWEEP_INTERVAL, shutdown, move || {
            let blobs = blobs.clone();
            async move { blobs.sweep_expired().await.map(drop) }
        });
    }

    /// Reads the hold's document from now on, and changes its key when the folder has a new one, until the soft shutdown.
    pub fn start_identity_watch(&self, shutdown: &Shutdown) {
        self.identity.start(shutdown);
    }

    /// Reads the hold's document now. Writes are refused while it names another key.
    ///
    /// # Errors
    /// A directory that cannot be asked, or that no longer has the DID.
    pub async fn read_own_document(&self) -> Result<(), StartError> {
        Ok(self.identity.read_document().await?)
    }

    /// Changes the signing key if the folder has a new one.
    ///
    /// # Errors
    /// A directory or a disk that does not take it; the old key signs on, or nothing is written until the change works.
    pub async fn change_key_if_asked(&self) -> Result<(), StartError> {
        Ok(self.identity.change_key_if_asked().await?)
    }

    /// Publishes counts of pushes and pulls from now on, until the soft shutdown. The end of the process publishes the rest.
    pub fn start_publishing(&self, shutdown: &Shutdown) {
        self.counts.start_publishing(shutdown);
    }

    /// The counts of pushes and pulls.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Copies what is new in the repository to the backup from now on, until the soft shutdown.
    pub fn start_backup(&self, settings: &HoldSettings, shutdown: &Shutdown) {
        match &self.backup {
            Some(backup) => backup.start(settings.backup_interval.get(), shutdown),
            None => tracing::warn!(
                "THE REPOSITORY IS NOT BACKED UP: if this disk is lost, the hold's identity and records are lost. Name a folder on \
                 another disk in backup.path, or a bucket in backup.bucket"
            ),
        }
    }

    /// Copies what is new in the repository to the backup now, if there is one.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn back_up(&self) -> Result<(), BackupError> {
        match &self.backup {
            Some(backup) => backup.round().await,
            None => Ok(()),
        }
    }

    /// How long ago everything was in the backup; `None` without one.
    #[must_use]
    pub fn backup_behind(&self) -> Option<Duration> {
        self.backup.as_ref().map(Backup::behind)
    }

    /// Finishes the accepted work and closes everything. Waits at most `patience` for blobs that are being completed; a
    /// client that asks for the completion again gets the rest done. The routes must no longer be served.
    pub async fn close(self, patience: Duration) {
        let Self {
            router,
            repo,
            blobs,
            repo_blobs,
            database,
            completions,
            recorder,
            readiness,
            announcements: _,
            identity,
            backup,
            counts,
        } = self;
        completions.close();
        if tokio::time::timeout(patience, completions.wait()).await.is_err() {
            tracing::warn!(
                unfinished = completions.len(),
                "some uploads were not completed in time"
            );
        }
        // The recorder ends when the last handler that could hand it a notice is gone.
        drop((router, readiness, identity));
        if let Err(error) = recorder.await {
            tracing::error!(%error, "the recorder of manifests failed");
        }
        drop((blobs, repo_blobs));
        if let Err(error) = counts.publish_now().await {
            tracing::warn!(%error, "the latest counts are published at the next start");
        }
        if let Some(backup) = backup {
            let last = BACKUP_AT_END.min(patience.max(Duration::from_secs(1)));
            match tokio::time::timeout(last, backup.round()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the last events are not in the backup"),
                Err(_) => tracing::warn!("the last events are not in the backup: it took too long"),
            }
        }
        repo.close().await;
        database.close().await;
    }
}

/// Serves the hold until a signal ends it: the whole of `atcr-hold serve`.
///
/// # Errors
/// What kept it from starting, for the operator to read.
pub async fn run(settings: HoldSettings) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let egress = EgressClient::new(EgressPolicy::of_server(settings.test_mode))?;
    let resolver = network_resolver(&settings, egress.clone(), &clock)?;
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("cannot watch for signals")?;

    let metrics = match settings.metrics_listen {
        None => None,
        Some(addr) => {
            let handle = install_metrics().map_err(anyhow::Error::msg)?;
            let listener = TcpListener::bind(addr)
                .await
                .with_context(|| format!("server.metrics_addr: cannot listen on {addr}"))?;
            Some((listener, metrics_router(handle)))
        }
    };
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("server.addr: cannot listen on {}", settings.listen))?;
    let surroundings = Surroundings {
        clock,
        resolver,
        shutdown: shutdown.clone(),
        egress,
    };
    // Recovery, migrations and a disk that hangs may take long, and have nothing to finish.
    let Some(hold) = shutdown.unless_begun(Hold::open(&settings, surroundings)).await else {
        return Ok(());
    };
    let hold = hold?;
    hold.start_sweeper(&shutdown);
    hold.start_identity_watch(&shutdown);
    hold.start_publishing(&shutdown);
    hold.start_backup(&settings, &shutdown);
    if let Some((listener, router)) = metrics {
        let router = router.merge(hold.operator_routes());
        shutdown.spawn(serve(listener, router, shutdown.clone()));
    }
    if let Some(appview) = &settings.trusted_appview {
        tracing::info!(%appview, "the AppView is trusted to vouch for the content of uploads");
    } else {
        tracing::info!(
            "server.appview_did is not set: no AppView is trusted to vouch for the content of uploads"
        );
    }
    tracing::info!(addr = %settings.listen, url = %settings.public_url, "listening");
    let limits = settings.limits.listener.clone();
    serve_within(listener, hold.router(), limits, shutdown.clone()).await;

    tracing::info!("stopping: finishing requests in flight");
    let deadline = Instant::now() + settings.shutdown_grace.get();
    let finished = shutdown.drain(settings.shutdown_grace.get()).await;
    if !finished {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
    // A second signal, too, ends the patience.
    let patience = if finished {
        deadline.saturating_duration_since(Instant::now())
    } else {
        Duration::ZERO
    };
    hold.close(patience).await;
    tracing::info!("stopped");
    Ok(())
}

/// Where the repository is backed up, if it is.
pub(crate) fn backup_store(settings: &HoldSettings) -> Option<Arc<dyn BackupStore>> {
    match &settings.backup {
        BackupSettings::Off | BackupSettings::NoPlace => None,
        BackupSettings::Folder { path } => Some(Arc::new(FolderBackup::new(path))),
        BackupSettings::S3 { options, prefix } => Some(Arc::new(S3Backup::new(options, prefix))),
    }
}

/// An empty folder of an account that has a backup, or may have one, is a lost one, not a new one.
async fn check_no_backup(store: &dyn BackupStore, settings: &HoldSettings) -> Result<(), StartError> {
    let Some(did) = settings.identity.configured_did() else {
        return Ok(());
    };
    if folder_of(settings).state()? != FolderState::New {
        return Ok(());
    }
    let asked = tokio::time::timeout(BACKUP_ANSWERS_WITHIN, download::newest_head(store, did)).await;
    match asked {
        Ok(Ok(head)) => Err(StartError::NotRestored {
            path: repo_dir(settings),
            place: store.place(),
            seq: head.seq,
        }),
        Ok(Err(BackupError::None { .. })) => Ok(()),
        Ok(Err(error)) => Err(StartError::BackupUnknown {
            path: repo_dir(settings),
            place: store.place(),
            reason: error.to_string(),
        }),
        Err(_) => Err(StartError::BackupUnknown {
            path: repo_dir(settings),
            place: store.place(),
            reason: "no answer".to_owned(),
        }),
    }
}

/// Never fails: a hold whose backup is behind goes on, and says how far it is.
#[derive(Debug)]
struct BackupPart(Option<Backup>);

#[async_trait]
impl Part for BackupPart {
    fn name(&self) -> &'static str {
        "backup"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        let behind = self.0.as_ref().map(|backup| backup.behind().as_secs());
        Ok(Figures::from([
            ("is_configured", u64::from(behind.is_some())),
            ("behind_seconds", behind.unwrap_or(0)),
        ]))
    }
}

#[derive(Debug)]
struct DatabasePart(Database);

#[async_trait]
impl Part for DatabasePart {
    fn name(&self) -> &'static str {
        "database"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        self.0.check().await?;
        Ok(Figures::new())
    }
}

#[derive(Debug)]
struct RepoPart(HoldRepo);

#[async_trait]
impl Part for RepoPart {
    fn name(&self) -> &'static str {
        "repository"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        if let Some(reason) = self.0.why_halted() {
            return Err(reason.into());
        }
        if !self.0.is_writable() {
            return Err("the last write to the disk failed".into());
        }
        // No writes, but through the writer: it may have ended.
        self.0.write(Vec::new()).await?;
        Ok(Figures::from([("index_lag_batches", self.0.index_lag_batches())]))
    }
}

#[derive(Debug)]
struct StorePart(BlobService);

#[async_trait]
impl Part for StorePart {
    fn name(&self) -> &'static str {
        "store"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        self.0.ping().await?;
        Ok(Figures::new())
    }
}

/// The data folder, and the folder of the objects if there is one.
fn disk_space(settings: &HoldSettings) -> DiskSpace {
    let mut folders = vec![DataFolder {
        name: "data",
        path: settings.data_dir.clone(),
    }];
    if let StorageSettings::Filesystem { path } = &settings.storage {
        folders.push(DataFolder {
            name: "objects",
            path: path.clone(),
        });
    }
    DiskSpace::new(folders, settings.free_disk_bytes)
}

fn caller_limits(limits: &Limits, clock: &Arc<dyn Clock>) -> CallerLimits {
    let clock = clock.clone();
    let now = Now::new(move || clock.now());
    let anonymous = RateLimit::new("anonymous", limits.anonymous, now.clone());
    let gate = Front::anonymous_gate(anonymous, Exempt::new(limits.exempt.clone()));
    CallerLimits::new(Arc::new(gate), limits.account, limits.failed_tokens, now)
}

fn network_resolver(
    settings: &HoldSettings,
    egress: EgressClient,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn IdentityResolver>> {
    let mut config = ResolverConfig::new(settings.plc_directory.clone());
    config.allow_loopback = settings.test_mode;
    Ok(Arc::new(Resolver::new(config, egress, clock.clone())?))
}

/// One store, behind both of its ports.
struct Store {
    objects: Arc<dyn ObjectStore>,
    own_objects: Arc<dyn OwnObjects>,
    /// Those of a store that serves its own URLs.
    routes: Router,
}

fn open_store(settings: &HoldSettings, clock: &Arc<dyn Clock>) -> Result<Store, StartError> {
    match &settings.storage {
        StorageSettings::Filesystem { path } => {
            let store = FilesystemStore::open(path, settings.public_url.clone(), clock.clone()).map_err(
                |source| StartError::Store {
                    path: path.clone(),
                    source,
                },
            )?;
            Ok(Store {
                objects: Arc::new(store.clone()),
                own_objects: Arc::new(store.clone()),
                routes: store_routes::router(store),
            })
        }
        StorageSettings::S3(options) => {
            let store = S3Store::new(options, clock.clone());
            Ok(Store {
                objects: Arc::new(store.clone()),
                own_objects: Arc::new(store),
                routes: Router::new(),
            })
        }
    }
}

/// Without an owner nothing is made: a DID of a directory would be made for good.
fn require_owner(settings: &HoldSettings) -> Result<(), StartError> {
    let is_new = folder_of(settings).state()? == FolderState::New;
    if is_new && settings.owner.is_none() {
        return Err(CaptainError::OwnerNeeded.into());
    }
    Ok(())
}
