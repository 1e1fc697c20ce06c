//! Records as the original's AppView writes them, and as older versions of it did.

use serde_json::{Value, json};

const TIME: &str = "2025-02-03T04:05:06.789Z";

/// `io.atcr.manifest` of before holds had DIDs: the hold is a URL.
#[must_use]
pub fn manifest_by_endpoint(repository: &str, digest: &str, hold_endpoint: &str) -> Value {
    json!({
        "$type": "io.atcr.manifest",
        "repository": repository,
        "digest": digest,
        "holdEndpoint": hold_endpoint,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "schemaVersion": 2,
        "createdAt": TIME,
    })
}

/// `io.atcr.manifest` of today's original: the hold's DID, with a port spelled as given, and its URL beside it.
#[must_use]
pub fn manifest(repository: &str, digest: &str, hold_did: &str, hold_endpoint: &str) -> Value {
    let mut record = manifest_by_endpoint(repository, digest, hold_endpoint);
    record["holdDid"] = hold_did.into();
    record
}

/// `io.atcr.tag` of before tags pointed to records: a digest only.
#[must_use]
pub fn tag_by_digest(repository: &str, tag: &str, digest: &str) -> Value {
    json!({
        "$type": "io.atcr.tag",
        "repository": repository,
        "tag": tag,
        "manifestDigest": digest,
        "updatedAt": TIME,
    })
}

/// `io.atcr.tag` that points to the record of `owner`.
#[must_use]
pub fn tag(owner: &str, repository: &str, tag: &str, digest: &str) -> Value {
    let mut record = tag_by_digest(repository, tag, digest);
    let hex = digest.rsplit(':').next().unwrap_or_default();
    record["manifest"] = format!("at://{owner}/io.atcr.manifest/{hex}").into();
    record["createdAt"] = TIME.into();
    record
}

/// `io.atcr.sailor.profile` whose default hold is a URL, or a DID in whatever spelling.
#[must_use]
pub fn profile(default_hold: &str) -> Value {
    json!({ "$type": "io.atcr.sailor.profile", "defaultHold": default_hold, "createdAt": TIME })
}

/// `io.atcr.hold`, the way in which accounts named a hold before profiles did.
#[must_use]
pub fn legacy_hold(owner: &str, endpoint: &str) -> Value {
    json!({ "$type": "io.atcr.hold", "endpoint": endpoint, "owner": owner, "public": true, "createdAt": TIME })
}
