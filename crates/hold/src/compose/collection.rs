//! The garbage collection, wired.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::egress::EgressClient;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::HoldRepo;
use atcr_server::database::Database;
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::StartError;
use crate::adapters::account_manifests::AccountManifests;
use crate::adapters::save_mark::MarkFile;
use crate::adapters::sqlite::{SqliteGc, SqliteStandings};
use crate::blobs::{BlobInventory, ObjectKey, StoreError};
use crate::gc::ports::{StoreOwner, Ticks};
use crate::gc::{Gc, GcOptions, GcParts};
use crate::manifests::{Notice, NoticeError, PushObserver};
use crate::repo_blobs::OwnObjects;
use crate::scanning::Scanning;

/// What the collection shares with the rest of the hold.
pub(super) struct Shared<'a> {
    pub(super) database: &'a Database,
    pub(super) inventory: Arc<dyn BlobInventory>,
    pub(super) own_objects: Arc<dyn OwnObjects>,
    /// Where what is stored is written first.
    pub(super) spool: PathBuf,
    /// The file beside the database that changes with each save of the uptime.
    pub(super) mark: PathBuf,
    pub(super) repo: &'a HoldRepo,
    pub(super) egress: &'a EgressClient,
    pub(super) resolver: &'a Arc<dyn IdentityResolver>,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) ticks: Arc<dyn Ticks>,
}

/// Opens the collection with what it knew before.
pub(super) async fn open(shared: Shared<'_>, options: &GcOptions) -> Result<Gc, StartError> {
    let reader = AccountManifests::new(
        shared.egress.clone(),
        shared.resolver.clone(),
        shared.clock.clone(),
    );
    let parts = GcParts {
        table: Arc::new(SqliteGc::new(shared.database.clone())),
        standing_table: Arc::new(SqliteStandings::new(shared.database.clone())),
        inventory: shared.inventory,
        owner: Arc::new(OwnerObject {
            objects: shared.own_objects,
            did: shared.repo.did().clone(),
            file: shared.spool.join(OWNER_FILE),
        }),
        reader: Arc::new(reader),
        repo: shared.repo.clone(),
        clock: shared.clock.clone(),
        mark: Arc::new(MarkFile::new(shared.mark)),
        ticks: shared.ticks,
        boot: boot_id(),
    };
    let gc = Gc::open(parts, options.clone())
        .await
        .map_err(StartError::Collection)?;
    // Also of a hold that collects nothing: another one, that does, has to see whose blobs these are.
    match tokio::time::timeout(CLAIM_WITHIN, gc.claim_store()).await {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(other))) => return Err(StartError::OtherHoldsStore { other }),
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "whose the object store is will be looked at later"
            );
        }
        Err(_) => tracing::warn!("the object store does not say in time whose it is; it is asked later"),
    }
    Ok(gc)
}

/// How long the start waits for the store to say whose it is.
const CLAIM_WITHIN: Duration = Duration::from_secs(10);

/// The file that becomes the owner object.
const OWNER_FILE: &str = "owner";
/// Bytes of an owner object. A DID has at most 2,048.
const MAX_OWNER: usize = 4096;

/// [`StoreOwner`] by an object that says whose the store is.
#[derive(Debug)]
struct OwnerObject {
    objects: Arc<dyn OwnObjects>,
    did: Did,
    file: PathBuf,
}

#[async_trait]
impl StoreOwner for OwnerObject {
    async fn claim(&self) -> Result<Option<String>, StoreError> {
        let owner = match self.owner().await? {
            Some(owner) => owner,
            None => {
                self.put().await?;
                // Another hold may have written it at the same time.
                let unread =
                    || StoreError::unavailable("read the owner object", "it was written, and is not there");
                self.owner().await?.ok_or_else(unread)?
            }
        };
        Ok((owner != self.did.as_str()).then_some(owner))
    }
}

impl OwnerObject {
    async fn put(&self) -> Result<(), StoreError> {
        let did = self.did.as_str().as_bytes();
        let written = tokio::fs::write(&self.file, did).await;
        written.map_err(|error| StoreError::unavailable("write the owner object", error))?;
        let key = ObjectKey::owner();
        let stored = self.objects.put_file(&key, &self.file, did.len() as u64).await;
        let _ = tokio::fs::remove_file(&self.file).await;
        stored
    }

    /// What the object says.
    async fn owner(&self) -> Result<Option<String>, StoreError> {
        let Some((_, mut bytes)) = self.objects.read(&ObjectKey::owner()).await? else {
            return Ok(None);
        };
        let mut owner = Vec::new();
        while let Some(piece) = bytes.try_next().await? {
            owner.extend_from_slice(&piece);
            if owner.len() > MAX_OWNER {
                break;
            }
        }
        Ok(Some(String::from_utf8_lossy(&owner).trim().to_owned()))
    }
}

/// Changes when the machine starts; without one, with the process.
fn boot_id() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().to_owned(),
        Err(_) => Uuid::new_v4().to_string(),
    }
}

/// Who is told of pushes: the collection what they name, scanners what there is to scan.
#[derive(Debug)]
pub(super) struct Observers {
    pub(super) gc: Gc,
    pub(super) scanning: Scanning,
}

#[async_trait]
impl PushObserver for Observers {
    async fn named(&self, notice: &Notice) -> Result<(), NoticeError> {
        self.gc.named(notice).await
    }

    async fn pushed(&self, notice: &Notice) -> Result<(), NoticeError> {
        self.scanning.pushed(notice).await
    }
}

#[async_trait]
impl PushObserver for Gc {
    async fn named(&self, notice: &Notice) -> Result<(), NoticeError> {
        let noted = self
            .note_manifest(
                notice.owner(),
                notice.rkey(),
                notice.repository(),
                &notice.names(),
            )
            .await;
        noted.map_err(|error| NoticeError::Observer(Arc::new(error)))
    }

    async fn pushed(&self, _: &Notice) -> Result<(), NoticeError> {
        Ok(())
    }
}
