//! `kill -9` at random points of pushes loses nothing that was acknowledged.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atcr_test_support::network::Part;
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, digest, image_manifest};
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;

use crate::World;

/// How many times a server is killed.
const KILLS: usize = 50;

/// How long the pushes may stand still.
const PROGRESS_TIMEOUT: Duration = Duration::from_mins(2);

/// What the registry has acknowledged: tags with their manifest, and the layers in it.
type Acknowledged = Arc<Mutex<Vec<(String, String, Vec<String>)>>>;

/// Pushes small images one after another, noting each that was acknowledged whole, until told to stop. An error is the
/// kill showing; the next push tries anew.
async fn push_on(
    mut client: RegistryClient,
    name: String,
    worker: usize,
    acknowledged: Acknowledged,
    steps: Arc<watch::Sender<u64>>,
) {
    let step = || steps.send_modify(|count| *count += 1);
    let mut count = 0_u32;
    loop {
        count += 1;
        let push = async {
            client.authorize(&name, "pull,push").await?;
            step();
            let text = format!("{{\"config\":\"{worker}-{count}\"}}").into_bytes();
            let size = text.len();
            let config = client.push_blob(&name, text).await?;
            step();
            let mut layers = Vec::new();
            for layer in 0..2_u8 {
                let bytes = format!("{worker}-{count}-{layer}-").into_bytes().repeat(9_000);
                let size = bytes.len();
                layers.push((client.push_blob(&name, bytes).await?, size));
                step();
            }
            let manifest = image_manifest((&config, size), &layers);
            let tag = format!("w{worker}-{count}");
            let digest = client
                .push_manifest(&name, &tag, IMAGE_MANIFEST, manifest)
                .await?;
            step();
            let mut blobs: Vec<String> = layers.into_iter().map(|(digest, _)| digest).collect();
            blobs.push(config);
            anyhow::Ok((tag, digest, blobs))
        };
        if let Ok(whole) = push.await {
            acknowledged.lock().expect("the list").push(whole);
        } else {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_image_is_lost_or_wrong_after_fifty_kills() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut world = World::start().await;
    let name = "alice.test/killed";
    let acknowledged = Acknowledged::default();
    let (steps, mut taken) = watch::channel(0);
    let steps = Arc::new(steps);
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let client = RegistryClient::new(world.appview(), world.account("alice.test")).expect("a client");
            tokio::spawn(push_on(
                client,
                name.to_owned(),
                worker,
                acknowledged.clone(),
                steps.clone(),
            ))
        })
        .collect();

    for _ in 0..KILLS {
        // A kill comes some steps on, at any moment of the step that is then under way.
        let wanted = *taken.borrow() + random.random_range(1..12);
        tokio::time::timeout(PROGRESS_TIMEOUT, taken.wait_for(|count| *count >= wanted))
            .await
            .expect("the pushes go on after a kill")
            .expect("the workers live");
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
        if random.random_bool(0.5) {
            world.network.kill(Part::Hold).await.expect("killed");
            world
                .network
                .start_hold()
                .await
                .expect("the hold opens what it had");
        } else {
            world.network.kill(Part::AppView).await.expect("killed");
            world
                .network
                .start_appview()
                .await
                .expect("the appview opens what it had");
        }
    }
    for worker in workers {
        worker.abort();
        let _ = worker.await;
    }

    let acknowledged = acknowledged.lock().expect("the list").clone();
    assert!(
        !acknowledged.is_empty(),
        "some push got through between the kills"
    );
    let mut client = RegistryClient::anonymous(world.appview()).expect("a client");
    client.authorize(name, "pull").await.expect("a token");
    for (tag, manifest_digest, blobs) in &acknowledged {
        let manifest = client
            .manifest(name, tag)
            .await
            .expect("an answer")
            .unwrap_or_else(|| panic!("{tag} is lost"));
        assert_eq!(&digest(&manifest), manifest_digest, "{tag} is another manifest");
        for blob in blobs {
            assert!(
                client.blob(name, blob).await.expect("an answer").is_some(),
                "{blob} of {tag} is lost"
            );
        }
    }
    println!(
        "{} acknowledged images survived {KILLS} kills",
        acknowledged.len()
    );
}
