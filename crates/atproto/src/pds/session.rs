//! Sessions by password, and tokens for other services.

use atrium_api::com::atproto::server::{create_session, get_service_auth, refresh_session};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::{PdsAuth, PdsClient, PdsError, PdsSession};
use crate::lexicon::nsid;

impl PdsClient {
    /// Signs in with an app password. `identifier` is a handle or a DID.
    ///
    /// # Errors
    /// A wrong password is `Xrpc` with status 401, `AuthenticationRequired`; an account password with a second factor
    /// `AuthFactorTokenRequired`; a suspended account `AccountTakedown`.
    pub async fn create_session(
        &self,
        identifier: &str,
        password: &SecretString,
    ) -> Result<PdsSession, PdsError> {
        let input = create_session::InputData {
            allow_takendown: None,
            auth_factor_token: None,
            identifier: identifier.to_owned(),
            password: password.expose_secret().to_owned(),
        };
        let output: create_session::OutputData = self
            .procedure(nsid::SERVER_CREATE_SESSION, &input, PdsAuth::None)
            .await?;
        self.session(
            output.did.as_str(),
            output.handle.as_str(),
            output.access_jwt,
            output.refresh_jwt,
        )
    }

    /// Exchanges a refresh token for a new session. The token is then spent.
    ///
    /// # Errors
    /// [`PdsError::is_unauthorized`] for a spent or expired token: sign in again.
    ///
    /// # Cancel safety
    /// Dropped after sending, the old refresh token may be spent and the new one lost: sign in again.
    pub async fn refresh_session(&self, refresh_jwt: &SecretString) -> Result<PdsSession, PdsError> {
        let auth = PdsAuth::Bearer(refresh_jwt);
        let request = self.request(http::Method::POST, nsid::SERVER_REFRESH_SESSION, auth)?;
        let output: refresh_session::OutputData = self.decode(&self.send(request, auth).await?)?;
        self.session(
            output.did.as_str(),
            output.handle.as_str(),
            output.access_jwt,
            output.refresh_jwt,
        )
    }

    /// Ends the session of `refresh_jwt`. An access token of it may stay valid until it expires.
    ///
    /// # Errors
    /// [`PdsError::is_unauthorized`] or `Xrpc` `ExpiredToken` if the session is over already.
    pub async fn delete_session(&self, refresh_jwt: &SecretString) -> Result<(), PdsError> {
        let auth = PdsAuth::Bearer(refresh_jwt);
        let request = self.request(http::Method::POST, nsid::SERVER_DELETE_SESSION, auth)?;
        self.send(request, auth).await?;
        Ok(())
    }

    fn session(
        &self,
        did: &str,
        handle: &str,
        access_jwt: String,
        refresh_jwt: String,
    ) -> Result<PdsSession, PdsError> {
        Ok(PdsSession {
            did: did.parse().map_err(|_| self.malformed("DID"))?,
            handle: handle.parse().map_err(|_| self.malformed("handle"))?,
            access_jwt: SecretString::from(access_jwt),
            refresh_jwt: SecretString::from(refresh_jwt),
        })
    }

    /// Asks for a service token with which the account's owner acts at `aud`.
    ///
    /// `lxm` binds it to one method; `exp` is when it ends, `None` for the server's own choice of 60 seconds.
    ///
    /// # Errors
    /// `Xrpc` `BadExpiration` if `exp` is beyond what the server grants; [`PdsError::is_unauthorized`] if `auth` is no
    /// longer good.
    pub async fn get_service_auth(
        &self,
        auth: PdsAuth<'_>,
        aud: &str,
        lxm: Option<&str>,
        exp: Option<DateTime<Utc>>,
    ) -> Result<SecretString, PdsError> {
        let lxm = lxm
            .map(|name| name.parse().map_err(|_| self.malformed("method name")))
            .transpose()?;
        let parameters = get_service_auth::ParametersData {
            aud: aud.to_owned(),
            exp: exp.map(|at| at.timestamp()),
            lxm,
        };
        let output: get_service_auth::OutputData = self
            .query(nsid::SERVER_GET_SERVICE_AUTH, &parameters, auth)
            .await?;
        Ok(SecretString::from(output.token))
    }
}
