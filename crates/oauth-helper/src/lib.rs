//! A developer's tool: signs in to a PDS by OAuth in the browser and prints tokens, DPoP headers and curl lines, so that
//! endpoints of PDSes and holds can be called by hand.
//!
//! - [`options`]: the command line
//! - [`callback`]: the listener to which the browser returns
//! - [`print`]: what is printed
//!
//! The OAuth flow itself is in [`atcr_auth::oauth`], which the appview uses too.

pub mod callback;
pub mod options;
pub mod print;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::{EgressClient, EgressPolicy, Limits};
use atcr_atproto::identity::{IdentityResolver, Resolver, ResolverConfig};
use atcr_atproto::pds::{PdsAuth, PdsClient};
use atcr_atproto::syntax::AtIdentifier;
use atcr_auth::oauth::{
    Answer, OAuthClient, OAuthClientParts, OAuthSession, PendingSignIn, Registration, ScopePlan,
};
use atcr_auth::service_token::UNIVERSAL_METHOD;
use http::Method;
use secrecy::ExposeSecret as _;
use url::Url;

use self::callback::{CALLBACK_PATH, Listener};
pub use self::options::Options;
use self::print::{Prepared, Printed};

/// How long a server may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes that are read of an answer of which only the nonce counts.
const MAX_PROBE_BYTES: usize = 1024 * 1024;

/// Does what the command line says.
pub async fn run(options: Options) -> ExitCode {
    match sign_in(&options).await {
        Ok(printed) => {
            let text = if options.json {
                printed.to_json()
            } else {
                printed.to_text()
            };
            // When the output is closed, the error has no reader.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error; standard output is for the result.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

async fn sign_in(options: &Options) -> anyhow::Result<Printed> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let egress = EgressClient::new(EgressPolicy {
        allow_loopback: options.local,
        ..EgressPolicy::default()
    })?;
    let identities = resolver(options, &egress, &clock)?;
    let listener = Listener::bind(options.port).await?;
    let scopes = match &options.scopes {
        Some(scopes) => ScopePlan::only(scopes),
        None => ScopePlan::registry(None),
    };
    let client = OAuthClient::new(OAuthClientParts {
        registration: Registration::public(
            Registration::loopback_redirect(Some(listener.port()), CALLBACK_PATH),
            scopes,
        ),
        egress: egress.clone(),
        identities: Arc::clone(&identities),
        clock,
        timeout: TIMEOUT,
    });
    let (url, pending) = begin(options, &client, identities.as_ref()).await?;
    say(&format!(
        "Open this page and sign in; this program waits:\n\n  {url}\n"
    ));
    let callback = listener.wait(pending.state.expose_secret()).await?;
    let answer = Answer {
        iss: callback.iss.as_deref(),
        code: callback.code.as_ref(),
        error: callback.error.as_deref(),
        error_description: callback.error_description.as_deref(),
    };
    let session = client.finish(&pending, answer).await?;
    let printed = use_session(options, &client, egress, &session).await;
    // A session that is not printed is of no use: it is revoked.
    if printed.is_err() || options.service_token.is_some() {
        client.revoke(&session).await;
    }
    printed
}

/// Announces the sign-in: of the named account, else of any account at the named PDS.
async fn begin(
    options: &Options,
    client: &OAuthClient,
    identities: &dyn IdentityResolver,
) -> anyhow::Result<(Url, PendingSignIn)> {
    match (&options.handle, &options.pds) {
        (None, None) => bail!("name an account (--handle) or a server (--pds)"),
        (None, Some(pds)) => Ok(client.begin_at(pds).await?),
        (Some(handle), pds) => {
            let identifier: AtIdentifier = handle
                .trim_start_matches('@')
                .parse()
                .map_err(|_| anyhow!("--handle takes a handle or a DID"))?;
            let mut sailor = identities.resolve(&identifier).await?.as_ref().clone();
            if let Some(pds) = pds {
                sailor.pds = Some(pds.clone());
            }
            Ok(client.begin(&sailor, identifier.as_str()).await?)
        }
    }
}

/// The result, with a session that has begun.
async fn use_session(
    options: &Options,
    client: &OAuthClient,
    egress: EgressClient,
    session: &OAuthSession,
) -> anyhow::Result<Printed> {
    if let Some(aud) = &options.service_token {
        let lxm = options.lxm.as_deref().unwrap_or(UNIVERSAL_METHOD);
        let prover = client.prover(&session.dpop_key);
        let auth = PdsAuth::Dpop {
            token: &session.access_token,
            prover: &prover,
        };
        let token = PdsClient::new(session.pds.clone(), egress)
            .get_service_auth(auth, aud, Some(lxm), None)
            .await
            .context("no service token")?;
        return Ok(Printed::service_token(session, aud, lxm, &token));
    }
    let request = prepare(options, client, &egress, session).await?;
    Ok(Printed::session(session, request))
}

/// Headers for one request, with the nonce that its server asks for.
async fn prepare(
    options: &Options,
    client: &OAuthClient,
    egress: &EgressClient,
    session: &OAuthSession,
) -> anyhow::Result<Prepared> {
    let method: Method = options
        .method
        .to_uppercase()
        .parse()
        .context("--method is not an HTTP method")?;
    let url = match &options.url {
        Some(url) => url.clone(),
        None => session.pds.join("/xrpc/com.atproto.server.getSession")?,
    };
    if url.origin() != session.pds.origin() {
        bail!(
            "the access token is for {} alone; for another server ask for a --service-token",
            session.pds.origin().ascii_serialization()
        );
    }
    let prover = client.prover(&session.dpop_key);
    // Only an answer has the nonce. The probe is a request without effect, not the requested one.
    let probe = session.pds.join("/xrpc/com.atproto.server.getSession")?;
    let limits = Limits {
        max_bytes: MAX_PROBE_BYTES,
        timeout: TIMEOUT,
    };
    let request = egress.request(Method::GET, &probe)?;
    prover
        .send(egress, request, Some(&session.access_token), limits)
        .await?;
    let dpop = prover.proof(&method, &url, Some(&session.access_token))?;
    Ok(Prepared { method, url, dpop })
}

fn resolver(
    options: &Options,
    egress: &EgressClient,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn IdentityResolver>> {
    let mut settings = ResolverConfig::new(options.plc_directory_url.clone());
    settings.handle_resolver.clone_from(&options.handle_resolver_url);
    settings.allow_loopback = options.local;
    Ok(Arc::new(Resolver::new(
        settings,
        egress.clone(),
        Arc::clone(clock),
    )?))
}
