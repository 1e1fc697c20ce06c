//! Which media types a client takes.

use atcr_oci::{Accept, MediaType};
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_header_is_read_without_a_panic(header in ".{0,80}") {
        let _ = Accept::parse([header.as_str()]).accepts(&MediaType::OCI_IMAGE_INDEX);
    }
}

#[test]
fn a_client_that_says_nothing_takes_everything() {
    assert!(Accept::parse([]).accepts(&MediaType::OCI_IMAGE_INDEX));
}

#[test]
fn members_of_several_headers_count_together() {
    let accept = Accept::parse([
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json;q=0.5",
    ]);
    assert!(accept.accepts(&MediaType::OCI_IMAGE_INDEX));
    assert!(accept.accepts(&MediaType::OCI_IMAGE_MANIFEST));
    assert_eq!(accept.weight_of(&MediaType::DOCKER_MANIFEST), 500);
    assert!(!accept.accepts(&MediaType::DOCKER_MANIFEST_LIST));
}

#[test]
fn the_most_exact_member_decides() {
    let accept =
        Accept::parse(["*/*;q=0.1, application/*;q=0.2, application/vnd.oci.image.index.v1+json;q=0"]);
    assert!(!accept.accepts(&MediaType::OCI_IMAGE_INDEX));
    assert_eq!(accept.weight_of(&MediaType::OCI_IMAGE_MANIFEST), 200);
    assert_eq!(
        accept.weight_of(&"text/plain".parse().expect("a media type")),
        100
    );
}

#[test]
fn members_that_are_no_media_range_are_passed_over() {
    let accept =
        Accept::parse(["json, */json, application/json;q=2, , a/b;q=0.1234, Application/JSON;charset=utf-8"]);
    assert_eq!(accept.ranges().len(), 1);
    assert!(accept.accepts(&MediaType::JSON));
}
