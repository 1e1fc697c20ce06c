//! Accounts found in the network: lists of those that have records of our collections, at relays, at collection directories, and at
//! single hosts. A list is read page by page; its position is kept with the accounts of the page, so that a restart goes on where it was.
//!
//! What a list says is not believed: an account that it names is asked itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_index::change::{Batch, Fence, Lane, QueuedWork};
use atcr_index::ports::FoundAccount;
use atcr_index::{Collection, IndexError};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use chrono::TimeDelta;
use futures_util::future::join_all;
use url::Url;

use crate::{Index, shown};

/// The source whose term a leader reads lists in.
const SOURCE: &str = "lists of accounts";

const TASK: Task = Task::new("discover_accounts");

/// How often a list that was read to its end is read again: what a stream lost is found then.
const READ_AGAIN: TimeDelta = TimeDelta::hours(24);

/// How often it is looked whether a list is due, and how soon one that failed goes on.
const PERIOD: Duration = Duration::from_mins(2);

/// Pages of one list: a server that names cursors without end is left. At 500 accounts a page these are five million.
const MAX_PAGES: usize = 10_000;

/// Pages of the list of all accounts of a host that has no list by collection. Each account of it is asked whether it has images.
const MAX_PAGES_OF_ALL: usize = 200;

/// Empty pages that name a next one, one after the other: a server may leave out what it does not list, but not endlessly.
const MAX_EMPTY_PAGES: usize = 100;

/// Pages after which the progress is said.
const SAID_EVERY: usize = 20;

/// Accounts found, by place and by whether they were known.
const FOUND: &str = "atcr_index_discovered_total";

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// The accounts with records of one collection.
    With(Collection),
    /// All accounts.
    All,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundPage {
    /// The accounts.
    pub accounts: Vec<FoundAccount>,
    /// Where the next page begins; `None` after the last.
    pub cursor: Option<String>,
}

/// Why there is no page.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The place does not have such a list.
    #[error("it has no such list")]
    NotOffered,
    /// The place does not take the cursor (any more).
    #[error("it does not take the cursor")]
    BadCursor,
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

/// Places that list accounts.
#[async_trait]
pub trait Directory: Send + Sync {
    /// A page of `list` at `place`.
    ///
    /// # Spec
    /// `com.atproto.sync.listReposByCollection`, `com.atproto.sync.listRepos`.
    async fn page(&self, place: &Url, list: List, cursor: Option<&str>) -> Result<FoundPage, DirectoryError>;
}

/// Why a list was left before its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The place.
    #[error("{place} does not list accounts: {error}")]
    Place {
        /// Its host.
        place: String,
        /// Why.
        error: DirectoryError,
    },
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Finds accounts.
#[derive(Clone)]
pub struct Discovery {
    index: Index,
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    places: Arc<[Url]>,
    always: Arc<[Did]>,
}

impl Discovery {
    /// Reads the lists of `places` into the queue of `index`. The accounts in `always` are queued as well, whether anybody lists them or
    /// not.
    #[must_use]
    pub fn new(
        index: Index,
        directory: Arc<dyn Directory>,
        clock: Arc<dyn Clock>,
        places: Vec<Url>,
        always: Vec<Did>,
    ) -> Self {
        Self {
            index,
            directory,
            clock,
            places: places.into(),
            always: always.into(),
        }
    }

    /// Finds accounts until the shutdown: at the start, and each day.
    pub fn spawn(self, shutdown: &Shutdown) {
        TASK.every(PERIOD, shutdown, move || {
            let discovery = self.clone();
            async move { discovery.run_due().await }
        });
    }

    /// Reads every list that is due to its end, places side by side. Another process that begins with it ends this one.
    ///
    /// # Errors
    /// The first one; other places are read all the same.
    pub async fn run_due(&self) -> Result<(), DiscoveryError> {
        let (epoch, _) = self.index.writer.take_source(SOURCE).await?;
        let fence = Fence {
            source: SOURCE.to_owned(),
            epoch,
            cursor: None,
        };
        self.run(Some(&fence)).await
    }

    /// Reads every list to its end, whether it is due or not, and whoever else reads lists: an operator asked for it.
    ///
    /// # Errors
    /// As [`Discovery::run_due`].
    pub async fn run_all(&self) -> Result<(), DiscoveryError> {
        self.run(None).await
    }

    /// Reads lists: in the term of a leader those that are due, without one all of them.
    async fn run(&self, fence: Option<&Fence>) -> Result<(), DiscoveryError> {
        self.queue_always(fence).await?;
        join_all(self.places.iter().map(|place| self.read_place(place, fence)))
            .await
            .into_iter()
            .collect()
    }

    async fn queue_always(&self, fence: Option<&Fence>) -> Result<(), IndexError> {
        let list = "always";
        if self.always.is_empty() || !self.is_wanted(list, fence).await? {
            return Ok(());
        }
        let now = self.clock.now();
        let work: Vec<QueuedWork> = self
            .always
            .iter()
            .map(|did| QueuedWork {
                did: did.clone(),
                lane: Lane::Gap,
                due: now,
            })
            .collect();
        let batch = Batch {
            work,
            fence: fence.cloned(),
            ..Batch::default()
        };
        self.index.writer.apply(&batch, now).await?;
        self.index
            .discoveries
            .discovered(list, &[], None, fence, now)
            .await?;
        Ok(())
    }

    async fn is_wanted(&self, list: &str, fence: Option<&Fence>) -> Result<bool, IndexError> {
        Ok(fence.is_none() || self.is_due(list).await?)
    }

    async fn is_due(&self, list: &str) -> Result<bool, IndexError> {
        let progress = self.index.discoveries.discovery(list).await?;
        let finished = progress.finished_at.filter(|_| progress.cursor.is_none());
        Ok(finished.is_none_or(|at| self.clock.now().signed_duration_since(at) >= READ_AGAIN))
    }

    /// The lists by collection; where there are none, the list of all accounts.
    async fn read_place(&self, place: &Url, fence: Option<&Fence>) -> Result<(), DiscoveryError> {
        for collection in Collection::ALL {
            match self.read_list(place, List::With(collection), fence).await {
                Err(DiscoveryError::Place {
                    error: DirectoryError::NotOffered,
                    ..
                }) => return self.read_list(place, List::All, fence).await,
                read => read?,
            }
        }
        Ok(())
    }

    async fn read_list(&self, place: &Url, list: List, fence: Option<&Fence>) -> Result<(), DiscoveryError> {
        let host = &shown(place);
        let name = match list {
            List::With(collection) => format!("{host} {collection}"),
            List::All => format!("{host} all"),
        };
        if !self.is_wanted(&name, fence).await? {
            return Ok(());
        }
        let most_pages = match list {
            List::With(_) => MAX_PAGES,
            List::All => MAX_PAGES_OF_ALL,
        };
        let failed = |error| DiscoveryError::Place {
            place: host.clone(),
            error,
        };
        let mut cursor = self.index.discoveries.discovery(&name).await?.cursor;
        let (mut accounts, mut new, mut empty) = (0_u64, 0_u64, 0);
        for number in 1..=most_pages {
            let page = match self.directory.page(place, list, cursor.as_deref()).await {
                // The list begins again: what was read of it is known by now and costs little.
                Err(DirectoryError::BadCursor) if cursor.is_some() => {
                    cursor = None;
                    continue;
                }
                page => page.map_err(failed)?,
            };
            empty = if page.accounts.is_empty() { empty + 1 } else { 0 };
            let is_last = empty > MAX_EMPTY_PAGES || page.cursor.is_none() || page.cursor == cursor;
            let next = page.cursor.filter(|_| !is_last && number < most_pages);
            let found = self
                .index
                .discoveries
                .discovered(&name, &page.accounts, next.as_deref(), fence, self.clock.now())
                .await?;
            accounts += page.accounts.len() as u64;
            new += found;
            count(host, "new", found);
            count(host, "known", (page.accounts.len() as u64).saturating_sub(found));
            if next.is_none() {
                if !is_last {
                    tracing::warn!(list = name, accounts, "a list of accounts has no end; it is left");
                }
                break;
            }
            if number % SAID_EVERY == 0 {
                tracing::info!(list = name, accounts, new, "accounts are being found");
            }
            cursor = next;
        }
        tracing::info!(list = name, accounts, new, "a list of accounts was read");
        Ok(())
    }
}

fn count(place: &str, state: &'static str, accounts: u64) {
    metrics::counter!(FOUND, "place" => place.to_owned(), "state" => state).increment(accounts);
}
