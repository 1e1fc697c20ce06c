//! The servers behind the URLs: axum on a listener that outlives it, and versitygw as a process.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleError;
use http::StatusCode;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const ACCESS_KEY: &str = "test-access";
pub(crate) const SECRET_KEY: &str = "test-secret";
pub(crate) const BUCKET: &str = "blobs-here";

/// A router behind a port, until it is stopped.
pub(crate) struct Serving {
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Serving {
    pub(crate) fn start(listener: &TcpListener, router: Router) -> Self {
        let listener = listener.try_clone().expect("a second handle on the listener");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener in the runtime");
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await
        });
        Self { stop, task }
    }

    /// Returns when no connection is left, and nothing holds the router's state.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the server").expect("serving");
    }
}

/// An S3 service over the folder `root`, in this process.
pub(crate) fn s3s_router(root: &Path) -> Router {
    let store = s3s_fs::FileSystem::new(root).expect("a folder for the bucket");
    let mut builder = S3ServiceBuilder::new(store);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    Router::new().fallback_service(HandleError::new(builder.build(), |error| async move {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:?}"))
    }))
}

/// The versitygw to test against, if any.
pub(crate) fn versitygw_binary() -> Option<PathBuf> {
    std::env::var_os("ATCR_VERSITYGW")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// A running versitygw. Ends with this value.
pub(crate) struct Versitygw {
    process: Child,
    pub(crate) addr: SocketAddr,
}

impl Versitygw {
    pub(crate) async fn start(binary: &Path, root: &Path) -> Self {
        // Another program may take the port before versitygw does: then it exits, and another port is tried.
        for _ in 0..10 {
            let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let addr = probe.local_addr().expect("its address");
            drop(probe);
            let process = Command::new(binary)
                .env("ROOT_ACCESS_KEY", ACCESS_KEY)
                .env("ROOT_SECRET_KEY", SECRET_KEY)
                .args(["--quiet", "--port", &addr.to_string(), "posix"])
                .arg(root)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("versitygw starts");
            let mut running = Self { process, addr };
            if running.is_up().await {
                return running;
            }
        }
        panic!("versitygw does not come up");
    }

    async fn is_up(&mut self) -> bool {
        while self.process.try_wait().expect("its state").is_none() {
            if tokio::net::TcpStream::connect(self.addr).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for Versitygw {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
