//! `scan`: what a registry says of an image's vulnerabilities, and what is made of it.

use serde_json::{Value, json};

use crate::fake_appview::{Answer, FakeAppView};
use crate::home::{ALICE, Home, Run, config};

const AMD64: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const ARM64: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const INDEX: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

/// A registry with `alice.test/tools/app:1`, and the helper.
struct Scanned {
    appview: FakeAppView,
    home: Home,
}

impl Scanned {
    fn new() -> Self {
        let appview = FakeAppView::start();
        appview.on(
            "/api/v1/r/alice.test/tools/app:1",
            [Answer::json(200, json!({ "digest": AMD64, "children": [] })).header("content-type", JSON)],
        );
        Self {
            appview,
            home: Home::new(),
        }
    }

    /// The registry says this of the scan.
    fn says(&self, result: &Value) {
        for path in ["/api/scan-result", "/api/vuln-details"] {
            self.appview.on(
                path,
                [Answer::json(200, result.clone()).header("content-type", JSON)],
            );
        }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let image = format!("{}/alice.test/tools/app:1", self.appview.host());
        self.home
            .run(&[&["scan", image.as_str()], arguments].concat(), "")
    }

    /// The exit code of a run.
    fn code(&self, arguments: &[&str]) -> i32 {
        self.run(arguments).code
    }

    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let run = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(run.code, code, "{run}");
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
    }
}

const JSON: &str = "application/json";

fn finding(id: &str, severity: &str, package: &str, fixed_in: &[&str]) -> Value {
    json!({
        "id": id, "severity": severity, "package": package, "installed": "1.0", "kind": "deb", "fixedIn": fixed_in,
        "fixState": if fixed_in.is_empty() { "not-fixed" } else { "fixed" }, "knownExploited": false, "aliases": [],
    })
}

fn result(findings: &[Value]) -> Value {
    json!({
        "owner": ALICE.1, "repository": "tools/app", "digest": AMD64, "state": "found", "partial": false,
        "hold": { "did": "did:web:hold.example", "name": "hold.example" },
        "counts": { "critical": 1, "high": 1, "medium": 0, "low": 0, "other": 1, "total": 3 },
        "scanner": "atcr-scanner-v1.0.0+syft.1.57.0.grype.0.121.2", "scannedAt": "2026-11-30T12:00:00Z",
        "databaseBuilt": "2020-01-01T04:00:00Z", "findings": findings, "findingsTotal": findings.len(), "fixable": 1, "leftOut": 0,
    })
}

fn found() -> Value {
    let mut exploited = finding("CVE-2099-0002", "critical", "planted-py", &["1.0.1", "1.1"]);
    exploited["knownExploited"] = json!(true);
    result(&[
        exploited,
        finding("CVE-2099-0001", "high", "planted-deb", &[]),
        finding("CVE-2099-0003", "negligible", "zlib", &[]),
    ])
}

#[test]
fn the_table_says_who_looked_when_with_what_and_what_can_be_fixed_first() {
    let scanned = Scanned::new();
    scanned.says(&found());
    let run = scanned.run(&[]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run}");
    let days = run
        .stdout
        .split(" days old")
        .next()
        .and_then(|text| text.rsplit(' ').next());
    let shown = run.stdout.replace(days.unwrap(), "<days>");
    insta::assert_snapshot!(shown);

    let run = scanned.run(&["--only-fixed"]);
    assert!(
        run.stdout.contains("CVE-2099-0002") && !run.stdout.contains("CVE-2099-0001"),
        "{run}"
    );
    let said = scanned.json(0, &[]);
    assert_eq!(
        (
            &said["image"],
            &said["digest"],
            &said["state"],
            &said["judgement"]
        ),
        (
            &json!("alice.test/tools/app:1"),
            &json!(AMD64),
            &json!("found"),
            &json!("pass")
        )
    );
    assert_eq!(said["findings"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        said["findings"][0],
        found()["findings"][0]
            .as_object()
            .map(|finding| {
                let mut finding = finding.clone();
                finding.insert("likelihood".to_owned(), json!(null));
                json!(finding)
            })
            .unwrap()
    );
}

#[test]
fn a_pipeline_ends_where_it_was_told_to() {
    let scanned = Scanned::new();
    scanned.says(&found());
    for (arguments, code) in [
        (&["--fail-on", "critical"][..], 3),
        (&["--fail-on", "high", "--only-fixed"], 3),
        (&["--fail-on", "unknown"], 3),
    ] {
        assert_eq!(scanned.code(arguments), code, "{arguments:?}");
    }
    let run = scanned.run(&["--fail-on", "high"]);
    assert!(run.stderr.contains("2 findings are high or worse"), "{run}");
    let said = scanned.json(3, &["--fail-on", "low", "--only-fixed"]);
    assert_eq!(
        (&said["judgement"], &said["failing"]),
        (&json!("fail"), &json!(1))
    );

    let mut small = result(&[finding("CVE-2099-0001", "high", "planted-deb", &[])]);
    small["counts"] = json!({ "high": 1, "total": 1 });
    scanned.says(&small);
    assert_eq!(scanned.code(&["--fail-on", "critical"]), 0);
    assert_eq!(scanned.code(&["--fail-on", "low", "--only-fixed"]), 0);
    assert_eq!(scanned.code(&["--fail-on", "worst"]), 2);

    // Without the list, the counts still say how bad it is, and not what an update fixes.
    small["findings"] = json!(null);
    small["noFindings"] = json!("hold.example does not answer. Try again later.");
    scanned.says(&small);
    assert_eq!(scanned.code(&["--fail-on", "high"]), 3);
    assert_eq!(scanned.code(&["--fail-on", "critical"]), 0);
    let run = scanned.run(&["--fail-on", "critical", "--only-fixed"]);
    assert!(run.code == 4 && run.stdout.contains("does not answer"), "{run}");
}

#[test]
fn what_is_not_known_is_said_and_passes_nothing() {
    let scanned = Scanned::new();
    let states = [
        ("pending", Some("Waiting, number 3 in line.")),
        ("failed", Some("The scan failed: no space")),
        ("not-scanned", Some("hold.example has no scanner.")),
        (
            "no-answer",
            Some("hold.example does not answer, so it is not known."),
        ),
        ("members-only", Some("hold.example tells its members only.")),
        ("not-applicable", Some("Only container images are scanned.")),
        ("a-later-word", None),
        ("packages-only", None),
    ];
    for (state, message) in states {
        scanned.says(&json!({ "digest": AMD64, "state": state, "message": message }));
        let run = scanned.run(&[]);
        assert_eq!(run.code, 4, "{state}: {run}");
        let words = message.unwrap_or(match state {
            "packages-only" => "packages only: vulnerabilities were not looked for",
            _ => "makes no sense",
        });
        assert!(run.stdout.contains(words), "{state}: {run}");
        assert!(run.stderr.contains("not known whether"), "{state}: {run}");
        assert_eq!(scanned.code(&["--fail-on", "critical"]), 4, "{state}");
    }
    // An image without packages that are known is not one without vulnerabilities.
    scanned
        .says(&json!({ "digest": AMD64, "state": "packages-only", "databaseBuilt": "2026-11-29T00:00:00Z" }));
    let run = scanned.run(&[]);
    assert_eq!(run.code, 4, "{run}");
    assert!(run.stdout.contains("nothing recognised to check"), "{run}");
    // Only what was looked at has a list.
    assert!(scanned.appview.asked_of("/api/vuln-details").is_empty());

    scanned.says(&json!({ "digest": AMD64, "state": "clean", "counts": {}, "findings": [] }));
    let run = scanned.run(&["--fail-on", "unknown"]);
    assert!(
        run.code == 0 && run.stdout.contains("no known vulnerabilities"),
        "{run}"
    );
}

#[test]
fn it_waits_for_a_scan_that_is_not_over_as_long_as_it_was_told() {
    let scanned = Scanned::new();
    let pending = json!({ "digest": AMD64, "state": "pending", "message": "Being scanned." });
    let answer = |body: &Value| Answer::json(200, body.clone()).header("content-type", JSON);
    scanned.says(&found());
    scanned
        .appview
        .on("/api/scan-result", [answer(&pending), answer(&found())]);
    let run = scanned.run(&["--wait", "60"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, "Being scanned.\n"), "{run}");
    assert_eq!(scanned.appview.asked_of("/api/scan-result").len(), 2);
    // A hold that has not heard of the push yet, or is silent, and a registry that fails or wants patience.
    let said = |state: &str| answer(&json!({ "digest": AMD64, "state": state, "message": state }));
    let refused = |status| Answer::json(status, json!({ "error": "Failed", "message": "no" }));
    let asked = scanned.appview.asked_of("/api/scan-result").len();
    scanned.appview.on(
        "/api/scan-result",
        [
            said("push-unknown"),
            said("no-answer"),
            refused(502),
            refused(429).header("retry-after", "1"),
            answer(&found()),
        ],
    );
    let run = scanned.run(&["--wait", "60"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.starts_with("push-unknown\nno-answer\n"), "{run}");
    assert_eq!(scanned.appview.asked_of("/api/scan-result").len(), asked + 5);
    scanned.appview.on("/api/scan-result", [refused(502)]);
    assert_eq!(scanned.code(&[]), 1);
    // Else it says so at once.
    scanned.says(&pending);
    let asked = scanned.appview.asked_of("/api/scan-result").len();
    assert_eq!(scanned.code(&[]), 4);
    assert_eq!(scanned.appview.asked_of("/api/scan-result").len(), asked + 1);
}

#[test]
fn a_token_that_ended_while_it_waited_is_renewed() {
    let mut scanned = Scanned::new();
    scanned.home = Home::with_config(&config(&scanned.appview.url(), &[ALICE]));
    let token = |name: &str| Answer::json(200, json!({ "token": name }));
    scanned
        .appview
        .on("/auth/token", [token("first"), token("second"), token("third")]);
    let ended = Answer::json(401, json!({ "error": "SignInRequired", "message": "no" }));
    scanned.says(&found());
    let answer = Answer::json(200, found()).header("content-type", JSON);
    for path in ["/api/scan-result", "/api/vuln-details"] {
        scanned.appview.on(path, [ended.clone(), answer.clone()]);
    }
    scanned.json(0, &["--wait", "60"]);
    for (path, tokens) in [
        ("/api/scan-result", ["first", "second"]),
        ("/api/vuln-details", ["second", "third"]),
    ] {
        let asked = scanned.appview.asked_of(path);
        let given: Vec<_> = asked
            .iter()
            .filter_map(|asked| asked.authorization.clone())
            .collect();
        assert_eq!(given, tokens.map(|token| format!("Bearer {token}")), "{path}");
    }
}

#[test]
fn of_an_index_the_image_of_one_platform_is_meant() {
    let scanned = Scanned::new();
    let child = |digest: &str, platform: &str| json!({ "digest": digest, "platform": platform, "isAttestation": false });
    let index = json!({
        "digest": INDEX,
        "children": [child(AMD64, "linux/s390x"), child(ARM64, "linux/mips64le/v2")],
    });
    scanned.appview.on(
        "/api/v1/r/alice.test/tools/app:1",
        [Answer::json(200, index).header("content-type", JSON)],
    );
    scanned.says(&found());
    let said = scanned.json(0, &["--platform", "linux/mips64le"]);
    assert_eq!(said["platform"], "linux/mips64le/v2");
    let asked = scanned.appview.asked_of("/api/vuln-details");
    assert!(asked[0].line.contains(&ARM64.replace(':', "%3A")), "{asked:?}");
    let run = scanned.run(&["--platform", "windows/amd64"]);
    assert_eq!(run.code, 1, "{run}");
    assert!(
        run.stderr.contains("--platform: linux/s390x, linux/mips64le/v2"),
        "{run}"
    );
}

#[test]
fn members_are_asked_for_with_their_sign_in_and_a_dead_one_hinders_nobody() {
    let mut scanned = Scanned::new();
    scanned.home = Home::with_config(&config(&scanned.appview.url(), &[ALICE]));
    let token = Answer::json(200, json!({ "token": "the-token" }));
    scanned
        .appview
        .on("/auth/token", [token, Answer::json(401, json!({ "errors": [] }))]);
    scanned.says(&found());
    scanned.json(0, &[]);
    let asked = scanned.appview.asked_of("/auth/token");
    assert!(
        asked[0]
            .line
            .contains("scope=repository:alice.test/tools/app:pull")
            && asked[0]
                .authorization
                .as_deref()
                .is_some_and(|text| text.starts_with("Basic ")),
        "{asked:?}"
    );
    for path in ["/api/scan-result", "/api/vuln-details"] {
        let asked = scanned.appview.asked_of(path);
        assert_eq!(
            asked[0].authorization.as_deref(),
            Some("Bearer the-token"),
            "{path}"
        );
    }
    let run = scanned.run(&[]);
    assert!(run.code == 0 && run.stderr.contains("asking without it"), "{run}");
    let asked = scanned.appview.asked_of("/api/scan-result");
    assert_eq!(asked[1].authorization, None);
}

#[test]
fn a_long_list_is_read_to_its_end_and_a_lying_one_is_refused() {
    let scanned = Scanned::new();
    let answer = |body: Value| Answer::json(200, body).header("content-type", JSON);
    let portion = |id: &str, next: Option<usize>| {
        let mut portion = result(&[finding(id, "low", "p", &[])]);
        portion["next"] = json!(next);
        portion
    };
    scanned.says(&found());
    let details = "/api/vuln-details";
    scanned.appview.on(
        details,
        [answer(portion("CVE-1", Some(1))), answer(portion("CVE-2", None))],
    );
    let said = scanned.json(0, &[]);
    assert_eq!(
        (
            &said["findings"][1]["id"],
            said["findings"].as_array().map(Vec::len)
        ),
        (&json!("CVE-2"), Some(2))
    );
    assert!(scanned.appview.asked_of(details)[1].line.ends_with("&after=1"));

    // Not going on, breaking off, and another scan's.
    let mut other = portion("CVE-2", None);
    other["scannedAt"] = json!("2026-11-30T13:00:00Z");
    let mut empty = portion("CVE-2", None);
    empty["findings"] = json!([]);
    for second in [portion("CVE-1", Some(1)), empty, other] {
        scanned
            .appview
            .on(details, [answer(portion("CVE-1", Some(1))), answer(second)]);
        assert_eq!(scanned.code(&[]), 1);
    }
    // Control characters reach no terminal.
    let mut hostile = result(&[finding("CVE-\u{1b}[2J\u{202e}", "low", "p\nq", &["\u{7}1"])]);
    hostile["note"] = json!("a\rb");
    scanned.says(&hostile);
    let run = scanned.run(&[]);
    assert!(
        run.code == 0
            && run
                .stdout
                .chars()
                .all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')),
        "{run}"
    );
}

#[test]
fn a_registry_that_knows_nothing_of_it_is_told_apart_from_an_image_that_is_not_there() {
    let scanned = Scanned::new();
    scanned.appview.on(
        "/api/v1/r/alice.test/tools/app:1",
        [Answer::json(404, json!({ "error": "NotFound", "message": "no" })).header("content-type", JSON)],
    );
    let run = scanned.run(&[]);
    assert!(
        run.code == 1 && run.stderr.contains("knows no image alice.test/tools/app:1"),
        "{run}"
    );
    // Another program, with pages only.
    scanned.appview.off("/api/v1/r/alice.test/tools/app:1");
    let run = scanned.run(&[]);
    assert!(
        run.code == 1 && run.stderr.contains("does not answer as an ATCR registry"),
        "{run}"
    );
    assert_eq!(scanned.home.run(&["scan", "nonsense"], "").code, 1);
    assert_eq!(scanned.home.run(&["scan"], "").code, 2);
}
