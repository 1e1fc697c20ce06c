//! How pages look in one browser, by the choice of who uses it: light or dark, and which client commands are for first. A browser with scripts
//! may choose on every page; the choice that is made in the settings is a cookie, which works without.

use http::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};

use crate::cookies::Cookie;
use crate::pull::{self, Client};
use crate::site::Site;

/// How long a choice is kept: a year, in seconds.
const KEPT: i64 = 365 * 24 * 60 * 60;

/// Light or dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Light, whatever the system prefers.
    Light,
    /// Dark, whatever the system prefers.
    Dark,
}

impl Theme {
    /// Its name in pages and cookies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Light, Self::Dark]
            .into_iter()
            .find(|theme| theme.name() == name)
    }
}

/// A browser's choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appearance {
    /// `None`: as the system prefers.
    pub theme: Option<Theme>,
    /// Whose commands are shown first; `None`: the usual one's.
    pub client: Option<Client>,
}

impl Appearance {
    /// What `theme` and `client` name; what is no choice counts as none.
    #[must_use]
    pub fn of(theme: &str, client: &str) -> Self {
        Self {
            theme: Theme::of(theme),
            client: pull::CLIENTS.into_iter().find(|known| known.id == client),
        }
    }

    /// The choices in a request.
    #[must_use]
    pub fn read(site: &Site, headers: &HeaderMap) -> Self {
        let Some(value) = Cookie::Appearance.read(site, headers) else {
            return Self::default();
        };
        let (theme, client) = value.expose_secret().split_once('.').unwrap_or_default();
        Self::of(theme, client)
    }

    /// Keeps the choices in the browser.
    pub fn keep(self, site: &Site, headers: &mut HeaderMap) {
        let theme = self.theme.map_or("", Theme::name);
        let client = self.client.map_or("", |client| client.id);
        let value = SecretString::from(format!("{theme}.{client}"));
        Cookie::Appearance.set(site, headers, &value, KEPT);
    }

    /// Whether commands for `client`, of those in `clients`, are shown first.
    #[must_use]
    pub fn is_first(self, client: &Client, clients: &[Client]) -> bool {
        let chosen = self.client.filter(|chosen| clients.contains(chosen));
        chosen.as_ref().or_else(|| clients.first()) == Some(client)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{COOKIE, SET_COOKIE};

    use super::*;

    #[test]
    fn a_choice_comes_back_and_anything_else_is_none() {
        let site = Site {
            name: "Test".to_owned(),
            base_url: "https://r.example".parse().unwrap(),
            origin: "https://r.example".parse().unwrap(),
            terms_url: None,
            privacy_url: None,
            is_development: false,
            verify_flags: String::new(),
        };
        let chosen = Appearance::of("dark", "podman");
        let mut headers = HeaderMap::new();
        chosen.keep(&site, &mut headers);
        let cookie = headers[SET_COOKIE].to_str().unwrap();
        let pair = cookie.split(';').next().unwrap().to_owned();
        assert_eq!(pair, "__Host-atcr_appearance=dark.podman");
        let read = |pair: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(pair).unwrap());
            Appearance::read(&site, &headers)
        };
        assert_eq!(read(&pair), chosen);
        assert_eq!(read("__Host-atcr_appearance=pink.curl"), Appearance::default());
        assert_eq!(read("__Host-atcr_appearance=\"><script>"), Appearance::default());
        assert_eq!(read("a=b"), Appearance::default());
    }

    #[test]
    fn a_chosen_client_is_first_where_there_is_one() {
        let clients: Vec<Client> = pull::CLIENTS.into_iter().take(2).collect();
        let first = |appearance: Appearance| {
            let first = clients
                .iter()
                .filter(|client| appearance.is_first(client, &clients));
            first.map(|client| client.id).collect::<Vec<_>>()
        };
        assert_eq!(first(Appearance::default()), ["docker"]);
        assert_eq!(first(Appearance::of("", "podman")), ["podman"]);
        assert_eq!(first(Appearance::of("", "helm")), ["docker"]);
    }
}
