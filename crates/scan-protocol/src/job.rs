//! What a hold says: jobs.

use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::InvalidMessage;
use crate::bounds::{MAX_LEASE_SECONDS, MAX_REPOSITORY_LEN, MAX_SMALL_MESSAGE_BYTES, MAX_TAG_LEN};
use crate::error::require_object;

const JOB: &str = "scan_job";

/// One image to be scanned.
///
/// # Spec
/// `io.atcr.hold.subscribeScanJobs#scanJob`; `resultsUrl`, `leaseSeconds`, `cyclonedx` and `listUrl` are ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanJob {
    /// Numbers the times that jobs were handed out.
    pub seq: u64,
    /// The manifest's digest.
    pub digest: Digest,
    /// The image name without the owner.
    pub repository: String,
    /// The owner, whose account has the manifest's record.
    pub user_did: Did,
    /// The hold.
    pub hold_did: Did,
    /// The hold's address, from where blobs are fetched by `com.atproto.sync.getBlob` with the secret's header.
    pub hold_endpoint: Url,
    /// The tag of the push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Lower comes first.
    pub priority: i64,
    /// Where documents are uploaded; `None` from an original hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results_url: Option<Url>,
    /// After how many seconds without a word about it the job is given to another scanner; `None` from an original hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u64>,
    /// Whether the list of packages is wanted as CycloneDX too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cyclonedx: bool,
    /// Where Syft's list of the image's packages is, of an earlier result: it may be looked up again in place of a scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_url: Option<Url>,
}

/// A message of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldMessage {
    /// A job. Boxed: it is much larger than the rest.
    Job(Box<ScanJob>),
    /// Anything else, to be passed over.
    Unknown,
}

#[derive(Deserialize)]
struct WireType<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireJob {
    seq: u64,
    #[serde(alias = "manifestDigest")]
    digest: Digest,
    repository: String,
    user_did: Did,
    hold_did: Did,
    hold_endpoint: Url,
    tag: Option<String>,
    priority: Option<i64>,
    results_url: Option<Url>,
    lease_seconds: Option<u64>,
    #[serde(default)]
    cyclonedx: bool,
    list_url: Option<Url>,
}

impl HoldMessage {
    /// Reads one text frame.
    ///
    /// # Errors
    /// [`InvalidMessage`] for a job that is not valid, or a text that is no JSON object.
    pub fn decode(text: &str) -> Result<Self, InvalidMessage> {
        if text.len() > MAX_SMALL_MESSAGE_BYTES {
            return Err(InvalidMessage::new("longer than 64 KiB"));
        }
        require_object("the message", text)?;
        let WireType { kind } = serde_json::from_str(text)?;
        match &*kind {
            JOB | "job" => ScanJob::decode(text).map(|job| Self::Job(Box::new(job))),
            _ => Ok(Self::Unknown),
        }
    }
}

impl ScanJob {
    fn decode(text: &str) -> Result<Self, InvalidMessage> {
        let wire: WireJob = serde_json::from_str(text)?;
        if wire.repository.is_empty() || wire.repository.len() > MAX_REPOSITORY_LEN {
            return Err(InvalidMessage::new("repository must have 1 to 256 bytes"));
        }
        let tag = wire.tag.filter(|tag| !tag.is_empty());
        if tag.as_ref().is_some_and(|tag| tag.len() > MAX_TAG_LEN) {
            return Err(InvalidMessage::new("tag must have at most 256 bytes"));
        }
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let optional = [&wire.results_url, &wire.list_url];
        if !is_http(&wire.hold_endpoint) || !optional.into_iter().flatten().all(is_http) {
            return Err(InvalidMessage::new(
                "holdEndpoint, resultsUrl and listUrl must be http(s)",
            ));
        }
        if wire
            .lease_seconds
            .is_some_and(|seconds| seconds == 0 || seconds > MAX_LEASE_SECONDS)
        {
            return Err(InvalidMessage::new("leaseSeconds must be between 1 and a day"));
        }
        Ok(Self {
            seq: wire.seq,
            digest: wire.digest,
            repository: wire.repository,
            user_did: wire.user_did,
            hold_did: wire.hold_did,
            hold_endpoint: wire.hold_endpoint,
            tag,
            priority: wire.priority.unwrap_or_default(),
            results_url: wire.results_url,
            lease_seconds: wire.lease_seconds,
            cyclonedx: wire.cyclonedx,
            list_url: wire.list_url,
        })
    }

    /// The text frame.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            r#type: &'static str,
            #[serde(flatten)]
            job: &'a ScanJob,
        }
        serde_json::to_string(&Wire {
            r#type: JOB,
            job: self,
        })
    }
}
