//! Edits of Docker's configuration: what is not ours stays, byte for byte.

use atcr_credential_helper::docker_config::{self, DockerConfig, DockerConfigError, Made};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::home::{ALICE, Home, config};

/// Sets and unsets; returns the text in between.
fn there_and_back(text: &str, host: &str) -> String {
    let edited = docker_config::set(Some(text), host, "atcr").unwrap();
    let back = docker_config::unset(
        &edited.text,
        host,
        "atcr",
        edited.previous.as_deref(),
        &edited.made,
    )
    .unwrap();
    assert_eq!(back.as_deref(), Some(text));
    edited.text
}

#[test]
fn an_entry_is_added_the_way_the_file_is_set() {
    let cases = [
        // As Docker writes it.
        "{\n\t\"auths\": {\n\t\t\"ghcr.io\": {}\n\t},\n\t\"credsStore\": \"desktop\"\n}",
        "{\n\t\"credHelpers\": {\n\t\t\"gcr.io\": \"gcloud\"\n\t}\n}\n",
        "{\n\t\"credHelpers\": {\n\t\t\"eu.gcr.io\": \"gcloud\",\n\t\t\"gcr.io\": \"gcloud\"\n\t},\n\t\"HttpHeaders\": {}\n}\n",
        "{\n  \"credHelpers\": {}\n}\n",
        "{\n  \"credHelpers\": { },\n  \"x\": [1, {\"credHelpers\": {}}]\n}",
        // On one line.
        "{\"auths\":{}}",
        "{\"credHelpers\":{\"gcr.io\":\"gcloud\"}}",
        "{ \"credHelpers\": { \"gcr.io\": \"gcloud\" } }",
        "{\"credHelpers\":{}}",
        // By hand, on Windows, with a byte order mark.
        "\u{feff}{\r\n    \"auths\" : { } ,\r\n    \"debug\" : true\r\n}\r\n",
        "{}",
        "  {  }  ",
        "{\n}\n",
        "{\n\t\"a\": \"}\\\"{ , \\\\\"\n}",
    ];
    let mut shown = String::new();
    for text in cases {
        shown.push_str(&there_and_back(text, "atcr.io"));
        shown.push_str("\n=====\n");
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn another_program_is_replaced_and_comes_back() {
    let text = "{\"credHelpers\": {\"a\": \"b\", \"atcr.io\" : \"desk\\u0074op\", \"c\": \"d\"}}";
    assert_eq!(
        there_and_back(text, "atcr.io"),
        "{\"credHelpers\": {\"a\": \"b\", \"atcr.io\" : \"atcr\", \"c\": \"d\"}}"
    );
}

#[test]
fn a_file_that_cannot_be_answered_for_is_left_alone() {
    for text in [
        "{",
        "[]",
        "null",
        "{\"credHelpers\": []}",
        "{\"credHelpers\": null}",
        "{\"credHelpers\": {}, \"credHelpers\": {}}",
        "{\"credhelpers\": {}}",
        "{\"credHelpers\": {\"atcr.io\": \"a\", \"atcr.io\": \"b\"}}",
        "{\"a\": 1,}",
        "// comment\n{}",
    ] {
        assert!(
            docker_config::set(Some(text), "atcr.io", "atcr").is_err(),
            "{text}"
        );
    }
    let theirs = "{\"credHelpers\": {\"atcr.io\": \"desktop\"}}";
    assert!(docker_config::unset(theirs, "atcr.io", "atcr", None, &Made::Nothing).is_err());
}

/// JSON objects as they are found in the wild.
fn configurations() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        "[{}\\[\\],:\"\\\\]{0,8}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("\\PC{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    let helpers = prop::option::of(prop::collection::hash_map("[a-z]{1,6}\\.io", "[a-z]{1,6}", 0..4));
    (prop::collection::hash_map("[a-z\"{}]{1,6}", value, 0..4), helpers).prop_map(|(members, helpers)| {
        let mut object: serde_json::Map<String, Value> = members.into_iter().collect();
        if let Some(helpers) = helpers {
            object.insert("credHelpers".to_owned(), json!(helpers));
        }
        Value::Object(object)
    })
}

proptest! {
    #[test]
    fn an_edit_means_one_entry_and_undoing_it_gives_every_byte_back(
        configuration in configurations(),
        pretty in any::<bool>(),
        windows in any::<bool>(),
    ) {
        let mut text = if pretty {
            serde_json::to_string_pretty(&configuration).unwrap()
        } else {
            configuration.to_string()
        };
        if windows {
            text = text.replace('\n', "\r\n");
        }
        let edited = there_and_back(&text, "registry.example");
        let mut expected = configuration;
        expected["credHelpers"]["registry.example"] = "atcr".into();
        prop_assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), expected);
    }
}

const DOCKER: &str = "{\n\t\"auths\": {\n\t\t\"ghcr.io\": {\n\t\t\t\"auth\": \"c2VjcmV0\"\n\t\t}\n\t}\n}";

#[test]
fn configure_docker_shows_the_change_makes_it_and_undoes_it() {
    let home = Home::with_config(&config("https://atcr.io", &[ALICE]));
    home.write(".docker/config.json", DOCKER);
    let dry = home.run(&["configure-docker", "--dry-run"], "");
    insta::assert_snapshot!("dry_run", dry);
    assert_eq!(home.read(".docker/config.json"), DOCKER);

    home.write_program("bin/docker-credential-atcr", "");
    insta::assert_snapshot!("configured", home.run(&["configure-docker"], ""));
    insta::assert_snapshot!("docker_config", home.read(".docker/config.json"));
    insta::assert_snapshot!("configured_again", home.run(&["configure-docker"], ""));

    insta::assert_snapshot!("undone", home.run(&["configure-docker", "--undo"], ""));
    assert_eq!(home.read(".docker/config.json"), DOCKER);
    assert_eq!(home.run(&["configure-docker", "--undo"], "").code, 0);
}

#[test]
fn several_registries_are_undone_in_any_order() {
    let home = Home::new();
    home.write(".docker/config.json", DOCKER);
    for host in ["atcr.io", "localhost:5000", "buoy.example"] {
        assert_eq!(home.run(&["configure-docker", host], "").code, 0);
    }
    for host in ["localhost:5000", "atcr.io", "buoy.example"] {
        assert_eq!(home.run(&["configure-docker", "--undo", host], "").code, 0);
    }
    assert_eq!(home.read(".docker/config.json"), DOCKER);
}

#[test]
fn an_entry_that_was_taken_out_by_hand_holds_up_no_other() {
    let home = Home::new();
    home.write(".docker/config.json", DOCKER);
    for host in ["atcr.io", "buoy.example", "localhost:5000"] {
        assert_eq!(home.run(&["configure-docker", host], "").code, 0);
    }
    let text = home.read(".docker/config.json");
    home.write(
        ".docker/config.json",
        &text
            .replace("\n\t\t\"buoy.example\": \"atcr\",", "")
            .replace("\"atcr.io\": \"atcr\"", "\"atcr.io\": \"desktop\""),
    );
    insta::assert_snapshot!("undone_in_part", home.run(&["configure-docker", "--undo"], ""));
    let docker: Value = serde_json::from_str(&home.read(".docker/config.json")).unwrap();
    assert_eq!(docker["credHelpers"], json!({"atcr.io": "desktop"}));
    insta::assert_snapshot!(
        "nothing_is_left_to_undo",
        home.run(&["configure-docker", "--undo"], "")
    );
}

#[test]
fn undoing_all_after_the_last_entry_was_taken_out_by_hand_forgets_it() {
    let home = Home::new();
    for text in [None, Some(DOCKER)] {
        assert_eq!(home.run(&["configure-docker", "atcr.io"], "").code, 0);
        match text {
            Some(text) => drop(home.write(".docker/config.json", text)),
            None => std::fs::remove_file(home.path(".docker/config.json")).unwrap(),
        }
        let first = home.run(&["configure-docker", "--undo"], "");
        assert_eq!(first.code, 0, "{first}");
        assert!(
            first
                .stderr
                .contains("no longer has an entry of docker-credential-atcr for atcr.io"),
            "{first}"
        );
        let second = home.run(&["configure-docker", "--undo"], "");
        assert!(!second.stderr.contains("atcr.io"), "{second}");
    }
    assert_eq!(home.read(".docker/config.json"), DOCKER);
    home.run(&["configure-docker", "atcr.io"], "");
    home.write(".docker/config.json", "{");
    let run = home.run(&["configure-docker", "--undo"], "");
    assert_eq!(run.code, 1, "a broken file is not taken for an empty one: {run}");
}

#[test]
fn a_file_that_another_program_changed_meanwhile_is_not_written() {
    let home = Home::new();
    let path = home.write(".docker/config.json", "{}");
    let docker = DockerConfig::at(path, &home.path(".atcr"));
    let plan = docker.plan(&["atcr.io".to_owned()]).unwrap();
    let theirs = "{\"auths\":{}}";
    home.write(".docker/config.json", theirs);
    let refused = docker.apply(&plan).unwrap_err();
    assert!(matches!(refused, DockerConfigError::Changed { .. }), "{refused}");
    assert_eq!(home.read(".docker/config.json"), theirs);
    assert!(!home.exists(".atcr/docker-config-undo.json"), "nothing is noted");
}

#[test]
fn a_file_that_was_made_goes_again() {
    let home = Home::new();
    assert_eq!(home.run(&["configure-docker", "atcr.io"], "").code, 0);
    assert_eq!(
        home.read(".docker/config.json"),
        "{\n\t\"credHelpers\": {\n\t\t\"atcr.io\": \"atcr\"\n\t}\n}\n"
    );
    assert_eq!(home.mode(".docker/config.json"), 0o600);
    assert_eq!(home.run(&["configure-docker", "--undo"], "").code, 0);
    assert!(!home.exists(".docker/config.json"));
}

#[test]
fn docker_config_and_file_name_other_places() {
    let mut home = Home::new();
    home.set("DOCKER_CONFIG", home.path("ci").display().to_string());
    home.run(&["configure-docker", "atcr.io"], "");
    assert!(home.exists("ci/config.json"));
    home.write("auth.json", "{\"auths\":{}}");
    home.run(&["configure-docker", "atcr.io", "--file", "auth.json"], "");
    assert_eq!(
        home.read("auth.json"),
        "{\"auths\":{},\"credHelpers\":{\"atcr.io\":\"atcr\"}}"
    );
    assert!(!home.exists(".docker"));
}

#[test]
fn an_entry_of_another_program_is_not_undone() {
    let home = Home::new();
    let text = "{\"credHelpers\":{\"atcr.io\":\"desktop\"}}";
    home.write(".docker/config.json", text);
    insta::assert_snapshot!(home.run(&["configure-docker", "--undo", "atcr.io"], ""));
    assert_eq!(home.read(".docker/config.json"), text);
}

#[test]
fn the_mode_of_dockers_file_stays() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = Home::new();
    let path = home.write(".docker/config.json", "{}");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    home.run(&["configure-docker", "atcr.io"], "");
    assert_eq!(home.mode(".docker/config.json"), 0o640);
}
