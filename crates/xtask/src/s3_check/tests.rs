use atcr_test_support::network::S3Storage;

use super::{Answer, judge, require_reachable_url};

fn refused(endpoint: &str) -> String {
    match require_reachable_url(endpoint) {
        Ok(()) => String::new(),
        Err(error) => format!("{error:#}"),
    }
}

fn judged(status: u16, code: &str) -> String {
    let storage = S3Storage {
        endpoint: "http://127.0.0.1:9000".to_owned(),
        bucket: "layers".to_owned(),
        region: "us-east-1".to_owned(),
        access_key: "access".to_owned(),
        secret_key: "the secret".to_owned(),
    };
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    match judge(&storage, &Answer::Http { status, body }) {
        Ok(()) => String::new(),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn plain_http_is_for_this_machine_only() {
    for endpoint in [
        "http://127.0.0.1:9000",
        "http://localhost:9000",
        "http://s3.localhost:9000",
        "http://[::1]:9000",
    ] {
        assert_eq!(refused(endpoint), "", "{endpoint}");
    }
    for endpoint in [
        "http://10.0.0.7:9000",
        "http://minio.example:9000",
        "http://localhost.example",
    ] {
        assert!(refused(endpoint).contains("plain http"), "{endpoint}");
    }
}

#[test]
fn https_is_not_for_private_addresses() {
    for endpoint in ["https://10.0.0.7:9000", "https://[fd00::1]"] {
        assert!(refused(endpoint).contains("private address"), "{endpoint}");
    }
    assert_eq!(refused("https://93.184.216.34"), "");
}

#[test]
fn what_is_no_url_is_refused() {
    for endpoint in ["127.0.0.1:9000", "localhost:9000", "s3://bucket", ""] {
        assert!(refused(endpoint).contains("is no URL"), "{endpoint}");
    }
}

#[test]
fn each_refusal_of_the_server_names_the_option_to_correct() {
    assert_eq!(judged(200, ""), "");
    for (status, code, option) in [
        (404, "NoSuchBucket", "--s3-bucket"),
        (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        (404, "XAdminUserNotFound", "AWS_ACCESS_KEY_ID"),
        (400, "AuthorizationHeaderMalformed", "--s3-region"),
        (301, "PermanentRedirect", "--s3-region"),
        (503, "SlowDown", "503"),
    ] {
        let text = judged(status, code);
        assert!(text.contains(option), "{code}: {text}");
        assert!(!text.contains("the secret"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
