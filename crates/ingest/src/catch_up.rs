//! An account brought to its head: by what changed since the rows' revision, or else by all its records, listed between two equal heads
//! and compared with the rows.

use std::collections::HashMap;
use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::{Cid, Did, RecordKey, Tid};
use atcr_index::change::{Applied, Batch, Change, Coverage, Proof, RecordsStep, Status, StatusStep, Step};
use atcr_index::{Collection, IndexError};

use crate::Index;
use crate::difference;
use crate::source::{AccountSource, Head, SourceError};
use crate::verify::Refusal;

/// Changes that are written at once. A larger catch-up is written in parts, and the account is cut meanwhile.
const PART: usize = 2_000;

/// Times an account is listed again because it changed meanwhile, before the rest is left to the next turn.
const ATTEMPTS: usize = 3;

/// Pages of one collection: a server that names cursors without end is left.
const MAX_PAGES: usize = 10_000;

/// How much of one account is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records of all collections.
    pub records: usize,
    /// Bytes of all pages.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records: 250_000,
            bytes: 512 * 1024 * 1024,
        }
    }
}

/// What a catch-up came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The rows were those of the head already.
    Current,
    /// They are now; this many records differed.
    Caught {
        /// Records that were written or deleted.
        changes: usize,
        /// False for an account that has more than is listed of one account.
        is_whole: bool,
    },
    /// The account is not served; it is hidden.
    Hidden(Status),
    /// The account has no records of ours, and nothing is written of it.
    WithoutRecords,
    /// The server has an older head than was seen before. Nothing is written.
    WentBack,
    /// The account changed each time that it was listed. It is cut, and due again.
    Moving,
}

/// Why a catch-up did not finish.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CatchUpError {
    /// The account's server.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Brings accounts to their heads.
#[derive(Clone)]
pub struct CatchUp {
    index: Index,
    source: Arc<dyn AccountSource>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

/// A listing under way.
struct Listing {
    head: Tid,
    base: Option<Tid>,
    changes: Vec<Change>,
    written: usize,
}

impl CatchUp {
    /// Lists accounts from `source` into `index`, each within `limits`.
    #[must_use]
    pub fn new(index: Index, source: Arc<dyn AccountSource>, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self {
            index,
            source,
            clock,
            limits,
        }
    }

    /// As [`CatchUp::run`], for an account that somebody named: one that has nothing of ours leaves no row.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn run_found(&self, did: &Did) -> Result<Outcome, CatchUpError> {
        let is_known = self.index.reader.account(did).await?.is_some();
        if is_known {
            return self.run(did).await;
        }
        match self.source.has_records(did).await {
            Ok(true) => self.run(did).await,
            Ok(false) => Ok(Outcome::WithoutRecords),
            Err(SourceError::Unreadable(reason)) => {
                tracing::debug!(%did, reason, "an account that was named cannot be read");
                Ok(Outcome::WithoutRecords)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Brings the account to its head.
    ///
    /// # Cancel safety
    /// Dropped, the account is at its old head, or cut at the new one.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn run(&self, did: &Did) -> Result<Outcome, CatchUpError> {
        let identity = match self.source.identity(did).await {
            Ok(identity) => identity,
            Err(SourceError::Unreadable(reason)) => {
                tracing::debug!(%did, reason, "an account has no identity");
                return self.hide(did, Status::Deleted).await;
            }
            Err(error) => return Err(error.into()),
        };
        self.write(vec![Step::Identity(identity)]).await?;
        for _ in 0..ATTEMPTS {
            let head = match self.source.head(did).await? {
                Head::At(rev) => rev,
                Head::Inactive(status) => return self.hide(did, status).await,
            };
            let account = self.index.reader.account(did).await?;
            if account
                .as_ref()
                .is_some_and(|account| account.status != Status::Active)
            {
                let status = Status::Active;
                self.write(vec![self.status(did, status)]).await?;
            }
            let rev = account.as_ref().and_then(|account| account.rev.clone());
            if rev.as_ref().is_some_and(|rev| *rev > head) {
                return Ok(Outcome::WentBack);
            }
            let is_whole = account.is_some_and(|account| account.coverage == Coverage::Whole);
            if is_whole && rev.as_ref() == Some(&head) {
                return Ok(Outcome::Current);
            }
            if is_whole
                && let Some(rev) = &rev
                && let Some(outcome) = self.by_difference(did, rev).await?
            {
                return Ok(outcome);
            }
            if let Some(outcome) = self.list(did, rev, head).await? {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Moving)
    }

    /// Brings a whole account from `rev` to its head by what changed since. `None` when that cannot be done: it is listed then.
    async fn by_difference(&self, did: &Did, rev: &Tid) -> Result<Option<Outcome>, CatchUpError> {
        let Some(blocks) = self.source.difference(did, rev).await? else {
            return Ok(None);
        };
        let mut rows = Vec::new();
        for collection in Collection::ALL {
            rows.extend(self.index.writer.known_records(did, collection).await?);
        }
        let mut difference = Err(Refusal::BadSignature);
        // A signature that the key we know does not verify may be one of a newer key.
        for anew in [false, true] {
            let Some(key) = self.source.signing_key(did, anew).await? else {
                return Ok(None);
            };
            difference = difference::difference(&blocks, did, &key, rev, &rows, self.clock.now());
            if difference != Err(Refusal::BadSignature) {
                break;
            }
        }
        let difference = match difference {
            Ok(difference) => difference,
            Err(refusal) => {
                tracing::debug!(%did, %refusal, "what changed of an account is not told; it is listed");
                return Ok(None);
            }
        };
        if difference.changes.len() > PART {
            return Ok(None);
        }
        let changes = difference.changes.len();
        let step = RecordsStep {
            did: did.clone(),
            base: Some(rev.clone()),
            base_data: None,
            rev: difference.rev,
            data: Some(difference.data),
            // Signed it is, but what was left out is the server's word.
            proof: Proof::Owner,
            coverage: None,
            changes: difference.changes,
        };
        let answers = self.write(vec![Step::Records(step)]).await?;
        Ok((answers == [Applied::Done]).then_some(Outcome::Caught {
            changes,
            is_whole: true,
        }))
    }

    async fn hide(&self, did: &Did, status: Status) -> Result<Outcome, CatchUpError> {
        if self.index.reader.account(did).await?.is_none() {
            // Made-up names do not fill the table.
            return Ok(Outcome::Hidden(status));
        }
        self.write(vec![self.status(did, status)]).await?;
        Ok(Outcome::Hidden(status))
    }

    fn status(&self, did: &Did, status: Status) -> Step {
        Step::Status(StatusStep {
            did: did.clone(),
            status,
            at: self.clock.now(),
        })
    }

    async fn write(&self, steps: Vec<Step>) -> Result<Vec<Applied>, IndexError> {
        let batch = Batch {
            steps,
            ..Batch::default()
        };
        self.index.writer.apply(&batch, self.clock.now()).await
    }

    /// Lists everything at `head`. `None` when the account or its rows moved on meanwhile.
    async fn list(&self, did: &Did, base: Option<Tid>, head: Tid) -> Result<Option<Outcome>, CatchUpError> {
        let mut listing = Listing {
            head,
            base,
            changes: Vec::new(),
            written: 0,
        };
        let mut left = self.limits;
        let mut is_cut = false;
        for collection in Collection::ALL {
            let known = self.index.writer.known_records(did, collection).await?;
            let mut known: HashMap<RecordKey, Cid> = known
                .into_iter()
                .map(|record| (record.rkey, record.cid))
                .collect();
            if !self
                .list_collection(did, collection, &mut known, &mut listing, &mut left)
                .await?
            {
                is_cut = true;
                break;
            }
            for rkey in known.into_keys() {
                listing.changes.push(Change::Delete { collection, rkey });
                if !self.write_full_part(did, &mut listing).await? {
                    return Ok(None);
                }
            }
            if !self.write_full_part(did, &mut listing).await? {
                return Ok(None);
            }
        }
        if self.source.head(did).await? != Head::At(listing.head.clone()) {
            return Ok(None);
        }
        let coverage = if is_cut { Coverage::Cut } else { Coverage::Whole };
        if !self.write_part(did, &mut listing, coverage).await? {
            return Ok(None);
        }
        Ok(Some(Outcome::Caught {
            changes: listing.written,
            is_whole: !is_cut,
        }))
    }

    /// Compares one collection; what the server no longer lists stays in `known`. False when the account has more than is listed.
    async fn list_collection(
        &self,
        did: &Did,
        collection: Collection,
        known: &mut HashMap<RecordKey, Cid>,
        listing: &mut Listing,
        left: &mut Limits,
    ) -> Result<bool, CatchUpError> {
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = self.source.page(did, collection, cursor.as_deref()).await?;
            let (Some(records), Some(bytes)) = (
                left.records.checked_sub(page.records.len()),
                left.bytes.checked_sub(page.size_bytes),
            ) else {
                return Ok(false);
            };
            *left = Limits { records, bytes };
            let is_empty = page.records.is_empty();
            for record in page.records {
                if known.remove(&record.rkey) != Some(record.cid) {
                    listing.changes.push(Change::Put(record));
                }
            }
            // Written by the caller when it is a part; a page has at most 100 records, so the list stays short.
            if listing.changes.len() >= PART && !self.write_part(did, listing, Coverage::Cut).await? {
                return Err(SourceError::Later {
                    detail: "the account changed while it was listed".to_owned(),
                    after: None,
                }
                .into());
            }
            match page.cursor {
                Some(next) if !is_empty && cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    async fn write_full_part(&self, did: &Did, listing: &mut Listing) -> Result<bool, CatchUpError> {
        if listing.changes.len() < PART {
            return Ok(true);
        }
        self.write_part(did, listing, Coverage::Cut).await
    }

    /// Writes what has been gathered. False when the rows are not those of the listing's base any more.
    async fn write_part(
        &self,
        did: &Did,
        listing: &mut Listing,
        coverage: Coverage,
    ) -> Result<bool, CatchUpError> {
        let changes = std::mem::take(&mut listing.changes);
        let count = changes.len();
        let step = RecordsStep {
            did: did.clone(),
            base: listing.base.clone(),
            base_data: None,
            rev: listing.head.clone(),
            data: None,
            proof: Proof::Owner,
            coverage: Some(coverage),
            changes,
        };
        let answers = self.write(vec![Step::Records(step)]).await?;
        if answers != [Applied::Done] {
            return Ok(false);
        }
        listing.written += count;
        listing.base = Some(listing.head.clone());
        Ok(true)
    }
}
