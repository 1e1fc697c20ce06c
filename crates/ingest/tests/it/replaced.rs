//! A leader that goes on although another server has taken its sources over: it writes nothing.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_index::ports::{IndexAudit as _, IndexReader as _, IndexWriter as _};
use atcr_index::{Collection, IndexError};
use atcr_index_sqlite::SqliteIndex;
use atcr_ingest::discovery::{Directory, DirectoryError, Discovery, DiscoveryError, FoundPage, List};
use atcr_ingest::follow::{FollowError, Intake};
use bytes::Bytes;
use url::Url;

use crate::host::{Host, World, alice, bob, put_manifest};
use crate::streams::{Lists, Stream, firehose, hint_1, jetstream};

async fn frames_of(stream: &Stream) -> Vec<Bytes> {
    let mut events = stream.place("host").events.connect(None).await.unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = events.next().await.unwrap() {
        frames.push(frame);
    }
    frames
}

/// Takes the frames in after another server has begun a term.
async fn take_in_a_term_that_is_over(world: &World, intake: impl Intake, stream: &Stream) {
    let term = intake.begin("host").await.unwrap();
    let (_, cursor) = world.store.take_source(&term.source).await.unwrap();
    let taken = intake.take(&term, frames_of(stream).await).await;
    assert!(
        matches!(taken, Err(FollowError::Index(IndexError::Fenced(_)))),
        "{taken:?}"
    );
    assert_eq!(world.store.take_source(&term.source).await.unwrap().1, cursor);
    assert_eq!(world.store.queued(9).await.unwrap(), 0);
}

#[tokio::test]
async fn commits_of_a_firehose_are_not_written_in_a_term_that_is_over() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    let stream = Stream::default();
    stream.push_commit(&host.commit(&alice(), vec![put_manifest("app", '1')]));
    take_in_a_term_that_is_over(&world, firehose(&world, &host), &stream).await;
    assert!(world.store.account(&alice()).await.unwrap().is_none());
}

#[tokio::test]
async fn hints_older_than_the_cursor_are_not_written_in_a_term_that_is_over() {
    let host = Host::with(&[alice(), bob()]);
    let world = World::new(&host).await;
    let stream = Stream::default();
    let head = host.change(&alice(), |account| account.rev());
    stream.push_hint(0, hint_1(&alice(), &head, "io.atcr.tag/app_1", 0));
    let intake = jetstream(&world, &host);
    let term = intake.begin("host").await.unwrap();
    intake.take(&term, frames_of(&stream).await).await.unwrap();
    world.scheduler.drain().await.unwrap();
    // It comes again, a little earlier than what was reached.
    let again = Stream::default();
    again.push_hint(-1, hint_1(&bob(), &head, "io.atcr.tag/app_1", -1));
    take_in_a_term_that_is_over(&world, intake, &again).await;
}

/// Lists during whose reading another server begins with them.
struct TakenOver {
    lists: Lists,
    store: Arc<SqliteIndex>,
}

#[async_trait]
impl Directory for TakenOver {
    async fn page(&self, place: &Url, list: List, cursor: Option<&str>) -> Result<FoundPage, DirectoryError> {
        self.store.take_source("lists of accounts").await.unwrap();
        self.lists.page(place, list, cursor).await
    }
}

#[tokio::test]
async fn accounts_that_are_found_are_not_queued_in_a_term_that_is_over() {
    let host = Host::with(&[alice()]);
    let world = World::new(&host).await;
    let lists = Lists::default();
    lists.add(List::With(Collection::Manifest), &alice(), None);
    let directory = TakenOver {
        lists,
        store: Arc::clone(&world.store),
    };
    let discovery = Discovery::new(
        world.index.clone(),
        Arc::new(directory),
        world.clock.clone(),
        vec!["https://relay.example".parse().unwrap()],
        Vec::new(),
    );
    let read = discovery.run_due().await;
    assert!(
        matches!(read, Err(DiscoveryError::Index(IndexError::Fenced(_)))),
        "{read:?}"
    );
    assert_eq!(world.store.queued(9).await.unwrap(), 0);
    // An operator's command reads them whoever leads.
    discovery.run_all().await.unwrap();
    assert_eq!(world.store.queued(9).await.unwrap(), 1);
}
