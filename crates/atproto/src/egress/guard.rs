//! Whether a request may be made: the scheme and host of a URL, each redirect, and the address that a connection is made to.
//!
//! Addresses are judged twice: literal ones in the URL, and those of a name when [`super::lookup`] connects.

use std::net::IpAddr;

use reqwest::redirect;
use url::{Host, Url};

use super::address_ranges::{
    is_local_host, is_local_name, is_localhost_name, is_loopback_host, is_private_network, is_public,
};
use super::answer::host_text;
use super::error::EgressError;
use crate::bounds::MAX_REDIRECTS;

/// What hosts named by others may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Development only: `localhost`, names below it and loopback addresses are reachable too, over plain HTTP as well.
    pub allow_loopback: bool,
    /// Test mode only: private networks (`172.28.0.3:8080`, `http://hold:8080`) are reachable too, by address and by names that are never
    /// public, over plain HTTP as well. Link-local addresses are not.
    pub allow_private: bool,
}

impl EgressPolicy {
    /// The policy of a server: public hosts, and in test mode this machine and private networks.
    #[must_use]
    pub fn of_server(test_mode: bool) -> Self {
        Self {
            allow_loopback: test_mode,
            allow_private: test_mode,
        }
    }
}

/// Which addresses a client may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Public addresses, and what the policy allows beside them: this machine under its own names only, private networks under local
    /// names only.
    Public(EgressPolicy),
    /// Any address: the operator wrote the host into the configuration.
    Configured,
}

impl Reach {
    /// Whether a connection to `address` may be made for the host `name`.
    pub(super) fn permits(self, name: &str, address: IpAddr) -> bool {
        match self {
            Self::Configured => true,
            // A name for this machine must stay on this machine, and no other name may lead to it.
            Self::Public(policy) if policy.allow_loopback && is_localhost_name(name) => address.is_loopback(),
            Self::Public(policy) if policy.allow_private && is_local_name(name) => {
                is_private_network(address) || is_public(address)
            }
            Self::Public(_) => is_public(address),
        }
    }
}

/// Whether the client goes on to where an answer sends it.
pub(super) fn follow_checked(reach: Reach, attempt: redirect::Attempt<'_>) -> redirect::Action {
    let last = attempt.previous().last();
    if attempt.previous().len() > MAX_REDIRECTS {
        let host = last.map(host_text).unwrap_or_default();
        return attempt.error(EgressError::TooManyRedirects { host });
    }
    let checked = last.map_or(Ok(()), |from| check_redirect(from, attempt.url()));
    match checked.and_then(|()| check_url(reach, attempt.url())) {
        Ok(()) => attempt.follow(),
        Err(error) => attempt.error(error),
    }
}

/// Even in development a public host has no business pointing at this machine or its network.
pub(super) fn check_redirect(from: &Url, to: &Url) -> Result<(), EgressError> {
    if local(to) && !local(from) {
        return Err(EgressError::AddressRefused { host: host_text(to) });
    }
    Ok(())
}

fn local(url: &Url) -> bool {
    url.host().is_some_and(|host| is_local_host(&host))
}

/// The part of the guard that needs no look-up. Literal addresses must be judged here, since the HTTP library
/// connects to them without asking a resolver; the URL parser has by now turned `0x7f.1` and `2130706433` into what they are.
pub(super) fn check_url(reach: Reach, url: &Url) -> Result<(), EgressError> {
    let refused = |reason| {
        Err(EgressError::UrlRefused {
            origin: url.origin().ascii_serialization(),
            reason,
        })
    };
    let Some(host) = url.host() else {
        return refused("the URL has no host");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refused("the URL contains credentials");
    }
    let policy = match reach {
        Reach::Configured => EgressPolicy::of_server(true),
        Reach::Public(policy) => policy,
    };
    let here = is_loopback_host(&host);
    let near = !here && is_local_host(&host);
    match url.scheme() {
        "https" => {}
        "http" if reach == Reach::Configured => {}
        "http" if (here && policy.allow_loopback) || (near && policy.allow_private) => {}
        _ => return refused("only https is spoken"),
    }
    let address = match host {
        Host::Domain(_) => None,
        Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
        Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
    };
    let permitted = match (reach, address) {
        (Reach::Configured, _) => true,
        _ if here => policy.allow_loopback,
        (_, None) => true,
        (_, Some(address)) => is_public(address) || (near && policy.allow_private),
    };
    if permitted {
        Ok(())
    } else {
        Err(EgressError::AddressRefused { host: host_text(url) })
    }
}
