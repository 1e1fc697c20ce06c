//! `quota.*`: how tiers are written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much each member may keep.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QuotaSection {
    /// The tiers, the lowest rank first; none: no limits. Each is {name: deckhand, quota: 5GB, scan_on_push: false}, or deckhand=5GB;
    /// or all of them are one mapping, deckhand: {quota: 5GB}, whose order counts. Units are B, KB (1024 B), MB, GB, TB and PB. What
    /// several users keep counts for each of them, and what one user keeps in several images counts once. The captain has no limit.
    pub tiers: Vec<TierSetting>,
    /// Which tier a member has whose record names none.
    pub defaults: QuotaDefaults,
}

/// The tiers of members whose records name none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QuotaDefaults {
    /// The tier of who joins, which goes into the crew record, and of members whose tier there is no more. Empty: the first tier.
    pub new_crew_tier: String,
    /// The tier of members without one in their record: those who joined before there were tiers. Empty: as new_crew_tier.
    pub plankowner_crew_tier: String,
}

/// A tier as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "TierEntry")]
pub struct TierSetting {
    /// Its name, as crew records have it.
    pub name: String,
    /// How much a member may keep.
    pub quota: String,
    /// Whether listTiers says that what its members push is scanned at once.
    pub scan_on_push: bool,
}

/// The two ways to write a tier.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum TierEntry {
    Text(String),
    Fields(TierFields),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TierFields {
    name: String,
    quota: QuotaText,
    #[serde(default)]
    scan_on_push: bool,
}

/// A number without a unit is not quoted in a file.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum QuotaText {
    Text(String),
    Bytes(u64),
}

impl TryFrom<TierEntry> for TierSetting {
    type Error = String;

    fn try_from(entry: TierEntry) -> Result<Self, String> {
        match entry {
            TierEntry::Text(text) => {
                let (name, quota) = text
                    .split_once('=')
                    .ok_or_else(|| format!("{text:?} is no tier; write name=5GB"))?;
                Ok(Self {
                    name: name.trim().to_owned(),
                    quota: quota.trim().to_owned(),
                    scan_on_push: false,
                })
            }
            TierEntry::Fields(fields) => Ok(Self {
                name: fields.name,
                quota: match fields.quota {
                    QuotaText::Text(text) => text,
                    QuotaText::Bytes(bytes) => bytes.to_string(),
                },
                scan_on_push: fields.scan_on_push,
            }),
        }
    }
}
