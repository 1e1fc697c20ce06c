//! Lists of accounts, over XRPC, at places that the operator named.

use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::bounds::{MAX_CURSOR_BYTES, MAX_DOCUMENT_BYTES};
use atcr_atproto::egress::{EgressClient, Limits};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::Did;
use atcr_atproto::xrpc::XrpcError;
use atcr_index::ports::FoundAccount;
use serde::Deserialize;
use url::Url;

use crate::discovery::{Directory, DirectoryError, FoundPage, List};

/// Accounts of a page: the default of both methods. With head and revision some 200 bytes each.
const PAGE: usize = 500;

/// How long a page may take: a directory may read a cold table for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lists of accounts over XRPC.
#[derive(Clone)]
pub struct XrpcDirectory {
    egress: EgressClient,
}

#[derive(Deserialize)]
struct PageJson {
    repos: Vec<RepoJson>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct RepoJson {
    did: String,
    rev: Option<String>,
}

impl XrpcDirectory {
    /// Asks through `egress`.
    #[must_use]
    pub fn new(egress: EgressClient) -> Self {
        Self { egress }
    }
}

#[async_trait]
impl Directory for XrpcDirectory {
    async fn page(&self, place: &Url, list: List, cursor: Option<&str>) -> Result<FoundPage, DirectoryError> {
        let unavailable = |error: String| DirectoryError::Unavailable(error);
        let mut url = place.clone();
        let method = match list {
            List::With(_) => nsid::SYNC_LIST_REPOS_BY_COLLECTION,
            List::All => nsid::SYNC_LIST_REPOS,
        };
        url.set_path(&format!("/xrpc/{method}"));
        url.query_pairs_mut()
            .clear()
            .append_pair("limit", &PAGE.to_string());
        if let List::With(collection) = list {
            url.query_pairs_mut().append_pair("collection", collection.nsid());
        }
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        let limits = Limits {
            max_bytes: MAX_DOCUMENT_BYTES,
            timeout: PATIENCE,
        };
        let answer = self
            .egress
            .get_within(&url, "application/json", limits)
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        let status = answer.status.as_u16();
        if !answer.status.is_success() {
            let error = XrpcError::from_response(answer.status, &answer.bytes);
            let blames_cursor = || {
                let message = error.message.as_deref().unwrap_or_default();
                message.to_lowercase().contains("cursor")
            };
            return Err(match status {
                404 | 405 | 501 => DirectoryError::NotOffered,
                _ if error.is("MethodNotImplemented") => DirectoryError::NotOffered,
                400 if cursor.is_some() && blames_cursor() => DirectoryError::BadCursor,
                _ => unavailable(format!("status {status} of {method}")),
            });
        }
        // The bounds of `egress::json` are for values of any form; this one is not dense.
        let page: PageJson = serde_json::from_slice(&answer.bytes)
            .map_err(|_| unavailable(format!("a malformed answer of {method}")))?;
        if page.repos.len() > PAGE {
            return Err(unavailable(
                "a page of more accounts than were asked for".to_owned(),
            ));
        }
        let cursor = page.cursor.filter(|cursor| !cursor.is_empty());
        if cursor
            .as_ref()
            .is_some_and(|cursor| cursor.len() > MAX_CURSOR_BYTES)
        {
            return Err(unavailable("a cursor that is too long".to_owned()));
        }
        let accounts = page.repos.into_iter().filter_map(|repo| {
            Some(FoundAccount {
                did: repo.did.parse::<Did>().ok()?,
                rev: repo.rev.and_then(|rev| rev.parse().ok()),
            })
        });
        Ok(FoundPage {
            accounts: accounts.collect(),
            cursor,
        })
    }
}
