//! The accounts' records, with the index of the network behind every write: a push or a deletion that was acknowledged is on every page.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::data_model::{DAG_CBOR, cid_of, record_to_ipld};
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::pds::{CommitMeta, Write};
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_index::change::{Applied, Batch, Change, Lane, Proof, RecordsStep, Step};
use atcr_index::fact::RecordFact;
use atcr_index::{Collection, IndexError};
use atcr_ingest::Index;
use atcr_ingest::schedule::Scheduler;
use atcr_registry::account::ports::{AccountRecords, CommitOutcome, ListingPosition, RecordsPage};
use atcr_registry::error::RegistryError;
use serde_json::Value;
use tokio::time::Instant;

/// How long a write waits for an account that the index does not know yet, or that others wrote to. What takes longer is indexed after the
/// answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes to accounts, carried over to the index.
pub struct IndexedRecords {
    records: Arc<dyn AccountRecords>,
    index: Index,
    scheduler: Scheduler,
    clock: Arc<dyn Clock>,
}

impl IndexedRecords {
    /// Writes through `records`, and then to `index`.
    #[must_use]
    pub fn new(
        records: Arc<dyn AccountRecords>,
        index: Index,
        scheduler: Scheduler,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            records,
            index,
            scheduler,
            clock,
        }
    }

    /// Brings the index to the commit, or makes the account due.
    async fn carry_over(&self, step: RecordsStep) {
        let did = step.did.clone();
        let error = match self.write(step).await {
            Ok(()) => return,
            Err(error) => error,
        };
        tracing::error!(%did, error = &error as &dyn std::error::Error, "the index missed a write; the account is read again");
        if let Err(error) = self.scheduler.queue(&did, Lane::Asked).await {
            tracing::error!(%did, error = &error as &dyn std::error::Error, "the account is not queued either");
        }
    }

    async fn write(&self, step: RecordsStep) -> Result<(), IndexError> {
        let (did, rev) = (step.did.clone(), step.rev.clone());
        let answers = self
            .index
            .writer
            .apply(&Batch::of(Step::Records(step)), self.clock.now())
            .await?;
        if !matches!(answers.as_slice(), [Applied::Gap { .. }]) {
            return Ok(());
        }
        // Until the rows reach it, no reader of any process takes them for current.
        let seen = Step::HeadSeen {
            did: did.clone(),
            rev,
        };
        self.index
            .writer
            .apply(&Batch::of(seen), self.clock.now())
            .await?;
        // Its own server has the commit, so a listing has it too.
        if let Err(error) = self.scheduler.look_at(&did, PATIENCE).await {
            tracing::info!(%did, %error, "an account that was written to is indexed later");
        }
        Ok(())
    }
}

/// The step that `writes` are, from one commit to the next.
fn step_of(
    did: &Did,
    changes: Vec<Change>,
    expected: Option<&CommitMeta>,
    commit: &CommitMeta,
) -> RecordsStep {
    RecordsStep {
        did: did.clone(),
        base: expected.map(|commit| commit.rev.clone()),
        base_data: None,
        rev: commit.rev.clone(),
        // The tree comes with the commit's own event.
        data: None,
        proof: Proof::Owner,
        coverage: None,
        changes,
    }
}

/// What the writes are to the index; `None` when one of them has a key that the server chooses.
fn changes_of(did: &Did, writes: &[Write]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    for write in writes {
        let (collection, rkey, value) = match write {
            Write::Create {
                collection,
                rkey,
                value,
            } => (collection, rkey.as_ref()?, Some(value)),
            Write::Update {
                collection,
                rkey,
                value,
            } => (collection, rkey, Some(value)),
            Write::Delete { collection, rkey } => (collection, rkey, None),
        };
        let Ok(collection) = collection.parse::<Collection>() else {
            continue;
        };
        changes.push(match value {
            Some(value) => Change::Put(RecordFact::read(
                did,
                collection,
                rkey.clone(),
                cid_of_record(value)?,
                value.clone(),
            )),
            None => Change::Delete {
                collection,
                rkey: rkey.clone(),
            },
        });
    }
    Some(changes)
}

/// The CID that the account's server gives the record.
fn cid_of_record(value: &Value) -> Option<atcr_atproto::Cid> {
    let bytes = serde_ipld_dagcbor::to_vec(&record_to_ipld(value).ok()?).ok()?;
    Some(cid_of(DAG_CBOR, &bytes))
}

#[async_trait]
impl AccountRecords for IndexedRecords {
    async fn head(&self, owner: &ResolvedIdentity) -> Result<Option<CommitMeta>, RegistryError> {
        self.records.head(owner).await
    }

    async fn list_page(
        &self,
        owner: &ResolvedIdentity,
        position: &ListingPosition,
        until: Instant,
    ) -> Result<RecordsPage, RegistryError> {
        self.records.list_page(owner, position, until).await
    }

    async fn commit(
        &self,
        principal: &Principal,
        writes: Vec<Write>,
        expected: Option<&CommitMeta>,
    ) -> Result<CommitOutcome, RegistryError> {
        let did = principal.did().cloned();
        let changes = did.as_ref().and_then(|did| changes_of(did, &writes));
        let outcome = self.records.commit(principal, writes, expected).await?;
        if let (Some(did), CommitOutcome::Committed(commit)) = (&did, &outcome) {
            // Without all changes the step must not fit: the account is read instead.
            let base = expected.filter(|_| changes.is_some());
            self.carry_over(step_of(did, changes.unwrap_or_default(), base, commit))
                .await;
        }
        Ok(outcome)
    }
}
