//! The index of the network: its file, the accounts' own servers that fill it, the streams that are followed, and the lists in which
//! accounts are found.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::egress::{EgressClient, HostLimit};
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;
use atcr_ingest::Index;
use atcr_ingest::adapters::directory::XrpcDirectory;
use atcr_ingest::adapters::pds::PdsSource;
use atcr_ingest::adapters::service::ServiceSource;
use atcr_ingest::adapters::socket::WebSocketSource;
use atcr_ingest::catch_up::{CatchUp, Limits};
use atcr_ingest::discovery::Discovery;
use atcr_ingest::firehose::Firehose;
use atcr_ingest::follow::{Follower, Intake, Place};
use atcr_ingest::health::StreamHealth;
use atcr_ingest::jetstream::Jetstream;
use atcr_ingest::labels::Labels;
use atcr_ingest::leadership::Leadership;
use atcr_ingest::schedule::Scheduler;
use atcr_ingest::shown;
use atcr_ingest::source::AccountSource;
use atcr_server::Shutdown;
use atcr_server::health::{Figures, Part, Reason};
use url::Url;
use uuid::Uuid;

use crate::browse::descriptions::Descriptions;
use crate::index_store::{self, IndexStore};
use crate::settings::NetworkSettings;

/// Requests of the index to one host at once: what people wait for goes first.
const REQUESTS_PER_HOST: u64 = 4;

/// The index and what keeps it current.
pub struct NetworkIndex {
    /// Where it is kept.
    pub store: Arc<dyn IndexStore>,
    /// Its ports for what writes to it.
    pub ports: Index,
    /// Accounts that are due.
    pub scheduler: Scheduler,
    /// Brings one account to its head.
    pub catch_up: CatchUp,
    /// Finds accounts.
    pub discovery: Discovery,
    /// What this server calls itself to the others on its index.
    pub server_name: String,
    followers: Vec<Follower>,
    leadership: Leadership,
}

/// What the index is made with.
pub struct NetworkIndexParts<'p> {
    /// Where the network is heard of.
    pub network: &'p NetworkSettings,
    /// The hold of accounts that chose none: it is indexed whether anybody lists it or not.
    pub default_hold: Option<&'p Did>,
    /// Who accounts are.
    pub identities: &'p Arc<dyn IdentityResolver>,
    /// For hosts that others name.
    pub egress: &'p EgressClient,
    /// The time.
    pub clock: &'p Arc<dyn Clock>,
}

impl NetworkIndex {
    /// What fills `store`. Nothing is fetched before [`NetworkIndex::start`].
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(store: Arc<dyn IndexStore>, parts: NetworkIndexParts<'_>) -> anyhow::Result<Self> {
        let NetworkIndexParts {
            network,
            default_hold,
            identities,
            egress,
            clock,
        } = parts;
        let ports = index_store::ports(&store);
        let server_name = Uuid::new_v4().to_string();
        let egress = egress.clone().with_host_limit(HostLimit::of(REQUESTS_PER_HOST));
        // The operator named these hosts, so they may be anywhere.
        let configured = EgressClient::for_configured_hosts()?.with_memory(egress.memory().clone());
        let source: Arc<dyn AccountSource> = Arc::new(PdsSource::new(Arc::clone(identities), egress.clone()));
        let catch_up = CatchUp::new(
            ports.clone(),
            Arc::clone(&source),
            Arc::clone(clock),
            Limits::default(),
        );
        let firehose: Arc<dyn Intake> = Arc::new(Firehose::new(
            ports.clone(),
            Arc::clone(&source),
            Arc::clone(clock),
        ));
        let jetstream: Arc<dyn Intake> = Arc::new(Jetstream::new(ports.clone(), source, Arc::clone(clock)));
        let labeler = network.labeler.as_ref().map(|labeler| {
            let place = Place {
                name: format!("labeler {labeler}"),
                events: Arc::new(ServiceSource::labels(
                    labeler.clone(),
                    Arc::clone(identities),
                    egress.clone(),
                )),
            };
            let labels = Labels::new(
                labeler.clone(),
                ports.clone(),
                Arc::clone(identities),
                Arc::clone(clock),
            );
            Follower::new(vec![place], Arc::new(labels), Arc::clone(clock))
        });
        // Its counts of pulls and its results of scans are on the pages within seconds, whether a relay has it or not.
        let hold = default_hold
            .filter(|hold| !follows(&network.firehoses, hold))
            .map(|hold| {
                let place = Place {
                    // A label of metrics, which name no account.
                    name: format!("hold {}", hold.as_str().trim_start_matches("did:")),
                    events: Arc::new(ServiceSource::firehose(
                        hold.clone(),
                        Arc::clone(identities),
                        egress.clone(),
                    )),
                };
                Follower::new(vec![place], Arc::clone(&firehose), Arc::clone(clock))
            });
        let place = |url: &Url, events: fn(Url, EgressClient) -> WebSocketSource| Place {
            name: shown(url),
            events: Arc::new(events(url.clone(), configured.clone())),
        };
        let streams = network
            .firehoses
            .iter()
            .map(|host| (vec![place(host, WebSocketSource::firehose)], &firehose))
            .chain([
                (
                    network
                        .relays
                        .iter()
                        .map(|relay| place(relay, WebSocketSource::firehose))
                        // A host may be followed for itself as well, with a cursor of its own.
                        .map(|place| Place {
                            name: format!("relay {}", place.name),
                            ..place
                        })
                        .collect(),
                    &firehose,
                ),
                (
                    network
                        .jetstreams
                        .iter()
                        .map(|url| place(url, WebSocketSource::jetstream))
                        .collect(),
                    &jetstream,
                ),
            ]);
        let followers = streams
            .filter(|(places, _)| !places.is_empty())
            .map(|(places, intake)| Follower::new(places, Arc::clone(intake), Arc::clone(clock)))
            .chain(hold)
            .chain(labeler)
            .collect();
        Ok(Self {
            scheduler: Scheduler::new(ports.clone(), catch_up.clone(), Arc::clone(clock)),
            discovery: Discovery::new(
                ports.clone(),
                Arc::new(XrpcDirectory::new(configured.clone())),
                Arc::clone(clock),
                network.directories.clone(),
                default_hold.into_iter().cloned().collect(),
            ),
            leadership: Leadership::new(Arc::clone(&store) as _, server_name.clone()),
            server_name,
            store,
            ports,
            catch_up,
            followers,
        })
    }

    /// Works on accounts that are due, until the shutdown; while this server leads, also finds accounts, follows the streams and reads
    /// configurations of images.
    pub fn start(&self, shutdown: &Shutdown, descriptions: &Descriptions) {
        self.scheduler.clone().spawn(shutdown);
        let (discovery, followers) = (self.discovery.clone(), self.followers.clone());
        let descriptions = descriptions.clone();
        self.leadership.clone().spawn(shutdown, move |reign| {
            discovery.clone().spawn(reign);
            descriptions.clone().spawn(reign);
            for follower in &followers {
                follower.clone().spawn(reign);
            }
        });
    }

    /// What readiness says of it.
    #[must_use]
    pub fn part(&self) -> Box<dyn Part> {
        Box::new(IndexPart {
            store: Arc::clone(&self.store),
            streams: self.followers.iter().map(Follower::health).collect(),
            leadership: self.leadership.clone(),
        })
    }
}

/// Accounts that are due are counted up to here.
const MOST_COUNTED: u32 = 10_000;

/// Fails only with the file or the database, also where it can only be read: a stream that is lost is followed again, and pages go on.
#[derive(Debug)]
struct IndexPart {
    store: Arc<dyn IndexStore>,
    streams: Vec<StreamHealth>,
    leadership: Leadership,
}

#[async_trait]
impl Part for IndexPart {
    fn name(&self) -> &'static str {
        "index"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        self.store.check().await?;
        let queued = self.store.queued(MOST_COUNTED).await?;
        let connected = self.streams.iter().filter(|stream| stream.is_connected());
        let lag = self.streams.iter().map(StreamHealth::lag_seconds).max();
        Ok(Figures::from([
            ("accounts_due", queued),
            ("leading", u64::from(self.leadership.is_leading())),
            ("streams", count(self.streams.len())),
            ("streams_connected", count(connected.count())),
            ("stream_lag_seconds", lag.unwrap_or(0)),
        ]))
    }
}

/// Whether the server of `did` is one of `hosts`, as far as the DID itself says where that is.
fn follows(hosts: &[Url], did: &Did) -> bool {
    let Some(host) = did.web_host() else {
        return false;
    };
    hosts.iter().any(|url| shown(url) == host)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
