//! Whether a bucket does what a hold needs, by the hold's own test.

use anyhow::{Context as _, bail};
use atcr_hold::adapters::s3::S3Options;
use atcr_hold::bucket_test::{self, Observer, Step};
use atcr_hold::config::HoldConfig;
use atcr_hold::settings::{HoldSettings, StorageSettings};
use atcr_server::{LoadOptions, Problems, load};
use clap::Args;
use serde::Serialize;
use url::Url;

use crate::output::Output;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  atcr s3-test --config hold.yaml
  S3_BUCKET=blobs S3_ENDPOINT=https://s3.example AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… atcr s3-test --json

It writes two objects of 5 MiB below docker/registry/v2/uploads and removes them. Without --config, the hold's variables count.";

/// What a hold needs to be set that a bucket does not.
const OTHER_SETTINGS: [(&str, &str); 2] = [
    ("HOLD_SERVER_PUBLIC_URL", "https://hold.example.com"),
    ("HOLD_REGISTRATION_OWNER_DID", "did:web:owner.example.com"),
];

/// Which bucket.
#[derive(Debug, Args)]
pub struct S3Test {
    /// The hold's configuration file; without one, its variables (HOLD_STORAGE_…, S3_…, AWS_…)
    #[arg(long, short, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Show the signed URLs, which are good for ten minutes: whoever has them can use them
    #[arg(long)]
    show_urls: bool,
    /// Answer with a line of JSON for each step
    #[arg(long)]
    json: bool,
}

/// A step, as it is printed.
#[derive(Serialize)]
struct Printed<'s> {
    step: &'s str,
    ok: bool,
    milliseconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'s str>,
}

/// Prints how the test goes.
struct Printer {
    output: Output,
    shows_urls: bool,
}

impl S3Test {
    /// Tries everything.
    ///
    /// # Errors
    /// No bucket is named, or a step failed. What was written is removed all the same, where it can be.
    pub async fn run(self) -> anyhow::Result<()> {
        let options = self.options()?;
        let output = Output::new(self.json);
        let endpoint = options.endpoint.as_ref().map_or("AWS", Url::as_str);
        output.line(format!(
            "bucket {} at {endpoint}, region {}, {}",
            options.bucket,
            options.region,
            if options.path_style {
                "named in the path"
            } else {
                "named in the host"
            }
        ));
        let printer = Printer {
            output,
            shows_urls: self.show_urls,
        };
        let outcome = bucket_test::run(&options, &printer).await;
        printer.output.done();
        if outcome.is_ok() {
            printer.output.line("The bucket does all that a hold needs.");
        }
        outcome.map(drop)
    }

    fn options(&self) -> anyhow::Result<Box<S3Options>> {
        let mut options = LoadOptions::from_process(self.config.clone());
        if self.config.is_none() {
            for (name, value) in OTHER_SETTINGS {
                let unset = || value.to_owned();
                options.environment.entry(name.to_owned()).or_insert_with(unset);
            }
            // A bucket is what is asked about.
            let driver = ("HOLD_STORAGE_DRIVER".to_owned(), "s3".to_owned());
            options.environment.extend([driver]);
        }
        let config = load::<HoldConfig>(&options)?.config;
        let settings = HoldSettings::parse(&config, &mut Problems::default())
            .context("the configuration changed while it was read")?;
        match settings.storage {
            StorageSettings::S3(options) => Ok(options),
            StorageSettings::Filesystem { path } => {
                bail!("this hold keeps its objects in the folder {}", path.display())
            }
        }
    }
}

impl Observer for Printer {
    fn begins(&self, name: &str) {
        self.output.progress(name);
    }

    fn signed(&self, method: &str, url: &Url) {
        if self.shows_urls {
            self.output.line(format!("    {method} {url}"));
        }
    }

    fn done(&self, step: &Step<'_>) {
        let Step { name, took, error } = step;
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.output.line(match error {
            None => format!("ok      {name} ({milliseconds} ms)"),
            Some(error) => format!("failed  {name}: {error}"),
        });
        self.output.json(&Printed {
            step: name,
            ok: error.is_none(),
            milliseconds,
            error: error.as_deref(),
        });
    }
}
