//! The questions, and the configuration that follows from their answers.

use std::path::Path;

use anyhow::{Context as _, bail};
use atcr_atproto::syntax::AtIdentifier;
use atcr_server::Problems;
use atcr_server::disk_space::free_bytes;
use clap::ValueEnum as _;

use super::bucket;
use super::captain::{self, Captain};
use super::proxy::Proxy;
use super::{InitArguments, Method, Store};
use crate::commands::questions::{Question, Questions};
use crate::config::{DidMethod, HoldConfig, StorageDriver};
use crate::quota::bytes;
use crate::settings::HoldSettings;

/// No backup, no AppView.
const NONE: &str = "none";
/// The backup is in the bucket of the layers.
const SAME: &str = "same";
/// Where a hold behind a proxy of the same machine listens, and the addresses of such a proxy.
const BEHIND_A_PROXY: &str = "127.0.0.1:8080";
const THIS_MACHINE: [&str; 2] = ["127.0.0.1", "::1"];

/// What came of the questions.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) config: HoldConfig,
    pub(super) settings: HoldSettings,
    pub(super) captain: Option<Captain>,
    pub(super) proxy: Proxy,
    /// What the captain has to know, each in a sentence.
    pub(super) warnings: Vec<String>,
}

impl Answers {
    /// Takes what `arguments` say, and asks for the rest.
    ///
    /// # Errors
    /// See [`InitArguments::run`].
    pub(super) async fn gather(arguments: &InitArguments, questions: Questions) -> anyhow::Result<Self> {
        let mut asked = Asked {
            arguments,
            questions,
            config: HoldConfig::default(),
            warnings: Vec::new(),
        };
        asked.network();
        asked.url()?;
        let captain = asked.captain().await?;
        asked.rules()?;
        asked.data_dir()?;
        asked.storage().await?;
        asked.identity()?;
        asked.backup()?;
        let proxy = asked.proxy()?;
        let Asked { config, warnings, .. } = asked;
        Ok(Self {
            settings: settings_of(&config)?,
            config,
            captain,
            proxy,
            warnings,
        })
    }
}

/// Where the repository is copied to.
enum Place {
    Nowhere,
    SameBucket,
    Bucket(String),
    Folder(String),
}

struct Asked<'a> {
    arguments: &'a InitArguments,
    questions: Questions,
    config: HoldConfig,
    warnings: Vec<String>,
}

impl Asked<'_> {
    fn network(&mut self) {
        self.config.server.test_mode = self.arguments.local;
        if let Some(url) = &self.arguments.plc_directory_url {
            self.config.database.plc_directory_url = url.to_string();
        }
        if let Some(url) = &self.arguments.handle_resolver_url {
            self.config.server.handle_resolver_url = url.to_string();
        }
    }

    fn url(&mut self) -> anyhow::Result<()> {
        let question = Question {
            flag: "--url",
            text: "The hold's domain, such as hold.example.com",
            default: None,
        };
        let config = &self.config;
        self.config.server.public_url =
            self.questions
                .ask(question, self.arguments.url.as_deref(), |text| {
                    let text = text.trim_end_matches('/');
                    let url = if text.contains("://") {
                        text.to_owned()
                    } else {
                        format!("https://{text}")
                    };
                    accepted(config, "server.public_url", |config| {
                        config.server.public_url.clone_from(&url);
                    })?;
                    Ok(url)
                })?;
        Ok(())
    }

    async fn captain(&mut self) -> anyhow::Result<Option<Captain>> {
        let question = Question {
            flag: "--captain",
            text: "The captain: the handle or DID of the account that owns the hold",
            default: None,
        };
        let settings = settings_of(&self.config)?;
        let given = self.arguments.captain.as_deref();
        loop {
            let who = self.questions.ask(question, given, captain::parse)?;
            if self.arguments.no_lookup {
                let AtIdentifier::Did(did) = who else {
                    bail!("--captain: must be a DID with --no-lookup");
                };
                self.config.registration.owner_did = did.to_string();
                return Ok(None);
            }
            match captain::look_up(&settings, &who).await {
                Err(problem) if given.is_some() || !self.questions.asks() => bail!("--captain: {problem}"),
                Err(problem) => note(&problem),
                Ok(found) => {
                    note(&found.to_string());
                    let sure = Question {
                        flag: "--captain",
                        text: "Is this the captain?",
                        default: Some("yes"),
                    };
                    let is_given = given.map(|_| true);
                    if !self.questions.asks() || self.questions.yes_or_no(sure, is_given)? {
                        self.config.registration.owner_did = found.did.to_string();
                        return Ok(Some(found));
                    }
                }
            }
        }
    }

    fn rules(&mut self) -> anyhow::Result<()> {
        let public = Question {
            flag: "--public",
            text: "May everybody pull, without signing in? (manifests are public in any case)",
            default: Some("no"),
        };
        self.config.server.public = Some(self.questions.yes_or_no(public, self.arguments.public)?);
        let open = Question {
            flag: "--open",
            text: "May every account join and push?",
            default: Some("no"),
        };
        let is_open = self.questions.yes_or_no(open, self.arguments.open)?;
        self.config.registration.allow_all_crew = Some(is_open);
        if is_open {
            self.warnings.push(
                "every account may fill the store: give the crew a quota (quota.tiers and quota.defaults.new_crew_tier)"
                    .to_owned(),
            );
        }
        let appview = Question {
            flag: "--appview",
            text: "The registry (AppView) whose word about uploads counts: its domain or DID, or none",
            default: Some(NONE),
        };
        let config = &self.config;
        self.config.server.appview_did =
            self.questions
                .ask(appview, self.arguments.appview.as_deref(), |text| {
                    let did = match text {
                        "" | NONE => return Ok(String::new()),
                        text if text.starts_with("did:") => text.to_owned(),
                        text => format!("did:web:{text}"),
                    };
                    accepted(config, "server.appview_did", |config| {
                        config.server.appview_did.clone_from(&did);
                    })?;
                    Ok(did)
                })?;
        Ok(())
    }

    fn data_dir(&mut self) -> anyhow::Result<()> {
        let default = self.config.database.path.clone();
        let question = Question {
            flag: "--data-dir",
            text: "The folder of the hold's repository and keys",
            default: Some(&default),
        };
        self.config.database.path =
            self.questions
                .ask(question, self.arguments.data_dir.as_deref(), |text| {
                    folder(text)?;
                    Ok(text.to_owned())
                })?;
        let path = self.config.database.path.clone();
        self.tell_room("--data-dir", &path)
    }

    async fn storage(&mut self) -> anyhow::Result<()> {
        let question = Question {
            flag: "--storage",
            text: "Where the layers are kept: files or s3",
            default: Some("files"),
        };
        let given = match self.arguments.storage {
            Some(Store::Files) => Some("files"),
            Some(Store::S3) => Some("s3"),
            None => None,
        };
        let store = self.questions.ask(question, given, |text| {
            Store::from_str(text, true).map_err(|_| "say files or s3".to_owned())
        })?;
        match store {
            Store::Files => self.files(),
            Store::S3 => {
                let is_tried =
                    bucket::gather(&self.arguments.bucket, self.questions, &mut self.config).await?;
                if !is_tried {
                    self.warnings.push(
                        "nobody has tried whether the bucket does what a hold needs: `atcr s3-test` does"
                            .to_owned(),
                    );
                }
                Ok(())
            }
        }
    }

    fn files(&mut self) -> anyhow::Result<()> {
        self.config.storage.driver = StorageDriver::Filesystem;
        let default = Path::new(&self.config.database.path).join("objects");
        let default = default.to_string_lossy();
        let question = Question {
            flag: "--objects",
            text: "The folder of the layers",
            default: Some(&default),
        };
        // Has a default wherever the folder of the hold is known.
        let given = self.arguments.objects.as_deref();
        let given = given.or_else(|| (!self.questions.asks()).then_some(&*default));
        let path = self.questions.ask(question, given, |text| {
            folder(text)?;
            Ok(text.to_owned())
        })?;
        if path != default {
            self.tell_room("--objects", &path)?;
            self.config.storage.path = path;
        }
        Ok(())
    }

    fn identity(&mut self) -> anyhow::Result<()> {
        let question = Question {
            flag: "--did-method",
            text: "The kind of the hold's DID: web (from the domain, for good) or plc (the domain may change later)",
            default: Some("web"),
        };
        let given = match self.arguments.did_method {
            Some(Method::Web) => Some("web"),
            Some(Method::Plc) => Some("plc"),
            None => None,
        };
        let method = self.questions.ask(question, given, |text| {
            Method::from_str(text, true).map_err(|_| "say web or plc".to_owned())
        })?;
        self.config.database.did_method = match method {
            Method::Web => DidMethod::Web,
            Method::Plc => DidMethod::Plc,
        };
        Ok(())
    }

    fn backup(&mut self) -> anyhow::Result<()> {
        let has_bucket = !self.config.storage.bucket.is_empty();
        let (text, default) = if has_bucket {
            (
                "Where the hold's repository is copied to meanwhile: same (the bucket), another bucket, a folder on another disk, or none",
                SAME,
            )
        } else {
            (
                "Where the hold's repository is copied to meanwhile: a folder on another disk, or none",
                NONE,
            )
        };
        let question = Question {
            flag: "--backup",
            text,
            default: Some(default),
        };
        let config = &self.config;
        let place = self
            .questions
            .ask(question, self.arguments.backup.as_deref(), |text| match text {
                NONE => Ok(Place::Nowhere),
                SAME if has_bucket => Ok(Place::SameBucket),
                bucket if has_bucket && !bucket.contains('/') && !bucket.is_empty() => {
                    Ok(Place::Bucket(bucket.to_owned()))
                }
                text => {
                    folder(text)?;
                    accepted(config, "backup.path", |config| {
                        text.clone_into(&mut config.backup.path);
                    })?;
                    Ok(Place::Folder(text.to_owned()))
                }
            })?;
        match place {
            Place::SameBucket => {}
            Place::Bucket(bucket) => self.config.backup.bucket = bucket,
            Place::Nowhere => {
                self.config.backup.enabled = false;
                self.warnings.push(
                    "there is no backup: with the disk, who may use the hold and what belongs to whom is gone (backup.path, or --backup)"
                        .to_owned(),
                );
            }
            Place::Folder(path) => {
                if is_same_disk(&path, &self.config.database.path) {
                    self.warnings.push(format!(
                        "the backup in {path} is on the same disk as {}, and goes with it",
                        self.config.database.path
                    ));
                }
                self.config.backup.path = path;
            }
        }
        Ok(())
    }

    fn proxy(&mut self) -> anyhow::Result<Proxy> {
        let question = Question {
            flag: "--proxy",
            text: "The proxy in front of the hold, which does TLS: caddy, nginx, traefik or none",
            default: Some("caddy"),
        };
        let given = self.arguments.proxy.and_then(|proxy| proxy.to_possible_value());
        let given = given.as_ref().map(|value| value.get_name());
        let proxy = self.questions.ask(question, given, Proxy::parse)?;
        let question = Question {
            flag: "--listen",
            text: "Where the hold listens for the proxy",
            default: Some(BEHIND_A_PROXY),
        };
        // Where nobody asks for anything else, as is usual.
        let given = self.arguments.listen.as_deref();
        let given = given.or_else(|| (!self.questions.asks()).then_some(BEHIND_A_PROXY));
        let config = &self.config;
        self.config.server.addr = self.questions.ask(question, given, |text| {
            accepted(config, "server.addr", |config| {
                text.clone_into(&mut config.server.addr);
            })?;
            Ok(text.to_owned())
        })?;
        self.config.server.trusted_proxies = match &*self.arguments.trusted_proxy {
            [] if settings_of(&self.config)?.listen.ip().is_loopback() => {
                THIS_MACHINE.map(str::to_owned).to_vec()
            }
            [] => {
                self.warnings.push(
                    "all clients count as one, since no proxy is trusted to name them: set server.trusted_proxies (--trusted-proxy)"
                        .to_owned(),
                );
                Vec::new()
            }
            named => named.to_vec(),
        };
        accepted(&self.config, "server.trusted_proxies", |_| {})
            .map_err(|problem| anyhow::anyhow!("--trusted-proxy: {problem}"))?;
        Ok(proxy)
    }

    /// Says how much room there is, and warns where it is less than the hold will ask for.
    fn tell_room(&mut self, flag: &str, folder: &str) -> anyhow::Result<()> {
        let free =
            free_bytes(Path::new(folder)).with_context(|| format!("{flag}: cannot look at {folder}"))?;
        note(&format!("{folder}: {} free", bytes::format(free)));
        let least = self.config.server.free_disk_bytes;
        if free < least {
            self.warnings.push(format!(
                "the disk of {folder} has {} free; with less than {} the hold is not ready (server.free_disk_bytes)",
                bytes::format(free),
                bytes::format(least)
            ));
        }
        Ok(())
    }
}

/// The settings; what is wrong with them in one line.
pub(super) fn settings_of(config: &HoldConfig) -> anyhow::Result<HoldSettings> {
    let mut problems = Problems::default();
    HoldSettings::parse(config, &mut problems).ok_or_else(|| {
        let problems = problems.into_vec().into_iter();
        let problems: Vec<String> = problems
            .map(|problem| format!("{}: {}", problem.key, problem.message))
            .collect();
        anyhow::anyhow!("{}", problems.join("; "))
    })
}

/// Whether `key` is right after `change`, whatever else is still to be asked.
pub(super) fn accepted(
    config: &HoldConfig,
    key: &str,
    change: impl FnOnce(&mut HoldConfig),
) -> Result<(), String> {
    let mut config = config.clone();
    change(&mut config);
    let mut problems = Problems::default();
    // The outcome is not needed here, only what was wrong on the way.
    let _ = HoldSettings::parse(&config, &mut problems);
    let found = problems.into_vec().into_iter().find(|problem| problem.key == key);
    found.map_or(Ok(()), |problem| Err(problem.message))
}

/// Whether `text` can be a folder of the hold. One that is not there yet can.
fn folder(text: &str) -> Result<(), String> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err("must be a whole path, such as /var/lib/atcr-hold".to_owned());
    }
    match path.metadata() {
        Ok(found) if !found.is_dir() => Err(format!("{text} is no folder")),
        _ => Ok(()),
    }
}

/// Whether both folders, or what will be above them, are on one disk.
fn is_same_disk(one: &str, other: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let disk = |path: &str| {
        let mut above = Path::new(path).ancestors();
        above
            .find_map(|path| path.metadata().ok())
            .map(|found| found.dev())
    };
    disk(one).is_some() && disk(one) == disk(other)
}

/// An aside, which is no part of the result.
pub(super) fn note(text: &str) {
    use std::io::Write as _;
    // If standard error is gone, no one reads this.
    let _ = writeln!(std::io::stderr(), "  {text}");
}
