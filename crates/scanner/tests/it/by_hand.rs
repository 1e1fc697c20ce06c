//! `atcr-scanner scan` with the real tools.

use std::fs;

use serde_json::{Value, json};

use super::images::{Image, Layer, planted};
use super::planted::database;
use super::program::{Machine, RealTools};

#[tokio::test]
async fn the_planted_findings_are_found_and_the_documents_keep_no_secret_of_the_image() {
    let Some(tools) = RealTools::find() else { return };
    let machine = Machine::new(&tools);
    let layout = planted().write(&machine.path("layout"));
    let archive = database(&tools.grype, machine.folder.path(), "2026-11-20 10:00:00").await;
    let imported = machine.run(&["db", "import", archive.to_str().unwrap()]);
    assert!(imported.status.success(), "{imported:?}");

    let [spdx, cyclonedx, report] =
        ["spdx.json", "cyclonedx.json", "report.json"].map(|name| machine.path(name));
    let written = [
        "--spdx",
        spdx.to_str().unwrap(),
        "--cyclonedx",
        cyclonedx.to_str().unwrap(),
        "--report",
        report.to_str().unwrap(),
    ];
    let result = machine.scan(&layout, &written).unwrap();
    assert_eq!(result["state"], "complete");
    assert_eq!(
        result["summary"],
        json!({"critical": 1, "high": 1, "medium": 0, "low": 0, "total": 2})
    );
    assert_eq!(result["databaseBuilt"], "2026-11-20T10:00:00Z");
    let findings: Vec<(&str, &str, &Value, bool)> = result["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            (
                finding["id"].as_str().unwrap(),
                finding["package"].as_str().unwrap(),
                &finding["fixedIn"],
                finding["knownExploited"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        findings,
        [
            ("GHSA-aaaa-bbbb-0002", "planted-py", &json!(["1.0.1"]), true),
            ("CVE-2099-0001", "planted-deb", &json!(["1.0-2"]), false),
        ]
    );

    let spdx: Value = serde_json::from_slice(&fs::read(spdx).unwrap()).unwrap();
    assert_eq!(spdx["spdxVersion"], "SPDX-2.3");
    let names: Vec<&str> = spdx["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    assert!(
        names.contains(&"planted-deb") && names.contains(&"planted-py"),
        "{names:?}"
    );
    let cyclonedx: Value = serde_json::from_slice(&fs::read(cyclonedx).unwrap()).unwrap();
    assert_eq!(cyclonedx["bomFormat"], "CycloneDX");
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["matches"].as_array().unwrap().len(), 2);
    assert!(report["descriptor"].get("configuration").is_none());
    assert!(
        report["source"]["target"]
            .get("config")
            .is_none_or(Value::is_null)
    );
}

#[tokio::test]
async fn without_a_database_packages_are_listed_and_no_count_is_made_up() {
    let Some(tools) = RealTools::find() else { return };
    let machine = Machine::new(&tools);
    let layout = planted().write(&machine.path("layout"));
    let result = machine.scan(&layout, &[]).unwrap();
    assert_eq!(
        (&result["state"], &result["summary"], &result["packages"]),
        (&json!("sbom-only"), &Value::Null, &json!(2))
    );
    let table = machine.run(&["scan", "--oci-layout", layout.to_str().unwrap()]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("2 packages, not looked up: there is no vulnerability database"),
        "{table}"
    );
}

#[tokio::test]
async fn what_is_no_image_is_said_to_be_none() {
    let Some(tools) = RealTools::find() else { return };
    let machine = Machine::new(&tools);
    let layer = Layer::of(&[("chart.yaml", b"name: x")]);
    let chart = Image::edited(std::slice::from_ref(&layer), |_, manifest| {
        manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    });
    let statement = Image::edited(&[layer], |_, manifest| {
        manifest["layers"][0]["mediaType"] = json!("application/vnd.in-toto+json");
    });
    for (name, image, reason) in [
        ("chart", chart, "an artifact"),
        ("statement", statement, "an attestation"),
    ] {
        let result = machine.scan(&image.write(&machine.path(name)), &[]).unwrap();
        assert_eq!(
            (&result["state"], &result["reason"]),
            (&json!("not-applicable"), &json!(reason))
        );
    }
}

#[tokio::test]
async fn the_doctor_says_what_is_there_and_what_is_not() {
    let Some(tools) = RealTools::find() else { return };
    let mut machine = Machine::new(&tools);
    let healthy = machine.run(&["doctor", "--json"]);
    assert!(healthy.status.success(), "{healthy:?}");
    let checks: Value = serde_json::from_slice(&healthy.stdout).unwrap();
    let verdict = |checks: &Value, name: &str| {
        let found = checks
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["name"] == name);
        found.unwrap()["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(verdict(&checks, "tools"), "ok");
    assert_eq!(verdict(&checks, "database"), "warning");
    machine.set("SCANNER_SYFT_PATH", "/nowhere/syft");
    let broken = machine.run(&["doctor", "--json"]);
    assert!(!broken.status.success());
    let checks: Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert_eq!(verdict(&checks, "tools"), "failed");
}
