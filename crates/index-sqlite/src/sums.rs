//! Sums of counts that a number may have no room for.

/// The sum of a column of counts, capped: `sum` alone fails where it is more than a number has room for. Its upper and lower halves are
/// added apart.
macro_rules! capped_sum {
    ($counts:literal) => {
        concat!(
            "min((min(sum((",
            $counts,
            ") >> 32), 1 << 30) << 32) + sum((",
            $counts,
            ") & 4294967295), 1 << 62)"
        )
    };
}

pub(crate) use capped_sum;
