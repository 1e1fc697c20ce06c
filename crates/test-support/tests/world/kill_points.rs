//! `kill -9` at random points of pushes loses nothing that was acknowledged, and what the kills leave behind expires.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atcr_test_support::network::{HoldStorage, Part};
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, digest, image_manifest};
use atcr_test_support::s3_server::start_versitygw;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;

use crate::World;

/// How long the pushes may stand still.
const PROGRESS_TIMEOUT: Duration = Duration::from_mins(2);

const NAME: &str = "alice.test/killed";

/// What the registry has acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Tags with the digest of their manifest.
    images: Vec<(String, String)>,
    /// Also those of pushes that came to nothing.
    blobs: BTreeSet<String>,
}

/// A user who pushes one image after another.
struct Pusher {
    client: RegistryClient,
    worker: usize,
    /// Length in bytes of each layer, sent in three chunks.
    layer: usize,
    acknowledged: Arc<Mutex<Acknowledged>>,
    steps: Arc<watch::Sender<u64>>,
}

impl Pusher {
    /// Pushes until told to stop. An error is the kill showing; the next push tries anew.
    async fn push_on(mut self) {
        for count in 0_u32.. {
            if self.push(count).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    }

    fn step(&self) {
        self.steps.send_modify(|count| *count += 1);
    }

    fn note(&self, note: impl FnOnce(&mut Acknowledged)) {
        note(&mut self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
        self.step();
    }

    async fn push(&mut self, count: u32) -> anyhow::Result<()> {
        let worker = self.worker;
        self.client.authorize(NAME, "pull,push").await?;
        self.step();
        let text = format!("{{\"config\":\"{worker}-{count}\"}}").into_bytes();
        let size = text.len();
        let config = self.client.push_blob(NAME, text).await?;
        self.note(|acknowledged| {
            acknowledged.blobs.insert(config.clone());
        });
        let mut layers = Vec::new();
        for layer in 0..2_u8 {
            let mut bytes = format!("{worker}-{count}-{layer}-")
                .into_bytes()
                .repeat(self.layer / 8);
            bytes.truncate(self.layer);
            let digest = digest(&bytes);
            let mut at = self.client.start_upload(NAME).await?;
            for chunk in bytes.chunks(self.layer.div_ceil(3)) {
                at = self.client.patch_upload(&at, chunk.to_vec()).await?;
                self.step();
            }
            self.client.finish_upload(&at, &digest).await?;
            self.note(|acknowledged| {
                acknowledged.blobs.insert(digest.clone());
            });
            layers.push((digest, bytes.len()));
        }
        let manifest = image_manifest((&config, size), &layers);
        let tag = format!("w{worker}-{count}");
        let digest = self
            .client
            .push_manifest(NAME, &tag, IMAGE_MANIFEST, manifest)
            .await?;
        self.note(|acknowledged| acknowledged.images.push((tag, digest)));
        Ok(())
    }
}

/// Kills a server `kills` times, less than `apart` steps after it was up again, while two people push images with layers of `layer`
/// bytes, and returns what was acknowledged. A push takes eleven steps; every sixth kill waits until one more push got through, so that
/// there is something to lose however the dice fall.
async fn kill_while_pushing(world: &mut World, kills: usize, apart: u64, layer: usize) -> Acknowledged {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let acknowledged = Arc::<Mutex<Acknowledged>>::default();
    let (steps, mut taken) = watch::channel(0);
    let steps = Arc::new(steps);
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let pusher = Pusher {
                client: RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client"),
                worker,
                layer,
                acknowledged: acknowledged.clone(),
                steps: steps.clone(),
            };
            tokio::spawn(pusher.push_on())
        })
        .collect();

    for kill in 0..kills {
        if kill % 6 == 5 {
            let images = || {
                let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
                acknowledged.images.len()
            };
            let before = images();
            tokio::time::timeout(PROGRESS_TIMEOUT, taken.wait_for(|_| images() > before))
                .await
                .expect("a push gets through between kills")
                .expect("the workers live");
        }
        // A kill comes some steps on, at any moment of the step that is then under way.
        let wanted = *taken.borrow() + random.random_range(1..apart);
        tokio::time::timeout(PROGRESS_TIMEOUT, taken.wait_for(|count| *count >= wanted))
            .await
            .expect("the pushes go on after a kill")
            .expect("the workers live");
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
        let network = &mut world.network;
        if random.random_bool(0.5) {
            network.kill(Part::Hold).await.expect("killed");
            network.start_hold().await.expect("the hold opens what it had");
        } else {
            network.kill(Part::AppView).await.expect("killed");
            network
                .start_appview()
                .await
                .expect("the appview opens what it had");
        }
    }
    for worker in workers {
        worker.abort();
        let _ = worker.await;
    }
    let mut acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *acknowledged)
}

/// Pulls everything that was acknowledged, without credentials.
async fn pull_all(world: &World, acknowledged: &Acknowledged) {
    assert!(
        !acknowledged.images.is_empty(),
        "some push got through between the kills"
    );
    let mut client = RegistryClient::anonymous(world.appview()).expect("a client");
    client.authorize(NAME, "pull").await.expect("a token");
    for (tag, manifest_digest) in &acknowledged.images {
        let manifest = client
            .manifest(NAME, tag)
            .await
            .expect("an answer")
            .unwrap_or_else(|| panic!("{tag} is lost"));
        assert_eq!(&digest(&manifest), manifest_digest, "{tag} is another manifest");
    }
    for blob in &acknowledged.blobs {
        assert!(
            client.blob(NAME, blob).await.expect("an answer").is_some(),
            "{blob} is lost"
        );
    }
    println!(
        "{} acknowledged images and {} blobs survived",
        acknowledged.images.len(),
        acknowledged.blobs.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_image_is_lost_or_wrong_after_fifty_kills() {
    let mut world = World::start().await;
    let acknowledged = kill_while_pushing(&mut world, 50, 16, 150_000).await;
    pull_all(&world, &acknowledged).await;

    // What the kills left of uploads, and uploads that were not continued, is gone once it has expired, and nothing else.
    let mut client = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
    client.authorize(NAME, "pull,push").await.expect("a token");
    let begun = client.start_upload(NAME).await.expect("an upload");
    client
        .patch_upload(&begun, b"never finished".to_vec())
        .await
        .expect("a chunk");
    world.network.set_upload_expiry(Duration::from_secs(1));
    world.network.stop(Part::Hold).await.expect("stopped");
    let uploads = world
        .network
        .state()
        .join("hold/objects/docker/registry/v2/uploads");
    assert_ne!(
        std::fs::read_dir(&uploads)
            .expect("the folder of uploads")
            .count(),
        0
    );
    // Only the servers' clock can make it expire.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.network.start_hold().await.expect("the hold starts");
    let uploads = world
        .network
        .state()
        .join("hold/objects/docker/registry/v2/uploads");
    let emptied = async {
        while std::fs::read_dir(&uploads)
            .expect("the folder of uploads")
            .next()
            .is_some()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PROGRESS_TIMEOUT, emptied)
        .await
        .expect("orphans expire");
    pull_all(&world, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_layer_is_lost_or_wrong_on_s3_after_kills_between_parts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (gateway, storage) = start_versitygw(folder.path()).await.expect("versitygw starts");
    let mut world = World::start_with(|options| options.storage = HoldStorage::S3(storage)).await;
    // Two parts each.
    let acknowledged = kill_while_pushing(&mut world, 12, 48, 20_000_000).await;
    pull_all(&world, &acknowledged).await;
    drop(world);
    gateway.stop().await.expect("versitygw stops");
}
