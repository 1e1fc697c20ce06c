//! From a PDS to its authorization server: each rule of the documents, broken once.

use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_auth::oauth::{AuthorizationServer, AuthorizationServers, OAuthError};
use atcr_test_support::fakes::{FakePds, Misbehaviour, PdsFault};
use serde_json::{Value, json};
use url::Url;

async fn look(pds: &FakePds) -> Result<AuthorizationServer, OAuthError> {
    let egress = EgressClient::new(EgressPolicy::of_server(true)).unwrap();
    let url = Url::parse(&pds.url()).unwrap();
    let found = AuthorizationServers::new(egress).of_pds(&url).await?;
    Ok(found.as_ref().clone())
}

#[derive(Clone, Copy)]
enum Document {
    Resource,
    Server,
}
use Document::{Resource, Server};

async fn with(
    document: Document,
    name: &'static str,
    value: Value,
) -> Result<AuthorizationServer, OAuthError> {
    let pds = FakePds::start().await.unwrap();
    let url = pds.url();
    // What the fake is called is known only now.
    let value: Value = serde_json::from_str(&value.to_string().replace("SELF", &url)).unwrap();
    pds.misbehave(|server: &mut Misbehaviour| match document {
        Resource => server.resource_document.push((name, value)),
        Server => server.server_document.push((name, value)),
    });
    look(&pds).await
}

#[tokio::test]
async fn a_server_that_breaks_a_rule_is_not_used() {
    let cases: [(Document, &'static str, Value, &str); 24] = [
        (
            Resource,
            "resource",
            json!("https://other.example"),
            "about another server",
        ),
        (Resource, "resource", json!(null), "malformed"),
        (
            Resource,
            "authorization_servers",
            json!([]),
            "exactly one authorization server",
        ),
        (
            Resource,
            "authorization_servers",
            json!(null),
            "exactly one authorization server",
        ),
        (
            Resource,
            "authorization_servers",
            json!(["SELF", "https://other.example"]),
            "exactly one",
        ),
        (
            Resource,
            "authorization_servers",
            json!(["SELF/tenant"]),
            "not named by an origin",
        ),
        (
            Resource,
            "authorization_servers",
            json!(["SELF?a=b"]),
            "not named by an origin",
        ),
        (
            Resource,
            "authorization_servers",
            json!(["not a URL"]),
            "not named by an origin",
        ),
        (
            Server,
            "issuer",
            json!("https://other.example"),
            "about another issuer",
        ),
        (Server, "issuer", json!(null), "malformed"),
        (
            Server,
            "protected_resources",
            json!(["https://other.example"]),
            "not in charge of it",
        ),
        (Server, "protected_resources", json!([]), "not in charge of it"),
        (
            Server,
            "authorization_response_iss_parameter_supported",
            json!(false),
            "does not name itself",
        ),
        (
            Server,
            "authorization_response_iss_parameter_supported",
            json!(null),
            "does not name itself",
        ),
        (
            Server,
            "code_challenge_methods_supported",
            json!(["plain"]),
            "PKCE with S256",
        ),
        (
            Server,
            "code_challenge_methods_supported",
            json!(null),
            "PKCE with S256",
        ),
        (
            Server,
            "dpop_signing_alg_values_supported",
            json!(["RS256"]),
            "DPoP with ES256",
        ),
        (
            Server,
            "dpop_signing_alg_values_supported",
            json!(null),
            "DPoP with ES256",
        ),
        (
            Server,
            "pushed_authorization_request_endpoint",
            json!(null),
            "pushed authorization requests",
        ),
        (
            Server,
            "authorization_endpoint",
            json!("http://other.example/a"),
            "URL that is not acceptable",
        ),
        (
            Server,
            "token_endpoint",
            json!("http://other.example/t"),
            "URL that is not acceptable",
        ),
        (
            Server,
            "pushed_authorization_request_endpoint",
            json!("http://other.example/p"),
            "not acceptable",
        ),
        (
            Server,
            "revocation_endpoint",
            json!("http://other.example/r"),
            "URL that is not acceptable",
        ),
        (Server, "token_endpoint", json!(null), "malformed"),
    ];
    for (document, name, value, reason) in cases {
        let case = format!("{name}: {value}");
        match with(document, name, value).await {
            Err(OAuthError::Unsuitable { reason: given, .. }) => {
                assert!(given.contains(reason), "{case}: {given}");
            }
            other => panic!("{case}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_the_rules_leave_open_is_taken() {
    for (document, name, value) in [
        (Resource, "authorization_servers", json!(["SELF/"])),
        (Server, "protected_resources", json!(null)),
        (
            Server,
            "protected_resources",
            json!(["https://other.example", "SELF/"]),
        ),
        (Server, "revocation_endpoint", json!(null)),
        (
            Server,
            "code_challenge_methods_supported",
            json!(["plain", "S256"]),
        ),
        (
            Server,
            "authorization_endpoint",
            json!("https://other.example/authorize"),
        ),
    ] {
        let case = format!("{name}: {value}");
        let found = with(document, name, value).await;
        assert!(found.is_ok(), "{case}: {found:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_one_that_breaks_rules() {
    let pds = FakePds::start().await.unwrap();
    for status in [500, 503, 429] {
        pds.set_fault("oauth/metadata", Some(PdsFault::Status(status, "Down")));
        let error = look(&pds).await.unwrap_err();
        assert!(
            matches!(error, OAuthError::Unavailable { .. }),
            "{status}: {error}"
        );
    }
    // No redirect is followed, and no document is no OAuth.
    for status in [302, 404] {
        pds.set_fault("oauth/metadata", Some(PdsFault::Status(status, "NotHere")));
        let error = look(&pds).await.unwrap_err();
        assert!(
            matches!(error, OAuthError::Unsuitable { .. }),
            "{status}: {error}"
        );
    }
}
