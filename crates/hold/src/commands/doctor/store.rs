//! Where the layers are: a folder that can be written, or a bucket that does what a hold needs and lets nothing expire.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use atcr_atproto::clock::SystemClock;
use url::Url;

use super::Patient;
use super::finding::Findings;
use crate::adapters::s3::{Expiry, S3Options, S3Store};
use crate::bucket_test::{self, Observer, Step};
use crate::settings::StorageSettings;

const CHECK: &str = "store";
/// What a key has to be allowed.
const RIGHTS: &str = "the keys need s3:ListBucket, s3:ListBucketMultipartUploads, s3:GetObject, s3:PutObject, s3:DeleteObject and \
                      s3:AbortMultipartUpload";

pub(super) async fn look(patient: &Patient<'_>, findings: &mut Findings) {
    match &patient.settings.storage {
        StorageSettings::Filesystem { path } => folder(path, findings),
        StorageSettings::S3(options) => {
            bucket(options, patient, findings).await;
            rules(options, findings).await;
        }
    }
}

fn folder(path: &Path, findings: &mut Findings) {
    let shown = path.display();
    if !path.exists() {
        findings.warning(
            CHECK,
            format!("{shown} is not there yet"),
            "the first start makes it",
        );
    } else if rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err() {
        findings.problem(
            CHECK,
            format!("{shown} cannot be written"),
            "let it belong to the user that runs the hold",
        );
    } else {
        findings.ok(CHECK, format!("files in {shown}"));
    }
}

/// Remembers the step that failed.
#[derive(Default)]
struct Failed(RefCell<Option<(String, String)>>);

impl Observer for Failed {
    fn begins(&self, _: &str) {}

    fn signed(&self, _: &str, _: &Url) {}

    fn done(&self, step: &Step<'_>) {
        if let Some(error) = &step.error {
            let mut first = self.0.borrow_mut();
            first.get_or_insert_with(|| (step.name.to_owned(), error.clone()));
        }
    }
}

async fn bucket(options: &S3Options, patient: &Patient<'_>, findings: &mut Findings) {
    let failed = Failed::default();
    match bucket_test::run(options, &failed).await {
        Ok(seen) => {
            findings.ok(
                CHECK,
                format!("the bucket {} does all that a hold needs", options.bucket),
            );
            let browsers = if seen.allows_browsers {
                "pages of other sites may read at signed URLs"
            } else {
                "pages of other sites may not read at signed URLs, which no part of ATCR does"
            };
            findings.ok("store's CORS", browsers);
        }
        Err(error) => {
            let text = match failed.0.into_inner() {
                Some((step, error)) => format!("the bucket {}: not so: {step}: {error}", options.bucket),
                None => format!("the bucket {}: {error:#}", options.bucket),
            };
            let config = &patient.config;
            findings.problem(
                CHECK,
                text,
                format!("{RIGHTS}; `atcr s3-test{config}` shows every step"),
            );
        }
    }
}

/// Rules that remove what a hold still needs.
async fn rules(options: &S3Options, findings: &mut Findings) {
    const CHECK: &str = "store's rules";
    let store = S3Store::new(options, Arc::new(SystemClock));
    match store.expiry().await {
        Ok(Expiry::Rules(rules)) if rules.is_empty() => {
            findings.ok(
                CHECK,
                format!("no rule of {} lets objects expire", options.bucket),
            );
        }
        Ok(Expiry::Rules(rules)) => {
            for rule in rules {
                findings.problem(
                    CHECK,
                    format!("{} LETS OBJECTS EXPIRE: {rule}", options.bucket),
                    "remove the rule, or give it a prefix of its own: layers and the backup would be gone, whoever names them",
                );
            }
        }
        Ok(Expiry::Unknown) => findings.ok(CHECK, "the service has no rules that let objects expire"),
        Err(error) => findings.warning(
            CHECK,
            format!(
                "cannot tell whether a rule lets objects expire: {:#}",
                anyhow::Error::new(error)
            ),
            "allow the keys s3:GetLifecycleConfiguration, or look at the bucket's lifecycle rules by hand",
        ),
    }
}
