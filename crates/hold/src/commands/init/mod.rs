//! `atcr-hold init`: a few questions, then the configuration of a hold, and what is to be done next.
//!
//! - [`answers`]: the questions, and the configuration that follows from their answers
//! - [`captain`]: looks the captain up; [`bucket`]: asks for the bucket, and tries it
//! - [`proxy`]: what the reverse proxy has to be told
//! - [`next`]: what is said at the end

mod answers;
mod bucket;
mod captain;
mod next;
mod proxy;

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use atcr_server::changed_yaml;
use atcr_server::private_files::write_private_file;
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use url::Url;

use self::answers::Answers;
use self::bucket::BucketArguments;
use self::proxy::Proxy;
use super::block_on;
use super::questions::Questions;

/// Where the layers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// In a folder of this machine.
    Files,
    /// In a bucket of an S3 service.
    S3,
}

/// The kind of the hold's DID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// From the URL, for good.
    Web,
    /// From the directory; the URL may change later.
    Plc,
}

/// What `init` is told.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The configuration that is written
    #[arg(long, short, value_name = "FILE", default_value = "hold.yaml")]
    config: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Ask nothing: what no flag says is the default
    #[arg(long, short)]
    yes: bool,
    /// The hold's domain, or its whole URL
    #[arg(long, value_name = "DOMAIN")]
    url: Option<String>,
    /// The captain's handle or DID
    #[arg(long, value_name = "HANDLE")]
    captain: Option<String>,
    /// Take the captain's DID as it is, and ask nobody whose it is
    #[arg(long)]
    no_lookup: bool,
    /// Whether everybody can pull, yes or no
    #[arg(long, value_name = "YES", value_parser = BoolishValueParser::new())]
    public: Option<bool>,
    /// Whether every account can join and push, yes or no
    #[arg(long, value_name = "YES", value_parser = BoolishValueParser::new())]
    open: Option<bool>,
    /// The registry (AppView) whose word about uploads and tiers counts: its domain or DID, or none
    #[arg(long, value_name = "DOMAIN")]
    appview: Option<String>,
    /// The folder of the hold's repository and keys, and of the layers if those are files
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Where the layers are kept
    #[arg(long)]
    storage: Option<Store>,
    /// Files: another folder for the layers
    #[arg(long, value_name = "FOLDER")]
    objects: Option<String>,
    #[command(flatten)]
    bucket: BucketArguments,
    /// The kind of the hold's DID
    #[arg(long)]
    did_method: Option<Method>,
    /// Where the hold's repository is copied to meanwhile: a folder on another disk, the bucket of the layers (same) or another one, or
    /// none
    #[arg(long, value_name = "PLACE")]
    backup: Option<String>,
    /// Where the hold listens
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The proxy in front of the hold, whose stanza is printed
    #[arg(long)]
    proxy: Option<Proxy>,
    /// Address or network of a proxy on another machine, whose word about its clients counts; several times
    #[arg(long, value_name = "NETWORK")]
    trusted_proxy: Vec<String>,
    /// The directory of did:plc documents
    #[arg(long, value_name = "URL")]
    plc_directory_url: Option<Url>,
    /// A service that knows handles, where there is no public DNS
    #[arg(long, value_name = "URL")]
    handle_resolver_url: Option<Url>,
    /// Development: plain http, and hosts of this machine
    #[arg(long)]
    local: bool,
}

impl InitArguments {
    /// Asks, writes the file, and says what is next.
    ///
    /// # Errors
    /// For the terminal: a file that is there, an answer that is missing or wrong, an account that cannot be looked up.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        ensure!(
            self.force || !self.config.exists(),
            "{} exists; --force overwrites it",
            self.config.display()
        );
        let answers = block_on(Answers::gather(&self, Questions::new(self.yes)))?;
        let written = write_private_file(&self.config, &answers.yaml()?, self.force);
        if let Err(error) = &written
            && error.kind() == ErrorKind::AlreadyExists
        {
            bail!("{} exists; --force overwrites it", self.config.display());
        }
        written.with_context(|| format!("cannot write {}", self.config.display()))?;
        let said = next::steps(&self.config, &answers)?;
        std::io::stdout()
            .write_all(said.as_bytes())
            .context("cannot write to standard output")
    }
}

impl Answers {
    /// The file.
    fn yaml(&self) -> anyhow::Result<String> {
        let heading = "Settings of an ATCR hold: what differs from the defaults. \
                       `atcr-hold config init` shows every setting with its default.";
        let storage = &self.config.storage;
        let secrets = [
            ("storage.access_key", &storage.access_key),
            ("storage.secret_key", &storage.secret_key),
        ];
        changed_yaml(&self.config, &secrets, heading).context("cannot write the settings as YAML")
    }
}
