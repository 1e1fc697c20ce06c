use chrono::{DateTime, Utc};
use proptest::prelude::*;
use url::Url;

use super::{AtIdentifier, AtUri, CidString, Datetime, Did, Handle, RecordKey, Tid};

fn did(text: &str) -> Did {
    text.parse().unwrap()
}

fn web(url: &str) -> Option<String> {
    Did::web_from_url(&Url::parse(url).unwrap())
        .ok()
        .map(String::from)
}

#[test]
fn a_service_url_gives_its_did_web() {
    assert_eq!(
        web("https://hold.example.com").as_deref(),
        Some("did:web:hold.example.com")
    );
    assert_eq!(
        web("https://HOLD.example.com:443/").as_deref(),
        Some("did:web:hold.example.com")
    );
    assert_eq!(
        web("http://localhost:8080").as_deref(),
        Some("did:web:localhost%3A8080")
    );
    assert_eq!(
        web("http://127.0.0.1:5000/").as_deref(),
        Some("did:web:127.0.0.1%3A5000")
    );
}

#[test]
fn urls_without_a_did_web_are_refused() {
    for url in [
        "https://example.com/hold",
        "https://[::1]:8080",
        "ftp://example.com",
        "data:text/plain,x",
    ] {
        assert_eq!(web(url), None, "{url}");
    }
}

#[test]
fn a_did_web_tells_its_host() {
    assert_eq!(
        did("did:web:localhost%3A8080").web_host().as_deref(),
        Some("localhost:8080")
    );
    assert_eq!(
        did("did:web:hold.example.com").web_host().as_deref(),
        Some("hold.example.com")
    );
    assert_eq!(did("did:web:example.com:path").web_host(), None);
    assert_eq!(did("did:web:example.com%2Fpath").web_host(), None);
    assert_eq!(did("did:plc:7iza6de2dwap2sbkpav7c6c6").web_host(), None);
}

#[test]
fn dids_in_image_names_come_back_the_same() {
    let pairs = [
        (
            "did:plc:7iza6de2dwap2sbkpav7c6c6",
            "did-plc-7iza6de2dwap2sbkpav7c6c6",
        ),
        ("did:web:hold.example.com", "did-web-hold.example.com"),
        ("did:web:my-hold.example.com", "did-web-my-hold.example.com"),
        ("did:web:localhost%3A8080", "did-web-localhost__8080"),
    ];
    for (text, segment) in pairs {
        assert_eq!(did(text).to_image_segment().as_deref(), Some(segment));
        assert_eq!(Did::from_image_segment(segment), Ok(did(text)));
        assert_eq!(
            AtIdentifier::from_image_segment(segment),
            Ok(AtIdentifier::Did(did(text)))
        );
    }
}

#[test]
fn dids_that_an_image_name_cannot_hold_have_no_segment() {
    for text in [
        "did:web:Example.com",
        "did:web:example.com:a",
        "did:key:zQ3s",
        "did:plc:short",
        "did:web:h%3A99999",
    ] {
        assert_eq!(did(text).to_image_segment(), None, "{text}");
    }
}

#[test]
fn a_handle_that_begins_like_a_hyphenated_did_is_a_handle() {
    let name = "did-plc-fan.example.com";
    assert_eq!(
        AtIdentifier::from_image_segment(name),
        Ok(AtIdentifier::Handle(name.parse().unwrap()))
    );
    for text in [
        "did-plc-",
        "did-web-",
        "did-web-a__",
        "did-web-a__08",
        "did-web-..",
        "did-key-z",
        "did:plc",
    ] {
        assert!(Did::from_image_segment(text).is_err(), "{text}");
    }
}

#[test]
fn handles_are_lower_cased() {
    let handle: Handle = "Alice.TEST".parse().unwrap();
    assert_eq!(handle.as_str(), "alice.test");
    assert!(!handle.has_disallowed_tld());
    assert!("alice.local".parse::<Handle>().unwrap().has_disallowed_tld());
}

#[test]
fn at_uris_come_apart() {
    let uri: AtUri = "at://did:plc:asdf123/io.atcr.tag/app_latest".parse().unwrap();
    assert_eq!(uri.did(), Some(did("did:plc:asdf123")));
    assert_eq!(uri.collection(), Some("io.atcr.tag"));
    assert_eq!(uri.rkey().unwrap(), "app_latest");
    let rkey: RecordKey = "app_latest".parse().unwrap();
    assert_eq!(
        AtUri::record(&did("did:plc:asdf123"), "io.atcr.tag", &rkey),
        Ok(uri)
    );
    assert!(AtUri::record(&did("did:plc:asdf123"), "not an nsid", &rkey).is_err());
}

#[test]
fn a_cid_in_text_may_turn_out_to_be_none() {
    let cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        .parse::<CidString>()
        .unwrap();
    assert_eq!(CidString::from(cid.to_cid().unwrap()), cid);
    assert_eq!("mBcDxtdWx0aWhhc2g+".parse::<CidString>().unwrap().to_cid(), None);
}

#[test]
fn datetimes_keep_their_spelling() {
    let written = "1985-04-12T23:20:50.1234567+01:45";
    let datetime: Datetime = written.parse().unwrap();
    assert_eq!(datetime.as_str(), written);
    assert_eq!(
        datetime.to_utc().to_rfc3339(),
        "1985-04-12T21:35:50.123456700+00:00"
    );
}

#[test]
fn deserialising_refuses_what_parsing_refuses() {
    assert!(serde_json::from_str::<Did>("\"did:plc:x\"").is_ok());
    assert!(serde_json::from_str::<Did>("\"plc:x\"").is_err());
    assert!(serde_json::from_str::<Tid>("123").is_err());
    assert_eq!(serde_json::to_string(&did("did:plc:x")).unwrap(), "\"did:plc:x\"");
}

proptest! {
    #[test]
    fn tids_sort_like_their_instants(a in 0u64..1 << 53, b in 0u64..1 << 53, clock_id in 0u16..1024) {
        let (first, second) = (Tid::from_parts(a, clock_id), Tid::from_parts(b, clock_id));
        prop_assert_eq!(first.cmp(&second), a.cmp(&b));
        prop_assert_eq!((first.micros(), first.clock_id()), (a, clock_id));
        prop_assert_eq!(first.as_str().parse::<Tid>(), Ok(first));
    }

    #[test]
    fn every_instant_makes_a_valid_datetime(seconds in -62_167_219_200i64..=253_402_300_799, millis in 0u32..1000) {
        let at: DateTime<Utc> = DateTime::from_timestamp(seconds, millis * 1_000_000).unwrap();
        let datetime = Datetime::new(at);
        prop_assert_eq!(datetime.to_utc(), at);
        prop_assert_eq!(datetime.as_str().parse::<Datetime>(), Ok(datetime));
    }

    #[test]
    fn no_input_panics(text in "\\PC*") {
        let _ = text.parse::<AtIdentifier>();
        let _ = text.parse::<AtUri>();
        let _ = text.parse::<Datetime>();
        let _ = text.parse::<super::Language>();
        let _ = text.parse::<super::Nsid>();
        let _ = text.parse::<super::Uri>();
        let _ = AtIdentifier::from_image_segment(&text);
        let _ = text.parse::<super::CidString>().map(|cid| cid.to_cid());
    }
}

#[test]
fn a_did_web_with_a_port_has_one_spelling() {
    let normal = |text: &str| text.parse::<Did>().unwrap().normalised().to_string();
    for text in [
        "did:web:172.28.0.3:8080",
        "did:web:172.28.0.3%3a8080",
        "did:web:172.28.0.3%3A8080",
    ] {
        assert_eq!(normal(text), "did:web:172.28.0.3%3A8080");
    }
    for same in [
        "did:web:example.com",
        "did:web:example.com:users:alice",
        "did:plc:ewvi7nxzyoun6zhxrhs64oiz",
    ] {
        assert_eq!(normal(same), same);
    }
}
