//! The accounts of a batch: their revisions, by which steps are judged, their identities and their status.

use std::collections::{BTreeSet, HashMap};

use atcr_atproto::syntax::Did;
use atcr_index::change::{
    Applied, Batch, Coverage, IdentityStep, Proof, RecordsStep, StatusStep, Step, TakedownStep,
};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::{Accepted, unique};
use crate::codec::{self, cid_bytes, coverage_code, micros, status_code};
use crate::rows::{Row, found, row, set};

/// An account as it will be after the batch.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Account {
    pub(super) id: i64,
    pub(super) did: String,
    handle: String,
    pds: String,
    signing_key: String,
    status: i64,
    status_at: i64,
    taken_down: bool,
    rev: String,
    head_seen: String,
    data: Vec<u8>,
    proof: i64,
    coverage: i64,
    #[sqlx(skip)]
    changed: bool,
    /// Its repositories were shown before the batch.
    #[sqlx(skip)]
    was_visible: bool,
    /// Another handle than before: search finds its repositories by it.
    #[sqlx(skip)]
    renamed: bool,
}

impl Account {
    pub(super) fn is_visible(&self) -> bool {
        self.status == 0 && !self.taken_down
    }
}

/// The accounts of a batch.
pub(super) struct Accounts {
    by_did: HashMap<String, Account>,
    dids: HashMap<i64, String>,
    /// Repositories whose takedown changed, by account and name.
    taken_down: Vec<(i64, String)>,
}

fn did_of(step: &Step) -> &Did {
    match step {
        Step::Records(step) => &step.did,
        Step::Identity(step) => &step.did,
        Step::Status(step) => &step.did,
        Step::Takedown(step) => &step.did,
        Step::Distrust { did } | Step::HeadSeen { did, .. } => did,
    }
}

impl Accounts {
    /// Loads the accounts of the steps; those that are new get a row.
    pub(super) async fn load(connection: &mut PgConnection, batch: &Batch) -> Result<Self, sqlx::Error> {
        let dids = unique(batch.steps.iter().map(|step| did_of(step).as_str()));
        let dids: Vec<Row> = dids.into_iter().map(|did| row![did]).collect();
        // Those that are known are not tried: a conflict would use up a number.
        set(
            connection,
            "INSERT INTO account (did) SELECT j.did FROM unnest($1::text[]) AS j(did) \
             WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.did = j.did)",
            dids.clone(),
        )
        .await?;
        let loaded: Vec<Account> = found(
            connection,
            "SELECT a.id, a.did, a.handle, a.pds, a.signing_key, a.status, a.status_at, a.taken_down, a.rev, a.head_seen, a.data, a.proof, \
                    a.coverage \
             FROM unnest($1::text[]) AS j(did) JOIN account a ON a.did = j.did",
            dids,
        )
        .await?;
        let with_visibility = loaded.into_iter().map(|mut account| {
            account.was_visible = account.is_visible();
            account
        });
        let by_did: HashMap<_, _> = with_visibility
            .map(|account| (account.did.clone(), account))
            .collect();
        let dids = by_did
            .values()
            .map(|account| (account.id, account.did.clone()))
            .collect();
        Ok(Self {
            by_did,
            dids,
            taken_down: Vec::new(),
        })
    }

    /// The DID of an account of the batch.
    pub(super) fn did(&self, id: i64) -> &str {
        self.dids.get(&id).map_or("", String::as_str)
    }

    /// Whether an account's repositories and stars were visible before, and are now; `None` for an account that is not of the batch.
    pub(super) fn visibility(&self, id: i64) -> Option<(bool, bool)> {
        let account = self.by_did.get(self.dids.get(&id)?)?;
        Some((account.was_visible, account.is_visible()))
    }

    /// Accounts that became visible or ceased to be.
    pub(super) fn turned(&self) -> Vec<i64> {
        self.picked(|account| account.was_visible != account.is_visible())
    }

    /// Accounts with another handle.
    pub(super) fn renamed(&self) -> Vec<i64> {
        self.picked(|account| account.renamed)
    }

    fn picked(&self, is_picked: impl Fn(&Account) -> bool) -> Vec<i64> {
        self.by_did
            .values()
            .filter(|account| is_picked(account))
            .map(|account| account.id)
            .collect()
    }

    /// Goes through the steps: says what becomes of each, and which changes are to be written.
    pub(super) async fn judge<'b>(
        &mut self,
        connection: &mut PgConnection,
        batch: &'b Batch,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Applied>, Vec<Accepted<'b>>), sqlx::Error> {
        let mut answers = Vec::with_capacity(batch.steps.len());
        let mut accepted = Vec::new();
        for step in &batch.steps {
            let answer = match step {
                Step::Records(step) => self.judge_records(step, &mut accepted),
                Step::Identity(step) => self.identify(connection, step, now).await?,
                Step::Status(step) => self.set_status(step),
                Step::Takedown(step) => self.take_down(connection, step).await?,
                Step::Distrust { did } => self.distrust(did),
                Step::HeadSeen { did, rev } => self.see_head(did, rev.as_str()),
            };
            answers.push(answer);
        }
        Ok((answers, accepted))
    }

    fn of(&mut self, did: &Did) -> Option<&mut Account> {
        self.by_did.get_mut(did.as_str())
    }

    fn judge_records<'b>(&mut self, step: &'b RecordsStep, accepted: &mut Vec<Accepted<'b>>) -> Applied {
        let Some(account) = self.of(&step.did) else {
            return Applied::Gap { rev: None };
        };
        let base = step.base.as_ref().map_or("", |base| base.as_str());
        let rev = step.rev.as_str();
        let data = cid_bytes(step.data.as_ref());
        // Parts of one catch-up have one revision.
        let is_next_part =
            account.rev == rev && base == rev && account.coverage != coverage_code(Coverage::Whole);
        if !is_next_part && account.rev.as_str() >= rev {
            // A write of ours is known by its revision; the tree comes with the commit.
            if account.rev == rev && account.data.is_empty() && !data.is_empty() {
                account.data = data;
                account.proof = account.proof.max(proof_code(step.proof));
                account.changed = true;
                return Applied::Done;
            }
            return Applied::Known;
        }
        let base_data = cid_bytes(step.base_data.as_ref());
        // What a commit says to be based on is not signed, only its tree is: it fits rows of exactly the tree that it changes. Rows that were
        // listed have no tree, so their account is read once more.
        let is_fork = match step.proof {
            Proof::Signed => !account.rev.is_empty() && account.data != base_data,
            Proof::Owner => !base_data.is_empty() && !account.data.is_empty() && account.data != base_data,
        };
        // Only a listing, or an account's first commit, makes an account known.
        let is_unlisted = account.rev.is_empty() && step.coverage.is_none();
        if account.rev != base || is_fork || is_unlisted {
            return Applied::Gap {
                rev: account.rev.parse().ok(),
            };
        }
        let is_first = account.coverage == coverage_code(Coverage::Unlisted) || is_next_part;
        rev.clone_into(&mut account.rev);
        account.data = data;
        account.proof = proof_code(step.proof);
        if let Some(coverage) = step.coverage {
            account.coverage = coverage_code(coverage);
        }
        if account.head_seen.as_str() < rev {
            rev.clone_into(&mut account.head_seen);
        }
        account.changed = true;
        accepted.push(Accepted {
            account: account.id,
            rev,
            is_first,
            changes: &step.changes,
        });
        Applied::Done
    }

    async fn identify(
        &mut self,
        connection: &mut PgConnection,
        step: &IdentityStep,
        now: DateTime<Utc>,
    ) -> Result<Applied, sqlx::Error> {
        let handle = step
            .handle
            .as_ref()
            .map_or(String::new(), |handle| handle.as_str().to_lowercase());
        let pds = step.pds.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = step.signing_key.clone().unwrap_or_default();
        let Some(account) = self.of(&step.did) else {
            return Ok(Applied::Known);
        };
        if (&account.handle, &account.pds, &account.signing_key) == (&handle, &pds, &key) {
            return Ok(Applied::Known);
        }
        let before = std::mem::replace(&mut account.handle, handle.clone());
        account.pds = pds;
        account.signing_key = key;
        account.changed = true;
        account.renamed |= before != handle;
        let id = account.id;
        if before != handle && !before.is_empty() {
            remember_handle(connection, &before, step.did.as_str(), now).await?;
        }
        if before != handle && !handle.is_empty() {
            self.free_handle(connection, &handle, id, now).await?;
        }
        Ok(Applied::Done)
    }

    /// Takes `handle` from the account that had it, since a handle is one account's.
    async fn free_handle(
        &mut self,
        connection: &mut PgConnection,
        handle: &str,
        id: i64,
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        for account in self.by_did.values_mut() {
            if account.id != id && account.handle == handle {
                account.handle.clear();
                account.changed = true;
                account.renamed = true;
                remember_handle(connection, handle, &account.did, now).await?;
            }
        }
        let freed: Option<String> = sqlx::query_scalar(
            "UPDATE account SET handle = '' WHERE handle = $1 AND handle <> '' AND id <> $2 RETURNING did",
        )
        .bind(handle)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(did) = freed {
            remember_handle(connection, handle, &did, now).await?;
        }
        Ok(())
    }

    fn set_status(&mut self, step: &StatusStep) -> Applied {
        let at = micros(step.at);
        let Some(account) = self.of(&step.did) else {
            return Applied::Known;
        };
        let (code, unchanged) = (
            status_code(step.status),
            account.status == status_code(step.status),
        );
        if account.status_at > at || (account.status_at == at && unchanged) {
            return Applied::Known;
        }
        // Of two at one instant the more severe holds, whichever comes first.
        if account.status_at == at && account.status > code {
            return Applied::Known;
        }
        account.status = code;
        account.status_at = at;
        account.changed = true;
        Applied::Done
    }

    async fn take_down(
        &mut self,
        connection: &mut PgConnection,
        step: &TakedownStep,
    ) -> Result<Applied, sqlx::Error> {
        let repository = step.repository.as_deref().unwrap_or_default();
        let written = sqlx::query(
            "INSERT INTO takedown (source, did, repository, applies, at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (did, repository, source) DO UPDATE SET applies = excluded.applies, at = excluded.at \
             WHERE excluded.at > takedown.at OR (excluded.at = takedown.at AND excluded.applies > takedown.applies)",
        )
        .bind(step.source.as_str())
        .bind(step.did.as_str())
        .bind(codec::text(repository))
        .bind(step.applies)
        .bind(micros(step.at))
        .execute(&mut *connection)
        .await?;
        if written.rows_affected() == 0 {
            return Ok(Applied::Known);
        }
        if !repository.is_empty() {
            let id = self.of(&step.did).map(|account| account.id);
            self.taken_down.extend(id.map(|id| (id, repository.to_owned())));
            return Ok(Applied::Done);
        }
        let taken_down: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM takedown WHERE did = $1 AND repository = '' AND applies)",
        )
        .bind(step.did.as_str())
        .fetch_one(&mut *connection)
        .await?;
        if let Some(account) = self.of(&step.did) {
            account.taken_down = taken_down;
            account.changed = true;
        }
        Ok(Applied::Done)
    }

    fn distrust(&mut self, did: &Did) -> Applied {
        match self.of(did) {
            Some(account) if account.coverage == coverage_code(Coverage::Whole) => {
                account.coverage = coverage_code(Coverage::Cut);
                account.data.clear();
                account.changed = true;
                Applied::Done
            }
            _ => Applied::Known,
        }
    }

    fn see_head(&mut self, did: &Did, rev: &str) -> Applied {
        match self.of(did) {
            Some(account) if account.head_seen.as_str() < rev => {
                rev.clone_into(&mut account.head_seen);
                account.changed = true;
                Applied::Done
            }
            _ => Applied::Known,
        }
    }

    /// Writes what changed.
    pub(super) async fn save(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let changed = self.by_did.values().filter(|account| account.changed);
        // Those that lose a handle first: a handle is one account's at every moment.
        let mut changed: Vec<_> = changed.collect();
        changed.sort_by_key(|account| !account.handle.is_empty());
        let values: Vec<Row> = changed
            .iter()
            .map(|account| {
                row![
                    account.id,
                    &account.handle,
                    &account.pds,
                    &account.signing_key,
                    account.status,
                    account.status_at,
                    account.taken_down,
                    &account.rev,
                    &account.head_seen,
                    &account.data,
                    account.proof,
                    account.coverage
                ]
            })
            .collect();
        let freed: Vec<Row> = changed
            .iter()
            .filter(|account| account.renamed)
            .map(|account| row![account.id])
            .collect();
        set(
            connection,
            "UPDATE account a SET handle = '' FROM unnest($1::bigint[]) AS j(id) WHERE a.id = j.id",
            freed,
        )
        .await?;
        set(
            connection,
            "UPDATE account a SET handle = j.handle, pds = j.pds, signing_key = j.signing_key, status = j.status, \
                 status_at = j.status_at, taken_down = j.taken_down, rev = j.rev, head_seen = j.head_seen, data = j.data, \
                 proof = j.proof, coverage = j.coverage \
             FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[], $8::text[], \
                         $9::text[], $10::bytea[], $11::bigint[], $12::bigint[]) \
                 AS j(id, handle, pds, signing_key, status, status_at, taken_down, rev, head_seen, data, proof, coverage) \
             WHERE a.id = j.id",
            values,
        )
        .await
    }

    /// Repositories whose takedown changed, by account and name.
    pub(super) fn taken_down_repositories(&self) -> &[(i64, String)] {
        &self.taken_down
    }

    /// The accounts whose repositories are touched as a whole.
    pub(super) fn with_all_repositories(&self) -> BTreeSet<i64> {
        self.turned().into_iter().chain(self.renamed()).collect()
    }
}

fn proof_code(proof: Proof) -> i64 {
    match proof {
        Proof::Owner => 0,
        Proof::Signed => 1,
    }
}

async fn remember_handle(
    connection: &mut PgConnection,
    handle: &str,
    did: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO handle_past (handle, did, until) VALUES ($1, $2, $3) \
         ON CONFLICT (handle) DO UPDATE SET did = excluded.did, until = excluded.until",
    )
    .bind(handle)
    .bind(did)
    .bind(micros(now))
    .execute(connection)
    .await?;
    Ok(())
}
