//! Layers that several jobs want at the same time.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use atcr_oci::{Descriptor, Digest, Manifest};
use atcr_scanner::bounds::ImageBounds;
use atcr_scanner::error::ScanError;
use atcr_scanner::image::inspect::Left;
use atcr_scanner::image::layer_cache::LayerCache;
use atcr_scanner::image::source::{ImageSource, Pieces};
use atcr_scanner::job_time::JobTime;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::images::{GZIP_LAYER, Layer, sha256};

/// Takes minutes for each layer, and fails as often as it is told to before.
struct Slow {
    packed: Bytes,
    failures: Mutex<usize>,
    asked: Mutex<usize>,
}

#[async_trait]
impl ImageSource for Slow {
    async fn manifest(&self, _: &Digest) -> Result<Manifest, ScanError> {
        Err(ScanError::Fetch("there are only layers".to_owned()))
    }

    async fn open(&self, _: &Digest) -> Result<Pieces, ScanError> {
        *self.asked.lock().unwrap() += 1;
        tokio::time::sleep(Duration::from_mins(5)).await;
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(ScanError::Fetch("not now".to_owned()));
        }
        Ok(stream::iter([Ok(self.packed.clone())]).boxed())
    }
}

/// Two jobs of six minutes want the same layer; what each gets, and how often it was asked for.
async fn two_jobs(failures: usize) -> ([Result<(), String>; 2], usize) {
    let folder = tempfile::tempdir().unwrap();
    let cache = LayerCache::open(folder.path().join("layers"), 1 << 20).unwrap();
    let packed = Layer::of(&[("a", b"a")]).packed;
    let layer = Descriptor::new(GZIP_LAYER.parse().unwrap(), sha256(&packed), packed.len() as u64);
    let source = Slow {
        packed: packed.clone().into(),
        failures: Mutex::new(failures),
        asked: Mutex::new(0),
    };
    let bounds = ImageBounds::default();
    let job = async |name: &str| {
        let target = folder.path().join(name);
        let time = JobTime::new(Duration::from_mins(6));
        tokio::select! {
            linked = cache.link(&layer, &source, (Left::all(&bounds), &bounds), &time, &target) => {
                linked.map_err(|error| error.class())?;
                assert!(std::fs::read(&target).unwrap() == packed, "{name}");
                Ok(())
            }
            () = time.ended() => Err("its time is over".to_owned()),
        }
    };
    let (first, second) = tokio::join!(job("first"), job("second"));
    let asked = *source.asked.lock().unwrap();
    ([first, second], asked)
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_two_jobs_want_at_once_is_fetched_once() {
    assert_eq!(two_jobs(0).await, ([Ok(()), Ok(())], 1));
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_a_layer_that_did_not_come_fetches_it_in_a_time_of_its_own() {
    assert_eq!(two_jobs(1).await, ([Err("fetch".to_owned()), Ok(())], 2));
}
