//! `com.atproto.repo.applyWrites`.

use std::sync::Arc;

use atcr_atproto::syntax::{AtUri, CidString};
use atcr_hold_pds::Precondition;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::require_own;
use super::write::{CommitMeta, collection, incomplete, rkey, swap};
use crate::administration::{Administration, Expected, ManualWrite};
use crate::edge::auth::CrewAdministrator;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;

/// As many operations as fit in one commit.
const MAX_WRITES: usize = 200;

/// Writes that happen together or not at all.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    repo: String,
    validate: Option<bool>,
    writes: Vec<Write>,
    swap_commit: Option<String>,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(tag = "$type")]
pub enum Write {
    /// A new record.
    #[serde(rename = "com.atproto.repo.applyWrites#create")]
    Create {
        /// Where.
        collection: String,
        /// Under which key.
        rkey: Option<String>,
        /// The record.
        value: Value,
    },
    /// A record in place of another.
    #[serde(rename = "com.atproto.repo.applyWrites#update")]
    Update {
        /// Where.
        collection: String,
        /// Under which key.
        rkey: String,
        /// The record.
        value: Value,
    },
    /// A record that goes.
    #[serde(rename = "com.atproto.repo.applyWrites#delete")]
    Delete {
        /// Where.
        collection: String,
        /// Under which key.
        rkey: String,
    },
}

/// The commit, and what came of each write in order.
#[derive(Debug, Serialize)]
pub struct Output {
    commit: CommitMeta,
    results: Vec<WriteResult>,
}

/// What came of one write.
#[derive(Debug, Serialize)]
#[serde(tag = "$type")]
pub enum WriteResult {
    /// The record is there.
    #[serde(
        rename = "com.atproto.repo.applyWrites#createResult",
        rename_all = "camelCase"
    )]
    Create {
        /// Its address.
        uri: AtUri,
        /// Its content.
        cid: CidString,
        /// Whether it was compared with its lexicon.
        validation_status: &'static str,
    },
    /// The record is there.
    #[serde(
        rename = "com.atproto.repo.applyWrites#updateResult",
        rename_all = "camelCase"
    )]
    Update {
        /// Its address.
        uri: AtUri,
        /// Its content.
        cid: CidString,
        /// Whether it was compared with its lexicon.
        validation_status: &'static str,
    },
    /// The record is gone.
    #[serde(rename = "com.atproto.repo.applyWrites#deleteResult")]
    Delete {},
}

#[derive(Clone, Copy)]
enum Kind {
    Create,
    Update,
    Delete,
}

impl Write {
    fn kind(&self) -> Kind {
        match self {
            Self::Create { .. } => Kind::Create,
            Self::Update { .. } => Kind::Update,
            Self::Delete { .. } => Kind::Delete,
        }
    }

    fn parse(self) -> Result<ManualWrite, EdgeError> {
        Ok(match self {
            Self::Create {
                collection: name,
                rkey: key,
                value,
            } => ManualWrite::Create {
                collection: collection(&name)?,
                rkey: key.as_deref().map(rkey).transpose()?,
                value,
            },
            Self::Update {
                collection: name,
                rkey: key,
                value,
            } => ManualWrite::Put {
                collection: collection(&name)?,
                rkey: rkey(&key)?,
                value,
            },
            Self::Delete {
                collection: name,
                rkey: key,
            } => ManualWrite::Delete {
                collection: collection(&name)?,
                rkey: rkey(&key)?,
            },
        })
    }
}

/// Does all the writes in one commit.
pub async fn apply_writes(
    State(identity): State<Arc<HoldIdentity>>,
    State(administration): State<Administration>,
    CrewAdministrator(grant): CrewAdministrator,
    XrpcJson(input): XrpcJson<Input>,
) -> Result<Json<Output>, EdgeError> {
    require_own(&identity, &input.repo)?;
    if input.writes.len() > MAX_WRITES {
        return Err(EdgeError::InvalidRequest {
            message: format!("at most {MAX_WRITES} writes fit in one commit"),
        });
    }
    let swap = swap(input.swap_commit.as_deref(), Expected::Anything)?;
    let preconditions = swap.commit.map(Precondition::Commit).into_iter().collect();
    let kinds: Vec<Kind> = input.writes.iter().map(Write::kind).collect();
    let writes = input.writes.into_iter().map(Write::parse);
    let writes = writes.collect::<Result<_, _>>()?;
    let must_be_known = input.validate == Some(true);
    let written = administration
        .apply(&grant, writes, must_be_known, preconditions)
        .await?;
    let mut records = written.outcome.records.into_iter().zip(written.validations);
    let mut results = Vec::with_capacity(kinds.len());
    for kind in kinds {
        results.push(match kind {
            Kind::Delete => WriteResult::Delete {},
            Kind::Create | Kind::Update => {
                let (record, validation) = records.next().ok_or_else(incomplete)?;
                let (uri, cid) = (record.uri, record.cid.into());
                let validation_status = validation.as_str();
                match kind {
                    Kind::Create => WriteResult::Create {
                        uri,
                        cid,
                        validation_status,
                    },
                    _ => WriteResult::Update {
                        uri,
                        cid,
                        validation_status,
                    },
                }
            }
        });
    }
    Ok(Json(Output {
        commit: written.outcome.commit.into(),
        results,
    }))
}
