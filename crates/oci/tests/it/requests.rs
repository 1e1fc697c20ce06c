//! Parsing and building are two sides of one grammar.

use atcr_oci::{
    Algorithm, BlobRequest, Digest, ManifestRequest, Page, RegistryRequest, RepositoryName,
    RepositoryRequest, UploadRequest, UploadSessionId, next_link, parse_next_link, tags_path, upload_path,
    upload_start_path,
};
use proptest::prelude::*;

use crate::strategies;

/// Parses a URL as a server sees it: path and query apart.
fn parse(method: &str, url: &str) -> Result<RegistryRequest, atcr_oci::RequestError> {
    let (path, query) = url
        .split_once('?')
        .map_or((url, None), |(path, query)| (path, Some(query)));
    RegistryRequest::parse(method, path, query)
}

proptest! {
    #[test]
    fn what_a_client_builds_the_server_reads_back(request in strategies::request()) {
        let url = request.path_and_query();
        prop_assert_eq!(parse(request.method(), &url), Ok(request), "{}", url);
    }

    #[test]
    fn a_built_url_is_plain_ascii_without_control_or_space(request in strategies::request()) {
        let url = request.path_and_query();
        prop_assert!(url.bytes().all(|b| b.is_ascii_graphic()), "{}", url);
        prop_assert!(!url.contains('#'), "{}", url);
    }

    #[test]
    fn any_method_and_url_is_answered_without_a_panic(method in ".{0,8}", path in ".{0,80}", query in ".{0,80}") {
        let _ = RegistryRequest::parse(&method, &path, Some(&query));
        let _ = RegistryRequest::parse("PUT", &format!("/v2/{path}"), Some(&query));
    }

    #[test]
    fn a_link_to_the_next_page_leads_there(
        name in strategies::repository_name(),
        tag in strategies::tag(),
        n in 1_usize..5000,
    ) {
        let link = next_link(&tags_path(&name), tag.as_str(), n);
        let target = parse_next_link(&link).expect("our own link");
        let page = Page::after(tag.as_str(), n);
        prop_assert_eq!(parse("GET", target), Ok(RepositoryRequest::Tags { page }.to(name)));
    }
}

/// What a request asks of its repository.
fn about(method: &str, url: &str) -> RepositoryRequest {
    match parse(method, url) {
        Ok(RegistryRequest::Repository { request, .. }) => request,
        other => unreachable!("{other:?}"),
    }
}

fn get_blob(name: RepositoryName, digest: Digest) -> RegistryRequest {
    RepositoryRequest::from(BlobRequest::Get { digest }).to(name)
}

fn name() -> RepositoryName {
    RepositoryName::new("alice.test", "app").expect("a name")
}

#[test]
fn the_ping_is_read_with_and_without_its_last_slash() {
    assert_eq!(parse("GET", "/v2/"), Ok(RegistryRequest::Ping));
    assert_eq!(parse("GET", "/v2"), Ok(RegistryRequest::Ping));
    assert_eq!(parse("HEAD", "/v2/"), Ok(RegistryRequest::Ping));
}

#[test]
fn a_repository_may_be_called_like_a_part_of_the_url() {
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let path = format!("/v2/alice.test/blobs/uploads/blobs/{digest}");
    let name = RepositoryName::new("alice.test", "blobs/uploads").expect("a name");
    assert_eq!(parse("GET", &path), Ok(get_blob(name, digest)));

    let name = RepositoryName::new("alice.test", "tags").expect("a name");
    let request = RepositoryRequest::Tags {
        page: Page::default(),
    }
    .to(name);
    assert_eq!(parse("GET", "/v2/alice.test/tags/tags/list"), Ok(request));
}

#[test]
fn a_digest_may_arrive_percent_encoded() {
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let encoded = digest.to_string().replace(':', "%3A");
    let expected = RepositoryRequest::from(BlobRequest::Head {
        digest: digest.clone(),
    })
    .to(name());
    assert_eq!(
        parse("HEAD", &format!("/v2/alice.test/app/blobs/{encoded}")),
        Ok(expected)
    );

    let session = UploadSessionId::from_bytes(&[7; 32]);
    let url = format!("{}?digest={encoded}", upload_path(&name(), &session));
    let expected = RepositoryRequest::from(UploadRequest::Complete { session, digest }).to(name());
    assert_eq!(parse("PUT", &url), Ok(expected));
}

#[test]
fn an_upload_starts_with_or_without_the_last_slash_and_foreign_parameters() {
    let start = RepositoryRequest::from(UploadRequest::Start {
        mount: None,
        digest: None,
        digest_algorithm: None,
    })
    .to(name());
    assert_eq!(parse("POST", &upload_start_path(&name())), Ok(start.clone()));
    assert_eq!(
        parse("POST", "/v2/alice.test/app/blobs/uploads"),
        Ok(start.clone())
    );
    assert_eq!(
        parse("POST", "/v2/alice.test/app/blobs/uploads/?ns=docker.io&&x"),
        Ok(start)
    );
}

#[test]
fn an_upload_is_told_its_algorithm() {
    let request = about(
        "POST",
        "/v2/alice.test/app/blobs/uploads/?digest-algorithm=sha512",
    );
    let RepositoryRequest::Upload(UploadRequest::Start { digest_algorithm, .. }) = request else {
        panic!("{request:?}")
    };
    assert_eq!(digest_algorithm, Some(Algorithm::Sha512));
}

#[test]
fn mounting_from_a_name_of_another_registry_becomes_an_upload() {
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let url = format!("/v2/alice.test/app/blobs/uploads/?mount={digest}&from=library");
    let request = about("POST", &url);
    assert!(
        matches!(
            request,
            RepositoryRequest::Upload(UploadRequest::Start { mount: None, .. })
        ),
        "{request:?}"
    );

    let url = format!("/v2/alice.test/app/blobs/uploads/?mount={digest}");
    let request = about("POST", &url);
    let RepositoryRequest::Upload(UploadRequest::Start {
        mount: Some(mount), ..
    }) = request
    else {
        panic!("{request:?}")
    };
    assert_eq!((mount.digest, mount.from), (digest, None));
}

#[test]
fn a_manifest_takes_several_tags_at_once() {
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let url = format!("/v2/alice.test/app/manifests/{digest}?tag=1.2.3&tag=1.2&tag=1.2&tag=latest");
    let request = about("PUT", &url);
    let RepositoryRequest::Manifest(ManifestRequest::Put { tags, .. }) = request else {
        panic!("{request:?}")
    };
    let tags: Vec<&str> = tags.iter().map(|tag| tag.as_str()).collect();
    assert_eq!(tags, ["1.2.3", "1.2", "latest"]);
}

#[test]
fn an_artifact_type_keeps_its_plus_sign_escaped_or_not() {
    let digest = Digest::of(Algorithm::Sha256, b"x");
    for spelling in [
        "application/vnd.example.v1+json",
        "application%2Fvnd.example.v1%2Bjson",
    ] {
        let url = format!("/v2/alice.test/app/referrers/{digest}?artifactType={spelling}");
        let request = about("GET", &url);
        let RepositoryRequest::Referrers { artifact_type, .. } = request else {
            panic!("{request:?}")
        };
        assert_eq!(artifact_type.as_deref(), Some("application/vnd.example.v1+json"));
    }
}

#[test]
fn pages_are_read_with_any_count() {
    let page = |query: &str| match parse("GET", &format!("/v2/_catalog?{query}")) {
        Ok(RegistryRequest::Catalog { page }) => page,
        other => panic!("{other:?}"),
    };
    assert_eq!(page(""), Page::default());
    assert_eq!(
        page("n=0&last="),
        Page {
            n: Some(0),
            last: None
        }
    );
    assert_eq!(page("n=99999999999999999999999&last=a%2Fb").n, Some(usize::MAX));
    assert_eq!(page("n=10").limit(100, 1000), 10);
    assert_eq!(page("n=5000").limit(100, 1000), 1000);
    assert_eq!(page("").limit(100, 1000), 100);
}

#[test]
fn the_next_link_is_found_among_others() {
    assert_eq!(
        parse_next_link("</v2/a/b/tags/list?n=2&last=x>; rel=\"next\""),
        Some("/v2/a/b/tags/list?n=2&last=x")
    );
    assert_eq!(
        parse_next_link("</first>; rel=first, </next>; title=x; rel=next"),
        Some("/next")
    );
    assert_eq!(parse_next_link("</prev>; rel=\"prev\""), None);
    assert_eq!(parse_next_link("<<<>;rel"), None);
    assert_eq!(parse_next_link(""), None);
}

#[test]
fn every_request_knows_its_repository_and_the_actions_it_needs() {
    let actions = |method, url: &str| about(method, url).actions();
    assert_eq!(parse("GET", "/v2/").expect("a request").name(), None);
    assert_eq!(actions("GET", "/v2/alice.test/app/manifests/latest"), ["pull"]);
    assert_eq!(
        actions("PUT", "/v2/alice.test/app/manifests/latest"),
        ["pull", "push"]
    );
    assert_eq!(
        actions("DELETE", "/v2/alice.test/app/manifests/latest"),
        ["delete"]
    );
    assert_eq!(
        actions("POST", "/v2/alice.test/app/blobs/uploads/"),
        ["pull", "push"]
    );
    assert_eq!(
        parse("GET", "/v2/alice.test/app/tags/list")
            .expect("a request")
            .name(),
        Some(&name())
    );
    assert_eq!(parse("GET", "/v2/_catalog").expect("a request").name(), None);
}
