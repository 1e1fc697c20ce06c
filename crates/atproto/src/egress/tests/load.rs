//! Many requests at once: to hosts that do not answer, and with answers that are as long as they may be.

use super::*;

const PATIENT: Duration = Duration::from_mins(1);

/// A server that takes connections and requests and answers none; it tells of each request.
async fn silent_server() -> (Url, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = url(&format!("http://{}/", listener.local_addr().unwrap()));
    let (asked, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|len| len > 0) {
                    let _ = asked.send(());
                }
            });
        }
    });
    (target, requests)
}

fn limits(timeout: Duration) -> Limits {
    Limits {
        max_bytes: MAX_LONG,
        timeout,
    }
}

const MAX_LONG: usize = 64 * 1024;

/// A server of answers of [`MAX_LONG`] bytes, with their length announced or not.
async fn long_answers() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(vec![b' '; MAX_LONG]))
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn a_silent_host_takes_nothing_that_others_need() {
    let (silent, mut requests) = silent_server().await;
    let good = long_answers().await;
    let client = client(DEVELOPMENT).with_host_limit(HostLimit {
        in_flight: 2,
        waiting: 1,
        patience: PATIENT,
    });
    let ask = || {
        let (client, silent) = (client.clone(), silent.clone());
        async move { client.get_within(&silent, "*/*", limits(PATIENT)).await }
    };
    let (first, second) = (tokio::spawn(ask()), tokio::spawn(ask()));
    for _ in 0..2 {
        requests.recv().await.unwrap();
    }
    // It has its place in the queue as soon as it is polled.
    let mut third = Box::pin(ask());
    assert!(
        tokio::time::timeout(Duration::ZERO, third.as_mut())
            .await
            .is_err()
    );
    let refused = ask().await.unwrap_err();
    assert!(matches!(refused, EgressError::Busy { .. }), "{refused:?}");
    assert!(!refused.is_refusal());
    let other = client
        .get_within(&url(&good.uri()), "*/*", limits(PATIENT))
        .await
        .unwrap();
    assert_eq!(other.bytes.len(), MAX_LONG);
    first.abort();
    // A place that is free again goes to the one that waits.
    let third = tokio::spawn(third);
    requests.recv().await.unwrap();
    second.abort();
    third.abort();
}

#[tokio::test]
async fn a_stream_counts_until_it_begins() {
    let good = long_answers().await;
    let client = client(DEVELOPMENT).with_host_limit(HostLimit {
        in_flight: 1,
        waiting: 0,
        patience: PATIENT,
    });
    let target = url(&good.uri());
    let open = async || {
        let request = client.request(Method::GET, &target).unwrap();
        client.open(request, PATIENT).await.unwrap()
    };
    let first = open().await;
    let second = open().await;
    assert!(first.status() == 200 && second.status() == 200);
}

#[tokio::test]
async fn long_answers_wait_for_each_other_s_memory() {
    let server = long_answers().await;
    // Room for two answers and what is made of them.
    let budget = ByteBudget::new(2 * 13 * MAX_LONG);
    let client = client(DEVELOPMENT).with_budget(budget.clone());
    let target = url(&server.uri());
    let ask = async |timeout| client.get_within(&target, "*/*", limits(timeout)).await;
    let first = ask(PATIENT).await.unwrap();
    let second = ask(PATIENT).await.unwrap();
    assert_eq!(budget.in_flight(), budget.total());
    let refused = ask(Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(refused, EgressError::Overloaded { .. }), "{refused:?}");
    // What was made of an answer keeps its memory.
    let held = first.held();
    drop(first);
    assert_eq!(budget.in_flight(), budget.total());
    drop(held);
    let third = ask(PATIENT).await.unwrap();
    drop((second, third));
    assert_eq!(budget.in_flight(), 0);
}

#[tokio::test]
async fn short_answers_need_no_part_of_the_budget() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_string("{}"))
        .mount(&server)
        .await;
    let client = client(DEVELOPMENT).with_budget(ByteBudget::new(0));
    let answer = client
        .get_within(&url(&server.uri()), "*/*", limits(PATIENT))
        .await;
    assert_eq!(&answer.unwrap().bytes[..], b"{}");
}
