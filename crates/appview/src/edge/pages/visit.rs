//! Who visits a page.

use std::net::SocketAddr;
use std::sync::Arc;

use atcr_server::client_address::ClientAddress;
use atcr_sessions::web_session::WebSession;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, Method};
use secrecy::SecretString;

use crate::edge::dialect::page::{self, PageError};
use crate::state::AppState;
use atcr_web::appearance::Appearance;
use atcr_web::cookies::Cookie;
use atcr_web::csrf::{self, CsrfToken};
use atcr_web::form::Form;
use atcr_web::site::Site;
use atcr_web::view::{Chrome, Visitor};

/// A request of a browser.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The site.
    pub site: Arc<Site>,
    /// Who is signed in.
    pub signed_in: Option<SignedIn>,
    /// Where the request comes from.
    pub client: ClientAddress,
    /// Path and query.
    pub here: String,
    /// How it asks.
    pub method: Method,
    headers: HeaderMap,
    query: Arc<Form>,
}

/// A browser that is signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub session: WebSession,
    /// The cookie's value.
    pub token: SecretString,
    /// What the account's forms carry.
    pub csrf_token: CsrfToken,
}

impl FromRequestParts<AppState> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let ConnectInfo(peer) = ConnectInfo::<SocketAddr>::from_request_parts(parts, state)
            .await
            .map_err(axum::response::IntoResponse::into_response)?;
        let mut visit = Self {
            site: Arc::clone(&state.site),
            signed_in: None,
            client: state.proxies.client(peer, &parts.headers),
            here: parts
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned()),
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            query: Arc::new(Form::of_query(parts.uri.query())),
        };
        if let Some(token) = Cookie::Session.read(&state.site, &parts.headers) {
            let found = state.browsers.find(&token).await;
            visit.signed_in = found
                .map_err(|error| page::response(&visit, &PageError::Failed(error)))?
                .map(|session| SignedIn {
                    session,
                    csrf_token: CsrfToken::of(&token),
                    token,
                });
        }
        Ok(visit)
    }
}

impl Visit {
    /// The path of the address.
    #[must_use]
    pub fn path(&self) -> &str {
        self.here.split('?').next().unwrap_or("/")
    }

    /// The parameters of the address.
    #[must_use]
    pub fn query(&self) -> &Form {
        &self.query
    }

    /// The request's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What is around the page.
    #[must_use]
    pub fn chrome(&self) -> Chrome {
        Chrome {
            site: Arc::clone(&self.site),
            visitor: self.signed_in.as_ref().map(|signed_in| Visitor {
                did: signed_in.session.did.to_string(),
                name: signed_in
                    .session
                    .handle
                    .clone()
                    .unwrap_or_else(|| signed_in.session.did.to_string()),
                handle: signed_in.session.handle.clone(),
                csrf_token: signed_in.csrf_token.as_str().to_owned(),
            }),
            here: self.here.clone(),
            appearance: Appearance::read(&self.site, &self.headers),
        }
    }

    /// Whether a script asks for a part of a page.
    #[must_use]
    pub fn wants_part(&self) -> bool {
        self.headers.contains_key("hx-request")
    }

    /// Who is signed in.
    ///
    /// # Errors
    /// [`PageError::SignInFirst`] if no account is.
    pub fn signed_in(&self) -> Result<&SignedIn, PageError> {
        self.signed_in.as_ref().ok_or(PageError::SignInFirst)
    }

    /// Who is signed in, if `form` was sent from one of our pages.
    ///
    /// # Errors
    /// [`PageError::SignInFirst`], [`PageError::OtherSite`].
    pub fn submitted(&self, form: &Form) -> Result<&SignedIn, PageError> {
        let signed_in = self.signed_in()?;
        let header = self
            .headers
            .get(csrf::HEADER)
            .and_then(|value| value.to_str().ok());
        let sent = form.get(csrf::FIELD).or(header).unwrap_or_default();
        if !csrf::is_own_page(&self.site, &self.headers) || !signed_in.csrf_token.is(sent) {
            return Err(PageError::OtherSite);
        }
        Ok(signed_in)
    }

    /// The answer: what was made of the request, or the page that says why nothing was.
    pub fn answer(&self, outcome: Result<Response, PageError>) -> Response {
        outcome.unwrap_or_else(|error| page::response(self, &error))
    }
}
