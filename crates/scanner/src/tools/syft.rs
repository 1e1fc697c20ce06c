//! Syft: an image layout to lists of its packages.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::child::{self, Limits, Run};
use super::{Tools, surroundings};
use crate::bounds::{DISK_SLACK_BYTES, FILE_SLACK_BYTES, MAX_DOCUMENT_BYTES};
use crate::error::ScanError;
use crate::image::fetch::FetchedImage;

/// Which kinds of packages are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughness {
    /// All.
    Full,
    /// All but archives in archives, which take without bound.
    WithoutNestedArchives,
}

/// What Syft wrote.
#[derive(Clone, Debug)]
pub struct Lists {
    /// Its own form.
    pub syft: PathBuf,
    /// SPDX 2.3 JSON.
    pub spdx: PathBuf,
    /// CycloneDX JSON, if it was asked for.
    pub cyclonedx: Option<PathBuf>,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue<'a> {
    /// What is called the image's name in the lists.
    pub source_name: &'a str,
    /// And its version: the digest.
    pub source_version: &'a str,
    /// Which kinds of packages.
    pub thoroughness: Thoroughness,
    /// Whether CycloneDX is written as well.
    pub cyclonedx: bool,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// Time.
    pub time: Duration,
}

impl Tools {
    /// Lists the packages of `image` into the folder `out`. `folder` is Syft's own, and empty.
    ///
    /// # Errors
    /// `Limit`, `Tool`, `Shutdown`.
    pub async fn catalogue(
        &self,
        image: &FetchedImage,
        catalogue: Catalogue<'_>,
        folder: &Path,
        out: &Path,
        stop: &CancellationToken,
    ) -> Result<Lists, ScanError> {
        let lists = Lists {
            syft: out.join("syft.json"),
            spdx: out.join("spdx.json"),
            cyclonedx: catalogue.cyclonedx.then(|| out.join("cyclonedx.json")),
        };
        let mut environment = surroundings(folder, catalogue.memory_bytes);
        environment.extend(
            [
                ("SYFT_CHECK_FOR_APP_UPDATE", "false"),
                ("SYFT_CACHE_TTL", "0"),
                // Lists of the files of each package: most of a document, and nothing reads them.
                ("SYFT_RELATIONSHIPS_PACKAGE_FILE_OWNERSHIP", "false"),
                // What a Go program calls decides whether a finding applies.
                ("SYFT_GOLANG_CAPTURE_SYMBOLS", "all"),
            ]
            .map(|(name, value)| (name, OsString::from(value))),
        );
        if catalogue.thoroughness == Thoroughness::WithoutNestedArchives {
            environment.push(("SYFT_SELECT_CATALOGERS", "-java".into()));
        }
        let largest_document = MAX_DOCUMENT_BYTES as u64 * 2;
        let run = Run {
            tool: "syft",
            program: &self.syft.path,
            arguments: arguments(image, &catalogue, &lists),
            environment,
            folder,
            readable: vec![image.layout.folder().to_owned()],
            writable: vec![out.to_owned()],
            network: false,
            limits: Limits {
                memory_bytes: catalogue.memory_bytes,
                disk_bytes: image.unpacked_bytes() + DISK_SLACK_BYTES,
                file_bytes: (image.largest_layer_bytes() + FILE_SLACK_BYTES).max(largest_document),
                time: catalogue.time,
            },
        };
        let ended = child::run(&self.launcher, run, stop).await?;
        if ended.status.success() {
            return Ok(lists);
        }
        Err(ended.failure("syft"))
    }
}

fn arguments(image: &FetchedImage, catalogue: &Catalogue<'_>, lists: &Lists) -> Vec<OsString> {
    let joined = |prefix: &str, path: &Path| {
        let mut text = OsString::from(prefix);
        text.push(path);
        text
    };
    let output = |form: &str, path: &Path| ["-o".into(), joined(&format!("{form}="), path)];
    let mut arguments: Vec<OsString> = vec!["scan".into()];
    // With the scheme it looks nowhere else.
    arguments.push(joined("oci-dir:", image.layout.folder()));
    arguments.extend(output("syft-json", &lists.syft));
    arguments.extend(output("spdx-json", &lists.spdx));
    if let Some(path) = &lists.cyclonedx {
        arguments.extend(output("cyclonedx-json", path));
    }
    arguments.extend(["--source-name".into(), catalogue.source_name.into()]);
    arguments.extend(["--source-version".into(), catalogue.source_version.into()]);
    arguments
}
