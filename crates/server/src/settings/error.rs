//! Every problem of a configuration, collected before the process gives up.

use std::fmt;
use std::path::PathBuf;

/// One wrong setting: the dotted key and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted path of the key, for example `server.base_url`.
    pub key: String,
    /// What is wrong and what would be right; never the value of a secret.
    pub message: String,
}

/// A growing list of [`Problem`]s, handed to [`crate::Settings::validate`].
#[derive(Clone, Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem with `key`.
    pub fn push(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            key: key.into(),
            message: message.into(),
        });
    }

    /// Adds a problem unless `holds`.
    pub fn require(&mut self, holds: bool, key: &str, message: &str) {
        if !holds {
            self.push(key, message);
        }
    }

    /// Whether nothing was found wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems, in the order they were found.
    #[must_use]
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

/// Why a configuration could not be used.
#[derive(Debug)]
pub enum ConfigError {
    /// The file could not be read.
    File {
        /// The file that was named.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not YAML, or not a mapping at its top.
    Yaml {
        /// The file that was named.
        path: PathBuf,
        /// What the parser said, with line and column.
        message: String,
    },
    /// One or more settings are wrong; all of them are listed.
    Invalid(Vec<Problem>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Yaml { path, message } => write!(f, "{} is not valid YAML: {message}", path.display()),
            Self::Invalid(problems) => {
                let noun = if problems.len() == 1 {
                    "problem"
                } else {
                    "problems"
                };
                write!(f, "{} {noun} in the configuration", problems.len())?;
                for problem in problems {
                    write!(f, "\n  {}: {}", problem.key, problem.message)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Yaml { .. } | Self::Invalid(_) => None,
        }
    }
}
