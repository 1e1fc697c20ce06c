//! Names of collections and methods, spelled once.

/// A manifest; in a user's repository.
pub const MANIFEST: &str = "io.atcr.manifest";
/// A tag; in a user's repository.
pub const TAG: &str = "io.atcr.tag";
/// A user's settings; in a user's repository.
pub const SAILOR_PROFILE: &str = "io.atcr.sailor.profile";
/// A star given to a repository; in the giver's repository.
pub const SAILOR_STAR: &str = "io.atcr.sailor.star";
/// A repository's own page; in a user's repository.
pub const REPO_PAGE: &str = "io.atcr.repo.page";
/// The former announcement of a hold; in its owner's repository. Read only.
pub const HOLD: &str = "io.atcr.hold";
/// A hold's owner and rules; in the hold's repository.
pub const HOLD_CAPTAIN: &str = "io.atcr.hold.captain";
/// A hold's member; in the hold's repository.
pub const HOLD_CREW: &str = "io.atcr.hold.crew";
/// A layer of a pushed manifest; in the hold's repository.
pub const HOLD_LAYER: &str = "io.atcr.hold.layer";
/// Pull and push counts; in the hold's repository.
pub const HOLD_STATS: &str = "io.atcr.hold.stats";
/// The result of a scan; in the hold's repository.
pub const HOLD_SCAN: &str = "io.atcr.hold.scan";
/// The OAuth permission set of the whole application.
pub const AUTH_FULL_APP: &str = "io.atcr.authFullApp";

/// The ten collections in use, in the order of the protocol's own list.
pub const LIVE_COLLECTIONS: [&str; 10] = [
    MANIFEST,
    TAG,
    SAILOR_PROFILE,
    SAILOR_STAR,
    REPO_PAGE,
    HOLD_CAPTAIN,
    HOLD_CREW,
    HOLD_LAYER,
    HOLD_STATS,
    HOLD_SCAN,
];

/// Procedure: begins a blob upload.
pub const HOLD_INITIATE_UPLOAD: &str = "io.atcr.hold.initiateUpload";
/// Procedure: asks for the URL of one part.
pub const HOLD_GET_PART_UPLOAD_URL: &str = "io.atcr.hold.getPartUploadUrl";
/// Procedure: finishes a blob upload.
pub const HOLD_COMPLETE_UPLOAD: &str = "io.atcr.hold.completeUpload";
/// Procedure: gives up a blob upload.
pub const HOLD_ABORT_UPLOAD: &str = "io.atcr.hold.abortUpload";
/// Procedure: tells the hold of a pushed or pulled manifest.
pub const HOLD_NOTIFY_MANIFEST: &str = "io.atcr.hold.notifyManifest";
/// Procedure: asks to become crew.
pub const HOLD_REQUEST_CREW: &str = "io.atcr.hold.requestCrew";
/// Procedure: sets a member's tier.
pub const HOLD_UPDATE_CREW_TIER: &str = "io.atcr.hold.updateCrewTier";
/// Query: one user's storage use.
pub const HOLD_GET_QUOTA: &str = "io.atcr.hold.getQuota";
/// Query: the hold's tiers.
pub const HOLD_LIST_TIERS: &str = "io.atcr.hold.listTiers";
/// Query: what the hold knows of the caller.
pub const HOLD_EXPORT_USER_DATA: &str = "io.atcr.hold.exportUserData";
/// Procedure: erases what the hold knows of the caller.
pub const HOLD_DELETE_USER_DATA: &str = "io.atcr.hold.deleteUserData";

/// Query: one record.
pub const REPO_GET_RECORD: &str = "com.atproto.repo.getRecord";
/// Query: the records of one collection, in pages.
pub const REPO_LIST_RECORDS: &str = "com.atproto.repo.listRecords";
/// Query: what a repository is.
pub const REPO_DESCRIBE_REPO: &str = "com.atproto.repo.describeRepo";
/// Procedure: several writes in one commit.
pub const REPO_APPLY_WRITES: &str = "com.atproto.repo.applyWrites";
/// Procedure: writes one record, new or not.
pub const REPO_PUT_RECORD: &str = "com.atproto.repo.putRecord";
/// Procedure: writes a new record.
pub const REPO_CREATE_RECORD: &str = "com.atproto.repo.createRecord";
/// Procedure: deletes one record.
pub const REPO_DELETE_RECORD: &str = "com.atproto.repo.deleteRecord";
/// Procedure: uploads a blob that a record will refer to.
pub const REPO_UPLOAD_BLOB: &str = "com.atproto.repo.uploadBlob";
/// Query: the bytes of a blob.
pub const SYNC_GET_BLOB: &str = "com.atproto.sync.getBlob";
/// Query: the newest commit of a repository.
pub const SYNC_GET_LATEST_COMMIT: &str = "com.atproto.sync.getLatestCommit";
/// Query: a repository as CAR.
pub const SYNC_GET_REPO: &str = "com.atproto.sync.getRepo";
/// Query: one record with its proof, as CAR.
pub const SYNC_GET_RECORD: &str = "com.atproto.sync.getRecord";
/// Query: the state of one repository.
pub const SYNC_GET_REPO_STATUS: &str = "com.atproto.sync.getRepoStatus";
/// Query: the repositories of a server.
pub const SYNC_LIST_REPOS: &str = "com.atproto.sync.listRepos";
/// Query: the repositories with records of one collection.
pub const SYNC_LIST_REPOS_BY_COLLECTION: &str = "com.atproto.sync.listReposByCollection";
/// Procedure: asks a relay to follow a host.
pub const SYNC_REQUEST_CRAWL: &str = "com.atproto.sync.requestCrawl";
/// Query: what a relay knows of a host.
pub const SYNC_GET_HOST_STATUS: &str = "com.atproto.sync.getHostStatus";
/// Procedure: signs in with a password.
pub const SERVER_CREATE_SESSION: &str = "com.atproto.server.createSession";
/// Procedure: ends a session.
pub const SERVER_DELETE_SESSION: &str = "com.atproto.server.deleteSession";
/// Procedure: renews a session.
pub const SERVER_REFRESH_SESSION: &str = "com.atproto.server.refreshSession";
/// Query: whose session this is.
pub const SERVER_GET_SESSION: &str = "com.atproto.server.getSession";
/// Query: a token for another service.
pub const SERVER_GET_SERVICE_AUTH: &str = "com.atproto.server.getServiceAuth";
/// Query: what a server is.
pub const SERVER_DESCRIBE_SERVER: &str = "com.atproto.server.describeServer";
/// Query: the DID of a handle.
pub const IDENTITY_RESOLVE_HANDLE: &str = "com.atproto.identity.resolveHandle";
