//! An image's configuration: what runs.
//!
//! It is a blob of the owner's choice. Every field is optional here, and a field of another type than it should have is passed over.

use std::collections::BTreeMap;

use serde_json::Value;

use super::build_steps::{Step, step};

/// What a configuration says, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `os/architecture/variant`, as far as given.
    pub platform: String,
    /// When the image was built, as it says.
    pub created: Option<String>,
    /// Who built it, as it says.
    pub author: Option<String>,
    /// The entry point.
    pub entrypoint: Vec<String>,
    /// The command.
    pub command: Vec<String>,
    /// The user.
    pub user: Option<String>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// The command of the health check.
    pub healthcheck: Vec<String>,
    /// Ports, `8080/tcp`.
    pub ports: Vec<String>,
    /// Volumes.
    pub volumes: Vec<String>,
    /// Environment, name and value.
    pub env: Vec<(String, String)>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The steps of the build, in order.
    pub history: Vec<Step>,
    /// It is no configuration of an image, or could not be read.
    pub is_unreadable: bool,
    /// What it takes in memory, about.
    pub size_bytes: u32,
}

impl ImageConfig {
    /// Reads `bytes`.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let size_bytes = u32::try_from(bytes.len())
            .unwrap_or(u32::MAX)
            .saturating_mul(2)
            .saturating_add(512);
        let Ok(body @ Value::Object(_)) = serde_json::from_slice(bytes) else {
            return Self {
                is_unreadable: true,
                size_bytes: 512,
                ..Self::default()
            };
        };
        let config = &body["config"];
        let platform: Vec<String> = ["os", "architecture", "variant"]
            .into_iter()
            .filter_map(|name| text(&body[name]))
            .collect();
        let history = body["history"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            platform: platform.join("/"),
            created: text(&body["created"]),
            author: text(&body["author"]),
            entrypoint: texts(&config["Entrypoint"]),
            command: texts(&config["Cmd"]),
            user: text(&config["User"]),
            working_dir: text(&config["WorkingDir"]),
            stop_signal: text(&config["StopSignal"]),
            healthcheck: texts(&config["Healthcheck"]["Test"]),
            ports: keys(&config["ExposedPorts"]),
            volumes: keys(&config["Volumes"]),
            env: texts(&config["Env"])
                .into_iter()
                .map(|entry| match entry.split_once('=') {
                    Some((name, value)) => (name.to_owned(), value.to_owned()),
                    None => (entry, String::new()),
                })
                .collect(),
            labels: labels(&config["Labels"]),
            history: history.iter().map(step).collect(),
            is_unreadable: false,
            size_bytes,
        }
    }

    /// One that is longer than is read.
    #[must_use]
    pub fn too_long() -> Self {
        Self {
            is_unreadable: true,
            size_bytes: 512,
            ..Self::default()
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().map(Vec::as_slice).unwrap_or_default();
    values
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn keys(value: &Value) -> Vec<String> {
    value
        .as_object()
        .map(|map| map.keys().cloned().collect())
        .unwrap_or_default()
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    let Some(map) = value.as_object() else {
        return BTreeMap::new();
    };
    map.iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_of_docker_is_read() {
        let config = ImageConfig::parse(
            br#"{"os":"linux","architecture":"arm64","variant":"v8","created":"2026-05-12T10:00:00Z",
            "config":{"Entrypoint":["/app"],"Cmd":["serve"],"User":"65532","Env":["PATH=/bin","A=b=c","EMPTY"],
            "ExposedPorts":{"8080/tcp":{}},"Labels":{"org.opencontainers.image.source":"https://example.com","n":1}},
            "history":[{"created_by":"/bin/sh -c #(nop) ADD file:1 in / "},{"created_by":"ENV A=b","empty_layer":true},
            {"created_by":"RUN /bin/sh -c make # buildkit"}]}"#,
        );
        assert_eq!(config.platform, "linux/arm64/v8");
        assert_eq!(
            (config.entrypoint.join(" "), config.user.as_deref()),
            ("/app".to_owned(), Some("65532"))
        );
        assert_eq!(config.env[1], ("A".to_owned(), "b=c".to_owned()));
        assert_eq!(config.ports, ["8080/tcp"]);
        assert_eq!(config.labels.len(), 1);
        assert_eq!(
            config.commands(2),
            [Some("ADD file:1 in /"), Some("RUN /bin/sh -c make")]
        );
        assert_eq!(config.commands(3), [None, None, None]);
        assert_eq!(config.empty_steps().collect::<Vec<_>>(), ["ENV A=b"]);
    }

    #[test]
    fn what_is_no_configuration_is_said_to_be_none() {
        assert!(ImageConfig::parse(b"not json").is_unreadable);
        assert!(ImageConfig::parse(b"[]").is_unreadable);
        let odd = ImageConfig::parse(
            br#"{"config":{"Env":7,"Labels":[],"Entrypoint":"x"},"history":{"a":1},"os":4}"#,
        );
        assert!(!odd.is_unreadable && odd.env.is_empty() && odd.labels.is_empty() && odd.history.is_empty());
    }
}
