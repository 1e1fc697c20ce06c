//! Several servers on one PostgreSQL database: one follows the stream, and when it is killed another one goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use atcr_index::ports::{IndexAudit as _, IndexReader as _, IndexWriter as _};
use atcr_index_postgres::{DatabaseUrl, PostgresIndex};
use atcr_ingest::Index;
use atcr_ingest::firehose::Firehose;
use atcr_ingest::follow::{EventSource, Events, Follower, Place, StreamError};
use atcr_ingest::leadership::Leadership;
use atcr_server::Shutdown;
use atcr_test_support::postgres_server::PostgresServer;
use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::host::{Host, alice, now, put_manifest, put_tag};
use crate::streams::Stream;

/// The stream, kept open at its end as a real one is.
struct Open {
    stream: Stream,
    followers: Arc<AtomicUsize>,
}

struct OpenEvents {
    events: Box<dyn Events>,
    stream: Stream,
    read: i64,
    followers: Arc<AtomicUsize>,
}

impl Drop for OpenEvents {
    fn drop(&mut self) {
        self.followers.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventSource for Open {
    async fn connect(&self, cursor: Option<i64>) -> Result<Box<dyn Events>, StreamError> {
        self.followers.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(OpenEvents {
            events: self.stream.place("relay").events.connect(cursor).await?,
            stream: self.stream.clone(),
            read: cursor.unwrap_or(0),
            followers: Arc::clone(&self.followers),
        }))
    }
}

#[async_trait]
impl Events for OpenEvents {
    async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            if let Some(frame) = self.events.next().await? {
                self.read += 1;
                return Ok(Some(frame));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.events = self.stream.place("relay").events.connect(Some(self.read)).await?;
        }
    }
}

/// A server: a runtime of its own, which can be killed.
struct Server {
    runtime: Runtime,
    leadership: Leadership,
}

fn server(name: &str, url: &DatabaseUrl, host: &Host, source: &Arc<Open>) -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (name, url, host, source) = (name.to_owned(), url.clone(), host.clone(), Arc::clone(source));
    let leadership = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                runtime.block_on(async move {
                    let store = Arc::new(PostgresIndex::open(&url).await.unwrap());
                    let clock = atcr_atproto::clock::ManualClock::at(now());
                    let intake = Firehose::new(Index::of(Arc::clone(&store)), Arc::new(host), clock.clone());
                    let place = Place {
                        name: "relay".to_owned(),
                        events: source,
                    };
                    let follower = Follower::new(vec![place], Arc::new(intake), clock);
                    let leadership = Leadership::new(store, name);
                    leadership
                        .clone()
                        .spawn(&Shutdown::new(), move |reign| follower.clone().spawn(reign));
                    leadership
                })
            })
            .join()
            .unwrap()
    });
    Server { runtime, leadership }
}

/// Waits until it is so.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(waited.is_ok(), "{what}");
}

#[tokio::test]
async fn one_server_follows_and_another_goes_on_when_it_is_killed() {
    let postgres = PostgresServer::start().unwrap();
    let url = DatabaseUrl::parse(&postgres.url("postgres")).unwrap();
    let host = Host::with(&[alice()]);
    let source = Arc::new(Open {
        stream: Stream::default(),
        followers: Arc::default(),
    });
    let reader = PostgresIndex::open(&url).await.unwrap();
    let tags = async || {
        let view = reader.repository(&alice(), "app").await.unwrap();
        view.map_or(0, |view| view.card.tags)
    };

    let first = server("first", &url, &host, &source);
    until("the first server leads", async || first.leadership.is_leading()).await;
    let second = server("second", &url, &host, &source);
    source.stream.push_commit(&host.commit(
        &alice(),
        vec![put_manifest("app", '1'), put_tag(&alice(), "app", "one", '1')],
    ));
    until("the first commit is indexed", async || tags().await == 1).await;
    assert!(!second.leadership.is_leading());
    assert_eq!(source.followers.load(Ordering::SeqCst), 1);

    // Killed: it gives nothing up.
    first.runtime.shutdown_background();
    source
        .stream
        .push_commit(&host.commit(&alice(), vec![put_tag(&alice(), "app", "two", '1')]));
    until("the second server leads", async || second.leadership.is_leading()).await;
    until("the second commit is indexed", async || tags().await == 2).await;
    source
        .stream
        .push_commit(&host.commit(&alice(), vec![put_tag(&alice(), "app", "three", '1')]));
    until("the third commit is indexed", async || tags().await == 3).await;

    assert_eq!(reader.recount().await.unwrap(), []);
    // Each of the two had a term.
    assert_eq!(reader.take_source("relay").await.unwrap(), (3, Some(3)));
    second.runtime.shutdown_background();
}
