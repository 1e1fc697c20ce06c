//! Who visits a page.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use atcr_server::client_address::ClientAddress;
use atcr_web::appearance::Appearance;
use atcr_web::cookies::Cookie;
use atcr_web::csrf::{self, CsrfToken};
use atcr_web::form::Form;
use atcr_web::site::Site;
use atcr_web::view::{Chrome, Visitor};
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, Method};
use secrecy::SecretString;

use super::PagesState;
use super::error::{self, PageError};
use crate::admin::sessions::Browser;
use crate::admin::sign_in::Captain;

/// A request of a browser.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) site: Arc<Site>,
    /// The captain, if signed in.
    signed_in: Option<SignedIn>,
    pub(super) client: ClientAddress,
    pub(super) browser: Browser,
    /// Path and query.
    pub(super) here: String,
    pub(super) method: Method,
    headers: HeaderMap,
    query: Arc<Form>,
}

/// A browser in which the captain is signed in.
#[derive(Clone, Debug)]
pub(super) struct SignedIn {
    pub(super) captain: Captain,
    /// The cookie's value.
    pub(super) token: SecretString,
    csrf_token: CsrfToken,
}

impl SignedIn {
    /// What the captain's forms carry.
    pub(super) fn csrf_token(&self) -> &str {
        self.csrf_token.as_str()
    }
}

impl FromRequestParts<PagesState> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &PagesState) -> Result<Self, Response> {
        // Requests that came through the listener have an address.
        let unknown = ClientAddress {
            counted: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            own: None,
        };
        let client = parts.extensions.get().copied().unwrap_or(unknown);
        let user_agent = parts.headers.get(USER_AGENT).map(|name| name.as_bytes());
        let mut visit = Self {
            site: Arc::clone(&state.site),
            signed_in: None,
            client,
            browser: Browser::new(user_agent.unwrap_or_default(), &client),
            here: parts
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned()),
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            query: Arc::new(Form::of_query(parts.uri.query())),
        };
        if let Some(token) = Cookie::Session.read(&state.site, &parts.headers) {
            let found = state.sign_in.captain(&token, &visit.browser).await;
            visit.signed_in = found
                .map_err(|error| error::response(&visit, &PageError::Admin(error)))?
                .map(|captain| SignedIn {
                    captain,
                    csrf_token: CsrfToken::of(&token),
                    token,
                });
        }
        Ok(visit)
    }
}

impl Visit {
    /// The parameters of the address.
    pub(super) fn query(&self) -> &Form {
        &self.query
    }

    /// The request's headers.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What is around the page.
    pub(super) fn chrome(&self) -> Chrome {
        Chrome {
            site: Arc::clone(&self.site),
            visitor: self.signed_in.as_ref().map(|signed_in| Visitor {
                did: signed_in.captain.session.did.to_string(),
                name: signed_in.captain.name(),
                handle: signed_in.captain.session.handle.clone(),
                csrf_token: signed_in.csrf_token.as_str().to_owned(),
            }),
            here: self.here.clone(),
            appearance: Appearance::read(&self.site, &self.headers),
        }
    }

    /// Whether a script asks for a part of a page.
    pub(super) fn wants_part(&self) -> bool {
        self.headers.contains_key("hx-request")
    }

    /// The captain who is signed in.
    pub(super) fn signed_in(&self) -> Result<&SignedIn, PageError> {
        self.signed_in.as_ref().ok_or(PageError::SignInFirst)
    }

    /// The captain.
    pub(super) fn captain(&self) -> Result<&Captain, PageError> {
        Ok(&self.signed_in()?.captain)
    }

    /// The captain, if `form` was sent from one of our pages.
    pub(super) fn submitted(&self, form: &Form) -> Result<&SignedIn, PageError> {
        let signed_in = self.signed_in()?;
        let sent = form.get(csrf::FIELD).unwrap_or_default();
        if !csrf::is_own_page(&self.site, &self.headers) || !signed_in.csrf_token.is(sent) {
            return Err(PageError::OtherSite);
        }
        Ok(signed_in)
    }

    /// The answer: what was made of the request, or the page that says why nothing was.
    pub(super) fn answer(&self, outcome: Result<Response, PageError>) -> Response {
        outcome.unwrap_or_else(|error| error::response(self, &error))
    }
}
