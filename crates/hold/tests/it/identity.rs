//! Who the hold is: a DID of a directory, keys that change, parts that are missing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use atcr_atproto::crypto::{Curve, PublicKey, SigningKey};
use atcr_atproto::plc::{Operation, PlcData};
use atcr_hold::commands::identity as commands;
use atcr_hold::config::{DidMethod, HoldConfig};
use atcr_hold::settings::{HoldSettings, IdentitySettings, PlcSettings};
use atcr_hold_pds::Message;
use serde_json::json;

use crate::harness::directory::Directory;
use crate::harness::{Answer, Setup, Stopped, TestHold};

const LONG_AGO: &str = "2020-01-01T00:00:00.000Z";

async fn start(directory: &Directory) -> TestHold {
    start_with(directory, |_| ()).await
}

async fn start_with(directory: &Directory, change: impl FnOnce(&mut HoldConfig)) -> TestHold {
    let url = directory.url.to_string();
    TestHold::start_with(Setup::default(), |config| {
        config.database.did_method = DidMethod::Plc;
        config.database.plc_directory_url = url;
        change(config);
    })
    .await
}

fn plc(settings: &mut HoldSettings) -> &mut PlcSettings {
    match &mut settings.identity {
        IdentitySettings::Plc(plc) => plc,
        IdentitySettings::Web(did) => panic!("{did} is no did:plc"),
    }
}

fn key_in(file: &Path) -> SigningKey {
    SigningKey::load(file, Curve::K256)
        .expect("readable")
        .unwrap_or_else(|| panic!("{} is missing", file.display()))
}

fn make_key(file: &Path) -> PublicKey {
    SigningKey::load_or_create(file, Curve::K256)
        .expect("made")
        .public_key()
}

/// What the directory says of the hold now.
fn newest(directory: &Directory, hold: &TestHold) -> PlcData {
    let operations = directory.operations(hold.did().as_str());
    operations.last().expect("an operation").data()
}

async fn seq(hold: &TestHold) -> u64 {
    *hold.hold.repo().watch_seq().borrow()
}

/// The kinds of the events after `seq`.
async fn kinds_after(hold: &TestHold, seq: u64) -> Vec<&'static str> {
    let events = hold.hold.repo().events_after(seq, 100).await.expect("readable");
    let kind = |message| match message {
        Message::Identity(_) => "identity",
        Message::Account(_) => "account",
        Message::Commit(_) => "commit",
        Message::Sync(_) => "sync",
    };
    events
        .iter()
        .map(|event| kind(event.decode().expect("an event")))
        .collect()
}

async fn served_key(hold: &TestHold) -> String {
    let document = Answer::of(hold.get("/.well-known/did.json")).await.ok();
    let key = &document["verificationMethod"][0]["publicKeyMultibase"];
    format!("did:key:{}", key.as_str().expect("a key"))
}

#[tokio::test]
async fn the_first_start_makes_a_did_and_later_ones_keep_it() {
    let directory = Directory::start().await;
    let captain = SigningKey::generate(Curve::K256).public_key();
    let hold = start_with(&directory, |config| {
        config.database.captain_rotation_key = captain.to_did_key();
    })
    .await;
    let did = hold.did().clone();
    assert_eq!(did.method(), "plc");
    let data = hold.data_dir();
    let rotation = key_in(&data.join("rotation.key")).public_key();
    let signing = key_in(&data.join("signing.key")).public_key();
    let said = newest(&directory, &hold);
    assert_eq!(said.rotation_keys, [captain.to_did_key(), rotation.to_did_key()]);
    assert_eq!(said.verification_methods["atproto"], signing.to_did_key());
    let url = hold.settings.public_url.as_str().trim_end_matches('/').to_owned();
    assert_eq!(said.also_known_as, [format!("at://{}", &url["http://".len()..])]);
    assert_eq!(said.services["atproto_pds"].endpoint, url);
    assert_eq!(said.services["atcr_hold"].endpoint, url);
    assert_eq!(said.services["atcr_hold"].kind, "AtcrHoldService");
    assert_eq!(
        fs::read_to_string(data.join("did.txt")).expect("did.txt").trim(),
        did.as_str()
    );
    for file in ["did.txt", "rotation.key", "signing.key"] {
        let mode = fs::metadata(data.join(file)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert!(!data.join("first-start").exists());
    let document = Answer::of(hold.get("/.well-known/did.json")).await.ok();
    assert_eq!(document["id"], did.as_str());
    assert_eq!(served_key(&hold).await, signing.to_did_key());

    let before = seq(&hold).await;
    let hold = hold.restart(|_| ()).await;
    assert_eq!(*hold.did(), did);
    assert_eq!(seq(&hold).await, before, "nothing changed, nothing said");
    assert_eq!(directory.operations(did.as_str()).len(), 1);
    hold.stop().await;
}

#[tokio::test]
async fn a_first_start_that_ended_in_the_middle_is_finished_with_the_same_did() {
    let directory = Directory::start().await;
    directory.set_loses_answers(true);
    let hold = start(&directory).await;
    let did = hold.did().clone();
    assert_eq!(
        directory.operations(did.as_str()).len(),
        1,
        "the lost answer is no loss"
    );
    let stopped = hold.stop_to_restart().await;
    let data = stopped.data_dir();
    // As after a crash between the directory and the repository.
    fs::remove_dir_all(data.join("repo")).expect("removed");
    fs::remove_file(data.join("did.txt")).expect("removed");
    for name in ["hold.sqlite", "hold.sqlite-wal", "hold.sqlite-shm"] {
        let _ = fs::remove_file(data.join(name));
    }
    fs::write(data.join("first-start"), "").expect("written");
    directory.set_down(true);
    assert!(stopped.refusal().await.contains("gives no usable answer"));
    directory.set_down(false);
    let hold = stopped.start(|_| ()).await.expect("it starts");
    assert_eq!(*hold.did(), did);
    assert_eq!(directory.dids().len(), 1);
    assert!(data.join("did.txt").exists() && !data.join("first-start").exists());
    hold.stop().await;
}

#[tokio::test]
async fn a_hold_without_an_owner_makes_no_did() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let stopped = hold.stop_to_restart().await;
    fs::remove_dir_all(stopped.data_dir()).expect("removed");
    let known = directory.dids().len();
    let mut settings = stopped.settings.clone();
    settings.owner = None;
    let refused = Stopped { settings, ..stopped }.refusal().await;
    assert!(refused.contains("registration.owner_did"), "{refused}");
    assert_eq!(directory.dids().len(), known);
}

#[tokio::test]
async fn another_url_is_published_once_an_hour_and_told_to_followers() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let (did, before) = (hold.did().clone(), seq(&hold).await);
    let at = |port: u16| {
        move |settings: &mut HoldSettings| {
            settings.public_url = format!("http://hold.test:{port}").parse().expect("a URL");
        }
    };
    let hold = hold.restart(at(1001)).await;
    assert_eq!(
        newest(&directory, &hold).services["atcr_hold"].endpoint,
        "http://hold.test:1001"
    );
    assert_eq!(newest(&directory, &hold).also_known_as, ["at://hold.test:1001"]);
    assert_eq!(kinds_after(&hold, before).await, ["identity"]);

    let hold = hold.restart(at(1002)).await;
    assert_eq!(directory.operations(did.as_str()).len(), 2, "an hour is not over");
    hold.hold.read_own_document().await.expect("read");
    assert_eq!(directory.operations(did.as_str()).len(), 2);
    hold.hold
        .repo()
        .write(Vec::new())
        .await
        .expect("it works meanwhile");
    directory.date_all(LONG_AGO);
    hold.hold.read_own_document().await.expect("read");
    assert_eq!(
        newest(&directory, &hold).services["atproto_pds"].endpoint,
        "http://hold.test:1002"
    );
    hold.stop().await;
}

#[tokio::test]
async fn a_hold_works_without_its_rotation_key_and_without_the_directory() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let did = hold.did().clone();
    let stopped = hold.stop_to_restart().await;
    let kept = stopped.data_dir().join("rotation.kept");
    fs::rename(stopped.data_dir().join("rotation.key"), &kept).expect("renamed");
    let hold = stopped
        .start(|settings| settings.public_url = "http://hold.test:1003".parse().expect("a URL"))
        .await
        .expect("it starts");
    assert_eq!(directory.operations(did.as_str()).len(), 1);
    directory.set_down(true);
    let hold = hold.restart(|_| ()).await;
    hold.hold.repo().write(Vec::new()).await.expect("it works");
    assert!(hold.hold.read_own_document().await.is_err());
    hold.hold
        .repo()
        .write(Vec::new())
        .await
        .expect("a directory that is down changes nothing");
    directory.set_down(false);
    // The key in the settings counts as well.
    let key = key_in(&kept);
    let hold = hold
        .restart(|settings| plc(settings).rotation_key = Some(key))
        .await;
    assert_eq!(
        newest(&directory, &hold).services["atcr_hold"].endpoint,
        "http://hold.test:1003"
    );
    hold.stop().await;
}

#[tokio::test]
async fn nothing_is_signed_while_the_document_names_another_key() {
    let directory = Directory::start().await;
    let captain = SigningKey::generate(Curve::K256);
    let hold = start_with(&directory, |config| {
        config.database.captain_rotation_key = captain.public_key().to_did_key();
    })
    .await;
    let did = hold.did().to_string();
    let ours = newest(&directory, &hold);
    // The captain moves the DID to another hold.
    let mut theirs = ours.clone();
    let other = SigningKey::generate(Curve::K256).public_key().to_did_key();
    theirs
        .verification_methods
        .insert("atproto".to_owned(), other.clone());
    let sign = |data: &PlcData| {
        let last = directory.operations(&did).last().expect("one").cid();
        directory.add(
            &did,
            Operation::sign(data.clone(), Some(&last), &captain),
            LONG_AGO,
        );
    };
    sign(&theirs);
    hold.hold.repo().write(Vec::new()).await.expect("not known yet");
    hold.hold.read_own_document().await.expect("read");
    let error = hold.hold.repo().write(Vec::new()).await.expect_err("paused");
    assert!(error.to_string().contains(&other), "{error}");
    let ready = Answer::of(hold.get("/readyz")).await;
    assert_eq!(ready.status, 503);
    // Reads go on.
    hold.query("com.atproto.server.describeServer").await.ok();
    assert_eq!(
        directory.operations(&did).len(),
        2,
        "the hold does not fight for the DID"
    );

    let stopped = hold.stop_to_restart().await;
    let refused = stopped.refusal().await;
    assert!(
        refused.contains(&other) && refused.contains("identity recover"),
        "{refused}"
    );
    sign(&ours);
    let hold = stopped.start(|_| ()).await.expect("it starts");
    sign(&theirs);
    hold.hold.read_own_document().await.expect("read");
    sign(&ours);
    hold.hold.read_own_document().await.expect("read");
    hold.hold
        .repo()
        .write(Vec::new())
        .await
        .expect("writes are taken again");
    hold.stop().await;
}

#[tokio::test]
async fn a_part_that_is_missing_is_named_and_not_made_again() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let mut stopped = hold.stop_to_restart().await;
    for name in ["signing.key", "did.txt", "repo"] {
        let (path, aside) = (stopped.data_dir().join(name), stopped.data_dir().join("aside"));
        fs::rename(&path, &aside).expect("renamed");
        let refused = stopped.refusal().await;
        assert!(refused.contains(&path.display().to_string()), "{name}: {refused}");
        assert!(refused.contains("identity recover"), "{refused}");
        assert!(!path.exists(), "{name} was made again");
        fs::rename(&aside, &path).expect("renamed");
    }
    // Everything but the database is gone, or but the key.
    let refused_without = |names: &'static [&'static str]| {
        let data = stopped.data_dir();
        for name in names {
            fs::rename(data.join(name), data.join(format!("{name}.aside"))).expect("renamed");
        }
        move || {
            for name in names {
                fs::rename(data.join(format!("{name}.aside")), data.join(name)).expect("renamed");
            }
        }
    };
    let restore = refused_without(&["repo", "did.txt", "signing.key"]);
    assert!(stopped.refusal().await.contains("repo is missing"));
    restore();
    let restore = refused_without(&["repo", "did.txt", "hold.sqlite"]);
    assert!(stopped.refusal().await.contains("repo is missing"));
    restore();

    // Another identity in the settings is refused before anything is changed.
    plc(&mut stopped.settings).did = Some("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse().expect("a DID"));
    assert!(stopped.refusal().await.contains("did.txt"));
    stopped.settings.identity = IdentitySettings::Web("did:web:hold.test".parse().expect("a DID"));
    assert!(stopped.refusal().await.contains("did.txt"));
    assert_eq!(directory.dids().len(), 1);
}

#[tokio::test]
async fn a_running_hold_changes_its_key_and_followers_keep_their_chain() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let data = hold.data_dir();
    let old = key_in(&data.join("signing.key")).public_key();
    let before = seq(&hold).await;
    hold.hold.change_key_if_asked().await.expect("no one asked");
    assert_eq!(seq(&hold).await, before);

    let next = make_key(&data.join("signing.key.next"));
    hold.hold.change_key_if_asked().await.expect("changed");
    assert_eq!(key_in(&data.join("signing.key")).public_key(), next);
    assert!(!data.join("signing.key.next").exists());
    let kept: Vec<_> = fs::read_dir(&data)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "old"))
        .collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(key_in(&kept[0]).public_key(), old);
    assert_eq!(
        newest(&directory, &hold).verification_methods["atproto"],
        next.to_did_key()
    );
    assert_eq!(served_key(&hold).await, next.to_did_key());
    assert_eq!(kinds_after(&hold, before).await, ["identity", "commit", "sync"]);
    assert_eq!(
        kinds_after(&hold, 0).await.len(),
        3,
        "what the old key signed is not served"
    );
    hold.hold.repo().verify().await.expect("signed by the new key");

    let after = seq(&hold).await;
    let hold = hold.restart(|_| ()).await;
    assert_eq!(seq(&hold).await, after);
    hold.stop().await;
}

#[tokio::test]
async fn a_change_of_the_key_that_a_crash_interrupted_is_finished_at_the_next_start() {
    let directory = Directory::start().await;
    let mut hold = start(&directory).await;
    let did = hold.did().to_string();
    for step in ["before the directory", "after the directory", "after the events"] {
        let before = seq(&hold).await;
        let stopped = hold.stop_to_restart().await;
        let data = stopped.data_dir();
        let (key, next_key) = (data.join("signing.key"), data.join("signing.key.next"));
        let next = make_key(&next_key);
        let mut expected = before;
        match step {
            "before the directory" => {}
            "after the directory" => {
                let last = directory.operations(&did).last().expect("one").clone();
                let mut said = last.data();
                said.verification_methods
                    .insert("atproto".to_owned(), next.to_did_key());
                let rotation = key_in(&data.join("rotation.key"));
                directory.add(
                    &did,
                    Operation::sign(said, Some(&last.cid()), &rotation),
                    LONG_AGO,
                );
            }
            _ => {
                let old = fs::read(&key).expect("read");
                let running = stopped.start(|_| ()).await.expect("it starts");
                expected = seq(&running).await;
                let again = running.stop_to_restart().await;
                fs::rename(&key, &next_key).expect("renamed");
                fs::write(&key, old).expect("written");
                fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
                hold = again.start(|_| ()).await.expect("it starts");
                assert_eq!(seq(&hold).await, expected, "followers are told once");
                assert_eq!(key_in(&key).public_key(), next);
                continue;
            }
        }
        hold = stopped.start(|_| ()).await.expect("it starts");
        assert_eq!(key_in(&key).public_key(), next, "{step}");
        assert!(!next_key.exists());
        assert_eq!(
            newest(&directory, &hold).verification_methods["atproto"],
            next.to_did_key()
        );
        assert_eq!(
            kinds_after(&hold, expected).await,
            ["identity", "commit", "sync"],
            "{step}"
        );
    }
    hold.stop().await;
}

#[tokio::test]
async fn a_change_of_the_key_that_the_directory_refuses_is_undone() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let data = hold.data_dir();
    let old = key_in(&data.join("signing.key")).public_key();
    let before = seq(&hold).await;
    let next = make_key(&data.join("signing.key.next"));
    directory.set_down(true);
    assert!(hold.hold.change_key_if_asked().await.is_err());
    hold.hold
        .repo()
        .write(Vec::new())
        .await
        .expect("nothing was changed yet");
    directory.set_down(false);
    directory.set_refuses(true);
    assert!(hold.hold.change_key_if_asked().await.is_err());
    assert!(!data.join("signing.key.next").exists());
    assert_eq!(key_in(&data.join("signing.key.refused")).public_key(), next);
    assert_eq!(key_in(&data.join("signing.key")).public_key(), old);
    assert_eq!(served_key(&hold).await, old.to_did_key());
    hold.hold
        .repo()
        .write(Vec::new())
        .await
        .expect("the old key signs on");
    assert_eq!(seq(&hold).await, before);
    hold.stop().await;
}

#[tokio::test]
async fn a_directory_that_has_too_many_operations_delays_a_change_of_the_key_and_stops_no_writes() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let next = make_key(&hold.data_dir().join("signing.key.next"));
    directory.set_busy(true);
    for _ in 0..8 {
        assert!(hold.hold.change_key_if_asked().await.is_err());
        hold.hold
            .repo()
            .write(Vec::new())
            .await
            .expect("the old key signs");
    }
    directory.set_busy(false);
    hold.hold.change_key_if_asked().await.expect("changed");
    assert_eq!(served_key(&hold).await, next.to_did_key());
    hold.stop().await;
}

#[tokio::test]
async fn a_hold_starts_with_its_old_key_while_the_directory_does_not_take_the_new_one() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let data = hold.data_dir();
    let old = key_in(&data.join("signing.key")).public_key().to_did_key();
    let stopped = hold.stop_to_restart().await;
    let next = make_key(&data.join("signing.key.next")).to_did_key();
    directory.set_busy(true);
    let hold = stopped.start(|_| ()).await.expect("it starts");
    assert_eq!(served_key(&hold).await, old);
    hold.hold.repo().introduce().await.expect("the old key signs");
    let stopped = hold.stop_to_restart().await;
    let refused = commands::rotate(&stopped.settings).await.expect_err("not now");
    assert!(refused.to_string().contains("did not take"), "{refused:#}");
    directory.set_busy(false);
    // Another operation may have been taken before, so a refusal counts only when it is repeated.
    directory.set_refuses(true);
    let hold = stopped.start(|_| ()).await.expect("it starts");
    assert_eq!(served_key(&hold).await, old);
    let write = async || hold.hold.repo().write(Vec::new()).await;
    for _ in 0..4 {
        write().await.expect_err("the document may name the next key");
        assert!(hold.hold.change_key_if_asked().await.is_err());
    }
    assert!(data.join("signing.key.next").exists());
    assert!(hold.hold.change_key_if_asked().await.is_err());
    write().await.expect("the old key signs on");
    assert!(data.join("signing.key.refused").exists() && !data.join("signing.key.next").exists());

    // What the directory takes in the end is the running hold's to finish.
    directory.set_refuses(false);
    fs::rename(data.join("signing.key.refused"), data.join("signing.key.next")).expect("renamed");
    let stopped = hold.stop_to_restart().await;
    directory.set_busy(true);
    let hold = stopped.start(|_| ()).await.expect("it starts");
    let before = seq(&hold).await;
    directory.set_busy(false);
    hold.hold.change_key_if_asked().await.expect("changed");
    assert_eq!(served_key(&hold).await, next);
    assert_eq!(kinds_after(&hold, before).await, ["identity", "commit", "sync"]);
    hold.stop().await;
}

#[tokio::test]
async fn a_hold_whose_key_is_perhaps_changed_starts_although_its_captain_record_is_out_of_date() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let stopped = hold.stop_to_restart().await;
    let next = make_key(&stopped.data_dir().join("signing.key.next")).to_did_key();
    directory.set_refuses(true);
    let hold = stopped
        .start(|settings| settings.public = Some(true))
        .await
        .expect("it starts");
    let write = hold.hold.repo().write(Vec::new()).await;
    write.expect_err("the document may name the next key");
    let is_public = async |hold: &TestHold| {
        let captain = hold.hold.repo().captain().await.expect("readable");
        captain.expect("a captain").public
    };
    assert!(!is_public(&hold).await);

    directory.set_refuses(false);
    hold.hold.change_key_if_asked().await.expect("changed");
    let hold = hold.restart(|_| ()).await;
    assert_eq!(served_key(&hold).await, next);
    assert!(is_public(&hold).await);
    hold.stop().await;
}

#[tokio::test]
async fn a_change_of_the_key_without_the_rotation_key_stops_no_writes() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let data = hold.data_dir();
    let old = key_in(&data.join("signing.key")).public_key().to_did_key();
    let stopped = hold.stop_to_restart().await;
    make_key(&data.join("signing.key.next"));
    fs::rename(data.join("rotation.key"), data.join("rotation.kept")).expect("renamed");
    let hold = stopped.start(|_| ()).await.expect("it starts");
    assert_eq!(served_key(&hold).await, old);
    let write = hold.hold.repo().write(Vec::new()).await;
    write.expect("nothing was sent to the directory");
    hold.stop().await;
}

#[tokio::test]
async fn a_change_of_the_key_whose_answer_was_lost_is_not_given_up_because_it_is_refused_a_second_time() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let data = hold.data_dir();
    let before = seq(&hold).await;
    let next = make_key(&data.join("signing.key.next"));
    // It is taken; neither the answer nor what is read says so.
    directory.set_loses_answers(true);
    directory.set_lacks(1);
    assert!(hold.hold.change_key_if_asked().await.is_err());
    assert_eq!(directory.operations(hold.did().as_str()).len(), 2);
    hold.hold
        .repo()
        .write(Vec::new())
        .await
        .expect_err("the document may name the next key");
    // The same operation does not follow itself.
    directory.set_loses_answers(false);
    assert!(hold.hold.change_key_if_asked().await.is_err());
    assert!(data.join("signing.key.next").exists());
    directory.set_lacks(0);
    hold.hold.change_key_if_asked().await.expect("changed");
    assert_eq!(directory.operations(hold.did().as_str()).len(), 2);
    assert_eq!(served_key(&hold).await, next.to_did_key());
    assert_eq!(kinds_after(&hold, before).await, ["identity", "commit", "sync"]);
    hold.stop().await;
}

#[tokio::test]
async fn the_key_of_a_did_web_changes_with_its_document() {
    let hold = TestHold::start(Setup::default()).await;
    let data = hold.data_dir();
    let before = seq(&hold).await;
    let next = make_key(&data.join("signing.key.next"));
    hold.hold.change_key_if_asked().await.expect("changed");
    assert_eq!(served_key(&hold).await, next.to_did_key());
    assert_eq!(kinds_after(&hold, before).await, ["identity", "commit", "sync"]);
    let before = seq(&hold).await;
    let stopped = hold.stop_to_restart().await;
    commands::rotate(&stopped.settings).await.expect("changed");
    let hold = stopped.start(|_| ()).await.expect("it starts");
    assert_eq!(kinds_after(&hold, before).await, ["identity", "commit", "sync"]);
    assert_ne!(served_key(&hold).await, next.to_did_key());
    hold.stop().await;
}

#[tokio::test]
async fn a_lost_machine_is_recovered_with_the_rotation_key() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let did = hold.did().clone();
    let stopped = hold.stop_to_restart().await;
    let data = stopped.data_dir();
    let rotation = key_in(&data.join("rotation.key"));
    let lost = key_in(&data.join("signing.key")).public_key();
    fs::remove_dir_all(&data).expect("removed");

    // Starting with the DID alone would begin another repository under it.
    let mut configured = stopped.settings.clone();
    plc(&mut configured).did = Some(did.clone());
    let stopped = Stopped {
        settings: configured.clone(),
        ..stopped
    };
    let refused = stopped.refusal().await;
    assert!(refused.contains("has a repository"), "{refused}");
    let refused = commands::recover(&configured, None)
        .await
        .expect_err("no rotation key");
    assert!(refused.to_string().contains("rotation key"), "{refused:#}");

    plc(&mut configured).rotation_key = Some(rotation);
    plc(&mut configured).did = None;
    commands::recover(&configured, Some(did.clone()))
        .await
        .expect("recovered");
    let other = Some("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse().expect("a DID"));
    let refused = commands::recover(&configured, other)
        .await
        .expect_err("another DID");
    assert!(refused.to_string().contains(did.as_str()), "{refused:#}");
    let stopped = Stopped {
        settings: configured,
        ..stopped
    };
    let hold = stopped.start(|_| ()).await.expect("it starts");
    assert_eq!(*hold.did(), did);
    let signing = key_in(&data.join("signing.key")).public_key();
    assert_ne!(signing, lost);
    assert_eq!(
        newest(&directory, &hold).verification_methods["atproto"],
        signing.to_did_key()
    );
    assert_eq!(
        &kinds_after(&hold, 0).await[..4],
        ["identity", "account", "commit", "sync"]
    );

    // Only the key is lost: the repository goes on under a new one.
    let before = seq(&hold).await;
    let rev = hold.hold.repo().latest_commit().rev;
    let stopped = hold.stop_to_restart().await;
    fs::remove_file(data.join("signing.key")).expect("removed");
    commands::recover(&stopped.settings, None)
        .await
        .expect("recovered");
    let hold = stopped.start(|_| ()).await.expect("it starts");
    assert_eq!(kinds_after(&hold, before).await, ["identity", "commit", "sync"]);
    assert!(hold.hold.repo().latest_commit().rev > rev);
    assert_ne!(served_key(&hold).await, signing.to_did_key());
    hold.stop().await;
}

#[tokio::test]
async fn a_did_that_was_made_elsewhere_is_taken_over() {
    let directory = Directory::start().await;
    let rotation = SigningKey::generate(Curve::K256);
    let data = PlcData {
        rotation_keys: vec![rotation.public_key().to_did_key()],
        also_known_as: vec!["https://harbour.example.com".to_owned()],
        ..PlcData::default()
    };
    let made = Operation::sign(data, None, &rotation);
    let did = made.did().expect("a DID");
    directory.add(did.as_str(), made, LONG_AGO);
    let hold = start_with(&directory, |config| {
        config.database.did = did.to_string();
        let key = rotation.to_multikey();
        config.database.rotation_key =
            serde_json::from_value(json!(secrecy::ExposeSecret::expose_secret(&key))).expect("a secret");
    })
    .await;
    assert_eq!(*hold.did(), did);
    let said = newest(&directory, &hold);
    assert_eq!(said.also_known_as.len(), 2, "names of others stay");
    assert_eq!(said.verification_methods["atproto"], served_key(&hold).await);
    let hold = hold.restart(|settings| plc(settings).did = None).await;
    assert_eq!(*hold.did(), did, "did.txt has it");
    hold.stop().await;
}

#[tokio::test]
async fn a_hold_made_in_the_place_of_another_says_so() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let stopped = hold.stop_to_restart().await;
    assert!(
        commands::init(&stopped.settings, None).await.is_err(),
        "a hold is there"
    );
    fs::remove_dir_all(stopped.data_dir()).expect("removed");
    commands::init(
        &stopped.settings,
        Some("did:web:old.test".parse().expect("a DID")),
    )
    .await
    .expect("made");
    let hold = stopped.start(|_| ()).await.expect("it starts");
    assert_eq!(
        &kinds_after(&hold, 0).await[..5],
        ["account", "identity", "account", "commit", "sync"]
    );
    assert_eq!(directory.dids().len(), 2);
    hold.stop().await;
}

#[tokio::test]
async fn the_files_of_an_original_hold_are_taken_over_as_they_are() {
    let directory = Directory::start().await;
    let hold = start(&directory).await;
    let did = hold.did().clone();
    let stopped = hold.stop_to_restart().await;
    let data = stopped.data_dir();
    let (signing, rotation) = (
        key_in(&data.join("signing.key")),
        key_in(&data.join("rotation.key")),
    );
    let raw = |key: &SigningKey| {
        let text = key.to_multikey();
        let text = secrecy::ExposeSecret::expose_secret(&text).to_owned();
        multibase_bytes(&text)
    };
    fs::remove_dir_all(&data).expect("removed");
    fs::create_dir(&data).expect("made");
    let write = |name: &str, content: &[u8]| {
        fs::write(data.join(name), content).expect("written");
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).expect("set");
    };
    // Its signing key is the scalar alone, its rotation key a multibase text, its DID without a line's end.
    write("signing.key", &raw(&signing)[2..]);
    let text = rotation.to_multikey();
    write(
        "rotation.key",
        secrecy::ExposeSecret::expose_secret(&text).as_bytes(),
    );
    write("did.txt", did.as_str().as_bytes());
    write("carstore.sqlite3", b"what this hold does not read");

    let refused = stopped.refusal().await;
    assert!(refused.contains("repo is missing"), "{refused}");
    commands::recover(&stopped.settings, None)
        .await
        .expect("recovered");
    let hold = stopped.start(|_| ()).await.expect("it starts");
    assert_eq!(*hold.did(), did);
    assert_eq!(served_key(&hold).await, signing.public_key().to_did_key());
    assert_eq!(
        directory.operations(did.as_str()).len(),
        1,
        "nothing had to be changed"
    );
    hold.stop().await;
}

/// The bytes of a multibase text in base58btc.
fn multibase_bytes(text: &str) -> Vec<u8> {
    const DIGITS: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes: Vec<u8> = Vec::new();
    for digit in text.strip_prefix('z').expect("base58btc").chars() {
        let mut carry = DIGITS.find(digit).expect("a digit");
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = u8::try_from(carry % 256).expect("below 256");
            carry /= 256;
        }
        while carry > 0 {
            bytes.insert(0, u8::try_from(carry % 256).expect("below 256"));
            carry /= 256;
        }
    }
    bytes
}
