use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Approval, Decision, DeviceName, DeviceSecret, DeviceSecretError, PendingDevice, Turn, UserCode};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn pending() -> PendingDevice {
    PendingDevice::begin(DeviceName::new("laptop"), Some(ADDRESS), now())
}

#[test]
fn user_codes_are_read_as_people_type_them() {
    for _ in 0..200 {
        let code = UserCode::generate();
        let (letters, digits) = code.as_str().split_once('-').unwrap();
        assert_eq!((letters.len(), digits.len()), (4, 4));
        for spelling in [
            code.to_string(),
            code.as_str().to_lowercase(),
            format!(" {letters}{digits} "),
            format!("{letters} – {digits}"),
        ] {
            assert_eq!(spelling.parse(), Ok(code.clone()), "{spelling:?}");
        }
    }
    for text in [
        "",
        "BCDF-123",
        "BCDF-12345",
        "ABCD-1234",
        "1234-BCDF",
        "BCDF-123٤",
        "ÄCDF-1234",
    ] {
        assert!(text.parse::<UserCode>().is_err(), "{text:?}");
    }
}

#[test]
fn secrets_of_other_servers_are_recognised_by_their_form_and_passwords_are_not() {
    let recognised = |text: &str| DeviceSecret::is_of_another_server(&SecretString::from(text.to_owned()));
    let base64 = "p6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6c";
    for secret in [
        base64.to_owned(),
        format!("{base64}="),
        format!("atcr_device_{base64}"),
        "a7".repeat(32),
        "A7".repeat(32),
    ] {
        assert!(recognised(&secret), "{secret}");
    }
    for password in [
        "",
        "abcd-efgh-ijkl-mnop",
        "correct horse battery staple and forty-three",
        &base64[1..],
        &"z".repeat(64),
        &"a7".repeat(31),
    ] {
        assert!(!recognised(password), "{password}");
    }
}

#[test]
fn a_secret_is_recognised_by_its_form_and_known_by_its_hash() {
    let secret = DeviceSecret::generate();
    let read = DeviceSecret::parse(secret.expose()).unwrap().unwrap();
    assert_eq!(read.id(), secret.id());
    assert!(read.matches(&secret.hash()));
    assert!(!read.matches(&DeviceSecret::generate().hash()));
    assert!(!read.matches(&secret.hash()[..31]));

    let parse = |text: &str| DeviceSecret::parse(&SecretString::from(text.to_owned()));
    assert!(parse("abcd-efgh-ijkl-mnop").is_none());
    let whole = secret.expose().expose_secret();
    for text in [
        "atcr_device_",
        "atcr_device_x_y",
        &whole[..whole.len() - 1],
        &format!("{whole}A"),
    ] {
        assert_eq!(parse(text).unwrap().unwrap_err(), DeviceSecretError, "{text}");
    }
    // One changed character keeps the form and the row it finds, and is wrong.
    let last = if whole.ends_with('A') { 'B' } else { 'A' };
    let forged = parse(&format!("{}{last}", &whole[..whole.len() - 1]))
        .unwrap()
        .unwrap();
    assert_eq!(forged.id(), secret.id());
    assert!(!forged.matches(&secret.hash()));
}

#[test]
fn secrets_and_codes_are_not_in_debug_output() {
    let secret = DeviceSecret::generate();
    let tail = secret
        .expose()
        .expose_secret()
        .rsplit('_')
        .next()
        .unwrap()
        .to_owned();
    assert!(!format!("{secret:?}").contains(&tail));
}

#[test]
fn names_lose_what_hides_or_turns_text() {
    for (text, name) in [
        ("alice's laptop", "alice's laptop"),
        ("  Zoë\t\n MacBook  ", "Zoë MacBook"),
        ("\u{202e}gnp.exe\u{2066}", "gnp.exe"),
        ("a\u{0}b\u{7f}c\u{200b}d\u{feff}", "abcd"),
        ("z\u{335}\u{336}\u{337}algo", "zalgo"),
        ("\u{3164}\u{e0041}", "unnamed device"),
        ("", "unnamed device"),
        ("機械", "機械"),
        ("<b>x</b>", "<b>x</b>"),
    ] {
        assert_eq!(DeviceName::new(text).as_str(), name, "{text:?}");
    }
    assert_eq!(DeviceName::new(&"x".repeat(1000)).as_str().len(), 100);
}

#[test]
fn a_device_that_polls_too_fast_is_slowed_down() {
    let mut device = pending();
    assert_eq!(device.poll(now()), Turn::Pending);
    assert_eq!(device.poll(now() + TimeDelta::seconds(5)), Turn::Pending);
    assert_eq!(device.poll(now() + TimeDelta::seconds(6)), Turn::SlowDown);
    // Five seconds were enough before; ten are now.
    assert_eq!(device.poll(now() + TimeDelta::seconds(12)), Turn::SlowDown);
    assert_eq!(device.poll(now() + TimeDelta::seconds(27)), Turn::Pending);
    for _ in 0..100 {
        device.poll(now() + TimeDelta::seconds(27));
    }
    assert_eq!(device.interval, TimeDelta::seconds(60));
}

#[test]
fn a_decision_is_told_until_the_code_ends() {
    let approval = Approval {
        did: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
        handle: None,
    };
    let mut device = pending();
    assert!(device.is_open(now()));
    device.decision = Decision::Approved(approval.clone());
    assert!(!device.is_open(now()));
    // Even one that polls too fast: waiting would gain nothing.
    assert_eq!(device.poll(now()), Turn::Approved(approval.clone()));
    assert_eq!(device.poll(now()), Turn::Approved(approval));
    assert_eq!(device.poll(now() + TimeDelta::minutes(10)), Turn::Expired);
    device.decision = Decision::Denied;
    assert_eq!(device.poll(now()), Turn::Denied);
    assert!(!pending().is_open(now() + TimeDelta::minutes(10)));
}
