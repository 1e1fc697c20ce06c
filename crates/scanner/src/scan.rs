//! One scan, from a manifest's digest to documents and counts.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_oci::Digest;
use atcr_scan_protocol::{DocumentKind, ScanState};
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::bounds::{ImageBounds, MAX_DOCUMENT_BYTES, ToolBounds};
use crate::database::{Databases, Generation};
use crate::error::{Resource, ScanError};
use crate::image::Subject;
use crate::image::fetch::{FetchedImage, fetch};
use crate::image::layer_cache::LayerCache;
use crate::image::source::ImageSource;
use crate::job_time::JobTime;
use crate::report::{self, Finding, strip};
use crate::tools::Tools;
use crate::tools::grype::Grype;
use crate::tools::syft::{Catalogue, Lists, Thoroughness};
use crate::work::{JobFolder, WorkFolder};

/// How long one scan took; label `outcome`, a state or a class of failure.
const DURATION: &str = "atcr_scan_duration_seconds";

/// What a scan is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has not begun.
    Waiting,
    /// The image is fetched and inspected.
    Fetching,
    /// Packages are listed.
    Cataloguing,
    /// Packages are looked up.
    Matching,
    /// Documents are sent.
    Uploading,
}

impl Stage {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Fetching => "fetching",
            Self::Cataloguing => "cataloguing",
            Self::Matching => "matching",
            Self::Uploading => "uploading",
        }
    }
}

/// What scans: tools, folders and bounds.
#[derive(Debug)]
pub struct Scanner {
    /// The tools.
    pub tools: Tools,
    /// Where jobs work.
    pub work: WorkFolder,
    /// Layers that images share.
    pub cache: LayerCache,
    /// The vulnerability databases; `None` when nothing is looked up.
    pub databases: Option<Arc<Databases>>,
    /// How much of an image is looked at.
    pub image_bounds: ImageBounds,
    /// What the tools may take.
    pub tool_bounds: ToolBounds,
    /// How long one scan may take.
    pub time: Duration,
}

/// What is scanned.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The image's name, for the lists.
    pub name: &'a str,
    /// Its manifest.
    pub digest: &'a Digest,
    /// Where it comes from.
    pub source: &'a dyn ImageSource,
    /// Whether a CycloneDX list is made as well.
    pub cyclonedx: bool,
    /// Hears at what the scan is.
    pub stage: &'a (dyn Fn(Stage) + Send + Sync),
}

/// How a scan ended that did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// It is no image, with the reason.
    NotApplicable(&'static str),
    /// It is one.
    Scanned(Box<Scanned>),
}

/// A result. Its documents are on the disk as long as it lives.
#[derive(Debug)]
pub struct Scanned {
    /// `Complete`, `Partial` or `SbomOnly`.
    pub state: ScanState,
    /// How many findings.
    pub counts: SeverityCounts,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// How many packages.
    pub packages: usize,
    /// When the vulnerability database was built.
    pub database_built: Option<DateTime<Utc>>,
    /// The documents, each at most 100 MiB.
    pub documents: Vec<(DocumentKind, PathBuf)>,
    folder: JobFolder,
}

impl Scanner {
    /// Scans one image. When `stop` is cancelled, it ends with what it has started.
    ///
    /// # Errors
    /// [`ScanError`], whose class tells whether another try can help.
    ///
    /// # Cancel safety
    /// A dropped call ends the tools and removes its folder.
    pub async fn scan(&self, request: Request<'_>, stop: &CancellationToken) -> Result<Outcome, ScanError> {
        let began = Instant::now();
        let time = JobTime::new(self.time);
        let is_here = AtomicBool::new(false);
        let outcome = tokio::select! {
            biased;
            outcome = self.scan_in_time(request, (&time, &is_here), stop) => outcome,
            () = time.ended() => Err(if is_here.load(Ordering::Relaxed) {
                ScanError::Limit {
                    resource: Resource::Time,
                    tool: "the scan",
                    bound: format!("{} s", self.time.as_secs()),
                }
            } else {
                // That says something about the hold or its store, and nothing about the image.
                ScanError::Fetch(format!("not all of the image came within {} s", self.time.as_secs()))
            }),
        };
        let label = match &outcome {
            Ok(Outcome::NotApplicable(_)) => ScanState::NotApplicable.as_str().to_owned(),
            Ok(Outcome::Scanned(scanned)) => scanned.state.as_str().to_owned(),
            Err(error) => error.class(),
        };
        metrics::histogram!(DURATION, "outcome" => label).record(began.elapsed());
        outcome
    }

    async fn scan_in_time(
        &self,
        request: Request<'_>,
        (time, is_here): (&JobTime, &AtomicBool),
        stop: &CancellationToken,
    ) -> Result<Outcome, ScanError> {
        let fetching = async {
            (request.stage)(Stage::Fetching);
            let manifest = request.source.manifest(request.digest).await?;
            let (config, layers) = match Subject::of(&manifest, &self.image_bounds)? {
                Subject::Image { config, layers } => (config, layers),
                Subject::Other(what) => return Ok(Err(what)),
            };
            let folder = self.work.job()?;
            let image = fetch(
                &manifest,
                request.digest,
                (&config, &layers),
                request.source,
                (&self.cache, time),
                &self.image_bounds,
                folder.path().join("layout"),
            );
            Ok(Ok((image.await?, folder)))
        };
        let fetched = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(ScanError::Shutdown),
            fetched = fetching => fetched?,
        };
        is_here.store(true, Ordering::Relaxed);
        match fetched {
            Ok((image, folder)) => {
                let scanned = self.examine(request, image, folder, stop).await?;
                Ok(Outcome::Scanned(Box::new(scanned)))
            }
            Err(what) => Ok(Outcome::NotApplicable(what)),
        }
    }

    /// Looks up the packages that were listed for an earlier result. `fetch` brings Syft's list into the file that it is told. `None` if that
    /// does not do in place of a scan: another Syft would list other packages, or there is no database.
    ///
    /// # Errors
    /// [`ScanError`].
    ///
    /// # Cancel safety
    /// As that of [`scan`](Self::scan).
    pub async fn look_up_again(
        &self,
        fetch: impl AsyncFnOnce(PathBuf) -> Result<(), ScanError>,
        stage: &(dyn Fn(Stage) + Send + Sync),
        stop: &CancellationToken,
    ) -> Result<Option<Scanned>, ScanError> {
        let generation = self.databases.as_ref().and_then(|databases| databases.current());
        let (Some(grype), Some(generation)) = (&self.tools.grype, generation) else {
            return Ok(None);
        };
        stage(Stage::Fetching);
        let folder = self.work.job()?;
        let list = folder.sub("list")?.join("syft.json");
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(ScanError::Shutdown),
            fetched = tokio::time::timeout(self.time / 4, fetch(list.clone())) => {
                fetched.map_err(|_| ScanError::Fetch("the list of packages did not come in time".to_owned()))??;
            }
        }
        let read = list.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let list = report::read_document(&read, "the list of packages", MAX_READ_BYTES)?;
            Ok::<_, ScanError>((report::lister_version(&list)?, report::count_packages(&list)?))
        });
        let (lister, packages) = reading.await.map_err(|error| ScanError::Workspace {
            doing: "reading a list".to_owned(),
            source: std::io::Error::other(error),
        })??;
        if lister != self.tools.syft.version {
            return Ok(None);
        }
        stage(Stage::Matching);
        let kept = folder.sub("kept")?;
        let mut scanned = Scanned {
            state: ScanState::Complete,
            counts: SeverityCounts::default(),
            findings: Vec::new(),
            packages,
            database_built: None,
            documents: Vec::new(),
            folder,
        };
        let grype = Grype {
            launcher: self.tools.launcher.clone(),
            tool: grype.clone(),
            stop: stop.clone(),
        };
        self.look_up(&grype, &generation, &list, &kept, &mut scanned, stop)
            .await?;
        Ok(Some(scanned))
    }

    async fn examine(
        &self,
        request: Request<'_>,
        image: FetchedImage,
        folder: JobFolder,
        stop: &CancellationToken,
    ) -> Result<Scanned, ScanError> {
        let out = folder.sub("out")?;
        // No tool sees what is kept.
        let kept = folder.sub("kept")?;
        (request.stage)(Stage::Cataloguing);
        let (lists, thoroughness) = self.catalogue(request, &image, &folder, &out, stop).await?;
        let mut scanned = Scanned {
            state: match thoroughness {
                Thoroughness::Full => ScanState::Complete,
                Thoroughness::WithoutNestedArchives => ScanState::Partial,
            },
            counts: SeverityCounts::default(),
            findings: Vec::new(),
            packages: 0,
            database_built: None,
            documents: Vec::new(),
            folder,
        };
        let generation = self.databases.as_ref().and_then(|databases| databases.current());
        match (&self.tools.grype, generation) {
            (Some(grype), Some(generation)) => {
                (request.stage)(Stage::Matching);
                let grype = Grype {
                    launcher: self.tools.launcher.clone(),
                    tool: grype.clone(),
                    stop: stop.clone(),
                };
                self.look_up(&grype, &generation, &lists.syft, &kept, &mut scanned, stop)
                    .await?;
            }
            _ => scanned.state = ScanState::SbomOnly,
        }
        let in_background = tokio::task::spawn_blocking(move || {
            let list = report::read_document(&lists.syft, "the list of packages", MAX_READ_BYTES)?;
            scanned.packages = report::count_packages(&list)?;
            let stripped = write_stripped(&list, strip::SYFT, &kept.join("syft.json"), "syft")?;
            drop(list);
            let spdx = kept.join("spdx.json");
            report::keep_document(&lists.spdx, "the SPDX list", MAX_DOCUMENT_BYTES, &spdx)?;
            if let Some(list) = lists.cyclonedx {
                let cyclonedx = kept.join("cyclonedx.json");
                match report::keep_document(&list, "the CycloneDX list", MAX_DOCUMENT_BYTES, &cyclonedx) {
                    Ok(()) => scanned.documents.push((DocumentKind::SbomCyclonedx, cyclonedx)),
                    // The other lists say the same.
                    Err(error @ ScanError::ResultTooLarge { .. }) => {
                        tracing::warn!(%error, "the CycloneDX list is left out");
                    }
                    Err(error) => return Err(error),
                }
            }
            scanned.documents.push((DocumentKind::Sbom, spdx));
            scanned.documents.push((DocumentKind::SbomSyft, stripped));
            Ok(scanned)
        });
        in_background.await.map_err(|error| ScanError::Workspace {
            doing: "reading a list".to_owned(),
            source: std::io::Error::other(error),
        })?
    }

    /// Lists the packages: all, or, if that takes too much, all but those in archives in archives.
    async fn catalogue(
        &self,
        request: Request<'_>,
        image: &FetchedImage,
        folder: &JobFolder,
        out: &Path,
        stop: &CancellationToken,
    ) -> Result<(Lists, Thoroughness), ScanError> {
        let bounds = &self.tool_bounds;
        let full = Catalogue {
            source_name: request.name,
            source_version: request.digest.as_str(),
            thoroughness: Thoroughness::Full,
            cyclonedx: request.cyclonedx,
            memory_bytes: bounds.memory_bytes,
            time: bounds.catalogue_time,
        };
        let own = folder.sub("syft")?;
        let listed = self.tools.catalogue(image, full, &own, out, stop).await;
        folder.remove(&own)?;
        match listed {
            Ok(lists) => Ok((lists, Thoroughness::Full)),
            Err(error @ ScanError::Limit { .. }) => {
                tracing::info!(digest = %request.digest, %error, "listing packages again without archives in archives");
                let partial = Catalogue {
                    thoroughness: Thoroughness::WithoutNestedArchives,
                    time: bounds.partial_catalogue_time,
                    ..full
                };
                folder.remove(out)?;
                let (own, out) = (folder.sub("syft")?, &folder.sub("out")?);
                let listed = self.tools.catalogue(image, partial, &own, out, stop).await;
                folder.remove(&own)?;
                // The first failure says more about the image.
                listed
                    .map(|lists| (lists, Thoroughness::WithoutNestedArchives))
                    .map_err(|second| match second {
                        ScanError::Shutdown => ScanError::Shutdown,
                        _ => error,
                    })
            }
            Err(error) => Err(error),
        }
    }

    async fn look_up(
        &self,
        grype: &Grype,
        generation: &Generation,
        list: &Path,
        kept: &Path,
        scanned: &mut Scanned,
        stop: &CancellationToken,
    ) -> Result<(), ScanError> {
        let own = scanned.folder.sub("grype")?;
        let report = scanned.folder.sub("report")?.join("grype.json");
        let limits = (self.tool_bounds.memory_bytes, self.tool_bounds.match_time);
        grype
            .look_up(list, generation.folder(), (&own, &report), limits, stop)
            .await?;
        let kept = kept.join("grype.json");
        let in_background = tokio::task::spawn_blocking(move || {
            let document = report::read_document(&report, "the report", MAX_READ_BYTES)?;
            let findings = report::findings(&document)?;
            let kept = write_stripped(&document, strip::GRYPE, &kept, "grype")?;
            Ok::<_, ScanError>((findings, kept))
        });
        let (findings, kept) = in_background.await.map_err(|error| ScanError::Workspace {
            doing: "reading a report".to_owned(),
            source: std::io::Error::other(error),
        })??;
        scanned.counts = report::counts(&findings);
        scanned.findings = findings;
        scanned.database_built = Some(generation.status().built);
        scanned.documents.push((DocumentKind::VulnReport, kept));
        Ok(())
    }
}

/// Longest document that is read before fields are left out.
const MAX_READ_BYTES: usize = MAX_DOCUMENT_BYTES + 16 * 1024 * 1024;

fn write_stripped(
    document: &[u8],
    paths: &[&[&str]],
    to: &Path,
    tool: &'static str,
) -> Result<PathBuf, ScanError> {
    let failed = |error: std::io::Error| match error.raw_os_error() {
        Some(_) => ScanError::workspace("cannot write a document")(error),
        None => ScanError::Tool {
            tool,
            detail: format!("its document cannot be kept: {error}"),
        },
    };
    let file = File::create_new(to).map_err(ScanError::workspace("cannot write a document"))?;
    let mut out = BufWriter::new(file);
    strip::without(document, paths, &mut out)
        .and_then(|()| out.flush())
        .map_err(failed)?;
    check_length(to, "a document")?;
    Ok(to.to_owned())
}

fn check_length(path: &Path, what: &'static str) -> Result<(), ScanError> {
    let len = fs::metadata(path)
        .map_err(ScanError::workspace(format!("cannot read {what}")))?
        .len();
    if len > MAX_DOCUMENT_BYTES as u64 {
        return Err(ScanError::ResultTooLarge {
            what,
            limit: MAX_DOCUMENT_BYTES,
        });
    }
    Ok(())
}
