//! Requests that ask for what cannot be, each with the status and code it must get.

use atcr_oci::{Algorithm, Digest, ErrorCode, RegistryRequest, UploadSessionId};

/// Status and code of a refusal; an accepted request shows as status 200.
fn refusal(method: &str, url: &str) -> (u16, ErrorCode) {
    let (path, query) = url
        .split_once('?')
        .map_or((url, None), |(path, query)| (path, Some(query)));
    match RegistryRequest::parse(method, path, query) {
        Ok(_) => (200, ErrorCode::Unknown),
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < 200, "{message}");
            (error.status(), error.code())
        }
    }
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"content")
}

#[test]
fn path_traversal_is_an_invalid_name_or_no_endpoint() {
    let invalid_name = (400, ErrorCode::NameInvalid);
    for url in [
        "/v2/../../etc/passwd/manifests/latest",
        "/v2/alice.test/../bob.test/app/manifests/latest",
        "/v2/alice.test/./app/manifests/latest",
        "/v2/alice.test//app/manifests/latest",
        "/v2//alice.test/app/manifests/latest",
        "/v2/alice.test/app//manifests/latest",
        "/v2/alice.test/%2e%2e/app/manifests/latest",
        "/v2/alice.test/..%2fapp/tags/list",
        "/v2/alice.test\\app/x/tags/list",
        "/v2/alice.test/app\0/tags/list",
    ] {
        assert_eq!(refusal("GET", url), invalid_name, "{url:?}");
    }
    let no_endpoint = (404, ErrorCode::Unsupported);
    for url in [
        "/v2/alice.test/app/manifests/../../blobs",
        "/v2/alice.test/app/blobs/uploads/../x",
        "/v2/../v2/",
        "/v1/",
        "/",
        "",
        "/v2/alice.test",
        "/v2/alice.test/app",
        "/v2/alice.test/app/tags/lists",
        "/v2/alice.test/app/tags/list/",
        "/v2/alice.test/app/%6danifests/latest",
        "/v2/_catalog/",
        "/v22/",
    ] {
        assert_eq!(refusal("GET", url), no_endpoint, "{url:?}");
    }
    assert_eq!(
        refusal("GET", "/v2/alice.test/app/manifests/.."),
        (404, ErrorCode::ManifestUnknown)
    );
    assert_eq!(
        refusal("GET", "/v2/alice.test/app/blobs/.."),
        (400, ErrorCode::DigestInvalid)
    );
    assert_eq!(
        refusal("PATCH", "/v2/alice.test/app/blobs/uploads/.."),
        (404, ErrorCode::BlobUploadUnknown)
    );
}

#[test]
fn encoded_slashes_never_become_separators() {
    for url in [
        "/v2/alice.test%2fapp/manifests/latest",
        "/v2/alice.test/app%2Fteam/manifests/latest",
        "/v2/alice.test/app%252fteam/manifests/latest",
        "/v2/alice.test/%61pp/manifests/latest",
    ] {
        assert_eq!(refusal("GET", url), (400, ErrorCode::NameInvalid), "{url}");
    }
    assert_eq!(
        refusal("GET", "/v2/alice.test/app/manifests/a%2fb"),
        (404, ErrorCode::ManifestUnknown)
    );
    assert_eq!(
        refusal("PUT", "/v2/alice.test/app/manifests/a%2fb"),
        (400, ErrorCode::ManifestInvalid)
    );
    assert_eq!(
        refusal("GET", "/v2/alice.test/app/manifests/a%ffb"),
        (404, ErrorCode::ManifestUnknown)
    );
    assert_eq!(
        refusal("GET", "/v2/alice.test/app/blobs/..%2f..%2fx"),
        (400, ErrorCode::DigestInvalid)
    );
    let sneaky = format!(
        "/v2/alice.test/app/blobs/uploads/x%2f{}",
        UploadSessionId::from_bytes(&[1; 32])
    );
    assert_eq!(refusal("GET", &sneaky), (404, ErrorCode::BlobUploadUnknown));
}

#[test]
fn names_against_the_grammar_are_invalid() {
    let long = format!("/v2/alice.test/{}/tags/list", "a".repeat(300));
    for url in [
        "/v2/Alice.test/app/manifests/latest",
        "/v2/alice.test/App/manifests/latest",
        "/v2/alice.test/ap p/manifests/latest",
        "/v2/did:plc:abc/app/manifests/latest",
        "/v2/-alice/app/manifests/latest",
        "/v2/alice-/app/manifests/latest",
        "/v2/alice..test/app/manifests/latest",
        "/v2/alice___test/app/manifests/latest",
        "/v2/alice.test/äpp/manifests/latest",
        &long,
    ] {
        assert_eq!(refusal("GET", url), (400, ErrorCode::NameInvalid), "{url}");
    }
}

#[test]
fn a_name_without_an_identity_is_unknown() {
    assert_eq!(
        refusal("GET", "/v2/ubuntu/manifests/latest"),
        (404, ErrorCode::NameUnknown)
    );
    assert_eq!(
        refusal("POST", "/v2/ubuntu/blobs/uploads/"),
        (404, ErrorCode::NameUnknown)
    );
}

#[test]
fn bad_digests_are_invalid_wherever_they_stand() {
    let good = digest();
    let hex = good.hex().to_owned();
    let long = "a".repeat(5000);
    let invalid = (400, ErrorCode::DigestInvalid);
    for bad in [
        "sha256:baddigeststring".to_owned(),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("sha512:{hex}"),
        format!("sha384:{hex}"),
        format!("sha256:{hex}%00"),
        format!("sha256:{hex}:{hex}"),
        "sha256:".to_owned(),
        ":".to_owned(),
        format!("sha256:{long}"),
    ] {
        let session = UploadSessionId::from_bytes(&[1; 32]);
        for (method, url) in [
            ("GET", format!("/v2/alice.test/app/blobs/{bad}")),
            ("GET", format!("/v2/alice.test/app/manifests/{bad}")),
            ("PUT", format!("/v2/alice.test/app/manifests/{bad}")),
            ("GET", format!("/v2/alice.test/app/referrers/{bad}")),
            ("POST", format!("/v2/alice.test/app/blobs/uploads/?digest={bad}")),
            (
                "POST",
                format!("/v2/alice.test/app/blobs/uploads/?mount={bad}&from=alice.test/other"),
            ),
            (
                "PUT",
                format!("/v2/alice.test/app/blobs/uploads/{session}?digest={bad}"),
            ),
        ] {
            assert_eq!(refusal(method, &url), invalid, "{method} {url}");
        }
    }
    let session = UploadSessionId::from_bytes(&[1; 32]);
    assert_eq!(
        refusal("PUT", &format!("/v2/alice.test/app/blobs/uploads/{session}")),
        invalid
    );
    assert_eq!(
        refusal(
            "PUT",
            &format!("/v2/alice.test/app/blobs/uploads/{session}?digest=")
        ),
        invalid
    );
}

#[test]
fn bad_tags_are_unknown_when_read_and_invalid_when_written() {
    let long = "a".repeat(129);
    for bad in [".hidden", "-x", "", "a b", "a~b", "ä", long.as_str()] {
        let url = format!("/v2/alice.test/app/manifests/{bad}");
        assert_eq!(refusal("GET", &url), (404, ErrorCode::ManifestUnknown), "{bad}");
        assert_eq!(refusal("HEAD", &url), (404, ErrorCode::ManifestUnknown), "{bad}");
        assert_eq!(
            refusal("DELETE", &url),
            (404, ErrorCode::ManifestUnknown),
            "{bad}"
        );
        assert_eq!(refusal("PUT", &url), (400, ErrorCode::ManifestInvalid), "{bad}");
        let url = format!("/v2/alice.test/app/manifests/{}?tag=ok&tag={bad}", digest());
        assert_eq!(refusal("PUT", &url), (400, ErrorCode::ManifestInvalid), "{bad}");
    }
}

#[test]
fn too_many_tags_are_a_uri_too_long() {
    let many: Vec<String> = (0..101).map(|n| format!("tag=v{n}")).collect();
    let url = format!("/v2/alice.test/app/manifests/{}?{}", digest(), many.join("&"));
    assert_eq!(refusal("PUT", &url), (414, ErrorCode::Unsupported));
}

#[test]
fn sessions_of_another_form_are_unknown() {
    let short = "a".repeat(42);
    let padded = format!("{}=", UploadSessionId::from_bytes(&[1; 32]));
    // The last character of 32 bytes carries two bits that must be zero.
    let non_canonical = format!("{}B", "A".repeat(42));
    for session in [
        "x",
        "00000000-0000-0000-0000-000000000000",
        &short,
        &padded,
        &non_canonical,
    ] {
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            let url = format!("/v2/alice.test/app/blobs/uploads/{session}?digest={}", digest());
            assert_eq!(
                refusal(method, &url),
                (404, ErrorCode::BlobUploadUnknown),
                "{session}"
            );
        }
    }
}

#[test]
fn a_parameter_given_twice_is_refused() {
    let digest = digest();
    for (method, url) in [
        (
            "POST",
            format!("/v2/alice.test/app/blobs/uploads/?digest={digest}&digest={digest}"),
        ),
        (
            "POST",
            format!("/v2/alice.test/app/blobs/uploads/?digest={digest}&%64igest={digest}"),
        ),
        (
            "POST",
            format!("/v2/alice.test/app/blobs/uploads/?mount={digest}&from=a.test/b&from=a.test/c"),
        ),
        ("GET", "/v2/alice.test/app/tags/list?n=1&n=2".to_owned()),
        (
            "GET",
            format!("/v2/alice.test/app/referrers/{digest}?artifactType=a/b&artifactType=a/c"),
        ),
    ] {
        assert_eq!(refusal(method, &url), (400, ErrorCode::Unsupported), "{url}");
    }
}

#[test]
fn malformed_parameters_are_refused() {
    let long = "a".repeat(300);
    for url in [
        "/v2/_catalog?n=-1".to_owned(),
        "/v2/_catalog?n=+1".to_owned(),
        "/v2/_catalog?n=ten".to_owned(),
        "/v2/_catalog?n=".to_owned(),
        "/v2/_catalog?last=%00".to_owned(),
        format!("/v2/alice.test/app/tags/list?last={long}"),
        format!("/v2/alice.test/app/referrers/{}?artifactType=a%0ab", digest()),
        format!("/v2/alice.test/app/referrers/{}?artifactType={long}", digest()),
    ] {
        assert_eq!(refusal("GET", &url), (400, ErrorCode::Unsupported), "{url}");
    }
    assert_eq!(
        refusal("POST", "/v2/alice.test/app/blobs/uploads/?digest-algorithm=md5"),
        (400, ErrorCode::Unsupported)
    );
    let url = format!("/v2/alice.test/app/blobs/uploads/?mount={}&from=../x", digest());
    assert_eq!(refusal("POST", &url), (400, ErrorCode::NameInvalid));
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let session = UploadSessionId::from_bytes(&[1; 32]);
    for (method, url, allow) in [
        ("POST", "/v2/".to_owned(), "GET, HEAD"),
        ("DELETE", "/v2/_catalog".to_owned(), "GET, HEAD"),
        (
            "PATCH",
            "/v2/alice.test/app/manifests/latest".to_owned(),
            "GET, HEAD, PUT, DELETE",
        ),
        (
            "PUT",
            format!("/v2/alice.test/app/blobs/{}", digest()),
            "GET, HEAD, DELETE",
        ),
        ("GET", "/v2/alice.test/app/blobs/uploads/".to_owned(), "POST"),
        (
            "POST",
            format!("/v2/alice.test/app/blobs/uploads/{session}"),
            "GET, HEAD, PATCH, PUT, DELETE",
        ),
        ("PUT", "/v2/alice.test/app/tags/list".to_owned(), "GET, HEAD"),
        (
            "DELETE",
            format!("/v2/alice.test/app/referrers/{}", digest()),
            "GET, HEAD",
        ),
        ("get", "/v2/".to_owned(), "GET, HEAD"),
    ] {
        let path = url.as_str();
        let error = RegistryRequest::parse(method, path, None).expect_err(path);
        assert_eq!(
            (error.status(), error.code(), error.allow()),
            (405, ErrorCode::Unsupported, Some(allow)),
            "{path}"
        );
    }
}
