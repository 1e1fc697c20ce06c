//! The bucket of the layers: how it is reached, and whether it does what a hold needs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use atcr_server::Secret;
use clap::Args;
use clap::builder::BoolishValueParser;
use secrecy::ExposeSecret as _;
use url::Url;

use super::answers::{accepted, note, settings_of};
use crate::bucket_test::{self, Observer, Step};
use crate::commands::questions::{Question, Questions};
use crate::config::{HoldConfig, StorageDriver};
use crate::settings::StorageSettings;

/// Bytes of the file of a secret.
const MAX_SECRET_FILE: u64 = 4096;

/// What is told of a bucket.
#[derive(Debug, Args)]
pub(crate) struct BucketArguments {
    /// S3: the bucket, which has to be there
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// S3: the service's URL; "aws" for AWS itself
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// S3: the region
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// S3: whether the bucket is named in the path (https://host/bucket), yes or no
    #[arg(long, value_name = "YES", value_parser = BoolishValueParser::new())]
    path_style: Option<bool>,
    /// S3: the access key's id
    #[arg(long, value_name = "ID", env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    access_key: Option<String>,
    /// S3: file whose first line is the secret access key; AWS_SECRET_ACCESS_KEY may have it instead
    #[arg(long, value_name = "FILE")]
    secret_key_file: Option<std::path::PathBuf>,
    /// S3: do not try the bucket
    #[arg(long)]
    no_bucket_test: bool,
}

/// Asks for the bucket until it does what a hold needs, and writes it into `config`. Returns whether it was tried.
///
/// # Errors
/// For the terminal: an answer that is missing or wrong; a bucket that does not do, where nobody can give another.
pub(super) async fn gather(
    arguments: &BucketArguments,
    questions: Questions,
    config: &mut HoldConfig,
) -> anyhow::Result<bool> {
    loop {
        ask(arguments, questions, config)?;
        if arguments.no_bucket_test {
            return Ok(false);
        }
        let settings = settings_of(config)?;
        let StorageSettings::S3(options) = &settings.storage else {
            bail!("--bucket is missing");
        };
        let Err(error) = bucket_test::run(options, &Told).await else {
            return Ok(true);
        };
        let again = Question {
            flag: "--bucket",
            text: "The bucket does not do what a hold needs. Try again with other answers?",
            default: Some("yes"),
        };
        if !questions.asks() || !questions.yes_or_no(again, None)? {
            return Err(error.context("--bucket: it does not do what a hold needs"));
        }
    }
}

fn ask(arguments: &BucketArguments, questions: Questions, config: &mut HoldConfig) -> anyhow::Result<()> {
    config.storage.driver = StorageDriver::S3;
    let endpoint = Question {
        flag: "--endpoint",
        text: "The S3 service's URL, such as https://s3.example.com; aws for AWS itself",
        default: Some("aws"),
    };
    let before = config.clone();
    config.storage.endpoint = questions.ask(endpoint, arguments.endpoint.as_deref(), |text| {
        let url = match text {
            "aws" => String::new(),
            text => text.trim_end_matches('/').to_owned(),
        };
        accepted(&before, "storage.endpoint", |config| {
            config.storage.endpoint.clone_from(&url);
        })?;
        Ok(url)
    })?;
    let bucket = Question {
        flag: "--bucket",
        text: "The bucket's name",
        default: None,
    };
    config.storage.bucket = questions.ask(bucket, arguments.bucket.as_deref(), filled)?;
    let region = Question {
        flag: "--region",
        text: "The region",
        default: Some("us-east-1"),
    };
    config.storage.region = questions.ask(region, arguments.region.as_deref(), filled)?;
    config.storage.path_style = arguments.path_style.unwrap_or(config.storage.path_style);
    let key = Question {
        flag: "--access-key",
        text: "The access key's id",
        default: None,
    };
    config.storage.access_key = Secret::new(questions.ask(key, arguments.access_key.as_deref(), filled)?);
    config.storage.secret_key = secret_key(arguments, questions)?;
    Ok(())
}

fn filled(text: &str) -> Result<String, String> {
    match text {
        "" => Err("must not be empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// From the file, from the variable, or typed; never from the command line, which other users see.
fn secret_key(arguments: &BucketArguments, questions: Questions) -> anyhow::Result<Secret> {
    let flag = "--secret-key-file";
    let secret = match (&arguments.secret_key_file, std::env::var("AWS_SECRET_ACCESS_KEY")) {
        (Some(path), _) => {
            first_line(path).with_context(|| format!("{flag}: cannot read {}", path.display()))?
        }
        (None, Ok(secret)) if !secret.is_empty() => secret,
        _ => questions
            .secret(flag, "The secret access key")?
            .expose_secret()
            .to_owned(),
    };
    if secret.is_empty() {
        bail!("{flag}: must not be empty");
    }
    Ok(Secret::new(secret))
}

fn first_line(path: &Path) -> std::io::Result<String> {
    let file = std::fs::File::open(path)?;
    let text = std::io::read_to_string(std::io::Read::take(file, MAX_SECRET_FILE))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Says each step beside the questions.
struct Told;

impl Observer for Told {
    fn begins(&self, _: &str) {}

    fn signed(&self, _: &str, _: &Url) {}

    fn done(&self, step: &Step<'_>) {
        match &step.error {
            None => note(&format!(
                "ok      {} ({} ms)",
                step.name,
                Duration::as_millis(&step.took)
            )),
            Some(error) => note(&format!("failed  {}: {error}", step.name)),
        }
    }
}
