//! The index of the network: its file, the accounts' own servers that fill it, and the firehoses that are followed.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use atcr_atproto::clock::Clock;
use atcr_atproto::egress::{EgressClient, HostLimit};
use atcr_atproto::identity::IdentityResolver;
use atcr_index_sqlite::SqliteIndex;
use atcr_ingest::Index;
use atcr_ingest::adapters::pds::PdsSource;
use atcr_ingest::adapters::socket::WebSocketSource;
use atcr_ingest::catch_up::{CatchUp, Limits};
use atcr_ingest::follow::Follower;
use atcr_ingest::schedule::Scheduler;
use atcr_ingest::source::AccountSource;
use atcr_server::Shutdown;
use url::Url;

/// Requests of the index to one host at once: what people wait for goes first.
const REQUESTS_PER_HOST: u64 = 4;

/// The index and what keeps it current.
pub struct NetworkIndex {
    /// The file.
    pub store: Arc<SqliteIndex>,
    /// Its ports for what writes to it.
    pub ports: Index,
    /// Accounts that are due.
    pub scheduler: Scheduler,
    /// Brings one account to its head.
    pub catch_up: CatchUp,
    followers: Vec<Follower>,
}

impl NetworkIndex {
    /// Opens the file at `path`. Nothing is fetched before [`NetworkIndex::start`].
    ///
    /// # Errors
    /// The file, which is named, cannot be opened.
    pub async fn open(
        path: &Path,
        firehoses: &[Url],
        identities: &Arc<dyn IdentityResolver>,
        egress: &EgressClient,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let store = Arc::new(
            SqliteIndex::open(path)
                .await
                .context("the index of the network")?,
        );
        let ports = Index::of(Arc::clone(&store));
        let egress = egress.clone().with_host_limit(HostLimit::of(REQUESTS_PER_HOST));
        let source: Arc<dyn AccountSource> = Arc::new(PdsSource::new(Arc::clone(identities), egress.clone()));
        let catch_up = CatchUp::new(
            ports.clone(),
            Arc::clone(&source),
            Arc::clone(clock),
            Limits::default(),
        );
        let followers = firehoses
            .iter()
            .map(|url| {
                Follower::new(
                    url.authority(),
                    Arc::new(WebSocketSource::firehose(url.clone(), egress.clone())),
                    ports.clone(),
                    Arc::clone(&source),
                    Arc::clone(clock),
                )
            })
            .collect();
        Ok(Self {
            scheduler: Scheduler::new(ports.clone(), catch_up.clone(), Arc::clone(clock)),
            store,
            ports,
            catch_up,
            followers,
        })
    }

    /// Follows the firehoses and works on accounts that are due, until the shutdown.
    pub fn start(&self, shutdown: &Shutdown) {
        self.scheduler.clone().spawn(shutdown);
        for follower in &self.followers {
            follower.clone().spawn(shutdown);
        }
    }
}
