//! The configuration files of a local network's hold and appview.

use anyhow::Result;
use serde_json::json;

use super::process::SHUTDOWN_GRACE;
use super::{HoldDid, NetworkFile, NetworkOptions, Part, Ports, write_private};

/// Where the hold of a local network keeps objects.
#[derive(Clone, Debug)]
pub enum HoldStorage {
    /// The embedded default: files below the state folder.
    Filesystem,
    /// An S3 server that already runs.
    S3(S3Storage),
}

/// An S3 server and a bucket in it.
#[derive(Clone, Debug)]
pub struct S3Storage {
    /// The base URL, path-style.
    pub endpoint: String,
    /// The bucket; it must exist.
    pub bucket: String,
    /// The region's name.
    pub region: String,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

/// The DID of a did:web hold on `ports`.
pub(super) fn hold_did(ports: Ports) -> String {
    format!("did:web:localhost%3A{}", ports.hold)
}

// JSON is YAML; it needs no quoting rules of our own.

pub(super) fn write_hold(
    options: &NetworkOptions,
    file: &NetworkFile,
    owner: &str,
    scanner_secret: &str,
) -> Result<()> {
    let ports = options.ports;
    let data = options.state.join("hold");
    let mut storage = match &options.storage {
        HoldStorage::Filesystem => json!({ "driver": "filesystem", "path": data.join("objects") }),
        HoldStorage::S3(s3) => json!({
            "driver": "s3",
            "endpoint": s3.endpoint,
            "bucket": s3.bucket,
            "region": s3.region,
            "access_key": s3.access_key,
            "secret_key": s3.secret_key,
        }),
    };
    if let Some(expiry) = options.upload_expiry {
        storage["upload_expiry"] = json!(format!("{}s", expiry.as_secs()));
    }
    let mut database = json!({
        "path": data,
        "plc_directory_url": file.plc.url,
        "did_method": match options.hold_did {
            HoldDid::Web => "web",
            HoldDid::Plc => "plc",
        },
    });
    if let Some(retention) = options.event_retention {
        database["event_retention"] = json!(format!("{}s", retention.as_secs()));
    }
    // A reset forgets the repository and not the bucket, and a hold does not begin anew where it has a backup.
    let backup = match &options.backup {
        None => json!({ "enabled": false }),
        Some(folder) => json!({ "path": folder }),
    };
    let config = json!({
        "server": {
            "addr": format!("127.0.0.1:{}", ports.hold),
            "metrics_addr": metrics_addr(options, |ports| ports.hold),
            "public_url": file.hold.url,
            "public": options.public,
            "appview_did": format!("did:web:127.0.0.1%3A{}", ports.appview),
            "handle_resolver_url": file.pds.url,
            "test_mode": true,
            "shutdown_grace": format!("{}s", SHUTDOWN_GRACE.as_secs()),
        },
        // One account pushes as fast as it can when the servers are measured.
        "limits": { "account": "off" },
        "registration": { "owner_did": owner, "allow_all_crew": options.allow_all_crew },
        "database": database,
        "storage": storage,
        "scanner": { "secret": scanner_secret },
        "backup": backup,
    });
    write_private(
        &Part::Hold.argument(&options.state),
        &serde_json::to_vec_pretty(&config)?,
    )
}

pub(super) fn write_appview(options: &NetworkOptions, file: &NetworkFile) -> Result<()> {
    let ports = options.ports;
    let data = options.state.join("appview");
    let base_url = match &options.front {
        Some(front) => front.url(),
        None => file.appview.url.clone(),
    };
    let config = json!({
        "server": {
            "addr": format!("127.0.0.1:{}", ports.appview),
            "metrics_addr": metrics_addr(options, |ports| ports.appview),
            "base_url": base_url,
            "trusted_proxies": options.front.iter().map(|_| "127.0.0.1").collect::<Vec<_>>(),
            "default_hold_did": file.hold.did,
            "plc_directory_url": file.plc.url,
            "handle_resolver_url": file.pds.url,
            "test_mode": true,
            "data_dir": data,
            "shutdown_grace": format!("{}s", SHUTDOWN_GRACE.as_secs()),
        },
        "registry": { "allow_missing_content": options.allow_missing_content },
        // With a relay and a collection directory the appview hears of the PDS only through them.
        "index": match &file.followers {
            Some(followers) => json!({ "relays": [followers.relay.url] }),
            None => json!({ "firehoses": [file.pds.url] }),
        },
        // This network is no part of the public one.
        "jetstream": {
            "urls": [],
            "relay_endpoints": file.followers.iter().map(|followers| &followers.collections.url).collect::<Vec<_>>(),
        },
        // Every client of the network is on this machine, and some of them measure.
        "limits": { "account_requests": "off", "exempt": ["127.0.0.0/8", "::1"] },
    });
    write_private(
        &Part::AppView.argument(&options.state),
        &serde_json::to_vec_pretty(&config)?,
    )
}

/// Empty for none.
fn metrics_addr(options: &NetworkOptions, port: impl Fn(&Ports) -> u16) -> String {
    let port = options.metrics.as_ref().map(port);
    port.map_or_else(String::new, |port| format!("127.0.0.1:{port}"))
}
