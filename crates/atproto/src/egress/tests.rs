use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use atrium_xrpc::HttpClient as _;
use http::Method;
use reqwest::dns::Resolve as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::guard::Reach;
use super::lookup::GuardedResolver;
use super::*;

mod load;
mod urls;

const DEVELOPMENT: EgressPolicy = EgressPolicy {
    allow_loopback: true,
    allow_private: false,
};
const PRODUCTION: EgressPolicy = EgressPolicy {
    allow_loopback: false,
    allow_private: false,
};

/// Answers each look-up with the next of its answers, the last one for ever.
struct ScriptedLookup(Mutex<VecDeque<Vec<IpAddr>>>);

impl ScriptedLookup {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(answers.iter().map(parse).collect())))
    }
}

#[async_trait]
impl HostLookup for ScriptedLookup {
    async fn addresses(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        if answers.len() > 1 {
            return Ok(answers.pop_front().unwrap());
        }
        answers
            .front()
            .cloned()
            .ok_or_else(|| io::Error::other("no such name"))
    }
}

fn client(policy: EgressPolicy) -> EgressClient {
    EgressClient::new(policy).unwrap()
}

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

/// A server that answers every connection with `answer` and closes it.
async fn raw_server(answer: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, connections)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(current) = cause {
        text = format!("{text} / {current} {current:?}");
        cause = current.source();
    }
    text
}

#[tokio::test]
async fn in_test_mode_only_local_names_lead_into_private_networks() {
    let answer = || ScriptedLookup::new(&[&["10.0.0.1", "169.254.169.254", "127.0.0.1"]]);
    let permitted = async |policy, host| {
        let lookup = answer();
        GuardedResolver::permitted(lookup.as_ref(), Reach::Public(policy), host).await
    };
    let test_mode = EgressPolicy::of_server(true);
    for host in ["hold", "hold.internal", "hold.test."] {
        let found = permitted(test_mode, host).await.unwrap();
        assert_eq!(found, ["10.0.0.1:0".parse().unwrap()], "{host}");
        assert!(permitted(DEVELOPMENT, host).await.is_err(), "{host}");
    }
    assert!(matches!(
        permitted(test_mode, "hold.example.com").await,
        Err(EgressError::NameRefused { .. })
    ));
}

#[tokio::test]
async fn what_is_at_an_address_cannot_be_told_from_an_error_s_text() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let limits = Limits {
        max_bytes: 100,
        timeout: Duration::from_millis(100),
    };
    let mut texts = Vec::new();
    let resolved: &[(&str, &[&[&str]])] = &[
        ("https://pds.localhost/", &[&["10.0.0.1"]]),
        ("https://pds.localhost/", &[&["169.254.169.254"]]),
        ("https://pds.localhost/", &[]),
    ];
    for (target, addresses) in resolved {
        let client = EgressClient::with_lookup(DEVELOPMENT, ScriptedLookup::new(addresses)).unwrap();
        let error = client.get_within(&url(target), "*/*", limits).await.unwrap_err();
        assert!(!error.is_refusal(), "{error:?}");
        texts.push(error.to_string());
    }
    for address in [silent, closed] {
        let client = EgressClient::with_lookup(DEVELOPMENT, ScriptedLookup::new(&[&["127.0.0.1"]])).unwrap();
        let target = url(&format!("http://pds.localhost:{}/", address.port()));
        let error = client.get_within(&target, "*/*", limits).await.unwrap_err();
        // The log is told.
        assert_ne!(error.detail(), error.to_string());
        texts.push(error.to_string());
    }
    texts.dedup();
    assert_eq!(texts, ["pds.localhost gives no usable answer"]);
}

#[tokio::test]
async fn a_name_with_a_private_address_is_refused() {
    for address in [
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "::1",
        "::ffff:10.0.0.1",
        "fd00::1",
        "0.0.0.0",
    ] {
        for policy in [PRODUCTION, DEVELOPMENT] {
            let client = EgressClient::with_lookup(policy, ScriptedLookup::new(&[&[address]])).unwrap();
            let error = client
                .get_capped(&url("https://hold.example.com/"), 100, "*/*")
                .await
                .unwrap_err();
            assert!(
                matches!(error, EgressError::NameRefused { ref host } if host == "hold.example.com"),
                "{error:?}"
            );
        }
    }
}

#[tokio::test]
async fn localhost_is_only_ever_this_machine() {
    let client =
        EgressClient::with_lookup(DEVELOPMENT, ScriptedLookup::new(&[&["10.0.0.1", "8.8.8.8"]])).unwrap();
    let error = client
        .get_capped(&url("http://localhost:1/"), 100, "*/*")
        .await
        .unwrap_err();
    assert!(matches!(error, EgressError::NameRefused { .. }), "{error:?}");
}

#[tokio::test]
async fn of_a_mixed_answer_only_public_addresses_are_connected_to() {
    let lookup =
        ScriptedLookup::new(&[&["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1111", "169.254.169.254"]]);
    let reach = Reach::Public(DEVELOPMENT);
    let permitted = GuardedResolver::permitted(lookup.as_ref(), reach, "example.com")
        .await
        .unwrap();
    let permitted: Vec<String> = permitted.iter().map(|address| address.ip().to_string()).collect();
    assert_eq!(permitted, ["1.1.1.1", "2606:4700::1111"]);
}

#[tokio::test]
async fn an_answer_that_turns_private_is_refused_when_connecting() {
    let lookup = ScriptedLookup::new(&[&["93.184.216.34"], &["10.0.0.1"]]);
    let guard = GuardedResolver {
        lookup,
        reach: Reach::Public(PRODUCTION),
    };
    let first: Vec<SocketAddr> = guard
        .resolve("example.com".parse().unwrap())
        .await
        .unwrap()
        .collect();
    assert_eq!(first, ["93.184.216.34:0".parse().unwrap()]);
    let Err(error) = guard.resolve("example.com".parse().unwrap()).await else {
        panic!("rebinding went through")
    };
    assert!(
        matches!(error.downcast_ref(), Some(EgressError::NameRefused { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_check_is_repeated_for_every_connection() {
    let (address, connections) =
        raw_server(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    let lookup = ScriptedLookup::new(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let client = EgressClient::with_lookup(DEVELOPMENT, lookup).unwrap();
    let target = url(&format!("http://pds.localhost:{}/", address.port()));
    assert_eq!(
        &client.get_capped(&target, 100, "*/*").await.unwrap().bytes[..],
        b"ok"
    );
    let error = client.get_capped(&target, 100, "*/*").await.unwrap_err();
    assert!(matches!(error, EgressError::NameRefused { .. }), "{error:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told_apart() {
    let client = EgressClient::with_lookup(PRODUCTION, ScriptedLookup::new(&[])).unwrap();
    let error = client
        .get_capped(&url("https://nowhere.example.com/"), 100, "*/*")
        .await
        .unwrap_err();
    assert!(matches!(error, EgressError::UnknownHost { .. }), "{error:?}");
}

async fn redirecting(location: &str) -> MockServer {
    let server = MockServer::start().await;
    let redirect = ResponseTemplate::new(302).insert_header("location", location);
    Mock::given(method("GET"))
        .and(path("/start"))
        .respond_with(redirect)
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn redirects_to_addresses_that_are_not_public_are_refused() {
    for location in [
        "https://169.254.169.254/latest/meta-data/",
        "http://169.254.169.254/",
        "https://0xa9fea9fe/",
        "https://[::ffff:169.254.169.254]/",
        "https://10.0.0.1/",
        "http://10.0.0.1/",
        "https://user:word@example.com/",
    ] {
        let server = redirecting(location).await;
        let error = client(DEVELOPMENT)
            .get_capped(&url(&format!("{}/start", server.uri())), 100, "*/*")
            .await;
        let error = error.unwrap_err();
        assert!(error.is_refusal(), "{location}: {error:?}");
    }
    let server = redirecting("file:///etc/passwd").await;
    let answer = client(DEVELOPMENT)
        .get_capped(&url(&format!("{}/start", server.uri())), 100, "*/*")
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (302, 0));
}

#[tokio::test]
async fn a_redirect_to_a_name_with_a_private_address_is_refused() {
    let server = redirecting("https://internal.example.com/").await;
    let client = EgressClient::with_lookup(DEVELOPMENT, ScriptedLookup::new(&[&["192.168.0.10"]])).unwrap();
    let error = client
        .get_capped(&url(&format!("{}/start", server.uri())), 100, "*/*")
        .await
        .unwrap_err();
    assert!(
        matches!(error, EgressError::NameRefused { ref host } if host == "internal.example.com"),
        "{error:?}"
    );
}

#[tokio::test]
async fn three_redirects_are_followed_and_a_fourth_is_not() {
    let server = MockServer::start().await;
    for hop in 0..4 {
        let redirect = ResponseTemplate::new(302).insert_header("location", format!("/{}", hop + 1));
        Mock::given(path(format!("/{hop}")))
            .respond_with(redirect)
            .mount(&server)
            .await;
    }
    Mock::given(path("/4"))
        .respond_with(ResponseTemplate::new(200).set_body_string("here"))
        .mount(&server)
        .await;
    let client = client(DEVELOPMENT);
    let answer = client
        .get_capped(&url(&format!("{}/1", server.uri())), 100, "*/*")
        .await
        .unwrap();
    assert_eq!(&answer.bytes[..], b"here");
    let error = client
        .get_capped(&url(&format!("{}/0", server.uri())), 100, "*/*")
        .await
        .unwrap_err();
    assert!(matches!(error, EgressError::TooManyRedirects { .. }), "{error:?}");
}

#[tokio::test]
async fn requests_that_may_carry_a_token_follow_no_redirect() {
    let server = redirecting("/elsewhere").await;
    let request = client(DEVELOPMENT)
        .request(Method::GET, &url(&format!("{}/start", server.uri())))
        .unwrap();
    let answer = request.bearer_auth("token").send().await.unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_unread() {
    let server = MockServer::start().await;
    Mock::given(path("/big"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(vec![0; DEFAULT_BODY_CAP + 1]))
        .mount(&server)
        .await;
    let target = url(&format!("{}/big", server.uri()));
    let client = client(DEVELOPMENT);
    let error = client
        .get_capped(&target, DEFAULT_BODY_CAP, "*/*")
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            EgressError::TooLarge {
                limit: DEFAULT_BODY_CAP,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        client
            .get_capped(&target, DEFAULT_BODY_CAP + 1, "*/*")
            .await
            .unwrap()
            .bytes
            .len(),
        DEFAULT_BODY_CAP + 1
    );
}

#[tokio::test]
async fn a_body_of_unknown_length_is_cut_off_at_the_limit() {
    let (address, _) = raw_server(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789").await;
    let target = url(&format!("http://{address}/"));
    let error = client(DEVELOPMENT)
        .get_capped(&target, 9, "*/*")
        .await
        .unwrap_err();
    assert!(
        matches!(error, EgressError::TooLarge { limit: 9, .. }),
        "{error:?}"
    );
    assert_eq!(
        client(DEVELOPMENT)
            .get_capped(&target, 10, "*/*")
            .await
            .unwrap()
            .bytes
            .len(),
        10
    );
}

#[tokio::test]
async fn a_body_that_drips_for_ever_ends_with_the_time_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = url(&format!("http://{}/", listener.local_addr().unwrap()));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let mut drip = tokio::time::interval(Duration::from_millis(10));
            let mut answer: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            while stream.write_all(answer).await.is_ok() {
                answer = b"x";
                drip.tick().await;
            }
        }
    });
    let limits = Limits {
        max_bytes: DEFAULT_BODY_CAP,
        timeout: Duration::from_millis(300),
    };
    let error = client(DEVELOPMENT)
        .get_within(&target, "*/*", limits)
        .await
        .unwrap_err();
    assert!(matches!(error, EgressError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_ends_with_the_time_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = url(&format!("http://{}/", listener.local_addr().unwrap()));
    let limits = Limits {
        max_bytes: 100,
        timeout: Duration::from_millis(100),
    };
    let error = client(DEVELOPMENT)
        .get_within(&target, "*/*", limits)
        .await
        .unwrap_err();
    assert!(matches!(error, EgressError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn errors_name_the_host_and_never_the_rest_of_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let redirecting = redirecting("https://10.0.0.1/part/s3cret?X-Amz-Signature=s3cret").await;
    let targets = [
        format!("http://{closed}/part/s3cret?X-Amz-Signature=s3cret"),
        "http://example.com/part/s3cret?X-Amz-Signature=s3cret#s3cret".to_owned(),
        "https://user:s3cret@example.com/".to_owned(),
        format!("{}/start?X-Amz-Signature=s3cret", redirecting.uri()),
    ];
    for target in targets {
        let error = client(DEVELOPMENT)
            .get_capped(&url(&target), 100, "*/*")
            .await
            .unwrap_err();
        let text = chain(&error);
        assert!(!text.contains("s3cret"), "{text}");
        assert!(
            text.contains("127.0.0.1") || text.contains("example.com") || text.contains("10.0.0.1"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn configured_hosts_may_be_anywhere_and_redirect_nowhere() {
    let server = redirecting("/elsewhere").await;
    let client = EgressClient::for_configured_hosts().unwrap();
    client.check(&url("http://10.0.0.1:2582/")).unwrap();
    let answer = client
        .get_capped(&url(&format!("{}/start", server.uri())), 100, "*/*")
        .await
        .unwrap();
    assert_eq!(answer.status, 302);
}

#[tokio::test]
async fn it_is_an_xrpc_client_under_the_same_guard() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/xrpc/com.example.call"))
        .respond_with(ResponseTemplate::new(200).set_body_string("{}"))
        .mount(&server)
        .await;
    let request = |uri: String| {
        http::Request::post(uri)
            .header("content-type", "application/json")
            .body(b"{}".to_vec())
    };
    let request_here = request(format!("{}/xrpc/com.example.call", server.uri())).unwrap();
    assert_eq!(
        client(DEVELOPMENT).send_http(request_here).await.unwrap().body(),
        b"{}"
    );
    let request_here = request(format!("{}/xrpc/com.example.call", server.uri())).unwrap();
    let error = client(PRODUCTION).send_http(request_here).await.unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(EgressError::UrlRefused { .. })),
        "{error:?}"
    );
}
