//! What differs between two images: settings, environment, labels, layers.

use std::collections::{BTreeMap, BTreeSet};

use atcr_oci::{Descriptor, Digest};

use super::config::ImageConfig;

/// What became of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// In both, and the same.
    Same,
    /// In both, and another value.
    Changed,
    /// In the second only.
    Added,
    /// In the first only.
    Removed,
}

/// A value by its name, in both images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueRow {
    /// What it is called.
    pub name: String,
    /// In the first image.
    pub from: Option<String>,
    /// In the second.
    pub to: Option<String>,
}

impl ValueRow {
    /// What became of it.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from == to => Fate::Same,
            (None, None) => Fate::Same,
            (Some(_), Some(_)) => Fate::Changed,
            (None, Some(_)) => Fate::Added,
            (Some(_), None) => Fate::Removed,
        }
    }
}

/// A layer in either image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRow {
    /// What became of it; never [`Fate::Changed`].
    pub fate: Fate,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The command that made it, where the configuration tells.
    pub command: Option<String>,
}

/// The values of two maps, by name.
#[must_use]
pub fn values(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) -> Vec<ValueRow> {
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let rows = names.into_iter().map(|name| ValueRow {
        name: name.clone(),
        from: from.get(name).cloned(),
        to: to.get(name).cloned(),
    });
    rows.collect()
}

/// The environments of two images.
#[must_use]
pub fn environment(from: &ImageConfig, to: &ImageConfig) -> Vec<ValueRow> {
    let map = |config: &ImageConfig| config.env.iter().cloned().collect();
    values(&map(from), &map(to))
}

/// What runs, and how, in two images. `words` writes a command.
#[must_use]
pub fn settings(from: &ImageConfig, to: &ImageConfig, words: impl Fn(&[String]) -> String) -> Vec<ValueRow> {
    let list = |values: &[String]| (!values.is_empty()).then(|| values.join(", "));
    let command = |values: &[String]| (!values.is_empty()).then(|| words(values));
    let text = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
    let row = |name: &str, from: Option<String>, to: Option<String>| ValueRow {
        name: name.to_owned(),
        from,
        to,
    };
    let rows = vec![
        row("Platform", text(&from.platform), text(&to.platform)),
        row("Built", from.created.clone(), to.created.clone()),
        row("Entrypoint", command(&from.entrypoint), command(&to.entrypoint)),
        row("Command", command(&from.command), command(&to.command)),
        row("User", from.user.clone(), to.user.clone()),
        row("Folder", from.working_dir.clone(), to.working_dir.clone()),
        row("Ports", list(&from.ports), list(&to.ports)),
        row("Volumes", list(&from.volumes), list(&to.volumes)),
        row("Stop signal", from.stop_signal.clone(), to.stop_signal.clone()),
        row(
            "Health check",
            command(&from.healthcheck),
            command(&to.healthcheck),
        ),
    ];
    rows.into_iter()
        .filter(|row| row.from.is_some() || row.to.is_some())
        .collect()
}

/// The layers of two images, in the order of the second, each that only the first has before those that follow it there.
#[must_use]
pub fn layers(from: (&[Descriptor], &[Option<&str>]), to: (&[Descriptor], &[Option<&str>])) -> Vec<LayerRow> {
    let digests = |layers: &[Descriptor]| -> BTreeSet<Digest> {
        layers.iter().map(|layer| layer.digest.clone()).collect()
    };
    let (in_from, in_to) = (digests(from.0), digests(to.0));
    let row = |fate, layer: &Descriptor, command: Option<&str>| LayerRow {
        fate,
        digest: layer.digest.clone(),
        size: layer.size,
        command: command.map(str::to_owned),
    };
    let mut rows = Vec::new();
    let mut old = from.0.iter().enumerate().peekable();
    for (index, layer) in to.0.iter().enumerate() {
        let is_shared = in_from.contains(&layer.digest);
        if is_shared {
            // What the first has before this layer and the second has not.
            while let Some((index, before)) = old.next_if(|(_, before)| before.digest != layer.digest) {
                if !in_to.contains(&before.digest) {
                    rows.push(row(Fate::Removed, before, from.1.get(index).copied().flatten()));
                }
            }
            let _ = old.next_if(|(_, before)| before.digest == layer.digest);
        }
        let fate = if is_shared { Fate::Same } else { Fate::Added };
        rows.push(row(fate, layer, to.1.get(index).copied().flatten()));
    }
    for (index, before) in old {
        if !in_to.contains(&before.digest) {
            rows.push(row(Fate::Removed, before, from.1.get(index).copied().flatten()));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use atcr_oci::MediaType;

    use super::*;

    fn layer(name: &str) -> Descriptor {
        let digest = Digest::of(atcr_oci::Algorithm::Sha256, name.as_bytes());
        Descriptor::new(MediaType::OCI_LAYER_TAR_GZIP, digest, name.len() as u64)
    }

    #[test]
    fn layers_are_shared_added_or_removed() {
        let of = |names: &[&str]| names.iter().map(|name| layer(name)).collect::<Vec<_>>();
        let fates = |from: &[&str], to: &[&str]| -> String {
            let (from, to) = (of(from), of(to));
            let rows = layers((&from, &[]), (&to, &[]));
            let marks = rows.iter().map(|row| match row.fate {
                Fate::Same => '=',
                Fate::Added => '+',
                Fate::Removed => '-',
                Fate::Changed => '~',
            });
            marks.collect()
        };
        assert_eq!(fates(&["a", "b", "c"], &["a", "b", "d"]), "==+-");
        assert_eq!(fates(&["a", "x", "c"], &["a", "c", "d"]), "=-=+");
        assert_eq!(fates(&["a", "b"], &["b", "a"]), "==");
        assert_eq!(fates(&[], &["a"]), "+");
        assert_eq!(fates(&["a", "a"], &["a"]), "=");
        assert_eq!(fates(&["b", "a"], &[]), "--");
    }

    #[test]
    fn values_are_compared_by_name() {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let rows = values(
            &map(&[("a", "1"), ("b", "1"), ("c", "1")]),
            &map(&[("b", "2"), ("c", "1"), ("d", "1")]),
        );
        let fates: Vec<(&str, Fate)> = rows.iter().map(|row| (row.name.as_str(), row.fate())).collect();
        assert_eq!(
            fates,
            [
                ("a", Fate::Removed),
                ("b", Fate::Changed),
                ("c", Fate::Same),
                ("d", Fate::Added)
            ]
        );
    }
}
