use std::net::SocketAddr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::TXT;
use tokio::net::UdpSocket;

use super::*;

/// A name server that knows `_atproto.alice.example.com`, fails for `_atproto.broken.example.com`, and denies the rest.
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
            let asked = Message::from_vec(&packet[..length]).unwrap();
            let question = asked.queries[0].clone();
            let mut answer = Message::response(asked.metadata.id, OpCode::Query);
            answer.add_query(question.clone());
            let mut record = |strings: &[&str]| {
                let strings = strings.iter().map(|&string| string.to_owned()).collect();
                answer.add_answer(Record::from_rdata(
                    question.name().clone(),
                    60,
                    RData::TXT(TXT::new(strings)),
                ));
            };
            match question.name().to_ascii().as_str() {
                "_atproto.alice.example.com." => {
                    record(&["v=spf1 -all"]);
                    record(&["did=did:plc:ewvi7nxz", "youn6zhxrhs64oiz"]);
                }
                "_atproto.empty.example.com." => {}
                "_atproto.broken.example.com." => answer.metadata.response_code = ResponseCode::ServFail,
                _ => answer.metadata.response_code = ResponseCode::NXDomain,
            }
            socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    address
}

async fn dns() -> SystemDns {
    let address = name_server().await;
    let mut connection = ConnectionConfig::udp();
    connection.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, vec!["search.example.com".parse().unwrap()], vec![server]);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    SystemDns {
        resolver: Some(start(builder).unwrap()),
    }
}

#[tokio::test]
async fn the_strings_of_a_record_are_joined() {
    let records = dns().await.txt("_atproto.alice.example.com").await.unwrap();
    assert_eq!(records, ["v=spf1 -all", "did=did:plc:ewvi7nxzyoun6zhxrhs64oiz"]);
}

#[tokio::test]
async fn a_name_without_records_is_an_answer_and_a_failing_server_is_none() {
    let dns = dns().await;
    for absent in [
        "_atproto.empty.example.com",
        "_atproto.nobody.example.com",
        "_atproto.alice",
    ] {
        assert_eq!(dns.txt(absent).await.unwrap(), Vec::<String>::new(), "{absent}");
    }
    dns.txt("_atproto.broken.example.com").await.unwrap_err();
    SystemDns { resolver: None }
        .txt("_atproto.alice.example.com")
        .await
        .unwrap_err();
}
