//! `atcr-hold keys export` and `keys import`: the keys in one file, sealed by a passphrase.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use atcr_auth::vault::Vault;
use atcr_server::private_files::{FILE_MODE, make_private_folder};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Common;
use super::terminal::Terminal;
use crate::identity::establish::folder_of;
use crate::settings::{HoldSettings, IdentitySettings};

/// What the seal is for.
const CONTEXT: &[u8] = b"atcr-hold keys 1";
const FORMAT: u32 = 1;
/// Tries at a passphrase cost this much.
const ITERATIONS: u32 = 600_000;
/// What a file may demand.
const MOST_ITERATIONS: u32 = 10_000_000;
const SALT_LEN: usize = 16;
const KEY_LEN: usize = 32;
/// Bytes of a passphrase.
const LEAST_PASSPHRASE_LEN: usize = 8;
/// Bytes of a key file, and of the sealed file.
const MAX_FILE_LEN: u64 = 256 * 1024;
/// The rotation key's name in the sealed file, wherever it is on the machine.
const ROTATION_KEY: &str = "rotation.key";
/// The file of the data folder that says the DID, if it is a did:plc.
const DID_FILE: &str = "did.txt";
/// The signing key's name in the sealed file, wherever it is on the machine.
const SIGNING_KEY: &str = "signing.key";
/// Earlier signing keys are kept as `signing.key.<something>`.
const EARLIER: &str = "signing.key.";

/// Carry the hold's keys to another machine.
#[derive(Debug, Subcommand)]
pub(crate) enum CarryCommand {
    /// Write the signing key, and what else belongs to the identity, sealed by a passphrase
    Export {
        #[command(flatten)]
        common: Common,
        /// Where to write it; must not exist
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
        /// File whose first line is the passphrase; without one it is asked for
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Put the keys of such a file in their places, which must be free
    Import {
        #[command(flatten)]
        common: Common,
        /// What `keys export` wrote
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// File whose first line is the passphrase; without one it is asked for
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Sealed {
    format: u32,
    did: String,
    kdf: String,
    iterations: u32,
    salt: String,
    sealed: String,
}

/// What is sealed: the content of each file, in base64.
#[derive(Serialize, Deserialize)]
struct Keys {
    did: String,
    files: BTreeMap<String, String>,
}

const KDF: &str = "pbkdf2-hmac-sha256";

impl CarryCommand {
    /// Does what the command says.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Export {
                common,
                out,
                passphrase_file,
            } => export(&common, &out, passphrase_file.as_deref()),
            Self::Import {
                common,
                file,
                passphrase_file,
            } => import(&common, &file, passphrase_file.as_deref()),
        }
    }
}

fn export(common: &Common, out: &Path, passphrase_file: Option<&Path>) -> anyhow::Result<()> {
    let settings = common.settings()?;
    let terminal = Terminal::new(common.json, false);
    ensure!(!out.exists(), "{} exists", out.display());
    let kept = folder_of(&settings).did()?;
    let did = kept.or_else(|| settings.identity.configured_did().cloned());
    let keys = Keys {
        did: did.map(|did| did.to_string()).unwrap_or_default(),
        files: collect(&settings)?,
    };
    let passphrase = passphrase(passphrase_file, true)?;
    let salt: [u8; SALT_LEN] = rand::random();
    let plain = serde_json::to_vec(&keys)?;
    let sealed = vault(&passphrase, &salt, ITERATIONS)?.seal(CONTEXT, &plain)?;
    let file = Sealed {
        format: FORMAT,
        did: keys.did,
        kdf: KDF.to_owned(),
        iterations: ITERATIONS,
        salt: STANDARD.encode(salt),
        sealed: STANDARD.encode(sealed),
    };
    let mut text = serde_json::to_string_pretty(&file)?;
    text.push('\n');
    write_new(out, text.as_bytes())?;
    let names: Vec<&String> = keys.files.keys().collect();
    terminal.done(
        &format!(
            "wrote {} files to {}; without the passphrase it is worth nothing",
            names.len(),
            out.display()
        ),
        &json!({ "did": file.did, "out": out, "files": names }),
    )?;
    Ok(())
}

/// The files of the identity.
fn collect(settings: &HoldSettings) -> anyhow::Result<BTreeMap<String, String>> {
    let mut paths = BTreeMap::from([(SIGNING_KEY.to_owned(), settings.key_path.clone())]);
    for (name, path) in [
        (ROTATION_KEY, rotation_key_path(settings)),
        (DID_FILE, settings.data_dir.join(DID_FILE)),
    ] {
        if path.exists() {
            paths.insert(name.to_owned(), path);
        }
    }
    if let Some(folder) = settings.key_path.parent()
        && let Ok(entries) = std::fs::read_dir(folder)
    {
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(EARLIER) {
                paths.insert(name, entry.path());
            }
        }
    }
    let read = |(name, path): (String, PathBuf)| Ok((name, STANDARD.encode(read_small(&path)?)));
    paths.into_iter().map(read).collect()
}

fn rotation_key_path(settings: &HoldSettings) -> PathBuf {
    match &settings.identity {
        IdentitySettings::Plc(plc) => plc.rotation_key_path.clone(),
        IdentitySettings::Web(_) => settings.data_dir.join(ROTATION_KEY),
    }
}

fn read_small(path: &Path) -> anyhow::Result<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        if std::fs::metadata(path)?.len() > MAX_FILE_LEN {
            return Err(std::io::Error::other("the file is too long"));
        }
        std::fs::read(path)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

fn import(common: &Common, file: &Path, passphrase_file: Option<&Path>) -> anyhow::Result<()> {
    let settings = common.settings()?;
    let terminal = Terminal::new(common.json, false);
    let not_ours = || format!("{} is not what `keys export` writes", file.display());
    let sealed: Sealed = serde_json::from_slice(&read_small(file)?).with_context(not_ours)?;
    ensure!(
        sealed.format == FORMAT && sealed.kdf == KDF && (1..=MOST_ITERATIONS).contains(&sealed.iterations),
        not_ours()
    );
    let salt = STANDARD.decode(&sealed.salt).with_context(not_ours)?;
    let content = STANDARD.decode(&sealed.sealed).with_context(not_ours)?;
    let passphrase = passphrase(passphrase_file, false)?;
    let Ok(plain) = vault(&passphrase, &salt, sealed.iterations)?.open(CONTEXT, &content) else {
        bail!(
            "{} does not open: another passphrase, or it is damaged",
            file.display()
        );
    };
    let keys: Keys = serde_json::from_slice(&plain).with_context(not_ours)?;
    let mut places = Vec::new();
    for (name, content) in &keys.files {
        let place = place_of(&settings, name).with_context(not_ours)?;
        ensure!(!place.exists(), "{} exists; move it away first", place.display());
        places.push((place, STANDARD.decode(content).with_context(not_ours)?));
    }
    for (place, content) in &places {
        let folder = place.parent().unwrap_or(Path::new("."));
        make_private_folder(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        write_new(place, content)?;
    }
    let written: Vec<&PathBuf> = places.iter().map(|(place, _)| place).collect();
    terminal.done(
        &format!(
            "the keys of {} are in place; now run `atcr-hold repo restore`",
            keys.did
        ),
        &json!({ "did": keys.did, "written": written }),
    )?;
    Ok(())
}

/// Where a file belongs on this machine; `None` for a name that no export writes.
fn place_of(settings: &HoldSettings, name: &str) -> Option<PathBuf> {
    if name == SIGNING_KEY {
        return Some(settings.key_path.clone());
    }
    if name == ROTATION_KEY {
        return Some(rotation_key_path(settings));
    }
    if name == DID_FILE {
        return Some(settings.data_dir.join(DID_FILE));
    }
    let rest = name.strip_prefix(EARLIER)?;
    let is_plain = !rest.is_empty()
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'.');
    is_plain.then(|| settings.key_path.with_file_name(name))
}

fn write_new(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn vault(passphrase: &SecretString, salt: &[u8], iterations: u32) -> anyhow::Result<Vault> {
    let mut key = [0; KEY_LEN];
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        salt,
        passphrase.expose_secret().as_bytes(),
        &mut key,
    );
    Ok(Vault::new(&key)?)
}

fn passphrase(file: Option<&Path>, is_new: bool) -> anyhow::Result<SecretString> {
    let text = match file {
        Some(path) => {
            let bytes = read_small(path)?;
            let text = String::from_utf8(bytes).with_context(|| format!("{} is no text", path.display()))?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        None => {
            ensure!(
                std::io::stdin().is_terminal(),
                "there is no terminal to ask for the passphrase; name a file with --passphrase-file"
            );
            let prompt = dialoguer::Password::new().with_prompt("Passphrase");
            if is_new {
                prompt.with_confirmation("Again", "The two differ.").interact()
            } else {
                prompt.interact()
            }
            .context("no passphrase")?
        }
    };
    ensure!(
        text.len() >= LEAST_PASSPHRASE_LEN,
        "a passphrase must have at least {LEAST_PASSPHRASE_LEN} characters"
    );
    Ok(SecretString::from(text))
}
