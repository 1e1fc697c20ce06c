//! Who may do what: every kind of caller at every door, on a public and a private hold, with real tokens over HTTP.

use atcr_atproto::crypto::Curve;
use reqwest::{Method, StatusCode};
use serde_json::json;

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
async fn everybody_may_do_what_the_matrix_says_and_nothing_else() {
    for public in [true, false] {
        let hold = TestHold::start(Setup {
            public,
            ..Setup::default()
        })
        .await;
        let digest = hold.put_blob(&hold.captain, b"a layer").await;
        for row in rows(&hold).await {
            read(&hold, &row, public, digest.as_str()).await;
            write(&hold, &row).await;
            administer(&hold, &row).await;
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

async fn write(hold: &TestHold, row: &Row) {
    let did = row
        .account
        .as_ref()
        .map_or("did:web:nobody.test", |account| account.did.as_str());
    // (method, input, what somebody with the permission is answered)
    let doors = [
        (
            "io.atcr.hold.initiateUpload",
            json!({ "digest": "uploads/temp-2" }),
            200,
        ),
        (
            "io.atcr.hold.getPartUploadUrl",
            json!({ "uploadId": "unknown", "partNumber": 1 }),
            404,
        ),
        (
            "io.atcr.hold.completeUpload",
            json!({ "uploadId": "unknown", "digest": format!("sha256:{:064}", 0), "parts": [{ "partNumber": 1, "etag": "x" }] }),
            404,
        ),
        ("io.atcr.hold.abortUpload", json!({ "uploadId": "unknown" }), 404),
        (
            "io.atcr.hold.notifyManifest",
            json!({
                "repository": "app", "userDid": did, "operation": "push", "manifest": {},
                "manifestDigest": format!("sha256:{:064}", 0),
            }),
            200,
        ),
    ];
    for (nsid, input, allowed) in doors {
        let answer = hold.call(nsid, row.account.as_ref(), &input).await;
        if row.writes {
            assert_eq!(
                answer.status.as_u16(),
                allowed,
                "{} at {nsid}: {answer:?}",
                row.caller
            );
        } else {
            assert_refused(&answer, refusal(row, WRITE, WRITE), nsid, &row.caller);
        }
    }
}

async fn administer(hold: &TestHold, row: &Row) {
    let member = "did:web:newcomer.test";
    let record = json!({
        "member": member, "role": "read", "permissions": [READ], "addedAt": "2026-11-01T00:00:00.000Z",
    });
    let base = json!({ "repo": hold.did(), "collection": "io.atcr.hold.crew", "rkey": "newcomer" });
    for (nsid, with_record) in [
        ("com.atproto.repo.createRecord", true),
        ("com.atproto.repo.putRecord", true),
        ("com.atproto.repo.deleteRecord", false),
    ] {
        let mut input = base.clone();
        if with_record {
            input["record"] = record.clone();
        }
        let answer = hold.call(nsid, row.account.as_ref(), &input).await;
        if row.administers {
            assert_eq!(
                answer.status,
                StatusCode::OK,
                "{} at {nsid}: {answer:?}",
                row.caller
            );
        } else {
            assert_refused(&answer, refusal(row, ADMIN, ADMIN), nsid, &row.caller);
        }
    }
}
