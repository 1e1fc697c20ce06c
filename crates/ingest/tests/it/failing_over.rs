//! A stream that is to be had at several places.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::ManualClock;
use atcr_index::IndexError;
use atcr_ingest::follow::{
    EventSource, Events, FollowError, Follower, Intake, Place, StreamError, Taken, Term,
};
use atcr_server::Shutdown;
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::streams::Stream;

/// Keeps nothing.
struct Nowhere;

#[async_trait]
impl Intake for Nowhere {
    async fn begin(&self, place: &str) -> Result<Term, IndexError> {
        Ok(Term {
            source: place.to_owned(),
            epoch: 1,
            cursor: None,
            has_gap: false,
        })
    }

    async fn take(&self, _term: &Term, _frames: Vec<Bytes>) -> Result<Taken, FollowError> {
        Ok(Taken::default())
    }
}

/// Says when it is reached, and stays open.
struct Open(Arc<Notify>);

#[async_trait]
impl EventSource for Open {
    async fn connect(&self, _cursor: Option<i64>) -> Result<Box<dyn Events>, StreamError> {
        self.0.notify_one();
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

#[async_trait]
impl Events for Open {
    async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_gives_nothing_is_left_for_the_next_one_and_that_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let reached = Arc::new(Notify::new());
    let last = Place {
        name: "last".to_owned(),
        events: Arc::new(Open(Arc::clone(&reached))),
    };
    let places = vec![
        Stream::default().place("first"),
        Stream::default().place("second"),
        last,
    ];
    let shutdown = Shutdown::new();
    Follower::new(places, Arc::new(Nowhere), ManualClock::standing()).spawn(&shutdown);
    timeout(Duration::from_hours(1), reached.notified())
        .await
        .unwrap();
    shutdown.begin();
    let figures = figures.render();
    let mut counted: Vec<&str> = figures
        .lines()
        .filter(|line| line.starts_with("atcr_index_stream_failovers_total{"))
        .collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            "atcr_index_stream_failovers_total{source=\"first\"} 1",
            "atcr_index_stream_failovers_total{source=\"second\"} 1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_one_place_is_followed_there_again_and_no_failover_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let stream = Stream::default();
    let shutdown = Shutdown::new();
    Follower::new(
        vec![stream.place("only")],
        Arc::new(Nowhere),
        ManualClock::standing(),
    )
    .spawn(&shutdown);
    while stream.connections().len() < 3 {
        sleep(Duration::from_secs(1)).await;
    }
    shutdown.begin();
    let figures = figures.render();
    assert!(
        figures.contains("atcr_index_stream_ended_total{source=\"only\"}"),
        "{figures}"
    );
    assert!(!figures.contains("failovers"), "{figures}");
}
