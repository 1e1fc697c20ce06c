//! The export: one JSON document, however much there is. Records are read a page at a time, while the document is sent.

use atcr_atproto::lexicon::hold_user_data::{
    ExportUserDataOutput, ExportedCrew, ExportedLayer, ExportedPost, ExportedStats,
};
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::stats::StatsRecord;
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::syntax::{Datetime, Did, RecordKey};
use atcr_hold_pds::{HoldRepo, RepoError, StoredRecord};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::Value;

use super::{UserData, UserDataError};

/// Records of a page.
const PAGE: usize = 200;

/// Where holds have posts.
const POSTS: &str = "app.bsky.feed.post";

/// The members of the document that are lists. The rest of it comes before them.
const LISTS: [&str; 3] = ["layerRecords", "statsRecords", "blueskyPosts"];

impl UserData {
    /// Everything that the hold's records say of `user`, as the output of `exportUserData`. What is written while it is read may be in it or
    /// not. It ends with an error if the repository fails.
    ///
    /// # Errors
    /// The repository's, as far as it is asked before anything is sent.
    pub async fn export(
        &self,
        user: &Did,
    ) -> Result<BoxStream<'static, Result<Bytes, RepoError>>, UserDataError> {
        let repo = &self.repo;
        let captain = repo.captain().await?;
        let crew_record = repo.crew_by_member(user).await?.map(|member| ExportedCrew {
            role: member.record.role,
            permissions: member.record.permissions,
            tier: member.record.tier,
            added_at: member.record.added_at,
        });
        let front = ExportUserDataOutput {
            exported_at: self.clock.now_datetime(),
            hold_did: repo.did().clone(),
            user_did: user.clone(),
            is_captain: captain.is_some_and(|captain| captain.owner == *user),
            crew_record,
            layer_records: Vec::new(),
            stats_records: Vec::new(),
            bluesky_posts: Vec::new(),
        };
        let front = front_of(&front);
        let lists = [
            indexed(repo.clone(), user.clone(), Indexed::Layers),
            indexed(repo.clone(), user.clone(), Indexed::Stats),
            posts(repo.clone(), user.clone()),
        ];
        let lists = stream::iter(LISTS.into_iter().zip(lists)).flat_map(|(name, items)| list(name, items));
        let end = stream::once(async { Ok(Bytes::from_static(b"}")) });
        let document = stream::once(async { Ok(front) }).chain(lists).chain(end);
        Ok(document.boxed())
    }
}

/// The document without its lists and without its end.
fn front_of(output: &ExportUserDataOutput) -> Bytes {
    let mut value = serde_json::to_value(output).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        for name in LISTS {
            fields.remove(name);
        }
    }
    let mut text = value.to_string();
    text.pop();
    text.into()
}

/// `,"name":[…]`, a piece for each page of items.
fn list(
    name: &'static str,
    pages: BoxStream<'static, Result<Vec<Value>, RepoError>>,
) -> impl futures_util::Stream<Item = Result<Bytes, RepoError>> + Send {
    let begin = stream::once(async move { Ok(Bytes::from(format!(",\"{name}\":["))) });
    let mut is_first = true;
    let items = pages.map_ok(move |page| {
        let mut text = String::new();
        for item in page {
            if !std::mem::take(&mut is_first) {
                text.push(',');
            }
            text.push_str(&item.to_string());
        }
        Bytes::from(text)
    });
    let end = stream::once(async { Ok(Bytes::from_static(b"]")) });
    begin.chain(items).chain(end)
}

/// Records that the index finds by their user.
#[derive(Clone, Copy)]
enum Indexed {
    Layers,
    Stats,
}

impl Indexed {
    async fn keys(self, repo: &HoldRepo, user: &Did, after: &str) -> Result<Vec<RecordKey>, RepoError> {
        match self {
            Self::Layers => repo.layers_of_user(user, PAGE, Some(after)).await,
            Self::Stats => repo.stats_of_owner(user, PAGE, Some(after)).await,
        }
    }

    async fn get(self, repo: &HoldRepo, key: &RecordKey) -> Result<Option<StoredRecord>, RepoError> {
        let collection = match self {
            Self::Layers => nsid::HOLD_LAYER,
            Self::Stats => nsid::HOLD_STATS,
        };
        repo.get_record(collection, key.as_str()).await
    }

    fn exported(self, stored: StoredRecord, user: &Did) -> Option<Value> {
        match self {
            Self::Layers => layer_of(stored, user),
            Self::Stats => stats_of(stored, user),
        }
    }
}

fn indexed(repo: HoldRepo, user: Did, kind: Indexed) -> BoxStream<'static, Result<Vec<Value>, RepoError>> {
    stream::try_unfold(Some(String::new()), move |after| {
        let (repo, user) = (repo.clone(), user.clone());
        async move {
            let Some(after) = after else { return Ok(None) };
            let keys = kind.keys(&repo, &user, &after).await?;
            let mut page = Vec::with_capacity(keys.len());
            for key in &keys {
                // One that has gone since is none.
                if let Some(stored) = kind.get(&repo, key).await? {
                    page.extend(kind.exported(stored, &user));
                }
            }
            let next = keys.last().map(|key| key.as_str().to_owned());
            Ok(Some((page, next)))
        }
    })
    .boxed()
}

/// Posts that mention the user: all of the hold's posts are looked at.
fn posts(repo: HoldRepo, user: Did) -> BoxStream<'static, Result<Vec<Value>, RepoError>> {
    stream::try_unfold(Some(None), move |cursor: Option<Option<String>>| {
        let (repo, user) = (repo.clone(), user.clone());
        async move {
            let Some(cursor) = cursor else { return Ok(None) };
            let page = repo.list_records(POSTS, PAGE, cursor.as_deref(), true).await?;
            let about = |stored| post_about(stored, &user);
            let items = page.records.into_iter().filter_map(about).collect();
            Ok(Some((items, page.cursor.map(Some))))
        }
    })
    .boxed()
}

fn value(item: &impl Serialize) -> Option<Value> {
    serde_json::to_value(item).ok()
}

fn layer_of(stored: StoredRecord, user: &Did) -> Option<Value> {
    let layer = LayerRecord::from_value(stored.value).ok()?;
    (layer.user_did == *user).then_some(())?;
    value(&ExportedLayer {
        digest: layer.digest,
        size: layer.size,
        media_type: layer.media_type,
        manifest: layer.manifest,
        created_at: layer.created_at,
    })
}

fn stats_of(stored: StoredRecord, user: &Did) -> Option<Value> {
    let stats = StatsRecord::from_value(stored.value).ok()?;
    (stats.owner_did == *user).then_some(())?;
    value(&ExportedStats {
        repository: stats.repository,
        pull_count: stats.pull_count,
        push_count: stats.push_count,
        last_pull: stats.last_pull,
        last_push: stats.last_push,
        updated_at: stats.updated_at,
    })
}

/// A post with a facet that mentions the user.
fn post_about(stored: StoredRecord, user: &Did) -> Option<Value> {
    let uri = stored.uri;
    let post = stored.value;
    let facets = post.get("facets")?.as_array()?;
    let mut features = facets
        .iter()
        .filter_map(|facet| facet.get("features")?.as_array());
    let is_about = |feature: &Value| feature.get("did").is_some_and(|did| did == user.as_str());
    features
        .any(|features| features.iter().any(is_about))
        .then_some(())?;
    let created_at: Datetime = post.get("createdAt")?.as_str()?.parse().ok()?;
    value(&ExportedPost {
        uri,
        text: post.get("text")?.as_str()?.to_owned(),
        created_at,
    })
}
