//! Everything that can go wrong, and what to do about it.

use std::io;

use thiserror::Error;

use crate::accounts::InvalidAccounts;
use crate::appview::AppViewError;
use crate::device_flow::DeviceFlowError;
use crate::docker_config::{DockerConfigError, EditError, HELPER};
use crate::file_store::StoreError;
use crate::keyring::KeyringError;
use crate::protocol::InvalidRequest;
use crate::registry_url::{InvalidServerUrl, RegistryUrl};
use crate::release::ReleaseError;
use crate::verification::Unchecked;

/// A command that did not do what it was asked.
#[derive(Debug, Error)]
pub enum HelperError {
    /// The accounts could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not the name of a registry.
    #[error("`{}` is not a registry: {source}", crate::printer::plain(given))]
    Registry {
        /// What was given.
        given: String,
        /// Why not.
        source: InvalidServerUrl,
    },
    /// A request of Docker's protocol that is not valid.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// The registry failed.
    #[error(transparent)]
    AppView(#[from] AppViewError),
    /// The sign-in came to nothing.
    #[error(transparent)]
    DeviceFlow(#[from] DeviceFlowError),
    /// Docker's configuration could not be changed.
    #[error(transparent)]
    DockerConfig(#[from] DockerConfigError),
    /// The keyring failed.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The update came to nothing.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// An image could not be checked.
    #[error("{}", crate::printer::plain(&chain(.0.as_ref())))]
    Unchecked(Box<Unchecked>),
    /// The registry knows no such image.
    #[error("{registry} knows no image {}", crate::printer::plain(image))]
    NoSuchImage {
        /// Who was asked.
        registry: RegistryUrl,
        /// The image.
        image: String,
    },
    /// The image is for other platforms.
    #[error(
        "{} has no image for {}",
        crate::printer::plain(image),
        crate::printer::plain(wanted)
    )]
    NoSuchPlatform {
        /// The image.
        image: String,
        /// The platform that was meant.
        wanted: String,
        /// Those that there are.
        platforms: String,
    },
    /// No account is signed in there.
    #[error("no account is signed in to {0}")]
    NotSignedIn(RegistryUrl),
    /// No account is signed in anywhere.
    #[error("no account is signed in")]
    NobodySignedIn,
    /// Several registries are known.
    #[error("there are accounts at several registries: {0}")]
    WhichRegistry(String),
    /// Several accounts are known.
    #[error("there are several accounts at {registry}: {accounts}")]
    WhichAccount {
        /// Where.
        registry: RegistryUrl,
        /// Their names.
        accounts: String,
    },
    /// No such account.
    #[error("`{}` is not signed in to {registry}", crate::printer::plain(account))]
    NoSuchAccount {
        /// Where.
        registry: RegistryUrl,
        /// What was given.
        account: String,
    },
    /// The registry gives out no helper.
    #[error("{0} does not offer releases of docker-credential-atcr")]
    NoRelease(RegistryUrl),
    /// No key is known that could vouch for an update.
    #[error("this build has no release key, so it cannot check who made an update; nothing was installed")]
    NoReleaseKey {
        /// The registry that was asked.
        registry: RegistryUrl,
        /// The key that the registry names.
        named: Option<String>,
    },
    /// A helper was called by hand.
    #[error("`{0}` is for Docker, which writes the registry to standard input")]
    NotForPeople(&'static str),
    /// The user said no.
    #[error("nothing was changed")]
    Declined,
    /// The environment has half of what is needed.
    #[error("ATCR_TOKEN is set for {registry}, but {what}")]
    EnvironmentToken {
        /// The registry asked for.
        registry: RegistryUrl,
        /// What is missing.
        what: String,
    },
    /// The terminal failed.
    #[error("cannot read an answer from the terminal")]
    Prompt(#[source] io::Error),
    /// The program does not know where it is.
    #[error("cannot find this program's own file")]
    OwnFile(#[source] io::Error),
    /// An answer could not be put into words.
    #[error("cannot write the answer")]
    Encode(#[from] serde_json::Error),
}

impl HelperError {
    /// What to do next, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Store(StoreError::NoHome) | Self::DockerConfig(DockerConfigError::NoHome) => {
                "set HOME, or ATCR_CONFIG and DOCKER_CONFIG".to_owned()
            }
            Self::Store(StoreError::Invalid {
                source: InvalidAccounts::Newer(_),
                ..
            }) => "update this program: docker-credential-atcr update".to_owned(),
            Self::Store(StoreError::Invalid { path, .. }) => format!(
                "repair the file, or move it away and sign in again: mv {0} {0}.broken",
                path.display()
            ),
            Self::Store(StoreError::InvalidDeviceFile { path, .. }) => {
                format!("move {} away, then sign in again", path.display())
            }
            Self::Registry {
                source: InvalidServerUrl::PlainHttp,
                ..
            } => "give only the host name; the program uses https".to_owned(),
            Self::Registry { .. } => "give a registry as in an image name, such as atcr.io".to_owned(),
            Self::AppView(error) | Self::DeviceFlow(DeviceFlowError::AppView(error)) => appview_hint(error)?,
            Self::DeviceFlow(DeviceFlowError::Expired) => {
                "run login again and approve within ten minutes".to_owned()
            }
            Self::DockerConfig(DockerConfigError::Edit {
                source: EditError::NoEntry(_),
                ..
            }) => return None,
            Self::DockerConfig(DockerConfigError::Edit { .. } | DockerConfigError::File(_)) => {
                format!("to do it by hand, put \"<host>\": \"{HELPER}\" into \"credHelpers\" of that file")
            }
            Self::DockerConfig(DockerConfigError::Changed { .. }) => "run the command again".to_owned(),
            Self::Keyring(KeyringError::Missing) => {
                "install a keyring program from docker-credential-helpers, or leave out --keyring".to_owned()
            }
            Self::Keyring(KeyringError::Lost { .. }) => {
                "sign in again: docker-credential-atcr login".to_owned()
            }
            Self::NotSignedIn(registry) | Self::NoSuchAccount { registry, .. } => {
                format!("sign in: docker-credential-atcr login {}", registry.authority())
            }
            Self::NobodySignedIn => "sign in: docker-credential-atcr login".to_owned(),
            Self::WhichRegistry(_) => "name the registry".to_owned(),
            Self::WhichAccount { registry, .. } => {
                format!(
                    "give the account after the registry: {} <account>",
                    registry.authority()
                )
            }
            Self::Release(ReleaseError::File(_)) => {
                "run it as the owner of the file, or install again with install.sh".to_owned()
            }
            Self::NoRelease(_) => {
                "name the registry you installed from: docker-credential-atcr update --registry <host>"
                    .to_owned()
            }
            Self::NoReleaseKey {
                registry,
                named: Some(key),
            } => format!(
                "if the publisher names this key too: docker-credential-atcr update --registry {} --signing-key {}",
                registry.authority(),
                crate::printer::plain(key)
            ),
            Self::NoReleaseKey {
                registry,
                named: None,
            } => format!("install the release by hand: curl -fsSL {registry}/install.sh | sh"),
            Self::Unchecked(unchecked) => unchecked_hint(unchecked)?,
            Self::NoSuchPlatform { platforms, .. } => {
                format!("choose one with --platform: {}", crate::printer::plain(platforms))
            }
            Self::NotForPeople(_) => "to sign in: docker-credential-atcr login".to_owned(),
            Self::EnvironmentToken { .. } => {
                "set ATCR_REGISTRY, ATCR_USERNAME and ATCR_TOKEN or ATCR_TOKEN_FILE".to_owned()
            }
            _ => return None,
        };
        Some(text)
    }
}

fn unchecked_hint(unchecked: &Unchecked) -> Option<String> {
    let text = match unchecked {
        Unchecked::ImageName { .. } | Unchecked::NoImage => {
            "name it as for docker pull: atcr.io/alice.example/app:1, or with @sha256:… instead of the tag"
        }
        Unchecked::HandleNotKnown(_) => {
            "check the name; a network with its own resolver needs --handle-resolver-url and --plc-directory-url"
        }
        Unchecked::NoAnchor(_) => "give the key that you trust for this account: --key did:key:…",
        Unchecked::Egress(error) if error.is_refusal() => "for a network on this machine: --local",
        _ => return None,
    };
    Some(text.to_owned())
}

fn appview_hint(error: &AppViewError) -> Option<String> {
    match error {
        AppViewError::Unreachable { .. } => Some("check the name and the network".to_owned()),
        AppViewError::Garbage { registry, .. } => {
            Some(format!("check the registry's name: {}", registry.authority()))
        }
        AppViewError::Refused { .. }
        | AppViewError::CannotRevoke(_)
        | AppViewError::TooManyRequests { .. } => None,
    }
}

/// The sentence of an error and of everything beneath it.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some sentences already carry their cause.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
