//! Which adapter stands behind which port.

mod oauth_client;
mod readiness;

use std::sync::Arc;

use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::egress::{AnswerMemory, EgressClient, EgressPolicy, HostLimit};
use atcr_atproto::identity::{IdentityResolver, Resolver, ResolverConfig};
use atcr_atproto::syntax::Did;
use atcr_auth::appview_token::AppViewTokenSigner;
use atcr_auth::oauth::{OAuthClient, OAuthClientParts, Registration};
use atcr_auth::registry_token::{RegistryKey, RegistryTokenIssuer, RegistryTokenVerifier};
use atcr_auth::service_token::ServiceTokenCache;
use atcr_auth::vault::Vault;
use atcr_registry::access::Permissions;
use atcr_registry::access::scopes::Scopes;
use atcr_registry::account::Accounts;
use atcr_registry::account::catalog::Catalog;
use atcr_registry::account::listing_limits::{ListingBounds, ListingLimits};
use atcr_registry::account::ports::{AccountIndex, AccountRecords};
use atcr_registry::blob::{BlobParts, Blobs};
use atcr_registry::hold::credentials::HoldAccess;
use atcr_registry::hold::discovery::{HoldDiscovery, HoldDiscoveryPorts, HoldResolver};
use atcr_registry::hold::notices::Notices;
use atcr_registry::hold::notices::push_outbox::PushNotices;
use atcr_registry::hold::notices::sender::NoticeSender;
use atcr_registry::hold::ports::{HoldDirectory, HoldGateway, HoldTokens};
use atcr_registry::manifest::ports::KnownManifests;
use atcr_registry::manifest::{ManifestPorts, ManifestSettings, Manifests};
use atcr_registry::upload::{UploadParts, Uploads};
use atcr_server::Shutdown;
use atcr_server::address_gate::Exempt;
use atcr_server::health::Readiness;
use atcr_server::private_files::make_private_folder;
use atcr_sessions::Sessions;
use atcr_sessions::app_password::AppPasswords;
use atcr_sessions::devices::{DeviceParts, Devices};
use atcr_sessions::oauth::SignInFlow;
use atcr_sessions::oauth::account_sign_in::AccountSignIn;
use atcr_sessions::oauth::flow::{FlowParts, OAuthFlow};
use atcr_sessions::oauth::ports::Crew;
use atcr_sessions::oauth::renewal::OAuthSessions;
use atcr_sessions::password_attempts::FailedSignIns;
use atcr_sessions::profile::Profiles;
use atcr_sessions::refresh_token::RefreshTokens;
use atcr_sessions::sign_out::{SignOut, SignOutParts};
use atcr_sessions::web_session::WebSessions;
use atcr_web::site::{Site, authority};
use axum::Router;
use url::Url;

use crate::adapters::content_proofs::SignedContentProofs;
use crate::adapters::crew::{CrewOfPushes, IndexedSailors};
use crate::adapters::hold::tokens::PdsHoldTokens;
use crate::adapters::hold::{HoldClient, HoldTimeouts};
use crate::adapters::indexed_manifests::IndexedManifests;
use crate::adapters::indexed_records::IndexedRecords;
use crate::adapters::indexed_takedowns::IndexedTakedowns;
use crate::adapters::observed::{
    ObservedAccountIndex, ObservedHolds, ObservedRevisions, ObservedUploadSessions,
};
use crate::adapters::pds_client::PdsClients;
use crate::adapters::pds_profiles::PdsProfiles;
use crate::adapters::pds_proofs::PdsProofs;
use crate::adapters::pds_records::PdsRecords;
use crate::adapters::pds_sessions::PdsSessions;
use crate::adapters::signed_in_devices::DevicesHere;
use crate::adapters::spool::{FileSpool, SpoolLimits};
use crate::adapters::sqlite::Databases;
use crate::adapters::sqlite::account_index::SqliteAccountIndex;
use crate::adapters::sqlite::deletions::SqliteDeletions;
use crate::adapters::sqlite::devices::SqliteDevices;
use crate::adapters::sqlite::manifest_bytes::SqliteManifestBytes;
use crate::adapters::sqlite::oauth_requests::SqliteOAuthRequests;
use crate::adapters::sqlite::oauth_sessions::SqliteOAuthSessions;
use crate::adapters::sqlite::push_notices::SqlitePushNotices;
use crate::adapters::sqlite::revisions::SqliteRevisions;
use crate::adapters::sqlite::sessions::{SqliteRefreshTokens, SqliteSessions};
use crate::adapters::sqlite::uploads::SqliteUploads;
use crate::adapters::sqlite::web_sessions::SqliteWebSessions;
use crate::affected::Affected;
use crate::browse::descriptions::Descriptions;
use crate::browse::{Browse, BrowseParts};
use crate::edge::credential_helper::Releases;
use crate::edge::limits::Limits;
use crate::edge::oauth::client_metadata::OAuthDocuments;
use crate::edge::registry::manifest_memory::ManifestMemory;
use crate::edge::registry::principal::Authenticator;
use crate::edge::registry::{RegistryParts, TokenRealm};
use crate::edge::well_known::did_document;
use crate::index::{NetworkIndex, NetworkIndexParts};
use crate::index_store::{self, IndexStore};
use crate::manage::{Manage, ManageParts};
use crate::routes::router;
use crate::scan_referrers::ScanReferrers;
use crate::scans::Scans;
use crate::settings::AppViewSettings;
use crate::state::AppState;

/// What a test may put in place of the real thing.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Outside {
    /// The real thing.
    #[must_use]
    pub fn real() -> Self {
        Self {
            clock: Arc::new(SystemClock),
        }
    }
}

/// Everything that is served, ready.
pub struct App {
    /// The routes of the main listener.
    pub router: Router,
    /// The caller closes it when it stops serving.
    pub database: Databases,
    /// The index of the network; the caller closes it too.
    pub index: Arc<dyn IndexStore>,
    /// Whether it can work.
    pub readiness: Readiness,
    /// Where clients reach this server.
    pub base_url: Url,
    /// This server's DID.
    pub did: Did,
    /// Signing in, for callers without a browser.
    pub sign_in: Arc<dyn SignInFlow>,
}

/// Opens the database and the keys, and joins the parts.
///
/// # Errors
/// What cannot be opened, with its path, or set up.
pub async fn compose(
    settings: &AppViewSettings,
    outside: Outside,
    shutdown: Shutdown,
) -> anyhow::Result<App> {
    use anyhow::{Context as _, Error};
    let clock = outside.clock;
    let (base_url, did, service) = (
        settings.base_url.clone(),
        settings.did.clone(),
        settings.service.clone(),
    );
    let (default_hold, paths) = (settings.default_hold.clone(), &settings.paths);

    // Keys and sessions are in it.
    make_private_folder(&paths.data)
        .with_context(|| format!("cannot make the folder {}", paths.data.display()))?;
    let databases = Databases::open(&paths.database).await?;
    let (database, scratch) = (databases.durable.clone(), databases.scratch.clone());
    let registry_key = RegistryKey::load_or_create(&paths.registry_key)?;
    let appview_key = SigningKey::load_or_create(&paths.appview_key, Curve::P256)?;
    let vault = Arc::new(Vault::load_or_create(&paths.vault_key)?);
    let signer = Arc::new(AppViewTokenSigner::new(appview_key, did.clone())?);

    let egress = EgressClient::new(EgressPolicy::of_server(settings.test_mode))?
        .with_host_limit(HostLimit::of(settings.upstream.requests_per_host))
        .with_memory(AnswerMemory::new(bytes(settings.upstream.answer_memory_bytes)));
    let memory = egress.memory().clone();
    let identities = identity_resolver(settings, &egress, &clock)?;
    let clients = PdsClients::new(egress.clone(), settings.upstream.pds_timeout.get());
    let hold_timeout = settings.upstream.hold_timeout.get();

    let profiles = Arc::new(Profiles::new(
        Arc::new(PdsProfiles::new(clients.clone())),
        Arc::clone(&clock),
        default_hold.clone(),
    ));
    let service_tokens = Arc::new(ServiceTokenCache::new(Arc::clone(&clock)));
    let exempt = Exempt::new(settings.exempt.clone());
    let app_passwords = Arc::new(AppPasswords::new(
        Arc::clone(&identities),
        Arc::new(PdsSessions::new(clients.clone())),
        Arc::new(SqliteSessions::new(database.clone(), Arc::clone(&vault))),
        Arc::clone(&profiles),
        Arc::clone(&service_tokens) as _,
        FailedSignIns {
            rate: settings.limits.failed_sign_ins,
            exempt: exempt.clone(),
        },
        Arc::clone(&clock),
    ));
    let oauth = Arc::new(OAuthClient::new(OAuthClientParts {
        registration: oauth_client::registration(settings)?,
        egress: egress.clone(),
        identities: Arc::clone(&identities),
        clock: Arc::clone(&clock),
        timeout: settings.upstream.pds_timeout.get(),
    }));
    let oauth_sessions = OAuthSessions::new(
        Arc::clone(&oauth),
        Arc::new(SqliteOAuthSessions::new(database.clone(), Arc::clone(&vault))),
        Arc::clone(&clock),
        shutdown.clone(),
        base_url.join("/auth/oauth/login").context("server.base_url")?,
        Arc::clone(&service_tokens) as _,
    );
    oauth_sessions.drop_unfit().await?;
    let devices = Arc::new(Devices::new(DeviceParts {
        store: Arc::new(SqliteDevices::new(database.clone())),
        sessions: Arc::new(oauth_sessions.clone()),
        identities: Arc::clone(&identities),
        profiles: Arc::clone(&profiles),
        clock: Arc::clone(&clock),
        host: authority(&base_url),
    }));
    let browsers = WebSessions::new(
        Arc::new(SqliteWebSessions::new(database.clone())),
        Arc::clone(&clock),
    );
    // Devices first: they know their secrets by the prefix, and app passwords take anything.
    let sign_ins = vec![Arc::clone(&devices) as _, Arc::clone(&app_passwords) as _];
    let sessions =
        Sessions::new(sign_ins, Arc::clone(&app_passwords) as _).with_oauth(Arc::new(oauth_sessions.clone()));

    let records = Arc::new(PdsRecords::new(clients.clone(), sessions.clone()));
    let network = NetworkIndexParts {
        network: &settings.network,
        default_hold: default_hold.as_ref(),
        identities: &identities,
        egress: &egress,
        clock: &clock,
    };
    let store = index_store::open(&settings.paths.index, settings.index_database.as_ref()).await?;
    let network = NetworkIndex::new(store, network)?;
    index_store::claim(&network.store, &base_url, network.server_name.clone(), &shutdown).await?;
    let indexed_records: Arc<dyn AccountRecords> = if settings.fills_index {
        Arc::new(IndexedRecords::new(
            Arc::clone(&records) as _,
            network.ports.clone(),
            network.scheduler.clone(),
            Arc::clone(&clock),
        ))
    } else {
        Arc::clone(&records) as _
    };
    let proofs = Arc::new(PdsProofs::new(clients.clone()));
    let tokens: Arc<dyn HoldTokens> = Arc::new(PdsHoldTokens::new(clients, sessions.clone(), service_tokens));
    let hold_client = Arc::new(HoldClient::new(
        egress,
        HoldTimeouts {
            call: hold_timeout,
            idle: settings.registry.upload_idle_timeout.get(),
        },
    ));
    let scan_source = Arc::clone(&hold_client);
    let holds = Arc::new(ObservedHolds::new(hold_client));
    let gateway: Arc<dyn HoldGateway> = Arc::clone(&holds) as _;
    let index: Arc<dyn AccountIndex> = Arc::new(ObservedAccountIndex::new(Arc::new(
        SqliteAccountIndex::new(scratch.clone()),
    )));
    let accounts = Arc::new(Accounts::new(
        Arc::clone(&indexed_records),
        Arc::clone(&index),
        Arc::new(ObservedRevisions::new(Arc::new(SqliteRevisions::new(
            scratch.clone(),
        )))),
        Arc::clone(&clock),
        listing_limits(settings, &clock),
        shutdown.clone(),
    ));
    let resolver = HoldResolver::new(Arc::clone(&identities));
    let discovery = Arc::new(HoldDiscovery::new(
        HoldDiscoveryPorts {
            settings: Arc::clone(&records) as _,
            index,
            gateway: Arc::clone(&gateway),
            tokens: Arc::clone(&tokens),
            resolver: resolver.clone(),
        },
        default_hold.clone(),
        hold_timeout,
    ));
    let directory: Arc<dyn HoldDirectory> = Arc::clone(&discovery) as _;
    let scans = Arc::new(Scans::new(
        scan_source,
        Arc::clone(&directory),
        HoldAccess::new(Arc::clone(&tokens)),
        shutdown.clone(),
    ));
    let crew: Arc<dyn Crew> = Arc::new(CrewOfPushes(Arc::clone(&discovery)));
    let crew: Arc<dyn Crew> = if settings.fills_index {
        Arc::new(IndexedSailors::new(crew, network.scheduler.clone()))
    } else {
        crew
    };
    let sign_in: Arc<dyn SignInFlow> = Arc::new(OAuthFlow::new(FlowParts {
        accounts: AccountSignIn {
            client: Arc::clone(&oauth),
            identities: Arc::clone(&identities),
            requests: Arc::new(SqliteOAuthRequests::new(database.clone(), vault)),
            clock: Arc::clone(&clock),
        },
        sessions: oauth_sessions,
        profiles,
        crew,
        shutdown: shutdown.clone(),
    }));

    let refresh_tokens = Arc::new(RefreshTokens::new(
        Arc::new(SqliteRefreshTokens::new(database.clone())),
        sessions.clone(),
        Arc::clone(&clock),
    ));
    let sign_out = SignOut::new(SignOutParts {
        browsers: browsers.clone(),
        devices: Arc::clone(&devices),
        flow: Arc::clone(&sign_in),
        app_passwords,
        refresh_tokens: Arc::clone(&refresh_tokens),
    });
    sign_out.start_sweeping(&shutdown);

    let blobs = Arc::new(Blobs::new(BlobParts {
        directory: Arc::clone(&directory),
        tokens: Arc::clone(&tokens),
        gateway: Arc::clone(&holds) as _,
        proxied_user_agents: settings.registry.proxied_user_agents.clone(),
        proxied_at_once: settings.registry.proxied_at_once,
        patience: hold_timeout,
    }));
    let spool_path = paths.spool.clone();
    let spool_limits = SpoolLimits {
        account_bytes: settings.registry.spool_bytes_per_account,
        total_bytes: settings.registry.spool_bytes,
    };
    let spool = FileSpool::open(&spool_path, spool_limits)
        .with_context(|| format!("cannot use the folder {}", spool_path.display()))?;
    let uploads = Arc::new(Uploads::new(UploadParts {
        directory: Arc::clone(&directory),
        tokens: Arc::clone(&tokens),
        gateway: holds,
        sessions: Arc::new(ObservedUploadSessions::new(Arc::new(SqliteUploads::new(scratch)))),
        spool: Arc::new(spool),
        proofs: Arc::new(SignedContentProofs::new(Arc::clone(&signer), Arc::clone(&clock))),
        blobs: Arc::clone(&blobs),
        identities: Arc::clone(&identities),
        clock: Arc::clone(&clock),
        body_idle: settings.registry.upload_idle_timeout.get(),
        sessions_per_account: settings.registry.uploads_per_account,
    }));
    uploads.start_sweeping(&shutdown);

    let sender = NoticeSender::new(Arc::clone(&gateway), Arc::clone(&tokens), resolver);
    let push_notices = PushNotices::new(
        sender.clone(),
        Arc::new(SqlitePushNotices::new(database.clone())),
        Arc::clone(&clock),
        shutdown.clone(),
    );
    push_notices.resume().await?;
    let own_records = Arc::clone(&records);
    let known = Arc::new(IndexedManifests::new(
        Arc::clone(&network.store) as _,
        network.scheduler.clone(),
    ));
    let manifests = Manifests::new(
        ManifestPorts {
            store: Arc::clone(&records) as _,
            known: settings.fills_index.then_some(known as Arc<dyn KnownManifests>),
            kept: Arc::new(SqliteManifestBytes::new(
                databases.scratch.clone(),
                settings.registry.kept_manifest_bytes,
                Arc::clone(&clock),
            )),
            settings: records,
            holds: directory,
            blobs: Arc::clone(&blobs) as _,
            notices: Notices::new(sender, push_notices, shutdown.clone()),
            gateway: Arc::clone(&gateway),
            clock: Arc::clone(&clock),
            memory,
        },
        Arc::clone(&accounts),
        ManifestSettings {
            allow_missing_content: settings.registry.allow_missing_content,
            cache_bytes: settings.registry.manifest_cache_bytes,
        },
    );
    let readiness = readiness::of(settings, &databases, &accounts, network.part(), shutdown.clone());
    let limits = Arc::new(Limits::new(&settings.limits, exempt, Arc::clone(&clock)));
    let realm = base_url.join("/auth/token").context("server.base_url")?;
    let verifier = RegistryTokenVerifier::new(registry_key.clone(), &service);
    let realm = Arc::new(TokenRealm {
        realm: realm.into(),
        service: service.clone(),
        host: authority(&settings.base_url),
    });
    let proxies = Arc::clone(&settings.proxies);
    let manifests = Arc::new(manifests);
    let permissions = Permissions::new(Arc::new(DevicesHere(Arc::clone(&devices))));
    let permissions = if settings.network.labeler.is_some() {
        permissions.with_takedowns(Arc::new(IndexedTakedowns(Arc::clone(&network.store) as _)))
    } else {
        permissions
    };
    let browse = Browse::new(BrowseParts {
        index: Arc::clone(&network.store) as _,
        search: Arc::clone(&network.store) as _,
        scheduler: settings.fills_index.then(|| network.scheduler.clone()),
        clock: Arc::clone(&clock),
        identities: Arc::clone(&identities),
        permissions: permissions.clone(),
        manifests: Arc::clone(&manifests),
        blobs: Arc::clone(&blobs),
        records: Arc::clone(&indexed_records),
        proofs,
    });
    let browse = Arc::new(browse);
    if settings.fills_index {
        let descriptions = Descriptions::new(
            Arc::clone(&network.store) as _,
            Arc::clone(&browse),
            Arc::clone(&identities),
            Arc::clone(&clock),
        );
        network.start(&shutdown, &descriptions);
    }
    let manage = Manage::new(ManageParts {
        browse: Arc::clone(&browse),
        manifests: Arc::clone(&manifests),
        records: indexed_records,
        own: Arc::clone(&own_records) as _,
        settings: own_records,
        holds: discovery,
        tokens,
        gateway,
        default_hold,
        deletions: Arc::new(SqliteDeletions::new(database)),
        clock: Arc::clone(&clock),
        tasks: shutdown.clone(),
    });
    let scan_referrers = Arc::new(ScanReferrers::new(Arc::clone(&browse.index), Arc::clone(&scans)));
    let state = AppState {
        affected: Arc::new(Affected::new(Arc::clone(&browse.index), Arc::clone(&scans))),
        browse,
        scans,
        manage: Arc::new(manage),
        registry: RegistryParts {
            scan_referrers,
            blobs,
            uploads,
            manifests,
            manifest_memory: ManifestMemory::new(bytes(settings.registry.manifest_memory_bytes)),
            catalog: Arc::new(Catalog::new(accounts, Arc::clone(&identities))),
            permissions,
            authenticator: Arc::new(Authenticator::new(verifier, sessions.clone(), Arc::clone(&clock))),
            realm: Arc::clone(&realm),
            proxies: Arc::clone(&proxies),
            identities: Arc::clone(&identities),
            limits: Arc::clone(&limits),
        },
        refresh_tokens,
        scopes: Scopes::new(identities, authority(&settings.base_url)),
        issuer: Arc::new(RegistryTokenIssuer::new(registry_key, service)),
        sessions,
        sign_out,
        sign_in,
        browsers,
        devices,
        limits,
        site: Arc::new(site(settings)?),
        releases: Arc::new(releases(settings).map_err(Error::msg)?),
        oauth_documents: Arc::new(OAuthDocuments::new(oauth.registration())?),
        realm,
        proxies,
        did_document: Arc::new(did_document(&signer, &base_url)),
        clock,
        readiness: readiness.clone(),
    };
    let sign_in = Arc::clone(&state.sign_in);
    Ok(App {
        router: router(state),
        sign_in,
        database: databases,
        index: network.store,
        readiness,
        base_url,
        did,
    })
}

fn bytes(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn listing_limits(settings: &AppViewSettings, clock: &Arc<dyn Clock>) -> ListingLimits {
    let bounds = ListingBounds {
        records: settings.registry.listed_records,
        bytes: settings.registry.listed_bytes,
        page_time: settings.upstream.pds_timeout.get(),
    };
    ListingLimits::new(bounds, Arc::clone(clock))
}

pub(crate) fn identity_resolver(
    settings: &AppViewSettings,
    egress: &EgressClient,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn IdentityResolver>> {
    let mut resolver = ResolverConfig::new(settings.plc_directory.clone());
    resolver.handle_resolver.clone_from(&settings.handle_resolver);
    resolver.allow_loopback = settings.test_mode;
    Ok(Arc::new(Resolver::new(
        resolver,
        egress.clone(),
        Arc::clone(clock),
    )?))
}

/// What pages know of this server.
/// The directory that `docker-credential-atcr` asks unless told otherwise.
const PUBLIC_PLC_DIRECTORY: &str = "https://plc.directory";

/// Where `docker-credential-atcr verify` finds this network's accounts, as flags with a space before each: none on the public network.
fn verify_flags(settings: &AppViewSettings) -> String {
    let mut flags = String::new();
    let directory = settings.plc_directory.as_str().trim_end_matches('/');
    if directory != PUBLIC_PLC_DIRECTORY {
        flags.push_str(" --plc-directory-url ");
        flags.push_str(directory);
    }
    // In production a resolver of handles is a short cut to what DNS says as well.
    if settings.test_mode
        && let Some(resolver) = &settings.handle_resolver
    {
        flags.push_str(" --handle-resolver-url ");
        flags.push_str(resolver.as_str().trim_end_matches('/'));
    }
    flags
}

fn site(settings: &AppViewSettings) -> anyhow::Result<Site> {
    let base_url = &settings.base_url;
    let origin = if Registration::is_public(base_url) {
        Url::parse(&Registration::loopback_redirect(base_url.port(), "/"))?
    } else {
        base_url.clone()
    };
    Ok(Site {
        name: settings.branding.name.clone(),
        base_url: base_url.clone(),
        origin,
        terms_url: settings.branding.terms_url.clone(),
        privacy_url: settings.branding.privacy_url.clone(),
        is_development: settings.test_mode,
        verify_flags: verify_flags(settings),
    })
}

/// The release of the credential helper that is offered, if any.
fn releases(settings: &AppViewSettings) -> Result<Releases, String> {
    let Some(release) = &settings.credential_helper else {
        return Ok(Releases::default());
    };
    Releases::load(
        &release.folder,
        &format!("{}/dist/", settings.base_url.as_str().trim_end_matches('/')),
        release.download_base_url.as_deref(),
        release.signing_key.clone(),
    )
    .map_err(|reason| format!("credential_helper.release_dir: {reason}"))
}
