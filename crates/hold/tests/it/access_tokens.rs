//! Accounts that call with their own access token and a DPoP proof: the hold asks their PDS.

use std::sync::Arc;
use std::sync::Mutex;

use atcr_atproto::crypto::Curve;
use atcr_atproto::dpop::DpopKey;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::identities::Account;
use crate::harness::{Answer, Setup, TestHold};

const JOIN: &str = "io.atcr.hold.requestCrew";
const SESSION: &str = "/xrpc/com.atproto.server.getSession";
const TOKEN: &str = "an-access-token";

/// What a PDS answers, and what it was sent.
#[derive(Debug, Default)]
struct Pds {
    answer: Mutex<(u16, Value)>,
    nonce: Mutex<Option<String>>,
    seen: Mutex<Vec<(String, String)>>,
}

impl Pds {
    async fn start() -> (Arc<Self>, String) {
        let pds = Arc::new(Self::default());
        let router = Router::new()
            .route(SESSION, get(session))
            .fallback(session)
            .with_state(Arc::clone(&pds));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (pds, url)
    }

    fn answers(&self, status: u16, body: Value) {
        *self.answer.lock().expect("not poisoned") = (status, body);
    }

    fn session_of(&self, account: &Account) {
        self.answers(200, json!({ "did": account.did, "handle": "sailor.test" }));
    }
}

async fn session(State(pds): State<Arc<Pds>>, headers: HeaderMap) -> Response {
    let text = |name: &str| headers[name].to_str().expect("text").to_owned();
    pds.seen
        .lock()
        .expect("not poisoned")
        .push((text("authorization"), text("dpop")));
    let (status, body) = pds.answer.lock().expect("not poisoned").clone();
    let mut response = (StatusCode::from_u16(status).expect("a status"), Json(body)).into_response();
    if let Some(nonce) = &*pds.nonce.lock().expect("not poisoned") {
        response
            .headers_mut()
            .insert("dpop-nonce", nonce.parse().expect("a header"));
    }
    response
}

fn proof(hold: &TestHold, url: &str) -> String {
    let key = DpopKey::generate().expect("a key");
    let token = SecretString::from(TOKEN);
    let url = url.parse().expect("a URL");
    key.proof(&Method::GET, &url, Some(&token), None, hold.clock.now())
        .expect("a proof")
}

async fn call(hold: &TestHold, nsid: &str, proof: Option<&str>, input: &Value) -> Answer {
    let mut request = hold
        .request(Method::POST, &format!("/xrpc/{nsid}"))
        .header("authorization", format!("DPoP {TOKEN}"))
        .json(input);
    if let Some(proof) = proof {
        request = request.header("dpop", proof);
    }
    Answer::of(request).await
}

async fn open_hold() -> TestHold {
    TestHold::start(Setup {
        allow_all_crew: true,
        ..Setup::default()
    })
    .await
}

#[tokio::test]
async fn the_accounts_own_pds_says_whose_token_it_is() {
    let hold = open_hold().await;
    let (pds, url) = Pds::start().await;
    let sailor = hold.identities.account("sailor", Curve::K256);
    hold.identities.publish_at(&sailor, Some(&url));
    hold.identities.publish_at(&hold.captain, Some(&url));
    let proof = proof(&hold, &format!("{url}{SESSION}"));

    pds.session_of(&sailor);
    let joined = call(&hold, JOIN, Some(&proof), &json!({})).await;
    assert_eq!(joined.status, 201, "{joined:?}");
    let seen = pds.seen.lock().expect("not poisoned").clone();
    assert_eq!(seen, [(format!("DPoP {TOKEN}"), proof.clone())]);
    let member = hold
        .hold
        .repo()
        .crew_by_member(&sailor.did)
        .await
        .expect("readable");
    assert!(member.is_some());

    let delete = json!({ "repo": hold.did(), "collection": "io.atcr.hold.crew", "rkey": "x" });
    let refused = call(&hold, "com.atproto.repo.deleteRecord", Some(&proof), &delete).await;
    assert_eq!(
        refused.error(),
        (403, "Forbidden"),
        "a sailor is no administrator"
    );
    let export = hold.get("/xrpc/io.atcr.hold.exportUserData");
    let export = export
        .header("authorization", format!("DPoP {TOKEN}"))
        .header("dpop", &proof);
    let exported = Answer::of(export).await.ok();
    assert_eq!(exported["userDid"], sailor.did.as_str());
    let erased = call(&hold, "io.atcr.hold.deleteUserData", Some(&proof), &json!({}))
        .await
        .ok();
    assert_eq!(erased["crewDeleted"], true);
    let member = hold.hold.repo().crew_by_member(&sailor.did).await;
    assert!(member.expect("readable").is_none());

    pds.session_of(&hold.captain);
    call(&hold, "com.atproto.repo.deleteRecord", Some(&proof), &delete)
        .await
        .ok();
    hold.stop().await;
}

#[tokio::test]
async fn a_host_cannot_vouch_for_an_account_that_lives_elsewhere() {
    let hold = open_hold().await;
    let (pds, url) = Pds::start().await;
    let sailor = hold.identities.account("sailor", Curve::K256);
    hold.identities
        .publish_at(&sailor, Some("https://pds.elsewhere.test"));
    pds.session_of(&sailor);
    let proof = proof(&hold, &format!("{url}{SESSION}"));
    let answer = call(&hold, JOIN, Some(&proof), &json!({})).await;
    assert_eq!(answer.error(), (401, "InvalidToken"));
    let member = hold
        .hold
        .repo()
        .crew_by_member(&sailor.did)
        .await
        .expect("readable");
    assert!(member.is_none());
    hold.stop().await;
}

#[tokio::test]
async fn what_the_pds_does_not_take_is_refused_and_its_nonce_is_handed_on() {
    let hold = open_hold().await;
    let (pds, url) = Pds::start().await;
    let sailor = hold.identities.account("sailor", Curve::K256);
    hold.identities.publish_at(&sailor, Some(&url));
    let good = proof(&hold, &format!("{url}{SESSION}"));
    for (status, expected) in [(401, (401, "InvalidToken")), (400, (401, "InvalidToken"))] {
        pds.answers(status, json!({ "error": "ExpiredToken", "message": "no" }));
        let answer = call(&hold, JOIN, Some(&good), &json!({})).await;
        assert_eq!(answer.error(), expected);
    }
    pds.answers(500, json!({}));
    let failed = call(&hold, JOIN, Some(&good), &json!({})).await;
    assert_eq!(failed.error(), (502, "UpstreamFailure"));
    assert!(!failed.message().contains("127.0.0.1"), "{}", failed.message());

    pds.answers(401, json!({ "error": "use_dpop_nonce" }));
    *pds.nonce.lock().expect("not poisoned") = Some("n-1".to_owned());
    let response = hold
        .request(Method::POST, &format!("/xrpc/{JOIN}"))
        .header("authorization", format!("DPoP {TOKEN}"))
        .header("dpop", &good)
        .json(&json!({}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["dpop-nonce"], "n-1");
    assert_eq!(
        response.headers()["www-authenticate"],
        "DPoP error=\"use_dpop_nonce\""
    );
    hold.stop().await;
}

#[tokio::test]
async fn a_proof_for_anything_but_the_session_is_not_presented() {
    let hold = open_hold().await;
    let (pds, url) = Pds::start().await;
    for wrong in [
        Some(proof(&hold, &format!("{url}/xrpc/com.atproto.repo.createRecord"))),
        Some(proof(&hold, &format!("{url}/elsewhere{SESSION}"))),
        Some("not.a.proof".to_owned()),
        Some("x".repeat(9000)),
        None,
    ] {
        let answer = call(&hold, JOIN, wrong.as_deref(), &json!({})).await;
        assert_eq!(answer.error(), (401, "InvalidToken"), "{wrong:?}");
    }
    let nobody_listens = proof(&hold, &format!("http://10.0.0.1{SESSION}"));
    let refused = call(&hold, JOIN, Some(&nobody_listens), &json!({})).await;
    assert_eq!(refused.error(), (502, "UpstreamFailure"));
    assert!(pds.seen.lock().expect("not poisoned").is_empty());
    hold.stop().await;
}

#[tokio::test]
async fn blobs_are_moved_with_service_tokens_only() {
    let hold = open_hold().await;
    let (pds, url) = Pds::start().await;
    hold.identities.publish_at(&hold.captain, Some(&url));
    pds.session_of(&hold.captain);
    let proof = proof(&hold, &format!("{url}{SESSION}"));
    for nsid in ["io.atcr.hold.initiateUpload", "io.atcr.hold.notifyManifest"] {
        let answer = call(&hold, nsid, Some(&proof), &json!({ "digest": "a" })).await;
        assert_eq!(answer.error(), (401, "InvalidToken"), "{nsid}");
    }
    assert!(pds.seen.lock().expect("not poisoned").is_empty());
    hold.stop().await;
}
