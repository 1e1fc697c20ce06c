//! The credential helper: what it adds to every `docker push` and `docker pull`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use atcr_test_support::tools::Workspace;

use super::median;

const RUNS: usize = 200;
const REGISTRY: &str = "registry.example";

/// `docker-credential-atcr get` for one of two stored accounts, from its start to its end.
pub(crate) fn get(workspace: &Workspace, folder: &Path) -> Result<()> {
    let binary = workspace.binary("docker-credential-atcr")?;
    for handle in ["alice.test", "bob.test"] {
        let credentials = serde_json::json!({
            "ServerURL": REGISTRY, "Username": handle, "Secret": "abcd-efgh-ijkl-mnop",
        });
        run(&binary, folder, "store", &credentials.to_string())?;
    }
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let started = Instant::now();
        let answer = run(&binary, folder, "get", REGISTRY)?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        ensure!(answer.contains("Secret"), "get printed no secret");
    }
    let median = median(&mut times)?;
    let p95 = times.get(RUNS * 95 / 100).context("nothing was measured")?;
    println!("docker-credential-atcr get, {RUNS} runs: {median:.1} ms median, {p95:.1} ms p95");
    Ok(())
}

fn run(binary: &Path, folder: &Path, operation: &str, input: &str) -> Result<String> {
    let mut child = Command::new(binary)
        .arg(operation)
        .env("HOME", folder)
        .env("ATCR_CONFIG", folder.join("helper.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the credential helper")?;
    child
        .stdin
        .take()
        .context("the credential helper has no input")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "the credential helper's {operation} failed"
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
