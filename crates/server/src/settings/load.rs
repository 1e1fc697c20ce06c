//! Defaults ← YAML file ← environment, into a validated struct.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::providers::Serialized;
use figment::value::{Dict, Map, Value as FigmentValue};
use figment::{Figment, Metadata, Profile, Provider};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_norway::Value as Yaml;

use super::env_name::env_name;
use super::error::{ConfigError, Problem, Problems};
use super::schema::{self, Kind, Leaf};

/// Letters by which a misspelt variable may differ from the right one.
const SLIPS: usize = 2;

/// A process's configuration: one struct whose fields are sections, whose doc comments are the documentation.
pub trait Settings: Default + Serialize + DeserializeOwned + JsonSchema {
    /// The prefix of the variables that override keys, without the underscore: `ATCR`, `HOLD`.
    const ENV_PREFIX: &'static str;

    /// Well-known variables of other prefixes: (variable, dotted key). A variable of our own prefix wins.
    const ENV_ALIASES: &'static [(&'static str, &'static str)] = &[];

    /// Keys of lists that a file may also write as a mapping, whose order counts: what stands under `name: {…}` is an item with the field
    /// `name`, and what stands under `name: text` is the item `name=text`.
    const NAMED_LISTS: &'static [&'static str] = &[];

    /// Variables by which an older version named settings, and which are still read: (variable, dotted key). A newer variable wins.
    const OLD_VARIABLES: &'static [(&'static str, &'static str)] = &[];

    /// What the original has settings for and this process has not: (name, what to know instead). A name is a dotted key, the section of
    /// keys, or a variable. Files and environments of the original may have them: each that is given is a warning, and no mistake.
    const RETIRED: &'static [(&'static str, &'static str)] = &[];

    /// Checks what types cannot: adds one [`Problem`] for each wrong setting, all of them, not only the first.
    fn validate(&self, problems: &mut Problems);
}

/// Where the layers come from.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The YAML file; `None` for defaults and environment alone.
    pub file: Option<PathBuf>,
    /// The environment, as a parameter so that tests need not change the process's own.
    pub environment: BTreeMap<String, String>,
}

impl LoadOptions {
    /// The process's environment and `file`.
    #[must_use]
    pub fn from_process(file: Option<PathBuf>) -> Self {
        Self {
            file,
            environment: std::env::vars().collect(),
        }
    }
}

/// A configuration that passed every check.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The settings.
    pub config: T,
    /// Sentences for the operator's log: variables that look like the one of a setting, and are none; old names; what is not there any more.
    pub warnings: Vec<String>,
}

/// Loads, layers and validates `T`.
///
/// # Errors
/// - [`ConfigError::File`], [`ConfigError::Yaml`]: the file cannot be read or parsed.
/// - [`ConfigError::Invalid`]: every unknown key, wrong value, unparsable variable and failed check, each with its key. A key
///   that names nothing is a setting that the operator believes to be made: it is refused, and the nearest known key is named.
pub fn load<T: Settings>(options: &LoadOptions) -> Result<Loaded<T>, ConfigError> {
    let leaves = schema::leaves(&schema::of::<T>());
    let mut problems = Problems::default();
    let mut warnings = misspelt_variables::<T>(&options.environment, &leaves);
    warnings.extend(old_variables::<T>(&options.environment));

    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(path) = &options.file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.clone(),
            source,
        })?;
        let wrong = |error: serde_norway::Error| ConfigError::Yaml {
            path: path.clone(),
            message: error.to_string(),
        };
        let mut yaml: Yaml = serde_norway::from_str(&text).map_err(wrong)?;
        for key in T::NAMED_LISTS {
            list_names(&mut yaml, key);
        }
        let dict: Option<Dict> = serde_norway::from_value(yaml).map_err(wrong)?;
        let dict = dict.unwrap_or_default();
        for (key, message) in unknown_keys(&dict, &leaves) {
            match retired_key::<T>(&key) {
                Some(instead) => warnings.push(retired("the setting", &key, instead)),
                None => problems.push(key, message),
            }
        }
        figment = figment.merge(Layer {
            name: format!("file {}", path.display()),
            dict,
        });
    }
    let environment = from_environment::<T>(&options.environment, &leaves, &mut problems);
    figment = figment.merge(Layer {
        name: "environment".to_owned(),
        dict: environment,
    });

    let config: T = extract(figment, &mut problems)?;
    config.validate(&mut problems);
    if problems.is_empty() {
        Ok(Loaded { config, warnings })
    } else {
        Err(ConfigError::Invalid(problems.into_vec()))
    }
}

/// Extracts `T`, noting each key of a wrong type and going on with its default, so that one start names them all.
fn extract<T: Settings>(mut figment: Figment, problems: &mut Problems) -> Result<T, ConfigError> {
    let defaults = Figment::from(Serialized::defaults(T::default()));
    loop {
        let error = match figment.extract::<T>() {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        let key = error.path.join(".");
        let origin = error
            .metadata
            .as_ref()
            .map(|m| format!(" (from {})", m.name))
            .unwrap_or_default();
        problems.push(key.clone(), format!("{}{origin}", error.kind));
        let Ok(value) = defaults.find_value(&key) else {
            return Err(ConfigError::Invalid(std::mem::take(problems).into_vec()));
        };
        let before = figment.find_value(&key).ok();
        figment = figment.merge(Layer {
            name: "defaults".to_owned(),
            dict: nest(&key, value.clone()),
        });
        if before == Some(value) {
            return Err(ConfigError::Invalid(std::mem::take(problems).into_vec()));
        }
    }
}

struct Layer {
    name: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// Makes a list of the mapping at `key`, if there is one. Only a file has an order: a dictionary of settings has none.
fn list_names(yaml: &mut Yaml, key: &str) {
    let mut place = yaml;
    for part in key.split('.') {
        let Some(inner) = place.get_mut(part) else { return };
        place = inner;
    }
    let Yaml::Mapping(names) = place else { return };
    let items = std::mem::take(names).into_iter().map(|(name, item)| match item {
        Yaml::Mapping(mut fields) => {
            fields.insert(Yaml::from("name"), name);
            Yaml::Mapping(fields)
        }
        item => {
            let text = |value: &Yaml| match value {
                Yaml::String(text) => text.clone(),
                other => serde_norway::to_string(other)
                    .unwrap_or_default()
                    .trim()
                    .to_owned(),
            };
            Yaml::from(format!("{}={}", text(&name), text(&item)))
        }
    });
    *place = Yaml::Sequence(items.collect());
}

fn from_environment<T: Settings>(
    environment: &BTreeMap<String, String>,
    leaves: &[Leaf],
    problems: &mut Problems,
) -> Dict {
    let mut dict = Dict::new();
    for leaf in leaves {
        let own = env_name(T::ENV_PREFIX, &leaf.key);
        let aliases = T::ENV_ALIASES
            .iter()
            .chain(T::OLD_VARIABLES)
            .filter(|(_, key)| *key == leaf.key)
            .map(|(name, _)| *name);
        let found = std::iter::once(own.as_str())
            .chain(aliases)
            .find_map(|name| environment.get(name).map(|value| (name, value)));
        let Some((name, text)) = found else { continue };
        match parse(leaf.kind, text) {
            Ok(value) => merge(&mut dict, nest(&leaf.key, value)),
            Err(expected) => problems.push(leaf.key.clone(), format!("{name} must be {expected}")),
        }
    }
    dict
}

fn parse(kind: Kind, text: &str) -> Result<FigmentValue, &'static str> {
    match kind {
        Kind::Text => Ok(FigmentValue::from(text)),
        Kind::Integer => text
            .trim()
            .parse::<i64>()
            .map(FigmentValue::from)
            .map_err(|_| "a whole number"),
        // Every spelling that Go's strconv.ParseBool takes, since operators bring their variables along, and yes and no.
        Kind::Boolean => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" => Ok(FigmentValue::from(true)),
            "false" | "f" | "0" | "no" => Ok(FigmentValue::from(false)),
            _ => Err("true or false"),
        },
        Kind::List => {
            let items: Vec<&str> = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect();
            Ok(FigmentValue::from(items))
        }
    }
}

fn nest(key: &str, value: FigmentValue) -> Dict {
    let mut dict = Dict::new();
    match key.split_once('.') {
        None => {
            dict.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            dict.insert(first.to_owned(), FigmentValue::from(nest(rest, value)));
        }
    }
    dict
}

fn merge(into: &mut Dict, from: Dict) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(FigmentValue::Dict(_, existing)), FigmentValue::Dict(_, more)) => merge(existing, more),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Variables that differ by a slip of the keyboard from the variable of a setting, and those of the original that mean nothing here, each
/// in a sentence. Others with our prefix are not ours to judge: orchestrators make variables out of the names of services.
fn misspelt_variables<T: Settings>(environment: &BTreeMap<String, String>, leaves: &[Leaf]) -> Vec<String> {
    let prefix = format!("{}_", T::ENV_PREFIX);
    let known: Vec<String> = leaves
        .iter()
        .map(|leaf| env_name(T::ENV_PREFIX, &leaf.key))
        .chain(
            T::ENV_ALIASES
                .iter()
                .chain(T::OLD_VARIABLES)
                .map(|(name, _)| (*name).to_owned()),
        )
        .collect();
    environment
        .keys()
        .filter(|name| !known.contains(name))
        .filter_map(|name| {
            if let Some(instead) = retired_variable::<T>(name) {
                return Some(retired("the variable", name, instead));
            }
            if !name.starts_with(&prefix) {
                return None;
            }
            let near = known
                .iter()
                .find(|known| strsim::osa_distance(known, name) <= SLIPS)?;
            Some(format!("the variable {name} is no setting; did you mean {near}?"))
        })
        .collect()
}

/// Old variables that are set, each in a sentence that names the new one.
fn old_variables<T: Settings>(environment: &BTreeMap<String, String>) -> Vec<String> {
    let set = T::OLD_VARIABLES
        .iter()
        .filter(|(name, _)| environment.contains_key(*name));
    set.map(|(name, key)| {
        let new = env_name(T::ENV_PREFIX, key);
        if environment.contains_key(&new) {
            format!("the variable {name} is an old name of {new}, which is set too and counts")
        } else {
            format!("the variable {name} is an old name of {new}; it is still read, but rename it")
        }
    })
    .collect()
}

fn retired(what: &str, name: &str, instead: &str) -> String {
    format!("{what} {name} of the original has no effect here: {instead}")
}

/// What to know instead of a key of the original.
fn retired_key<T: Settings>(key: &str) -> Option<&'static str> {
    let is_meant = |name: &str| {
        let rest = key.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    T::RETIRED
        .iter()
        .find(|(name, _)| is_meant(name))
        .map(|(_, instead)| *instead)
}

/// What to know instead of a variable of the original: one that is named itself, or that of a key.
fn retired_variable<T: Settings>(variable: &str) -> Option<&'static str> {
    let is_meant = |name: &str| {
        let own = env_name(T::ENV_PREFIX, name);
        let rest = variable.strip_prefix(&own);
        variable == name || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    T::RETIRED
        .iter()
        .find(|(name, _)| is_meant(name))
        .map(|(_, instead)| *instead)
}

/// Keys of `dict` that name no setting, each with a sentence that names the nearest.
fn unknown_keys(dict: &Dict, leaves: &[Leaf]) -> Vec<(String, String)> {
    let mut given = Vec::new();
    flatten(dict, "", leaves, &mut given);
    given
        .into_iter()
        .filter(|key| !leaves.iter().any(|leaf| leaf.key == *key))
        .map(|key| {
            let nearest = leaves
                .iter()
                .map(|leaf| (strsim::jaro_winkler(&leaf.key, &key), &leaf.key))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let message = match nearest {
                Some((score, near)) if score > 0.8 => format!("no such setting; did you mean {near}?"),
                _ => "no such setting".to_owned(),
            };
            (key, message)
        })
        .collect()
}

fn flatten(dict: &Dict, prefix: &str, leaves: &[Leaf], given: &mut Vec<String>) {
    for (name, value) in dict {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            FigmentValue::Dict(_, inner) if !leaves.iter().any(|leaf| leaf.key == key) => {
                flatten(inner, &key, leaves, given);
            }
            _ => given.push(key),
        }
    }
}

/// The problems of `error`, empty unless it is [`ConfigError::Invalid`].
impl ConfigError {
    /// Each wrong setting, when settings are what is wrong.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid(problems) => problems,
            Self::File { .. } | Self::Yaml { .. } => &[],
        }
    }
}
