//! Scopes and challenges.

use atcr_oci::{AccessScope, BearerChallenge, InvalidAccessScope, MAX_SCOPES, RepositoryName};
use proptest::prelude::*;

use crate::strategies;

fn scope(text: &str) -> AccessScope {
    text.parse().expect(text)
}

proptest! {
    #[test]
    fn scopes_print_as_they_were_written(
        name in strategies::repository_name(),
        actions in prop::sample::subsequence(vec!["pull", "push", "delete", "*"], 1..=4),
    ) {
        let scope = AccessScope::repository(&name, &actions);
        prop_assert_eq!(scope.to_string().parse(), Ok(scope.clone()));
        prop_assert_eq!(scope.repository_name(), Some(name));
        prop_assert_eq!(scope.intersect(&scope), Some(scope.clone()));
    }

    #[test]
    fn challenges_are_read_back(
        realm in "[ -~]{1,40}",
        service in prop::option::of("[ -~]{0,20}"),
        scope in prop::option::of("[ -~]{0,40}"),
        error in prop::option::of("[a-z_]{1,20}"),
    ) {
        let challenge = BearerChallenge { realm, service, scope, error };
        prop_assert_eq!(challenge.to_string().parse(), Ok(challenge));
    }

    #[test]
    fn any_header_or_scope_is_read_without_a_panic(text in ".{0,80}") {
        let _ = text.parse::<AccessScope>();
        let _ = text.parse::<BearerChallenge>();
        let _ = format!("Bearer {text}").parse::<BearerChallenge>();
    }
}

#[test]
fn scopes_are_read_in_all_their_forms() {
    assert_eq!(
        scope("repository:alice.test/app:pull,push,pull").actions,
        ["pull", "push"]
    );
    assert_eq!(scope("registry:catalog:*").name, "catalog");
    assert_eq!(scope("registry:catalog:*").repository_name(), None);
    assert_eq!(
        scope("repository:host:5000/alice.test/app:pull").name,
        "host:5000/alice.test/app"
    );
    let plugin = scope("repository(plugin):alice.test/app:pull");
    assert_eq!(plugin.resource_type, "repository(plugin)");
    assert_eq!(
        plugin.repository_name(),
        Some(RepositoryName::new("alice.test", "app").expect("a name"))
    );
}

#[test]
fn texts_that_are_no_scope_are_refused() {
    let long = format!("repository:{}:pull", "a".repeat(2000));
    for text in [
        "",
        ":",
        "::",
        "repository",
        "repository:a/b",
        "repository:a/b:",
        ":a/b:pull",
        "repository::pull",
        "repository:a/b:pull,",
        "repository:a b:pull",
        "repository:a\"b:pull",
        "re po:a/b:pull",
        "repository:a/b:p*",
        &long,
    ] {
        assert_eq!(
            text.parse::<AccessScope>(),
            Err(InvalidAccessScope::Grammar),
            "{text}"
        );
    }
}

#[test]
fn scopes_of_one_request_are_gathered_by_resource() {
    let scopes = AccessScope::parse_all([
        "repository:a.test/b:pull repository:a.test/c:pull",
        "repository:a.test/b:push",
    ]);
    let texts: Vec<String> = scopes.expect("scopes").iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["repository:a.test/b:pull,push", "repository:a.test/c:pull"]
    );
    assert_eq!(AccessScope::parse_all([]), Ok(vec![]));
    assert_eq!(AccessScope::parse_all(["", " "]), Ok(vec![]));
}

#[test]
fn a_request_for_very_many_scopes_is_refused() {
    let many: Vec<String> = (0..=MAX_SCOPES)
        .map(|n| format!("repository:a.test/r{n}:pull"))
        .collect();
    assert_eq!(
        AccessScope::parse_all([many.join(" ").as_str()]),
        Err(InvalidAccessScope::TooMany)
    );
    assert!(AccessScope::parse_all(many[1..].iter().map(String::as_str)).is_ok());
}

#[test]
fn two_scopes_share_what_both_cover() {
    let shared = |one: &str, other: &str| {
        scope(one)
            .intersect(&scope(other))
            .map(|scope| scope.actions.join(","))
    };
    assert_eq!(
        shared("repository:a/b:pull,push", "repository:a/b:pull").as_deref(),
        Some("pull")
    );
    assert_eq!(
        shared("repository:a/b:*", "repository:a/b:pull,push").as_deref(),
        Some("pull,push")
    );
    assert_eq!(
        shared("repository:a/b:pull", "repository:a/b:*").as_deref(),
        Some("pull")
    );
    assert_eq!(
        shared("repository:a/b:*", "repository:a/b:*").as_deref(),
        Some("*")
    );
    assert_eq!(shared("repository:a/b:push", "repository:a/b:pull"), None);
    assert_eq!(shared("repository:a/b:pull", "repository:a/c:pull"), None);
    assert_eq!(shared("repository:a/b:pull", "registry:a/b:pull"), None);
}

#[test]
fn the_challenge_reads_as_clients_expect_it() {
    let name = RepositoryName::new("alice.test", "app").expect("a name");
    let challenge = BearerChallenge::new("https://atcr.example/auth/token", "atcr.example");
    assert_eq!(
        challenge.to_string(),
        "Bearer realm=\"https://atcr.example/auth/token\",service=\"atcr.example\""
    );
    let challenge = challenge
        .with_scopes(&[AccessScope::repository(&name, &["pull", "push"])])
        .with_error("insufficient_scope");
    assert_eq!(
        challenge.to_string(),
        "Bearer realm=\"https://atcr.example/auth/token\",service=\"atcr.example\",\
         scope=\"repository:alice.test/app:pull,push\",error=\"insufficient_scope\""
    );
}

#[test]
fn challenges_of_other_servers_are_read() {
    let read = |text: &str| text.parse::<BearerChallenge>();
    let challenge =
        read("bearer  Realm = \"https://a/t\" , service=b, x=\"y,z\", scope=\"a b\"").expect("a challenge");
    assert_eq!(challenge.realm, "https://a/t");
    assert_eq!(challenge.service.as_deref(), Some("b"));
    assert_eq!(challenge.scope.as_deref(), Some("a b"));
    for text in [
        "",
        "Bearer",
        "Basic realm=\"x\"",
        "Bearer service=\"x\"",
        "Bearer realm=\"x",
        "Bearer realm=\"x\",realm=\"y\"",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn a_header_cannot_be_broken_out_of() {
    let challenge = BearerChallenge::new("https://a/\r\nX: y\"", "s");
    assert_eq!(
        challenge.to_string(),
        "Bearer realm=\"https://a/X: y\\\"\",service=\"s\""
    );
}
