//! The flow: finish, refresh, revoke. `begin` has its first step.

mod begin;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::dpop::{DpopKey, DpopNonces, DpopProver};
use atcr_atproto::egress::EgressClient;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Number;
use url::Url;

use super::discovery::{AuthorizationServer, AuthorizationServers, host};
use super::error::OAuthError;
use super::expiry::expiry;
use super::registration::Registration;
use super::scopes;
use super::server::Server;
use super::session::{OAuthSession, PendingSignIn};
use crate::bounds::{MAX_DESCRIPTION_CHARS, MAX_OAUTH_TOKEN_BYTES};

/// Servers that turned out not to know granular scopes, remembered as long as this.
const COARSE_FOR: Duration = Duration::from_hours(1);

/// Time of a refresh besides the two requests to the token endpoint: three documents, each with its own time limit.
const LOOK_UPS_OF_A_REFRESH: Duration = Duration::from_secs(20);

/// Such servers remembered at once.
const COARSE_SERVERS: u64 = 10_000;

/// What the client works with.
pub struct OAuthClientParts {
    /// Who we are.
    pub registration: Registration,
    /// Makes the requests to authorization servers.
    pub egress: EgressClient,
    /// Resolves accounts to their PDS.
    pub identities: Arc<dyn IdentityResolver>,
    /// Dates proofs.
    pub clock: Arc<dyn Clock>,
    /// How long a server may take for one answer.
    pub timeout: Duration,
}

/// The client.
pub struct OAuthClient {
    parts: OAuthClientParts,
    servers: AuthorizationServers,
    nonces: DpopNonces,
    /// By issuer: how many steps of the scope plan the server is known to refuse.
    steps_in_vain: moka::sync::Cache<String, usize>,
}

/// What comes back from the authorization server, with the state already matched.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Who answers.
    pub iss: Option<&'a str>,
    /// The code.
    pub code: Option<&'a SecretString>,
    /// Why there is none.
    pub error: Option<&'a str>,
    /// The same in words.
    pub error_description: Option<&'a str>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    token_type: String,
    refresh_token: Option<SecretString>,
    expires_in: Option<Number>,
    scope: Option<String>,
    sub: Option<String>,
}

impl TokenAnswer {
    /// Whom the tokens are for, if the server says so in a form that can be read.
    fn account(&self) -> Option<Did> {
        self.sub.as_deref()?.parse().ok()
    }
}

impl OAuthClient {
    /// A client over `parts`.
    #[must_use]
    pub fn new(parts: OAuthClientParts) -> Self {
        Self {
            servers: AuthorizationServers::new(parts.egress.clone()),
            nonces: DpopNonces::default(),
            steps_in_vain: moka::sync::Cache::builder()
                .max_capacity(COARSE_SERVERS)
                .time_to_live(COARSE_FOR)
                .build(),
            parts,
        }
    }

    /// Who we are.
    #[must_use]
    pub fn registration(&self) -> &Registration {
        &self.parts.registration
    }

    /// What proves possession of a session's key, to its PDS and to its authorization server.
    #[must_use]
    pub fn prover(&self, key: &Arc<DpopKey>) -> DpopProver {
        DpopProver::new(
            Arc::clone(key),
            self.nonces.clone(),
            Arc::clone(&self.parts.clock),
        )
    }

    /// How long [`OAuthClient::refresh`] takes at most. A caller that cancels it earlier may lose the session.
    #[must_use]
    pub fn longest_refresh(&self) -> Duration {
        self.parts
            .timeout
            .saturating_mul(2)
            .saturating_add(LOOK_UPS_OF_A_REFRESH)
    }

    /// Checks `answer` to `pending` and trades its code for a session.
    ///
    /// # Errors
    /// `Denied` if the user refused or granted too little, `Untrusted` if the answer is from another server or about another
    /// account, and as [`OAuthClient::begin`].
    ///
    /// # Security
    /// The answering server is checked before anything is sent anywhere (mix-up). The account of the session, and that this
    /// server is in charge of that account, are checked before anything is kept. Tokens refused here are revoked.
    pub async fn finish(
        &self,
        pending: &PendingSignIn,
        answer: Answer<'_>,
    ) -> Result<OAuthSession, OAuthError> {
        let server_host = issuer_host(&pending.issuer);
        let untrusted = |reason: &str| OAuthError::Untrusted {
            host: server_host.clone(),
            reason: reason.to_owned(),
        };
        match answer.iss {
            Some(iss) if iss == pending.issuer => {}
            Some(_) => return Err(untrusted("it comes from another server than was asked")),
            None => return Err(untrusted("it does not say which server it comes from")),
        }
        if let Some(error) = answer.error {
            return Err(OAuthError::Denied {
                host: server_host,
                reason: short(answer.error_description.unwrap_or(error)),
            });
        }
        let code = answer.code.ok_or_else(|| untrusted("it has no code"))?;
        let server = self.in_charge(&pending.pds, &pending.issuer).await?;
        let prover = self.prover(&pending.dpop_key);
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", self.parts.registration.redirect_uri()),
            ("code_verifier", pending.code_verifier.expose_secret()),
        ];
        let token: TokenAnswer = self
            .at(&server, &prover)
            .post_for(&server.token_endpoint, &form)
            .await?;
        let Some(did) = pending.did.clone().or_else(|| token.account()) else {
            let given = token.refresh_token.as_ref().unwrap_or(&token.access_token);
            self.give_back(&server, &prover, given).await;
            return Err(untrusted("it does not say whom it signed in"));
        };
        let (mut session, problem) = self.session(
            token,
            OAuthSession {
                did,
                pds: pending.pds.clone(),
                issuer: pending.issuer.clone(),
                client_id: self.parts.registration.metadata().client_id.clone(),
                client_key: None,
                requested_scope: pending.requested_scope.clone(),
                granted_scope: String::new(),
                access_token: SecretString::default(),
                refresh_token: None,
                expires_at: None,
                dpop_key: Arc::clone(&pending.dpop_key),
            },
            true,
        );
        let problem = match problem {
            None => match self.confirm_home(&session).await {
                Ok(home) => {
                    session.pds = home;
                    None
                }
                Err(problem) => Some(problem),
            },
            problem => problem,
        };
        match problem {
            None => Ok(session),
            Some(problem) => {
                if matches!(problem, OAuthError::Denied { .. }) {
                    self.ask_for_more_next_time(&session);
                }
                self.revoke(&session).await;
                Err(problem)
            }
        }
    }

    /// Trades the refresh token of `session`, which is then spent.
    ///
    /// # Errors
    /// `Ended` if the session is over: the token is refused, the new tokens are not usable (and are revoked), or the account has
    /// moved to a PDS of another server. Any other error says nothing about the session.
    ///
    /// # Cancel safety
    /// None: dropped after sending, the old token may be spent and the new one lost.
    pub async fn refresh(&self, session: &OAuthSession) -> Result<OAuthSession, OAuthError> {
        let refresh_token = session
            .refresh_token
            .as_ref()
            .ok_or_else(|| ended("the server gave no way to go on with the session"))?;
        let pds = self
            .home(&session.did, true)
            .await
            .unwrap_or_else(|| session.pds.clone());
        let server = self
            .in_charge(&pds, &session.issuer)
            .await
            .map_err(|error| match error {
                OAuthError::Untrusted { .. } if pds.origin() == session.pds.origin() => {
                    ended(&format!("another server is in charge of {} now", host(&pds)))
                }
                OAuthError::Untrusted { .. } => moved(&pds),
                // The old server may be kept up for a while after a move to one that is not OAuth's.
                OAuthError::Unsuitable { .. } if pds.origin() != session.pds.origin() => moved(&pds),
                error => error,
            })?;
        let prover = self.prover(&session.dpop_key);
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose_secret()),
        ];
        let token = self
            .at(&server, &prover)
            .post_for(&server.token_endpoint, &form)
            .await
            .map_err(|error| match error {
                OAuthError::Refused {
                    error, description, ..
                } if error == "invalid_grant" => ended(&description.unwrap_or(error)),
                error => error,
            })?;
        let mut before = session.clone();
        before.pds = pds;
        match self.session(token, before, false) {
            (session, None) => Ok(session),
            (session, Some(error)) => {
                self.revoke(&session).await;
                Err(ended(&error.to_string()))
            }
        }
    }

    /// Checks that the account is still at a PDS where `session` is valid. The account's document is fetched again only if the
    /// cached one names another PDS; a document that cannot be fetched counts as no move.
    ///
    /// # Errors
    /// `Ended` if it has moved to a PDS of another server.
    pub async fn check_home(&self, session: &OAuthSession) -> Result<(), OAuthError> {
        match self.home(&session.did, false).await {
            Some(pds) if pds.origin() != session.pds.origin() => {}
            _ => return Ok(()),
        }
        // Before a session is ended, the current document is fetched.
        let Some(pds) = self.home(&session.did, true).await else {
            return Ok(());
        };
        if pds.origin() == session.pds.origin() {
            return Ok(());
        }
        match self.in_charge(&pds, &session.issuer).await {
            // One server in charge of several PDSes: the refresh will find the new one.
            Ok(_) | Err(OAuthError::Unavailable { .. }) => Ok(()),
            Err(_) => Err(moved(&pds)),
        }
    }

    /// Revokes the tokens of `session`, if the server can be reached and supports revocation.
    pub async fn revoke(&self, session: &OAuthSession) {
        if let Err(error) = self.try_revoke(session).await {
            tracing::info!(did = %session.did, %error, "a session could not be revoked at its server");
        }
    }

    async fn try_revoke(&self, session: &OAuthSession) -> Result<(), OAuthError> {
        let server = self.servers.of_pds(&session.pds).await?;
        if server.issuer != session.issuer {
            return Ok(());
        }
        let prover = self.prover(&session.dpop_key);
        let token = session.refresh_token.as_ref().unwrap_or(&session.access_token);
        self.revoke_token(&server, &prover, token).await
    }

    async fn revoke_token(
        &self,
        server: &AuthorizationServer,
        prover: &DpopProver,
        token: &SecretString,
    ) -> Result<(), OAuthError> {
        if let Some(endpoint) = &server.revocation_endpoint {
            self.at(server, prover)
                .post(endpoint, &[("token", token.expose_secret())])
                .await?;
        }
        Ok(())
    }

    /// Revokes a token that was not used for a session, if the server supports revocation.
    async fn give_back(&self, server: &AuthorizationServer, prover: &DpopProver, token: &SecretString) {
        if let Err(error) = self.revoke_token(server, prover, token).await {
            tracing::info!(issuer = %server.issuer, %error, "a token could not be given back");
        }
    }

    fn at<'a>(&'a self, server: &'a AuthorizationServer, prover: &'a DpopProver) -> Server<'a> {
        Server {
            egress: &self.parts.egress,
            registration: &self.parts.registration,
            server,
            prover,
            clock: self.parts.clock.as_ref(),
            timeout: self.parts.timeout,
        }
    }

    /// The server in charge of `pds`, which must be `issuer`.
    async fn in_charge(&self, pds: &Url, issuer: &str) -> Result<Arc<AuthorizationServer>, OAuthError> {
        let server = self.servers.of_pds(pds).await?;
        if server.issuer == issuer {
            Ok(server)
        } else {
            Err(OAuthError::Untrusted {
                host: issuer_host(issuer),
                reason: format!("it is not in charge of {}", host(pds)),
            })
        }
    }

    /// The PDS of `did`; `None` when it cannot be resolved now.
    async fn home(&self, did: &Did, is_fresh: bool) -> Option<Url> {
        let identities = &self.parts.identities;
        let document = if is_fresh {
            identities.refresh_document(did).await
        } else {
            identities.resolve_document(did).await
        };
        document.ok()?.service("atproto_pds")
    }

    /// The PDS of a new session's account. The server that signed the account in must be in charge of that PDS.
    async fn confirm_home(&self, session: &OAuthSession) -> Result<Url, OAuthError> {
        let Some(pds) = self.home(&session.did, true).await else {
            return Err(OAuthError::Unavailable {
                host: session.did.to_string(),
                reason: "the account's document cannot be had".to_owned(),
                retry_after: None,
            });
        };
        self.in_charge(&pds, &session.issuer).await?;
        Ok(pds)
    }

    /// The session that `answer` makes of `before`; with it, why it must not be used.
    fn session(
        &self,
        answer: TokenAnswer,
        before: OAuthSession,
        is_new: bool,
    ) -> (OAuthSession, Option<OAuthError>) {
        let server_host = issuer_host(&before.issuer);
        let now = self.parts.clock.now();
        let is_other = match (&answer.sub, answer.account()) {
            (None, _) => is_new,
            (Some(_), Some(sub)) => sub != before.did,
            (Some(_), None) => true,
        };
        let granted_scope = answer.scope.unwrap_or_else(|| {
            if is_new {
                before.requested_scope.clone()
            } else {
                before.granted_scope.clone()
            }
        });
        let texts = [
            Some(answer.access_token.expose_secret()),
            answer.refresh_token.as_ref().map(|token| token.expose_secret()),
            Some(granted_scope.as_str()),
        ];
        let is_too_long = texts
            .into_iter()
            .flatten()
            .any(|text| text.len() > MAX_OAUTH_TOKEN_BYTES);
        let missing = scopes::missing(&before.requested_scope, &granted_scope);
        let problem = if !answer.token_type.eq_ignore_ascii_case("DPoP") {
            Some(OAuthError::Unsuitable {
                host: server_host,
                reason: "its tokens are not bound to a key".to_owned(),
            })
        } else if is_too_long {
            Some(OAuthError::Unsuitable {
                host: server_host,
                reason: "its tokens or scopes are too long".to_owned(),
            })
        } else if is_other {
            Some(OAuthError::Untrusted {
                host: server_host,
                reason: format!("it signed in another account than {}", before.did),
            })
        } else if missing.is_empty() {
            None
        } else {
            Some(OAuthError::Denied {
                host: server_host,
                reason: format!(
                    "sign in again and grant all of it; missing: {}",
                    short(&missing.join(" "))
                ),
            })
        };
        let session = OAuthSession {
            client_key: self.parts.registration.key_id().map(str::to_owned),
            granted_scope,
            access_token: answer.access_token,
            refresh_token: answer.refresh_token.or(before.refresh_token),
            expires_at: answer.expires_in.map(|seconds| expiry(now, &seconds)),
            ..before
        };
        (session, problem)
    }

    /// A server that drops scopes which it does not know grants `atproto` alone, or all but a permission set: it is asked for
    /// coarser ones, or for what the set stands for, from now on.
    fn ask_for_more_next_time(&self, session: &OAuthSession) {
        let steps = self.parts.registration.scopes().steps();
        let asked = steps.iter().position(|step| *step == session.requested_scope);
        let is_dropped = session.granted_scope == "atproto"
            || scopes::lacks_permission_set(&session.requested_scope, &session.granted_scope);
        if is_dropped && let Some(index) = asked {
            self.steps_in_vain.insert(session.issuer.clone(), index + 1);
        }
    }
}

impl fmt::Debug for OAuthClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthClient")
            .field("client_id", &self.parts.registration.metadata().client_id)
            .finish_non_exhaustive()
    }
}

fn ended(reason: &str) -> OAuthError {
    OAuthError::Ended {
        reason: format!("the session was ended by its server ({})", short(reason)),
    }
}

fn moved(pds: &Url) -> OAuthError {
    OAuthError::Ended {
        reason: format!("the account has moved to {}", host(pds)),
    }
}

fn issuer_host(issuer: &str) -> String {
    Url::parse(issuer).map_or_else(|_| issuer.to_owned(), |url| host(&url))
}

/// A server's error description, shortened.
fn short(text: &str) -> String {
    text.chars().take(MAX_DESCRIPTION_CHARS).collect()
}
