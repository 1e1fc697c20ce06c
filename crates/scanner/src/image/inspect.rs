//! Looks into a layer while it arrives: what it hashes to, packed and unpacked, and whether it stays within the bounds.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use atcr_oci::{Algorithm, Digest, DigestHasher};
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::tar_walk::{self, Entries};
use crate::bounds::ImageBounds;
use crate::error::ScanError;

const BUFFER: usize = 256 * 1024;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a layer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Bytes as stored.
    pub packed_bytes: u64,
    /// Bytes of the archive.
    pub unpacked_bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of the largest entry.
    pub largest_bytes: u64,
    /// What the archive hashes to.
    pub diff_id: Digest,
}

/// What layers before this one have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Bytes, unpacked.
    pub unpacked_bytes: u64,
    /// Entries.
    pub entries: u64,
}

impl Left {
    /// All that `bounds` allow.
    #[must_use]
    pub const fn all(bounds: &ImageBounds) -> Self {
        Self {
            unpacked_bytes: bounds.unpacked_bytes,
            entries: bounds.entries,
        }
    }

    /// What is left after a layer.
    ///
    /// # Errors
    /// `TooLarge` if the layer has more than there was.
    pub fn after(self, layer: &LayerFacts, bounds: &ImageBounds) -> Result<Self, ScanError> {
        let unpacked_bytes = self
            .unpacked_bytes
            .checked_sub(layer.unpacked_bytes)
            .ok_or_else(|| unpacked_too_large(bounds))?;
        let entries = self.entries.checked_sub(layer.entries).ok_or_else(|| {
            ScanError::too_large("entries", format!("more than {} entries", bounds.entries))
        })?;
        Ok(Self {
            unpacked_bytes,
            entries,
        })
    }
}

fn unpacked_too_large(bounds: &ImageBounds) -> ScanError {
    ScanError::too_large(
        "unpacked",
        format!("more than {} bytes unpacked", bounds.unpacked_bytes),
    )
}

/// Reads a layer from `packed` to its end. How it is packed is told by its first bytes, as the tools tell it.
///
/// # Errors
/// `TooLarge` as soon as a bound is exceeded; `MediaType` if it is no archive, packed or not; what `packed` itself fails with.
pub fn inspect(packed: impl Read, left: Left, bounds: &ImageBounds) -> Result<LayerFacts, ScanError> {
    let packed_bytes = Rc::new(Cell::new(0));
    let mut packed = Counted {
        inner: packed,
        bytes: Rc::clone(&packed_bytes),
    };
    let mut magic = Vec::new();
    (&mut packed)
        .take(ZSTD.len() as u64)
        .read_to_end(&mut magic)
        .map_err(unreadable)?;
    let mut packed = BufReader::with_capacity(BUFFER, (&*magic).chain(packed));
    let mut decoder: Box<dyn Read + '_> = if magic.starts_with(&GZIP) {
        Box::new(MultiGzDecoder::new(&mut packed))
    } else if magic.starts_with(&ZSTD) {
        let decoder = zstd::stream::read::Decoder::with_buffer(&mut packed);
        Box::new(decoder.map_err(ScanError::workspace("cannot make a decoder"))?)
    } else {
        Box::new(&mut packed)
    };
    let mut archive = Unpacked {
        inner: &mut decoder,
        hasher: DigestHasher::new(Algorithm::Sha256),
        packed_bytes: &packed_bytes,
        left: left.unpacked_bytes,
        bounds,
    };
    let Entries { count, largest_bytes } = tar_walk::walk(&mut archive, left.entries, bounds)?;
    // What follows the archive's end belongs to the layer's hash.
    io::copy(&mut archive, &mut io::sink()).map_err(unreadable)?;
    let unpacked_bytes = archive.hasher.len();
    let diff_id = archive.hasher.finish();
    drop(decoder);
    // What follows the packed stream belongs to the blob.
    io::copy(&mut packed, &mut io::sink()).map_err(unreadable)?;
    Ok(LayerFacts {
        packed_bytes: packed_bytes.get(),
        unpacked_bytes,
        entries: count,
        largest_bytes,
        diff_id,
    })
}

fn unreadable(error: io::Error) -> ScanError {
    ScanError::from_reader(error, |error| {
        ScanError::MediaType(format!("a layer cannot be unpacked: {error}"))
    })
}

struct Counted<R> {
    inner: R,
    bytes: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}

/// The archive, hashed and held to the bounds while it is read.
struct Unpacked<'a, R> {
    inner: R,
    hasher: DigestHasher,
    packed_bytes: &'a Cell<u64>,
    left: u64,
    bounds: &'a ImageBounds,
}

impl<R: Read> Read for Unpacked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        let unpacked = self.hasher.len();
        if unpacked > self.left {
            return Err(unpacked_too_large(self.bounds).into());
        }
        let allowed = self.packed_bytes.get().saturating_mul(self.bounds.ratio);
        if unpacked > self.bounds.ratio_free_bytes && unpacked > allowed {
            let detail = format!("a byte unpacks to more than {}", self.bounds.ratio);
            return Err(ScanError::too_large("ratio", detail).into());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn archive(content: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, "file", content).unwrap();
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inspected(packed: &[u8]) -> Result<LayerFacts, ScanError> {
        let bounds = ImageBounds {
            unpacked_bytes: 1 << 30,
            ..ImageBounds::default()
        };
        inspect(packed, Left::all(&bounds), &bounds)
    }

    #[test]
    fn the_three_forms_of_a_layer_have_the_same_archive() {
        let plain = archive(&[3; 10_000]);
        let diff_id = Digest::of(Algorithm::Sha256, &plain);
        let forms = [
            plain.clone(),
            gzip(&plain),
            zstd::stream::encode_all(&*plain, 1).unwrap(),
            // Two members, as parallel compressors make.
            [gzip(&plain[..700]), gzip(&plain[700..])].concat(),
        ];
        for packed in forms {
            let facts = inspected(&packed).unwrap();
            assert_eq!(facts.diff_id, diff_id);
            assert_eq!(
                (facts.packed_bytes, facts.entries, facts.largest_bytes),
                (packed.len() as u64, 1, 10_000)
            );
        }
    }

    #[test]
    fn what_follows_the_archive_belongs_to_the_hashes() {
        let mut plain = archive(b"x");
        plain.extend_from_slice(b"more");
        let packed = [gzip(&plain), b"trailing".to_vec()].concat();
        // Bytes behind a gzip stream that are no gzip stream make it unreadable, for the tools as well.
        assert_eq!(inspected(&packed).unwrap_err().class(), "media-type");
        let facts = inspected(&gzip(&plain)).unwrap();
        assert_eq!(facts.diff_id, Digest::of(Algorithm::Sha256, &plain));
    }

    #[test]
    fn a_bomb_ends_at_the_ratio_long_before_it_is_unpacked() {
        let bounds = ImageBounds {
            ratio: 50,
            ratio_free_bytes: 1 << 20,
            ..ImageBounds::default()
        };
        let zeros = archive(&vec![0; 8 << 20]);
        for bomb in [gzip(&zeros), zstd::stream::encode_all(&*zeros, 1).unwrap()] {
            let mut left = &*bomb;
            let error = inspect(&mut left, Left::all(&bounds), &bounds).unwrap_err();
            assert_eq!(error.class(), "too-large:ratio");
        }
        // A small one is none.
        let small = gzip(&archive(&vec![0; 900 << 10]));
        assert!(inspect(&*small, Left::all(&bounds), &bounds).is_ok());
    }

    #[test]
    fn layers_share_what_the_image_may_have() {
        let bounds = ImageBounds {
            unpacked_bytes: 5000,
            entries: 2,
            ..ImageBounds::default()
        };
        let packed = gzip(&archive(&[3; 1000]));
        let first = inspect(&*packed, Left::all(&bounds), &bounds).unwrap();
        let left = Left::all(&bounds).after(&first, &bounds).unwrap();
        assert_eq!(left.entries, 1);
        assert_eq!(
            inspect(&*packed, left, &bounds).unwrap_err().class(),
            "too-large:unpacked"
        );
        assert_eq!(
            left.after(&first, &bounds).unwrap_err().class(),
            "too-large:unpacked"
        );
    }
}
