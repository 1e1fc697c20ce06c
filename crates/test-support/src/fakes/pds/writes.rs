//! The methods that write.

use std::sync::Arc;

use atcr_atproto::lexicon::BlobRef;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::sessions::bearer;
use super::{Inner, Shared, invalid, refuse};

/// Writes that one commit takes, and bytes that a JSON request may have: the reference PDS's own limits.
const MAX_WRITES: usize = 200;
const MAX_JSON_BYTES: usize = 150 * 1024;

pub(super) async fn procedure(
    State(shared): State<Arc<Shared>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(fault) = shared.enter(&method).await {
        return fault;
    }
    if body.len() > MAX_JSON_BYTES {
        return refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PayloadTooLarge",
            "request entity too large",
        );
    }
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut inner = shared.lock();
    match method.as_str() {
        "com.atproto.server.createSession" => {
            let name = input["identifier"].as_str().unwrap_or_default();
            let found = inner
                .accounts
                .iter()
                .find(|(did, account)| did.as_str() == name || account.handle == name)
                .filter(|(_, account)| Some(account.password.as_str()) == input["password"].as_str())
                .map(|(did, _)| did.clone());
            match found {
                Some(did) => axum::Json(Shared::new_session(&mut inner, &did)).into_response(),
                None => refuse(
                    StatusCode::UNAUTHORIZED,
                    "AuthenticationRequired",
                    "Invalid identifier or password",
                ),
            }
        }
        "com.atproto.server.refreshSession" => match inner.refresh.remove(bearer(&headers)) {
            Some(did) => axum::Json(Shared::new_session(&mut inner, &did)).into_response(),
            None => refuse(StatusCode::BAD_REQUEST, "ExpiredToken", "Token has been revoked"),
        },
        "com.atproto.server.deleteSession" => match inner.refresh.remove(bearer(&headers)) {
            Some(_) => StatusCode::OK.into_response(),
            None => refuse(StatusCode::BAD_REQUEST, "ExpiredToken", "Token has been revoked"),
        },
        "com.atproto.repo.applyWrites" => {
            let did = match inner.caller("POST", &shared.method_url(&method), &headers) {
                Ok(did) if input["repo"] == did => did,
                Ok(_) => return refuse(StatusCode::UNAUTHORIZED, "AuthRequired", "not your repository"),
                Err(refusal) => return *refusal,
            };
            let collections = input["writes"].as_array().into_iter().flatten();
            let mut scopes =
                collections.filter_map(|write| Some(format!("repo:{}", write["collection"].as_str()?)));
            if !scopes.all(|scope| inner.oauth.permits(&headers, &scope)) {
                return refuse(
                    StatusCode::FORBIDDEN,
                    "ScopeMissingError",
                    "Missing required scope",
                );
            }
            if inner.overtaken > 0 {
                inner.overtaken -= 1;
                shared.commit(&mut inner, &did);
            }
            for (did, collection, rkey, value) in std::mem::take(&mut inner.in_between) {
                if let Some(account) = inner.accounts.get_mut(&did) {
                    let records = account.collections.entry(collection).or_default();
                    records.insert(rkey, value);
                }
                shared.commit(&mut inner, &did);
            }
            apply_writes(&shared, &mut inner, &did, &input)
        }
        _ => refuse(
            StatusCode::NOT_IMPLEMENTED,
            "MethodNotImplemented",
            "no such method",
        ),
    }
}

fn apply_writes(shared: &Shared, inner: &mut Inner, did: &str, input: &Value) -> Response {
    let Some(account) = inner.accounts.get_mut(did) else {
        return invalid("Could not find repo");
    };
    let writes = input["writes"].as_array().map_or(0, Vec::len);
    if writes > MAX_WRITES {
        return invalid("Too many writes. Max: 200");
    }
    let head = account.head.as_ref().map(|(cid, _)| cid.as_str());
    if let Some(swap) = input["swapCommit"].as_str()
        && Some(swap) != head
    {
        return refuse(
            StatusCode::BAD_REQUEST,
            "InvalidSwap",
            "Commit was at another CID",
        );
    }
    let mut collections = account.collections.clone();
    for write in input["writes"].as_array().into_iter().flatten() {
        let text = |name: &str| write[name].as_str().unwrap_or_default().to_owned();
        let records = collections.entry(text("collection")).or_default();
        let exists = records.contains_key(&text("rkey"));
        let blob = write["value"]["manifestBlob"]["ref"]["$link"].as_str();
        if blob.is_some_and(|cid| !account.blobs.contains_key(cid)) {
            return refuse(StatusCode::BAD_REQUEST, "BlobNotFound", "Could not find blob");
        }
        match (text("$type").rsplit('#').next().unwrap_or_default(), exists) {
            ("create", false) | ("update", true) => {
                records.insert(text("rkey"), write["value"].clone());
            }
            ("delete", true) => {
                records.remove(&text("rkey"));
            }
            _ => return invalid("a write does not fit what is there"),
        }
    }
    account.collections = collections;
    let (cid, rev) = shared.commit(inner, did);
    axum::Json(json!({ "commit": { "cid": cid, "rev": rev }, "results": [] })).into_response()
}

pub(super) async fn upload_blob(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    if let Some(fault) = shared.enter("com.atproto.repo.uploadBlob").await {
        return fault;
    }
    let (parts, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, 64 * 1024 * 1024).await else {
        return invalid("the body broke off");
    };
    let mut inner = shared.lock();
    let url = shared.method_url("com.atproto.repo.uploadBlob");
    let did = match inner.caller("POST", &url, &parts.headers) {
        Ok(did) => did,
        Err(refusal) => return *refusal,
    };
    if bytes.len() > inner.blob_limit {
        return refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PayloadTooLarge",
            "request entity too large",
        );
    }
    let kind = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !inner.oauth.permits(&parts.headers, &format!("blob:{kind}")) {
        return refuse(
            StatusCode::FORBIDDEN,
            "ScopeMissingError",
            "Missing required scope",
        );
    }
    let blob = BlobRef::of(&bytes, kind);
    if let Some(account) = inner.accounts.get_mut(&did) {
        account
            .blobs
            .insert(blob.cid.to_string(), (kind.to_owned(), bytes));
    }
    axum::Json(json!({ "blob": blob })).into_response()
}
