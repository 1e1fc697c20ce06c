//! Wiring: settings in, a running hold out. The only place that knows both ports and adapters.

mod collection;
mod first_start;
mod own_records;
#[cfg(feature = "pages")]
mod pages;
mod readiness;
mod run;
mod running;
mod start_error;
mod stores;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::egress::EgressClient;
use atcr_atproto::identity::{IdentityResolver, Resolver, ResolverConfig};
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::access::Access;
use atcr_server::Shutdown;
use atcr_server::address_gate::Exempt;
use atcr_server::client_address::TrustedProxies;
use atcr_server::database::Database;
use atcr_server::health::Readiness;
use atcr_server::private_files::make_private_folder;
use atcr_server::rate_limit::{Now, RateLimit};
use axum::Router;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::adapters::observed::{ObservedOwnObjects, ObservedStore, ObservedUploads};
use crate::adapters::pds_sessions::PdsSessions;
use crate::adapters::relay_client::RelayClient;
use crate::adapters::sqlite::{
    self, SqliteCounts, SqliteDeferredNotices, SqliteErasures, SqliteRepoBlobs, SqliteScans, SqliteUploads,
};
use crate::administration::Administration;
use crate::backup::{Backup, BackupError};
use crate::blobs::{BlobOptions, BlobService, KEEPER};
use crate::crew::{CrewTurns, Enlistment};
use crate::edge::auth::TokenVerifier;
use crate::edge::caller_limits::CallerLimits;
use crate::edge::com_atproto_sync::get_blocks::BlockAnswers;
use crate::edge::com_atproto_sync::subscribe_repos::Subscribers;
use crate::firehose::Firehose;
use crate::gc::Gc;
use crate::gc::ports::Ticks;
use crate::guarded_blobs::GuardedBlobs;
use crate::identity::establish::establish;
use crate::identity::key_change;
use crate::identity::watch::IdentityWatch;
use crate::manifests::{Counts, ManifestNotices, Rules};
use crate::posts::PushPosts;
use crate::quota::{Promotion, Quotas};
use crate::relays::Announcements;
use crate::repo_blobs::RepoBlobs;
use crate::routes::{self, Front};
use crate::scanning::Scanning;
use crate::settings::{HoldSettings, Limits};
use crate::state::AppState;
use crate::user_data::{Erasures, UserData};

pub use run::run;
pub use start_error::StartError;
pub(crate) use stores::backup_store;

use first_start::{check_no_backup, newest_in_backup, require_owner};
use own_records::write_own_records;
use stores::{Store, open_store};

/// How often expired uploads are removed. The first sweep is at the start.
const SWEEP_INTERVAL: Duration = Duration::from_mins(30);
/// How often open promises that nothing works on are looked for. At the start those of the process before are found.
const RESUME_INTERVAL: Duration = Duration::from_mins(1);

/// How long the last copy to the backup may take when the process ends.
const BACKUP_AT_END: Duration = Duration::from_secs(20);

/// How long subscribers get, when the process ends, for the last events and a goodbye.
const FOLLOWERS_END_WITHIN: Duration = Duration::from_secs(5);

/// Inside the data folder: the repository, of which nothing else may be in the folder.
pub(crate) const REPO_DIR: &str = "repo";
/// Inside the data folder: the table of uploads.
pub(crate) const DATABASE_FILE: &str = "hold.sqlite";
/// Inside the data folder: which save of the uptime was the last.
const MARK_FILE: &str = "hold.uptime";
/// Inside the data folder: blobs of the repository on their way to the store.
const SPOOL_DIR: &str = "blob-uploads";

/// Inside the data folder: where commands reach the hold that runs.
const CONTROL_SOCKET: &str = "control.sock";

/// Where commands reach the hold that runs.
pub(crate) fn control_socket(settings: &HoldSettings) -> PathBuf {
    settings.data_dir.join(CONTROL_SOCKET)
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
    /// The time that passes, whatever becomes of `clock`.
    pub ticks: Arc<dyn Ticks>,
    /// The client for hosts that callers name.
    pub egress: EgressClient,
}

/// A hold that is open but not serving.
#[derive(Debug)]
pub struct Hold {
    router: Router,
    gc: Gc,
    scanning: Scanning,
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
    /// The end of the subscriptions, which comes after the last write.
    followers: Shutdown,
}

impl Hold {
    /// Opens everything `settings` name, and makes the captain record say what they say.
    ///
    /// # Errors
    /// See [`StartError`]: each names what the operator has to look at.
    pub async fn open(settings: &HoldSettings, surroundings: Surroundings) -> Result<Self, StartError> {
        #[cfg(feature = "pages")]
        let around = surroundings.clone();
        let Surroundings {
            clock,
            resolver,
            egress,
            shutdown,
            ticks,
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
        let known = match &backup_store {
            Some(store) => newest_in_backup(&**store, &did).await,
            None => None,
        };
        options.known.clone_from(&known);
        let repo = HoldRepo::open(options, clock.clone())
            .await
            .map_err(StartError::Repo)?;
        if let Some(known) = known.filter(|_| repo.is_older_copy()) {
            let error = BackupError::OlderCopy {
                backup: known.seq,
                found: repo.found_seq(),
            };
            repo.stop_writing(error.to_string());
        }
        let backup = backup_store.map(|store| Backup::new(repo.clone(), store, clock.clone()));
        established.finish()?;
        if established
            .delayed
            .as_ref()
            .is_some_and(|delayed| delayed.is_perhaps_taken)
        {
            // The document may name the next key by now.
            repo.pause_writes(key_change::REASON)
                .await
                .map_err(StartError::Repo)?;
        }
        let captain = write_own_records(&repo, settings, &*clock).await?;

        let database = sqlite::open(&settings.data_dir.join(DATABASE_FILE)).await?;
        let Store {
            objects,
            inventory,
            own_objects,
            routes: store_routes,
        } = open_store(settings, &clock)?;
        let owner_objects = own_objects.clone();
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
        let shared = collection::Shared {
            database: &database,
            inventory,
            own_objects: owner_objects,
            spool: settings.data_dir.join(SPOOL_DIR),
            mark: settings.data_dir.join(MARK_FILE),
            repo: &repo,
            egress: &egress,
            resolver: &resolver,
            clock: &clock,
            ticks,
        };
        let gc = collection::open(shared, &settings.gc).await?;
        let completions = TaskTracker::new();
        let blobs = BlobService::new(
            Arc::new(ObservedStore::new(objects)),
            Arc::new(ObservedUploads::new(Arc::new(SqliteUploads::new(
                database.clone(),
            )))),
            clock.clone(),
            BlobOptions {
                idle_limit: settings.upload_expiry,
                standings: gc.standings(),
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
        let scanning = Scanning::open(
            Arc::new(SqliteScans::new(database.clone())),
            repo_blobs.clone(),
            repo.clone(),
            settings.scanning.clone(),
            clock.clone(),
        )
        .await?;
        scanning.start_publishing(&shutdown);
        scanning.start_upkeep(&shutdown);
        let quotas = Quotas::new(repo.clone(), settings.tiers.clone());
        let erasures: Arc<dyn Erasures> = Arc::new(SqliteErasures::new(database.clone()));
        let (notices, recorder) = ManifestNotices::start(
            repo.clone(),
            blobs.clone(),
            counts.clone(),
            Arc::new(SqliteDeferredNotices::new(database.clone())),
            Arc::new(collection::Observers {
                gc: gc.clone(),
                scanning: scanning.clone(),
            }),
            Rules {
                limits: settings.notice_limits,
                quotas: quotas.clone(),
                erasures: erasures.clone(),
            },
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
        let followers = Shutdown::new();
        let subscribers = Subscribers {
            firehose,
            shutdown: followers.clone(),
        };
        let watch = IdentityWatch::new(
            identity.clone(),
            established.folder,
            established.plc,
            repo.clone(),
            resolver.clone(),
            clock.clone(),
            established.delayed.as_ref(),
        );
        let readiness = readiness::of(
            settings,
            &database,
            &repo,
            &blobs,
            backup.clone(),
            shutdown.clone(),
        );
        let state = AppState {
            identity: identity.clone(),
            access: Access::new(repo.clone()),
            tokens: TokenVerifier::new(
                did.clone(),
                settings.trusted_appview.clone(),
                resolver.clone(),
                Arc::new(PdsSessions::new(egress, resolver.clone())),
                clock.clone(),
            )
            .with_limits(limits),
            blobs: GuardedBlobs::new(blobs.clone()),
            gc: gc.clone(),
            notices: notices.clone(),
            administration: Administration::new(repo.clone(), repo_blobs.clone(), crew_turns.clone()),
            repo_blobs: repo_blobs.clone(),
            posts: PushPosts::new(repo.clone(), resolver, settings.appview_site(), clock.clone()),
            user_data: UserData::new(
                repo.clone(),
                counts.clone(),
                notices,
                erasures,
                crew_turns.clone(),
                clock.clone(),
            ),
            promotion: Promotion::new(repo.clone(), quotas.clone(), crew_turns.clone()),
            enlistment: Enlistment::new(
                repo.clone(),
                quotas.clone(),
                crew_turns,
                settings.limits.new_members,
                clock,
            ),
            quotas,
            scanning: scanning.clone(),
            exports: settings.limits.exports.clone(),
            block_answers: BlockAnswers::new(Exempt::new(settings.limits.exempt.clone())),
            subscribers,
            readiness: readiness.clone(),
            repo: repo.clone(),
        };
        #[cfg(feature = "pages")]
        let pages = pages::router(
            settings,
            &around,
            &state,
            &database,
            &counts,
            &announcements,
            backup.as_ref(),
            &front,
        )?;
        #[cfg(not(feature = "pages"))]
        let pages = routes::without_pages(&state);
        let router = routes::router(state, store_routes.merge(pages), front);
        tracing::info!(
            %did, captain = %captain.owner, public = captain.public, allow_all_crew = captain.allow_all_crew,
            "hold open"
        );
        Ok(Self {
            router,
            gc,
            scanning,
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
            followers,
        })
    }
}

fn caller_limits(limits: &Limits, clock: &Arc<dyn Clock>) -> CallerLimits {
    let clock = clock.clone();
    let now = Now::new(move || clock.now());
    let anonymous = RateLimit::new("anonymous", limits.anonymous, now.clone());
    let gate = Front::anonymous_gate(anonymous, Exempt::new(limits.exempt.clone()));
    CallerLimits::new(Arc::new(gate), limits.account, limits.failed_tokens, now)
}

pub(crate) fn network_resolver(
    settings: &HoldSettings,
    egress: EgressClient,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn IdentityResolver>> {
    let mut config = ResolverConfig::new(settings.plc_directory.clone());
    config.allow_loopback = settings.test_mode;
    config.handle_resolver.clone_from(&settings.handle_resolver);
    Ok(Arc::new(Resolver::new(config, egress, clock.clone())?))
}
