//! A real S3 server over a folder: versitygw.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::network::{Ports, Program, S3Storage};
use crate::tools::GoTool;

/// How long the server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts the installed versitygw with its objects and its log in `folder`, on a free port, with one bucket.
///
/// # Errors
/// If it is not installed, or does not start.
pub async fn start_versitygw(folder: &Path) -> Result<(Program, S3Storage)> {
    let binary = GoTool::VERSITYGW.installed()?;
    let storage = S3Storage {
        endpoint: format!("http://127.0.0.1:{}", Ports::free()?.hold),
        bucket: "atcr".to_owned(),
        region: "us-east-1".to_owned(),
        access_key: "access".to_owned(),
        secret_key: "secretsecret".to_owned(),
    };
    let data = folder.join("data");
    // A folder below the root is a bucket.
    std::fs::create_dir_all(data.join(&storage.bucket))?;
    let mut program = Program::spawn(
        "versitygw",
        Path::new("/usr/bin/env"),
        &[
            format!("ROOT_ACCESS_KEY={}", storage.access_key).as_ref(),
            format!("ROOT_SECRET_KEY={}", storage.secret_key).as_ref(),
            binary.as_ref(),
            "--port".as_ref(),
            storage.endpoint.trim_start_matches("http://").as_ref(),
            "--health".as_ref(),
            "/health".as_ref(),
            "posix".as_ref(),
            data.as_ref(),
        ],
        &folder.join("versitygw.log"),
    )?;
    program
        .wait_for_ready(&format!("{}/health", storage.endpoint), START_TIMEOUT)
        .await?;
    Ok((program, storage))
}
