//! Packages that were listed before are looked up again, without the image.

use super::*;

async fn import(scene: &Scene, tools: &RealTools, built: &str) {
    let archive = database(&tools.grype, scene.machine.folder.path(), built).await;
    let imported = scene.machine.run(&["db", "import", archive.to_str().unwrap()]);
    assert!(imported.status.success(), "{imported:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_looked_up_in_the_newer_database_and_only_the_report_is_uploaded() {
    let Some(tools) = RealTools::find() else { return };
    let scene = Scene::of(&tools, Kind::Ours).await;
    import(&scene, &tools, "2026-11-20 10:00:00").await;
    let image = planted();
    scene.push(&image);
    let mut scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    assert_eq!(socket.database().await, "2026-11-20T10:00:00Z");
    socket.send(&scene.job(1, &image)).await;
    let scanned = socket.result().await;
    assert_eq!(scanned["state"], "complete");
    let list = scene.hold.uploads()["sbom-syft"].clone();
    scanner.terminate();
    assert!(scanner.ended().await.success());

    scene.hold.forget_uploads();
    import(&scene, &tools, "2026-11-25 10:00:00").await;
    let _scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    assert_eq!(socket.database().await, "2026-11-25T10:00:00Z");
    let manifests_read = || scene.pds.count("com.atproto.sync.getBlob");
    assert_eq!(manifests_read(), 1);
    socket
        .send(&scene.hold.with_list(scene.job(2, &image), Some(&list)))
        .await;
    let result = socket.result().await;
    assert_eq!(
        (&result["seq"], &result["state"], &result["uploaded"]),
        (&json!(2), &json!("complete"), &json!(true))
    );
    assert_eq!(result["databaseBuilt"], "2026-11-25T10:00:00Z");
    assert_eq!(result["summary"], scanned["summary"]);
    let uploads = scene.hold.uploads();
    assert_eq!(uploads.keys().collect::<Vec<_>>(), ["vuln-report"]);
    assert!(String::from_utf8_lossy(&uploads["vuln-report"]).contains("GHSA-aaaa-bbbb-0002"));
    assert_eq!((manifests_read(), scene.hold.times_asked_for_lists()), (1, 1));

    // One that another Syft made, one that is none, and one that is gone: the image is scanned.
    let mut other: Value = serde_json::from_slice(&list).unwrap();
    other["descriptor"]["version"] = json!("0.0.1");
    let other = other.to_string();
    for (round, list) in [Some(other.as_bytes()), Some(b"{"), None].into_iter().enumerate() {
        scene.hold.forget_uploads();
        let seq = 3 + round as u64;
        socket
            .send(&scene.hold.with_list(scene.job(seq, &image), list))
            .await;
        let result = socket.result().await;
        assert_eq!(
            (&result["seq"], &result["state"]),
            (&json!(seq), &json!("complete"))
        );
        assert!(scene.hold.uploads().contains_key("sbom"), "{round}");
        assert_eq!(manifests_read(), 2 + round);
    }
    scene.machine.left_nothing();
}
