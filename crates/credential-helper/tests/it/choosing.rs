//! Which account an image name means: the grammar, without processes.

use atcr_credential_helper::accounts::Accounts;
use atcr_credential_helper::ancestors::{self, Ancestor};
use atcr_credential_helper::image_identity::identities;
use atcr_credential_helper::registry_url::{RegistryUrl, ServerAddress};
use atcr_credential_helper::selection::{Selection, select};

use super::home::{ALICE, BOB, CAROL, config};

fn found(registry: &str, command_line: &str) -> Vec<String> {
    let arguments: Vec<String> = command_line.split(' ').map(str::to_owned).collect();
    identities(&arguments, &ServerAddress::parse(registry).unwrap().candidates())
}

#[test]
fn the_identity_is_the_first_segment_after_the_host() {
    for command_line in [
        "docker push atcr.io/alice.test/app:1",
        "docker push atcr.io/alice.test/app",
        "docker pull atcr.io/ALICE.test/app@sha256:aaaa",
        "docker build --push --tag=atcr.io/alice.test/app:1 .",
        "docker buildx build --output type=image,name=atcr.io/alice.test/app:1,push=true .",
        "/usr/bin/podman push app docker://atcr.io/alice.test/group/app:1",
        "skopeo inspect docker://atcr.io/alice.test/app",
        "helm push chart.tgz oci://atcr.io/alice.test",
        "crane ls https://atcr.io:443/alice.test/app",
    ] {
        assert_eq!(found("atcr.io", command_line), ["alice.test"], "{command_line}");
    }
    assert_eq!(
        found("localhost:5000", "docker push localhost:5000/did-plc-abc/app:1"),
        ["did-plc-abc"]
    );
    assert_eq!(
        found("atcr.io", "oras push atcr.io/did:plc:abc/app:1"),
        ["did:plc:abc"]
    );
}

#[test]
fn images_elsewhere_say_nothing() {
    for command_line in [
        "docker push atcr.io.evil.example/alice.test/app",
        "docker push xatcr.io/alice.test/app",
        "docker push evil.example/atcr.io/alice.test",
        "docker push atcr.io:5000/alice.test/app",
        "docker compose push",
        "docker push atcr.io/",
        "docker push atcr.io",
        "sh -c docker",
        "docker run -v /atcr.io/alice.test:/x alpine",
    ] {
        assert_eq!(
            found("atcr.io", command_line),
            Vec::<String>::new(),
            "{command_line}"
        );
    }
}

#[test]
fn of_several_images_the_first_counts_and_of_a_copy_the_last() {
    assert_eq!(
        found(
            "atcr.io",
            "docker build -t atcr.io/alice.test/a -t atcr.io/bob.test/b ."
        ),
        ["alice.test", "bob.test"]
    );
    for command_line in [
        "skopeo copy docker://atcr.io/alice.test/a docker://atcr.io/bob.test/a",
        "/bin/sh /usr/bin/skopeo copy docker://atcr.io/alice.test/a docker://atcr.io/bob.test/a",
        "crane cp atcr.io/alice.test/a atcr.io/bob.test/a",
    ] {
        assert_eq!(
            found("atcr.io", command_line),
            ["bob.test", "alice.test"],
            "{command_line}"
        );
    }
}

/// The account chosen among Alice (active), Bob and Carol.
fn chosen(identity: &str) -> String {
    let accounts = Accounts::parse(&config("https://atcr.io", &[ALICE, BOB, CAROL])).unwrap();
    let registry = accounts.get(&"atcr.io".parse::<RegistryUrl>().unwrap()).unwrap();
    match select(registry, &[identity.to_owned()]) {
        Selection::Account(account) => account.handle.clone(),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_identity_is_a_handle_a_did_or_a_did_with_hyphens() {
    for identity in [
        "bob.test",
        "BOB.test",
        "did:plc:bobbobbobbobbobbobbob234",
        "did-plc-bobbobbobbobbobbobbob234",
    ] {
        assert_eq!(chosen(identity), "bob.test", "{identity}");
    }
    assert_eq!(chosen("did-web-carol.test"), "carol.test");
    for stranger in ["dave.test", "bob.test.evil", "did:plc:bob"] {
        assert_eq!(chosen(stranger), "alice.test", "{stranger}: the active account");
    }
}

#[test]
fn several_accounts_without_an_active_one_are_not_guessed_between() {
    let text = config("https://atcr.io", &[ALICE, BOB])
        .replace("\"active\":\"alice.test\"", "\"active\":\"gone.test\"");
    let accounts = Accounts::parse(&text).unwrap();
    let registry = accounts.get(&"atcr.io".parse::<RegistryUrl>().unwrap()).unwrap();
    assert!(matches!(select(registry, &[]), Selection::Ambiguous));
    assert!(matches!(
        select(registry, &["bob.test".to_owned()]),
        Selection::Account(_)
    ));
}

/// A chain of processes, nearest first; number 10 is the parent.
fn search(chain: &[&str]) -> Option<String> {
    let look_up = |pid: u32| {
        let line = chain.get(pid as usize - 10)?;
        Some(Ancestor {
            arguments: line.split(' ').map(str::to_owned).collect(),
            parent: Some(pid + 1),
        })
    };
    let registry = ["atcr.io".parse::<RegistryUrl>().unwrap()];
    ancestors::search(look_up, 10, |arguments| {
        identities(arguments, &registry).into_iter().next()
    })
}

#[test]
fn ancestors_are_asked_up_to_the_tool_that_moves_the_image() {
    let cases: &[(&[&str], Option<&str>)] = &[
        (&["docker push atcr.io/bob.test/a", "bash"], Some("bob.test")),
        (
            &[
                "/usr/libexec/docker/cli-plugins/docker-buildx bake",
                "docker buildx bake --set x.tags=atcr.io/bob.test/a",
                "bash",
            ],
            Some("bob.test"),
        ),
        (
            &["wrapper", "sh -x", "docker push atcr.io/bob.test/a"],
            Some("bob.test"),
        ),
        (&["docker compose push", "release.sh atcr.io/bob.test/a"], None),
        (
            &[
                "docker push atcr.io/bob.test/a",
                "docker push atcr.io/alice.test/a",
            ],
            Some("bob.test"),
        ),
        (
            &["a", "b", "c", "d", "e", "f", "docker push atcr.io/bob.test/a"],
            None,
        ),
        (&[], None),
    ];
    for (chain, expected) in cases {
        assert_eq!(search(chain).as_deref(), *expected, "{chain:?}");
    }
}

#[test]
fn ps_tells_the_same_about_this_process_as_the_process_file_system() {
    let pid = std::process::id();
    let (Some(proc), Some(ps)) = (ancestors::look_up(pid), ancestors::process_status(pid)) else {
        return;
    };
    assert_eq!(ps.parent, proc.parent);
    assert_eq!(ps.arguments.first(), proc.arguments.first());
}
