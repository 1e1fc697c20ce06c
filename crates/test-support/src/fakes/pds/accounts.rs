//! Accounts, their records and revisions, as tests see and change them.

use atcr_atproto::data_model;
use axum::body::Bytes;
use serde_json::Value;

use super::{Account, FakePds, Inner, Shared};

/// An account's repository at one moment.
#[derive(Clone)]
pub struct Snapshot(Account);

impl FakePds {
    /// Makes an account and returns its DID.
    pub fn add_account(&self, handle: &str, password: &str) -> String {
        let mut inner = self.inner();
        // 24 characters of base32, as a PLC identifier has.
        let did = format!(
            "did:plc:{:a>24}",
            handle.replace(|c: char| !c.is_ascii_lowercase(), "")
        );
        let account = Account {
            handle: handle.to_owned(),
            password: password.to_owned(),
            ..Account::default()
        };
        inner.accounts.insert(did.clone(), account);
        self.shared.commit(&mut inner, &did);
        did
    }

    /// Gives the account another handle; nobody has the old one then.
    pub fn rename(&self, did: &str, handle: &str) {
        if let Some(account) = self.inner().accounts.get_mut(did) {
            handle.clone_into(&mut account.handle);
        }
    }

    /// The record under a key.
    #[must_use]
    pub fn record(&self, did: &str, collection: &str, rkey: &str) -> Option<Value> {
        self.inner()
            .accounts
            .get(did)?
            .collections
            .get(collection)?
            .get(rkey)
            .cloned()
    }

    /// The keys of a collection, in order.
    #[must_use]
    pub fn rkeys(&self, did: &str, collection: &str) -> Vec<String> {
        let inner = self.inner();
        let records = inner
            .accounts
            .get(did)
            .and_then(|account| account.collections.get(collection));
        records
            .map(|records| records.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Writes a record as another client of the account would.
    pub fn put_record(&self, did: &str, collection: &str, rkey: &str, value: Value) {
        let mut inner = self.inner();
        if let Some(account) = inner.accounts.get_mut(did) {
            account
                .collections
                .entry(collection.to_owned())
                .or_default()
                .insert(rkey.to_owned(), value);
        }
        self.shared.commit(&mut inner, did);
    }

    /// Deletes a record as another client of the account would.
    pub fn delete_record(&self, did: &str, collection: &str, rkey: &str) {
        let mut inner = self.inner();
        if let Some(records) = inner
            .accounts
            .get_mut(did)
            .and_then(|account| account.collections.get_mut(collection))
        {
            records.remove(rkey);
        }
        self.shared.commit(&mut inner, did);
    }

    /// The account's document names another PDS from now on.
    pub fn move_account(&self, did: &str, pds: &str) {
        self.inner().homes.insert(did.to_owned(), pds.to_owned());
    }

    /// The newest revision of an account.
    #[must_use]
    pub fn rev(&self, did: &str) -> Option<String> {
        self.inner()
            .accounts
            .get(did)?
            .head
            .as_ref()
            .map(|(_, rev)| rev.clone())
    }

    /// The account's repository as it is now, to be gone back to.
    #[must_use]
    pub fn snapshot(&self, did: &str) -> Option<Snapshot> {
        self.inner().accounts.get(did).cloned().map(Snapshot)
    }

    /// Takes the account back to an older state: records, blobs and revision are those of then, as after a backup was restored or
    /// when a PDS serves an old commit on purpose.
    pub fn roll_back(&self, did: &str, to: &Snapshot) {
        self.inner().accounts.insert(did.to_owned(), to.0.clone());
    }

    /// The account's newest revision is called `rev` from now on, until its next commit.
    pub fn set_rev(&self, did: &str, rev: &str) {
        if let Some(account) = self.inner().accounts.get_mut(did)
            && let Some((_, newest)) = &mut account.head
        {
            rev.clone_into(newest);
        }
    }

    /// Uploads a blob as another client of the account would.
    pub fn put_blob(&self, did: &str, kind: &str, bytes: Bytes) {
        let cid = data_model::cid_of(data_model::RAW, &bytes).to_string();
        if let Some(account) = self.inner().accounts.get_mut(did) {
            account.blobs.insert(cid, (kind.to_owned(), bytes));
        }
    }

    /// Puts other bytes in place of a blob.
    pub fn damage_blob(&self, did: &str, cid: &str, bytes: impl Into<Bytes>) {
        if let Some((_, stored)) = self
            .inner()
            .accounts
            .get_mut(did)
            .and_then(|account| account.blobs.get_mut(cid))
        {
            *stored = bytes.into();
        }
    }
}

impl Shared {
    /// A new commit of an account.
    pub(super) fn commit(&self, inner: &mut Inner, did: &str) -> (String, String) {
        let rev = self.tids.next_tid().to_string();
        let cid = data_model::cid_of(data_model::RAW, rev.as_bytes()).to_string();
        if let Some(account) = inner.accounts.get_mut(did) {
            account.head = Some((cid.clone(), rev.clone()));
        }
        (cid, rev)
    }
}
