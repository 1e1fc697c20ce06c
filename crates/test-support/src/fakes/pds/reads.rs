//! The methods that read, and the PLC directory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atcr_atproto::data_model;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::{Shared, invalid, proofs, refuse, sessions};

pub(super) async fn plc_document(State(shared): State<Arc<Shared>>, Path(did): Path<String>) -> Response {
    if let Some(fault) = shared.enter("plc").await {
        return fault;
    }
    let inner = shared.lock();
    let Some(account) = inner.accounts.get(&did) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let home = inner.homes.get(&did).cloned().unwrap_or_else(|| shared.url());
    let key = proofs::signing_key(&did).map_or_else(|_| String::new(), |key| key.public_key().to_multikey());
    axum::Json(json!({
        "id": did,
        "alsoKnownAs": [format!("at://{}", account.handle)],
        "verificationMethod": [{
            "id": format!("{did}#atproto"), "type": "Multikey", "controller": did,
            "publicKeyMultibase": key,
        }],
        "service": [{
            "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": home
        }],
    }))
    .into_response()
}

pub(super) async fn query(
    State(shared): State<Arc<Shared>>,
    Path(method): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(fault) = shared.enter(&method).await {
        return fault;
    }
    if method == "com.atproto.repo.listRecords" {
        let gate = query
            .get("repo")
            .and_then(|did| shared.lock().accounts.get(did)?.gate.clone());
        if let Some(gate) = gate {
            gate.pass().await;
        }
    }
    let mut inner = shared.lock();
    if method == "com.atproto.sync.getLatestCommit"
        && let Some(did) = query.get("did")
        && inner.accounts.get(did).is_some_and(|account| account.is_restless)
    {
        shared.commit(&mut inner, did);
    }
    if method == "com.atproto.server.getServiceAuth" {
        return sessions::service_token(&shared, &mut inner, &query, &headers);
    }
    let parameter = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let account = inner
        .accounts
        .get(parameter("repo"))
        .or_else(|| inner.accounts.get(parameter("did")));
    match method.as_str() {
        "com.atproto.identity.resolveHandle" => {
            let found = inner
                .accounts
                .iter()
                .find(|(_, account)| account.handle == parameter("handle"));
            match found {
                Some((did, _)) => axum::Json(json!({ "did": did })).into_response(),
                None => refuse(
                    StatusCode::BAD_REQUEST,
                    "HandleNotFound",
                    "Unable to resolve handle",
                ),
            }
        }
        "com.atproto.sync.getLatestCommit" => match account.and_then(|account| account.head.clone()) {
            Some((cid, rev)) => axum::Json(json!({ "cid": cid, "rev": rev })).into_response(),
            None => refuse(StatusCode::BAD_REQUEST, "RepoNotFound", "no such repository"),
        },
        "com.atproto.repo.describeRepo" => {
            let Some(account) = account else {
                return invalid("Could not find repo");
            };
            let collections: Vec<&String> = account
                .collections
                .iter()
                .filter(|(_, records)| !records.is_empty())
                .map(|(collection, _)| collection)
                .collect();
            axum::Json(json!({
                "did": parameter("repo"), "handle": account.handle, "handleIsCorrect": true, "didDoc": {},
                "collections": collections,
            }))
            .into_response()
        }
        "com.atproto.repo.getRecord" => {
            let (collection, rkey) = (parameter("collection"), parameter("rkey"));
            let record = account
                .and_then(|account| account.collections.get(collection))
                .and_then(|records| records.get(rkey));
            match record {
                Some(value) => axum::Json(entry(parameter("repo"), collection, rkey, value)).into_response(),
                None => refuse(
                    StatusCode::BAD_REQUEST,
                    "RecordNotFound",
                    "Could not locate record",
                ),
            }
        }
        "com.atproto.repo.listRecords" => {
            let Some(account) = account else {
                return invalid("Could not find repo");
            };
            let collection = parameter("collection");
            let limit: usize = parameter("limit").parse().unwrap_or(50);
            if account.is_endless && collection == "io.atcr.tag" {
                return axum::Json(endless_page(parameter("repo"), parameter("cursor"), limit))
                    .into_response();
            }
            let empty = BTreeMap::new();
            let records = account.collections.get(collection).unwrap_or(&empty);
            // Newest keys first, as servers do.
            let page: Vec<(&String, &Value)> = records
                .iter()
                .rev()
                .filter(|(rkey, _)| query.get("cursor").is_none_or(|cursor| *rkey < cursor))
                .take(limit)
                .collect();
            let cursor = page.last().map(|(rkey, _)| (*rkey).clone());
            let entries: Vec<Value> = page
                .into_iter()
                .map(|(rkey, value)| entry(parameter("repo"), collection, rkey, value))
                .collect();
            axum::Json(json!({ "records": entries, "cursor": cursor })).into_response()
        }
        "com.atproto.sync.getRecord" => {
            let path = format!("{}/{}", parameter("collection"), parameter("rkey"));
            match account.map(|account| proofs::proof_of(parameter("did"), account, &path)) {
                Some(Ok(proof)) => ([(CONTENT_TYPE, "application/vnd.ipld.car")], proof).into_response(),
                Some(Err(error)) => refuse(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "InternalServerError",
                    &error.to_string(),
                ),
                None => refuse(StatusCode::BAD_REQUEST, "RepoNotFound", "no such repository"),
            }
        }
        "com.atproto.sync.getBlob" => match account.and_then(|account| account.blobs.get(parameter("cid"))) {
            Some((kind, bytes)) => ([(CONTENT_TYPE, kind.clone())], bytes.clone()).into_response(),
            None => refuse(StatusCode::BAD_REQUEST, "BlobNotFound", "Blob not found"),
        },
        _ => refuse(
            StatusCode::NOT_IMPLEMENTED,
            "MethodNotImplemented",
            "no such method",
        ),
    }
}

fn entry(did: &str, collection: &str, rkey: &str, value: &Value) -> Value {
    let cid = data_model::cid_of(data_model::RAW, value.to_string().as_bytes()).to_string();
    json!({ "uri": format!("at://{did}/{collection}/{rkey}"), "cid": cid, "value": value })
}

/// A page of tags after which there is always another.
fn endless_page(did: &str, cursor: &str, limit: usize) -> Value {
    let first: usize = cursor.parse().unwrap_or(0);
    let entries: Vec<Value> = (first..first + limit)
        .map(|n| {
            let tag = format!("t{n:07}");
            let value = json!({ "$type": "io.atcr.tag", "repository": "app", "tag": tag });
            entry(did, "io.atcr.tag", &format!("app_{tag}"), &value)
        })
        .collect();
    json!({ "records": entries, "cursor": (first + limit).to_string() })
}
