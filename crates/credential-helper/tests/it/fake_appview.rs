//! A registry that answers what it was told to, and remembers what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::home::ALICE;

/// An answer: status, body, further headers.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl Answer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self::bytes(status, body.to_string().into_bytes())
    }

    pub(crate) fn bytes(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            body: body.into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What was asked: `POST /path`, the body, the `Authorization` header.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) body: String,
    pub(crate) authorization: Option<String>,
}

#[derive(Default)]
struct Script {
    /// Answers by path, in order; the last one stays.
    answers: Vec<(String, VecDeque<Answer>)>,
    asked: Vec<Asked>,
}

pub(crate) struct FakeAppView {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    // Dropped last: stops the server.
    _runtime: Runtime,
}

impl FakeAppView {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let script = Arc::new(Mutex::new(Script::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            script,
            _runtime: runtime,
        }
    }

    /// A registry where a device flow can begin, with the answers to its polls.
    pub(crate) fn with_polls(polls: impl IntoIterator<Item = Answer>) -> Self {
        let appview = Self::start();
        let base = appview.url();
        appview.on(
            "/auth/device/code",
            [Answer::json(
                200,
                json!({
                    "device_code": "device-code-1",
                    "user_code": "ABCD-1234",
                    "verification_uri": format!("{base}/device"),
                    "verification_uri_complete": format!("{base}/device?user_code=ABCD-1234"),
                    "expires_in": 600,
                    "interval": 1,
                }),
            )],
        );
        appview.on("/auth/device/token", polls);
        appview.on("/auth/device/revoke", [Answer::bytes(204, "")]);
        appview
    }

    /// A registry that speaks as the original appview does: the words of the device flow with status 200, a device secret without
    /// a prefix, no call to end a device, no list of releases.
    pub(crate) fn original(secret: &str) -> Self {
        let word = |word: &str| Answer::json(200, json!({ "error": word }));
        let appview = Self::with_polls([
            word("authorization_pending"),
            word("slow_down"),
            approved(ALICE.0, ALICE.1, secret),
        ]);
        appview.off("/auth/device/revoke");
        let token = json!({ "token": "t", "access_token": "t", "expires_in": 300, "issued_at": "2026-01-01T00:00:00Z" });
        appview.on("/auth/token", [Answer::json(200, token)]);
        appview
    }

    /// Takes the answers of a path away.
    pub(crate) fn off(&self, path: &str) {
        let mut script = self.script.lock().expect("the script");
        script.answers.retain(|(known, _)| known != path);
    }

    pub(crate) fn on(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        self.off(path);
        let mut script = self.script.lock().expect("the script");
        script
            .answers
            .push((path.to_owned(), answers.into_iter().collect()));
    }

    /// `127.0.0.1:<port>`
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.lock().expect("the script").asked.clone()
    }

    /// What was asked of one path.
    pub(crate) fn asked_of(&self, path: &str) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.line.split([' ', '?']).nth(1) == Some(path));
        asked
    }

    /// `text` with the address under a fixed name.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.host(), "<registry>")
    }
}

pub(crate) fn pending() -> Answer {
    Answer::json(400, json!({"error": "authorization_pending"}))
}

pub(crate) fn approved(handle: &str, did: &str, secret: &str) -> Answer {
    Answer::json(
        200,
        json!({"device_secret": secret, "handle": handle, "did": did}),
    )
}

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut script = script.lock().expect("the script");
    script.asked.push(Asked {
        line: format!("{method} {uri}"),
        body: String::from_utf8_lossy(&body).into_owned(),
        authorization: headers
            .get("authorization")
            .map(|value| value.to_str().expect("text").to_owned()),
    });
    let answers = script.answers.iter_mut().find(|(path, _)| path == uri.path());
    let answer = match answers {
        Some((_, answers)) if answers.len() > 1 => answers.pop_front(),
        Some((_, answers)) => answers.front().cloned(),
        None => None,
    };
    let answer = answer.unwrap_or_else(|| Answer::bytes(404, "nothing here"));
    let mut response = Response::builder().status(StatusCode::from_u16(answer.status).expect("a status"));
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).expect("a response")
}
