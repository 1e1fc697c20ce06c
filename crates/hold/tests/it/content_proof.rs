//! A hold on S3, which does not hash: whose word it takes for the content of an upload.

use std::net::TcpListener;

use atcr_atproto::crypto::Curve;
use atcr_auth::{AppViewTokenSigner, ContentProof};
use atcr_oci::{Algorithm, Digest};
use atcr_server::Secret;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::harness::identities::Account;
use crate::harness::{Answer, Setup, TestHold};
use crate::object_store::servers::{ACCESS_KEY, BUCKET, SECRET_KEY, Serving, s3s_router};

/// A statement: who signs it, and what it says.
#[derive(Clone, Copy)]
struct Statement<'a> {
    appview: &'a Account,
    size: u64,
    /// About another upload than the one it is sent with.
    about_another_upload: bool,
    /// About another digest.
    of: Option<&'a Digest>,
}

impl<'a> Statement<'a> {
    fn by(appview: &'a Account, size: u64) -> Self {
        Self {
            appview,
            size,
            about_another_upload: false,
            of: None,
        }
    }
}

/// Uploads `bytes` and completes them as `digest`, with a statement about them.
async fn complete(
    hold: &TestHold,
    bytes: &[u8],
    digest: &Digest,
    statement: Option<Statement<'_>>,
) -> Answer {
    let mut input = hold.send_blob(&hold.captain, bytes).await;
    input["digest"] = json!(digest);
    let mut request = hold
        .request(Method::POST, "/xrpc/io.atcr.hold.completeUpload")
        .bearer_auth(hold.token(&hold.captain))
        .json(&input);
    if let Some(statement) = statement {
        let appview = statement.appview;
        let signer = AppViewTokenSigner::new(appview.key(), appview.did.clone()).expect("a P-256 key");
        let upload_id = if statement.about_another_upload {
            hold.send_blob(&hold.captain, bytes).await["uploadId"].clone()
        } else {
            input["uploadId"].clone()
        };
        let proof = ContentProof {
            upload_id: upload_id.as_str().expect("an id").to_owned(),
            digest: statement.of.unwrap_or(digest).to_string(),
            size: statement.size,
        };
        let token = signer
            .sign(hold.did(), &hold.captain.did, Some(proof), hold.clock.now())
            .expect("a token");
        request = request.header("x-atcr-content-proof", token.expose_secret());
    }
    Answer::of(request).await
}

#[tokio::test]
async fn only_the_trusted_appview_saves_the_hold_from_reading_the_bytes() {
    let bucket = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(bucket.path().join(BUCKET)).expect("a bucket");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let s3 = Serving::start(&listener, s3s_router(bucket.path()));
    let hold = TestHold::start_with(Setup::default(), |config| {
        config.storage.bucket = BUCKET.to_owned();
        config.storage.endpoint = format!("http://{addr}");
        config.storage.access_key = Secret::new(ACCESS_KEY);
        config.storage.secret_key = Secret::new(SECRET_KEY);
    })
    .await;
    let rival = hold.identities.account("rival", Curve::P256);

    let honest = Digest::of(Algorithm::Sha256, b"honest");
    complete(&hold, b"honest", &honest, None).await.ok();

    // What the hold reads itself, it knows. Here the bytes are never what the digest says.
    let lie = |seed: &str| Digest::of(Algorithm::Sha256, seed.as_bytes());
    let rows = [
        ("nobody vouches", None),
        ("a stranger vouches", Some(Statement::by(&rival, 5))),
        (
            "the trusted AppView vouches for another size",
            Some(Statement::by(&hold.appview, 6)),
        ),
        (
            "the trusted AppView vouched for another upload",
            Some(Statement {
                about_another_upload: true,
                ..Statement::by(&hold.appview, 5)
            }),
        ),
        (
            "the trusted AppView vouched for another digest",
            Some(Statement {
                of: Some(&honest),
                ..Statement::by(&hold.appview, 5)
            }),
        ),
    ];
    for (who, proof) in rows {
        let answer = complete(&hold, b"bytes", &lie(who), proof).await;
        assert_eq!(answer.error(), (400, "InvalidDigest"), "{who}");
        let blob = hold
            .get(&format!(
                "/xrpc/com.atproto.sync.getBlob?cid={}&method=GET",
                lie(who)
            ))
            .bearer_auth(hold.token(&hold.captain));
        assert_eq!(Answer::of(blob).await.error(), (404, "BlobNotFound"), "{who}");
    }
    // The one whose word is taken; that its word is all there is shows in that it can be wrong.
    complete(
        &hold,
        b"bytes",
        &lie("trusted"),
        Some(Statement::by(&hold.appview, 5)),
    )
    .await
    .ok();

    let url = Answer::of(
        hold.get(&format!("/xrpc/com.atproto.sync.getBlob?cid={honest}&method=GET"))
            .bearer_auth(hold.token(&hold.captain)),
    )
    .await
    .ok();
    let url = url["url"].as_str().expect("a URL");
    assert!(url.starts_with(&format!("http://{addr}/{BUCKET}/")), "{url}");
    assert_eq!(hold.follow(url).await, b"honest");
    hold.stop().await;
    s3.stop().await;
}
