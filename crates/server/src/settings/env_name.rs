//! Dotted key ↔ environment variable.

/// The variable that overrides `key`: the prefix, then the path in upper case joined by `_`.
///
/// `env_name("ATCR", "server.base_url")` is `ATCR_SERVER_BASE_URL`.
#[must_use]
pub fn env_name(prefix: &str, key: &str) -> String {
    format!("{prefix}_{}", key.replace('.', "_").to_ascii_uppercase())
}
