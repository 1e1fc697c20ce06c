//! What a registry's answers may contain: addresses of pages, DIDs, handles.

use crate::registry_url::RegistryUrl;

/// Whether `uri` may be shown and opened: https, or http on this machine, without anything to deceive the eye.
#[must_use]
pub fn is_page(uri: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"'`<>^{}|$;()@".contains(&byte);
    uri.len() <= 2048 && uri.contains("://") && uri.bytes().all(is_plain) && page_origin(uri).is_some()
}

/// The origin of a page.
#[must_use]
pub fn page_origin(uri: &str) -> Option<RegistryUrl> {
    let (scheme, rest) = uri.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    format!("{scheme}://{}", &rest[..end]).parse().ok()
}

/// Whether `text` has the form of a DID.
pub(super) fn is_did(text: &str) -> bool {
    text.len() <= 2048
        && text.starts_with("did:")
        && text.splitn(3, ':').filter(|part| !part.is_empty()).count() == 3
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:%-".contains(&byte))
}

/// Whether `text` has the form of a handle.
pub(super) fn is_handle(text: &str) -> bool {
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(|label| !label.is_empty())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}
