use ipld_core::ipld::Ipld;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{DataModelError, MAX_DEPTH, cid_of, ipld_to_json, json_to_ipld, record_to_ipld};

const CID: &str = "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity";

fn error(value: &Value) -> DataModelError {
    json_to_ipld(value).unwrap_err()
}

#[test]
fn links_and_bytes_become_what_they_stand_for() {
    let json = json!({"link": {"$link": CID}, "bytes": {"$bytes": "AQID"}, "list": [1, -2, null, true, "x"]});
    let ipld = json_to_ipld(&json).unwrap();
    assert_eq!(ipld.get("link").unwrap(), Some(&Ipld::Link(CID.parse().unwrap())));
    assert_eq!(ipld.get("bytes").unwrap(), Some(&Ipld::Bytes(vec![1, 2, 3])));
    assert_eq!(ipld_to_json(&ipld).unwrap(), json);
}

#[test]
fn padding_does_not_matter() {
    for text in ["AQ", "AQ=="] {
        assert_eq!(
            json_to_ipld(&json!({"$bytes": text})).unwrap(),
            Ipld::Bytes(vec![1])
        );
    }
}

#[test]
fn what_the_data_model_lacks_is_refused() {
    assert_eq!(error(&json!({"a": 1.5})), DataModelError::Float);
    assert_eq!(error(&json!({"a": 1e300})), DataModelError::Float);
    assert_eq!(error(&json!({"a": u64::MAX})), DataModelError::IntegerRange);
    assert_eq!(error(&json!({"$link": CID, "x": 1})), DataModelError::InvalidLink);
    let dag_json = cid_of(0x0129, b"{}").to_string();
    assert_eq!(error(&json!({"$link": dag_json})), DataModelError::InvalidLink);
    assert_eq!(
        error(&json!({"$link": "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"})),
        DataModelError::InvalidLink
    );
    assert_eq!(error(&json!({"$bytes": "&"})), DataModelError::InvalidBytes);
    assert_eq!(error(&json!({"$type": 3})), DataModelError::InvalidType);
    assert_eq!(
        error(&json!({"$type": "blob", "ref": {"$link": CID}})),
        DataModelError::InvalidBlob
    );
    assert_eq!(record_to_ipld(&json!([])), Err(DataModelError::NotAnObject));
    assert_eq!(ipld_to_json(&Ipld::Float(1.0)), Err(DataModelError::Float));
    assert_eq!(
        ipld_to_json(&Ipld::Integer(i128::from(u64::MAX))),
        Err(DataModelError::IntegerRange)
    );
}

#[test]
fn depth_is_bounded_both_ways() {
    let nested = |depth| (1..depth).fold(json!([]), |inner, _| json!([inner]));
    assert!(json_to_ipld(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(error(&nested(MAX_DEPTH + 1)), DataModelError::TooDeep);
    let deep = (0..MAX_DEPTH).fold(Ipld::Null, |inner, _| Ipld::List(vec![inner]));
    assert_eq!(ipld_to_json(&deep), Err(DataModelError::TooDeep));
}

#[test]
fn the_cid_of_bytes_is_version_one_sha256() {
    assert_eq!(
        cid_of(super::RAW, b"").to_string(),
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    );
}

fn any_ipld() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        any::<i64>().prop_map(|value| Ipld::Integer(value.into())),
        "[a-z]{0,8}".prop_map(Ipld::String),
        prop::collection::vec(any::<u8>(), 0..16).prop_map(Ipld::Bytes),
        prop::collection::vec(any::<u8>(), 0..16).prop_map(|bytes| Ipld::Link(cid_of(super::RAW, &bytes))),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Ipld::List),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..4).prop_map(Ipld::Map),
        ]
    })
}

proptest! {
    #[test]
    fn conversion_there_and_back_changes_nothing(ipld in any_ipld()) {
        let json = ipld_to_json(&ipld).unwrap();
        prop_assert_eq!(&json_to_ipld(&json).unwrap(), &ipld);
        let bytes = serde_ipld_dagcbor::to_vec(&ipld).unwrap();
        prop_assert_eq!(serde_ipld_dagcbor::from_slice::<Ipld>(&bytes).unwrap(), ipld);
    }
}
