//! `usage-report`.

use atcr_test_support::fakes::FakePds;
use serde_json::{Value, json};

use crate::{Run, atcr};

const TIME: &str = "2026-01-02T03:04:05Z";

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

struct Network {
    pds: FakePds,
    hold: String,
    alice: String,
    bob: String,
}

impl Network {
    /// A hold whose records are in a PDS, and two accounts.
    async fn new() -> Self {
        let pds = FakePds::start().await.unwrap();
        let hold = pds.add_account("hold.test", "password");
        let alice = pds.add_account("alice.test", "password");
        let bob = pds.add_account("bob.test", "password");
        let captain = json!({
            "$type": "io.atcr.hold.captain", "owner": alice, "public": true, "allowAllCrew": true, "deployedAt": TIME,
        });
        pds.put_record(&hold, "io.atcr.hold.captain", "self", captain);
        let crew = json!({
            "$type": "io.atcr.hold.crew", "member": bob, "role": "member", "permissions": ["blob:write"], "addedAt": TIME,
        });
        pds.put_record(&hold, "io.atcr.hold.crew", "bob", crew);
        Self {
            pds,
            hold,
            alice,
            bob,
        }
    }

    /// A manifest with layers of as many bytes as their digits say, in the account and, if it was recorded, at the hold.
    fn push(&self, owner: &str, manifest: char, layers: &str, is_recorded: bool) {
        let hex = manifest.to_string().repeat(64);
        let blob = |digit: char| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(digit),
                "size": digit.to_digit(16).unwrap(),
            })
        };
        let record = json!({
            "$type": "io.atcr.manifest", "repository": "app", "digest": digest(manifest), "holdDid": self.hold,
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "schemaVersion": 2, "createdAt": TIME,
            "layers": layers.chars().map(blob).collect::<Vec<Value>>(),
        });
        self.pds.put_record(owner, "io.atcr.manifest", &hex, record);
        for layer in layers.chars().filter(|_| is_recorded) {
            let record = json!({
                "$type": "io.atcr.hold.layer", "digest": digest(layer), "size": layer.to_digit(16).unwrap(),
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "createdAt": TIME, "userDid": owner,
                "manifest": format!("at://{owner}/io.atcr.manifest/{hex}"),
            });
            let key = format!("{manifest}{layer}{}", &owner[8..]);
            self.pds
                .put_record(&self.hold, "io.atcr.hold.layer", &key, record);
        }
    }

    async fn report(&self, more: &[&str]) -> Run {
        let url = self.pds.url();
        let arguments = [
            "usage-report",
            "--hold",
            &self.hold,
            "--local",
            "--plc-directory-url",
            &url,
            "--handle-resolver-url",
            &url,
        ];
        atcr(&[&arguments[..], more].concat()).await
    }
}

/// Account, manifests, layers, bytes.
fn lines(report: &Value) -> Vec<(String, u64, u64, u64)> {
    let number = |line: &Value, field: &str| line[field].as_u64().unwrap();
    report["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let handle = line["handle"].as_str().unwrap_or_default().to_owned();
            (
                handle,
                number(line, "manifests"),
                number(line, "layers"),
                number(line, "bytes"),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_layer_counts_once_for_each_account_and_once_in_the_store() {
    let network = Network::new().await;
    network.push(&network.alice, '1', "357", true);
    network.push(&network.alice, '2', "35", true);
    network.push(&network.bob, '3', "7f", true);
    // Pushed with an app password to an older hold, which did not record it.
    network.push(&network.bob, '4', "e", false);
    network
        .pds
        .put_record(&network.hold, "io.atcr.hold.layer", "odd", json!({ "digest": 7 }));

    let report = &network.report(&["--json"]).await.ok().json()[0];
    assert_eq!(
        lines(report),
        [
            ("bob.test".to_owned(), 1, 2, 22),
            ("alice.test".to_owned(), 2, 3, 15)
        ]
    );
    let whole =
        ["distinctLayers", "distinctBytes", "unreadable"].map(|field| report[field].as_u64().unwrap());
    assert_eq!(whole, [4, 30, 1]);
    assert_eq!(report["countedBy"], "layers");

    let report = &network.report(&["--json", "--from-manifests"]).await.ok().json()[0];
    assert_eq!(
        lines(report),
        [
            ("bob.test".to_owned(), 2, 3, 36),
            ("alice.test".to_owned(), 2, 3, 15)
        ]
    );
    assert_eq!(report["countedBy"], "manifests");

    let text = network.report(&[]).await.ok().stdout;
    let first: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(first, ["bob.test", "1", "2", "22", "B", "22"]);
    assert!(text.contains("4 different layers, 30 B in the store"), "{text}");
}

#[tokio::test]
async fn an_account_that_cannot_be_read_is_named_after_the_others() {
    let network = Network::new().await;
    network.push(&network.alice, '1', "3", true);
    // Its document leads to nobody.
    network.pds.move_account(&network.bob, "http://127.0.0.1:1");
    let report = network.report(&["--json", "--from-manifests"]).await;
    assert_eq!(report.code, Some(1));
    assert_eq!(report.json()[0]["notRead"], json!([network.bob]));
    assert_eq!(lines(&report.json()[0]).len(), 1);
    assert!(
        report.stderr.ends_with("error: 1 accounts could not be read\n"),
        "{}",
        report.stderr
    );
}
