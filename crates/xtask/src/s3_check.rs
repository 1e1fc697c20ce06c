//! Whether an S3 server will do, before anything is started on it.

use std::io::Write as _;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use atcr_test_support::network::S3Storage;
use atcr_test_support::tools::require_commands;
use reqwest::Url;

use crate::progress::{Step, say};

/// How long the server may take, in seconds.
const PATIENCE: u8 = 10;

const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Refuses, in one line, a server that the appview would not connect to, that does not answer, that does not take the
/// credentials, or that does not have the bucket.
pub(crate) fn require_usable(storage: &S3Storage) -> Result<()> {
    require_reachable_url(&storage.endpoint)?;
    // It signs requests, and brings the system's trust in certificates.
    require_commands(&["curl"], &mut |line| say(line))?;
    let step = Step::begin("S3 bucket");
    let answer = list(storage)?;
    judge(storage, &answer)?;
    step.done();
    Ok(())
}

/// What the appview's guard against strangers' hosts will say of the URLs that the hold signs for this server.
fn require_reachable_url(endpoint: &str) -> Result<()> {
    let url = Url::parse(endpoint)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .with_context(|| {
            format!("--s3-endpoint {endpoint} is no URL; write it like http://127.0.0.1:9000")
        })?;
    let host = url.host_str().unwrap_or_default();
    let name = host.trim_end_matches('.');
    let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if name == "localhost" || name.ends_with(".localhost") || literal.is_some_and(|ip| ip.is_loopback()) {
        return Ok(());
    }
    if url.scheme() == "http" {
        bail!(
            "--s3-endpoint {endpoint}: the appview speaks plain http to this machine only, so every push would fail; name an https URL, or forward a port of 127.0.0.1 to it"
        );
    }
    let port = url.port_or_known_default().unwrap_or(443);
    let addresses = (host.trim_matches(['[', ']']), port)
        .to_socket_addrs()
        .with_context(|| format!("--s3-endpoint: there is no host {host}"))?;
    for address in addresses {
        if is_private(address.ip()) {
            bail!(
                "--s3-endpoint {endpoint}: {} is a private address, to which the appview does not connect, so every push would fail; forward a port of 127.0.0.1 to it",
                address.ip()
            );
        }
    }
    Ok(())
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// What came of asking for the bucket's list.
enum Answer {
    /// The server answered with this status and body.
    Http { status: u16, body: String },
    /// No answer, and why not.
    None { reason: String },
}

fn list(storage: &S3Storage) -> Result<Answer> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let endpoint = storage.endpoint.trim_end_matches('/');
    let options = [
        (
            "url",
            format!("{endpoint}/{}?list-type=2&max-keys=1", storage.bucket),
        ),
        ("user", format!("{}:{}", storage.access_key, storage.secret_key)),
        ("aws-sigv4", format!("aws:amz:{}:s3", storage.region)),
        // S3 wants it among the signed headers; the request has no body.
        ("header", format!("x-amz-content-sha256: {SHA256_OF_NOTHING}")),
        ("noproxy", "*".to_owned()),
        ("write-out", "\\n%{http_code}".to_owned()),
    ];
    let mut config = format!("silent\nshow-error\nmax-time = {PATIENCE}\n");
    for (name, value) in options {
        config = format!("{config}{name} = {}\n", quoted(&value));
    }
    // Through a pipe: every user can read command lines.
    let mut child = Command::new("curl")
        .args(["--disable", "--config", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start curl")?;
    child
        .stdin
        .take()
        .context("curl has no input")?
        .write_all(config.as_bytes())?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    let status = status.parse().unwrap_or(0);
    if !output.status.success() || status == 0 {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Ok(Answer::None { reason });
    }
    Ok(Answer::Http {
        status,
        body: body.to_owned(),
    })
}

fn judge(storage: &S3Storage, answer: &Answer) -> Result<()> {
    let S3Storage {
        endpoint,
        bucket,
        region,
        ..
    } = storage;
    let (status, body) = match answer {
        Answer::Http { status: 200, .. } => return Ok(()),
        Answer::Http { status, body } => (*status, body),
        Answer::None { reason } => {
            bail!(
                "the S3 server at {endpoint} does not answer ({reason}); start it, or correct --s3-endpoint"
            )
        }
    };
    // Errors are `<Error><Code>NoSuchBucket</Code>…`.
    let code = body
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map_or("no code", |(code, _)| code);
    match (status, code) {
        (404, "NoSuchBucket" | "no code") => {
            bail!(
                "the S3 server at {endpoint} has no bucket {bucket}; create it, or name another with --s3-bucket"
            )
        }
        (301 | 307, _) | (_, "AuthorizationHeaderMalformed") => bail!(
            "the S3 server at {endpoint} refuses the region {region} ({code}); name the bucket's with --s3-region"
        ),
        // versitygw answers 404 to a key it does not know.
        (401 | 403, _) | (_, "XAdminUserNotFound") => bail!(
            "the S3 server at {endpoint} refuses the credentials ({code}); correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ),
        _ => bail!(
            "the S3 server at {endpoint} answers {status} ({code}) to a list of the bucket {bucket}; correct --s3-endpoint and --s3-bucket"
        ),
    }
}

#[cfg(test)]
mod tests;
