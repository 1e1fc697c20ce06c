//! Does with a bucket what a hold does with it, by the hold's own store, and says what the service refuses.
//!
//! It writes two objects below `docker/registry/v2/uploads`, where unfinished uploads are, and removes them.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use atcr_atproto::clock::{Clock, SystemClock, moved};
use atcr_atproto::egress::{EgressClient, Limits};
use atcr_oci::Algorithm;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, Method, header};
use url::Url;
use uuid::Uuid;

use crate::adapters::s3::{S3Options, S3Store};
use crate::blobs::{
    DownloadMethod, ObjectKey, ObjectStore as _, PartTag, PartUrl, PresignedUrl, StoreUpload,
};

/// The first part: the least that S3 takes as one that others follow. The second is short.
const FIRST_PART: usize = 5 * 1024 * 1024;
const SECOND_PART: usize = 1024;

/// How long signed URLs are good.
const SIGNED_FOR: TimeDelta = TimeDelta::minutes(10);

/// How long moving the parts may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// How far the clocks may be apart. Services refuse signatures that are off by 15 minutes.
const MOST_SKEW: TimeDelta = TimeDelta::minutes(5);

/// A step that was done.
#[derive(Clone, Debug)]
pub struct Step<'s> {
    /// What holds if it went well.
    pub name: &'s str,
    /// How long it took.
    pub took: Duration,
    /// Why it failed.
    pub error: Option<String>,
}

/// Who is told how the test goes.
pub trait Observer {
    /// A step begins.
    fn begins(&self, name: &str);
    /// A signed URL is about to be used. Whoever has it can use it for ten minutes.
    fn signed(&self, method: &str, url: &Url);
    /// A step is done.
    fn done(&self, step: &Step<'_>);
}

/// What was seen beside the steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Pages of other sites may read at signed URLs: the service answers with `Access-Control-Allow-Origin`.
    pub allows_browsers: bool,
}

/// Tries everything that a hold does with the bucket of `options`.
///
/// # Errors
/// The first step that failed. What was written is removed all the same, where it can be.
pub async fn run(options: &S3Options, observer: &dyn Observer) -> anyhow::Result<Seen> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let test = Test {
        store: S3Store::new(options, Arc::clone(&clock)),
        client: EgressClient::for_configured_hosts()?,
        options,
        clock,
        observer,
        skew: Cell::new(None),
        allows_browsers: Cell::new(false),
    };
    test.run().await?;
    Ok(Seen {
        allows_browsers: test.allows_browsers.get(),
    })
}

/// How far the clock of `answer` is ahead of `now`, if it tells the time.
#[must_use]
pub fn skew_of(answer: &HeaderMap, now: DateTime<Utc>) -> Option<TimeDelta> {
    let date = answer.get(header::DATE)?.to_str().ok()?;
    let theirs = DateTime::parse_from_rfc2822(date).ok()?;
    Some(theirs.with_timezone(&Utc) - now)
}

/// The bucket under test.
struct Test<'t> {
    options: &'t S3Options,
    store: S3Store,
    client: EgressClient,
    clock: Arc<dyn Clock>,
    observer: &'t dyn Observer,
    /// How far the service's clock is ahead.
    skew: Cell<Option<TimeDelta>>,
    allows_browsers: Cell<bool>,
}

impl Test<'_> {
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
        self.step("unfinished uploads are listed", async {
            self.store.list_unfinished(1).await?;
            Ok(())
        })
        .await?;
        let mut parts = Vec::new();
        for (number, size) in [(1, FIRST_PART), (2, SECOND_PART)] {
            let url = self.store.part_url(upload, number, expires_at).await?;
            let name = format!("part {number} is sent to a signed URL");
            self.observer.signed("PUT", &url.url);
            let sent = self.step(&name, self.send(url, vec![b'a'; size]));
            parts.push(PartTag {
                part_number: number,
                etag: sent.await?,
            });
        }
        self.step("the clocks agree", async {
            match self.skew.get() {
                Some(skew) if skew.abs() > MOST_SKEW => bail!(
                    "the service's clock is {} seconds ahead of this machine's; let NTP set the clock",
                    skew.num_seconds()
                ),
                _ => Ok(()),
            }
        })
        .await?;
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
            self.observer.signed(method.as_str(), &url);
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
        self.skew.set(skew_of(&answer.headers, self.clock.now()));
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
        // A page of any site, as a browser would say.
        let request = self
            .client
            .request(verb, url)?
            .header(header::ORIGIN, "https://registry.example.com")
            .timeout(PATIENCE);
        let expected = FIRST_PART + SECOND_PART;
        let answer = self.client.send_capped(request, limits(expected + 1)).await?;
        ensure!(
            answer.status.is_success(),
            "status {}: {}",
            answer.status.as_u16(),
            first_words(&answer.bytes)
        );
        let allowed = answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        self.allows_browsers.set(allowed);
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

    /// Does one step and says how it went.
    async fn step<T>(&self, name: &str, doing: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        self.observer.begins(name);
        let begun = Instant::now();
        let outcome = doing.await;
        self.observer.done(&Step {
            name,
            took: begun.elapsed(),
            error: outcome.as_ref().err().map(|error| format!("{error:#}")),
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
