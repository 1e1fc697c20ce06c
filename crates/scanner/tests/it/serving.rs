//! `atcr-scanner serve` at a hold of ours and at an original one, played by the test.

mod hold;
mod rematches;

use std::process::{Child, Stdio};

use atcr_test_support::fakes::pds::FakePds;
use serde_json::{Value, json};

use self::hold::{Hold, Kind};
use super::images::{Image, planted, planted_layers};
use super::planted::database;
use super::program::{Machine, RealTools};

/// A running scanner; killed when dropped.
struct Serving(Child);

impl Serving {
    fn start(machine: &Machine) -> Self {
        let log = std::fs::File::create(machine.path("scanner.log")).unwrap();
        let child = machine
            .command(&["serve"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(child.unwrap())
    }

    fn terminate(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    async fn ended(mut self) -> std::process::ExitStatus {
        tokio::task::spawn_blocking(move || self.0.wait().unwrap())
            .await
            .unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A hold, an account with an image whose blobs the hold has, and a machine that scans for it.
struct Scene {
    hold: Hold,
    pds: FakePds,
    owner: String,
    machine: Machine,
}

impl Scene {
    async fn of(tools: &RealTools, kind: Kind) -> Self {
        let hold = Hold::start(kind).await;
        let pds = FakePds::start().await.unwrap();
        let owner = pds.add_account("alice.test", "password");
        let mut machine = Machine::new(tools);
        machine.set("SCANNER_HOLD_URL", &hold.url().replace("http://", "ws://"));
        machine.set("SCANNER_SHARED_SECRET", hold::SECRET);
        machine.set("SCANNER_PLC_DIRECTORY_URL", &pds.url());
        machine.set("SCANNER_VULN_DB_UPDATE_INTERVAL", "0s");
        Self {
            hold,
            pds,
            owner,
            machine,
        }
    }

    /// The image is in the account and its blobs at the hold.
    fn push(&self, image: &Image) {
        let bytes = image.manifest_bytes();
        let blob = atcr_atproto::data_model::cid_of(atcr_atproto::data_model::RAW, &bytes);
        let record = json!({
            "$type": "io.atcr.manifest",
            "repository": "app",
            "digest": image.digest.as_str(),
            "mediaType": image.manifest["mediaType"],
            "schemaVersion": 2,
            "createdAt": "2026-11-20T10:00:00.000Z",
            "holdDid": self.hold.did(),
            "manifestBlob": {"$type": "blob", "ref": {"$link": blob.to_string()}, "mimeType": image.manifest["mediaType"], "size": bytes.len()},
        });
        self.pds.put_blob(
            &self.owner,
            "application/vnd.oci.image.manifest.v1+json",
            bytes.into(),
        );
        self.pds
            .put_record(&self.owner, "io.atcr.manifest", image.digest.hex(), record);
        self.hold.put_blobs(&image.blobs);
    }

    fn job(&self, seq: u64, image: &Image) -> Value {
        self.hold.job(seq, image.digest.as_str(), &self.owner)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_private_hold_is_scanned_and_its_documents_are_uploaded_before_the_result() {
    let Some(tools) = RealTools::find() else { return };
    let scene = Scene::of(&tools, Kind::Ours).await;
    let archive = database(&tools.grype, scene.machine.folder.path(), "2026-11-20 10:00:00").await;
    assert!(
        scene
            .machine
            .run(&["db", "import", archive.to_str().unwrap()])
            .status
            .success()
    );
    let image = planted();
    scene.push(&image);
    let mut scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    assert_eq!(socket.query, "workers=2");
    let mut job = scene.job(7, &image);
    job["cyclonedx"] = json!(true);
    socket.send(&job).await;
    let result = socket.result().await;
    assert_eq!(
        (
            &result["seq"],
            &result["digest"],
            &result["state"],
            &result["uploaded"]
        ),
        (
            &json!(7),
            &json!(image.digest.as_str()),
            &json!("complete"),
            &json!(true)
        )
    );
    assert_eq!(
        result["summary"],
        json!({"critical": 1, "high": 1, "medium": 0, "low": 0, "total": 2})
    );
    assert_eq!(result["databaseBuilt"], "2026-11-20T10:00:00Z");
    assert!(result.get("sbom").is_none() && result.get("vulnReport").is_none());
    let uploads = scene.hold.uploads();
    let kinds: Vec<&str> = uploads.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["sbom", "sbom-cyclonedx", "sbom-syft", "vuln-report"]);
    let list: Value = serde_json::from_slice(&uploads["sbom-cyclonedx"]).unwrap();
    assert_eq!(list["bomFormat"], "CycloneDX");
    let sbom: Value = serde_json::from_slice(&uploads["sbom"]).unwrap();
    assert_eq!(sbom["spdxVersion"], "SPDX-2.3");
    // The config, with the image's environment, is in base64 in what the tools write.
    let config = data_encoding::BASE64.encode(&image.blobs[2].1[..60]);
    for document in uploads.values() {
        assert!(!String::from_utf8_lossy(document).contains(&config));
    }
    // Another image on the same layers, which are here already.
    let other = Image::edited(&planted_layers(), |config, _| {
        config["author"] = json!("bob");
    });
    scene.push(&other);
    socket.send(&scene.job(8, &other)).await;
    let result = socket.result().await;
    assert_eq!(
        (&result["seq"], &result["state"]),
        (&json!(8), &json!("complete"))
    );
    for layer in other.manifest["layers"].as_array().unwrap() {
        assert_eq!(scene.hold.times_asked_for(layer["digest"].as_str().unwrap()), 1);
    }
    // One in which nothing is recognised is not said to have no vulnerabilities.
    let nothing = Image::of(&[super::images::Layer::of(&[("app/readme.txt", b"no package")])]);
    scene.push(&nothing);
    socket.send(&scene.job(9, &nothing)).await;
    let result = socket.result().await;
    assert_eq!(
        (&result["seq"], &result["state"], &result["databaseBuilt"]),
        (&json!(9), &json!("sbom-only"), &json!("2026-11-20T10:00:00Z"))
    );
    scanner.terminate();
    assert!(scanner.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_hold_gets_both_documents_in_the_message_and_no_word_that_it_does_not_know() {
    let Some(tools) = RealTools::find() else { return };
    let scene = Scene::of(&tools, Kind::Original).await;
    let archive = database(&tools.grype, scene.machine.folder.path(), "2026-11-20 10:00:00").await;
    assert!(
        scene
            .machine
            .run(&["db", "import", archive.to_str().unwrap()])
            .status
            .success()
    );
    let image = planted();
    scene.push(&image);
    let _scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    socket.send(&json!({"type": "something_new"})).await;
    socket.send(&scene.job(7, &image)).await;
    let result = socket.next().await;
    assert_eq!(result["type"], "scan_result");
    for (field, mark) in [("sbom", "spdxVersion"), ("vulnReport", "matches")] {
        let bytes = data_encoding::BASE64
            .decode(result[field].as_str().unwrap().as_bytes())
            .unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(document.get(mark).is_some(), "{field}");
    }
    assert_eq!(result["summary"]["total"], 2);
    assert!(scene.hold.uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_fails_says_its_class_and_an_original_hold_never_hears_of_an_image_without_findings_that_was_not_looked_up()
 {
    let Some(tools) = RealTools::find() else { return };
    let scene = Scene::of(&tools, Kind::Ours).await;
    let good = planted();
    let swapped = planted().with_swapped(0, good.blobs[1].1.clone());
    scene.push(&swapped);
    let _scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    socket.send(&scene.job(1, &swapped)).await;
    let result = socket.result().await;
    assert_eq!(
        (&result["state"], &result["errorClass"]),
        (&json!("failed"), &json!("digest-mismatch"))
    );
    assert!(result["error"].as_str().unwrap().starts_with("digest-mismatch: "));
    // The same digest again, whole now: what was wrong was not kept.
    scene.hold.put_blobs(&good.blobs);
    socket.send(&scene.job(2, &good)).await;
    let result = socket.result().await;
    assert_eq!(
        (&result["seq"], &result["state"]),
        (&json!(2), &json!("sbom-only"))
    );
    drop(scene);

    let scene = Scene::of(&tools, Kind::Original).await;
    scene.push(&good);
    let _scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    socket.send(&scene.job(1, &good)).await;
    let error = socket.result().await["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("db: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_made_again_behind_what_is_done_and_the_result_arrives_over_the_next() {
    let Some(tools) = RealTools::find() else { return };
    let scene = Scene::of(&tools, Kind::Ours).await;
    let image = planted();
    scene.push(&image);
    let _scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    // Layers come when the connection is gone.
    scene.hold.hold_blobs_back();
    socket.send(&scene.job(5, &image)).await;
    scene.hold.blob_is_asked_for().await;
    drop(socket);
    let mut socket = scene.hold.connected().await;
    assert_eq!(socket.query, "cursor=4&workers=2");
    // The hold gives it out again; it is under way already.
    socket.send(&scene.job(6, &image)).await;
    // Only when the job has arrived may the scan end, or it would be a second one.
    socket.ping().await;
    scene.hold.let_blobs_through();
    let result = socket.result().await;
    assert_eq!(
        (&result["seq"], &result["state"]),
        (&json!(6), &json!("sbom-only"))
    );
    assert_eq!(scene.pds.count("com.atproto.sync.getBlob"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_handed_out_again_while_its_documents_are_sent_is_answered_under_its_last_number() {
    let Some(tools) = RealTools::find() else { return };
    let scene = Scene::of(&tools, Kind::Ours).await;
    let image = planted();
    scene.push(&image);
    let _scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    scene.hold.hold_uploads_back();
    socket.send(&scene.job(5, &image)).await;
    scene.hold.upload_begins().await;
    socket.send(&scene.job(6, &image)).await;
    socket.ping().await;
    scene.hold.let_uploads_through();
    let result = socket.result().await;
    assert_eq!(
        (&result["seq"], &result["state"], &result["uploaded"]),
        (&json!(6), &json!("sbom-only"), &json!(true))
    );
    assert_eq!(scene.hold.upload_jobs(), ["5", "6"]);
    // It was scanned once.
    assert_eq!(scene.pds.count("com.atproto.sync.getBlob"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_a_crash_has_damaged_is_fetched_again() {
    let Some(tools) = RealTools::find() else { return };
    let scene = Scene::of(&tools, Kind::Ours).await;
    let image = planted();
    scene.push(&image);
    let mut scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    socket.send(&scene.job(1, &image)).await;
    assert_eq!(socket.result().await["state"], "sbom-only");
    scanner.terminate();
    assert!(scanner.ended().await.success());

    let layers = scene.machine.path("tmp/atcr-scanner/layers");
    let named = |layer: usize| {
        image.manifest["layers"][layer]["digest"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let kept = |layer: usize| layers.join(named(layer).replace(':', "-"));
    // One of the same length, one that ends early, and facts without a layer.
    let mut bytes = std::fs::read(kept(0)).unwrap();
    bytes.fill(0);
    std::fs::write(kept(0), bytes).unwrap();
    let bytes = std::fs::read(kept(1)).unwrap();
    std::fs::write(kept(1), &bytes[..bytes.len() / 2]).unwrap();
    let orphan = layers.join(format!("sha256-{}.json", "0".repeat(64)));
    std::fs::write(&orphan, b"{}").unwrap();

    let _scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    socket.send(&scene.job(2, &image)).await;
    assert_eq!(socket.result().await["state"], "sbom-only");
    assert_eq!(
        [0, 1].map(|layer| scene.hold.times_asked_for(&named(layer))),
        [2, 2]
    );
    let sbom = String::from_utf8(scene.hold.uploads()["sbom"].clone()).unwrap();
    assert!(sbom.contains("planted-deb") && sbom.contains("planted-py"));
    assert!(!orphan.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_slow_is_no_fault_of_the_image() {
    let Some(tools) = RealTools::find() else { return };
    let mut scene = Scene::of(&tools, Kind::Ours).await;
    scene.machine.set("SCANNER_JOB_TIMEOUT", "30s");
    let image = planted();
    scene.push(&image);
    scene.hold.slow_down();
    let _scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    socket.send(&scene.job(1, &image)).await;
    let result = socket.result().await;
    assert_eq!(result["errorClass"], "fetch", "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_that_stops_gives_back_what_it_has_and_what_waits_and_ends_well() {
    let Some(tools) = RealTools::find() else { return };
    let mut scene = Scene::of(&tools, Kind::Ours).await;
    scene.machine.set("SCANNER_WORKERS", "1");
    scene.machine.set("SCANNER_QUEUE_SIZE", "1");
    let images: Vec<Image> = (0..3)
        .map(|at| Image::of(&[super::images::Layer::of(&[("a", &[at])])]))
        .collect();
    for image in &images {
        scene.push(image);
    }
    scene.hold.hold_blobs_back();
    let mut scanner = Serving::start(&scene.machine);
    let mut socket = scene.hold.connected().await;
    assert_eq!(socket.query, "workers=1");
    socket.send(&scene.job(1, &images[0])).await;
    scene.hold.blob_is_asked_for().await;
    socket.send(&scene.job(2, &images[1])).await;
    // There is room for one that waits.
    socket.send(&scene.job(3, &images[2])).await;
    let refused = socket.next().await;
    assert_eq!(
        (&refused["type"], &refused["seq"]),
        (&json!("scan_release"), &json!(3))
    );
    scanner.terminate();
    let mut released = [socket.next().await, socket.next().await].map(|message| {
        assert_eq!(message["type"], "scan_release");
        message["seq"].as_u64().unwrap()
    });
    released.sort_unstable();
    assert_eq!(released, [1, 2]);
    assert!(socket.is_closed().await);
    assert!(scanner.ended().await.success());
    scene.machine.left_nothing();
}

#[tokio::test]
async fn a_secret_that_is_wrong_and_settings_that_are_missing_are_said() {
    let Some(tools) = RealTools::find() else { return };
    let mut scene = Scene::of(&tools, Kind::Ours).await;
    scene.machine.set("SCANNER_SHARED_SECRET", "wrong");
    let url = scene.hold.url();
    let doctor = {
        let mut command = scene.machine.command(&["doctor"]);
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    };
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        !doctor.status.success() && said.contains(&format!("{url}/ refuses the shared secret")),
        "{said}"
    );
    scene.machine.set("SCANNER_SHARED_SECRET", "");
    let output = scene.machine.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("SCANNER_SHARED_SECRET: required"),
        "{said}"
    );
    scene.machine.set("SCANNER_WORKERS", "many");
    let output = scene.machine.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("SCANNER_WORKERS must be a whole number"), "{said}");
}
