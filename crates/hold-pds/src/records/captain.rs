//! The captain record: who owns the hold, and what its configuration says.

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::lexicon::{Record as _, RecordError, nsid};
use atcr_atproto::syntax::{Datetime, Did, RecordKey};
use serde_json::{Map, Value};

use super::crew;
use super::profile::{self, FirstProfile};
use crate::access::Permission;
use crate::error::RepoError;
use crate::repo::HoldRepo;
use crate::writer::RecordWrite;

/// The captain's own crew record says so.
const OWNER_ROLE: &str = "owner";

/// What the configuration says about an optional field of the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stated<T> {
    /// Nothing: the record keeps what it has.
    #[default]
    Unsaid,
    /// The record must not have the field.
    Removed,
    /// The field's value.
    This(T),
}

/// What the operator's configuration says of the hold.
#[derive(Clone, Debug)]
pub struct CaptainSettings {
    /// The captain. Needed when there is no captain record yet; later the record decides.
    pub owner: Option<Did>,
    /// Blobs can be read without signing in; `None`: the record decides, and a new one says no.
    pub public: Option<bool>,
    /// Every account may join; `None`: as above.
    pub allow_all_crew: Option<bool>,
    /// The hold posts about pushes; `None`: as above.
    pub enable_bluesky_posts: Option<bool>,
    /// Where the blobs are, in words.
    pub region: Stated<String>,
    /// The region of a record that has none, when `region` is [`Stated::Unsaid`].
    pub first_region: Option<String>,
    /// The hold that replaces this one.
    pub successor: Stated<Did>,
    /// The profile that the first start writes.
    pub first_profile: Option<FirstProfile>,
}

/// Why the hold has no captain.
#[derive(Debug, thiserror::Error)]
pub enum CaptainError {
    /// The first start needs an owner.
    #[error("the hold has no captain yet: set registration.owner_did to the DID of its owner")]
    OwnerNeeded,
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

/// Makes the captain record say what `settings` say; at the first start also makes the captain a member of the crew, and the profile.
///
/// The owner of an existing record stays: a hold is not handed over by a changed setting. So do fields that the settings
/// do not mention, those included that this version does not know. While writes are paused a record stays as it is.
///
/// # Errors
/// [`CaptainError::OwnerNeeded`] when there is no record and no owner is named; the repository's.
pub async fn ensure(
    repo: &HoldRepo,
    settings: &CaptainSettings,
    now: Datetime,
) -> Result<CaptainRecord, CaptainError> {
    let key = RecordKey::literal_self();
    let stored = repo.get_record(nsid::HOLD_CAPTAIN, key.as_str()).await?;
    let before = stored.map(|stored| stored.value);
    let mut value = match &before {
        Some(value) => value.clone(),
        None => {
            let owner = settings.owner.clone().ok_or(CaptainError::OwnerNeeded)?;
            CaptainRecord::new(owner, now.clone())
                .to_value()
                .map_err(RepoError::from)?
        }
    };
    if let Value::Object(fields) = &mut value {
        state(fields, settings);
    }
    let captain = read(&value)?;
    if settings
        .owner
        .as_ref()
        .is_some_and(|owner| *owner != captain.owner)
    {
        tracing::warn!(
            captain = %captain.owner,
            "registration.owner_did names another account than the captain record, which decides"
        );
    }
    if before.as_ref() == Some(&value) {
        return Ok(captain);
    }
    let mut writes = vec![RecordWrite::Put {
        collection: nsid::HOLD_CAPTAIN.parse().map_err(RepoError::from)?,
        rkey: key,
        value,
    }];
    if before.is_none() && repo.crew_by_member(&captain.owner).await?.is_none() {
        let permissions = Permission::ALL.map(Permission::as_str);
        let record = CrewRecord::new(captain.owner.clone(), OWNER_ROLE, permissions, now);
        writes.push(crew::write(&record)?);
    }
    if before.is_none()
        && let Some(profile) = &settings.first_profile
        && repo.get_record(profile::COLLECTION, "self").await?.is_none()
    {
        writes.push(profile.write()?);
    }
    match (repo.write(writes).await, &before) {
        (Ok(_), _) => Ok(captain),
        (Err(error @ RepoError::Paused { .. }), Some(before)) => {
            tracing::warn!(%error, "the captain record does not say what the settings say until the next start");
            Ok(read(before)?)
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Writes the settings into the record's own fields, and leaves every other field as it was written.
fn state(fields: &mut Map<String, Value>, settings: &CaptainSettings) {
    for (name, stated) in [
        ("public", settings.public),
        ("allowAllCrew", settings.allow_all_crew),
        ("enableBlueskyPosts", settings.enable_bluesky_posts),
    ] {
        if let Some(stated) = stated {
            fields.insert(name.to_owned(), stated.into());
        }
    }
    set(fields, "region", &settings.region, String::as_str);
    set(fields, "successor", &settings.successor, Did::as_str);
    if let (Stated::Unsaid, Some(region)) = (&settings.region, &settings.first_region) {
        fields.entry("region").or_insert_with(|| region.as_str().into());
    }
}

fn set<T>(fields: &mut Map<String, Value>, name: &str, stated: &Stated<T>, text: impl Fn(&T) -> &str) {
    match stated {
        Stated::Unsaid => {}
        Stated::Removed => {
            fields.remove(name);
        }
        Stated::This(value) => {
            fields.insert(name.to_owned(), text(value).into());
        }
    }
}

fn read(value: &Value) -> Result<CaptainRecord, RepoError> {
    CaptainRecord::from_value(value.clone()).map_err(|error: RecordError| error.into())
}
