//! Versions of releases, in order.

use std::fmt;
use std::str::FromStr;

use super::ReleaseError;

/// `major.minor.patch`; a `v` before it and a pre-release or build behind it are read. A pre-release comes before its release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    numbers: [u64; 3],
    /// `None` sorts first, so a release is `Some`.
    release: Option<()>,
    pre_release: String,
}

impl Version {
    /// The version of this program.
    #[must_use]
    pub const fn current() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

impl FromStr for Version {
    type Err = ReleaseError;

    fn from_str(text: &str) -> Result<Self, ReleaseError> {
        let invalid = || ReleaseError::Version(text.to_owned());
        let without_v = text.strip_prefix('v').unwrap_or(text);
        let without_build = without_v.split('+').next().unwrap_or(without_v);
        let (numbers, pre_release) = without_build.split_once('-').unwrap_or((without_build, ""));
        let mut parts = numbers.split('.');
        let mut number = || {
            let part = parts.next().ok_or_else(invalid)?;
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(invalid());
            }
            part.parse::<u64>().map_err(|_| invalid())
        };
        let numbers = [number()?, number()?, number()?];
        let is_pre_release = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if parts.next().is_some() || !pre_release.bytes().all(is_pre_release) {
            return Err(invalid());
        }
        Ok(Self {
            numbers,
            release: pre_release.is_empty().then_some(()),
            pre_release: pre_release.to_owned(),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(formatter, "{major}.{minor}.{patch}")?;
        if self.pre_release.is_empty() {
            Ok(())
        } else {
            write!(formatter, "-{}", self.pre_release)
        }
    }
}
