//! The owner's text about a repository: the record `io.atcr.repo.page` in the owner's account.

use atcr_atproto::lexicon::Record as _;
use atcr_atproto::lexicon::repo_page::{self, RepoPageRecord};
use atcr_atproto::pds::{MAX_REQUEST_BYTES, Write};
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_oci::{Algorithm, Digest};
use atcr_registry::access::Push;
use atcr_registry::account::ports::CommitOutcome;
use atcr_registry::error::RegistryError;

use super::Manage;
use crate::browse::Owner;

/// Longest text, in bytes: the lexicon's bound.
pub const MAX_TEXT: usize = 100_000;

/// Times a text is written anew because the account was written to meanwhile; the last time regardless.
const ATTEMPTS: usize = 4;

/// What a request has besides its writes, in bytes.
const REQUEST_FRAME: usize = 512;

/// A text as it is in the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnText {
    /// Markdown; empty when there is none.
    pub text: String,
    /// What changes with the text: who saves another one says which one it replaces.
    pub version: String,
}

impl OwnText {
    fn of(record: Option<&RepoPageRecord>) -> Self {
        let text = record.and_then(|record| record.description.clone());
        let text = text.unwrap_or_default();
        let version = Digest::of(Algorithm::Sha256, text.as_bytes()).hex().to_owned();
        Self { text, version }
    }
}

/// What came of saving a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is in the account.
    Done,
    /// The account has another text than the one it was to replace.
    Conflict(OwnText),
    /// It is longer than [`MAX_TEXT`], or than account servers take in one request.
    TooLong,
}

impl Manage {
    /// The text about the repository, from the owner's account server.
    ///
    /// # Errors
    /// The PDS's.
    pub async fn own_text(&self, owner: &Owner, repository: &str) -> Result<OwnText, RegistryError> {
        let found = self.own.find_page(&owner.identity, &key(repository)?).await?;
        Ok(OwnText::of(found.as_ref()))
    }

    /// Saves `text` in place of the one of `version`. Everything else that the record has stays.
    ///
    /// # Errors
    /// [`AccessError::Denied`](atcr_registry::error::AccessError::Denied) for anyone but the owner, [`AccessError::SessionEnded`](atcr_registry::error::AccessError::SessionEnded); the PDS's.
    pub async fn save_text(
        &self,
        visitor: &Did,
        owner: &Owner,
        repository: &str,
        text: &str,
        version: &str,
    ) -> Result<Saved, RegistryError> {
        let grant = self
            .browse
            .grant::<Push>(Some(visitor), owner, repository)
            .await?;
        if text.len() > MAX_TEXT {
            return Ok(Saved::TooLong);
        }
        let rkey = key(repository)?;
        for attempt in 1..=ATTEMPTS {
            let head = self.records.head(&owner.identity).await?;
            let found = self.own.find_page(&owner.identity, &rkey).await?;
            let there = OwnText::of(found.as_ref());
            if there.text == text {
                return Ok(Saved::Done);
            }
            if there.version != version {
                return Ok(Saved::Conflict(there));
            }
            // A record that is not of its form is there all the same, and is replaced.
            let exists = found.is_some()
                || self
                    .own
                    .has_record(&owner.identity, RepoPageRecord::NSID, &rkey)
                    .await?;
            let write = self.page_write(&rkey, repository, found, exists, text)?;
            if write.request_bytes() + REQUEST_FRAME > MAX_REQUEST_BYTES {
                return Ok(Saved::TooLong);
            }
            let expected = head.as_ref().filter(|_| attempt < ATTEMPTS);
            let written = self
                .records
                .commit(grant.principal(), vec![write], expected)
                .await?;
            if let CommitOutcome::Committed(_) = written {
                break;
            }
        }
        Ok(Saved::Done)
    }

    fn page_write(
        &self,
        rkey: &RecordKey,
        repository: &str,
        found: Option<RepoPageRecord>,
        exists: bool,
        text: &str,
    ) -> Result<Write, RegistryError> {
        let now = self.clock.now_datetime();
        let mut record = found.unwrap_or_else(|| RepoPageRecord::new(repository, now.clone()));
        repository.clone_into(&mut record.repository);
        record.description = Some(text.to_owned()).filter(|text| !text.is_empty());
        record.updated_at = now;
        let value = record.to_value().map_err(|error| internal(&error))?;
        let collection = RepoPageRecord::NSID.to_owned();
        Ok(if exists {
            Write::Update {
                collection,
                rkey: rkey.clone(),
                value,
            }
        } else {
            Write::Create {
                collection,
                rkey: Some(rkey.clone()),
                value,
            }
        })
    }
}

fn key(repository: &str) -> Result<RecordKey, RegistryError> {
    repo_page::rkey(repository).map_err(|error| internal(&error))
}

fn internal(error: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Internal {
        what: error.to_string(),
    }
}
