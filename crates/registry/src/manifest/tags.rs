//! Listing tags.

use atcr_oci::{Page, TagList};

use crate::access::{Granted, Pull};
use crate::account::coverage::Coverage;
use crate::error::{AccountError, RegistryError};
use crate::manifest::Manifests;

/// Tags in a page, when the client names no number or a larger one.
pub const TAGS_AT_ONCE: usize = 10_000;

/// A page of something in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The page.
    pub body: T,
    /// The last entry, if more follow: where the next page begins.
    pub next: Option<String>,
    /// How much of the account it covers.
    pub coverage: Coverage,
}

impl Manifests {
    /// A page of the repository's tags, in byte order.
    ///
    /// # Errors
    /// [`AccountError::NameUnknown`] when the account has nothing under that name; the PDS's.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-8a and end-8b.
    pub async fn list_tags(
        &self,
        grant: &Granted<Pull>,
        page: &Page,
    ) -> Result<Listed<TagList>, RegistryError> {
        let context = grant.context();
        let (did, repository) = (&context.owner.did, context.repository());
        let coverage = self
            .accounts
            .ensure_synced(&context.owner, &context.requester)
            .await?;
        let index = self.accounts.index();
        let limit = page.limit(TAGS_AT_ONCE, TAGS_AT_ONCE);
        // One more than asked for tells whether there is a next page.
        let mut tags = index
            .tags(did, repository, page.last.as_deref(), limit + 1)
            .await?;
        if tags.is_empty() && !index.has_repository(did, repository).await? {
            coverage.require_absence(did)?;
            return Err(RegistryError::Account(AccountError::NameUnknown {
                name: context.name.to_string(),
                reason: "the account has no such repository".to_owned(),
            }));
        }
        let next = cut(&mut tags, limit);
        Ok(Listed {
            body: TagList {
                name: context.name.to_string(),
                tags,
            },
            next,
            coverage,
        })
    }
}

/// Cuts `entries` to `limit`; the last one left, if that cut anything off. An empty page has no next one.
pub(crate) fn cut(entries: &mut Vec<String>, limit: usize) -> Option<String> {
    if entries.len() <= limit {
        return None;
    }
    entries.truncate(limit);
    entries.last().cloned()
}
