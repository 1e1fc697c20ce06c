//! The helper below real parents: what stands on their command line decides.

use std::fs;

use super::home::{ALICE, BOB, CAROL, HELPER, Home, Run, config};

fn home() -> Home {
    Home::with_config(&config("https://atcr.io", &[ALICE, BOB, CAROL]))
}

/// A copy of the shell under the name of a tool: its command line is that tool's, and it runs the helper as a child.
fn below(home: &Home, tool: &str, arguments: &[&str], action: &str) -> Run {
    let program = home.path("bin").join(tool);
    fs::create_dir_all(home.path("bin")).unwrap();
    fs::copy("/bin/sh", &program).unwrap();
    let mut command = home.command(&program);
    // A second command keeps the shell from making way for the first.
    command
        .arg("-c")
        .arg(format!("{HELPER} {action}; exit $?"))
        .args(arguments);
    home.finish(command, "atcr.io")
}

#[test]
fn docker_push_of_an_image_gets_the_account_of_its_name() {
    for (image, username) in [
        ("atcr.io/alice.test/app:1", "alice.test"),
        ("atcr.io/bob.test/app:1", "bob.test"),
        ("atcr.io/did-plc-bobbobbobbobbobbobbob234/app", "bob.test"),
        ("atcr.io/did-web-carol.test/app", "carol.test"),
        ("atcr.io/stranger.test/app", "alice.test"),
        ("docker.io/bob.test/app", "alice.test"),
    ] {
        let run = below(&home(), "docker", &["push", image], "get");
        assert!(
            run.stdout.contains(&format!("\"Username\":\"{username}\"")),
            "{image}: {run}"
        );
        assert_eq!(run.stderr, "");
    }
}

#[test]
fn a_script_that_is_the_tool_counts_as_the_tool() {
    let home = home();
    let script = home.write_program("bin/podman", &format!("#!/bin/sh\n{HELPER} get\nexit $?\n"));
    let mut command = home.command(script);
    command.args(["push", "atcr.io/bob.test/app:1"]);
    let run = home.finish(command, "atcr.io");
    assert!(run.stdout.contains("bob.test"), "{run}");
}

#[test]
fn a_wrapper_between_the_tool_and_the_helper_is_looked_through() {
    let home = home();
    let wrapper = home.write_program("bin/wrapper", &format!("#!/bin/sh\n{HELPER} get\nexit $?\n"));
    let program = home.path("bin/docker");
    fs::copy("/bin/sh", &program).unwrap();
    let mut command = home.command(&program);
    command
        .arg("-c")
        .arg(format!("{}; exit $?", wrapper.display()))
        .args(["push", "atcr.io/bob.test/app:1"]);
    let run = home.finish(command, "atcr.io");
    assert!(run.stdout.contains("bob.test"), "{run}");
}

#[test]
fn compose_names_no_image_and_gets_the_active_account() {
    let run = below(&home(), "docker", &["compose", "push"], "get");
    assert!(run.stdout.contains("\"Username\":\"alice.test\""), "{run}");
}

#[test]
fn a_namespace_in_the_server_url_says_outright_whose_images_are_meant() {
    let run = home().run(&["get"], "atcr.io/bob.test");
    assert!(run.stdout.contains("\"Username\":\"bob.test\""), "{run}");
}

#[test]
fn erase_takes_the_account_that_the_same_command_was_given() {
    let home = home();
    let run = below(&home, "docker", &["push", "atcr.io/bob.test/app:1"], "erase");
    assert_eq!(run.code, 0, "{run}");
    let accounts: serde_json::Value = serde_json::from_str(&home.read(".atcr/config.json")).unwrap();
    let accounts = &accounts["registries"]["https://atcr.io"]["accounts"];
    assert_eq!(accounts["bob.test"]["set_aside"], true);
    assert!(accounts["alice.test"].get("set_aside").is_none());
    // A push in Bob's name does not go out in Alice's.
    let run = below(&home, "docker", &["push", "atcr.io/bob.test/app:1"], "get");
    insta::assert_snapshot!(run);
}
