//! The HTTP client: trusted roots and timeouts.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::registry_url::RegistryUrl;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for `registry`: TLS everywhere but on this machine, and no proxy to this machine.
pub(super) fn agent(registry: &RegistryUrl, timeout: Duration, redirects: u32) -> Agent {
    let builder = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(!registry.is_loopback())
        .max_redirects(redirects)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(timeout))
        .user_agent(concat!("docker-credential-atcr/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(root_certificates()).build());
    if registry.is_loopback() {
        builder.proxy(None).build().into()
    } else {
        builder.build().into()
    }
}

/// The system's root certificates, or Mozilla's where the system has none, as in an empty container.
fn root_certificates() -> RootCerts {
    let native = rustls_native_certs::load_native_certs();
    if native.certs.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates = native
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect::<Vec<_>>();
    RootCerts::Specific(Arc::new(certificates))
}
