//! Tokens that are no good, and what they are worth at each door.

use std::sync::Arc;

use atcr_atproto::crypto::Curve;
use atcr_auth::{AppViewTokenSigner, ContentProof};
use atcr_hold::adapters::pds_sessions::PdsSessions;
use atcr_hold::edge::auth::TokenVerifier;
use serde_json::json;

use crate::harness::{Answer, Setup, TestHold, egress};

const INITIATE: &str = "/xrpc/io.atcr.hold.initiateUpload";

/// The `Authorization` header, and the error that it earns.
async fn bad_headers(hold: &TestHold) -> Vec<(String, &'static str)> {
    let now = hold.clock.now();
    let captain = &hold.captain;
    let other_hold = "did:web:other.test".parse().expect("a DID");
    let unknown = captain.rotated();
    let bearer = |token: String| format!("Bearer {token}");
    let claims = |issued: i64, expires: i64| json!({ "iss": captain.did, "aud": hold.did(), "iat": now.timestamp() + issued, "exp": now.timestamp() + expires });
    vec![
        ("Bearer".to_owned(), "InvalidToken"),
        ("Bearer ".to_owned(), "InvalidToken"),
        ("Basic YTpi".to_owned(), "InvalidToken"),
        ("DPoP abc".to_owned(), "InvalidToken"),
        (bearer("not.a.token".to_owned()), "InvalidToken"),
        (bearer(captain.sign(&claims(-120, -60))), "ExpiredToken"),
        (bearer(captain.sign(&claims(0, 330))), "InvalidToken"),
        (bearer(captain.token(&other_hold, None, now)), "InvalidToken"),
        (
            bearer(captain.token(hold.did(), Some("com.atproto.repo.uploadBlob"), now)),
            "InvalidToken",
        ),
        (bearer(unknown.token(hold.did(), None, now)), "InvalidToken"),
    ]
}

#[tokio::test]
async fn a_bad_token_is_refused_where_one_is_needed() {
    let hold = TestHold::start(Setup::default()).await;
    let digest = hold.put_blob(&hold.captain, b"bytes").await;
    let blob = format!("/xrpc/com.atproto.sync.getBlob?cid={digest}&method=GET");
    for (header, name) in bad_headers(&hold).await {
        let request = hold
            .request(reqwest::Method::POST, INITIATE)
            .header("authorization", &header);
        let answer = Answer::of(request.json(&json!({ "digest": "a" }))).await;
        assert_eq!(answer.error(), (401, name), "{header}");

        let answer = Answer::of(hold.get(&blob).header("authorization", &header)).await;
        assert_eq!(answer.error(), (401, name), "{header}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn a_bad_token_is_ignored_when_a_public_hold_is_read() {
    let hold = TestHold::start(Setup {
        public: true,
        ..Setup::default()
    })
    .await;
    let digest = hold.put_blob(&hold.captain, b"bytes").await;
    let blob = format!("/xrpc/com.atproto.sync.getBlob?cid={digest}&method=GET");
    for (header, _) in bad_headers(&hold).await {
        let answer = Answer::of(hold.get(&blob).header("authorization", &header)).await;
        assert_eq!(answer.status, 200, "{header}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn one_token_serves_many_calls_and_a_refusal_asks_for_bearer() {
    let hold = TestHold::start(Setup::default()).await;
    // The method called is as good an `lxm` as the universal one, and none at all is good too.
    for lxm in [None, Some("io.atcr.hold.initiateUpload")] {
        let token = hold.captain.token(hold.did(), lxm, hold.clock.now());
        for _ in 0..2 {
            let request = hold.request(reqwest::Method::POST, INITIATE).bearer_auth(&token);
            Answer::of(request.json(&json!({ "digest": "a" }))).await.ok();
        }
    }
    let refused = hold
        .request(reqwest::Method::POST, INITIATE)
        .send()
        .await
        .expect("an answer");
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    hold.stop().await;
}

#[tokio::test]
async fn a_token_may_live_five_minutes_and_no_longer() {
    let hold = TestHold::start(Setup::default()).await;
    let now = hold.clock.now().timestamp();
    for (life, accepted) in [(290, true), (330, false), (3600, false)] {
        let claims = json!({ "iss": hold.captain.did, "aud": hold.did(), "exp": now + life });
        let request = hold
            .request(reqwest::Method::POST, INITIATE)
            .bearer_auth(hold.captain.sign(&claims));
        let answer = Answer::of(request.json(&json!({ "digest": "a" }))).await;
        assert_eq!(answer.status.is_success(), accepted, "{life} s: {answer:?}");
    }
    hold.stop().await;
}

#[tokio::test]
async fn to_administer_a_token_has_to_be_made_for_the_method() {
    let hold = TestHold::start(Setup::default()).await;
    let input = json!({ "repo": hold.did(), "collection": "io.atcr.hold.crew", "rkey": "x" });
    let delete = "com.atproto.repo.deleteRecord";
    let with = async |lxm: Option<&str>| {
        let token = hold.captain.token(hold.did(), lxm, hold.clock.now());
        let request = hold.request(reqwest::Method::POST, &format!("/xrpc/{delete}"));
        Answer::of(request.bearer_auth(token).json(&input)).await
    };
    for lxm in [
        None,
        Some("com.atproto.repo.getRecord"),
        Some("com.atproto.repo.putRecord"),
    ] {
        let answer = with(lxm).await;
        assert_eq!(answer.error(), (401, "InvalidToken"), "{lxm:?}");
    }
    assert!(with(None).await.message().contains(delete));
    with(Some(delete)).await.ok();
    hold.stop().await;
}

#[tokio::test]
async fn a_token_for_another_hold_of_the_same_account_is_refused_at_every_door() {
    let hold = TestHold::start(Setup::default()).await;
    let other: atcr_atproto::syntax::Did = "did:web:other.test".parse().expect("a DID");
    for (nsid, input) in [
        ("io.atcr.hold.initiateUpload", json!({ "digest": "a" })),
        ("io.atcr.hold.requestCrew", json!({})),
        (
            "com.atproto.repo.deleteRecord",
            json!({ "repo": hold.did(), "collection": "io.atcr.hold.crew", "rkey": "x" }),
        ),
    ] {
        let request = |audience| {
            let token = hold.captain.token(audience, Some(nsid), hold.clock.now());
            let request = hold.request(reqwest::Method::POST, &format!("/xrpc/{nsid}"));
            Answer::of(request.bearer_auth(token).json(&input))
        };
        assert_eq!(request(&other).await.error(), (401, "InvalidToken"), "{nsid}");
        request(hold.did()).await.ok();
    }
    hold.stop().await;
}

#[tokio::test]
async fn a_new_key_counts_once_its_document_has_it() {
    let hold = TestHold::start(Setup::default()).await;
    let rotated = hold.captain.rotated();
    let input = json!({ "digest": "a" });
    let answer = hold
        .call("io.atcr.hold.initiateUpload", Some(&rotated), &input)
        .await;
    assert_eq!(answer.error(), (401, "InvalidToken"));
    hold.identities.publish(&rotated);
    hold.call("io.atcr.hold.initiateUpload", Some(&rotated), &input)
        .await
        .ok();
    let old = hold
        .call("io.atcr.hold.initiateUpload", Some(&hold.captain), &input)
        .await;
    assert_eq!(old.error(), (401, "InvalidToken"));
    hold.stop().await;
}

#[tokio::test]
async fn only_the_trusted_appview_vouches_and_only_for_the_upload_it_names() {
    let hold = TestHold::start(Setup::default()).await;
    let sailor = &hold.captain.did;
    let now = hold.clock.now();
    let trusted = hold.appview.did.clone();
    let verifier = |trusted| {
        TokenVerifier::new(
            hold.did().clone(),
            trusted,
            Arc::clone(&hold.identities) as _,
            Arc::new(PdsSessions::new(egress(), Arc::clone(&hold.identities) as _)),
            Arc::clone(&hold.clock),
        )
    };
    let digest = format!("sha256:{:064}", 7);
    let proof = ContentProof {
        upload_id: "upload".to_owned(),
        digest: digest.clone(),
        size: 1234,
    };
    let sign = |account: &crate::harness::identities::Account, content| {
        let signer = AppViewTokenSigner::new(account.key(), account.did.clone()).expect("a P-256 key");
        let token = signer.sign(hold.did(), sailor, content, now).expect("a token");
        secrecy::ExposeSecret::expose_secret(&token).to_owned()
    };
    let token = sign(&hold.appview, Some(proof.clone()));
    let ours = verifier(Some(trusted));
    assert_eq!(
        ours.vouched_size(&token, sailor, "upload", &digest).await,
        Some(1234)
    );

    let other = format!("sha256:{:064}", 8);
    assert_eq!(ours.vouched_size(&token, sailor, "upload", &other).await, None);
    assert_eq!(ours.vouched_size(&token, sailor, "another", &digest).await, None);
    assert_eq!(
        ours.vouched_size(&token, hold.did(), "upload", &digest).await,
        None
    );
    assert_eq!(
        ours.vouched_size("rubbish", sailor, "upload", &digest).await,
        None
    );
    let without_content = sign(&hold.appview, None);
    assert_eq!(
        ours.vouched_size(&without_content, sailor, "upload", &digest)
            .await,
        None
    );
    let rival = hold.identities.account("rival", Curve::P256);
    let rivals = sign(&rival, Some(proof));
    assert_eq!(ours.vouched_size(&rivals, sailor, "upload", &digest).await, None);
    assert_eq!(
        verifier(None)
            .vouched_size(&token, sailor, "upload", &digest)
            .await,
        None
    );
    hold.stop().await;
}
