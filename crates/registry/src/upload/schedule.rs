//! How large the parts of an upload are.
//!
//! A store that wants parts of known length takes at most 10,000 of them. Parts of one fixed size would either cap blobs at
//! 160 GiB or make every small layer wait for a huge part to fill, so the size grows with the offset: 16 MiB for the first
//! 23 GiB, afterwards 1/1500 of what has been sent.

use crate::blob::ports::StoreTraits;

const MIB: u64 = 1024 * 1024;

/// 5 TiB: the largest object S3 keeps, and so the largest blob.
pub const MAX_BLOB_BYTES: u64 = 5 * 1024 * 1024 * MIB;

/// S3's limit on the number of parts.
pub const MAX_PARTS: u32 = 10_000;

/// Size of the first parts: large enough that the request overhead vanishes, small enough that a few of them fit the page
/// cache of a small machine.
const FIRST_PART_BYTES: u64 = 16 * MIB;

/// From here on a part is this fraction of the bytes before it. 1500 keeps 5 TiB within 9,600 parts of at most 3.5 GiB.
const GROWTH_DIVISOR: u64 = 1500;

/// The sizes of the parts of one upload, a pure function of the offset at which a part begins.
#[derive(Clone, Copy, Debug)]
pub struct PartSchedule {
    min: u64,
    max: u64,
}

impl PartSchedule {
    /// The schedule for a store.
    #[must_use]
    pub fn for_store(traits: &StoreTraits) -> Self {
        let min = traits.min_part_size.max(1);
        Self {
            min,
            max: traits.max_part_size.unwrap_or(u64::MAX).max(min),
        }
    }

    /// Size in bytes of the part that begins at `offset`, unless the blob ends in it.
    #[must_use]
    pub fn part_size(&self, offset: u64) -> u64 {
        let grown = (offset / GROWTH_DIVISOR).next_multiple_of(MIB);
        FIRST_PART_BYTES.max(grown).max(self.min).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers and sizes of the parts that a blob of `len` bytes is sent in.
    fn parts(schedule: PartSchedule, len: u64) -> (u32, u64) {
        let (mut offset, mut count, mut largest) = (0, 0, 0);
        while offset < len {
            let size = schedule.part_size(offset);
            largest = largest.max(size);
            offset += size;
            count += 1;
        }
        (count, largest)
    }

    fn s3() -> PartSchedule {
        PartSchedule::for_store(&StoreTraits {
            max_part_size: Some(5 * 1024 * MIB),
            ..StoreTraits::assumed()
        })
    }

    #[test]
    fn five_tebibytes_fit_ten_thousand_parts_within_the_limits_of_s3() {
        let (count, largest) = parts(s3(), MAX_BLOB_BYTES);
        assert!(count <= MAX_PARTS, "{count} parts");
        assert!(largest <= 5 * 1024 * MIB, "a part of {largest} bytes");
    }

    #[test]
    fn every_part_is_at_least_what_s3_wants_and_sizes_never_shrink() {
        let schedule = s3();
        let mut last = 0;
        let mut offset = 0;
        while offset < MAX_BLOB_BYTES {
            let size = schedule.part_size(offset);
            assert!(size >= last && size >= 5 * MIB);
            last = size;
            offset += size;
        }
    }

    #[test]
    fn ordinary_layers_go_in_parts_of_sixteen_mebibytes() {
        assert_eq!(parts(s3(), 1024 * MIB), (64, 16 * MIB));
    }

    #[test]
    fn the_limits_of_the_store_win() {
        let traits = StoreTraits {
            min_part_size: 64 * MIB,
            ..StoreTraits::assumed()
        };
        assert_eq!(PartSchedule::for_store(&traits).part_size(0), 64 * MIB);
        let traits = StoreTraits {
            max_part_size: Some(8 * MIB),
            ..StoreTraits::assumed()
        };
        assert_eq!(PartSchedule::for_store(&traits).part_size(0), 8 * MIB);
    }
}
