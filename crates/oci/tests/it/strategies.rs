//! Valid values of every kind, for the property tests.

use atcr_oci::{
    Algorithm, Digest, Mount, Page, Reference, RegistryRequest, RepositoryName, Tag, UploadSessionId,
};
use proptest::option;
use proptest::prelude::*;

pub(crate) fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::Sha256), Just(Algorithm::Sha512)]
}

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    (algorithm(), any::<[u8; 8]>()).prop_map(|(algorithm, content)| Digest::of(algorithm, &content))
}

/// Names by the grammar, among them those that look like parts of a URL.
pub(crate) fn repository_name() -> impl Strategy<Value = RepositoryName> {
    let component = prop_oneof![
        4 => "[a-z0-9]{1,6}(([.]|_|__|-{1,3})[a-z0-9]{1,5}){0,3}",
        1 => prop::sample::select(vec!["blobs", "uploads", "manifests", "tags", "list", "referrers", "v2"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(component, 2..6)
        .prop_filter_map("longer than 255", |components| components.join("/").parse().ok())
}

pub(crate) fn tag() -> impl Strategy<Value = Tag> {
    "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}".prop_filter_map("not a tag", |text| text.parse().ok())
}

pub(crate) fn reference() -> impl Strategy<Value = Reference> {
    prop_oneof![
        tag().prop_map(Reference::Tag),
        digest().prop_map(Reference::Digest)
    ]
}

pub(crate) fn session() -> impl Strategy<Value = UploadSessionId> {
    any::<[u8; 32]>().prop_map(|bytes| UploadSessionId::from_bytes(&bytes))
}

/// Any text that may stand in a query once it is escaped.
fn query_text(len: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::char::any().prop_filter("control", |c| !c.is_control()), len)
        .prop_map(|chars| chars.into_iter().collect())
}

pub(crate) fn page() -> impl Strategy<Value = Page> {
    (option::of(any::<usize>()), option::of(query_text(1..60))).prop_map(|(n, last)| Page { n, last })
}

fn mount() -> impl Strategy<Value = Mount> {
    (digest(), option::of(repository_name())).prop_map(|(digest, from)| Mount { digest, from })
}

fn tags() -> impl Strategy<Value = Vec<Tag>> {
    prop::collection::vec(tag(), 0..12).prop_map(|mut tags| {
        tags.sort();
        tags.dedup();
        tags
    })
}

pub(crate) fn request() -> impl Strategy<Value = RegistryRequest> {
    use RegistryRequest as R;
    let name = repository_name;
    prop_oneof![
        Just(R::Ping),
        page().prop_map(|page| R::Catalog { page }),
        (name(), reference()).prop_map(|(name, reference)| R::ManifestGet { name, reference }),
        (name(), reference()).prop_map(|(name, reference)| R::ManifestHead { name, reference }),
        (name(), reference(), tags()).prop_map(|(name, reference, tags)| R::ManifestPut {
            name,
            reference,
            tags
        }),
        (name(), reference()).prop_map(|(name, reference)| R::ManifestDelete { name, reference }),
        (name(), digest()).prop_map(|(name, digest)| R::BlobGet { name, digest }),
        (name(), digest()).prop_map(|(name, digest)| R::BlobHead { name, digest }),
        (name(), digest()).prop_map(|(name, digest)| R::BlobDelete { name, digest }),
        (
            name(),
            option::of(mount()),
            option::of(digest()),
            option::of(algorithm())
        )
            .prop_map(|(name, mount, digest, digest_algorithm)| R::UploadStart {
                name,
                mount,
                digest,
                digest_algorithm
            }),
        (name(), session()).prop_map(|(name, session)| R::UploadPatch { name, session }),
        (name(), session(), digest()).prop_map(|(name, session, digest)| R::UploadComplete {
            name,
            session,
            digest
        }),
        (name(), session()).prop_map(|(name, session)| R::UploadStatus { name, session }),
        (name(), session()).prop_map(|(name, session)| R::UploadCancel { name, session }),
        (name(), page()).prop_map(|(name, page)| R::Tags { name, page }),
        (name(), digest(), option::of(query_text(0..40))).prop_map(|(name, digest, artifact_type)| {
            R::Referrers {
                name,
                digest,
                artifact_type,
            }
        }),
    ]
}
