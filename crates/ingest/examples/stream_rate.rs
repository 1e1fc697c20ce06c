//! How many events a second get into the index: `cargo run --release -p atcr-ingest --example stream_rate -- [ACCOUNTS] [EVENTS]`.
//!
//! Everything is made and signed before the clock starts. Each figure is from the first frame to the last row, on one index.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../tests/it/host.rs"]
mod host;
#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../tests/it/streams.rs"]
mod streams;

use std::time::Instant;

use atcr_atproto::syntax::Did;
use atcr_ingest::follow::Intake;

use crate::host::{Host, World, put_manifest, put_post, put_tag};
use crate::streams::{Stream, firehose, follow, hint_1, jetstream};

async fn measure(what: &str, world: &World, stream: &Stream, intake: impl Intake + 'static) {
    let begun = Instant::now();
    let (frames, ended) = follow(world, &stream.place(what), intake).await;
    ended.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let count = u32::try_from(frames).unwrap();
    println!(
        "{what}: {frames} in {seconds:.2} s, {:.0} a second",
        f64::from(count) / seconds
    );
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().unwrap());
    let (accounts, events): (usize, usize) = (
        arguments.next().unwrap_or(1_000),
        arguments.next().unwrap_or(20_000),
    );
    let dids: Vec<Did> = (0..accounts)
        .map(|number| format!("did:web:a{number}.example").parse().unwrap())
        .collect();
    let host = Host::with(&dids);
    let world = World::new(&host).await;

    let (first, foreign, commits, hints) = (
        Stream::default(),
        Stream::default(),
        Stream::default(),
        Stream::default(),
    );
    // Commits of an account that has nothing of ours.
    let stranger: Did = "did:web:stranger.example".parse().unwrap();
    let outside = Host::with(std::slice::from_ref(&stranger));
    for number in 0..events {
        foreign.push_commit(&outside.commit(&stranger, vec![put_post(&format!("p{}", number % 100))]));
    }
    for did in &dids {
        first.push_commit(&host.commit(did, vec![put_manifest("app", '1')]));
    }
    for number in 0..events {
        let did = &dids[number * 7919 % accounts];
        let tag = put_tag(did, "app", &format!("1.{number}"), '1');
        let event = host.commit(did, vec![tag]);
        commits.push_commit(&event);
        let micros = i64::try_from(number).unwrap();
        hints.push_hint(micros, hint_1(did, &event.rev, "io.atcr.tag/app_1", micros));
    }
    measure("foreign commits", &world, &foreign, firehose(&world, &host)).await;
    measure("first commits, verified", &world, &first, firehose(&world, &host)).await;
    measure(
        "scattered commits, verified",
        &world,
        &commits,
        firehose(&world, &host),
    )
    .await;
    measure("hints", &world, &hints, jetstream(&world, &host)).await;
}
