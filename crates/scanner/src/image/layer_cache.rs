//! Layers that images share, kept as they were fetched, up to a bound; the least recently used go first.
//!
//! A job gets a hard link, so a layer that is thrown out stays with the jobs that have it. A file is there whole or not at all; what
//! was found in it lies beside it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use atcr_oci::{Descriptor, Digest};
use atcr_server::KeyedLocks;

use super::inspect::{LayerFacts, Left, inspect};
use super::reading::read_into;
use super::source::ImageSource;
use crate::bounds::ImageBounds;
use crate::error::ScanError;

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
            if name.starts_with(INCOMING) {
                fs::remove_file(entry.path()).map_err(failed())?;
            } else if !name.ends_with(".json") {
                let metadata = entry.metadata().map_err(failed())?;
                found.push((metadata.accessed().ok(), name, metadata.len()));
            }
        }
        found.sort();
        let mut kept = Kept::default();
        for (_, name, bytes) in found {
            kept.add(name, bytes);
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
        left: Left,
        bounds: &ImageBounds,
        target: &Path,
    ) -> Result<LayerFacts, ScanError> {
        let name = file_name(&layer.digest);
        let _fetching = self.fetching.lock(&name).await;
        if let Some(facts) = self.kept(&name, target)? {
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
        self.keep(&name, &incoming.0, &facts, target)?;
        Ok(facts)
    }

    fn kept(&self, name: &str, target: &Path) -> Result<Option<LayerFacts>, ScanError> {
        if !self.lock().used(name) {
            return Ok(None);
        }
        let path = self.folder.join(name);
        let facts = fs::read(facts_path(&path))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(facts) = facts else { return Ok(None) };
        match link(&path, target) {
            Ok(()) => Ok(Some(facts)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ScanError::workspace("cannot link a layer")(error)),
        }
    }

    fn keep(&self, name: &str, incoming: &Path, facts: &LayerFacts, target: &Path) -> Result<(), ScanError> {
        let path = self.folder.join(name);
        let kept = (|| {
            link(incoming, target)?;
            // The facts first: a layer without them would have to be fetched again.
            fs::write(facts_path(&path), serde_json::to_vec(facts)?)?;
            fs::rename(incoming, &path)
        })();
        kept.map_err(ScanError::workspace("cannot keep a layer"))?;
        self.lock().add(name.to_owned(), facts.packed_bytes);
        self.evict();
        Ok(())
    }

    fn evict(&self) {
        let evicted = self.lock().beyond(self.bound_bytes);
        for name in evicted {
            let path = self.folder.join(name);
            for path in [facts_path(&path), path] {
                if let Err(error) = fs::remove_file(&path)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(path = %path.display(), %error, "a layer that is no longer kept stays on the disk");
                }
            }
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
    fn add(&mut self, name: String, bytes: u64) {
        self.uses += 1;
        let last_use = self.uses;
        if let Some(old) = self.layers.insert(name, KeptLayer { bytes, last_use }) {
            self.bytes -= old.bytes;
        }
        self.bytes += bytes;
    }

    /// Notes a use; false if the layer is not kept.
    fn used(&mut self, name: &str) -> bool {
        self.uses += 1;
        let last_use = self.uses;
        self.layers
            .get_mut(name)
            .map(|layer| layer.last_use = last_use)
            .is_some()
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
            kept.add(name.to_owned(), 10);
        }
        assert!(kept.used("a"));
        assert_eq!(kept.beyond(25), ["b"]);
        assert_eq!(kept.bytes, 20);
        assert!(!kept.used("b"));
        assert_eq!(kept.beyond(0), ["c", "a"]);
        assert_eq!(kept.bytes, 0);
    }
}
