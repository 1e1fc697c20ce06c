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

/// A server that answers each request with the head of an answer of [`MAX_LONG`] bytes and the first 10 KiB of it, and then waits.
async fn stalling_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {MAX_LONG}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&[b' '; 10 * 1024]).await;
            open.push(stream);
        }
    });
    port
}

/// Waits until the answers in flight take `bytes`.
async fn until_in_flight(memory: &AnswerMemory, bytes: usize) {
    while memory.in_flight() != bytes {
        tokio::task::yield_now().await;
    }
}

const NO_PACE: Pace = Pace {
    grace: PATIENT,
    bytes_per_second: 1,
};

#[tokio::test]
async fn a_host_that_stalls_holds_a_quarter_of_what_arrives_and_nothing_for_parsing() {
    let memory = AnswerMemory::new(2 * 4 * MAX_LONG);
    let lookup = ScriptedLookup::new(&[&["127.0.0.1"]]);
    let client = EgressClient::with_lookup(DEVELOPMENT, lookup)
        .unwrap()
        .with_memory(memory.clone())
        .with_pace(NO_PACE);
    let port = stalling_server().await;
    let ask = |host: &str, port: u16| {
        let (client, target) = (client.clone(), url(&format!("http://{host}.localhost:{port}/")));
        async move { client.get_within(&target, "*/*", limits(PATIENT)).await }
    };
    let slow: Vec<_> = (0..8).map(|_| tokio::spawn(ask("slow", port))).collect();
    until_in_flight(&memory, MAX_LONG).await;
    let good = long_answers().await.uri();
    let good = url(&good).port().unwrap();
    let answer = ask("good", good).await.unwrap();
    // What arrived, and all that a quarter leaves for what is made of it.
    assert_eq!(memory.in_flight(), 2 * MAX_LONG + 4 * MAX_LONG);
    drop(answer);
    assert_eq!(memory.in_flight(), MAX_LONG);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_before_the_answer_s_time_is_over() {
    let port = stalling_server().await;
    let client = client(DEVELOPMENT).with_pace(Pace {
        grace: Duration::from_millis(50),
        bytes_per_second: 1024,
    });
    let target = url(&format!("http://127.0.0.1:{port}/"));
    let patient = limits(Duration::from_hours(1));
    let error = client.get_within(&target, "*/*", patient).await.unwrap_err();
    assert!(matches!(error, EgressError::Timeout { .. }), "{error:?}");
    assert_eq!(client.memory().in_flight(), 0);
}

#[tokio::test]
async fn long_answers_wait_for_each_other_s_memory() {
    let server = long_answers().await;
    // Room for one answer and a quarter of what may be made of it, which is the host's share.
    let memory = AnswerMemory::new(2 * 4 * MAX_LONG);
    let client = client(DEVELOPMENT).with_memory(memory.clone());
    let target = url(&server.uri());
    let ask = async |timeout| client.get_within(&target, "*/*", limits(timeout)).await;
    let first = ask(PATIENT).await.unwrap();
    let refused = ask(Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(refused, EgressError::Overloaded { .. }), "{refused:?}");
    // What was made of an answer keeps its memory; the body's own is free.
    let held = first.held();
    drop(first);
    assert_eq!(memory.in_flight(), 4 * MAX_LONG);
    drop(held);
    drop(ask(PATIENT).await.unwrap());
    assert_eq!(memory.in_flight(), 0);
}

#[tokio::test]
async fn short_answers_need_no_part_of_the_memory() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_string("{}"))
        .mount(&server)
        .await;
    let memory = AnswerMemory::new(2 * MAX_LONG);
    let client = client(DEVELOPMENT).with_memory(memory.clone());
    let _full = memory.read("127.0.0.1", usize::MAX, PATIENT).await.unwrap();
    let answer = client
        .get_within(&url(&server.uri()), "*/*", limits(PATIENT))
        .await;
    assert_eq!(&answer.unwrap().bytes[..], b"{}");
}
