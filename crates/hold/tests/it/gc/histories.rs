//! Random histories: clients that push, delete and disappear, members that leave and join again, servers that go down, and a collection that
//! is left alone, stopped, killed or loses power at any of its steps. After each step every blob of every manifest that stands is there; at the end everything else goes.

use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_hold::gc::GcError;
use atcr_oci::{Algorithm, Digest};
use tokio::runtime::{Builder, Runtime};

use super::world::{End, GRACE, PUSH, World, rkey};

/// Histories of a run of the tests, some fifty seconds of CPU. More with `GC_HISTORIES`.
const HISTORIES: u64 = 250;
/// Histories of one hold, whose database and folder live through all of them.
const OF_ONE_HOLD: u64 = 50;
const STEPS: u64 = 25;
const BLOBS: u64 = 4;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A push that is under way.
struct Push {
    did: Did,
    wanted: Vec<u64>,
    promised: Vec<Digest>,
    first_promise: Option<u64>,
}

/// What cuts a run off.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The command that asked for it ends; the run goes on.
    WhoAskedLeaves,
    End(End),
}

/// Where a run and all that it begins are carried out, so that they end together.
fn process() -> Runtime {
    let process = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    process.expect("a runtime")
}

struct History {
    random: Random,
    pushes: Vec<Push>,
    /// What stands: whose, the record's key, what it names.
    manifests: Vec<(Did, String, Vec<Digest>)>,
    /// The member is none now.
    has_left: bool,
    log: Vec<String>,
    written: u64,
}

fn content(blob: u64) -> Vec<u8> {
    format!("blob {blob}").into_bytes()
}

impl History {
    async fn client_step(&mut self, world: &World) {
        match self.random.below(11) {
            0..=2 if self.pushes.len() < 3 => {
                let did = world.members[usize::from(self.random.chance(50))].clone();
                let count = 1 + self.random.below(2);
                let wanted = (0..count).map(|_| self.random.below(BLOBS)).collect();
                self.log.push(format!("{did} begins {wanted:?}"));
                self.pushes.push(Push {
                    did,
                    wanted,
                    promised: Vec::new(),
                    first_promise: None,
                });
            }
            0..=6 if !self.pushes.is_empty() => self.go_on(world).await,
            7 if !self.manifests.is_empty() => {
                let at = self.random.below(self.manifests.len() as u64);
                let (did, key, _) = self.manifests.remove(usize::try_from(at).expect("small"));
                self.log.push(format!("{did} deletes {key:.8}"));
                world.network.delete(&did, &key);
            }
            8 => {
                let did = &world.members[usize::from(self.random.chance(50))];
                let is_down = world.network.change(did, |pds| {
                    pds.is_down = !pds.is_down;
                    pds.is_down
                });
                self.log.push(format!("{did} is down: {is_down}"));
            }
            10 => {
                let member = world.members[1].clone();
                self.has_left = !self.has_left;
                self.log.push(format!("{member} has left: {}", self.has_left));
                if self.has_left {
                    world.leave(&member).await;
                } else {
                    world.join(&member).await;
                }
            }
            _ => {
                let seconds = self.random.below(PUSH);
                self.log.push(format!("{seconds} s pass"));
                world.pass(seconds);
                if self.random.chance(70) {
                    world.hold().gc.save().await.expect("saved");
                }
                if self.random.chance(50) {
                    world.hold().blobs.sweep_expired().await.expect("swept");
                }
            }
        }
        self.check(world);
    }

    async fn go_on(&mut self, world: &World) {
        let at = usize::try_from(self.random.below(self.pushes.len() as u64)).expect("small");
        let mut push = self.pushes.swap_remove(at);
        let now = world.now();
        if push.first_promise.is_some_and(|first| now - first > PUSH) {
            self.log.push(format!("{} gives up", push.did));
            return;
        }
        // What was promised to it can still be named.
        let is_member = !self.has_left || push.did != world.members[1];
        if !is_member && !push.wanted.is_empty() {
            self.log.push(format!("{} may push no more", push.did));
            return;
        }
        if let Some(blob) = push.wanted.pop() {
            let bytes = content(blob);
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            let is_there = world.exists(&push.did, &digest).await;
            self.log.push(format!("{} asks for {blob}: {is_there}", push.did));
            if !is_there && world.upload(&push.did, &bytes).await.is_err() {
                self.log.push("... and cannot send it".to_owned());
                return;
            }
            push.first_promise.get_or_insert(now);
            push.promised.push(digest);
            self.pushes.push(push);
            return;
        }
        self.written += 1;
        let manifest = Digest::of(Algorithm::Sha256, self.written.to_string().as_bytes());
        self.log
            .push(format!("{} writes {:.8}", push.did, rkey(&manifest)));
        world.network.write(&push.did, &rkey(&manifest), &push.promised);
        if self.random.chance(50) && is_member {
            world.notify(&push.did, &manifest, &push.promised).await;
        }
        self.manifests.push((push.did, rkey(&manifest), push.promised));
    }

    /// Every blob of every manifest that stands can be read.
    fn check(&self, world: &World) {
        for (did, key, digests) in &self.manifests {
            for digest in digests {
                assert!(
                    world.is_stored(digest),
                    "{digest} of {did} {key:.8} is gone:\n{}",
                    self.log.join("\n")
                );
            }
        }
    }

    /// A run, which is interrupted by clients, cut off, or not.
    async fn collect(&mut self, world: &mut World) {
        let gc = world.hold().gc.clone();
        let cut = self.random.chance(40).then(|| self.how_it_is_cut_off());
        let gate = if cut.is_some() && self.random.chance(50) {
            world.inner_gate.clone()
        } else {
            world.network.gate.clone()
        };
        let steps = u32::try_from(self.random.below(14)).expect("small");
        let mut reached = gate.arm(steps);
        let plans_only = self.random.chance(20);
        let process = process();
        let mut run = process.spawn(async move {
            if plans_only {
                gc.plan().await
            } else {
                gc.run().await
            }
        });
        loop {
            let go = tokio::select! {
                biased;
                outcome = &mut run => {
                    gate.disarm();
                    let report = outcome.expect("no panic").expect("a run").report;
                    self.log.push(format!("a run ends: {report:?}"));
                    self.check(world);
                    process.shutdown_background();
                    return;
                }
                Ok(go) = &mut reached => go,
            };
            if let Some(cut) = cut {
                self.log.push(format!("in a run: {cut:?}"));
                match cut {
                    Cut::WhoAskedLeaves => {
                        run.abort();
                        let _ = run.await;
                        drop(go);
                        world.hold().gc.until_idle().await;
                    }
                    Cut::End(End::Stopped) => {
                        world.hold().gc.stop();
                        drop(go);
                        let outcome = run.await.expect("no panic");
                        assert!(matches!(outcome, Ok(_) | Err(GcError::Stopping)), "{outcome:?}");
                        world.restart(End::Stopped).await;
                    }
                    Cut::End(end) => {
                        // What it was at ends where it is.
                        tokio::task::block_in_place(|| process.shutdown_timeout(Duration::from_mins(1)));
                        drop(go);
                        world.restart(end).await;
                        self.check(world);
                        return;
                    }
                }
                process.shutdown_background();
                self.check(world);
                return;
            }
            self.log.push("a run is interrupted".to_owned());
            for _ in 0..self.random.below(6) {
                self.client_step(world).await;
            }
            self.log.push("the run goes on".to_owned());
            reached = gate.arm(u32::try_from(self.random.below(14)).expect("small"));
            let _ = go.send(());
        }
    }

    fn how_it_is_cut_off(&mut self) -> Cut {
        match self.random.below(4) {
            0 => Cut::WhoAskedLeaves,
            1 => Cut::End(End::Stopped),
            2 => Cut::End(End::Killed),
            _ => Cut::End(End::PowerFailure),
        }
    }

    async fn undo(&mut self, world: &World) {
        let Some(last) = world.hold().gc.history(1).await.expect("readable").pop() else {
            return;
        };
        match world.hold().gc.undo(last.id).await {
            Ok(lifted) => self.log.push(format!("{lifted} condemnations are undone")),
            Err(GcError::NotNow(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn play(&mut self, world: &mut World) {
        for _ in 0..STEPS {
            match self.random.below(20) {
                0..=3 => self.collect(world).await,
                4 => {
                    let end = [End::Stopped, End::Killed, End::PowerFailure]
                        [usize::try_from(self.random.below(3)).expect("small")];
                    self.log.push(format!("{end:?}"));
                    world.restart(end).await;
                    self.check(world);
                }
                5 if self.random.chance(20) => self.undo(world).await,
                _ => self.client_step(world).await,
            }
        }
    }

    /// The clients stop; two runs later nothing is left that no manifest names.
    async fn finish(&mut self, world: &World) {
        self.pushes.clear();
        for did in &world.members {
            world.network.change(did, |pds| pds.is_down = false);
        }
        world.forget_uploads().await;
        // One that was interrupted is continued first.
        for seconds in [0, 0, GRACE + PUSH] {
            world.pass(seconds);
            let report = world.collect().await;
            self.log
                .push(format!("at {} at the end: {report:?}", world.now()));
        }
        self.check(world);
        for blob in 0..BLOBS {
            let digest = Digest::of(Algorithm::Sha256, &content(blob));
            let is_named = self
                .manifests
                .iter()
                .any(|(_, _, digests)| digests.contains(&digest));
            assert_eq!(
                world.is_stored(&digest),
                is_named,
                "blob {blob}:\n{}",
                self.log.join("\n")
            );
        }
        for (did, key, _) in self.manifests.drain(..) {
            world.network.delete(&did, &key);
        }
        world.join(&world.members[1]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_history_loses_a_promised_blob_or_keeps_garbage() {
    let count = match std::env::var("GC_HISTORIES") {
        Ok(count) => count.parse().expect("a number"),
        Err(_) => HISTORIES,
    };
    let first: u64 = match std::env::var("GC_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => 1,
    };
    let mut world = World::open().await;
    for seed in first..first + count {
        if (seed - first).is_multiple_of(OF_ONE_HOLD) {
            world = World::open().await;
        }
        let mut history = History {
            random: Random(seed),
            pushes: Vec::new(),
            manifests: Vec::new(),
            has_left: false,
            log: vec![format!(
                "seed {seed}, of the hold of seed {}",
                seed - (seed - first) % OF_ONE_HOLD
            )],
            written: seed << 16,
        };
        history.play(&mut world).await;
        history.finish(&world).await;
    }
}
