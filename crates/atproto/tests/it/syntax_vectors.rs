//! The vectors of `syntax/`.

use std::str::FromStr;

use atcr_atproto::syntax::{
    AtIdentifier, AtUri, CidString, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, Uri,
};

use crate::suites;

fn check(name: &str, accepts: impl Fn(&str) -> bool) {
    let wrongly_refused: Vec<_> = suites::lines(&format!("syntax/{name}_syntax_valid.txt"))
        .into_iter()
        .filter(|line| !accepts(line))
        .collect();
    let wrongly_accepted: Vec<_> = suites::lines(&format!("syntax/{name}_syntax_invalid.txt"))
        .into_iter()
        .filter(|line| accepts(line))
        .collect();
    assert!(
        wrongly_refused.is_empty(),
        "refused although valid: {wrongly_refused:?}"
    );
    assert!(
        wrongly_accepted.is_empty(),
        "accepted although invalid: {wrongly_accepted:?}"
    );
}

fn parses<T: FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

#[test]
fn dids() {
    check("did", parses::<Did>);
}

#[test]
fn handles() {
    check("handle", parses::<Handle>);
}

#[test]
fn at_identifiers() {
    check("atidentifier", parses::<AtIdentifier>);
}

#[test]
fn nsids() {
    check("nsid", parses::<Nsid>);
}

#[test]
fn record_keys() {
    check("recordkey", parses::<RecordKey>);
}

#[test]
fn tids() {
    check("tid", parses::<Tid>);
}

#[test]
fn at_uris() {
    check("aturi", parses::<AtUri>);
}

#[test]
fn uris() {
    check("uri", parses::<Uri>);
}

#[test]
fn languages() {
    check("language", parses::<Language>);
    for line in suites::lines("syntax/language_parse_invalid.txt") {
        assert!(!parses::<Language>(&line), "{line}");
    }
}

#[test]
fn datetimes() {
    check("datetime", parses::<Datetime>);
    for line in suites::lines("syntax/datetime_parse_invalid.txt") {
        assert!(!parses::<Datetime>(&line), "{line}");
    }
}

#[test]
fn cids() {
    check("cid", parses::<CidString>);
}
