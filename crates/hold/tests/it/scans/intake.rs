//! What of a push is scanned.

use atcr_hold::adapters::sqlite;

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

#[tokio::test]
async fn a_push_that_cannot_be_queued_is_refused_and_counted_when_it_comes_again() {
    let hold = start(true).await;
    let database = sqlite::open(&hold.data_dir().join("hold.sqlite"))
        .await
        .expect("open");
    let rename = async |from: &str, to: &str| {
        sqlx::query(sqlx::AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}")))
            .execute(database.writer())
            .await
            .expect("renamed");
    };
    rename("scan_jobs", "away").await;
    let digest = digest_of("image");
    let input = json!({
        "repository": "app", "userDid": hold.captain.did, "manifestDigest": digest, "operation": "push",
        "manifest": { "layers": [] },
    });
    let tell = || hold.call("io.atcr.hold.notifyManifest", Some(&hold.captain), &input);
    assert_eq!(tell().await.status, 503);
    rename("away", "scan_jobs").await;
    tell().await.ok();
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    assert_eq!(scanner.job().await.digest, digest);
    let pushes: i64 = sqlx::query_scalar("SELECT SUM(pushes) FROM counts")
        .fetch_one(database.readers())
        .await
        .expect("a sum");
    assert_eq!(pushes, 1);
    hold.stop().await;
}

#[tokio::test]
async fn a_push_again_does_not_end_the_rest_of_a_failed_scan() {
    let hold = start(true).await;
    let digest = push(&hold, "image").await;
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let job = scanner.job().await;
    scanner.say(failure(&job, "fetch")).await;
    push(&hold, "image").await;
    let view = told(&hold, &digest).await;
    assert_eq!(
        (&view["job"]["state"], &view["job"]["tries"]),
        (&json!("resting"), &json!(1))
    );
    hold.stop().await;
}

#[tokio::test]
async fn crew_members_take_turns_however_much_one_pushed_before() {
    let hold = start(true).await;
    let many = hold.crew("many", &["blob:write"]).await;
    let few = hold.crew("few", &["blob:write"]).await;
    let mut of_many = Vec::new();
    for number in 0..5 {
        of_many.push(push_by(&hold, &many, &format!("image {number}")).await);
    }
    let mut scanner = FakeScanner::ours(&hold, 1).await;
    let mut next = async |job: Option<ScanJob>| {
        let job = match job {
            Some(job) => scanner.say(failure(&job, "tool")).await.pop(),
            None => None,
        };
        match job {
            Some(job) => job,
            None => scanner.job().await,
        }
    };
    let first = next(None).await;
    assert_eq!(first.digest, of_many[0]);
    let second = next(Some(first)).await;
    assert_eq!(second.digest, of_many[1]);
    let of_few = [
        push_by(&hold, &few, "theirs").await,
        push_by(&hold, &few, "theirs too").await,
    ];
    let mut order = Vec::new();
    let mut job = second;
    for _ in 0..5 {
        job = next(Some(job)).await;
        order.push(job.digest.clone());
    }
    let place = |digest: &Digest| order.iter().position(|done| done == digest).expect("done");
    assert!(place(&of_few[0]) < place(&of_many[3]), "{order:?}");
    assert!(place(&of_few[1]) < place(&of_many[4]), "{order:?}");
    assert!(place(&of_many[2]) < place(&of_few[1]), "{order:?}");
    hold.stop().await;
}

#[tokio::test]
async fn one_account_has_so_many_waiting_images_and_no_more() {
    let hold = start(true).await;
    let many = hold.crew("many", &["blob:write"]).await;
    let children: Vec<_> = (0..4096)
        .map(|number| {
            json!({
                "digest": digest_of(&number.to_string()), "size": 5,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
            })
        })
        .collect();
    let index = json!({
        "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children,
    });
    notify(&hold, &many, "index", index).await;
    assert_eq!(job_state(&hold, &digest_of("0")).await, "ready");
    assert_eq!(job_state(&hold, &digest_of("999")).await, "ready");
    assert_eq!(job_state(&hold, &digest_of("1000")).await, "none");
    let other = hold.crew("other", &["blob:write"]).await;
    let theirs = push_by(&hold, &other, "theirs").await;
    assert_eq!(job_state(&hold, &theirs).await, "ready");
    hold.stop().await;
}
