//! Handles: where they are looked up, which confirm each other, how long they are remembered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::network::{Network, PLC, answer, did, document, egress, handle, key};
use crate::identity::handle_well_known::{self, Answer};
use crate::identity::resolver::DEFAULT_NEGATIVE_TTL;
use crate::identity::{IdentityError, IdentityResolver as _};
use crate::syntax::AtIdentifier;

pub(super) const ALICE: &str = "alice.example.com";

fn identifier(text: &str) -> AtIdentifier {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_plc_did_is_resolved_with_its_confirmed_handle() {
    let network = Network::start().await;
    let key = key();
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &key)).await;
    network.dns.set(ALICE, &[&format!("did={PLC}")]);
    let identity = network.resolver.resolve_did(&did(PLC)).await.unwrap();
    assert_eq!(identity.handle, Some(handle(ALICE)));
    assert_eq!(identity.signing_key, Some(key.public_key()));
    assert_eq!(
        identity.pds.as_ref().unwrap().as_str(),
        "https://pds.example.com/"
    );
}

#[tokio::test]
async fn a_handle_is_resolved_by_dns_and_confirmed_by_the_document() {
    let network = Network::start().await;
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &key())).await;
    network.dns.set(ALICE, &["v=spf1 -all", &format!("did={PLC}")]);
    let identity = network
        .resolver
        .resolve(&identifier("Alice.Example.COM"))
        .await
        .unwrap();
    assert_eq!(
        (identity.did.as_str(), &identity.handle),
        (PLC, &Some(handle(ALICE)))
    );
    assert!(Arc::ptr_eq(
        &identity,
        &network.resolver.resolve(&identifier(PLC)).await.unwrap()
    ));
}

#[tokio::test]
async fn a_handle_that_the_document_does_not_claim_is_refused() {
    let network = Network::start().await;
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &key())).await;
    network.dns.set("mallory.example.com", &[&format!("did={PLC}")]);
    let error = network
        .resolver
        .resolve(&identifier("mallory.example.com"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, IdentityError::HandleNotConfirmed { did, .. } if did.as_str() == PLC),
        "{error:?}"
    );
    assert!(error.is_not_found() && !error.is_transient());
}

#[tokio::test]
async fn a_claimed_handle_that_leads_elsewhere_is_left_out() {
    let network = Network::start().await;
    network
        .publish_plc(PLC, 200, &document(PLC, "bob.example.com", &key()))
        .await;
    network
        .dns
        .set("bob.example.com", &["did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"]);
    assert_eq!(
        network.resolver.resolve_did(&did(PLC)).await.unwrap().handle,
        None
    );
}

#[tokio::test]
async fn a_handle_newer_than_the_remembered_document_is_found() {
    let network = Network::start().await;
    network
        .publish_plc(PLC, 200, &document(PLC, "old.example.com", &key()))
        .await;
    network.resolver.resolve_did(&did(PLC)).await.unwrap();
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &key())).await;
    network.dns.set(ALICE, &[&format!("did={PLC}")]);
    assert_eq!(
        network.resolver.resolve(&identifier(ALICE)).await.unwrap().handle,
        Some(handle(ALICE))
    );
    assert_eq!(
        network.resolver.resolve_did(&did(PLC)).await.unwrap().handle,
        Some(handle(ALICE))
    );
}

#[tokio::test]
async fn contradicting_or_senseless_txt_records_name_nobody() {
    let network = Network::start().await;
    network.dns.set(
        "two.example.com",
        &[&format!("did={PLC}"), "did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"],
    );
    network.dns.set("text.example.com", &["did=hello"]);
    network.dns.set("bare.example.com", &[PLC]);
    for name in [
        "two.example.com",
        "text.example.com",
        "bare.example.com",
        "none.example.com",
        "alice.local",
    ] {
        let error = network.resolver.resolve(&identifier(name)).await.unwrap_err();
        assert!(
            matches!(error, IdentityError::HandleNotFound { .. }),
            "{name}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_handle_on_a_host_that_must_not_be_contacted_is_not_found() {
    let network = Network::start().await;
    let error = network
        .resolver
        .resolve(&identifier("internal.example.com"))
        .await
        .unwrap_err();
    assert!(matches!(error, IdentityError::HandleNotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_dns_outage_is_told_from_absence_and_not_remembered() {
    let network = Network::start().await;
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &key())).await;
    network.dns.set(ALICE, &[&format!("did={PLC}")]);
    network.dns.set_down(true);
    let error = network.resolver.resolve(&identifier(ALICE)).await.unwrap_err();
    assert!(error.is_transient() && !error.is_not_found(), "{error:?}");
    network.dns.set_down(false);
    network.resolver.resolve(&identifier(ALICE)).await.unwrap();
}

#[tokio::test]
async fn an_absent_handle_is_remembered_for_the_negative_ttl() {
    let network = Network::start().await;
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &key())).await;
    network.resolver.resolve(&identifier(ALICE)).await.unwrap_err();
    network.dns.set(ALICE, &[&format!("did={PLC}")]);
    network.resolver.resolve(&identifier(ALICE)).await.unwrap_err();
    assert_eq!(network.dns.queries.load(Ordering::SeqCst), 1);
    network.clock.pass(DEFAULT_NEGATIVE_TTL);
    network.resolver.resolve(&identifier(ALICE)).await.unwrap();
}

#[tokio::test]
async fn invalidating_a_handle_asks_again() {
    let network = Network::start().await;
    network.resolver.resolve(&identifier(ALICE)).await.unwrap_err();
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &key())).await;
    network.dns.set(ALICE, &[&format!("did={PLC}")]);
    network.resolver.invalidate_handle(&handle(ALICE)).await;
    assert_eq!(
        network
            .resolver
            .resolve(&identifier(ALICE))
            .await
            .unwrap()
            .did
            .as_str(),
        PLC
    );
}

#[tokio::test]
async fn a_configured_handle_resolver_is_asked_first() {
    let network = Network::with_handle_resolver(true).await;
    network
        .publish_plc(PLC, 200, &document(PLC, "alice.test", &key()))
        .await;
    network
        .publish_handle("alice.test", 200, &json!({"did": PLC}))
        .await;
    let unknown = json!({"error": "InvalidRequest", "message": "Unable to resolve handle"});
    network.publish_handle("bob.test", 400, &unknown).await;
    network.publish_handle(ALICE, 400, &unknown).await;
    let identity = network.resolver.resolve(&identifier("alice.test")).await.unwrap();
    assert_eq!(identity.did.as_str(), PLC);
    assert!(
        network
            .resolver
            .resolve(&identifier("bob.test"))
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert_eq!(network.dns.queries.load(Ordering::SeqCst), 0);
    // Public handles it does not know are still looked for in DNS.
    network.dns.set(ALICE, &["did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"]);
    let error = network.resolver.resolve(&identifier(ALICE)).await.unwrap_err();
    assert_eq!(network.dns.queries.load(Ordering::SeqCst), 1);
    assert!(matches!(error, IdentityError::DidNotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_failing_handle_resolver_makes_absence_uncertain() {
    let network = Network::with_handle_resolver(true).await;
    network.publish_handle("alice.test", 500, &json!({})).await;
    assert!(
        network
            .resolver
            .resolve(&identifier("alice.test"))
            .await
            .unwrap_err()
            .is_transient()
    );
}

#[tokio::test]
async fn an_uncertain_handle_is_asked_for_again_soon() {
    let network = Network::start().await;
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &key())).await;
    network.dns.set(ALICE, &[&format!("did={PLC}")]);
    network.dns.set_down(true);
    assert_eq!(
        network.resolver.resolve_did(&did(PLC)).await.unwrap().handle,
        None
    );
    network.dns.set_down(false);
    network.clock.pass(DEFAULT_NEGATIVE_TTL);
    assert_eq!(
        network.resolver.resolve_did(&did(PLC)).await.unwrap().handle,
        Some(handle(ALICE))
    );
    assert_eq!(network.plc_requests().await, 1);
}

#[tokio::test]
async fn the_well_known_file_holds_a_did_or_names_nobody() {
    let alice = handle(ALICE);
    let ask = async |status: u16, body: &str| {
        let server = MockServer::start().await;
        let response = ResponseTemplate::new(status).set_body_string(body);
        Mock::given(any()).respond_with(response).mount(&server).await;
        let url = format!("{}/.well-known/atproto-did", server.uri())
            .parse()
            .unwrap();
        handle_well_known::ask(&egress(true), &alice, &url).await
    };
    assert!(matches!(ask(200, &format!("{PLC}\n")).await, Ok(Answer::Did(did)) if did.as_str() == PLC));
    let page = "<html>".repeat(2000);
    for (status, body) in [
        (200, "hello"),
        (200, ""),
        (200, page.as_str()),
        (404, PLC),
        (403, PLC),
        (301, PLC),
    ] {
        assert!(
            matches!(ask(status, body).await, Ok(Answer::None)),
            "{status} {body:.20}"
        );
    }
    for status in [500, 503, 429, 408] {
        assert!(
            ask(status, PLC).await.is_err_and(|error| error.is_transient()),
            "{status}"
        );
    }
}

#[tokio::test]
async fn the_document_alone_is_resolved_without_asking_after_the_handle() {
    let network = Network::start().await;
    answer(
        &network.plc,
        &format!("/{PLC}"),
        200,
        &document(PLC, ALICE, &key()),
    )
    .await;
    network.resolver.resolve_document(&did(PLC)).await.unwrap();
    assert_eq!(network.dns.queries.load(Ordering::SeqCst), 0);
}
