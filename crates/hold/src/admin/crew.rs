//! The crew as the captain changes it. Every change is in the audit log before it is made.

use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::syntax::{Cid, Datetime, Did, Nsid, RecordKey};
use atcr_hold_pds::access::{Permission, Permissions};
use atcr_hold_pds::{CrewMember, HoldRepo, Precondition, RosterPage, RosterQuery};
use serde_json::Value;

use super::AdminError;
use super::accounts::Accounts;
use super::audit::AuditLog;
use super::sign_in::Captain;
use crate::administration::{Administration, AdministrationError, ManualWrite, Swap};
use crate::manifests::{Counted, Counts};
use crate::quota::Tiers;

/// The label of a member who has no other.
pub const DEFAULT_ROLE: &str = "member";
/// Members who are found by their handle at once: a search that finds more is narrowed.
const FOUND_BY_HANDLE: usize = 500;
/// Handles with a text that are read at once, and how often: the site also knows handles of accounts that are no members.
const HANDLES_AT_ONCE: u32 = 1000;
/// As [`HANDLES_AT_ONCE`].
const READS_OF_HANDLES: usize = 20;
/// Bytes of what is searched for.
const MAX_SEARCH: usize = 256;
/// Bytes of a tier or a role.
const MAX_LABEL: usize = 32;

/// What a member may do and has, as the captain sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The label.
    pub role: String,
    /// What the member may do.
    pub permissions: Permissions,
    /// The tier; `None` for a member who was there before there were tiers.
    pub tier: Option<String>,
}

impl Terms {
    /// Terms out of words.
    ///
    /// # Errors
    /// A sentence: a word that is no permission, none at all, or a label that is too long.
    pub fn of_words<'a>(
        role: &str,
        permissions: impl IntoIterator<Item = &'a str>,
        tier: &str,
    ) -> Result<Self, String> {
        let role = role.trim();
        let tier = tier.trim();
        for (label, name) in [(role, "role"), (tier, "tier")] {
            if label.len() > MAX_LABEL {
                return Err(format!("The {name} is longer than {MAX_LABEL} bytes."));
            }
            if label.chars().any(char::is_control) {
                return Err(format!("The {name} has characters that cannot be shown."));
            }
        }
        let mut granted = Vec::new();
        for word in permissions
            .into_iter()
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            let permission = Permission::parse(word).ok_or_else(|| {
                let shown: String = word.chars().take(40).collect();
                format!("“{shown}” is no permission: there are blob:read, blob:write and crew:admin.")
            })?;
            granted.push(permission);
        }
        let permissions = Permissions::from_iter(granted);
        if permissions.is_empty() {
            return Err("A member needs at least one permission.".to_owned());
        }
        Ok(Self {
            role: if role.is_empty() { DEFAULT_ROLE } else { role }.to_owned(),
            permissions,
            tier: (!tier.is_empty()).then(|| tier.to_owned()),
        })
    }

    /// Refuses a tier that the hold does not have.
    ///
    /// # Errors
    /// The sentence.
    pub fn check_tier(&self, tiers: &Tiers) -> Result<(), String> {
        match &self.tier {
            Some(name) if !tiers.all().iter().any(|tier| tier.name == *name) => {
                let known: Vec<&str> = tiers.all().iter().map(|tier| tier.name.as_str()).collect();
                Err(if known.is_empty() {
                    format!("There is no tier “{name}”: this hold has none.")
                } else {
                    format!("There is no tier “{name}”. There are {}.", known.join(", "))
                })
            }
            _ => Ok(()),
        }
    }

    /// The terms of a record. Words that this version does not know are left out.
    #[must_use]
    pub fn of_record(record: &CrewRecord) -> Self {
        Self {
            role: record.role.clone(),
            permissions: Permissions::from_words(record.permissions.iter().map(String::as_str)),
            tier: record.tier.clone(),
        }
    }

    /// In a line, for the audit log.
    #[must_use]
    pub fn in_words(&self) -> String {
        format!(
            "{}; {}; tier {}",
            self.role,
            self.permissions.to_words().join(" "),
            self.tier.as_deref().unwrap_or("none")
        )
    }
}

/// The crew, for the captain.
#[derive(Clone, Debug)]
pub struct CaptainsCrew {
    repo: HoldRepo,
    administration: Administration,
    accounts: Accounts,
    counts: Counts,
    audit: AuditLog,
}

impl CaptainsCrew {
    /// Changes records by `administration`, and notes that in `audit`.
    #[must_use]
    pub fn new(
        repo: HoldRepo,
        administration: Administration,
        accounts: Accounts,
        counts: Counts,
        audit: AuditLog,
    ) -> Self {
        Self {
            repo,
            administration,
            accounts,
            counts,
            audit,
        }
    }

    /// A page of the crew. `text` is part of a handle or a DID.
    ///
    /// # Returns
    /// The page, and whether there may be members with that text in their handle who were not looked for.
    ///
    /// # Errors
    /// The index's or the database's.
    pub async fn page(&self, text: &str, mut query: RosterQuery) -> Result<(RosterPage, bool), AdminError> {
        let text = text.trim().trim_start_matches('@');
        if text.len() > MAX_SEARCH {
            return Err(AdminError::Refused(
                "That is too long to be searched for.".to_owned(),
            ));
        }
        let mut is_cut = false;
        if !text.is_empty() {
            (query.or_members, is_cut) = self.members_with_handle(&text.to_lowercase()).await?;
            text.clone_into(&mut query.text);
        }
        Ok((self.repo.roster(&query).await?, is_cut))
    }

    /// Members whose handle has `text`, and whether there may be more.
    async fn members_with_handle(&self, text: &str) -> Result<(Vec<String>, bool), AdminError> {
        let mut members = Vec::new();
        let mut after = String::new();
        for _ in 0..READS_OF_HANDLES {
            let found = self.accounts.with_handle(text, &after, HANDLES_AT_ONCE).await?;
            let Some(last) = found.last() else {
                return Ok((members, false));
            };
            after.clone_from(last);
            members.extend(self.repo.members_among(&found).await?);
            if members.len() > FOUND_BY_HANDLE {
                members.truncate(FOUND_BY_HANDLE);
                return Ok((members, true));
            }
        }
        Ok((members, true))
    }

    /// A member.
    ///
    /// # Errors
    /// [`AdminError::NoMember`]; the index's.
    pub async fn member(&self, did: &Did) -> Result<CrewMember, AdminError> {
        let member = self.repo.crew_by_member(did).await?;
        member.ok_or(AdminError::NoMember)
    }

    /// The member with the record `rkey`, and the record's version.
    ///
    /// # Errors
    /// [`AdminError::NoMember`]; the repository's.
    pub async fn at(&self, rkey: &RecordKey) -> Result<(CrewMember, Cid), AdminError> {
        let stored = self.repo.get_record(nsid::HOLD_CREW, rkey.as_str()).await?;
        let stored = stored.ok_or(AdminError::NoMember)?;
        let record = CrewRecord::from_value(stored.value).map_err(|error| AdminError::Repo(error.into()))?;
        let member = CrewMember {
            rkey: rkey.clone(),
            record,
        };
        Ok((member, stored.cid))
    }

    /// What is counted of the repositories of `did`, at most `limit`, the most pushed first.
    ///
    /// # Errors
    /// The database's.
    pub async fn repositories(&self, did: &Did, limit: usize) -> Result<Vec<Counted>, AdminError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Ok(self.counts.of_owner(did, limit).await?)
    }

    /// Makes `did` a member.
    ///
    /// # Errors
    /// [`AdminError::Crew`] with `Exists` if it is one; the repository's.
    pub async fn add(
        &self,
        captain: &Captain,
        did: &Did,
        terms: &Terms,
        now: Datetime,
    ) -> Result<(), AdminError> {
        let value = new_record(did, terms, now)?;
        self.audit
            .note(captain, "crew.add", did.as_str(), &terms.in_words())
            .await?;
        let write = ManualWrite::Create {
            collection: collection()?,
            rkey: None,
            value,
        };
        let written = self
            .administration
            .write(captain.grant(), write, true, Swap::default())
            .await;
        self.settle(captain, did, written.map(drop)).await
    }

    /// Gives the member `did` other terms. Nothing else of the record changes, and the captain's stays as it is. `seen` is the version
    /// that the captain saw: terms that were changed since are not overwritten.
    ///
    /// # Errors
    /// [`AdminError::NoMember`], [`AdminError::CaptainStays`]; `Swapped`: the record is not the one that was seen; the repository's.
    pub async fn edit(
        &self,
        captain: &Captain,
        did: &Did,
        terms: &Terms,
        seen: Option<&Cid>,
    ) -> Result<(), AdminError> {
        if captain.session.did == *did {
            return Err(AdminError::CaptainStays);
        }
        let member = self.member(did).await?;
        let before = Terms::of_record(&member.record);
        let (value, precondition) = self.changed(&member, terms, seen).await?;
        if before == *terms {
            return Ok(());
        }
        let detail = format!("{} → {}", before.in_words(), terms.in_words());
        self.audit
            .note(captain, "crew.edit", did.as_str(), &detail)
            .await?;
        let write = ManualWrite::Put {
            collection: collection()?,
            rkey: member.rkey,
            value,
        };
        let written = self
            .administration
            .apply(captain.grant(), vec![write], true, vec![precondition])
            .await;
        self.settle(captain, did, written.map(drop)).await
    }

    /// Removes the member `did`. What it stored stays.
    ///
    /// # Errors
    /// As [`edit`](Self::edit).
    pub async fn remove(&self, captain: &Captain, did: &Did) -> Result<(), AdminError> {
        if captain.session.did == *did {
            return Err(AdminError::CaptainStays);
        }
        let member = self.member(did).await?;
        let detail = Terms::of_record(&member.record).in_words();
        self.audit
            .note(captain, "crew.remove", did.as_str(), &detail)
            .await?;
        let write = ManualWrite::Delete {
            collection: collection()?,
            rkey: member.rkey,
        };
        let written = self
            .administration
            .write(captain.grant(), write, true, Swap::default())
            .await;
        self.settle(captain, did, written.map(drop)).await
    }

    /// Does many changes in one commit. The caller has noted them.
    pub(super) async fn apply(
        &self,
        captain: &Captain,
        writes: Vec<ManualWrite>,
        preconditions: Vec<Precondition>,
    ) -> Result<(), AdminError> {
        self.administration
            .apply(captain.grant(), writes, true, preconditions)
            .await?;
        Ok(())
    }

    pub(super) fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// The version of the member's record.
    ///
    /// # Errors
    /// [`AdminError::NoMember`]; the repository's.
    pub async fn version(&self, member: &CrewMember) -> Result<Cid, AdminError> {
        let stored = self
            .repo
            .get_record(nsid::HOLD_CREW, member.rkey.as_str())
            .await?;
        Ok(stored.ok_or(AdminError::NoMember)?.cid)
    }

    /// The member's record with other terms, every field that they are not about as it was, and what must not have changed meanwhile:
    /// `seen` is the version that the terms are made for, if that is known.
    pub(super) async fn changed(
        &self,
        member: &CrewMember,
        terms: &Terms,
        seen: Option<&Cid>,
    ) -> Result<(Value, Precondition), AdminError> {
        let stored = self
            .repo
            .get_record(nsid::HOLD_CREW, member.rkey.as_str())
            .await?
            .ok_or(AdminError::NoMember)?;
        if seen.is_some_and(|seen| *seen != stored.cid) {
            return Err(AdminError::Crew(AdministrationError::Swapped));
        }
        let mut value = stored.value;
        if let Value::Object(fields) = &mut value {
            let unknown = member.record.permissions.iter();
            let unknown = unknown.filter(|word| Permission::parse(word).is_none()).cloned();
            let words: Vec<String> = terms.permissions.to_words().into_iter().chain(unknown).collect();
            fields.insert("role".to_owned(), terms.role.as_str().into());
            fields.insert("permissions".to_owned(), words.into());
            match &terms.tier {
                Some(tier) => fields.insert("tier".to_owned(), tier.as_str().into()),
                None => fields.remove("tier"),
            };
        }
        let precondition = Precondition::Record {
            collection: collection()?,
            rkey: member.rkey.clone(),
            cid: Some(stored.cid),
        };
        Ok((value, precondition))
    }

    /// Notes that a change failed.
    async fn settle(
        &self,
        captain: &Captain,
        did: &Did,
        outcome: Result<(), AdministrationError>,
    ) -> Result<(), AdminError> {
        let Err(error) = outcome else { return Ok(()) };
        self.audit
            .note(captain, "crew.failed", did.as_str(), &error.to_string())
            .await?;
        Err(error.into())
    }
}

pub(super) fn collection() -> Result<Nsid, AdminError> {
    nsid::HOLD_CREW
        .parse()
        .map_err(|error: atcr_atproto::syntax::SyntaxError| AdminError::Repo(error.into()))
}

/// The record of a new member.
pub(super) fn new_record(did: &Did, terms: &Terms, now: Datetime) -> Result<Value, AdminError> {
    let mut record = CrewRecord::new(did.clone(), terms.role.clone(), terms.permissions.to_words(), now);
    record.tier.clone_from(&terms.tier);
    record.to_value().map_err(|error| AdminError::Repo(error.into()))
}

/// The key that a new member's record gets.
pub(super) fn new_key(did: &Did) -> Result<RecordKey, AdminError> {
    crew::rkey(did).map_err(|error| AdminError::Repo(error.into()))
}
