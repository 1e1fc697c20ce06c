//! `scanner.*`: how images are scanned.

use atcr_server::Problems;
use url::Url;

use crate::config::{PublishSetting, ScannerSection};
use crate::scanning::{Publication, ScanOptions};

/// Shorter secrets are guessed.
const MIN_SECRET_LEN: usize = 16;

pub(super) fn scanning(
    section: &ScannerSection,
    public_url: Option<&Url>,
    problems: &mut Problems,
) -> Option<ScanOptions> {
    let length = section.secret.expose().len();
    problems.require(
        length == 0 || length >= MIN_SECRET_LEN,
        "scanner.secret",
        "must have at least 16 bytes, or none for no scanners",
    );
    let interval = section.rescan_interval.get();
    Some(ScanOptions {
        rescan_interval: (!interval.is_zero()).then_some(interval),
        rematches: section.rematches_per_minute,
        publication: match section.publish {
            PublishSetting::Auto => Publication::IfPublic,
            PublishSetting::Always => Publication::Always,
            PublishSetting::Never => Publication::Never,
        },
        ..ScanOptions::new(section.secret.clone(), public_url?.clone())
    })
}
