//! The program as an operator runs it, against servers of this process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod asking_relays;
mod buckets;
mod databases;
mod documents;
mod health;
mod reports;

use std::path::Path;

use axum::Router;
use serde_json::Value;
use tokio::process::Command;

/// What a run of the program came to.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    /// The lines of JSON on standard output.
    fn json(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// It succeeded.
    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }
}

async fn run_as(program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .await
        .unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn atcr(arguments: &[&str]) -> Run {
    run_as(Path::new(env!("CARGO_BIN_EXE_atcr")), arguments, &[]).await
}

/// Serves until the test ends, and returns the URL.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}
