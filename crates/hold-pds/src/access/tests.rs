use atcr_atproto::syntax::Did;

use super::granted::{Action, BlobRead, BlobWrite, CrewAdmin};
use super::permission::{Permission, Permissions};
use super::policy::{self, Membership};

fn did() -> Did {
    "did:plc:7iza6de2dwap2sbkpav7c6c6".parse().unwrap()
}

fn crew(words: &[&str]) -> Membership {
    Membership::Crew(Permissions::from_words(words.iter().copied()))
}

#[test]
fn the_matrix() {
    // (member, reads a private hold, writes, administers the crew); a public one is read without a token.
    let rows = [
        (Membership::Stranger, false, false, false),
        (crew(&[]), false, false, false),
        (crew(&["blob:delete"]), false, false, false),
        (crew(&["blob:read"]), true, false, false),
        (crew(&["blob:write"]), true, true, false),
        (crew(&["blob:read", "blob:write"]), true, true, false),
        (crew(&["crew:admin"]), true, true, true),
        (crew(&["blob:read", "blob:write", "crew:admin"]), true, true, true),
        (Membership::Captain, true, true, true),
    ];
    for (member, reads, writes, administers) in rows {
        assert!(policy::read(&did(), true, member).is_ok(), "{member:?}");
        assert_eq!(policy::read(&did(), false, member).is_ok(), reads, "{member:?}");
        assert_eq!(policy::write(&did(), member).is_ok(), writes, "{member:?}");
        assert_eq!(
            policy::crew_admin(&did(), member).is_ok(),
            administers,
            "{member:?}"
        );
    }
    assert!(policy::read_anonymously(true).is_some());
    assert!(policy::read_anonymously(false).is_none());
}

#[test]
fn a_refusal_names_the_action_the_reason_and_what_would_do() {
    let text = |outcome: Result<(), policy::AccessDenied>| outcome.unwrap_err().to_string();
    assert_eq!(
        text(policy::read(&did(), false, Membership::Stranger).map(|_| ())),
        "access denied for blob:read: user is not a crew member (required: blob:read or blob:write)"
    );
    assert_eq!(
        text(policy::write(&did(), crew(&["blob:read"])).map(|_| ())),
        "access denied for blob:write: crew member lacks permission (required: blob:write)"
    );
    assert_eq!(
        text(policy::crew_admin(&did(), Membership::Stranger).map(|_| ())),
        "access denied for crew:admin: user is not a crew member (required: crew:admin)"
    );
}

#[test]
fn a_proof_names_whom_it_was_given_to() {
    let grant = policy::write(&did(), Membership::Captain).unwrap();
    assert_eq!(grant.subject(), &did());
}

#[test]
fn the_words_of_the_wire() {
    assert_eq!(
        Permission::ALL.map(Permission::as_str),
        ["blob:read", "blob:write", "crew:admin"]
    );
    assert_eq!(
        [BlobRead::NAME, BlobWrite::NAME, CrewAdmin::NAME],
        ["blob:read", "blob:write", "crew:admin"]
    );
    let asked = Permissions::from_words(["crew:admin", "blob:write", "made:up"]);
    let open = Permissions::from_words(["blob:read", "blob:write"]);
    assert_eq!(asked.intersection(open).to_words(), ["blob:write"]);
}
