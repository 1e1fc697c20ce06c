//! The SDK's client.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Config, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation,
};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One attempt at a request that the service answers without moving data.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// One attempt at joining or copying: some services move every byte before they answer.
const LONG_ATTEMPT_TIMEOUT: Duration = Duration::from_mins(15);

/// How to reach a bucket.
#[derive(Clone)]
pub struct S3Options {
    /// The bucket's name.
    pub bucket: String,
    /// The region to sign for.
    pub region: String,
    /// Scheme, host and port of the service; `None` for AWS.
    pub endpoint: Option<Url>,
    /// Address the bucket as `host/bucket` and not as `bucket.host`.
    pub path_style: bool,
    /// Scheme, host and port of a CDN to put into download URLs. It must forward the service's `Host`.
    pub pull_zone: Option<Url>,
    /// The access key's id.
    pub access_key: String,
    /// The access key's secret.
    pub secret_key: SecretString,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("path_style", &self.path_style)
            .field("pull_zone", &self.pull_zone)
            .finish_non_exhaustive()
    }
}

pub(super) fn build(options: &S3Options) -> Client {
    let credentials = Credentials::new(
        &options.access_key,
        options.secret_key.expose_secret(),
        None,
        None,
        "configuration",
    );
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(options.region.clone()))
        .credentials_provider(credentials)
        .force_path_style(options.path_style)
        // The checksums that the SDK would add by itself are unknown to many services.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts(ATTEMPT_TIMEOUT));
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint.as_str().trim_end_matches('/'));
    }
    Client::from_conf(config.build())
}

/// What requests that may take long change in the configuration.
pub(super) fn patient() -> Builder {
    Config::builder().timeout_config(timeouts(LONG_ATTEMPT_TIMEOUT))
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .build()
}
