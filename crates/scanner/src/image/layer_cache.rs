//! Layers that images share, kept as they were fetched, up to a bound; the least recently used go first.
//!
//! A job gets a hard link, so a layer that is thrown out stays with the jobs that have it. What was found in a layer lies beside it. A
//! layer of an earlier process is hashed before its first use: what a crash has damaged would otherwise be an image without packages.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use atcr_oci::{Descriptor, Digest, DigestHasher};
use atcr_server::KeyedLocks;

use super::inspect::{LayerFacts, Left, inspect};
use super::reading::read_into;
use super::source::ImageSource;
use crate::bounds::ImageBounds;
use crate::error::ScanError;
use crate::job_time::JobTime;

/// Layers that are still arriving.
const INCOMING: &str = "incoming-";

/// The cache. One process uses its folder.
#[derive(Debug)]
pub struct LayerCache {
    folder: PathBuf,
    bound_bytes: u64,
    /// A layer is fetched once, however many jobs want it.
    fetching: KeyedLocks<String>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    layers: HashMap<String, KeptLayer>,
    bytes: u64,
    uses: u64,
}

#[derive(Debug)]
struct KeptLayer {
    bytes: u64,
    last_use: u64,
    /// Whether this process has seen that its bytes are those of its digest.
    is_proven: bool,
}

impl LayerCache {
    /// The cache in `folder`, of at most `bound_bytes`; 0 keeps nothing. What an earlier process left is used, and what it left
    /// unfinished removed.
    ///
    /// # Errors
    /// `Workspace`.
    pub fn open(folder: PathBuf, bound_bytes: u64) -> Result<Self, ScanError> {
        let failed = || ScanError::workspace(format!("cannot use {}", folder.display()));
        fs::create_dir_all(&folder).map_err(failed())?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if let Some(layer) = name.strip_suffix(".json") {
                if !folder.join(layer).exists() {
                    fs::remove_file(&path).map_err(failed())?;
                }
                continue;
            }
            let metadata = entry.metadata().map_err(failed())?;
            let is_whole = read_facts(&path).is_some_and(|facts| facts.packed_bytes == metadata.len());
            if name.starts_with(INCOMING) || !is_whole {
                remove(&path);
            } else {
                found.push((metadata.accessed().ok(), name, metadata.len()));
            }
        }
        found.sort();
        let mut kept = Kept::default();
        for (_, name, bytes) in found {
            kept.add(name, bytes, false);
        }
        let cache = Self {
            folder,
            bound_bytes,
            fetching: KeyedLocks::default(),
            kept: Mutex::new(kept),
        };
        cache.evict();
        Ok(cache)
    }

    /// Links the layer to `target`, fetched from `source` if it is not kept. Returns what is in it, which `left` allows.
    ///
    /// # Errors
    /// `TooLarge`, `DigestMismatch`, `MediaType`, `Fetch`, `Workspace`.
    pub async fn link(
        &self,
        layer: &Descriptor,
        source: &dyn ImageSource,
        (left, bounds): (Left, &ImageBounds),
        time: &JobTime,
        target: &Path,
    ) -> Result<LayerFacts, ScanError> {
        let name = file_name(&layer.digest);
        // Another job may be fetching it: that is not this job's time.
        let _fetching = time.without(self.fetching.lock(&name)).await;
        if let Some(facts) = self.kept(&name, &layer.digest, target).await? {
            if facts.packed_bytes != layer.size {
                return Err(ScanError::DigestMismatch(format!(
                    "{} has {} bytes and not {}",
                    layer.digest, facts.packed_bytes, layer.size
                )));
            }
            return Ok(facts);
        }
        let incoming = Incoming(self.folder.join(format!("{INCOMING}{}", uuid::Uuid::new_v4())));
        let pieces = source.open(&layer.digest).await?;
        let allowed = *bounds;
        let look = move |arriving: &mut _| inspect(arriving, left, &allowed);
        let facts = read_into(pieces, layer.clone(), &incoming.0, look).await?;
        self.keep(name, incoming, facts, target).await
    }

    async fn kept(
        &self,
        name: &str,
        digest: &Digest,
        target: &Path,
    ) -> Result<Option<LayerFacts>, ScanError> {
        let Some(is_proven) = self.lock().used(name) else {
            return Ok(None);
        };
        let path = self.folder.join(name);
        let (digest, target) = (digest.clone(), target.to_owned());
        let found = in_background(move || {
            let facts = read_facts(&path).filter(|_| is_proven || is_named(&path, &digest));
            let Some(facts) = facts else {
                remove(&path);
                return Ok(None);
            };
            match link(&path, &target) {
                Ok(()) => Ok(Some(facts)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        });
        let found = found.await.map_err(ScanError::workspace("cannot link a layer"))?;
        match found {
            Some(_) => self.lock().prove(name),
            None => self.lock().forget(name),
        }
        Ok(found)
    }

    async fn keep(
        &self,
        name: String,
        incoming: Incoming,
        facts: LayerFacts,
        target: &Path,
    ) -> Result<LayerFacts, ScanError> {
        let (path, target) = (self.folder.join(&name), target.to_owned());
        let kept = in_background(move || {
            link(&incoming.0, &target)?;
            // Under its name it is whole, also after a crash. The facts first: a layer without them would have to be fetched again.
            let mut beside = File::create(facts_path(&path))?;
            beside.write_all(&serde_json::to_vec(&facts)?)?;
            beside.sync_all()?;
            File::open(&incoming.0)?.sync_all()?;
            fs::rename(&incoming.0, &path)?;
            Ok(facts)
        });
        let facts = kept.await.map_err(ScanError::workspace("cannot keep a layer"))?;
        self.lock().add(name, facts.packed_bytes, true);
        self.evict();
        Ok(facts)
    }

    fn evict(&self) {
        let evicted = self.lock().beyond(self.bound_bytes);
        for name in evicted {
            remove(&self.folder.join(name));
        }
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, name: String, bytes: u64, is_proven: bool) {
        self.uses += 1;
        self.forget(&name);
        let layer = KeptLayer {
            bytes,
            last_use: self.uses,
            is_proven,
        };
        self.layers.insert(name, layer);
        self.bytes += bytes;
    }

    /// Notes a use, and returns whether the layer is proven; `None` if it is not kept.
    fn used(&mut self, name: &str) -> Option<bool> {
        self.uses += 1;
        let layer = self.layers.get_mut(name)?;
        layer.last_use = self.uses;
        Some(layer.is_proven)
    }

    fn prove(&mut self, name: &str) {
        if let Some(layer) = self.layers.get_mut(name) {
            layer.is_proven = true;
        }
    }

    fn forget(&mut self, name: &str) {
        if let Some(layer) = self.layers.remove(name) {
            self.bytes -= layer.bytes;
        }
    }

    /// Forgets as many layers as are beyond `bound`, the least recently used first, and returns their names.
    fn beyond(&mut self, bound: u64) -> Vec<String> {
        if self.bytes <= bound {
            return Vec::new();
        }
        let mut by_use: Vec<_> = self
            .layers
            .iter()
            .map(|(name, layer)| (layer.last_use, name.clone()))
            .collect();
        by_use.sort_unstable();
        let mut gone = Vec::new();
        for (_, name) in by_use {
            if self.bytes <= bound {
                break;
            }
            if let Some(layer) = self.layers.remove(&name) {
                self.bytes -= layer.bytes;
                gone.push(name);
            }
        }
        gone
    }
}

/// Removed when dropped; nothing is there any more once it was kept.
struct Incoming(PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().as_str(), digest.hex())
}

fn facts_path(layer: &Path) -> PathBuf {
    layer.with_extension("json")
}

fn read_facts(layer: &Path) -> Option<LayerFacts> {
    let bytes = fs::read(facts_path(layer)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether the bytes of the file hash to `digest`.
fn is_named(path: &Path, digest: &Digest) -> bool {
    let hashed = (|| {
        let mut hasher = DigestHasher::new(digest.algorithm());
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok::<_, io::Error>(hasher.finish()),
                read => hasher.update(&buffer[..read]),
            }
        }
    })();
    match hashed {
        Ok(hashed) if hashed == *digest => true,
        Ok(_) => {
            tracing::warn!(%digest, "a layer that was kept is damaged; it is fetched again");
            false
        }
        Err(error) => {
            tracing::warn!(%digest, %error, "a layer that was kept cannot be read; it is fetched again");
            false
        }
    }
}

/// Removes a layer with its facts.
fn remove(layer: &Path) {
    for path in [&facts_path(layer), layer] {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a layer that is not kept stays on the disk");
        }
    }
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}

/// One layer may be in an image twice.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    #[test]
    fn the_least_recently_used_layer_goes_first() {
        let mut kept = Kept::default();
        for name in ["a", "b", "c"] {
            kept.add(name.to_owned(), 10, true);
        }
        assert_eq!(kept.used("a"), Some(true));
        assert_eq!(kept.beyond(25), ["b"]);
        assert_eq!(kept.bytes, 20);
        assert_eq!(kept.used("b"), None);
        assert_eq!(kept.beyond(0), ["c", "a"]);
        assert_eq!(kept.bytes, 0);
    }
}
