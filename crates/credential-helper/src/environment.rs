//! Every environment variable that is read, and the one place that reads them.

use std::ffi::OsString;
use std::path::PathBuf;

use secrecy::SecretString;

/// Name and meaning of each variable; the table of `docs/credential-helper.md` is held to it by a test.
pub const VARIABLES: &[(&str, &str)] = &[
    (
        "ATCR_CONFIG",
        "The file of accounts instead of `~/.atcr/config.json`",
    ),
    (
        "ATCR_REGISTRY",
        "The registry that `ATCR_TOKEN` is for, and the one `login` takes when none is named",
    ),
    ("ATCR_USERNAME", "The handle or DID that `ATCR_TOKEN` belongs to"),
    (
        "ATCR_TOKEN",
        "An app password or a device secret: `get` answers with it for the host in `ATCR_REGISTRY`",
    ),
    (
        "ATCR_TOKEN_FILE",
        "A file that holds the token; it takes precedence over `ATCR_TOKEN`",
    ),
    (
        "DOCKER_CONFIG",
        "The folder of Docker's `config.json` instead of `~/.docker`",
    ),
    ("BROWSER", "The program that opens the sign-in page on Linux"),
    (
        "NO_COLOR",
        "If it is set and not empty, the output has no colours",
    ),
    ("TERM", "If it is `dumb`, the output has no colours"),
    (
        "HTTPS_PROXY",
        "The proxy of `login`, `logout`, `status` and `update`; `ALL_PROXY`, `HTTP_PROXY` and `NO_PROXY` likewise",
    ),
    (
        "SSL_CERT_FILE",
        "Root certificates instead of the system's; `SSL_CERT_DIR` likewise",
    ),
    ("HOME", "The home folder; `USERPROFILE` on Windows"),
    (
        "PATH",
        "Where `docker-credential-…` programs of an operating system's keyring are found",
    ),
];

/// What the environment says. Read once, at start.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The user's home folder.
    pub home: Option<PathBuf>,
    /// `ATCR_CONFIG`.
    pub config: Option<PathBuf>,
    /// `DOCKER_CONFIG`: a folder.
    pub docker_config: Option<PathBuf>,
    /// `ATCR_REGISTRY`.
    pub registry: Option<String>,
    /// `ATCR_USERNAME`.
    pub username: Option<String>,
    /// `ATCR_TOKEN`.
    pub token: Option<SecretString>,
    /// `ATCR_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// `BROWSER`.
    pub browser: Option<String>,
    /// Whether `NO_COLOR` or a dumb terminal forbids colours.
    pub no_color: bool,
    /// `PATH`.
    pub path: Option<OsString>,
}

impl Environment {
    /// Reads the environment of this process.
    #[must_use]
    pub fn read() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Reads through `lookup`. An empty variable counts as unset, as in shells' habit of clearing one.
    #[must_use]
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let value = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str| value(name).map(|value| value.to_string_lossy().into_owned());
        let path = |name: &str| value(name).map(PathBuf::from);
        Self {
            home: path(if cfg!(windows) { "USERPROFILE" } else { "HOME" }),
            config: path("ATCR_CONFIG"),
            docker_config: path("DOCKER_CONFIG"),
            registry: text("ATCR_REGISTRY"),
            username: text("ATCR_USERNAME"),
            token: text("ATCR_TOKEN").map(SecretString::from),
            token_file: path("ATCR_TOKEN_FILE"),
            browser: text("BROWSER"),
            no_color: value("NO_COLOR").is_some() || text("TERM").as_deref() == Some("dumb"),
            path: value("PATH"),
        }
    }
}
