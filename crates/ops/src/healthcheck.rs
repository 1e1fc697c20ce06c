//! Whether a server is well, for the `HEALTHCHECK` of an image that has no shell.

use std::time::Instant;

use anyhow::{Context as _, bail};
use atcr_atproto::egress::{EgressClient, Limits};
use clap::Args;
use serde_json::json;
use url::Url;

use crate::output::Output;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  atcr healthcheck http://127.0.0.1:5000/readyz
  atcr healthcheck https://hold.example.com/xrpc/_health --timeout 2s --json";

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1024;

/// What is asked.
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// What to ask: /readyz, /livez or /xrpc/_health of a server
    url: Url,
    /// How long the answer may take
    #[arg(long, value_name = "TIME", default_value = "5s")]
    timeout: humantime::Duration,
    /// Answer with a line of JSON
    #[arg(long)]
    json: bool,
}

impl Healthcheck {
    /// Asks once.
    ///
    /// # Errors
    /// No answer in time, or one with another status than 2xx.
    pub async fn run(self) -> anyhow::Result<()> {
        let output = Output::new(self.json);
        let limits = Limits {
            max_bytes: MAX_ANSWER,
            timeout: self.timeout.into(),
        };
        let begun = Instant::now();
        let client = EgressClient::for_configured_hosts()?;
        let answer = client.get_within(&self.url, "application/json", limits).await;
        output.done();
        let answer = answer.with_context(|| format!("{} does not answer", self.url))?;
        let status = answer.status.as_u16();
        output.json(&json!({
            "url": self.url.as_str(),
            "healthy": answer.status.is_success(),
            "status": status,
            "milliseconds": u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }));
        if !answer.status.is_success() {
            bail!("{} answers {status}", self.url);
        }
        output.line(format!("{} answers {status}", self.url));
        Ok(())
    }
}
