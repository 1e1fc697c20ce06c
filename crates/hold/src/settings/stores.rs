//! `storage.*` and `backup.*`: where objects are kept, and where the repository is backed up.

use std::path::PathBuf;

use atcr_server::Problems;
use secrecy::SecretString;

use super::{noted, origin_url};
use crate::adapters::s3::S3Options;
use crate::config::{HoldConfig, StorageDriver, StorageSection};

/// The store, every value parsed.
#[derive(Clone, Debug)]
pub enum StorageSettings {
    /// A folder.
    Filesystem {
        /// The folder.
        path: PathBuf,
    },
    /// A bucket.
    S3(Box<S3Options>),
}

/// Where the repository is backed up.
#[derive(Clone, Debug)]
pub enum BackupSettings {
    /// Nowhere, as the configuration says.
    Off,
    /// Nowhere, since the configuration names no place.
    NoPlace,
    /// A folder.
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// A bucket.
    S3 {
        /// How it is reached.
        options: Box<S3Options>,
        /// What the names begin with.
        prefix: String,
    },
}

pub(super) fn storage(
    section: &StorageSection,
    data_dir: &std::path::Path,
    problems: &mut Problems,
) -> Option<StorageSettings> {
    let s3 = match section.driver {
        StorageDriver::Auto => !section.bucket.is_empty(),
        StorageDriver::Filesystem => false,
        StorageDriver::S3 => true,
    };
    if !s3 {
        let path = match section.path.as_str() {
            "" => data_dir.join("objects"),
            path => PathBuf::from(path),
        };
        return Some(StorageSettings::Filesystem { path });
    }
    problems.require(
        !section.bucket.is_empty(),
        "storage.bucket",
        "must name the bucket (or set S3_BUCKET)",
    );
    problems.require(!section.region.is_empty(), "storage.region", "must be set");
    problems.require(
        !section.access_key.is_empty(),
        "storage.access_key",
        "must be set (or AWS_ACCESS_KEY_ID)",
    );
    problems.require(
        !section.secret_key.is_empty(),
        "storage.secret_key",
        "must be set (or AWS_SECRET_ACCESS_KEY)",
    );
    let mut optional_url = |key: &str, text: &str| match text {
        "" => Some(None),
        text => noted(problems, key, origin_url(text)).map(Some),
    };
    let endpoint = optional_url("storage.endpoint", &section.endpoint);
    let pull_zone = optional_url("storage.pull_zone", &section.pull_zone);
    Some(StorageSettings::S3(Box::new(S3Options {
        bucket: section.bucket.clone(),
        region: section.region.clone(),
        path_style: section.path_style && !section.endpoint.is_empty(),
        endpoint: endpoint?,
        pull_zone: pull_zone?,
        access_key: section.access_key.expose().to_owned(),
        secret_key: SecretString::from(section.secret_key.expose().to_owned()),
    })))
}

pub(super) fn backup(
    config: &HoldConfig,
    storage: Option<&StorageSettings>,
    data_dir: &std::path::Path,
    problems: &mut Problems,
) -> Option<BackupSettings> {
    let section = &config.backup;
    problems.require(
        !section.interval.get().is_zero(),
        "backup.interval",
        "must be longer than nothing",
    );
    if !section.enabled {
        return Some(BackupSettings::Off);
    }
    if !section.path.is_empty() {
        let path = PathBuf::from(&section.path);
        problems.require(
            !path.starts_with(data_dir),
            "backup.path",
            "must be outside of database.path, on another disk",
        );
        problems.require(
            section.bucket.is_empty(),
            "backup.bucket",
            "must be empty when backup.path is set",
        );
        return Some(BackupSettings::Folder { path });
    }
    let s3 = |options: Box<S3Options>| BackupSettings::S3 {
        options,
        prefix: section.prefix.clone(),
    };
    match (section.bucket.as_str(), storage?) {
        ("", StorageSettings::S3(options)) => Some(s3(options.clone())),
        ("", StorageSettings::Filesystem { .. }) => Some(BackupSettings::NoPlace),
        (bucket, _) => {
            let reached = StorageSection {
                driver: StorageDriver::S3,
                bucket: bucket.to_owned(),
                ..config.storage.clone()
            };
            match self::storage(&reached, data_dir, problems)? {
                StorageSettings::S3(options) => Some(s3(options)),
                StorageSettings::Filesystem { .. } => None,
            }
        }
    }
}
