//! Deserialisers for what older or foreign writers leave out or write differently.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

use crate::syntax::Did;

/// `null` reads as the default, like an absent field.
pub(super) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A value that does not parse reads as absent.
pub(super) fn invalid_as_none<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// A DID, or the URL of a service, which names the service's did:web. Anything else reads as absent.
pub(super) fn did_or_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Did>, D::Error> {
    Ok(Value::deserialize(deserializer)?
        .as_str()
        .and_then(did_from_did_or_url))
}

/// Annotations: members that are not strings are left out.
pub(super) fn annotations<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let Value::Object(members) = Value::deserialize(deserializer)? else {
        return Ok(BTreeMap::new());
    };
    let strings = members.into_iter().filter_map(|(key, value)| match value {
        Value::String(text) => Some((key, text)),
        _ => None,
    });
    Ok(strings.collect())
}

/// The DID that a `did:…` or a service URL names.
pub(super) fn did_from_did_or_url(text: &str) -> Option<Did> {
    if text.starts_with("did:") {
        return text.parse::<Did>().ok().map(|did| did.normalised());
    }
    // `localhost:8080` alone would parse as a URL of the scheme `localhost`.
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let url = Url::parse(&with_scheme).ok()?;
    Did::web_from_url(&url).ok()
}
