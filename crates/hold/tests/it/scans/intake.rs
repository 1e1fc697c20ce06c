//! What of a push is scanned.

use super::*;

#[tokio::test]
async fn of_an_index_its_images_are_scanned_and_what_is_no_image_is_noted_as_that() {
    let hold = start(true).await;
    let child = |name: &str, os: &str| {
        json!({
            "digest": digest_of(name), "size": 5, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "platform": { "os": os, "architecture": if os == "unknown" { "unknown" } else { "amd64" } },
        })
    };
    let index = json!({
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [child("amd64", "linux"), child("windows", "windows"), child("statement", "unknown")],
    });
    let captain = hold.captain.clone();
    let index = notify(&hold, &captain, "index", index).await;
    let chart = json!({ "layers": [{
        "digest": digest_of("chart"), "size": 5,
        "mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    }] });
    hold.place_blobs(&["chart"]);
    let chart = notify(&hold, &captain, "a chart", chart).await;
    let mut scanner = FakeScanner::ours(&hold, 9).await;
    let mut scanned = vec![scanner.job().await.digest, scanner.job().await.digest];
    assert!(scanner.settle().await.is_empty());
    scanned.sort();
    let mut images = vec![digest_of("amd64"), digest_of("windows")];
    images.sort();
    assert_eq!(scanned, images);
    for (digest, reason) in [
        (&index, "index"),
        (&digest_of("statement"), "attestation"),
        (&chart, "artifact"),
    ] {
        let view = told(&hold, digest).await;
        assert_eq!(
            (&view["job"]["state"], &view["job"]["reason"]),
            (&json!("not-applicable"), &json!(reason))
        );
    }
    hold.stop().await;
}

#[tokio::test]
async fn a_scanner_may_find_that_there_is_nothing_to_scan() {
    let hold = start(true).await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let digest = push(&hold, "looks like an image").await;
    let job = scanner.job().await;
    let result = json!({
        "type": "scan_result", "seq": job.seq, "digest": digest, "state": "not-applicable", "errorClass": "media-type",
    });
    scanner.say(result).await;
    let view = told(&hold, &digest).await;
    assert_eq!(
        (&view["job"]["state"], &view["job"]["reason"]),
        (&json!("not-applicable"), &json!("media-type"))
    );
    assert_eq!(view["result"], Value::Null);
    assert_eq!(scan_record(&hold, &digest).await, None);
    hold.stop().await;
}
