//! An AT Protocol OAuth client: PAR, PKCE, DPoP, one authorization server per account, found from the account itself.
//!
//! | Module | Does |
//! |---|---|
//! | [`registration`] | who we are: metadata document, `client_id`, key set; public on loopback, confidential elsewhere |
//! | [`scopes`] | what is asked for, and whether it was granted |
//! | [`discovery`] | account → PDS → authorization server, every step checked |
//! | [`client`] | the flow: begin, finish, refresh, revoke |
//! | [`session`] | what a sign-in leaves behind, and what is kept while one is under way |
//! | [`error`] | failures, grouped by what the caller can do |
//!
//! This module stores nothing and locks nothing: the caller keeps [`PendingSignIn`]s and [`OAuthSession`]s, and makes sure that
//! a refresh token is used once.

mod assertion;
pub mod client;
pub mod discovery;
pub mod error;
mod expiry;
pub mod registration;
pub mod scopes;
mod server;
pub mod session;

pub use client::{Answer, OAuthClient, OAuthClientParts};
pub use discovery::{AuthorizationServer, AuthorizationServers};
pub use error::OAuthError;
pub use registration::{Branding, ClientMetadata, Registration};
pub use scopes::ScopePlan;
pub use session::{OAuthSession, PendingSignIn};
