//! Chunks of uploads and parts of downloads.

use atcr_oci::{ByteRange, ContentRange, SatisfiedRange};
use proptest::prelude::*;

proptest! {
    #[test]
    fn content_ranges_print_as_they_were_written(start in any::<u64>(), end in any::<u64>()) {
        if let Some(range) = ContentRange::new(start, end) {
            prop_assert_eq!(range.to_string().parse(), Ok(range));
            prop_assert_eq!(range.len(), end - start + 1);
        } else {
            prop_assert!(end < start || end == u64::MAX);
        }
    }

    #[test]
    fn a_resolved_range_lies_within_the_content(first in 0..2000_u64, last in 0..2000_u64, size in 0..2000_u64) {
        let ranges = [
            ByteRange::FromTo { first, last },
            ByteRange::From { first },
            ByteRange::Suffix { length: last },
        ];
        for range in ranges {
            if let Ok(read) = ByteRange::parse(&range.to_string()) {
                prop_assert_eq!(read, Some(range));
            }
            if let Some(part) = range.resolve(size) {
                prop_assert!(part.first <= part.last && part.last < size);
            }
        }
    }

    #[test]
    fn any_header_is_answered_without_a_panic(header in ".{0,40}", size in any::<u64>()) {
        let _ = header.parse::<ContentRange>();
        if let Ok(Some(range)) = ByteRange::parse(&header) {
            let _ = range.resolve(size);
        }
    }
}

#[test]
fn an_upload_says_how_much_it_received() {
    assert_eq!(ContentRange::received(0).to_string(), "0-0");
    assert_eq!(ContentRange::received(1).to_string(), "0-0");
    assert_eq!(ContentRange::received(1024).to_string(), "0-1023");
}

#[test]
fn chunks_of_another_form_are_refused() {
    for text in [
        "",
        "-",
        "0",
        "0-",
        "-5",
        "5-4",
        "+1-2",
        "1-+2",
        "0x1-2",
        "0-18446744073709551615",
        "0-1/2",
        "bytes 0-1",
        "a-b",
        "1-2-3",
    ] {
        assert!(text.parse::<ContentRange>().is_err(), "{text}");
    }
    let range: ContentRange = "500-1499".parse().expect("a range");
    assert_eq!((range.start(), range.end(), range.len()), (500, 1499, 1000));
}

#[test]
fn a_download_answers_the_forms_of_the_rfc() {
    let answer = |header: &str, size| {
        let range = ByteRange::parse(header).expect(header).expect(header);
        range.resolve(size).map(|part| part.to_string())
    };
    assert_eq!(
        answer("bytes=500-1499", 2000).as_deref(),
        Some("bytes 500-1499/2000")
    );
    assert_eq!(answer("bytes=500-", 2000).as_deref(), Some("bytes 500-1999/2000"));
    assert_eq!(
        answer("bytes=-500", 2000).as_deref(),
        Some("bytes 1500-1999/2000")
    );
    assert_eq!(answer("bytes=-5000", 2000).as_deref(), Some("bytes 0-1999/2000"));
    assert_eq!(
        answer("bytes=1000-5000", 2000).as_deref(),
        Some("bytes 1000-1999/2000")
    );
    assert_eq!(answer("Bytes = 0-0", 2000).as_deref(), Some("bytes 0-0/2000"));
    assert_eq!(answer("bytes=5000-10000", 2000), None);
    assert_eq!(answer("bytes=2000-", 2000), None);
    assert_eq!(answer("bytes=-0", 2000), None);
    assert_eq!(answer("bytes=0-", 0), None);
    assert_eq!(SatisfiedRange::none_of(2000), "bytes */2000");
}

#[test]
fn a_range_that_ends_before_it_starts_is_refused_and_what_is_not_served_is_passed_over() {
    for header in [
        "bytes=500-0",
        "bytes=a-b",
        "bytes=-",
        "bytes",
        "bytes=",
        "bytes=1",
        "bytes=+1-2",
    ] {
        assert!(ByteRange::parse(header).is_err(), "{header}");
    }
    assert_eq!(ByteRange::parse("bytes=0-1,5-6"), Ok(None));
    assert_eq!(ByteRange::parse("lines=0-1"), Ok(None));
}
