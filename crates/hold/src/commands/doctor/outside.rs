//! What others get to see at the hold's URL: names, TLS, the documents, and events through the proxy.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use atcr_atproto::egress::EgressClient;
use atcr_atproto::egress::address_ranges::{is_local_host, is_public};
use atcr_hold_pds::identity::HoldIdentity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use http::{Method, StatusCode, header};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use super::Patient;
use super::finding::Findings;
use super::network::Network;
use crate::commands::identity::did_of;
use crate::identity::establish::folder_of;
use crate::settings::HoldSettings;

/// Bytes of a document.
const MAX_DOCUMENT: usize = 64 * 1024;
/// How long a connection may take, and the first event: without one, the hold pings after 30 s.
const CONNECT: Duration = Duration::from_secs(10);
const FIRST_EVENT: Duration = Duration::from_secs(45);
/// Bytes of an event: the protocol's limit is 5 MB.
const MAX_EVENT: usize = 6 * 1024 * 1024;

/// Looks at `url` as a stranger does.
///
/// # Errors
/// There are no usable root certificates.
pub(super) async fn look(
    url: &Url,
    patient: &Patient<'_>,
    network: &Network,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let settings = patient.settings;
    if url.origin() != settings.public_url.origin() {
        findings.problem(
            "URL",
            format!("{url} is not server.public_url, which is {}", settings.public_url),
            "clients are sent to server.public_url: set it to the URL by which the hold is reached",
        );
    }
    let client = EgressClient::for_configured_hosts()?;
    if !names(url, findings).await || !health(url, &client, findings).await {
        return Ok(());
    }
    documents(url, patient, &client, network, findings).await;
    events(url, &client, findings).await;
    Ok(())
}

/// The host's addresses. `false`: there are none.
async fn names(url: &Url, findings: &mut Findings) -> bool {
    const CHECK: &str = "DNS";
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
    let mut addresses: Vec<IpAddr> = match found {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(error) => {
            findings.problem(
                CHECK,
                format!("{host} has no address: {error}"),
                format!("add an A record (and AAAA for IPv6) for {host} that leads to this machine"),
            );
            return false;
        }
    };
    addresses.dedup();
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let is_local = url.host().is_some_and(|host| is_local_host(&host));
    if !is_local && addresses.iter().any(|address| !is_public(*address)) {
        findings.warning(
            CHECK,
            format!(
                "{host} has the addresses {}, not all of which are public",
                shown.join(", ")
            ),
            "the network reaches public addresses only; /etc/hosts of this machine may be the reason",
        );
    } else {
        findings.ok(CHECK, format!("{host} has the addresses {}", shown.join(", ")));
    }
    true
}

/// Whether the hold answers, and by TLS. `false`: it does not.
async fn health(url: &Url, client: &EgressClient, findings: &mut Findings) -> bool {
    const CHECK: &str = "health";
    let tls = if url.scheme() == "https" {
        "a certificate that is good"
    } else {
        "no TLS"
    };
    match read(url, "/xrpc/_health", client).await {
        Ok(body) if serde_json::from_slice::<Value>(&body).is_ok_and(|body| body["version"].is_string()) => {
            findings.ok(CHECK, format!("{url} answers, with {tls}"));
            true
        }
        Ok(_) => {
            findings.problem(
                CHECK,
                format!("{url}xrpc/_health is not a hold's"),
                "let the proxy pass the host on to the hold, with every path as it is",
            );
            false
        }
        Err(error) => {
            findings.problem(
                CHECK,
                format!("{url} does not answer: {error:#}"),
                "see that the proxy runs, has a certificate for the name, and passes requests on to server.addr; that the ports 80 and \
                 443 are open; and that the hold runs",
            );
            false
        }
    }
}

async fn read(url: &Url, path: &str, client: &EgressClient) -> anyhow::Result<Vec<u8>> {
    let url = url.join(path)?;
    let answer = client.get_capped(&url, MAX_DOCUMENT, "application/json");
    let answer = answer.await.map_err(|error| anyhow::anyhow!(error.detail()))?;
    ensure!(answer.status.is_success(), "status {}", answer.status.as_u16());
    Ok(Vec::from(answer.bytes))
}

/// Who would serve what, if the folder has a hold.
fn own(settings: &HoldSettings) -> Option<HoldIdentity> {
    let folder = folder_of(settings);
    let did = did_of(settings, &folder).ok()?;
    let key = folder.signing_key().ok()??;
    HoldIdentity::of_did(did, &settings.public_url, key).ok()
}

async fn documents(
    url: &Url,
    patient: &Patient<'_>,
    client: &EgressClient,
    network: &Network,
    findings: &mut Findings,
) {
    let Some(own) = own(patient.settings) else {
        findings.problem(
            "did.json",
            "the folder has no key, so nobody can tell whether the hold at the URL is this one",
            "start the hold of this configuration",
        );
        return;
    };
    let other =
        "another hold, or an older one, answers at the URL: see where the proxy leads, and restart the hold";
    match read(url, "/.well-known/did.json", client).await {
        Err(error) => findings.problem("did.json", format!("it cannot be read: {error:#}"), other),
        Ok(body) => match serde_json::from_slice::<Value>(&body) {
            Ok(served) if served == own.document() => {
                findings.ok("did.json", format!("that of {}", own.did()));
            }
            Ok(served) => findings.problem(
                "did.json",
                format!(
                    "it is not what this hold would serve: its DID is {}",
                    served["id"]
                ),
                other,
            ),
            Err(error) => findings.problem("did.json", format!("it is no JSON: {error}"), other),
        },
    }
    match read(url, "/.well-known/atproto-did", client).await {
        Ok(body) if body == own.did().as_str().as_bytes() => {}
        Ok(_) => findings.problem("handle", "/.well-known/atproto-did has another DID", other),
        Err(error) => findings.problem("handle", format!("/.well-known/atproto-did: {error:#}"), other),
    }
    match network.did_of_handle(own.handle()).await {
        Ok(did) if did == *own.did() => {
            findings.ok("handle", format!("{} leads to {did} and back", own.handle()));
        }
        Ok(did) => findings.problem(
            "handle",
            format!("{} leads to {did}", own.handle()),
            format!("remove the TXT record _atproto.{}", own.handle()),
        ),
        Err(problem) => findings.warning(
            "handle",
            format!("{} is not confirmed: {problem}", own.handle()),
            "the hold works by its DID; others see a name only when it is confirmed",
        ),
    }
    match network.endpoint_of(own.did()).await {
        Ok(Some(found)) if found.origin() == patient.settings.public_url.origin() => {
            findings.ok("DID", format!("leads others to {found}"));
        }
        Ok(found) => findings.problem(
            "DID",
            format!(
                "leads others to {}",
                found.map_or_else(|| "nowhere".to_owned(), |url| url.to_string())
            ),
            "start the hold, which has the directory told of server.public_url",
        ),
        Err(problem) => findings.problem(
            "DID",
            format!("others cannot look it up: {problem}"),
            "see that the document is served by https under the name itself, without a redirect to another",
        ),
    }
}

/// Whether followers get events through the proxy.
async fn events(url: &Url, client: &EgressClient, findings: &mut Findings) {
    const CHECK: &str = "WebSocket";
    match first_event(url, client).await {
        Ok(()) => findings.ok(CHECK, "subscribeRepos opens, and events come"),
        Err(error) => findings.problem(
            CHECK,
            format!("followers get no events: {error:#}"),
            "let the proxy pass WebSockets on (Upgrade and Connection; `atcr-hold init --proxy nginx` shows how) and not buffer them",
        ),
    }
}

async fn first_event(url: &Url, client: &EgressClient) -> anyhow::Result<()> {
    let mut url = url.join("/xrpc/com.atproto.sync.subscribeRepos")?;
    // The oldest event that there is comes at once.
    url.query_pairs_mut().append_pair("cursor", "0");
    let key = STANDARD.encode(rand::random::<[u8; 16]>());
    let request = client
        .request(Method::GET, &url)?
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key);
    let response = client.open(request, CONNECT).await?;
    ensure!(
        response.status() == StatusCode::SWITCHING_PROTOCOLS,
        "status {} and not 101",
        response.status().as_u16()
    );
    let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    ensure!(
        accepted.is_some_and(|accepted| accepted.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes()),
        "the answer is not to this request"
    );
    let connection = timeout(CONNECT, response.upgrade())
        .await
        .context("the upgrade takes too long")??;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_EVENT))
        .max_frame_size(Some(MAX_EVENT));
    let mut socket = WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await;
    let first = timeout(FIRST_EVENT, socket.next()).await;
    first.context("nothing comes")?.context("the connection ends")??;
    Ok(())
}
