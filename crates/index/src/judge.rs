//! What becomes of a batch's steps: each is judged by the state of its account, which the steps before it have changed already.

use std::collections::{BTreeSet, HashMap};

use atcr_atproto::syntax::Did;

use crate::IndexError;
use crate::change::{
    Applied, Batch, Change, Coverage, IdentityStep, Proof, RecordsStep, StatusStep, Step, TakedownStep,
};
use crate::row;
use crate::row::{Answer, Row};
use crate::stored::{cid_bytes, coverage_code, micros, proof_code, status_code};

/// An account as it will be after the batch.
#[derive(Clone, Debug)]
struct Account {
    id: i64,
    did: String,
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
    changed: bool,
    /// Its repositories were shown before the batch.
    was_visible: bool,
    /// Another handle than before: search finds its repositories by it.
    renamed: bool,
}

/// The columns of an account, of `account a`, as [`Accounts::of`] takes them.
pub const COLUMNS: &str = "a.id, a.did, a.handle, a.pds, a.signing_key, a.status, a.status_at, a.taken_down, a.rev, a.head_seen, a.data, \
     a.proof, a.coverage";

impl Account {
    fn of(mut answer: Answer) -> Result<Self, IndexError> {
        let mut account = Self {
            id: answer.integer()?,
            did: answer.text()?,
            handle: answer.text()?,
            pds: answer.text()?,
            signing_key: answer.text()?,
            status: answer.integer()?,
            status_at: answer.integer()?,
            taken_down: answer.flag()?,
            rev: answer.text()?,
            head_seen: answer.text()?,
            data: answer.bytes()?,
            proof: answer.integer()?,
            coverage: answer.integer()?,
            changed: false,
            was_visible: false,
            renamed: false,
        };
        account.was_visible = account.is_visible();
        Ok(account)
    }

    fn is_visible(&self) -> bool {
        self.status == 0 && !self.taken_down
    }

    /// Its number, and the columns that a batch may change, in the order of [`COLUMNS`].
    fn row(&self) -> Row {
        row![
            self.id,
            &self.handle,
            &self.pds,
            &self.signing_key,
            self.status,
            self.status_at,
            self.taken_down,
            &self.rev,
            &self.head_seen,
            &self.data,
            self.proof,
            self.coverage
        ]
    }
}

/// A step of records that is written: its account's number and its place in the batch.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'b> {
    /// The account.
    pub account: i64,
    /// The revision that it is at afterwards.
    pub rev: &'b str,
    /// The account had never been listed before: its tags have no history yet.
    pub is_first: bool,
    /// What changes.
    pub changes: &'b [Change],
}

/// What a step comes to.
#[derive(Debug)]
pub enum Judged<'b> {
    /// No more than is known here.
    So(Applied),
    /// The account has another handle: it is written, and other rows have to follow.
    Renamed(Renaming),
    /// The takedowns in the database decide; [`Accounts::take_down`] says so here.
    Takedown(&'b TakedownStep),
}

/// A handle that went from one account to another.
#[derive(Debug)]
pub struct Renaming {
    /// The account that has it now.
    pub account: i64,
    /// The handle; empty for none. It is taken from an account outside of the batch, too.
    pub handle: String,
    /// Handles that were given up within the batch, and whose each was.
    pub past: Vec<(String, String)>,
}

/// Rows of accounts that are written.
#[derive(Debug)]
pub struct Changed {
    /// The numbers of those that lose a handle. They go first: a handle is one account's at every moment.
    pub freed: Vec<Row>,
    /// Number, handle, PDS, signing key, status, its time, takedown, revision, head, tree, proof, coverage.
    pub rows: Vec<Row>,
}

/// The accounts of a batch.
#[derive(Debug)]
pub struct Accounts {
    by_did: HashMap<String, Account>,
    dids: HashMap<i64, String>,
    /// Repositories whose takedown changed, by account and name.
    taken_down: Vec<(i64, String)>,
}

/// The accounts that a batch is about, each once.
pub fn dids(batch: &Batch) -> BTreeSet<&str> {
    batch.steps.iter().map(|step| did_of(step).as_str()).collect()
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
    /// The accounts of a batch, from their [`COLUMNS`].
    pub fn of(answers: Vec<Answer>) -> Result<Self, IndexError> {
        let accounts = answers.into_iter().map(Account::of);
        let by_did = accounts
            .map(|account| account.map(|account| (account.did.clone(), account)))
            .collect::<Result<HashMap<_, _>, _>>()?;
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
    pub fn did(&self, id: i64) -> &str {
        self.dids.get(&id).map_or("", String::as_str)
    }

    /// Whether an account's repositories and stars were visible before, and are now; `None` for an account that is not of the batch.
    pub fn visibility(&self, id: i64) -> Option<(bool, bool)> {
        let account = self.by_did.get(self.dids.get(&id)?)?;
        Some((account.was_visible, account.is_visible()))
    }

    /// Accounts that became visible or ceased to be.
    pub fn turned(&self) -> Vec<i64> {
        self.picked(|account| account.was_visible != account.is_visible())
    }

    /// Accounts with another handle.
    pub fn renamed(&self) -> Vec<i64> {
        self.picked(|account| account.renamed)
    }

    fn picked(&self, is_picked: impl Fn(&Account) -> bool) -> Vec<i64> {
        self.by_did
            .values()
            .filter(|account| is_picked(account))
            .map(|account| account.id)
            .collect()
    }

    /// Judges a step. What it changes counts for those that follow; changes of records that are to be written go to `accepted`.
    pub fn judge<'b>(&mut self, step: &'b Step, accepted: &mut Vec<Accepted<'b>>) -> Judged<'b> {
        match step {
            Step::Records(step) => Judged::So(self.judge_records(step, accepted)),
            Step::Identity(step) => self.identify(step),
            Step::Status(step) => Judged::So(self.set_status(step)),
            Step::Takedown(step) => Judged::Takedown(step),
            Step::Distrust { did } => Judged::So(self.distrust(did)),
            Step::HeadSeen { did, rev } => Judged::So(self.see_head(did, rev.as_str())),
        }
    }

    fn get(&mut self, did: &Did) -> Option<&mut Account> {
        self.by_did.get_mut(did.as_str())
    }

    fn judge_records<'b>(&mut self, step: &'b RecordsStep, accepted: &mut Vec<Accepted<'b>>) -> Applied {
        let Some(account) = self.get(&step.did) else {
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

    fn identify(&mut self, step: &IdentityStep) -> Judged<'static> {
        let handle = step
            .handle
            .as_ref()
            .map_or(String::new(), |handle| handle.as_str().to_lowercase());
        let pds = step.pds.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = step.signing_key.clone().unwrap_or_default();
        let Some(account) = self.get(&step.did) else {
            return Judged::So(Applied::Known);
        };
        if (&account.handle, &account.pds, &account.signing_key) == (&handle, &pds, &key) {
            return Judged::So(Applied::Known);
        }
        let before = std::mem::replace(&mut account.handle, handle.clone());
        account.pds = pds;
        account.signing_key = key;
        account.changed = true;
        if before == handle {
            return Judged::So(Applied::Done);
        }
        account.renamed = true;
        let id = account.id;
        let mut past = Vec::new();
        if !before.is_empty() {
            past.push((before, step.did.to_string()));
        }
        if !handle.is_empty() {
            self.free_handle(&handle, id, &mut past);
        }
        Judged::Renamed(Renaming {
            account: id,
            handle,
            past,
        })
    }

    /// Takes `handle` from the account of the batch that had it, since a handle is one account's.
    fn free_handle(&mut self, handle: &str, id: i64, past: &mut Vec<(String, String)>) {
        for account in self.by_did.values_mut() {
            if account.id != id && account.handle == handle {
                account.handle.clear();
                account.changed = true;
                account.renamed = true;
                past.push((handle.to_owned(), account.did.clone()));
            }
        }
    }

    fn set_status(&mut self, step: &StatusStep) -> Applied {
        let at = micros(step.at);
        let Some(account) = self.get(&step.did) else {
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

    /// The takedown is written: the account is taken down as a whole now, or is not.
    pub fn take_down(&mut self, step: &TakedownStep, is_taken_down: bool) {
        let Some(account) = self.by_did.get_mut(step.did.as_str()) else {
            return;
        };
        match step.repository.as_deref() {
            Some(repository) if !repository.is_empty() => {
                self.taken_down.push((account.id, repository.to_owned()));
            }
            _ => {
                account.taken_down = is_taken_down;
                account.changed = true;
            }
        }
    }

    fn distrust(&mut self, did: &Did) -> Applied {
        match self.get(did) {
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
        match self.get(did) {
            Some(account) if account.head_seen.as_str() < rev => {
                rev.clone_into(&mut account.head_seen);
                account.changed = true;
                Applied::Done
            }
            _ => Applied::Known,
        }
    }

    /// What is written of them.
    pub fn changed(&self) -> Changed {
        let changed = self.by_did.values().filter(|account| account.changed);
        let mut changed: Vec<_> = changed.collect();
        changed.sort_by_key(|account| !account.handle.is_empty());
        Changed {
            freed: changed
                .iter()
                .filter(|account| account.renamed)
                .map(|account| row![account.id])
                .collect(),
            rows: changed.into_iter().map(Account::row).collect(),
        }
    }

    /// Repositories whose takedown changed, by account and name.
    pub fn taken_down_repositories(&self) -> &[(i64, String)] {
        &self.taken_down
    }

    /// The accounts whose repositories are touched as a whole.
    pub fn with_all_repositories(&self) -> BTreeSet<i64> {
        self.turned().into_iter().chain(self.renamed()).collect()
    }
}
