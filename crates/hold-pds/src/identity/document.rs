//! The DID document of a hold.

use serde_json::{Value, json};

use super::HoldIdentity;

/// Names the key `#atproto` and the services `#atproto_pds` (relays, readers of records) and `#atcr_hold` (AppViews).
pub(super) fn of(identity: &HoldIdentity) -> Value {
    let did = identity.did();
    json!({
        "@context": [
            "https://www.w3.org/ns/did/v1",
            "https://w3id.org/security/multikey/v1",
            "https://w3id.org/security/suites/secp256k1-2019/v1",
        ],
        "id": did,
        "alsoKnownAs": [format!("at://{}", identity.handle())],
        "verificationMethod": [{
            "id": format!("{did}#atproto"),
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": identity.public_key().to_multikey(),
        }],
        "service": [
            {
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": identity.endpoint(),
            },
            {
                "id": "#atcr_hold",
                "type": "AtcrHoldService",
                "serviceEndpoint": identity.endpoint(),
            },
        ],
    })
}
