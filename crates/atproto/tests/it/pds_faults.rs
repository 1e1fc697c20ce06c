//! A PDS that refuses, misbehaves or is not there. That it works is shown against the reference PDS elsewhere.

use std::time::Duration;

use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::lexicon::{BlobRef, nsid};
use atcr_atproto::pds::{ListRecords, MAX_ANSWER_BYTES, PdsAuth, PdsClient, PdsError, Write};
use atcr_atproto::syntax::{Did, RecordKey};
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const REV: &str = "3jzfcijpj2z2a";
const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(50);

pub(crate) fn alice() -> Did {
    "did:plc:7iza6de2dwap2sbkpav7c6c6".parse().unwrap()
}

pub(crate) fn rkey() -> RecordKey {
    RecordKey::literal_self()
}

fn client(url: &str) -> PdsClient {
    let egress = EgressClient::new(EgressPolicy::of_server(true)).unwrap();
    PdsClient::new(Url::parse(url).unwrap(), egress).with_timeout(LONG)
}

/// A PDS that gives `answer` to everything.
pub(crate) async fn answering(answer: ResponseTemplate) -> (MockServer, PdsClient) {
    let server = MockServer::start().await;
    Mock::given(wiremock::matchers::any())
        .respond_with(answer)
        .mount(&server)
        .await;
    let client = client(&server.uri());
    (server, client)
}

async fn error_of(answer: ResponseTemplate) -> PdsError {
    let (_server, client) = answering(answer).await;
    client
        .get_record(&alice(), nsid::SAILOR_PROFILE, &rkey())
        .await
        .unwrap_err()
}

fn refusal(status: u16, error: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({"error": error, "message": "no"}))
}

/// A server that answers one request with exactly `answer` and then keeps the connection open, silently.
async fn raw(answer: String) -> PdsClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = connection.read(&mut request).await.unwrap();
        connection.write_all(answer.as_bytes()).await.unwrap();
        // Until the client hangs up.
        while connection.read(&mut request).await.is_ok_and(|len| len > 0) {}
    });
    client(&format!("http://{address}"))
}

#[tokio::test]
async fn a_missing_record_is_no_error() {
    let old = json!({"error": "InvalidRequest", "message": "Could not locate record: at://x"});
    let answers = [
        refusal(400, "RecordNotFound"),
        refusal(404, "RecordNotFound"),
        ResponseTemplate::new(400).set_body_json(old),
    ];
    for answer in answers {
        let (_server, client) = answering(answer).await;
        assert_eq!(
            client
                .get_record(&alice(), nsid::SAILOR_PROFILE, &rkey())
                .await
                .unwrap(),
            None
        );
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_name_and_status() {
    let error = error_of(refusal(400, "RepoNotFound")).await;
    assert!(error.is_xrpc("RepoNotFound"), "{error:?}");
    assert_eq!(error.as_xrpc().unwrap().status, 400);
    // Also beside a challenge, as an expired token gets it.
    let challenged = refusal(401, "ExpiredToken").insert_header("WWW-Authenticate", "Bearer");
    assert!(error_of(challenged).await.is_xrpc("ExpiredToken"));
    for (answer, unauthorized) in [
        (refusal(401, "AuthMissing"), true),
        (refusal(400, "ExpiredToken"), true),
        (refusal(400, "InvalidToken"), true),
        (refusal(403, "Forbidden"), false),
        (refusal(500, "InternalServerError"), false),
    ] {
        assert_eq!(error_of(answer).await.is_unauthorized(), unauthorized);
    }
}

#[tokio::test]
async fn an_error_page_is_a_refusal_without_a_name() {
    let error = error_of(ResponseTemplate::new(502).set_body_string("<html>bad gateway</html>")).await;
    assert!(error.is_xrpc("Unknown"), "{error:?}");
    assert_eq!(error.to_string(), "the server refused: 502 Bad Gateway Unknown");
}

#[tokio::test]
async fn a_refusal_s_text_is_cut_and_cleaned() {
    let message = format!("a\u{1b}[31mb\n{}", "x".repeat(100_000));
    let body = json!({"error": "E", "message": message});
    let error = error_of(ResponseTemplate::new(500).set_body_json(body)).await;
    let text = error.as_xrpc().unwrap().message.clone().unwrap();
    assert!(text.starts_with("a[31mbx") && text.len() <= 512, "{text}");
}

#[tokio::test]
async fn rate_limits_say_how_long_to_wait() {
    let limited = || ResponseTemplate::new(429);
    let date = "Mon, 23 Nov 2026 12:00:00 GMT";
    let cases = [
        (limited(), None),
        (limited().insert_header("retry-after", "7"), Some(7)),
        (limited().insert_header("retry-after", "soon"), None),
        (limited().insert_header("retry-after", "-7"), None),
        (
            limited().insert_header("retry-after", "99999999999"),
            Some(24 * 60 * 60),
        ),
        (
            limited()
                .insert_header("retry-after", "Mon, 23 Nov 2026 12:01:00 GMT")
                .insert_header("date", date),
            Some(60),
        ),
        (
            limited()
                .insert_header("ratelimit-reset", "1795435230")
                .insert_header("date", date),
            Some(30),
        ),
        (limited().insert_header("ratelimit-reset", "30"), Some(30)),
    ];
    for (answer, expected) in cases {
        match error_of(answer).await {
            PdsError::RateLimited { retry_after, .. } => {
                assert_eq!(retry_after, expected.map(Duration::from_secs));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let error = error_of(ResponseTemplate::new(302).insert_header("location", "http://localhost:1/")).await;
    assert!(
        matches!(error, PdsError::Malformed { what: "status", .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_what_it_should_be_is_malformed_and_not_quoted() {
    for body in [
        "",
        "[]",
        "{\"uri\":",
        "{\"uri\":\"at://x\",\"value\":{}}",
        "{\"accessJwt\":\"secret\"}",
    ] {
        let error = error_of(ResponseTemplate::new(200).set_body_string(body)).await;
        assert!(matches!(error, PdsError::Malformed { .. }), "{body}: {error:?}");
        assert!(!format!("{error:?} {error}").contains("secret"));
    }
}

#[tokio::test]
async fn an_endless_answer_is_given_up() {
    let error = error_of(ResponseTemplate::new(200).set_body_bytes(vec![b' '; MAX_ANSWER_BYTES + 1])).await;
    assert!(matches!(error, PdsError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_a_timeout() {
    let (_server, client) = answering(ResponseTemplate::new(200).set_delay(LONG)).await;
    let error = client
        .with_timeout(SHORT)
        .get_latest_commit(&alice())
        .await
        .unwrap_err();
    assert!(matches!(error, PdsError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(&format!("http://{address}"))
        .get_latest_commit(&alice())
        .await
        .unwrap_err();
    match error {
        PdsError::Unreachable { host, source } => {
            assert_eq!(host, "127.0.0.1");
            assert!(!source.is_refusal());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let _ = connection.read(&mut [0; 4096]).await;
        connection
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
            .await
            .unwrap();
    });
    let error = client(&format!("http://{address}"))
        .get_latest_commit(&alice())
        .await
        .unwrap_err();
    assert!(matches!(error, PdsError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_at_a_private_address_is_not_asked() {
    let server = MockServer::start().await;
    let egress = EgressClient::new(EgressPolicy::default()).unwrap();
    let client = PdsClient::new(Url::parse(&server.uri()).unwrap(), egress);
    match client.get_latest_commit(&alice()).await.unwrap_err() {
        PdsError::Unreachable { source, .. } => assert!(source.is_refusal()),
        other => panic!("{other:?}"),
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_told_apart() {
    let (server, client) = answering(refusal(401, "AuthenticationRequired")).await;
    let error = client
        .create_session("alice.test", &SecretString::from("wrong"))
        .await
        .err()
        .unwrap();
    assert!(error.is_xrpc("AuthenticationRequired"), "{error:?}");
    let requests = server.received_requests().await.unwrap();
    assert_eq!(
        requests[0].body_json::<Value>().unwrap(),
        json!({"identifier": "alice.test", "password": "wrong"})
    );
    assert!(!requests[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn one_bad_record_does_not_spoil_the_page() {
    let uri = format!("at://{}/io.atcr.tag/app_latest", alice());
    let cid = BlobRef::of(b"", "x").cid.to_string();
    let records = json!([
        {"uri": uri, "cid": cid, "value": {"float": 1.5}},
        {"uri": "at://", "cid": cid, "value": {}},
        {"uri": uri, "cid": "bogus", "value": {}},
    ]);
    let answer = json!({"records": records, "cursor": "next"});
    let (server, client) = answering(ResponseTemplate::new(200).set_body_json(answer)).await;
    let asked = ListRecords {
        limit: Some(100),
        cursor: Some("a b"),
        reverse: true,
    };
    let page = client.list_records(&alice(), nsid::TAG, asked).await.unwrap();
    assert_eq!(page.cursor.as_deref(), Some("next"));
    assert_eq!(page.records.len(), 1);
    assert_eq!(page.records[0].value, json!({"float": 1.5}));
    let requests = server.received_requests().await.unwrap();
    let query = requests[0].url.query().unwrap();
    assert_eq!(
        query,
        "collection=io.atcr.tag&cursor=a+b&limit=100&repo=did%3Aplc%3A7iza6de2dwap2sbkpav7c6c6&reverse=true"
    );
}

#[tokio::test]
async fn writes_are_sent_as_they_are_and_the_token_only_as_bearer() {
    let server = MockServer::start().await;
    let commit = json!({"commit": {"cid": BlobRef::of(b"", "x").cid.to_string(), "rev": REV}, "results": []});
    Mock::given(method("POST"))
        .and(path("/xrpc/com.atproto.repo.applyWrites"))
        .and(header("authorization", "Bearer token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(commit))
        .mount(&server)
        .await;
    let value = json!({
        "$type": nsid::MANIFEST,
        "size": 5_497_558_138_880_u64,
        "negative": -1,
        "list": [1, "two", null, true],
        "manifestBlob": serde_json::to_value(BlobRef::of(b"{}", "application/json")).unwrap(),
        "bytes": {"$bytes": "AQID"},
    });
    let collection = || nsid::MANIFEST.to_owned();
    let writes = vec![
        Write::Create {
            collection: collection(),
            rkey: None,
            value: value.clone(),
        },
        Write::Update {
            collection: collection(),
            rkey: rkey(),
            value: value.clone(),
        },
        Write::Delete {
            collection: collection(),
            rkey: rkey(),
        },
    ];
    let token = SecretString::from("token");
    let swap = BlobRef::of(b"swap", "x").cid;
    let client = client(&server.uri());
    let announced: usize = writes.iter().map(Write::request_bytes).sum();
    let made = client
        .apply_writes(PdsAuth::Bearer(&token), &alice(), writes, Some(swap))
        .await
        .unwrap();
    assert_eq!(made.rev, REV);
    let request = server.received_requests().await.unwrap().remove(0);
    let around = json!({ "repo": alice(), "validate": false, "swapCommit": swap.to_string(), "writes": [] });
    let whole = announced + around.to_string().len();
    assert!(
        (whole - 100..=whole).contains(&request.body.len()),
        "{} bytes where {whole} were announced",
        request.body.len()
    );
    let sent: Value = request.body_json().unwrap();
    assert_eq!(
        sent,
        json!({
            "repo": alice(),
            "validate": false,
            "swapCommit": swap.to_string(),
            "writes": [
                {"$type": "com.atproto.repo.applyWrites#create", "collection": nsid::MANIFEST, "value": value},
                {"$type": "com.atproto.repo.applyWrites#update", "collection": nsid::MANIFEST, "rkey": "self", "value": value},
                {"$type": "com.atproto.repo.applyWrites#delete", "collection": nsid::MANIFEST, "rkey": "self"},
            ],
        })
    );
}

#[tokio::test]
async fn a_record_outside_the_data_model_is_not_sent() {
    let (server, client) = answering(ResponseTemplate::new(200)).await;
    let write = Write::Create {
        collection: nsid::TAG.to_owned(),
        rkey: None,
        value: json!({"a": 1.5}),
    };
    let error = client
        .apply_writes(PdsAuth::None, &alice(), vec![write], None)
        .await
        .unwrap_err();
    assert!(
        matches!(error, PdsError::Malformed { what: "record", .. }),
        "{error:?}"
    );
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_moved_repository_refuses_the_swap() {
    let (_server, client) = answering(refusal(400, "InvalidSwap")).await;
    let error = client
        .apply_writes(PdsAuth::None, &alice(), Vec::new(), None)
        .await
        .unwrap_err();
    assert!(error.is_xrpc("InvalidSwap"));
}

#[tokio::test]
async fn an_upload_that_is_stored_as_something_else_is_noticed() {
    let stored = json!({"blob": serde_json::to_value(BlobRef::of(b"other", "text/plain")).unwrap()});
    let (_server, client) = answering(ResponseTemplate::new(200).set_body_json(stored)).await;
    let error = client
        .upload_blob(PdsAuth::None, Bytes::from_static(b"mine"), "text/plain")
        .await
        .unwrap_err();
    assert!(
        matches!(error, PdsError::Malformed { what: "blob CID", .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_blob_must_be_the_bytes_of_its_cid() {
    let server = MockServer::start().await;
    let blob = BlobRef::of(b"right", "text/plain");
    let cid = blob.cid.to_string();
    for (did, body) in [("did:plc:right", "right"), ("did:plc:wrong", "wrong")] {
        Mock::given(path("/xrpc/com.atproto.sync.getBlob"))
            .and(query_param("did", did))
            .and(query_param("cid", &cid))
            .respond_with(ResponseTemplate::new(200).set_body_string(body))
            .mount(&server)
            .await;
    }
    let client = client(&server.uri());
    let right: Did = "did:plc:right".parse().unwrap();
    let wrong: Did = "did:plc:wrong".parse().unwrap();
    assert_eq!(client.get_blob(&right, &blob.cid, 5).await.unwrap(), "right");
    assert!(matches!(
        client.get_blob(&right, &blob.cid, 4).await,
        Err(PdsError::TooLarge { limit: 4, .. })
    ));
    assert!(matches!(
        client.get_blob(&wrong, &blob.cid, 5).await,
        Err(PdsError::Malformed { .. })
    ));
    let mut stream = client.get_blob_stream(&wrong, &blob.cid, 5).await.unwrap();
    assert_eq!(stream.content_length(), Some(5));
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "wrong");
    assert_eq!(stream.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_blob_of_unannounced_length_is_cut_off_at_the_limit() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nright\r\n5\r\nright\r\n";
    let client = raw(chunked.to_owned()).await;
    let error = client
        .get_blob(&alice(), &BlobRef::of(b"right", "x").cid, 9)
        .await
        .unwrap_err();
    assert!(matches!(error, PdsError::TooLarge { limit: 9, .. }), "{error:?}");
}

#[tokio::test]
async fn a_blob_that_stalls_half_way_is_a_timeout() {
    let client = raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nright".to_owned())
        .await
        .with_timeout(SHORT);
    let error = client
        .get_blob(&alice(), &BlobRef::of(b"right", "x").cid, 10)
        .await
        .unwrap_err();
    assert!(matches!(error, PdsError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_blob_that_is_not_there_is_a_refusal() {
    let (_server, client) = answering(refusal(400, "BlobNotFound")).await;
    let error = client
        .get_blob(&alice(), &BlobRef::of(b"", "x").cid, 10)
        .await
        .unwrap_err();
    assert!(error.is_xrpc("BlobNotFound"), "{error:?}");
}
