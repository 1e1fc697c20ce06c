//! Who may do what: every kind of caller at every method that is served, on a public and a private hold, with real tokens over HTTP.

use atcr_atproto::crypto::Curve;
use atcr_hold::routes::{Door, doors};
use atcr_server::Secret;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::identities::Account;
use crate::harness::{Answer, Setup, TestHold};

const READ: &str = "blob:read";
const WRITE: &str = "blob:write";
const ADMIN: &str = "crew:admin";

/// What the matrix says of one caller.
struct Row {
    caller: String,
    account: Option<Account>,
    is_member: bool,
    reads_private: bool,
    writes: bool,
    administers: bool,
}

async fn rows(hold: &TestHold) -> Vec<Row> {
    let mut rows = vec![
        Row {
            caller: "anonymous".to_owned(),
            account: None,
            is_member: false,
            reads_private: false,
            writes: false,
            administers: false,
        },
        Row {
            caller: "signed in, not crew".to_owned(),
            account: Some(hold.identities.account("stranger", Curve::P256)),
            is_member: false,
            reads_private: false,
            writes: false,
            administers: false,
        },
        Row {
            caller: "captain".to_owned(),
            account: Some(hold.captain.clone()),
            is_member: true,
            reads_private: true,
            writes: true,
            administers: true,
        },
    ];
    for bits in 0..8_u8 {
        let held: Vec<&str> = [READ, WRITE, ADMIN]
            .into_iter()
            .enumerate()
            .filter_map(|(index, word)| (bits >> index & 1 == 1).then_some(word))
            .collect();
        let account = hold.crew(&format!("crew{bits}"), &held).await;
        rows.push(Row {
            caller: format!("crew {held:?}"),
            account: Some(account),
            is_member: true,
            reads_private: !held.is_empty(),
            writes: held.contains(&WRITE) || held.contains(&ADMIN),
            administers: held.contains(&ADMIN),
        });
    }
    rows
}

/// Status, error name and message that a refusal must have.
fn refusal(row: &Row, action: &str, required: &str) -> (u16, &'static str, String) {
    if row.account.is_none() {
        let message = "authentication is required: send a service token in the Authorization header";
        return (401, "AuthRequired", message.to_owned());
    }
    let reason = if row.is_member {
        "crew member lacks permission"
    } else {
        "user is not a crew member"
    };
    let message = format!("access denied for {action}: {reason} (required: {required})");
    (403, "Forbidden", message)
}

#[track_caller]
fn assert_refused(answer: &Answer, expected: (u16, &str, String), door: &str, caller: &str) {
    let (status, name) = answer.error();
    let found = (status, name, answer.message().to_owned());
    assert_eq!(found, expected, "{caller} at {door}");
}

#[tokio::test]
async fn every_caller_may_do_what_the_matrix_says_and_nothing_else() {
    for public in [true, false] {
        let setup = Setup {
            public,
            ..Setup::default()
        };
        let hold = TestHold::start_with(setup, |config| {
            config.scanner.secret = Secret::new("a secret for scanners");
        })
        .await;
        let digest = hold.put_blob(&hold.captain, b"a layer").await;
        for row in rows(&hold).await {
            read(&hold, &row, public, digest.as_str()).await;
            every_door(&hold, &row, public).await;
        }
        hold.stop().await;
    }
}

async fn read(hold: &TestHold, row: &Row, public: bool, digest: &str) {
    let may = public || row.reads_private;
    let caller = format!("{} (public: {public})", row.caller);
    let path = format!(
        "/xrpc/com.atproto.sync.getBlob?did={}&cid={digest}",
        hold.captain.did
    );
    let asked = [
        (Method::GET, String::new(), StatusCode::TEMPORARY_REDIRECT),
        (Method::HEAD, String::new(), StatusCode::OK),
        (Method::GET, "&method=GET".to_owned(), StatusCode::OK),
        (Method::GET, "&method=HEAD".to_owned(), StatusCode::OK),
    ];
    for (method, extra, success) in asked {
        let mut request = hold.request(method.clone(), &format!("{path}{extra}"));
        if let Some(account) = &row.account {
            request = request.bearer_auth(hold.token(account));
        }
        let answer = Answer::of(request).await;
        let door = format!("{method} getBlob{extra}");
        if may {
            assert_eq!(answer.status, success, "{caller} at {door}: {answer:?}");
        } else if method == Method::HEAD {
            let (status, ..) = refusal(row, READ, "");
            assert_eq!(answer.status.as_u16(), status, "{caller} at {door}");
        } else {
            assert_refused(
                &answer,
                refusal(row, READ, "blob:read or blob:write"),
                &door,
                &caller,
            );
        }
    }
}

/// An input that a caller who may enter is answered with the status beside it. Every method has one, or the test fails.
fn input(hold: &TestHold, row: &Row, nsid: &str) -> (Value, u16) {
    let did = row
        .account
        .as_ref()
        .map_or("did:web:absent.test", |account| account.did.as_str());
    let repo = hold.did();
    let zero = format!("sha256:{:064}", 0);
    let crew = json!({ "repo": repo, "collection": "io.atcr.hold.crew", "rkey": "newcomer" });
    let record = |member: &str| {
        json!({
            "repo": repo, "collection": "io.atcr.hold.crew", "rkey": member,
            "record": {
                "member": format!("did:web:{member}.test"), "role": "read", "permissions": [READ],
                "addedAt": "2026-11-01T00:00:00.000Z",
            },
        })
    };
    match nsid {
        "_health"
        | "com.atproto.server.describeServer"
        | "com.atproto.sync.listRepos"
        | "io.atcr.hold.listTiers" => (json!({}), 200),
        "app.bsky.actor.getProfile" => (json!({ "actor": repo }), 200),
        "app.bsky.actor.getProfiles" => (json!({ "actors": repo }), 200),
        "com.atproto.identity.resolveHandle" => (json!({ "handle": "elsewhere.test" }), 404),
        // Deleted again before the next caller comes.
        "com.atproto.repo.createRecord" => (record("newcomer"), 200),
        "com.atproto.repo.putRecord" => (record("changed"), 200),
        "com.atproto.repo.deleteRecord" => (crew, 200),
        "com.atproto.repo.applyWrites" => (json!({ "repo": repo, "writes": [] }), 200),
        "com.atproto.repo.uploadBlob" => (json!("the blob"), 200),
        "com.atproto.repo.describeRepo" => (json!({ "repo": repo }), 200),
        "com.atproto.repo.getRecord" => (
            json!({ "repo": repo, "collection": "io.atcr.hold.captain", "rkey": "self" }),
            200,
        ),
        "com.atproto.repo.listRecords" => (json!({ "repo": repo, "collection": "io.atcr.hold.crew" }), 200),
        "com.atproto.sync.getBlob" => (json!({ "did": did, "cid": zero }), 404),
        "com.atproto.sync.getRecord" => (
            json!({ "did": repo, "collection": "io.atcr.hold.captain", "rkey": "self" }),
            200,
        ),
        "com.atproto.sync.getLatestCommit"
        | "com.atproto.sync.getRepo"
        | "com.atproto.sync.listBlobs"
        | "com.atproto.sync.getRepoStatus" => (json!({ "did": repo }), 200),
        "com.atproto.sync.listReposByCollection" => (json!({ "collection": "io.atcr.hold.captain" }), 200),
        "com.atproto.sync.getBlocks" => (
            json!({ "did": repo, "cids": hold.hold.repo().latest_commit().cid.to_string() }),
            200,
        ),
        // Without an upgrade to a WebSocket.
        "com.atproto.sync.subscribeRepos" => (json!({}), 400),
        "io.atcr.hold.abortUpload" => (json!({ "uploadId": "unknown" }), 404),
        "io.atcr.hold.completeUpload" => (
            json!({ "uploadId": "unknown", "digest": zero, "parts": [{ "partNumber": 1, "etag": "x" }] }),
            404,
        ),
        "io.atcr.hold.getPartUploadUrl" => (json!({ "uploadId": "unknown", "partNumber": 1 }), 404),
        "io.atcr.hold.getQuota" => (json!({ "userDid": did }), 200),
        "io.atcr.hold.deleteUserData" | "io.atcr.hold.exportUserData" => (json!({}), 200),
        // In place of every caller but the AppView, which none of the rows is.
        "io.atcr.hold.updateCrewTier" => (json!({ "userDid": did, "tierRank": 0 }), 200),
        "io.atcr.hold.initiateUpload" => (json!({ "digest": "uploads/temp-2" }), 200),
        "io.atcr.hold.notifyManifest" => (
            json!({ "repository": "app", "userDid": did, "manifest": {}, "manifestDigest": zero }),
            200,
        ),
        "io.atcr.hold.subscribeScanJobs" => (json!({}), 401),
        // A closed hold takes no new crew, and says so to every account alike.
        "io.atcr.hold.requestCrew" => (json!({}), if row.is_member { 200 } else { 403 }),
        other => panic!("{other} has no row in the access matrix"),
    }
}

async fn ask(hold: &TestHold, row: &Row, nsid: &str, input: &Value) -> Answer {
    let is_procedure = matches!(
        nsid,
        "com.atproto.repo.applyWrites"
            | "com.atproto.repo.createRecord"
            | "com.atproto.repo.putRecord"
            | "com.atproto.repo.deleteRecord"
            | "com.atproto.repo.uploadBlob"
    ) || (nsid.starts_with("io.atcr.hold.")
        && !["exportUserData", "getQuota", "listTiers", "subscribeScanJobs"]
            .iter()
            .any(|name| nsid.ends_with(name)));
    if is_procedure {
        return hold.call(nsid, row.account.as_ref(), input).await;
    }
    let query: Vec<(&str, &str)> = input
        .as_object()
        .expect("parameters")
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().expect("text")))
        .collect();
    let mut request = hold.get(&format!("/xrpc/{nsid}")).query(&query);
    if let Some(account) = &row.account {
        request = request.bearer_auth(hold.token(account));
    }
    Answer::of(request).await
}

/// Every caller at every method that the hold serves.
async fn every_door(hold: &TestHold, row: &Row, public: bool) {
    // Who was erased is no member any more, so that comes last.
    let (last, first): (Vec<_>, Vec<_>) =
        doors().partition(|(nsid, _)| *nsid == "io.atcr.hold.deleteUserData");
    for (nsid, door) in first.into_iter().chain(last) {
        let (input, success) = input(hold, row, nsid);
        let asked = match door {
            Door::Notifier => vec![
                (with_operation(&input, "push"), Door::Writer, success),
                (with_operation(&input, "pull"), Door::Reader, success),
            ],
            door => vec![(input, door, success)],
        };
        for (input, door, success) in asked {
            let answer = ask(hold, row, nsid, &input).await;
            let caller = format!("{} (public: {public})", row.caller);
            let needs_account = nsid == "io.atcr.hold.notifyManifest";
            let (may, action, required) = match door {
                Door::Everyone => (true, "", ""),
                Door::SignedIn => (row.account.is_some(), "", ""),
                Door::Reader => (
                    (public || row.reads_private) && (row.account.is_some() || !needs_account),
                    READ,
                    "blob:read or blob:write",
                ),
                Door::Writer => (row.writes, WRITE, WRITE),
                Door::CrewAdmin => (row.administers, ADMIN, ADMIN),
                // No token is the secret.
                Door::Scanner => {
                    assert_eq!(answer.error(), (401, "InvalidSecret"), "{caller} at {nsid}");
                    continue;
                }
                // No account's token is the AppView's.
                Door::AppView => {
                    assert_eq!(answer.error(), (401, "AuthRequired"), "{caller} at {nsid}");
                    continue;
                }
                Door::Notifier => unreachable!("split above"),
            };
            if may {
                assert_eq!(answer.status.as_u16(), success, "{caller} at {nsid}: {answer:?}");
            } else {
                assert_refused(&answer, refusal(row, action, required), nsid, &caller);
            }
        }
    }
}

fn with_operation(input: &Value, operation: &str) -> Value {
    let mut input = input.clone();
    input["operation"] = json!(operation);
    input
}

#[test]
fn the_manual_names_every_method_with_its_door() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hold.md");
    let manual = std::fs::read_to_string(path).expect("docs/hold.md");
    let rows: Vec<String> = doors()
        .map(|(nsid, door)| format!("| `{nsid}` | {door} |"))
        .collect();
    for row in &rows {
        assert!(manual.contains(row.as_str()), "docs/hold.md lacks the row {row}");
    }
    let written = manual.lines().filter(|line| {
        line.starts_with("| `io.atcr.")
            || line.starts_with("| `com.atproto.")
            || line.starts_with("| `app.bsky.")
            || line.starts_with("| `_health")
    });
    assert_eq!(
        written.count(),
        rows.len(),
        "docs/hold.md names a method that is not served"
    );
}
