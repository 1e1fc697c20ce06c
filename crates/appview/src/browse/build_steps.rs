//! The steps of a build, and which of them made which layer.

use serde_json::Value;

use super::config::ImageConfig;

/// A step of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The command, without the marks of the builder.
    pub command: String,
    /// It made no layer.
    pub is_empty: bool,
}

impl ImageConfig {
    /// The command that made each of `layers` layers, in order; `None` for layers that the history does not tell of. A history that tells of
    /// another number of layers tells of none.
    #[must_use]
    pub fn commands(&self, layers: usize) -> Vec<Option<&str>> {
        let made: Vec<&str> = self
            .history
            .iter()
            .filter(|step| !step.is_empty)
            .map(|step| step.command.as_str())
            .collect();
        if made.len() == layers {
            made.into_iter()
                .map(|command| Some(command).filter(|text| !text.is_empty()))
                .collect()
        } else {
            vec![None; layers]
        }
    }

    /// The steps that made no layer.
    pub fn empty_steps(&self) -> impl Iterator<Item = &str> {
        let empty = self
            .history
            .iter()
            .filter(|step| step.is_empty && !step.command.is_empty());
        empty.map(|step| step.command.as_str())
    }
}

pub(super) fn step(value: &Value) -> Step {
    let command = value["created_by"].as_str().or_else(|| value["comment"].as_str());
    Step {
        command: plain(command.unwrap_or_default()).to_owned(),
        is_empty: value["empty_layer"].as_bool().unwrap_or(false),
    }
}

/// A command without what builders put around it.
fn plain(command: &str) -> &str {
    let command = command.trim();
    let command = command.strip_suffix("# buildkit").unwrap_or(command).trim_end();
    command
        .strip_prefix("/bin/sh -c #(nop)")
        .map_or(command, str::trim_start)
}
