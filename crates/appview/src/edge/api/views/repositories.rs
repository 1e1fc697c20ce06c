//! Repositories, and lists of them.

use std::collections::BTreeMap;

use atcr_index::change::Coverage;
use atcr_index::view::{RepositoryCard, RepositoryHold, RepositoryView};
use atcr_web::site::Site;
use schemars::JsonSchema;
use serde::Serialize;

use super::{List, Owner, What, text};
use crate::browse::address::repository_path;

/// A repository in a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct Repository {
    /// Whose it is.
    pub(in crate::edge::api) owner: Owner,
    /// Its name, without the owner.
    pub(in crate::edge::api) name: String,
    /// Its page.
    pub(in crate::edge::api) url: String,
    /// The title that the image claims.
    pub(in crate::edge::api) title: String,
    /// One line about it.
    pub(in crate::edge::api) summary: String,
    /// The licence that the image claims, an SPDX expression.
    pub(in crate::edge::api) licence: String,
    /// What was tagged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) kind: Option<What>,
    /// Platforms of what was tagged last.
    pub(in crate::edge::api) platforms: Vec<String>,
    /// The tag that was moved last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) newest_tag: Option<String>,
    /// When a tag or a manifest last came.
    pub(in crate::edge::api) pushed_at: String,
    /// Tags.
    pub(in crate::edge::api) tags: u64,
    /// Stars.
    pub(in crate::edge::api) stars: u64,
    /// Pulls that holds counted.
    pub(in crate::edge::api) pulls: u64,
}

impl Repository {
    pub(in crate::edge::api) fn of(card: &RepositoryCard, site: &Site) -> Self {
        let owner = Owner::of(&card.owner);
        let name = owner.handle.as_ref().unwrap_or(&owner.did);
        Self {
            url: site.url(&repository_path(name, &card.name)),
            name: card.name.clone(),
            title: card.title.clone(),
            summary: card.summary.clone(),
            licence: card.licence.clone(),
            kind: card.kind.map(What::of),
            platforms: card.platforms.clone(),
            newest_tag: card.newest_tag.clone(),
            pushed_at: text(card.pushed_at),
            tags: card.tags,
            stars: card.stars,
            pulls: card.pulls,
            owner,
        }
    }
}

/// Results of a search, the best first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct SearchResults {
    /// How many there are.
    pub(in crate::edge::api) total: u64,
    /// These of them.
    pub(in crate::edge::api) items: Vec<Repository>,
    /// The address of the next ones; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) next: Option<String>,
}

/// An account and its repositories, the one pushed to last first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct Account {
    /// The account.
    pub(in crate::edge::api) owner: Owner,
    /// The host of its server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) server: Option<String>,
    /// Repositories that are shown.
    pub(in crate::edge::api) repositories: u64,
    /// Stars that it gave.
    pub(in crate::edge::api) stars_given: u64,
    /// The repositories of this page.
    #[serde(flatten)]
    pub(in crate::edge::api) list: List<Repository>,
}

/// A hold that has layers of a repository.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct Hold {
    /// The hold.
    pub(in crate::edge::api) did: String,
    /// Manifests that name it.
    pub(in crate::edge::api) manifests: u64,
}

/// A repository.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct RepositoryDetails {
    /// What a list shows of it.
    #[serde(flatten)]
    pub(in crate::edge::api) repository: Repository,
    /// The owner's text, Markdown, as it is in the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) readme: Option<String>,
    /// Annotations of what was tagged last.
    pub(in crate::edge::api) annotations: BTreeMap<String, String>,
    /// Manifests.
    pub(in crate::edge::api) manifests: u64,
    /// Manifests that are about another one.
    pub(in crate::edge::api) referrers: u64,
    /// Pushes that holds counted.
    pub(in crate::edge::api) pushes: u64,
    /// The last pull that a hold counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) last_pull: Option<String>,
    /// The tag that the page's command pulls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) pull_tag: Option<String>,
    /// The holds that have its layers.
    pub(in crate::edge::api) holds: Vec<Hold>,
    /// All of the account is indexed: what is not here does not exist.
    pub(in crate::edge::api) is_whole: bool,
}

impl RepositoryDetails {
    pub(in crate::edge::api) fn of(found: &RepositoryView, holds: &[RepositoryHold], site: &Site) -> Self {
        Self {
            repository: Repository::of(&found.card, site),
            readme: found.readme.clone(),
            annotations: found.annotations.clone(),
            manifests: found.manifests,
            referrers: found.referrers,
            pushes: found.pushes,
            last_pull: found.last_pull.map(text),
            pull_tag: found.pull_tag.clone(),
            holds: holds
                .iter()
                .map(|hold| Hold {
                    did: hold.hold.to_string(),
                    manifests: hold.manifests,
                })
                .collect(),
            is_whole: found.coverage == Coverage::Whole,
        }
    }
}
