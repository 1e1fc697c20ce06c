//! The listener on loopback that the browser comes back to.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Where the browser comes back to.
pub const CALLBACK_PATH: &str = "/callback";

/// The query that the browser brings.
#[derive(Clone, Debug, Deserialize)]
pub struct Callback {
    /// The code to trade.
    pub code: Option<SecretString>,
    /// Which sign-in it is about.
    pub state: Option<String>,
    /// Who answers.
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// The same in words.
    pub error_description: Option<String>,
}

/// The port, open.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    port: u16,
}

struct Expected {
    state: String,
    callbacks: mpsc::Sender<Callback>,
}

impl Listener {
    /// Opens `port` on 127.0.0.1; 0 stands for any.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("cannot listen on port {port} of 127.0.0.1"))?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the browser to come back with `state`; anything else that calls is turned away.
    ///
    /// # Errors
    /// The listener breaks.
    pub async fn wait(self, state: &str) -> anyhow::Result<Callback> {
        let (callbacks, mut received) = mpsc::channel(1);
        let expected = Arc::new(Expected {
            state: state.to_owned(),
            callbacks,
        });
        let router = Router::new()
            .route(CALLBACK_PATH, get(come_back))
            .with_state(expected);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(async move {
            let _ = stopped.await;
        });
        let receiving = async {
            let callback = received.recv().await;
            // The page is answered in full before the listener goes.
            let _ = stop.send(());
            callback
        };
        let (served, callback) = tokio::join!(async { serving.await }, receiving);
        served?;
        callback.context("the browser did not come back")
    }
}

async fn come_back(
    State(expected): State<Arc<Expected>>,
    Query(callback): Query<Callback>,
) -> (StatusCode, &'static str) {
    if callback.state.as_deref() != Some(expected.state.as_str()) {
        return (
            StatusCode::BAD_REQUEST,
            "This is not the sign-in that oauth-helper began.\n",
        );
    }
    // Full: a second answer to the same sign-in.
    if expected.callbacks.try_send(callback).is_err() {
        return (StatusCode::BAD_REQUEST, "This sign-in is over.\n");
    }
    (
        StatusCode::OK,
        "Done. Go back to the terminal; this page can be closed.\n",
    )
}
