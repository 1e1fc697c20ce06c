//! What the captain record says beside the configuration: fields that the file leaves open.

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_hold_pds::records::captain::Stated;
use atcr_hold_pds::{HoldRepo, Precondition, RecordWrite, RepoError};
use serde_json::Value;

use super::AdminError;
use super::audit::AuditLog;
use super::sign_in::Captain;
use crate::settings::HoldSettings;

/// Bytes of the region.
const MAX_REGION: usize = 64;

/// The open fields, changed by the captain.
#[derive(Clone, Debug)]
pub struct Rules {
    repo: HoldRepo,
    audit: AuditLog,
    region_is_open: bool,
    successor_is_open: bool,
    public_is_open: bool,
    joining_is_open: bool,
    posts_is_open: bool,
}

/// What the captain wants of the open fields; `None` and an empty text take a field away.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where the layers are, for people to read.
    pub region: &'a str,
    /// The DID of the hold that replaces this one.
    pub successor: &'a str,
    /// Everyone can pull; `None`: as it is.
    pub public: Option<bool>,
    /// Every account can join; `None`: as it is.
    pub joining: Option<bool>,
    /// The hold posts about pushes; `None`: as it is.
    pub posts: Option<bool>,
    /// The version of the record that the captain saw; `None`: whatever there is.
    pub seen: Option<&'a str>,
}

impl Rules {
    /// The record in `repo`, as far as `settings` leave it open.
    #[must_use]
    pub fn new(repo: HoldRepo, audit: AuditLog, settings: &HoldSettings) -> Self {
        Self {
            repo,
            audit,
            region_is_open: settings.region == Stated::Unsaid,
            successor_is_open: settings.successor == Stated::Unsaid,
            public_is_open: settings.public.is_none(),
            joining_is_open: settings.allow_all_crew.is_none(),
            posts_is_open: settings.enable_bluesky_posts.is_none(),
        }
    }

    /// Whether the region can be changed here.
    #[must_use]
    pub fn region_is_open(&self) -> bool {
        self.region_is_open
    }

    /// Whether the successor can be changed here.
    #[must_use]
    pub fn successor_is_open(&self) -> bool {
        self.successor_is_open
    }

    /// Whether it can be changed here that everyone can pull.
    #[must_use]
    pub fn public_is_open(&self) -> bool {
        self.public_is_open
    }

    /// Whether it can be changed here that every account can join.
    #[must_use]
    pub fn joining_is_open(&self) -> bool {
        self.joining_is_open
    }

    /// Whether it can be changed here that the hold posts about pushes.
    #[must_use]
    pub fn posts_is_open(&self) -> bool {
        self.posts_is_open
    }

    /// The version of the record, for a form to name.
    ///
    /// # Errors
    /// The repository's.
    pub async fn version(&self) -> Result<Option<String>, AdminError> {
        let key = RecordKey::literal_self();
        let stored = self.repo.get_record(nsid::HOLD_CAPTAIN, key.as_str()).await?;
        Ok(stored.map(|stored| stored.cid.to_string()))
    }

    /// Sets the open fields; an empty text takes a field away. What the file fixes is passed over, and every other field stays as it
    /// is.
    ///
    /// # Returns
    /// Whether anything was different.
    ///
    /// # Errors
    /// [`AdminError::Refused`] for a value that cannot be; the repository's.
    pub async fn set(&self, captain: &Captain, wanted: Wanted<'_>) -> Result<bool, AdminError> {
        let (region, successor) = (wanted.region.trim(), wanted.successor.trim());
        if region.len() > MAX_REGION {
            return Err(AdminError::Refused(format!(
                "The region is longer than {MAX_REGION} bytes."
            )));
        }
        if region.chars().any(char::is_control) {
            return Err(AdminError::Refused(
                "The region has characters that cannot be shown.".to_owned(),
            ));
        }
        let not_a_did =
            || AdminError::Refused("The successor is named by its DID: did:web:… or did:plc:….".to_owned());
        if !successor.is_empty() {
            let did: Did = successor.parse().map_err(|_| not_a_did())?;
            if did == *self.repo.did() {
                return Err(AdminError::Refused("A hold is not its own successor.".to_owned()));
            }
        }
        let key = RecordKey::literal_self();
        let stored = self.repo.get_record(nsid::HOLD_CAPTAIN, key.as_str()).await?;
        let stored = stored.ok_or_else(|| AdminError::Refused("There is no captain record.".to_owned()))?;
        let changed_elsewhere =
            || AdminError::Refused("The record was changed elsewhere meanwhile. Look again.".to_owned());
        // A form is about all of its fields: one of an older record would undo what was changed since.
        if wanted.seen.is_some_and(|seen| seen != stored.cid.to_string()) {
            return Err(changed_elsewhere());
        }
        let mut value = stored.value.clone();
        let mut changes = Vec::new();
        if let Value::Object(fields) = &mut value {
            for (name, text, is_open) in [
                ("region", region, self.region_is_open),
                ("successor", successor, self.successor_is_open),
            ] {
                let before = fields.get(name).and_then(Value::as_str).unwrap_or_default();
                if !is_open || before == text {
                    continue;
                }
                let in_words = |text: &str| if text.is_empty() { "none" } else { text }.to_owned();
                changes.push(format!("{name}: {} → {}", in_words(before), in_words(text)));
                if text.is_empty() {
                    fields.remove(name);
                } else {
                    fields.insert(name.to_owned(), text.into());
                }
            }
        }
        if let Value::Object(fields) = &mut value {
            for (name, is_wanted, is_open) in [
                ("public", wanted.public, self.public_is_open),
                ("allowAllCrew", wanted.joining, self.joining_is_open),
                ("enableBlueskyPosts", wanted.posts, self.posts_is_open),
            ] {
                let Some(is_wanted) = is_wanted.filter(|_| is_open) else {
                    continue;
                };
                let before = fields.get(name).and_then(Value::as_bool).unwrap_or_default();
                if before != is_wanted {
                    changes.push(format!("{name}: {before} → {is_wanted}"));
                    fields.insert(name.to_owned(), is_wanted.into());
                }
            }
        }
        if changes.is_empty() {
            return Ok(false);
        }
        // It must still be what the next start can read.
        CaptainRecord::from_value(value.clone()).map_err(RepoError::from)?;
        self.audit
            .note(captain, "settings", "captain record", &changes.join("; "))
            .await?;
        let collection: atcr_atproto::syntax::Nsid = nsid::HOLD_CAPTAIN.parse().map_err(RepoError::from)?;
        let unchanged = Precondition::Record {
            collection: collection.clone(),
            rkey: key.clone(),
            cid: Some(stored.cid),
        };
        let write = RecordWrite::Put {
            collection,
            rkey: key,
            value,
        };
        let written = self.repo.write_if(vec![write], vec![unchanged]).await;
        if let Err(error) = &written {
            self.audit
                .note(captain, "settings.failed", "captain record", &error.to_string())
                .await?;
        }
        match written {
            Err(RepoError::RecordSwapped { .. }) => Err(changed_elsewhere()),
            outcome => Ok(outcome.map(|_| true)?),
        }
    }
}
