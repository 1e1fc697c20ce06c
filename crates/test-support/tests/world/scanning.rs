//! What is pushed is scanned by the real tools, and what they found is everywhere: record, API, page, helper.

#[path = "../../../scanner/tests/it/planted.rs"]
#[expect(clippy::unwrap_used, reason = "it is another crate's test code")]
mod planted;

use std::path::Path;
use std::time::Duration;

use atcr_test_support::docker_engine::Engine;
use atcr_test_support::network::{Ports, ScannerOptions};
use atcr_test_support::tools::{GoTool, Workspace};
use serde_json::{Value, json};

use crate::docker::repo_digest;
use crate::sign_in::Helper;
use crate::{World, client, run};

/// How long a scan may take from the push on.
const SCAN_TIME: Duration = Duration::from_mins(2);

const OS_RELEASE: &str = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";

/// Writes a build context: a Debian package, a Python package, and a program of Go modules.
fn context(folder: &Path, debian: &str, python: &str) {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write("etc/os-release", OS_RELEASE.to_owned());
    write(
        "dpkg/status",
        format!(
            "Package: planted-deb\nStatus: install ok installed\nMaintainer: none\nArchitecture: amd64\n\
             Source: planted-src ({debian})\nVersion: {debian}+b1\nDescription: planted\n\n"
        ),
    );
    write(
        "python/METADATA",
        format!("Metadata-Version: 2.1\nName: planted-py\nVersion: {python}\nLicense: MIT\n"),
    );
    write(
        "python/RECORD",
        format!("planted_py-{python}.dist-info/METADATA,,\n"),
    );
    std::fs::copy(
        GoTool::ORAS.installed().expect("a program"),
        folder.join("program"),
    )
    .expect("a file");
    let packages = format!("/usr/lib/python3/dist-packages/planted_py-{python}.dist-info/");
    write(
        "Dockerfile",
        format!(
            "FROM scratch\nCOPY etc/os-release /etc/os-release\nCOPY dpkg/status /var/lib/dpkg/status\n\
             COPY program /usr/bin/program\nCOPY python {packages}\n"
        ),
    );
}

/// The record of the scan of `digest`, as soon as there is one.
async fn record(world: &World, digest: &str) -> Value {
    let hold = &world.network.file().hold;
    let key = digest.trim_start_matches("sha256:");
    let url = format!(
        "{}/xrpc/com.atproto.repo.getRecord?repo={}&collection=io.atcr.hold.scan&rkey={key}",
        hold.url,
        hold.did.replace('%', "%25")
    );
    let waiting = async {
        loop {
            let answer = client().get(&url).send().await.expect("an answer");
            if answer.status().is_success() {
                let record: Value = answer.json().await.expect("a record");
                return record["value"].clone();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let scanned = tokio::time::timeout(SCAN_TIME, waiting).await;
    scanned.unwrap_or_else(|_| panic!("{digest} is not scanned in {SCAN_TIME:?}"))
}

/// What the registry says of the scan of `digest`.
async fn details(world: &World, digest: &str, accept: &str) -> String {
    let url = format!(
        "{}/api/vuln-details?owner=alice.test&repository=app&digest={digest}",
        world.appview()
    );
    let answer = client()
        .get(url)
        .header("accept", accept)
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.text().await.expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_vulnerable_in_a_pushed_image_is_found_and_told_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let workspace = Workspace::locate().expect("the workspace");
    let (syft, grype) = (GoTool::SYFT.path(&workspace), GoTool::GRYPE.path(&workspace));
    let database = planted::database(&grype, folder.path(), "2026-11-20 10:00:00").await;
    let world = World::start_with(|options| {
        options.scanner = Some(ScannerOptions {
            syft,
            grype,
            port: Ports::free().expect("a port").plc,
            database: Some(database),
        });
    })
    .await;
    let engine = Engine::find_or_start(&world.folder("docker"), &mut |line| println!("{line}"))
        .expect("a folder")
        .expect("a Docker engine: `cargo xtask test` installs one");
    let registry = world.registry();
    let alice = world.account("alice.test").clone();
    engine
        .login(&registry, &alice.handle, &alice.app_password)
        .expect("login");
    let mut digests = Vec::new();
    for (tag, debian, python) in [("1", "1.0-1", "1.0.0"), ("2", "1.0-2", "1.0.1")] {
        let image = format!("{registry}/alice.test/app:{tag}");
        let sources = world.folder(&format!("context-{tag}"));
        context(&sources, debian, python);
        engine
            .run(&["build", "--tag", &image, &sources.to_string_lossy()])
            .expect("build");
        engine.run(&["push", &image]).expect("push");
        digests.push(repo_digest(&engine, &image));
    }

    // The record of the hold.
    let found = record(&world, &digests[0]).await;
    let counts = |record: &Value| ["critical", "high", "medium", "total"].map(|name| record[name].clone());
    assert_eq!(
        counts(&found),
        [json!(1), json!(1), json!(1), json!(3)],
        "{found}"
    );
    let fixed = record(&world, &digests[1]).await;
    assert_eq!(
        counts(&fixed),
        [json!(0), json!(0), json!(1), json!(1)],
        "{fixed}"
    );
    assert_eq!(found["userDid"], json!(alice.did));
    assert!(
        found["sbomBlob"]["size"].is_u64() && found["vulnReportBlob"]["size"].is_u64(),
        "{found}"
    );

    // The registry, to programs and to people.
    let said: Value =
        serde_json::from_str(&details(&world, &digests[0], "application/json").await).expect("JSON");
    let ids: Vec<_> = said["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|found| &found["id"])
        .collect();
    assert_eq!(
        ids,
        ["GHSA-aaaa-bbbb-0002", "CVE-2099-0001", "GHSA-aaaa-bbbb-0003"],
        "{said}"
    );
    assert_eq!(
        (
            &said["databaseBuilt"],
            &said["findings"][0]["fixedIn"],
            &said["findings"][0]["knownExploited"]
        ),
        (&json!("2026-11-20T10:00:00Z"), &json!(["1.0.1"]), &json!(true))
    );
    let page = details(&world, &digests[0], "text/html").await;
    for part in [
        "CVE-2099-0001",
        "planted-py",
        "oras.land/oras-go/v2",
        "used in attacks",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }

    // The helper, in a pipeline.
    let helper = Helper::new(&world);
    let scan = |tag: &str, more: &[&str]| {
        let image = format!("{registry}/alice.test/app:{tag}");
        let mut command = helper.command();
        let ran = run(command
            .args(["scan", &image, "--fail-on", "high", "--only-fixed"])
            .args(more));
        (ran.success, ran.text)
    };
    let (passes, text) = scan("1", &[]);
    assert!(!passes && text.contains("2 findings are high or worse"), "{text}");
    assert!(
        text.contains("GHSA-aaaa-bbbb-0002") && text.contains("planted-deb"),
        "{text}"
    );
    let (passes, text) = scan("2", &["--json"]);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(passes && report["judgement"] == "pass", "{text}");
    println!("{text}");
}
