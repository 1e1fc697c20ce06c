//! Does with a bucket what a hold does with it, by the hold's own store, and says what the service refuses.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use atcr_atproto::clock::{Clock, SystemClock, moved};
use atcr_atproto::egress::{EgressClient, Limits};
use atcr_hold::adapters::s3::{S3Options, S3Store};
use atcr_hold::blobs::{
    DownloadMethod, ObjectKey, ObjectStore as _, PartTag, PartUrl, PresignedUrl, StoreUpload,
};
use atcr_hold::config::HoldConfig;
use atcr_hold::settings::{HoldSettings, StorageSettings};
use atcr_oci::Algorithm;
use atcr_server::{LoadOptions, Problems, load};
use chrono::TimeDelta;
use clap::Args;
use http::{Method, header};
use serde::Serialize;
use url::Url;
use uuid::Uuid;

use crate::output::Output;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  atcr s3-test --config hold.yaml
  S3_BUCKET=blobs S3_ENDPOINT=https://s3.example AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… atcr s3-test --json

It writes two objects of 5 MiB below docker/registry/v2/uploads and removes them. Without --config, the hold's variables count.";

/// The first part: the least that S3 takes as one that others follow. The second is short.
const FIRST_PART: usize = 5 * 1024 * 1024;
const SECOND_PART: usize = 1024;

/// How long signed URLs are good.
const SIGNED_FOR: TimeDelta = TimeDelta::minutes(10);

/// How long moving the parts may take.
const PATIENCE: Duration = Duration::from_mins(2);

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
struct Step<'s> {
    step: &'s str,
    ok: bool,
    milliseconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The bucket under test.
struct Test {
    options: Box<S3Options>,
    store: S3Store,
    client: EgressClient,
    clock: Arc<dyn Clock>,
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
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let test = Test {
            store: S3Store::new(&options, Arc::clone(&clock)),
            client: EgressClient::for_configured_hosts()?,
            options,
            clock,
            output,
            shows_urls: self.show_urls,
        };
        let outcome = test.run().await;
        test.output.done();
        if outcome.is_ok() {
            test.output.line("The bucket does all that a hold needs.");
        }
        outcome
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

impl Test {
    async fn run(&self) -> anyhow::Result<()> {
        self.step("the service takes the keys and has the bucket", async {
            Ok(self.store.ping().await?)
        })
        .await?;
        let key = ObjectKey::upload(Uuid::new_v4());
        let begun = self.step("an upload in parts is begun", async {
            Ok(self.store.begin(&key, Algorithm::Sha256).await?)
        });
        let upload = begun.await?;
        let target = StoreUpload {
            key: ObjectKey::upload(Uuid::new_v4()),
            id: String::new(),
        };
        let is_moved = Cell::new(false);
        let tried = self.with_upload(&upload, &target.key, &is_moved).await;
        let removed = self.step("what was written is removed", async {
            if !is_moved.get() {
                self.store.discard(&upload).await?;
            }
            self.store.discard(&target).await?;
            let left = self.store.stat(&target.key).await?;
            ensure!(left.is_none(), "the object is still there");
            Ok(())
        });
        let removed = removed.await;
        tried.and(removed)
    }

    async fn with_upload(
        &self,
        upload: &StoreUpload,
        target: &ObjectKey,
        is_moved: &Cell<bool>,
    ) -> anyhow::Result<()> {
        let expires_at = moved(self.clock.now(), SIGNED_FOR);
        let mut parts = Vec::new();
        for (number, size) in [(1, FIRST_PART), (2, SECOND_PART)] {
            let url = self.store.part_url(upload, number, expires_at).await?;
            let name = format!("part {number} is sent to a signed URL");
            self.show("PUT", &url.url);
            let sent = self.step(&name, self.send(url, vec![b'a'; size]));
            parts.push(PartTag {
                part_number: number,
                etag: sent.await?,
            });
        }
        let assembled = self
            .step("the parts are joined", async {
                let assembled = self.store.assemble(upload, &parts).await?;
                let expected = (FIRST_PART + SECOND_PART) as u64;
                ensure!(
                    assembled.size == expected,
                    "{} bytes, not {expected}",
                    assembled.size
                );
                Ok(assembled)
            })
            .await?;
        self.step("the object is copied by the service", async {
            Ok(self.store.publish(upload, &assembled, target).await?)
        })
        .await?;
        is_moved.set(true);
        for method in [DownloadMethod::Head, DownloadMethod::Get] {
            let PresignedUrl { url, .. } = self.store.download_url(target, method, expires_at).await?;
            let place = match &self.options.pull_zone {
                Some(_) => "the pull zone",
                None => "the service",
            };
            let name = format!("{place} answers {} at a signed URL", method.as_str());
            self.show(method.as_str(), &url);
            self.step(&name, self.fetch(method, &url)).await?;
        }
        let (url, method) = (self.wrongly_signed(target).await?, DownloadMethod::Get);
        self.step("a URL with a wrong signature is refused", async {
            match self.fetch(method, &url).await {
                Ok(()) => bail!("everybody can read the bucket"),
                Err(_) => Ok(()),
            }
        })
        .await
    }

    /// A URL of the object that nobody has signed.
    async fn wrongly_signed(&self, key: &ObjectKey) -> anyhow::Result<Url> {
        let expires_at = moved(self.clock.now(), SIGNED_FOR);
        let signed = self
            .store
            .download_url(key, DownloadMethod::Get, expires_at)
            .await?;
        let mut url = signed.url;
        let parameters: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| match &*name {
                "X-Amz-Signature" => (name.into_owned(), "0".repeat(value.len())),
                _ => (name.into_owned(), value.into_owned()),
            })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(parameters);
        Ok(url)
    }

    async fn send(&self, part: PartUrl, bytes: Vec<u8>) -> anyhow::Result<String> {
        let mut request = self
            .client
            .request(Method::PUT, &part.url)?
            .timeout(PATIENCE)
            .body(bytes);
        for (name, value) in &part.headers {
            request = request.header(name, value);
        }
        let answer = self.client.send_capped(request, limits(64 * 1024)).await?;
        ensure!(
            answer.status.is_success(),
            "status {}: {}",
            answer.status.as_u16(),
            first_words(&answer.bytes)
        );
        let etag = answer.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
        Ok(etag.context("the answer has no ETag")?.to_owned())
    }

    async fn fetch(&self, method: DownloadMethod, url: &Url) -> anyhow::Result<()> {
        let verb = match method {
            DownloadMethod::Get => Method::GET,
            DownloadMethod::Head => Method::HEAD,
        };
        let request = self.client.request(verb, url)?.timeout(PATIENCE);
        let expected = FIRST_PART + SECOND_PART;
        let answer = self.client.send_capped(request, limits(expected + 1)).await?;
        ensure!(
            answer.status.is_success(),
            "status {}: {}",
            answer.status.as_u16(),
            first_words(&answer.bytes)
        );
        let length = match method {
            DownloadMethod::Get => answer.bytes.len(),
            DownloadMethod::Head => answer
                .headers
                .get(header::CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok())
                .and_then(|length| length.parse().ok())
                .context("the answer has no length")?,
        };
        ensure!(length == expected, "{length} bytes, not {expected}");
        Ok(())
    }

    fn show(&self, method: &str, url: &Url) {
        if self.shows_urls {
            self.output.line(format!("    {method} {url}"));
        }
    }

    /// Does one step and says how it went.
    async fn step<T>(&self, name: &str, doing: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        self.output.progress(name);
        let begun = Instant::now();
        let outcome = doing.await;
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = outcome.as_ref().err().map(|error| format!("{error:#}"));
        self.output.line(match &error {
            None => format!("ok      {name} ({milliseconds} ms)"),
            Some(error) => format!("failed  {name}: {error}"),
        });
        self.output.json(&Step {
            step: name,
            ok: error.is_none(),
            milliseconds,
            error,
        });
        outcome.with_context(|| format!("not so: {name}"))
    }
}

fn limits(max_bytes: usize) -> Limits {
    Limits {
        max_bytes,
        timeout: PATIENCE,
    }
}

/// The beginning of what a service says.
fn first_words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(300).collect()
}
