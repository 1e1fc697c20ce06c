//! `com.atproto.sync.listReposByCollection`.

use std::sync::Arc;

use atcr_atproto::syntax::{Did, Nsid};
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// Which collection, and from where on.
#[derive(Debug, Deserialize)]
pub struct Input {
    collection: String,
    cursor: Option<String>,
}

/// The repositories of this server that have records of the collection.
#[derive(Debug, Serialize)]
pub struct Output {
    repos: Vec<Repo>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub struct Repo {
    did: Did,
}

/// The hold's repository, if it has such records; nothing comes after it.
pub async fn list_repos_by_collection(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Output>, EdgeError> {
    let collection: Nsid = input
        .collection
        .parse()
        .map_err(|error| EdgeError::InvalidRequest {
            message: format!("collection: {error}"),
        })?;
    let mut repos = Vec::new();
    if input.cursor.is_none_or(|cursor| cursor.is_empty()) {
        let page = repo.list_records(collection.as_str(), 1, None, true).await?;
        if !page.records.is_empty() {
            repos.push(Repo {
                did: identity.did().clone(),
            });
        }
    }
    Ok(Json(Output { repos }))
}
