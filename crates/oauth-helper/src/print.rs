//! What is printed.

use std::fmt::Write as _;

use atcr_auth::oauth::OAuthSession;
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

/// One request with its proof.
#[derive(Debug)]
pub struct Prepared {
    /// Its method.
    pub method: Method,
    /// Its URL.
    pub url: Url,
    /// The proof for it.
    pub dpop: String,
}

/// The outcome of a sign-in, ready to be printed.
#[derive(Debug)]
pub struct Printed {
    json: Value,
    curl: String,
    lines: Vec<(&'static str, String)>,
}

impl Printed {
    /// The session, and one request with it.
    #[must_use]
    pub fn session(session: &OAuthSession, request: Prepared) -> Self {
        let access = session.access_token.expose_secret();
        let refresh = session.refresh_token.as_ref().map(|token| token.expose_secret());
        let expires_at = session.expires_at.map(|at| at.to_rfc3339());
        let authorization = format!("DPoP {access}");
        let curl = format!(
            "curl -X {} {} \\\n  -H {} \\\n  -H {}\n",
            request.method,
            quoted(request.url.as_str()),
            quoted(&format!("Authorization: {authorization}")),
            quoted(&format!("DPoP: {}", request.dpop)),
        );
        let json = json!({
            "did": session.did,
            "pds": session.pds,
            "issuer": session.issuer,
            "client_id": session.client_id,
            "scope": session.granted_scope,
            "access_token": access,
            "refresh_token": refresh,
            "expires_at": expires_at,
            "dpop_key": session.dpop_key.to_multikey().expose_secret(),
            "dpop_thumbprint": session.dpop_key.thumbprint(),
            "request": {
                "method": request.method.as_str(),
                "url": request.url,
                "headers": { "Authorization": authorization, "DPoP": request.dpop },
            },
            "curl": curl,
        });
        let lines = vec![
            ("DID", session.did.to_string()),
            ("PDS", session.pds.to_string()),
            ("Issuer", session.issuer.clone()),
            ("Scope", session.granted_scope.clone()),
            ("Access token", access.to_owned()),
            ("Refresh token", refresh.unwrap_or("none").to_owned()),
            ("Expires", expires_at.unwrap_or_else(|| "unknown".to_owned())),
            ("Key", session.dpop_key.thumbprint()),
            ("Authorization", authorization),
            ("DPoP", request.dpop),
        ];
        Self { json, curl, lines }
    }

    /// A token for the service `aud`.
    #[must_use]
    pub fn service_token(session: &OAuthSession, aud: &str, lxm: &str, token: &SecretString) -> Self {
        let token = token.expose_secret();
        let curl = format!(
            "curl {} \\\n  -H {}\n",
            quoted("https://SERVICE/xrpc/METHOD"),
            quoted(&format!("Authorization: Bearer {token}")),
        );
        Self {
            json: json!({
                "did": session.did,
                "aud": aud,
                "lxm": lxm,
                "service_token": token,
                "curl": curl,
            }),
            lines: vec![
                ("DID", session.did.to_string()),
                ("Audience", aud.to_owned()),
                ("Method", lxm.to_owned()),
                ("Service token", token.to_owned()),
            ],
            curl,
        }
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.json)
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.lines {
            let _ = writeln!(text, "{name}: {value}");
        }
        let _ = write!(text, "\n{}", self.curl);
        text
    }
}

/// In single quotes for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
