//! What the configuration of an image says. It is a blob in a hold, and no record.

use std::collections::BTreeMap;

use super::text::{cut, kept_annotations, one_line};

/// What an image is called, in annotations and labels.
pub const TITLE: &str = "org.opencontainers.image.title";

/// What it is for.
pub const DESCRIPTION: &str = "org.opencontainers.image.description";

/// Under what licences it is.
pub const LICENCES: &str = "org.opencontainers.image.licenses";

/// Longest platform, in bytes.
const MAX_PLATFORM: usize = 128;

/// What the configuration of an image says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFact {
    /// The labels that pages show: those of Open Containers and of this registry, at most 8 KiB. The annotations of a manifest come before
    /// them.
    pub labels: BTreeMap<String, String>,
    /// `linux/arm64/v8`; empty when it says none.
    pub platform: String,
}

impl ConfigFact {
    /// What `labels` and `platform` (`linux/arm64/v8`) say.
    #[must_use]
    pub fn of(labels: &BTreeMap<String, String>, platform: &str) -> Self {
        let mut labels = kept_annotations(labels);
        labels.retain(|key, _| key.starts_with("org.opencontainers.image.") || key.starts_with("io.atcr."));
        let platform: String = platform
            .chars()
            .filter(|character| !character.is_control())
            .collect();
        Self {
            labels,
            platform: cut(&platform, MAX_PLATFORM).to_owned(),
        }
    }

    /// What a card shows of a label, in one short line; empty for none.
    #[must_use]
    pub fn line(&self, label: &str) -> String {
        self.labels
            .get(label)
            .map(|text| one_line(text))
            .unwrap_or_default()
    }
}
