//! Who has records of a kind, as relays know it, and the records themselves, as their accounts' own servers have them.

use std::collections::BTreeSet;

use anyhow::bail;
use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::{AtIdentifier, Did, Nsid};
use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use url::Url;

use crate::network::{Network, NetworkArguments};
use crate::output::Output;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  atcr record-query                                     holds that a relay knows
  atcr record-query io.atcr.hold.captain --records      with what they say of themselves
  atcr record-query io.atcr.manifest --account alice.example.com --records --limit 5 --json";

/// The relay that an appview asks when nothing else is configured.
const RELAY: &str = "https://relay1.us-east.bsky.network";

/// Accounts that are read at once.
const AT_ONCE: usize = 8;

/// What is looked for.
#[derive(Debug, Args)]
pub struct RecordQuery {
    /// The collection
    #[arg(default_value = nsid::HOLD_CAPTAIN)]
    collection: Nsid,
    /// A relay or a collection directory that lists accounts; may be given several times
    #[arg(long = "relay", value_name = "URL", default_value = RELAY)]
    relays: Vec<Url>,
    /// Only this account, a handle or a DID, whether a relay knows it or not; may be given several times
    #[arg(long = "account", value_name = "ACCOUNT")]
    accounts: Vec<AtIdentifier>,
    /// Read the records from the accounts' own servers
    #[arg(long)]
    records: bool,
    /// Accounts at most, and records of each
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    limit: usize,
    /// Answer with a line of JSON for each account or record
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArguments,
}

/// A record, as it is printed.
struct Found {
    uri: String,
    cid: Option<String>,
    value: Value,
}

impl RecordQuery {
    /// Prints what is found.
    ///
    /// # Errors
    /// No relay has a list, or an account could not be read; what is found before and beside it is printed.
    pub async fn run(self) -> anyhow::Result<()> {
        let output = Output::new(self.json);
        let network = Network::new(&self.network)?;
        let accounts = self.find(&network, &output).await?;
        if !self.records {
            for did in &accounts {
                output.json(&json!({ "did": did }));
                output.line(did);
            }
            output.done();
            return Ok(());
        }
        let total = accounts.len();
        let mut read = stream::iter(accounts)
            .map(|did| {
                let (network, query) = (&network, &self);
                async move { (query.read(network, &did).await, did) }
            })
            .buffer_unordered(AT_ONCE);
        let (mut done, mut failed) = (0, 0);
        while let Some((records, did)) = read.next().await {
            done += 1;
            output.progress(format!("{done} of {total} accounts"));
            match records {
                Ok(records) => {
                    for record in records {
                        output.json(&json!({ "uri": record.uri, "cid": record.cid, "value": record.value }));
                        output.line(format!("{}\n  {}", record.uri, record.value));
                    }
                }
                Err(error) => {
                    failed += 1;
                    output.warn(format!("{did}: {error:#}"));
                }
            }
        }
        output.done();
        if failed > 0 {
            bail!("{failed} of {total} accounts could not be read");
        }
        Ok(())
    }

    /// The accounts that are asked for, or those that any of the relays knows.
    async fn find(&self, network: &Network, output: &Output) -> anyhow::Result<BTreeSet<Did>> {
        let mut accounts = BTreeSet::new();
        for account in &self.accounts {
            accounts.insert(network.account(account).await?.did.clone());
        }
        if !self.accounts.is_empty() {
            return Ok(accounts);
        }
        let mut failed = 0;
        for relay in &self.relays {
            output.progress(format!("{relay} lists accounts"));
            let mut found = |did| {
                if accounts.len() < self.limit {
                    accounts.insert(did);
                }
            };
            let listed = network
                .accounts_with(relay, &self.collection, self.limit, &mut found)
                .await;
            if let Err(error) = listed {
                failed += 1;
                output.warn(format!("{relay}: {error:#}"));
            }
        }
        if failed == self.relays.len() {
            bail!("no relay has a list of accounts with {}", self.collection);
        }
        Ok(accounts)
    }

    async fn read(&self, network: &Network, did: &Did) -> anyhow::Result<Vec<Found>> {
        let server = network.server(did).await?;
        let mut found = Vec::new();
        let mut each = |record: atcr_atproto::pds::RecordEntry| {
            found.push(Found {
                uri: record.uri.to_string(),
                cid: record.cid.map(|cid| cid.to_string()),
                value: record.value.clone(),
            });
            found.len() < self.limit
        };
        network
            .records(did, &server, true, self.collection.as_str(), &mut each)
            .await?;
        Ok(found)
    }
}
