//! Reading accounts: which manifests each has, and what they name.
//!
//! Keeping needs a hint, deleting a proof. Names are added as they are seen, and taken away only when an account that was read
//! whole, at one revision, proves with its signature that the manifest is gone. An account that cannot be read keeps all it ever
//! named. One that may push, or was never read whole, also holds up the removal of everything that was condemned since it was read last.

use std::collections::HashMap;
use std::sync::PoisonError;

use atcr_atproto::syntax::{Did, RecordKey, Tid};
use atcr_oci::Digest;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::ports::{Account, AccountState, StoredRun, Unreadable};
use super::report::RunState;
use super::{GcError, Inner};
use crate::blobs::SessionsError;

/// Accounts read at once.
const ACCOUNTS_AT_ONCE: usize = 4;
/// Records of one page of the hold's own.
pub(super) const PAGE: u32 = 1000;

/// What reading an account came to.
pub(super) enum Outcome {
    Unchanged(Tid),
    Whole(Tid),
    /// It was listed whole and its names are known, but too many of its manifests are gone to be believed.
    Doubted(String),
    Frozen(String),
}

/// How reading an account went.
pub(super) enum Reading {
    /// All its manifests were read, or none changed, in a reading that began at this uptime.
    Whole { since: u64, is_unchanged: bool },
    /// All its manifests were read, and it is not believed that the others are gone, and why.
    Doubted { since: u64, reason: String },
    /// Not, and why; `is_over` if it has not been there for so long that it cannot have pushed meanwhile.
    NotRead { reason: String, is_over: bool },
}

impl Reading {
    pub(super) fn not_read(reason: String) -> Self {
        Self::NotRead {
            reason,
            is_over: false,
        }
    }
}

/// Why an account was not read.
pub(super) enum Failure {
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

/// An account that is being read.
struct NowReading<'a> {
    inner: &'a Inner,
    did: Did,
}

impl Drop for NowReading<'_> {
    fn drop(&mut self) {
        let mut reading = self.inner.reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.remove(&self.did);
    }
}

impl Inner {
    /// Reads every account that was not read since the run began. Returns the uptime up to which condemnations can be carried out: readings
    /// that may have missed a name began before it.
    pub(super) async fn read_accounts(&self, run: &mut StoredRun) -> Result<u64, GcError> {
        let members = self.note_everybody().await?;
        for account in self.table.accounts().await? {
            if account.state == AccountState::New {
                let _reading = self.readings.lock(&account.did).await;
                self.known_account(&account.did).await?;
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
                    Reading::NotRead { .. } | Reading::Doubted { .. } if account.released => {
                        report.released += 1;
                        continue;
                    }
                    Reading::Doubted { since, reason } => {
                        tracing::warn!(%did, reason, "what an account does not have any more is not believed to be gone; it stays");
                        report.not_read(did, reason);
                        horizon = horizon.min(since);
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
        // What is doubted is said by each run.
        let is_believed = account.state != AccountState::Frozen;
        if is_released || is_believed && account.read_since.is_some_and(|read| read > since) {
            return (account, None);
        }
        let reading = self.now_reading(&account.did);
        let outcome = self.read_and_settle(&account).await;
        drop(reading);
        (account, Some(outcome))
    }

    async fn read_and_settle(&self, account: &Account) -> Result<Reading, GcError> {
        let reading = self.read_and_note(&account.did).await?;
        if let Reading::Whole { since, .. } | Reading::Doubted { since, .. } = reading {
            if account.released && matches!(reading, Reading::Whole { .. }) {
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
        let Some(account) = &self.known_account(did).await? else {
            return Ok(Reading::not_read("it is not known here".to_owned()));
        };
        let (since, outcome) = self.read_account(account).await;
        let (rev, is_unchanged) = match outcome {
            Ok(Outcome::Unchanged(rev)) => (rev, true),
            Ok(Outcome::Whole(rev)) => (rev, false),
            Ok(Outcome::Doubted(reason)) => {
                let (state, said) = (AccountState::Frozen, Some(reason.as_str()));
                self.table
                    .account_outcome(account.id, state, None, Some(since), None, said)
                    .await?;
                return Ok(Reading::Doubted { since, reason });
            }
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
        let state = AccountState::Read;
        self.table
            .account_outcome(account.id, state, Some(&rev), Some(since), None, None)
            .await?;
        Ok(Reading::Whole { since, is_unchanged })
    }

    /// Shows that the account is being read, until what it returns is dropped.
    fn now_reading(&self, did: &Did) -> NowReading<'_> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.insert(did.clone());
        NowReading {
            inner: self,
            did: did.clone(),
        }
    }

    async fn not_read(
        &self,
        account: &Account,
        state: AccountState,
        gone_since: Option<u64>,
        reason: &str,
    ) -> Result<(), SessionsError> {
        self.table
            .account_outcome(account.id, state, None, None, gone_since, Some(reason))
            .await
    }

    /// The account, for whoever has its turn to read it. Before it is read in any way, what its layer records name is noted.
    async fn known_account(&self, did: &Did) -> Result<Option<Account>, GcError> {
        let account = self.table.account(did).await?;
        let Some(new) = account
            .as_ref()
            .filter(|account| account.state == AccountState::New)
        else {
            return Ok(account);
        };
        self.import_layers(new).await?;
        Ok(self.table.account(did).await?)
    }

    /// What the account's layer records name was named once.
    async fn import_layers(&self, account: &Account) -> Result<(), GcError> {
        let mut after: Option<RecordKey> = None;
        loop {
            let names = self.repo.layer_names(&account.did, PAGE, after.as_ref()).await?;
            let Some(last) = names.last() else { break };
            after = Some(last.rkey.clone());
            self.table.mark_pushed(&account.did).await?;
            let mut by_manifest: HashMap<String, Vec<Digest>> = HashMap::new();
            for name in names {
                if let (Some(rkey), Ok(digest)) = (name.manifest.rkey(), name.digest.parse()) {
                    by_manifest.entry(rkey.to_string()).or_default().push(digest);
                }
            }
            for (rkey, digests) in by_manifest {
                self.table
                    .add_names(account.id, &rkey, "", &digests, None)
                    .await?;
            }
        }
        self.table
            .account_outcome(account.id, AccountState::Unread, None, None, None, None)
            .await?;
        Ok(())
    }
}

/// Whether an account that was not read may have named, since it was read last, what is condemned; `is_over` if it has not been there for so
/// long that it cannot have pushed meanwhile.
fn holds_up(account: &Account, is_over: bool) -> bool {
    let is_never_read = account.rev.is_none();
    account.pushed && !account.erased && (is_never_read || account.may_push && !is_over)
}
