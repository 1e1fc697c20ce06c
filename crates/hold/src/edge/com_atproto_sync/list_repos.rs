//! `com.atproto.sync.listRepos`.

use std::sync::Arc;

use atcr_atproto::syntax::{Did, Tid};
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// From where on.
#[derive(Debug, Deserialize)]
pub struct Input {
    cursor: Option<String>,
}

/// The repositories of this server.
#[derive(Debug, Serialize)]
pub struct Output {
    repos: Vec<Repo>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub struct Repo {
    did: Did,
    head: String,
    rev: Tid,
    active: bool,
}

/// The hold's repository, the only one; nothing comes after it.
pub async fn list_repos(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Output>, EdgeError> {
    let mut repos = Vec::new();
    if input.cursor.is_none_or(|cursor| cursor.is_empty()) {
        let commit = repo.latest_commit();
        repos.push(Repo {
            did: identity.did().clone(),
            head: commit.cid.to_string(),
            rev: commit.rev,
            active: true,
        });
    }
    Ok(Json(Output { repos }))
}
