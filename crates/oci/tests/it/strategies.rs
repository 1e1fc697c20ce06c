//! Valid values of every kind, for the property tests.

use atcr_oci::{
    Algorithm, BlobRequest, Digest, ManifestRequest, Mount, Page, Reference, RegistryRequest, RepositoryName,
    RepositoryRequest, Tag, UploadRequest, UploadSessionId,
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
    let about_repository = prop_oneof![
        manifest_request().prop_map(RepositoryRequest::from),
        blob_request().prop_map(RepositoryRequest::from),
        upload_request().prop_map(RepositoryRequest::from),
        page().prop_map(|page| RepositoryRequest::Tags { page }),
        (digest(), option::of(query_text(0..40))).prop_map(|(digest, artifact_type)| {
            RepositoryRequest::Referrers {
                digest,
                artifact_type,
            }
        }),
    ];
    prop_oneof![
        1 => Just(RegistryRequest::Ping),
        1 => page().prop_map(|page| RegistryRequest::Catalog { page }),
        14 => (repository_name(), about_repository).prop_map(|(name, request)| request.to(name)),
    ]
}

fn manifest_request() -> impl Strategy<Value = ManifestRequest> {
    use ManifestRequest as R;
    prop_oneof![
        reference().prop_map(|reference| R::Get { reference }),
        reference().prop_map(|reference| R::Head { reference }),
        (reference(), tags()).prop_map(|(reference, tags)| R::Put { reference, tags }),
        reference().prop_map(|reference| R::Delete { reference }),
    ]
}

fn blob_request() -> impl Strategy<Value = BlobRequest> {
    use BlobRequest as R;
    prop_oneof![
        digest().prop_map(|digest| R::Get { digest }),
        digest().prop_map(|digest| R::Head { digest }),
        digest().prop_map(|digest| R::Delete { digest }),
    ]
}

fn upload_request() -> impl Strategy<Value = UploadRequest> {
    use UploadRequest as R;
    prop_oneof![
        (option::of(mount()), option::of(digest()), option::of(algorithm())).prop_map(
            |(mount, digest, digest_algorithm)| R::Start {
                mount,
                digest,
                digest_algorithm
            }
        ),
        session().prop_map(|session| R::Patch { session }),
        (session(), digest()).prop_map(|(session, digest)| R::Complete { session, digest }),
        session().prop_map(|session| R::Status { session }),
        session().prop_map(|session| R::Cancel { session }),
    ]
}
