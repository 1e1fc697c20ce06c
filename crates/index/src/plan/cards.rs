//! What the cards of touched repositories show, and by what search finds them.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::fact::{DESCRIPTION, Kind, LICENCES, TITLE, one_line};
use crate::row::{Answer, Row};
use crate::stored::hex;
use crate::{IndexError, row};

/// Platforms on a card.
const MAX_PLATFORMS: usize = 16;

/// A repository and what its card is made of.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Its number.
    pub id: i64,
    account: i64,
    name: String,
    handle: String,
    is_account_visible: bool,
    taken_down: bool,
    was_listed: bool,
    tags: i64,
    fallback_tags: i64,
    manifests: i64,
    stars: i64,
    pulls: i64,
    pushes: i64,
    last_pull: i64,
    newest_tag: Option<String>,
    tag_moved_at: i64,
    manifest: Option<i64>,
    kind: Option<i64>,
    annotations: Option<String>,
    manifest_pushed_at: i64,
    page_cid: Option<Vec<u8>>,
    page_summary: Option<String>,
    picture: Option<Vec<u8>>,
    picture_type: Option<String>,
    search_place: i64,
    search_hash: i64,
    config: Vec<u8>,
    config_hold: String,
    config_title: Option<String>,
    config_summary: Option<String>,
    config_licence: Option<String>,
    platform: Option<String>,
}

impl Repository {
    /// From the columns in the order of the fields.
    pub fn of(mut answer: Answer) -> Result<Self, IndexError> {
        Ok(Self {
            id: answer.integer()?,
            account: answer.integer()?,
            name: answer.text()?,
            handle: answer.text()?,
            is_account_visible: answer.flag()?,
            taken_down: answer.flag()?,
            was_listed: answer.flag()?,
            tags: answer.integer()?,
            fallback_tags: answer.integer()?,
            manifests: answer.integer()?,
            stars: answer.integer()?,
            pulls: answer.integer()?,
            pushes: answer.integer()?,
            last_pull: answer.integer()?,
            newest_tag: answer.maybe_text()?,
            tag_moved_at: answer.integer()?,
            manifest: answer.maybe_integer()?,
            kind: answer.maybe_integer()?,
            annotations: answer.maybe_text()?,
            manifest_pushed_at: answer.integer()?,
            page_cid: answer.maybe_bytes()?,
            page_summary: answer.maybe_text()?,
            picture: answer.maybe_bytes()?,
            picture_type: answer.maybe_text()?,
            search_place: answer.integer()?,
            search_hash: answer.integer()?,
            config: answer.maybe_bytes()?.unwrap_or_default(),
            config_hold: answer.text()?,
            config_title: answer.maybe_text()?,
            config_summary: answer.maybe_text()?,
            config_licence: answer.maybe_text()?,
            platform: answer.maybe_text()?,
        })
    }

    /// How popular it is, at least 1: what is popular is looked through first.
    pub fn weight(&self) -> u64 {
        u64::try_from(1 + self.stars.max(0) + self.pulls.max(0) / 100).unwrap_or(1)
    }

    fn is_listed(&self) -> bool {
        self.is_account_visible && !self.taken_down && self.tags + self.fallback_tags + self.manifests > 0
    }

    /// Its text for search, at `place`.
    pub fn found_by(&self, place: i64) -> FoundBy {
        let card = Card::of(self);
        FoundBy {
            repository: self.id,
            before: self.search_place,
            place,
            hash: card.search_hash(self),
            name: self.name.clone(),
            owner: self.handle.clone(),
            title: card.title,
            summary: card.summary,
        }
    }
}

/// By what search finds a repository.
#[derive(Clone, Debug)]
pub struct FoundBy {
    /// Its number.
    pub repository: i64,
    /// Its place in the search tables before.
    pub before: i64,
    /// Its place from now on.
    pub place: i64,
    /// Changes whenever the text in the search tables has to.
    pub hash: i64,
    /// Its name.
    pub name: String,
    /// Its owner's handle.
    pub owner: String,
    /// Its title.
    pub title: String,
    /// What its card says about it.
    pub summary: String,
}

impl FoundBy {
    /// The text in which a part of a name is looked for.
    pub fn names(&self) -> String {
        format!("{} {} {}", self.name, self.owner, self.title).to_lowercase()
    }
}

/// What is written.
#[derive(Debug, Default)]
pub struct Plan {
    /// Number, listed, pushed at, newest tag, kind, title, summary, licence, platforms, picture and its type, pulls, pushes, last pull, place
    /// and hash in search, configuration and its hold.
    pub cards: Vec<Row>,
    /// Repositories whose cards wait for no configuration.
    pub configured: Vec<Row>,
    /// Repositories, their accounts and the configurations that their cards wait for.
    pub wanted: Vec<Row>,
    /// Repositories that accounts show more than before: account and number.
    pub listed: Vec<Row>,
    /// Repositories whose text or place in search changes.
    pub search: Vec<FoundBy>,
}

/// The cards of `repositories`. `place` says where in the search tables a repository that is shown is, and `nowhere` is the place of the
/// others.
pub fn plan(
    repositories: &[Repository],
    platforms: &BTreeMap<i64, String>,
    nowhere: i64,
    place: impl Fn(&Repository) -> i64,
) -> Plan {
    let mut plan = Plan::default();
    let mut listed: BTreeMap<i64, i64> = BTreeMap::new();
    for row in repositories {
        let is_listed = row.is_listed();
        *listed.entry(row.account).or_default() += i64::from(is_listed) - i64::from(row.was_listed);
        let card = Card::of(row);
        let (place, hash) = if is_listed {
            (place(row), card.search_hash(row))
        } else {
            (nowhere, 0)
        };
        if (place, hash) != (row.search_place, row.search_hash) {
            plan.search.push(row.found_by(place));
        }
        if is_listed && !row.config.is_empty() && row.platform.is_none() {
            plan.wanted.push(row![row.id, row.account, row.config.clone()]);
        } else {
            plan.configured.push(row![row.id]);
        }
        let of_config = row.platform.as_ref().filter(|platform| !platform.is_empty());
        let of_config = of_config.map(|platform| json!([platform]).to_string());
        plan.cards.push(row![
            row.id,
            is_listed,
            row.tag_moved_at.max(row.manifest_pushed_at),
            row.newest_tag.as_deref().unwrap_or_default(),
            row.kind.unwrap_or(-1),
            card.title,
            card.summary,
            card.licence,
            row.manifest
                .and_then(|manifest| platforms.get(&manifest))
                .or(of_config.as_ref())
                .map_or("[]", String::as_str),
            row.picture.clone().unwrap_or_default(),
            row.picture_type.as_deref().unwrap_or_default(),
            row.pulls,
            row.pushes,
            row.last_pull,
            place,
            hash,
            row.config.clone(),
            &row.config_hold
        ]);
    }
    plan.listed = listed
        .into_iter()
        .filter(|(_, delta)| *delta != 0)
        .map(|(account, delta)| row![account, delta])
        .collect();
    plan
}

/// The texts of a card.
struct Card {
    title: String,
    summary: String,
    licence: String,
}

impl Card {
    fn of(row: &Repository) -> Self {
        let annotations: BTreeMap<String, String> = row
            .annotations
            .as_deref()
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let text = |key: &str, label: &Option<String>| {
            let annotation = annotations.get(key).map(|text| one_line(text));
            annotation.or_else(|| label.clone()).unwrap_or_default()
        };
        let described = text(DESCRIPTION, &row.config_summary);
        Self {
            title: text(TITLE, &row.config_title),
            summary: if described.is_empty() {
                row.page_summary.clone().unwrap_or_default()
            } else {
                described
            },
            licence: text(LICENCES, &row.config_licence),
        }
    }

    /// Changes whenever the text in the search tables has to.
    fn search_hash(&self, row: &Repository) -> i64 {
        let mut hash = Sha256::new();
        let page = row.page_cid.as_deref().map(hex).unwrap_or_default();
        for text in [&*row.name, &row.handle, &self.title, &self.summary, &page] {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        let hash = hash.finalize();
        i64::from_le_bytes(std::array::from_fn(|index| hash[index]))
    }
}

/// The indexes among the newest manifests, by number.
pub fn indexes(repositories: &[Repository]) -> Vec<Row> {
    repositories
        .iter()
        .filter(|row| row.kind == Some(Kind::ImageIndex.code()))
        .filter_map(|row| row.manifest.map(|manifest| row![manifest]))
        .collect()
}

/// The platforms of indexes as JSON lists: amd64, arm64, then by name. `children` are (index, operating system, architecture, variant).
pub fn platforms(children: Vec<(i64, String, String, String)>) -> BTreeMap<i64, String> {
    let mut names: HashMap<i64, Vec<(u8, String)>> = HashMap::new();
    for (manifest, os, architecture, variant) in children {
        let rank = match (&*os, &*architecture) {
            ("linux", "amd64") => 0,
            ("linux", "arm64") => 1,
            _ => 2,
        };
        let mut name = format!("{os}/{architecture}");
        if !variant.is_empty() {
            name.push('/');
            name.push_str(&variant);
        }
        names.entry(manifest).or_default().push((rank, name));
    }
    names
        .into_iter()
        .map(|(manifest, mut names)| {
            names.sort();
            names.dedup();
            let names: Vec<String> = names
                .into_iter()
                .take(MAX_PLATFORMS)
                .map(|(_, name)| name)
                .collect();
            (manifest, json!(names).to_string())
        })
        .collect()
}
