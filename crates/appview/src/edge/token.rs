//! `/auth/token`: trades a password, a refresh token or nothing for a registry token.

use std::net::SocketAddr;

use atcr_auth::principal::{AuthMethod, Principal};
use atcr_oci::{AccessScope, header};
use atcr_registry::error::RegistryError;
use atcr_server::body::{self, BodyError};
use atcr_server::client_address::ClientAddress;
use atcr_sessions::{SignInAttempt, SignedInAs};
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use chrono::SecondsFormat;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::form_urlencoded;

use super::credentials::Credentials;
use super::dialect::oci;
use super::error::EdgeError;
use super::response::{json, text_header};
use crate::state::AppState;

/// Longest form that is read, in bytes.
const MAX_FORM: usize = 64 * 1024;

/// What a client asks for, whichever way it asks.
#[derive(Default)]
struct TokenRequest {
    scopes: Vec<String>,
    grant_type: Option<String>,
    username: Option<String>,
    password: Option<SecretString>,
    refresh_token: Option<SecretString>,
    offline: bool,
}

/// The answer.
#[derive(Serialize)]
struct TokenResponse<'a> {
    token: &'a str,
    access_token: &'a str,
    expires_in: i64,
    issued_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// Answers `GET` and `POST /auth/token`.
///
/// GET takes Basic credentials or none; POST the OAuth2 form with `grant_type=password` or `refresh_token`. A `refresh_token` is
/// given only to a POST with `access_type=offline`: clients that get one to a GET store it in place of the password, which
/// not all of them can use again.
///
/// # Spec
/// Docker "Token Authentication Specification" and "OAuth2 Token Authentication".
pub async fn serve(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let mut response = match answer(&state, state.proxies.client(peer, request.headers()), request).await {
        Ok(response) => response,
        Err(error) => {
            let mut response = oci::response(&error, None);
            if response.status() == StatusCode::UNAUTHORIZED {
                let basic = format!("Basic realm=\"{}\"", state.realm.service);
                text_header(response.headers_mut(), header::WWW_AUTHENTICATE, &basic);
            }
            response
        }
    };
    response
        .headers_mut()
        .insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn answer(state: &AppState, client: ClientAddress, request: Request) -> Result<Response, EdgeError> {
    state.limits.token_request(&client)?;
    let (parts, body) = request.into_parts();
    let asked = match parts.method {
        // Only a form has a grant: passwords in a query would end up in logs.
        Method::GET => {
            let TokenRequest { scopes, .. } = read_pairs(parts.uri.query().unwrap_or_default().as_bytes());
            TokenRequest {
                scopes,
                ..TokenRequest::default()
            }
        }
        _ => read_form(&parts.headers, body).await?,
    };
    let SignedInAs { principal, device } = signed_in(state, client, &parts.headers, &asked).await?;
    let scopes = AccessScope::parse_all(asked.scopes.iter().map(String::as_str))
        .map_err(|error| invalid("scope", &error.to_string()))?;
    let allowed = state.scopes.allow(&principal, scopes).await?;
    let refresh = match (&principal, asked.offline && parts.method == Method::POST) {
        // Not for a device: revoking it must end all that came of its secret.
        (
            Principal::Sailor {
                auth_method: AuthMethod::AppPassword,
                ..
            },
            true,
        ) => Some(state.refresh_tokens.issue(&principal).await?),
        _ => None,
    };
    let granted: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    let issued = state
        .issuer
        .issue_to(&principal, device.as_deref(), allowed, state.clock.now())
        .map_err(|error| RegistryError::Internal {
            what: error.to_string(),
        })?;
    let token = issued.token.expose_secret();
    Ok(json(
        StatusCode::OK,
        &TokenResponse {
            token,
            access_token: token,
            expires_in: (issued.expires_at - issued.issued_at).num_seconds(),
            issued_at: issued.issued_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            scope: granted.join(" "),
            refresh_token: refresh.as_ref().map(|token| token.expose_secret()),
        },
    ))
}

async fn signed_in(
    state: &AppState,
    client: ClientAddress,
    headers: &HeaderMap,
    asked: &TokenRequest,
) -> Result<SignedInAs, EdgeError> {
    let sign_in = |username: String, password: SecretString| async move {
        state
            .sessions
            .sign_in(&SignInAttempt {
                username,
                password,
                client,
            })
            .await
            .map_err(EdgeError::from)
    };
    match asked.grant_type.as_deref() {
        Some("password") => match (&asked.username, &asked.password) {
            (Some(username), Some(password)) => sign_in(username.clone(), password.clone()).await,
            _ => Err(invalid(
                "username",
                "grant_type=password needs username and password",
            )),
        },
        Some("refresh_token") => match &asked.refresh_token {
            Some(token) => Ok(state.refresh_tokens.redeem(token).await?.into()),
            None => Err(invalid("refresh_token", "grant_type=refresh_token needs it")),
        },
        Some(_) => Err(invalid("grant_type", "use password or refresh_token")),
        None => match Credentials::read(headers)? {
            Credentials::None => Ok(Principal::Anonymous.into()),
            Credentials::Basic { username, password } => sign_in(username, password).await,
            Credentials::Bearer(_) => Err(EdgeError::invalid_token(
                "send a user name and an app password, not a token",
            )),
        },
    }
}

async fn read_form(headers: &HeaderMap, body: Body) -> Result<TokenRequest, EdgeError> {
    let bytes = body::read(headers, body, MAX_FORM)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge => invalid("body", "the form is too long"),
            BodyError::Interrupted(source) => RegistryError::BodyInterrupted { source }.into(),
        })?;
    let form = read_pairs(&bytes);
    if form.grant_type.is_none() {
        return Err(invalid(
            "grant_type",
            "a POST needs grant_type=password or refresh_token",
        ));
    }
    Ok(form)
}

/// Query and form have one syntax. Parameters that mean nothing here (`client_id`, `account`) are passed over, and so is
/// `service`: one registry may be reached under several names.
fn read_pairs(text: &[u8]) -> TokenRequest {
    let mut request = TokenRequest::default();
    for (name, value) in form_urlencoded::parse(text) {
        let value = value.into_owned();
        match name.as_ref() {
            "scope" => request.scopes.push(value),
            "grant_type" => request.grant_type = Some(value),
            "username" => request.username = Some(value),
            "password" => request.password = Some(SecretString::from(value)),
            "refresh_token" => request.refresh_token = Some(SecretString::from(value)),
            "access_type" => request.offline = value == "offline",
            _ => {}
        }
    }
    request
}

fn invalid(parameter: &'static str, reason: &str) -> EdgeError {
    EdgeError::parameter(parameter, reason)
}
