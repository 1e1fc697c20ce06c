//! The numbers of events.

/// The next event's number after `last`, which it becomes: the time in microseconds, so that no copy or restored backup of the
/// repository uses a number again, and at least one more than the last.
pub(super) fn next_seq(last: &mut u64, now_micros: u64) -> u64 {
    *last = last.saturating_add(1).max(now_micros);
    *last
}

#[cfg(test)]
mod tests {
    use super::next_seq;

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_no_number_again() {
        let mut last = 0;
        let numbers = [5, 5, 3, 9].map(|now| next_seq(&mut last, now));
        assert_eq!(numbers, [5, 6, 7, 9]);
    }
}
