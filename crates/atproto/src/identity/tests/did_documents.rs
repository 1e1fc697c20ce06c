//! DID documents: where they come from, how long they are remembered, which are refused.

use std::time::Duration;

use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, ResponseTemplate};

use super::network::{Network, PLC, did, document, egress, key};
use super::resolver::ALICE;
use crate::egress::DEFAULT_BODY_CAP;
use crate::identity::resolver::{DEFAULT_NEGATIVE_TTL, DEFAULT_TTL};
use crate::identity::{IdentityError, IdentityResolver as _};

#[tokio::test]
async fn a_did_is_fetched_once_for_many_and_again_when_expired_or_invalidated() {
    let network = Network::start().await;
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &key())).await;
    let plc = did(PLC);
    let askers = (0..50).map(|_| network.resolver.resolve_document(&plc));
    for answer in futures_util::future::join_all(askers).await {
        answer.unwrap();
    }
    assert_eq!(network.plc_requests().await, 1);
    network.clock.pass(DEFAULT_TTL);
    network.resolver.resolve_document(&plc).await.unwrap();
    assert_eq!(network.plc_requests().await, 2);
    network.resolver.invalidate_did(&plc).await;
    network.resolver.resolve_did(&plc).await.unwrap();
    network.resolver.resolve_did(&plc).await.unwrap();
    assert_eq!(network.plc_requests().await, 3);
}

#[tokio::test]
async fn an_unknown_did_is_remembered_and_a_failing_directory_is_not() {
    let network = Network::start().await;
    let plc = did(PLC);
    network.publish_plc(PLC, 503, &json!({})).await;
    for _ in 0..2 {
        assert!(
            network
                .resolver
                .resolve_did(&plc)
                .await
                .unwrap_err()
                .is_transient()
        );
    }
    assert_eq!(network.plc_requests().await, 2);
    network
        .publish_plc(PLC, 404, &json!({"message": "DID not registered"}))
        .await;
    for _ in 0..2 {
        let error = network.resolver.resolve_did(&plc).await.unwrap_err();
        assert!(matches!(error, IdentityError::DidNotFound { .. }), "{error:?}");
    }
    assert_eq!(network.plc_requests().await, 1);
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &key())).await;
    network.clock.pass(DEFAULT_NEGATIVE_TTL);
    network.resolver.resolve_did(&plc).await.unwrap();
}

#[tokio::test]
async fn a_tombstoned_did_does_not_exist() {
    let network = Network::start().await;
    network.publish_plc(PLC, 410, &json!({})).await;
    assert!(
        network
            .resolver
            .resolve_did(&did(PLC))
            .await
            .unwrap_err()
            .is_not_found()
    );
}

#[tokio::test]
async fn plc_identifiers_that_cannot_exist_never_reach_the_directory() {
    let network = Network::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200))
        .mount(&network.plc)
        .await;
    for text in [
        "did:plc:short",
        "did:plc:..%2f..%2fadmin",
        "did:plc:ewvi7nxzyoun6zhxrhs64oi1",
        "did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ",
    ] {
        assert!(
            network
                .resolver
                .resolve_did(&did(text))
                .await
                .unwrap_err()
                .is_not_found(),
            "{text}"
        );
    }
    assert_eq!(network.plc_requests().await, 0);
}

#[tokio::test]
async fn a_did_web_on_this_machine_is_resolved_over_http_in_development() {
    let network = Network::start().await;
    let web = network.web_did();
    network
        .publish_web(200, &document(web.as_str(), ALICE, &key()))
        .await;
    assert_eq!(network.resolver.resolve_document(&web).await.unwrap().id(), &web);
    // Older files spell the port without escaping; it is the same DID.
    let unescaped = did(&web.as_str().replace("%3A", ":"));
    assert_eq!(
        network.resolver.resolve_document(&unescaped).await.unwrap().id(),
        &web
    );
    assert_eq!(network.host.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_did_web_on_this_machine_is_refused_in_production() {
    let network = Network::start().await;
    let config = crate::identity::ResolverConfig::new(network.plc.uri().parse().unwrap());
    let resolver = crate::identity::Resolver::with_dns(
        config,
        egress(false),
        network.clock.clone(),
        network.dns.clone(),
    )
    .unwrap();
    for web in [
        network.web_did(),
        did("did:web:localhost%3A8080"),
        did("did:web:localhost"),
    ] {
        let error = resolver.resolve_document(&web).await.unwrap_err();
        assert!(matches!(error, IdentityError::Refused { .. }), "{web}: {error:?}");
    }
    assert_eq!(network.host.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn did_webs_that_point_inside_are_refused() {
    let network = Network::start().await;
    for text in [
        "did:web:169.254.169.254",
        "did:web:10.0.0.1%3A8080",
        "did:web:192.168.0.1",
        "did:web:2130706434",
        "did:web:0xa9fea9fe",
        "did:web:0.0.0.0",
    ] {
        let error = network.resolver.resolve_document(&did(text)).await.unwrap_err();
        let refused = matches!(error, IdentityError::Refused { .. });
        // 2130706434 is 127.0.0.2, which development allows and where no server listens.
        assert!(
            refused || (text.ends_with("434") && error.is_transient()),
            "{text}: {error:?}"
        );
    }
    // What a name leads to is not told: it reads like a host that is not there.
    let inside = "did:web:internal.example.com";
    let error = network.resolver.resolve_document(&did(inside)).await.unwrap_err();
    assert!(
        error.is_transient() && !error.to_string().contains("public"),
        "{error}"
    );
}

#[tokio::test]
async fn kinds_of_did_that_atproto_does_not_use_are_refused() {
    let network = Network::start().await;
    for text in [
        "did:key:zQ3abc",
        "did:web:example.com:users:alice",
        "did:web:example.com%2Fpath",
        "did:ion:abc",
    ] {
        let error = network.resolver.resolve_document(&did(text)).await.unwrap_err();
        assert!(
            matches!(error, IdentityError::UnsupportedDid { .. }),
            "{text}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_did_web_document_must_be_its_own_small_and_in_place() {
    let network = Network::start().await;
    let web = network.web_did();
    let resolve = async || {
        network.resolver.invalidate_did(&web).await;
        network.resolver.resolve_document(&web).await.unwrap_err()
    };
    network
        .publish_web(200, &document("did:web:example.com", ALICE, &key()))
        .await;
    assert!(matches!(resolve().await, IdentityError::InvalidDocument { .. }));
    network
        .publish_web(200, &json!({"id": web, "padding": "x".repeat(DEFAULT_BODY_CAP)}))
        .await;
    assert!(matches!(resolve().await, IdentityError::InvalidDocument { .. }));
    network.publish_web(404, &json!({})).await;
    assert!(matches!(resolve().await, IdentityError::DidNotFound { .. }));
    for status in [500, 502, 429] {
        network.publish_web(status, &json!({})).await;
        assert!(resolve().await.is_transient(), "{status}");
    }
    network.host.reset().await;
    let inside = ResponseTemplate::new(302).insert_header("location", "https://169.254.169.254/latest/");
    Mock::given(any()).respond_with(inside).mount(&network.host).await;
    assert!(matches!(resolve().await, IdentityError::Refused { .. }));
}

#[tokio::test]
async fn a_host_that_is_down_is_told_from_one_that_does_not_exist() {
    let network = Network::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let web = did(&format!("did:web:127.0.0.1%3A{port}"));
    let error = network.resolver.resolve_document(&web).await.unwrap_err();
    assert!(
        matches!(&error, IdentityError::Unreachable { host, .. } if host == "127.0.0.1"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_rotated_key_is_seen_by_refreshing_and_refreshing_is_rationed() {
    let network = Network::start().await;
    let (old, new, plc) = (key(), key(), did(PLC));
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &old)).await;
    network.resolver.resolve_document(&plc).await.unwrap();
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &new)).await;
    for _ in 0..20 {
        let refreshed = network.resolver.refresh_document(&plc).await.unwrap();
        assert_eq!(refreshed.signing_key(), Some(new.public_key()));
    }
    assert_eq!(
        network.resolver.resolve_did(&plc).await.unwrap().signing_key,
        Some(new.public_key())
    );
    assert_eq!(network.plc_requests().await, 5);
    network.clock.pass(Duration::from_mins(1));
    network.resolver.refresh_document(&plc).await.unwrap();
    assert_eq!(network.plc_requests().await, 6);
}

#[tokio::test]
async fn an_outage_while_refreshing_does_not_cost_what_is_known() {
    let network = Network::start().await;
    let (known, plc) = (key(), did(PLC));
    network.publish_plc(PLC, 200, &document(PLC, ALICE, &known)).await;
    network.resolver.resolve_document(&plc).await.unwrap();
    network.publish_plc(PLC, 503, &json!({})).await;
    assert!(
        network
            .resolver
            .refresh_document(&plc)
            .await
            .unwrap_err()
            .is_transient()
    );
    assert_eq!(
        network
            .resolver
            .resolve_document(&plc)
            .await
            .unwrap()
            .signing_key(),
        Some(known.public_key())
    );
}
