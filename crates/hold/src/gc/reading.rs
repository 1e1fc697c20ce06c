//! Reading accounts: which manifests each has, and what they name.
//!
//! Keeping needs a hint, deleting a proof. Names are added as they are seen, and taken away only when an account that was read
//! whole, at one revision, proves with its signature that the manifest is gone. An account that cannot be read keeps all it ever
//! named. One that may push, or was never read whole, also holds up the removal of everything that was condemned since it was read last.

use std::collections::{HashMap, HashSet};

use atcr_atproto::lexicon::manifest;
use atcr_atproto::syntax::{Did, RecordKey, Tid};
use atcr_hold_pds::RepoError;
use atcr_oci::Digest;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde_json::Value;

use super::ports::{Account, AccountState, KnownManifest, ListedManifest, StoredRun, Unreadable};
use super::report::RunState;
use super::{GcError, Inner};
use crate::blobs::SessionsError;

/// Accounts read at once.
const ACCOUNTS_AT_ONCE: usize = 4;
/// Manifests of one account whose bytes are read at once.
const BYTES_AT_ONCE: usize = 4;
/// Times that an account is listed because it changed meanwhile.
const TRIES: u32 = 3;
/// Pages of one account; a manifest each, if its server makes fun of us.
const MAX_PAGES: u32 = 100_000;
/// Records of one page of the hold's own.
pub(super) const PAGE: u32 = 1000;
/// An account that lacks so many manifests, and more than half of them, may have been reset.
const MANY_GONE: usize = 20;
/// Digests taken of one manifest.
const MAX_NAMES: usize = 100_000;

/// What reading an account came to.
enum Outcome {
    Unchanged(Tid),
    Whole(Tid),
    Frozen(String),
}

/// How reading an account went.
pub(super) enum Reading {
    /// All its manifests were read, or none changed, in a reading that began at this uptime.
    Whole { since: u64, is_unchanged: bool },
    /// Not, and why; `is_over` if it has not been there for so long that it cannot have pushed meanwhile.
    NotRead { reason: String, is_over: bool },
}

impl Reading {
    fn not_read(reason: String) -> Self {
        Self::NotRead {
            reason,
            is_over: false,
        }
    }
}

/// Why an account was not read.
enum Failure {
    Account(Unreadable),
    Table(SessionsError),
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self::Account(error)
    }
}

impl From<SessionsError> for Failure {
    fn from(error: SessionsError) -> Self {
        Self::Table(error)
    }
}

impl Inner {
    /// Reads every account that was not read since the run began. Returns the uptime up to which condemnations can be carried out: readings
    /// that may have missed a name began before it.
    pub(super) async fn read_accounts(&self, run: &mut StoredRun) -> Result<u64, GcError> {
        let members = self.note_everybody().await?;
        for account in self.table.accounts().await? {
            if account.state == AccountState::New {
                self.import_layers(&account).await?;
            }
        }
        run.report.accounts = super::AccountsRead::default();
        let accounts = self.table.accounts().await?;
        let mut done = 0;
        let mut readings = stream::iter(accounts)
            .map(|account| {
                let is_member = members.contains(&account.did);
                self.read_unless_done(account, run.since, is_member).boxed()
            })
            .buffer_unordered(ACCOUNTS_AT_ONCE);
        let mut horizon = u64::MAX;
        let mut report = super::AccountsRead::default();
        loop {
            // Names that were noted by then are noted; the account is read again.
            let next = self.stop.run_until_cancelled(readings.next()).await;
            let Some((account, read)) = next.ok_or(GcError::Stopping)? else {
                break;
            };
            done += 1;
            self.at(run.id, RunState::Reading, done);
            let did = &account.did;
            let (reason, is_over) = match read {
                None if account.released => {
                    report.released += 1;
                    continue;
                }
                None => {
                    report.read += 1;
                    horizon = horizon.min(account.read_since.unwrap_or(0));
                    continue;
                }
                Some(outcome) => match outcome? {
                    Reading::Whole { since, is_unchanged } => {
                        let count = if is_unchanged {
                            &mut report.unchanged
                        } else {
                            &mut report.read
                        };
                        *count += 1;
                        horizon = horizon.min(since);
                        continue;
                    }
                    Reading::NotRead { .. } if account.released => {
                        report.released += 1;
                        continue;
                    }
                    Reading::NotRead { reason, is_over } => (reason, is_over),
                },
            };
            tracing::warn!(%did, reason, "an account's manifests were not read; what it ever named stays");
            report.not_read(did, reason);
            if holds_up(&account, is_over) {
                report.holds_up(did);
                horizon = horizon.min(account.read_since.unwrap_or(0));
            }
        }
        drop(readings);
        run.report.accounts = report;
        Ok(horizon.min(self.uptime.now()))
    }

    /// Reads an account, unless it was read since the uptime `since`, or the captain released it and it is no member. A member that can be
    /// read is released no longer.
    async fn read_unless_done(
        &self,
        account: Account,
        since: u64,
        is_member: bool,
    ) -> (Account, Option<Result<Reading, GcError>>) {
        let is_released = account.released && !is_member;
        if is_released || account.read_since.is_some_and(|read| read > since) {
            return (account, None);
        }
        let outcome = self.read_and_settle(&account).await;
        (account, Some(outcome))
    }

    async fn read_and_settle(&self, account: &Account) -> Result<Reading, GcError> {
        let reading = self.read_and_note(&account.did).await?;
        if let Reading::Whole { since, .. } = reading {
            if account.released {
                self.table
                    .note_members(std::slice::from_ref(&account.did), true)
                    .await?;
            }
            // What was promised to it before it left is named by now, and was read.
            let left_before = since.saturating_sub(self.options.longest_push.as_secs());
            self.table.settle_leaver(account.id, left_before).await?;
            self.forget_noted(&account.did);
        }
        Ok(reading)
    }

    /// Reads an account and writes down how it went.
    pub(super) async fn read_and_note(&self, did: &Did) -> Result<Reading, GcError> {
        // Of two at once, the one that began earlier could write down a revision that lacks what the other one found.
        let _reading = self.readings.lock(did).await;
        let Some(account) = &self.table.account(did).await? else {
            return Ok(Reading::not_read("it is not known here".to_owned()));
        };
        let (since, outcome) = self.read_account(account).await;
        let (rev, is_unchanged) = match outcome {
            Ok(Outcome::Unchanged(rev)) => (rev, true),
            Ok(Outcome::Whole(rev)) => (rev, false),
            Ok(Outcome::Frozen(reason)) => {
                self.not_read(account, AccountState::Frozen, None, &reason)
                    .await?;
                return Ok(Reading::not_read(reason));
            }
            Err(Failure::Table(error)) => return Err(error.into()),
            Err(Failure::Account(error @ Unreadable::Gone(_))) => {
                let reason = error.to_string();
                let gone_since = account.gone_since.unwrap_or(since);
                self.not_read(account, AccountState::Gone, Some(gone_since), &reason)
                    .await?;
                return Ok(Reading::NotRead {
                    reason,
                    // A notice that was on its way has come or will not come.
                    is_over: since.saturating_sub(gone_since) >= self.options.grace.as_secs(),
                });
            }
            Err(Failure::Account(error)) => {
                let reason = error.to_string();
                self.not_read(account, AccountState::Unreadable, None, &reason)
                    .await?;
                return Ok(Reading::not_read(reason));
            }
        };
        let read = Some((&rev, since));
        self.table
            .account_outcome(account.id, AccountState::Read, read, None, None)
            .await?;
        Ok(Reading::Whole { since, is_unchanged })
    }

    async fn not_read(
        &self,
        account: &Account,
        state: AccountState,
        gone_since: Option<u64>,
        reason: &str,
    ) -> Result<(), SessionsError> {
        self.table
            .account_outcome(account.id, state, None, gone_since, Some(reason))
            .await
    }

    /// What the account's layer records name was named once.
    async fn import_layers(&self, account: &Account) -> Result<(), GcError> {
        let mut after: Option<RecordKey> = None;
        loop {
            let names = self.repo.layer_names(&account.did, PAGE, after.as_ref()).await?;
            let Some(last) = names.last() else { break };
            after = Some(last.rkey.clone());
            let mut by_manifest: HashMap<String, Vec<Digest>> = HashMap::new();
            for name in names {
                if let (Some(rkey), Ok(digest)) = (name.manifest.rkey(), name.digest.parse()) {
                    by_manifest.entry(rkey.to_string()).or_default().push(digest);
                }
            }
            for (rkey, digests) in by_manifest {
                self.table
                    .add_names(account.id, &rkey, "", &digests, false)
                    .await?;
            }
        }
        self.table
            .account_outcome(account.id, AccountState::Unread, None, None, None)
            .await?;
        Ok(())
    }

    /// Reads one account whole, with the uptime when the reading began.
    async fn read_account(&self, account: &Account) -> (u64, Result<Outcome, Failure>) {
        let mut since = self.uptime.now();
        for _ in 0..TRIES {
            since = self.uptime.now();
            match self.read_at_one_rev(account).await {
                Ok(None) => {}
                Ok(Some(outcome)) => return (since, Ok(outcome)),
                Err(error) => return (since, Err(error)),
            }
        }
        let reason = "the account changed each time it was read".to_owned();
        (since, Err(Unreadable::Failed(reason).into()))
    }

    /// `None` if the account moved on while it was read.
    async fn read_at_one_rev(&self, account: &Account) -> Result<Option<Outcome>, Failure> {
        let did = &account.did;
        let rev = self.reader.rev(did).await?;
        let before = account.rev.as_ref();
        if before == Some(&rev) {
            return Ok(Some(Outcome::Unchanged(rev)));
        }
        if !account.accepted && before.is_some_and(|before| rev < *before) {
            return Ok(Some(Outcome::Frozen(format!(
                "its server has an older revision than before: {rev}"
            ))));
        }
        let known = self.table.manifests(account.id).await?;
        let mut listed = HashSet::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = self.reader.page(did, cursor.as_deref()).await?;
            self.note_page(account, &known, &page.manifests).await?;
            listed.extend(page.manifests.into_iter().map(|manifest| manifest.rkey));
            match page.cursor {
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                Some(_) => return Err(Unreadable::Failed("its list goes round in circles".to_owned()).into()),
                None => {
                    cursor = None;
                    break;
                }
            }
        }
        if cursor.is_some() {
            return Err(Unreadable::Failed("it has too many manifests".to_owned()).into());
        }
        if self.reader.rev(did).await? != rev {
            return Ok(None);
        }
        let missing: Vec<&String> = known.keys().filter(|rkey| !listed.contains(*rkey)).collect();
        if !account.accepted && missing.len() >= MANY_GONE && missing.len() * 2 > known.len() {
            return Ok(Some(Outcome::Frozen(format!(
                "{} of {} manifests are gone at once",
                missing.len(),
                known.len()
            ))));
        }
        for rkey in missing {
            // A server that does not answer now is asked again, with the whole account: it would not be at this revision.
            if self.reader.is_absent(did, rkey, &rev).await? {
                self.table.drop_manifest(account.id, did, rkey).await?;
            } else {
                tracing::warn!(%did, rkey, "a manifest is not listed, and is not proven gone either; it stays");
            }
        }
        Ok(Some(Outcome::Whole(rev)))
    }

    /// Adds what the manifests name. Their bytes are read once: what they name never changes, and records leave things out.
    async fn note_page(
        &self,
        account: &Account,
        known: &HashMap<String, KnownManifest>,
        manifests: &[ListedManifest],
    ) -> Result<(), Failure> {
        let is_known =
            |manifest: &&ListedManifest| known.get(&manifest.rkey).is_some_and(|known| known.is_complete);
        let unknown: Vec<ListedManifest> = manifests
            .iter()
            .filter(|manifest| !is_known(manifest))
            .cloned()
            .collect();
        let mut read = stream::iter(unknown)
            .map(|manifest| self.names_of(&account.did, manifest).boxed())
            .buffer_unordered(BYTES_AT_ONCE);
        while let Some(outcome) = read.next().await {
            let (manifest, names) = outcome?;
            self.table
                .add_names(account.id, &manifest.rkey, &manifest.repository, &names, true)
                .await?;
        }
        // The same record may be written for another repository.
        let moved: Vec<(String, String)> = manifests
            .iter()
            .filter(|manifest| {
                known
                    .get(&manifest.rkey)
                    .is_some_and(|known| known.repository != manifest.repository)
            })
            .map(|manifest| (manifest.rkey.clone(), manifest.repository.clone()))
            .collect();
        if !moved.is_empty() {
            self.table.set_repositories(account.id, &moved).await?;
        }
        Ok(())
    }

    async fn names_of(
        &self,
        did: &Did,
        manifest: ListedManifest,
    ) -> Result<(ListedManifest, Vec<Digest>), Unreadable> {
        let mut names = manifest.digests.clone();
        if let Some(cid) = &manifest.bytes {
            let bytes = self.reader.bytes(did, cid).await?;
            if let Ok(value) = serde_json::from_slice(&bytes) {
                digests_in(&value, &mut names);
            }
        }
        Ok((manifest, names))
    }

    /// Layer records of manifests that are proven gone are deleted: they count in quotas, and name nothing.
    pub(super) async fn reconcile(&self, run: &mut StoredRun) -> Result<(), GcError> {
        for account in self.table.accounts().await? {
            self.require_not_stopping()?;
            let is_read = account.state == AccountState::Read
                && account.read_since.is_some_and(|since| since >= run.since);
            let (true, Some(rev)) = (is_read, &account.rev) else {
                continue;
            };
            let known = self.table.manifests(account.id).await?;
            let mut proven: HashMap<String, bool> = HashMap::new();
            let mut after: Option<RecordKey> = None;
            loop {
                let names = self.repo.layer_names(&account.did, PAGE, after.as_ref()).await?;
                let Some(last) = names.last() else { break };
                after = Some(last.rkey.clone());
                let mut gone = Vec::new();
                for name in names {
                    let Some(rkey) = name.manifest.rkey().map(|rkey| rkey.to_string()) else {
                        continue;
                    };
                    let is_manifest = manifest::digest_from_rkey(&rkey).is_some();
                    if !is_manifest || known.contains_key(&rkey) {
                        continue;
                    }
                    // Asked again: it may have been pushed again since it was found gone.
                    let is_gone = match proven.get(&rkey) {
                        Some(is_gone) => *is_gone,
                        None => {
                            let absent = self.reader.is_absent(&account.did, &rkey, rev).await;
                            let is_gone = matches!(absent, Ok(true));
                            proven.insert(rkey.clone(), is_gone);
                            is_gone
                        }
                    };
                    if is_gone {
                        gone.push(name.rkey);
                    }
                }
                run.report.records_deleted += self.delete_layers(gone).await?;
            }
        }
        Ok(())
    }

    async fn delete_layers(&self, records: Vec<RecordKey>) -> Result<u64, RepoError> {
        use atcr_atproto::lexicon::layer::LayerRecord;
        use atcr_hold_pds::writer::limits::MAX_OPS;
        use atcr_hold_pds::{RecordWrite, Urgency};
        let count = records.len() as u64;
        for records in records.chunks(MAX_OPS) {
            let writes = records
                .iter()
                .map(|rkey| RecordWrite::delete::<LayerRecord>(rkey.clone()))
                .collect::<Result<Vec<_>, _>>()?;
            self.repo.write_by(writes, Urgency::Background).await?;
        }
        Ok(count)
    }
}

/// Whether an account that was not read may have named, since it was read last, what is condemned; `is_over` if it has not been there for so
/// long that it cannot have pushed meanwhile.
fn holds_up(account: &Account, is_over: bool) -> bool {
    let is_never_read = account.rev.is_none();
    !account.erased && (is_never_read || account.may_push && !is_over)
}

/// Every digest in a manifest or its record, whatever the field is called.
pub(crate) fn digests_in(value: &Value, found: &mut Vec<Digest>) {
    if found.len() >= MAX_NAMES {
        return;
    }
    match value {
        Value::String(text) => found.extend(text.parse::<Digest>()),
        Value::Array(values) => values.iter().for_each(|value| digests_in(value, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                found.extend(name.parse::<Digest>());
                digests_in(value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
