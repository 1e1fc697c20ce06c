//! A PDS whose answers are longer, deeper or denser than they may be, and the memory that they take.

use std::time::Duration;

use atcr_atproto::egress::AnswerMemory;
use atcr_atproto::lexicon::{BlobRef, nsid};
use atcr_atproto::pds::{ListRecords, MAX_ANSWER_BYTES, PdsClient, PdsError, RecordEntry};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::pds_faults::{alice, answering, rkey};

/// What `get_record` makes of a record with one more field.
async fn record_with(filler: &str) -> Result<Option<RecordEntry>, PdsError> {
    let uri = format!("at://{}/{}/self", alice(), nsid::SAILOR_PROFILE);
    let body = format!(r#"{{"uri":"{uri}","value":{{"$type":"x","filler":{filler}}}}}"#);
    let (_server, client) = answering(ResponseTemplate::new(200).set_body_string(body)).await;
    client.get_record(&alice(), nsid::SAILOR_PROFILE, &rkey()).await
}

#[tokio::test]
async fn a_record_that_costs_more_than_it_may_is_not_parsed() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(record_with(&nested(60)).await.unwrap().is_some());
    for depth in [64, 100_000] {
        let error = record_with(&nested(depth)).await.unwrap_err();
        assert!(matches!(error, PdsError::Malformed { .. }), "{error:?}");
    }
    // 1.4 MB that would take 130 MB.
    let dense = format!("[{}]", vec![r#"{"":0}"#; 200_000].join(","));
    let error = record_with(&dense).await.unwrap_err();
    assert!(matches!(error, PdsError::TooLarge { .. }), "{error:?}");
    let long = |len: usize| format!("\"{}\"", "x".repeat(len));
    assert!(record_with(&long(1024 * 1024)).await.unwrap().is_some());
    let error = record_with(&long(MAX_ANSWER_BYTES)).await.unwrap_err();
    assert!(matches!(error, PdsError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_page_of_more_records_than_there_may_be_is_refused() {
    let uri = format!("at://{}/io.atcr.tag/app_latest", alice());
    let page = |records: usize, cursor: &str| {
        let record = json!({"uri": uri, "value": {"tag": "x".repeat(200)}});
        let body = json!({"records": vec![record; records], "cursor": cursor});
        ResponseTemplate::new(200).set_body_json(body)
    };
    let list = async |answer| {
        let (_server, client) = answering(answer).await;
        client
            .list_records(&alice(), nsid::TAG, ListRecords::default())
            .await
    };
    assert_eq!(list(page(100, "next")).await.unwrap().records.len(), 100);
    for answer in [page(101, "next"), page(1, &"x".repeat(5000))] {
        let error = list(answer).await.unwrap_err();
        assert!(matches!(error, PdsError::Malformed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn records_count_as_in_flight_as_long_as_they_live() {
    let filler = "x".repeat(100_000);
    let uri = format!("at://{}/io.atcr.tag/app_latest", alice());
    let answer = json!({"records": [{"uri": uri, "value": {"filler": filler}}]});
    let (_server, client) = answering(ResponseTemplate::new(200).set_body_json(answer)).await;
    let page = client
        .list_records(&alice(), nsid::TAG, ListRecords::default())
        .await
        .unwrap();
    let memory = client.egress().memory().clone();
    assert!(memory.in_flight() > 1_000_000, "{memory:?}");
    drop(page);
    assert_eq!(memory.in_flight(), 0);
}

#[tokio::test]
async fn a_blob_waits_for_memory_and_gives_it_back() {
    let bytes = "right ".repeat(2_000);
    let (blob, max) = (BlobRef::of(bytes.as_bytes(), "text/plain"), bytes.len() as u64);
    let (_server, client) = answering(ResponseTemplate::new(200).set_body_string(bytes.clone())).await;
    let egress = client.egress().clone().with_memory(AnswerMemory::new(32 * 1024));
    let client = PdsClient::new(client.base().clone(), egress.clone());
    assert_eq!(client.get_blob(&alice(), &blob.cid, max).await.unwrap(), bytes);
    let host = client.base().host_str().unwrap().to_owned();
    let held = egress
        .memory()
        .read(&host, 16 * 1024, Duration::ZERO)
        .await
        .unwrap();
    let impatient = client.clone().with_timeout(Duration::from_millis(50));
    let error = impatient.get_blob(&alice(), &blob.cid, max).await.unwrap_err();
    assert!(
        matches!(error, PdsError::Timeout { .. } | PdsError::Unreachable { .. }),
        "{error:?}"
    );
    drop(held);
    client.get_blob(&alice(), &blob.cid, max).await.unwrap();
    assert_eq!(egress.memory().in_flight(), 0);
}
