//! Asks relays to follow a hold, as the hold itself does at its start.

use anyhow::{Context as _, bail};
use atcr_hold::adapters::relay_client::RelayClient;
use atcr_hold::relays::RelayApi as _;
use clap::Args;
use serde_json::json;
use url::Url;

use crate::output::Output;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  atcr crawl https://hold.example.com
  atcr crawl hold.example.com --relay https://bsky.network --relay https://relay.example.org --json";

/// The relay that a hold asks when nothing else is configured.
const RELAY: &str = "https://relay1.us-east.bsky.network";

/// Who is asked to follow what.
#[derive(Debug, Args)]
pub struct Crawl {
    /// The hold: its URL, or its host with the port if that is not the usual one
    hold: String,
    /// A relay; may be given several times
    #[arg(long = "relay", value_name = "URL", default_value = RELAY)]
    relays: Vec<Url>,
    /// Answer with a line of JSON for each relay
    #[arg(long)]
    json: bool,
}

impl Crawl {
    /// Asks each relay, and what it knows of the hold then.
    ///
    /// # Errors
    /// A relay that does not agree, after all have been asked.
    pub async fn run(self) -> anyhow::Result<()> {
        let hostname = hostname(&self.hold)?;
        let output = Output::new(self.json);
        let client = RelayClient::new()?;
        let mut refused = 0;
        for relay in &self.relays {
            output.progress(format!("asking {relay}"));
            let asked = client.request_crawl(relay, &hostname).await;
            let error = asked.err().map(|error| match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            });
            // A relay that has only just been asked may not know the hold yet.
            let known = client.host_status(relay, &hostname).await.ok();
            refused += usize::from(error.is_some());
            output.json(&json!({
                "relay": relay.as_str(),
                "hostname": hostname,
                "accepted": error.is_none(),
                "error": error,
                "status": known.as_ref().and_then(|known| known.status.clone()),
                "seq": known.as_ref().and_then(|known| known.seq),
            }));
            let known = known.map(|known| format!("; it has the hold as {known}"));
            output.line(match &error {
                None => format!("{relay} follows {hostname}{}", known.unwrap_or_default()),
                Some(error) => format!("{relay} does not: {error}"),
            });
        }
        output.done();
        if refused > 0 {
            bail!("{refused} of {} relays did not agree", self.relays.len());
        }
        Ok(())
    }
}

/// The host that a relay connects to, with its port if it is not the usual one.
fn hostname(hold: &str) -> anyhow::Result<String> {
    let text = if hold.contains("://") {
        hold.to_owned()
    } else {
        format!("https://{hold}")
    };
    let url = text.parse::<Url>().ok();
    let host = url.as_ref().and_then(Url::host_str);
    let host = host.with_context(|| format!("{hold} is neither a URL nor a host"))?;
    Ok(match url.as_ref().and_then(Url::port) {
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::hostname;

    #[test]
    fn a_hold_is_a_url_or_a_host() {
        for (given, host) in [
            ("https://hold.example.com", "hold.example.com"),
            ("https://hold.example.com/", "hold.example.com"),
            ("hold.example.com", "hold.example.com"),
            ("hold.example.com:8443", "hold.example.com:8443"),
            ("http://172.28.0.3:8080", "172.28.0.3:8080"),
        ] {
            assert_eq!(hostname(given).unwrap(), host);
        }
        for given in ["", "https://", "a b"] {
            assert!(hostname(given).is_err(), "{given}");
        }
    }
}
