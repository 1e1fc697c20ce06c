//! The vectors of `data-model/`.

use atcr_atproto::Cid;
use atcr_atproto::data_model::{DAG_CBOR, cid_of, ipld_to_json, json_to_ipld, record_to_ipld};
use data_encoding::BASE64_NOPAD;
use ipld_core::ipld::Ipld;
use serde::Deserialize;
use serde_json::Value;

use crate::suites;

#[derive(Deserialize)]
struct Fixture {
    json: Value,
    cbor_base64: String,
    cid: String,
}

#[test]
fn json_cbor_and_cid_agree() {
    let fixtures: Vec<Fixture> = suites::json("data-model/data-model-fixtures.json").unwrap_or_default();
    for fixture in fixtures {
        let expected = BASE64_NOPAD.decode(fixture.cbor_base64.as_bytes()).unwrap();
        let ipld = json_to_ipld(&fixture.json).unwrap();
        let bytes = serde_ipld_dagcbor::to_vec(&ipld).unwrap();
        assert_eq!(bytes, expected, "{}", fixture.json);
        assert_eq!(cid_of(DAG_CBOR, &bytes), fixture.cid.parse::<Cid>().unwrap());
        let read: Ipld = serde_ipld_dagcbor::from_slice(&expected).unwrap();
        assert_eq!(ipld_to_json(&read).unwrap(), fixture.json);
    }
}

#[derive(Deserialize)]
struct Case {
    note: String,
    json: Value,
}

#[test]
fn valid_records_are_accepted_and_invalid_ones_refused() {
    for (file, valid) in [
        ("data-model/data-model-valid.json", true),
        ("data-model/data-model-invalid.json", false),
    ] {
        let cases: Vec<Case> = suites::json(file).unwrap_or_default();
        for case in cases {
            assert_eq!(record_to_ipld(&case.json).is_ok(), valid, "{}", case.note);
        }
    }
}
