//! Rules by which a bucket removes objects by itself.

use std::fmt;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule};

use super::S3Store;
use super::error::unavailable;
use crate::blobs::StoreError;

/// What a hold keeps in a bucket. Unfinished uploads, which are beside the first, may go after a while.
const KEPT: [&str; 4] = ["docker/registry/v2/blobs/", "blobs/", "repos/", "atcr-hold/"];

/// Whether a bucket removes objects by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The rules that may remove what a hold keeps.
    Rules(Vec<ExpiryRule>),
    /// The service does not know such rules.
    Unknown,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryRule {
    id: String,
    prefix: String,
    when: String,
}

impl fmt::Display for ExpiryRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rule {:?} removes ", self.id)?;
        match self.prefix.as_str() {
            "" => write!(f, "every object")?,
            prefix => write!(f, "objects below {prefix:?}")?,
        }
        write!(f, " {}", self.when)
    }
}

impl S3Store {
    /// The bucket's rules that may remove what a hold keeps.
    ///
    /// # Errors
    /// The service does not tell.
    pub async fn expiry(&self) -> Result<Expiry, StoreError> {
        let sent = self
            .client
            .get_bucket_lifecycle_configuration()
            .bucket(&*self.bucket)
            .send()
            .await;
        match sent {
            Ok(found) => Ok(Expiry::Rules(found.rules().iter().filter_map(removing).collect())),
            Err(error) => match error.code() {
                Some("NoSuchLifecycleConfiguration") => Ok(Expiry::Rules(Vec::new())),
                Some("NotImplemented") => Ok(Expiry::Unknown),
                _ => Err(unavailable("read the bucket's rules", error)),
            },
        }
    }
}

/// What `rule` says, if it is in force and may remove what a hold keeps.
fn removing(rule: &LifecycleRule) -> Option<ExpiryRule> {
    let expiration = rule.expiration()?;
    let when = match (expiration.days(), expiration.date()) {
        (Some(days), _) => format!("after {days} days"),
        (None, Some(date)) => format!("on {date}"),
        // Only marks of deletion.
        (None, None) => return None,
    };
    let filter = rule.filter();
    #[expect(deprecated, reason = "services still answer with it")]
    let old = rule.prefix();
    let prefix = filter
        .and_then(|filter| filter.prefix().or_else(|| filter.and()?.prefix()))
        .or(old)
        .unwrap_or_default();
    let concerns = KEPT
        .iter()
        .any(|kept| kept.starts_with(prefix) || prefix.starts_with(kept));
    (*rule.status() == ExpirationStatus::Enabled && concerns).then(|| ExpiryRule {
        id: rule.id().unwrap_or_default().to_owned(),
        prefix: prefix.to_owned(),
        when,
    })
}
