//! Configuration, folder, keys, disk, and whether the process answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use atcr_atproto::egress::EgressClient;
use atcr_server::disk_space::free_bytes;
use atcr_server::exit::sentence;
use atcr_server::{LoadOptions, Loaded, Problems, load};
use url::Url;

use super::Patient;
use super::finding::Findings;
use crate::commands::identity::{DOCUMENT_UNREAD, look};
use crate::config::HoldConfig;
use crate::identity::establish::folder_of;
use crate::identity::folder::FolderState;
use crate::quota::bytes;
use crate::settings::{HoldSettings, IdentitySettings, StorageSettings};

/// Who else may look into a file or folder.
const OTHERS: u32 = 0o077;
/// So many times what the hold asks for is not much.
const LITTLE: u64 = 10;
/// Bytes of an answer of `_health`.
const MAX_HEALTH: usize = 4096;

/// The settings, if they can be used.
pub(super) fn configuration(file: Option<&Path>, findings: &mut Findings) -> Option<HoldSettings> {
    const CHECK: &str = "configuration";
    let name = file.map_or_else(|| "the environment".to_owned(), |file| file.display().to_string());
    let loaded = match load::<HoldConfig>(&LoadOptions::from_process(file.map(Path::to_owned))) {
        Ok(loaded) => loaded,
        Err(error) if error.problems().is_empty() => {
            findings.problem(
                CHECK,
                error.to_string(),
                "name the file with --config; `atcr-hold init` writes one",
            );
            return None;
        }
        Err(error) => {
            for problem in error.problems() {
                findings.problem(
                    CHECK,
                    format!("{}: {}", problem.key, problem.message),
                    format!("mend it in {name}"),
                );
            }
            return None;
        }
    };
    let Loaded { config, warnings } = loaded;
    let settings = HoldSettings::parse(&config, &mut Problems::default())?;
    for warning in warnings {
        findings.warning(CHECK, warning, format!("mend it in {name}"));
    }
    let has_secrets = [
        &config.storage.secret_key,
        &config.scanner.secret,
        &config.database.rotation_key,
    ]
    .iter()
    .any(|secret| !secret.is_empty());
    match file {
        Some(file) if has_secrets && mode(file).is_some_and(|mode| mode & OTHERS != 0) => findings.problem(
            CHECK,
            format!("{name} has secrets, and others can read it"),
            format!("chmod 600 {name}"),
        ),
        _ => findings.ok(CHECK, format!("{name} is valid")),
    }
    if settings.trusted_proxies.is_empty() && !settings.test_mode {
        findings.warning(
            "proxy",
            "no proxy is trusted to name its clients, so all clients of a proxy count as one",
            "set server.trusted_proxies to the proxy's address",
        );
    }
    Some(settings)
}

fn mode(path: &Path) -> Option<u32> {
    path.metadata()
        .ok()
        .map(|found| found.permissions().mode() & 0o777)
}

/// The data folder and the files of the identity.
pub(super) fn folder(patient: &Patient<'_>, findings: &mut Findings) {
    const CHECK: &str = "folder";
    let dir = &patient.settings.data_dir;
    let shown = dir.display();
    match dir.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.warning(
                CHECK,
                format!("{shown} is not there yet"),
                "the first start makes it",
            );
            return;
        }
        Err(error) => {
            findings.problem(
                CHECK,
                format!("{shown} cannot be looked at: {error}"),
                "run this as the user that owns the hold's files",
            );
            return;
        }
        Ok(found) if !found.is_dir() => {
            findings.problem(
                CHECK,
                format!("{shown} is no folder"),
                "set database.path to a folder",
            );
            return;
        }
        Ok(_) => {}
    }
    if rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_err() {
        findings.problem(
            CHECK,
            format!("{shown} cannot be written"),
            "let it belong to the user that runs the hold",
        );
    } else if mode(dir).is_some_and(|mode| mode & 0o007 != 0) {
        findings.warning(
            CHECK,
            format!("everybody can look into {shown}"),
            format!("chmod 700 {shown}"),
        );
    } else {
        findings.ok(CHECK, format!("{shown} can be written"));
    }
    key_files(patient, findings);
}

fn key_files(patient: &Patient<'_>, findings: &mut Findings) {
    const CHECK: &str = "key files";
    let settings = patient.settings;
    let mut files = vec![settings.key_path.clone(), settings.data_dir.join("oauth.key")];
    if let IdentitySettings::Plc(plc) = &settings.identity {
        files.push(plc.rotation_key_path.clone());
    }
    files.extend(beside(&settings.key_path));
    let open: Vec<&PathBuf> = files
        .iter()
        .filter(|file| mode(file).is_some_and(|mode| mode & OTHERS != 0))
        .collect();
    for file in &open {
        let shown = file.display();
        findings.problem(
            CHECK,
            format!("others can read {shown}"),
            format!(
                "chmod 600 {shown}; if somebody may have read the signing key, atcr-hold keys rotate{}",
                patient.config
            ),
        );
    }
    let there = files.iter().filter(|file| file.exists()).count();
    if open.is_empty() && there > 0 {
        findings.ok(CHECK, format!("{there}, for their owner only"));
    }
}

/// Keys that are about to sign, and those that did.
fn beside(key: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (key.parent(), key.file_name()) else {
        return Vec::new();
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect()
}

/// The room on the disks.
pub(super) fn disk(patient: &Patient<'_>, findings: &mut Findings) {
    const CHECK: &str = "disk";
    let settings = patient.settings;
    let mut folders = vec![settings.data_dir.as_path()];
    if let StorageSettings::Filesystem { path } = &settings.storage {
        folders.push(path);
    }
    for folder in folders {
        let shown = folder.display();
        let remedy = "make room: a larger disk, `atcr-hold gc plan`, quotas for the crew";
        match free_bytes(folder) {
            Err(error) => findings.problem(
                CHECK,
                format!("the disk of {shown} cannot be asked: {error}"),
                "run this as the user that owns the hold's files",
            ),
            Ok(free) if free < settings.free_disk_bytes => findings.problem(
                CHECK,
                format!(
                    "{shown}: {} free, and the hold is not ready with less than {}",
                    bytes::format(free),
                    bytes::format(settings.free_disk_bytes)
                ),
                remedy,
            ),
            Ok(free) if free < settings.free_disk_bytes.saturating_mul(LITTLE) => {
                findings.warning(
                    CHECK,
                    format!("{shown}: only {} free", bytes::format(free)),
                    remedy,
                );
            }
            Ok(free) => findings.ok(CHECK, format!("{shown}: {} free", bytes::format(free))),
        }
    }
}

/// DID, keys and repository belong together, and the directory says the same.
pub(super) async fn identity(patient: &Patient<'_>, findings: &mut Findings) {
    const CHECK: &str = "identity";
    let (settings, config) = (patient.settings, &patient.config);
    let folder = folder_of(settings);
    match folder.state() {
        Err(error) => {
            findings.problem(CHECK, error.to_string(), "restore what is missing from a backup");
            return;
        }
        Ok(FolderState::New) => {
            findings.warning(
                CHECK,
                "there is no hold in the folder yet",
                format!("the first start makes it: atcr-hold serve{config}"),
            );
            return;
        }
        Ok(FolderState::Begun) => findings.warning(
            CHECK,
            "a first start, or a recovery, was begun and did not end",
            format!("start the hold, which goes on with it: atcr-hold serve{config}"),
        ),
        Ok(FolderState::Whole) => {}
    }
    let shown = match look(settings, &folder).await {
        Ok(shown) => shown,
        Err(error) => {
            findings.problem(
                CHECK,
                sentence(error.as_ref()),
                "mend that first; what is missing is restored from a backup, as \"Identity\" in docs/hold.md says",
            );
            return;
        }
    };
    // Whether others get to see the document is asked from outside.
    let differences: Vec<&String> = shown
        .differences
        .iter()
        .filter(|difference| !difference.starts_with(DOCUMENT_UNREAD))
        .collect();
    for difference in &differences {
        findings.problem(
            CHECK,
            difference.as_str(),
            format!("see atcr-hold identity show{config}, and \"Identity\" in docs/hold.md"),
        );
    }
    if differences.is_empty() {
        findings.ok(
            CHECK,
            format!("{}: DID, keys and repository belong together", shown.did),
        );
    }
}

/// Whether the process answers where it listens.
pub(super) async fn listener(patient: &Patient<'_>, findings: &mut Findings) {
    const CHECK: &str = "process";
    let listen = patient.settings.listen;
    if !patient.runs {
        findings.warning(
            CHECK,
            "the hold does not run",
            format!("atcr-hold serve{}", patient.config),
        );
        return;
    }
    let asked = async {
        let here = if listen.ip().is_unspecified() {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port())
        } else {
            listen
        };
        let url = Url::parse(&format!("http://{here}/xrpc/_health"))?;
        let client = EgressClient::for_configured_hosts()?;
        let answer = client.get_capped(&url, MAX_HEALTH, "application/json").await?;
        anyhow::ensure!(answer.status.is_success(), "status {}", answer.status.as_u16());
        anyhow::Ok(())
    };
    match asked.await {
        Ok(()) => findings.ok(CHECK, format!("the hold runs and answers at {listen}")),
        Err(error) => findings.problem(
            CHECK,
            format!("the hold runs and does not answer at {listen}: {error:#}"),
            "look into its log; another configuration may have started it",
        ),
    }
}
