//! Who this server is to authorization servers: a public client on loopback, else a confidential one with a key.

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::syntax::Nsid;
use atcr_auth::oauth::{Branding, Registration, ScopePlan};

use crate::settings::AppViewSettings;

/// Where browsers come back to after a sign-in at their account's server.
const CALLBACK_PATH: &str = "/auth/oauth/callback";

/// The registration that the settings describe. Makes the key if it is missing.
///
/// # Errors
/// A key that cannot be read or made; a URL that no client may have.
pub(super) fn registration(settings: &AppViewSettings) -> anyhow::Result<Registration> {
    let base_url = &settings.base_url;
    let scopes = ScopePlan::registry(settings.permission_set.as_ref().map(Nsid::as_str));
    if Registration::is_public(base_url) {
        let redirect = Registration::loopback_redirect(base_url.port(), CALLBACK_PATH);
        return Ok(Registration::public(redirect, scopes));
    }
    let key = SigningKey::load_or_create(&settings.paths.oauth_key, Curve::P256)?;
    let branding = Branding {
        name: Some(settings.branding.name.clone()).filter(|name| !name.is_empty()),
        logo_uri: settings.branding.logo_url.clone(),
        tos_uri: settings.branding.terms_url.clone(),
        policy_uri: settings.branding.privacy_url.clone(),
    };
    // Sign-ins fail on a clock that is off before anything else does: the time is in the log beside the key.
    tracing::info!(
        kid = key.public_key().to_did_key(),
        time = %chrono::Local::now().to_rfc3339(),
        "OAuth client key"
    );
    Ok(Registration::confidential(
        base_url,
        CALLBACK_PATH,
        key,
        branding,
        scopes,
    )?)
}
