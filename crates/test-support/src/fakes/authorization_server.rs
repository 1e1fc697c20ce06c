//! The authorization server inside [`super::FakePds`]: pushed requests, codes, DPoP-bound tokens, each checked as a strict server
//! would, and faults.
//!
//! Calls are counted under `oauth/par`, `oauth/code`, `oauth/refresh` and `oauth/revoke`; these names, and `oauth/metadata`, are also
//! what faults are set for. Faults that spoil an answer are set for the path, `oauth/par` and `oauth/token`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_atproto::crypto::{Curve, PublicKey};
use axum::Router;
use axum::extract::{Form, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::pds::{FakePds, Shared};

type Parameters = HashMap<String, String>;

/// What a token stands for.
#[derive(Clone)]
struct Grant {
    did: String,
    client_id: String,
    scope: String,
    thumbprint: String,
}

/// What the server knows, and what it does wrong.
pub(super) struct OAuth {
    nonce: u64,
    rotates: bool,
    requests: HashMap<String, (Parameters, String)>,
    codes: HashMap<String, (Parameters, Grant)>,
    access: HashMap<String, Grant>,
    refresh: HashMap<String, Grant>,
    expired: HashSet<String>,
    proofs: HashSet<String>,
    made: u64,
    misbehaviour: Misbehaviour,
}

/// Ways in which the server is not as it should be; all off at first.
#[derive(Clone, Debug, Default)]
pub struct Misbehaviour {
    /// Refuse scopes other than these with `invalid_scope`.
    pub known_scopes: Option<Vec<String>>,
    /// Grant these scopes, whatever was asked for.
    pub granted_scope: Option<String>,
    /// Sign this account in, whatever was asked for.
    pub sub: Option<String>,
    /// Call itself this in its document.
    pub issuer: Option<String>,
    /// Give bearer tokens.
    pub bearer: bool,
    /// Refuse every token request with this error.
    pub token_error: Option<String>,
    /// Say this of a token's life; null leaves it out.
    pub expires_in: Option<Value>,
    /// Date answers by as many seconds into the future; into the past where it is negative.
    pub date_offset: i64,
    /// Say this in the PDS's document; null leaves the field out.
    pub resource_document: Vec<(&'static str, Value)>,
    /// The same in the authorization server's document.
    pub server_document: Vec<(&'static str, Value)>,
}

impl Default for OAuth {
    fn default() -> Self {
        Self {
            nonce: 1,
            rotates: false,
            requests: HashMap::new(),
            codes: HashMap::new(),
            access: HashMap::new(),
            refresh: HashMap::new(),
            expired: HashSet::new(),
            proofs: HashSet::new(),
            made: 0,
            misbehaviour: Misbehaviour::default(),
        }
    }
}

impl FakePds {
    /// The account `did` says yes to the request that the browser was sent with, at `url`.
    ///
    /// # Returns
    /// The query of the redirect; `None` if there is no such request.
    #[must_use]
    pub fn approve(&self, url: &str, did: &str) -> Option<Parameters> {
        let mut inner = self.inner();
        let oauth = &mut inner.oauth;
        let (parameters, thumbprint) = oauth.requests.remove(&request_uri(url)?)?;
        let scope = parameters.get("scope").cloned().unwrap_or_default();
        let grant = Grant {
            did: oauth.misbehaviour.sub.clone().unwrap_or_else(|| did.to_owned()),
            client_id: parameters.get("client_id").cloned().unwrap_or_default(),
            scope: oauth.misbehaviour.granted_scope.clone().unwrap_or(scope),
            thumbprint,
        };
        let code = oauth.make("code");
        let state = parameters.get("state").cloned().unwrap_or_default();
        oauth.codes.insert(code.clone(), (parameters, grant));
        drop(inner);
        Some(HashMap::from([
            ("code".to_owned(), code),
            ("state".to_owned(), state),
            ("iss".to_owned(), self.url()),
        ]))
    }

    /// The user says no to the request that the browser was sent with.
    #[must_use]
    pub fn deny(&self, url: &str) -> Option<Parameters> {
        let (parameters, _) = self.inner().oauth.requests.remove(&request_uri(url)?)?;
        Some(HashMap::from([
            ("error".to_owned(), "access_denied".to_owned()),
            ("error_description".to_owned(), "the user said no".to_owned()),
            (
                "state".to_owned(),
                parameters.get("state").cloned().unwrap_or_default(),
            ),
            ("iss".to_owned(), self.url()),
        ]))
    }

    /// The parameters of the open request that the browser was sent with.
    #[must_use]
    pub fn announced(&self, url: &str) -> Option<Parameters> {
        let inner = self.inner();
        let (parameters, _) = inner.oauth.requests.get(&request_uri(url)?)?;
        Some(parameters.clone())
    }

    /// Nonces of before are not taken any more.
    pub fn rotate_nonce(&self) {
        self.inner().oauth.nonce += 1;
    }

    /// Every nonce is good for one request only.
    pub fn rotate_nonces_always(&self) {
        self.inner().oauth.rotates = true;
    }

    /// Every OAuth access token given out so far has expired.
    pub fn expire_oauth_access_tokens(&self) {
        let oauth = &mut self.inner().oauth;
        let tokens: Vec<String> = oauth.access.keys().cloned().collect();
        oauth.expired.extend(tokens);
    }

    /// Every OAuth session is over.
    pub fn end_oauth_sessions(&self) {
        let oauth = &mut self.inner().oauth;
        oauth.access.clear();
        oauth.refresh.clear();
    }

    /// How many refresh tokens are good.
    #[must_use]
    pub fn oauth_sessions(&self) -> usize {
        self.inner().oauth.refresh.len()
    }

    /// Changes what the server does wrong.
    pub fn misbehave(&self, change: impl FnOnce(&mut Misbehaviour)) {
        change(&mut self.inner().oauth.misbehaviour);
    }
}

impl OAuth {
    fn make(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("oauth-{kind}-{}", self.made)
    }

    fn nonce(&self) -> String {
        format!("nonce-{}", self.nonce)
    }

    /// Checks a proof as RFC 9449 §4.3 says.
    ///
    /// # Returns
    /// The thumbprint of its key, or the name of the error.
    fn check_proof(
        &mut self,
        headers: &HeaderMap,
        method: &str,
        url: &str,
        token: Option<&str>,
    ) -> Result<String, &'static str> {
        const BAD: &str = "invalid_dpop_proof";
        let proof = headers
            .get("dpop")
            .and_then(|value| value.to_str().ok())
            .ok_or(BAD)?;
        let (input, signature) = proof.rsplit_once('.').ok_or(BAD)?;
        let (header, claims) = input.split_once('.').ok_or(BAD)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| BAD);
        let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).map_err(|_| BAD);
        let (header, claims) = (json(header)?, json(claims)?);
        let jwk = &header["jwk"];
        if header["typ"] != "dpop+jwt" || header["alg"] != "ES256" || jwk.get("d").is_some() {
            return Err(BAD);
        }
        let coordinate = |name: &str| decode(jwk[name].as_str().unwrap_or_default());
        let (x, y) = (coordinate("x")?, coordinate("y")?);
        let key =
            PublicKey::from_sec1(Curve::P256, &[vec![4], x.clone(), y.clone()].concat()).map_err(|_| BAD)?;
        key.verify(input.as_bytes(), &decode(signature)?)
            .map_err(|_| BAD)?;
        let hash = token.map(|token| URL_SAFE_NO_PAD.encode(Sha256::digest(token)));
        let age = SystemClock.now().timestamp() - claims["iat"].as_i64().ok_or(BAD)?;
        if claims["htm"] != method || claims["htu"] != url || claims["ath"].as_str() != hash.as_deref() {
            return Err(BAD);
        }
        // A test may move the clock of the other side by hours; what is far off is refused by real servers, though.
        if age.abs() > 24 * 3600 {
            return Err(BAD);
        }
        if !self.proofs.insert(claims["jti"].as_str().ok_or(BAD)?.to_owned()) {
            return Err(BAD);
        }
        let is_current = claims["nonce"] == self.nonce();
        if self.rotates {
            self.nonce += 1;
        }
        if !is_current {
            return Err("use_dpop_nonce");
        }
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)))
    }

    /// The account whose access token came with a request to the PDS.
    pub(super) fn caller(
        &mut self,
        headers: &HeaderMap,
        method: &str,
        url: &str,
    ) -> Option<Result<String, Box<Response>>> {
        let token = headers
            .get("authorization")?
            .to_str()
            .ok()?
            .strip_prefix("DPoP ")?
            .to_owned();
        let refuse = |error: &str| {
            let challenge = format!(r#"DPoP error="{error}", algs="ES256""#);
            let body = axum::Json(json!({ "error": error, "message": "as RFC 9449 says" }));
            Err(Box::new(
                (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)], body).into_response(),
            ))
        };
        let thumbprint = match self.check_proof(headers, method, url, Some(&token)) {
            Ok(thumbprint) => thumbprint,
            Err(error) => return Some(refuse(error)),
        };
        Some(match self.access.get(&token) {
            Some(grant) if grant.thumbprint == thumbprint && !self.expired.contains(&token) => {
                Ok(grant.did.clone())
            }
            _ => refuse("invalid_token"),
        })
    }

    /// Whether the token that came with a request is good for `scope`; other kinds of tokens are good for everything.
    pub(super) fn permits(&self, headers: &HeaderMap, scope: &str) -> bool {
        let token = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok()?.strip_prefix("DPoP "));
        let grant = token.and_then(|token| self.access.get(token));
        grant.is_none_or(|grant| {
            grant
                .scope
                .split(' ')
                .any(|granted| granted == scope || granted == "transition:generic")
        })
    }

    fn tokens(&mut self, grant: Grant) -> Response {
        let (access, refresh) = (self.make("access"), self.make("refresh"));
        self.access.insert(access.clone(), grant.clone());
        self.refresh.insert(refresh.clone(), grant.clone());
        let kind = if self.misbehaviour.bearer {
            "Bearer"
        } else {
            "DPoP"
        };
        let answer = json!({
            "access_token": access,
            "refresh_token": refresh,
            "token_type": kind,
            "expires_in": 3600,
            "scope": grant.scope,
            "sub": grant.did,
        });
        let life = self.misbehaviour.expires_in.clone();
        let changes: Vec<_> = life.into_iter().map(|life| ("expires_in", life)).collect();
        axum::Json(changed(answer, &changes)).into_response()
    }
}

/// The routes.
pub(super) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/.well-known/oauth-protected-resource", get(resource))
        .route("/.well-known/oauth-authorization-server", get(server))
        .route("/oauth/par", post(par))
        .route("/oauth/token", post(token))
        .route("/oauth/revoke", post(revoke))
        .layer(from_fn_with_state(Arc::clone(shared), with_nonce))
}

/// Every answer carries the nonce that the next request needs, and maybe a strange date.
pub(super) async fn with_nonce(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let inner = shared.lock();
    if let Ok(nonce) = inner.oauth.nonce().parse() {
        response.headers_mut().insert("dpop-nonce", nonce);
    }
    let offset = inner.oauth.misbehaviour.date_offset;
    if offset != 0 {
        let by = std::time::Duration::from_secs(offset.unsigned_abs());
        let now = SystemClock.now();
        let date = if offset < 0 { now - by } else { now + by };
        if let Ok(date) = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string().parse() {
            response.headers_mut().insert("date", date);
        }
    }
    response
}

fn request_uri(url: &str) -> Option<String> {
    let (_, uri) = url.split_once("request_uri=")?;
    Some(uri.split('&').next()?.replace("%3A", ":"))
}

fn refuse(error: &str) -> Response {
    let body = axum::Json(json!({ "error": error, "error_description": "as the server sees it" }));
    (StatusCode::BAD_REQUEST, body).into_response()
}

async fn resource(State(shared): State<Arc<Shared>>) -> Response {
    if let Some(fault) = shared.enter("oauth/metadata").await {
        return fault;
    }
    let document = json!({ "resource": shared.url(), "authorization_servers": [shared.url()] });
    let inner = shared.lock();
    axum::Json(changed(document, &inner.oauth.misbehaviour.resource_document)).into_response()
}

/// `document` with other values in some of its fields.
fn changed(mut document: Value, fields: &[(&'static str, Value)]) -> Value {
    if let Some(document) = document.as_object_mut() {
        for (name, value) in fields {
            if value.is_null() {
                document.remove(*name);
            } else {
                document.insert((*name).to_owned(), value.clone());
            }
        }
    }
    document
}

async fn server(State(shared): State<Arc<Shared>>) -> Response {
    if let Some(fault) = shared.enter("oauth/metadata").await {
        return fault;
    }
    let base = shared.url();
    let misbehaviour = shared.lock().oauth.misbehaviour.clone();
    let document = json!({
        "issuer": misbehaviour.issuer.unwrap_or_else(|| base.clone()),
        "authorization_endpoint": format!("{base}/oauth/authorize"),
        "token_endpoint": format!("{base}/oauth/token"),
        "pushed_authorization_request_endpoint": format!("{base}/oauth/par"),
        "revocation_endpoint": format!("{base}/oauth/revoke"),
        "require_pushed_authorization_requests": true,
        "authorization_response_iss_parameter_supported": true,
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "scopes_supported": ["atproto", "transition:generic"],
        "protected_resources": [base],
    });
    axum::Json(changed(document, &misbehaviour.server_document)).into_response()
}

async fn par(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(parameters): Form<Parameters>,
) -> Response {
    if let Some(fault) = shared.enter("oauth/par").await {
        return fault;
    }
    let url = format!("{}/oauth/par", shared.url());
    let oauth = &mut shared.lock().oauth;
    let thumbprint = match oauth.check_proof(&headers, "POST", &url, None) {
        Ok(thumbprint) => thumbprint,
        Err(error) => return refuse(error),
    };
    let scope = parameters.get("scope").map(String::as_str).unwrap_or_default();
    if let Some(known) = &oauth.misbehaviour.known_scopes
        && scope
            .split(' ')
            .any(|scope| !known.iter().any(|known| known == scope))
    {
        return refuse("invalid_scope");
    }
    let has = |name: &str, value: &str| parameters.get(name).is_some_and(|given| given == value);
    if !has("response_type", "code") || !has("code_challenge_method", "S256") {
        return refuse("invalid_request");
    }
    let uri = format!("urn:ietf:params:oauth:request_uri:{}", oauth.make("request"));
    oauth.requests.insert(uri.clone(), (parameters, thumbprint));
    let body = axum::Json(json!({ "request_uri": uri, "expires_in": 300 }));
    (StatusCode::CREATED, body).into_response()
}

async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(parameters): Form<Parameters>,
) -> Response {
    let parameter = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    let is_refresh = parameter("grant_type") == "refresh_token";
    let name = if is_refresh { "oauth/refresh" } else { "oauth/code" };
    let url = format!("{}/oauth/token", shared.url());
    let proven = shared.lock().oauth.check_proof(&headers, "POST", &url, None);
    let thumbprint = match proven {
        Ok(thumbprint) => thumbprint,
        Err(error) => return refuse(error),
    };
    // Counted when it is taken seriously: a request for a nonce spends nothing.
    if let Some(fault) = shared.enter(name).await {
        return fault;
    }
    let oauth = &mut shared.lock().oauth;
    if let Some(error) = &oauth.misbehaviour.token_error {
        return refuse(error);
    }
    let grant = if is_refresh {
        oauth.refresh.remove(parameter("refresh_token"))
    } else {
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(parameter("code_verifier")));
        oauth
            .codes
            .remove(parameter("code"))
            .filter(|(request, _)| {
                request.get("code_challenge") == Some(&hash)
                    && request.get("redirect_uri").map(String::as_str) == Some(parameter("redirect_uri"))
            })
            .map(|(_, grant)| grant)
    };
    match grant {
        Some(grant) if grant.thumbprint == thumbprint && grant.client_id == parameter("client_id") => {
            oauth.tokens(grant)
        }
        _ => refuse("invalid_grant"),
    }
}

async fn revoke(State(shared): State<Arc<Shared>>, Form(parameters): Form<Parameters>) -> Response {
    if let Some(fault) = shared.enter("oauth/revoke").await {
        return fault;
    }
    let oauth = &mut shared.lock().oauth;
    let token = parameters.get("token").map(String::as_str).unwrap_or_default();
    oauth.refresh.remove(token);
    oauth.access.remove(token);
    StatusCode::OK.into_response()
}
