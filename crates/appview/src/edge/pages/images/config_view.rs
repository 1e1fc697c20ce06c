//! What runs in an image, as its configuration says.

use std::collections::BTreeMap;
use std::sync::Arc;

use atcr_oci::Manifest;

use super::image::{is_image, why};
use super::{RepositoryVisit, visitor};
use crate::browse::config::ImageConfig;

/// An image's configuration.
pub(super) struct ConfigView {
    pub(super) platform: String,
    /// The platform that the index gives, where it is another one.
    pub(super) other_platform: Option<String>,
    pub(super) built: Option<String>,
    pub(super) entrypoint: Option<String>,
    pub(super) command: Option<String>,
    pub(super) user: Option<String>,
    pub(super) working_dir: Option<String>,
    pub(super) stop_signal: Option<String>,
    pub(super) healthcheck: Option<String>,
    pub(super) ports: String,
    pub(super) volumes: String,
    pub(super) env: Vec<(String, String)>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) empty_steps: Vec<String>,
}

impl ConfigView {
    /// `stated` is the platform by which an index names the image.
    fn of(config: &ImageConfig, stated: Option<&str>) -> Self {
        let words = |words: &[String]| (!words.is_empty()).then(|| command_line(words));
        Self {
            platform: config.platform.clone(),
            other_platform: stated
                .filter(|stated| !is_same_platform(stated, &config.platform))
                .map(str::to_owned),
            built: config.created.as_deref().and_then(built),
            entrypoint: words(&config.entrypoint),
            command: words(&config.command),
            user: config.user.clone(),
            working_dir: config.working_dir.clone(),
            stop_signal: config.stop_signal.clone(),
            healthcheck: words(&config.healthcheck),
            ports: config.ports.join(", "),
            volumes: config.volumes.join(", "),
            env: config.env.clone(),
            labels: config.labels.clone(),
            empty_steps: config.empty_steps().map(str::to_owned).collect(),
        }
    }
}

/// Whether two names are of one system and architecture. Variants are often left out, and so is everything else: that is no contradiction.
fn is_same_platform(stated: &str, own: &str) -> bool {
    let parts = |name: &str| -> Option<(String, String)> {
        let mut parts = name.split('/');
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    };
    match (parts(stated), parts(own)) {
        (Some(stated), Some(own)) => stated == own,
        _ => true,
    }
}

/// Words as a shell takes them.
pub(super) fn command_line(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let is_plain = !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte));
        if is_plain {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// The day of a build as the image says it; `None` for what is no time, and for the epoch that reproducible builds write.
fn built(created: &str) -> Option<String> {
    let at = chrono::DateTime::parse_from_rfc3339(created).ok()?;
    (at.timestamp() > 86_400).then(|| at.to_utc().format("%-d %B %Y, %H:%M UTC").to_string())
}

/// What a hold could not say, and why.
pub(super) enum ConfigState {
    Read(Box<ConfigView>),
    /// There is none, as in an index.
    None,
    /// Not the configuration of an image.
    Unreadable,
    Missing(String),
}

/// The configuration of an image, from its hold.
pub(super) async fn config_of(
    page: &RepositoryVisit<'_>,
    manifest: &Manifest,
    stated: Option<&str>,
) -> (ConfigState, Option<Arc<ImageConfig>>) {
    let Some(descriptor) = manifest.config().filter(|_| is_image(manifest)) else {
        return (ConfigState::None, None);
    };
    let read = page
        .browse
        .config(
            visitor(page.visit),
            &page.owner,
            &page.repository.card.name,
            &descriptor.digest,
        )
        .await;
    match read {
        Ok(config) if config.is_unreadable => (ConfigState::Unreadable, None),
        Ok(config) => (
            ConfigState::Read(Box::new(ConfigView::of(&config, stated))),
            Some(config),
        ),
        Err(error) => {
            tracing::info!(
                error = &error as &dyn std::error::Error,
                "a page has no configuration of an image"
            );
            (ConfigState::Missing(why(&error)), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_takes_it() {
        let words = ["/bin/sh", "-c", "echo 'hi' && sleep 1", ""].map(str::to_owned);
        assert_eq!(
            command_line(&words),
            "/bin/sh -c 'echo '\\''hi'\\'' && sleep 1' ''"
        );
    }

    #[test]
    fn the_epoch_is_no_day_of_a_build() {
        assert_eq!(built("1970-01-01T00:00:00Z"), None);
        assert_eq!(built("yesterday"), None);
        assert_eq!(
            built("2026-05-12T12:00:00+02:00").as_deref(),
            Some("12 May 2026, 10:00 UTC")
        );
    }
}
