//! A writing process is killed, again and again, and nothing that it acknowledged is missing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use atcr_atproto::syntax::Cid;
use atcr_hold_pds::HoldRepo;

use crate::consumer::Consumer;
use crate::repository::{COLLECTION, delete, open, put, signing_key};

/// Names the folder to the process that is to be killed.
const FOLDER: &str = "ATCR_TEST_KILL_FOLDER";
/// Tells it apart from those before it.
const RUN: &str = "ATCR_TEST_KILL_RUN";
/// How many kills there are instead of [`KILLS`].
const KILLS_VARIABLE: &str = "ATCR_KILLS";
const KILLS: usize = 10;
/// How often a repository is killed before another one begins: all of it is read after each kill.
const KILLS_OF_ONE: usize = 50;

/// What the killed process said, per record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acknowledged {
    Put(Cid),
    Deleted,
}

#[tokio::test]
async fn nothing_acknowledged_is_missing_after_a_kill() {
    let kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |kills| kills.parse().unwrap());
    let (mut done, mut acknowledged, mut commits) = (0, 0, 0);
    while done < kills {
        let of_one = KILLS_OF_ONE.min(kills - done);
        let (records, followed) = kill_again_and_again(of_one).await;
        done += of_one;
        acknowledged += records;
        commits += followed;
        println!("{done} kills, {acknowledged} acknowledged records, {commits} commits followed");
    }
    assert!(acknowledged > kills);
}

/// Kills the writers of one repository; returns how many records they had acknowledged, and how many commits a follower saw.
async fn kill_again_and_again(kills: usize) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut follower = Consumer::default();
    for run in 0..kills {
        let mut child = spawn(dir.path(), run);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // At another moment of another batch each time.
        let patience = 1 + rand::random_range(0..150);
        let mut heard = 0;
        while heard < patience {
            heard += usize::from(hear(&mut acknowledged, &lines.next().unwrap().unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died is said.
        for line in lines {
            hear(&mut acknowledged, &line.unwrap());
        }

        let repo = open(dir.path()).await;
        repo.verify().await.unwrap();
        for event in repo.events_after(follower.seq, usize::MAX).await.unwrap() {
            follower.take(&event.frame, &signing_key().public_key()).unwrap();
        }
        for (key, expected) in &acknowledged {
            let found = repo.get_record(COLLECTION, key).await.unwrap();
            let found = found.map_or(Acknowledged::Deleted, |record| Acknowledged::Put(record.cid));
            assert_eq!(found, *expected, "{key} after run {run}");
        }
        repo.close().await;
    }
    assert_eq!(follower.resyncs, 0);
    (acknowledged.len(), follower.commits)
}

/// Notes one line of the child; whether it was an acknowledgement.
fn hear(acknowledged: &mut BTreeMap<String, Acknowledged>, line: &str) -> bool {
    if let Some((_, key)) = line.split_once("unsure ") {
        acknowledged.remove(key);
    }
    // The test runner's own words may stand before the first one.
    let Some((_, said)) = line.split_once("ack ") else {
        return false;
    };
    let (key, cid) = said.split_once(' ').unwrap();
    let said = if cid == "-" {
        Acknowledged::Deleted
    } else {
        Acknowledged::Put(cid.parse().unwrap())
    };
    acknowledged.insert(key.to_owned(), said);
    true
}

fn spawn(dir: &Path, run: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kill::the_process_that_is_killed", "--exact", "--nocapture"])
        .env(FOLDER, dir)
        .env(RUN, run.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Does nothing, unless it is the child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let run = std::env::var(RUN).unwrap();
    let repo = open(&PathBuf::from(folder)).await;
    let writers: Vec<_> = (0..8)
        .map(|writer| tokio::spawn(write_forever(repo.clone(), run.clone(), writer)))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Each writer has records of its own, so that what it was told last is what is true. A record is written anew under a
/// new key, since a write that was not acknowledged may have happened.
async fn write_forever(repo: HoldRepo, run: String, writer: usize) {
    for number in 0.. {
        let key = format!("r{run}w{writer}n{number}");
        let outcome = repo
            .write(vec![put(&key, "x"), put(&format!("{key}-twin"), "y")])
            .await
            .unwrap();
        say(&format!(
            "ack {key} {}\nack {key}-twin {}\n",
            outcome.records[0].cid, outcome.records[1].cid
        ));
        if number % 3 == 2 {
            let key = format!("r{run}w{writer}n{}-twin", number - 1);
            // The outcome is unknown from here until the write is acknowledged.
            say(&format!("unsure {key}\n"));
            repo.write(vec![delete(&key)]).await.unwrap();
            say(&format!("ack {key} -\n"));
        }
    }
}

/// In one piece, past the test runner's capture.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).unwrap();
    out.flush().unwrap();
}
