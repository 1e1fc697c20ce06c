//! Releases: choosing, verifying, unpacking, installing.

pub mod archive;
pub mod install;
pub mod signature;
pub mod version;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::appview::{Archive, Release};

pub use archive::unpack;
pub use install::install;
pub use version::Version;

/// The key that signs releases, as `did:key`, where the build names one. A build without one does not update itself unless
/// its user names a key.
pub const PINNED_KEY: Option<&str> = option_env!("ATCR_RELEASE_KEY");

/// The key whose signature an archive needs: the one that was built in, else the one that the user gives; `None` if there is
/// neither. What a registry names does not count.
///
/// # Errors
/// [`ReleaseError::OtherKey`] if both are there and differ.
pub fn required_key<'a>(
    pinned: Option<&'a str>,
    given: Option<&'a str>,
) -> Result<Option<&'a str>, ReleaseError> {
    match (pinned, given) {
        (Some(pinned), Some(given)) if pinned != given => Err(ReleaseError::OtherKey(pinned.to_owned())),
        _ => Ok(pinned.or(given)),
    }
}

/// A release that is not installed.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// Not a version.
    #[error("`{}` is not a version", crate::printer::plain(.0))]
    Version(String),
    /// Nothing for this machine.
    #[error("there is no release for {os}/{arch}")]
    NoArchive {
        /// The operating system.
        os: &'static str,
        /// The processor.
        arch: &'static str,
    },
    /// The bytes are not those that were announced.
    #[error("the archive does not have the announced SHA-256; nothing was installed")]
    Checksum {
        /// What was announced.
        announced: String,
        /// What came.
        actual: String,
    },
    /// The user gives another key than the one that was built in.
    #[error("this build takes only updates that are signed by {0}")]
    OtherKey(String),
    /// There is no signature.
    #[error("the archive is not signed; nothing was installed")]
    Unsigned,
    /// The signature is not one, or not of this archive.
    #[error("the archive's signature is not valid; nothing was installed")]
    Signature,
    /// The key is not one that is understood.
    #[error("the signing key is not a P-256 did:key")]
    Key,
    /// No such file is in the archive, or it is no archive.
    #[error("the archive cannot be unpacked: {0}")]
    Archive(String),
    /// The new program does not run here.
    #[error("the new program does not run on this machine; nothing was installed")]
    DoesNotRun,
    /// The program's own file cannot be replaced.
    #[error(transparent)]
    File(#[from] crate::file::FileError),
}

/// What this machine is called in a release's list.
#[must_use]
pub fn platform() -> (&'static str, &'static str) {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    };
    (os, arch)
}

/// The archive for this machine.
///
/// # Errors
/// [`ReleaseError::NoArchive`]
pub fn choose(release: &Release) -> Result<&Archive, ReleaseError> {
    let (os, arch) = platform();
    release
        .archives
        .iter()
        .find(|archive| archive.os == os && archive.arch == arch)
        .ok_or(ReleaseError::NoArchive { os, arch })
}

/// Checks that `bytes` have the SHA-256 that was announced.
///
/// # Errors
/// [`ReleaseError::Checksum`]
pub fn verify_checksum(bytes: &[u8], announced: &str) -> Result<(), ReleaseError> {
    let mut actual = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing into a string does not fail.
        let _ = write!(actual, "{byte:02x}");
    }
    if actual.eq_ignore_ascii_case(announced.trim()) {
        Ok(())
    } else {
        Err(ReleaseError::Checksum {
            announced: announced.to_owned(),
            actual,
        })
    }
}
