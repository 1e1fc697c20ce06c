//! `dist`: a release of the credential helper, as an appview serves it: archives, `checksums.txt`, signatures.
//!
//! What is packed depends on the commit alone: no time of day, no user, no path gets into an archive.

use std::fmt::Write as _;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use atcr_test_support::tools::{Workspace, find_command, require_commands, watch_cargo};
use clap::Args;
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::DecodePrivateKey as _;
use sha2::{Digest as _, Sha256};

use crate::build;
use crate::progress::{Step, print, say};

const PROGRAM: &str = "docker-credential-atcr";

/// The multicodec of a P-256 public key, as an unsigned varint.
const P256_CODEC: [u8; 2] = [0x80, 0x24];

#[derive(Clone, Debug, Args)]
pub(crate) struct DistArguments {
    /// Where to put it [default: target/dist]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Rust targets to build for; this machine's if none is named, static on Linux
    #[arg(long = "target", value_name = "TRIPLE")]
    targets: Vec<String>,
    /// A P-256 key in PEM that signs; programs that are built then take no update without its signature
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// Pack this program, which must run on this machine, and build nothing
    #[arg(long, value_name = "FILE", conflicts_with = "targets")]
    program: Option<PathBuf>,
}

/// The commit that is built.
struct Commit {
    id: String,
    /// RFC 3339.
    date: String,
    unix_seconds: u64,
}

/// A key that signs, and its public half as did:key.
struct ReleaseKey {
    key: SigningKey,
    did: String,
}

/// What a target is called in an archive's name, and what is needed to build for it.
struct Platform {
    system: &'static str,
    arch: &'static str,
    compiler: &'static str,
}

/// Builds, packs, hashes, signs.
pub(crate) fn dist(arguments: &DistArguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    let commit = Commit::head(&workspace);
    let key = arguments
        .signing_key
        .as_deref()
        .map(ReleaseKey::read)
        .transpose()?;
    let programs: Vec<(Platform, String, PathBuf)> = if let Some(program) = &arguments.program {
        let platform = Platform::of(&host_target()?)?;
        vec![(platform, version_of(program)?, program.clone())]
    } else {
        let targets = match arguments.targets.as_slice() {
            [] => vec![host_target()?],
            named => named.to_vec(),
        };
        targets
            .iter()
            .map(|target| {
                let platform = Platform::of(target)?;
                let program = compile(&workspace, target, &platform, commit.as_ref(), key.as_ref())?;
                Ok((platform, env!("CARGO_PKG_VERSION").to_owned(), program))
            })
            .collect::<Result<_>>()?
    };

    let default = workspace.root().join("target").join("dist");
    let out = arguments.out.clone().unwrap_or(default);
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut checksums = Vec::new();
    for (platform, version, program) in &programs {
        let files = contents(&workspace, platform, program)?;
        let is_windows = platform.system == "Windows";
        let (archive, extension) = if is_windows {
            (zip_of(&files)?, "zip")
        } else {
            let unix_seconds = commit.as_ref().map_or(0, |commit| commit.unix_seconds);
            (tar_of(&files, unix_seconds)?, "tar.gz")
        };
        let name = format!(
            "{PROGRAM}_{version}_{}_{}.{extension}",
            platform.system, platform.arch
        );
        write(&out.join(&name), &archive)?;
        if let Some(key) = &key {
            let signature: Signature = key.key.sign(&archive);
            write(&out.join(format!("{name}.sig")), signature.to_der().as_bytes())?;
        }
        checksums.push(format!(
            "{}  {name}\n",
            HEXLOWER.encode(&Sha256::digest(&archive))
        ));
    }
    checksums.sort_by(|one, other| one[64..].cmp(&other[64..]));
    // Last: it names nothing that is not there.
    write(&out.join("checksums.txt"), checksums.concat().as_bytes())?;
    let out = fs::canonicalize(&out)?;
    print(summary(&out, &checksums.concat(), key.as_ref()));
    Ok(())
}

fn summary(out: &Path, checksums: &str, key: Option<&ReleaseKey>) -> String {
    let mut text = format!(
        "{checksums}\nAn appview offers them with\n\n  credential_helper:\n    release_dir: {}\n",
        out.display()
    );
    if let Some(key) = key {
        // Writing into a string does not fail.
        let _ = writeln!(text, "    signing_key: {}", key.did);
    }
    text
}

/// The program for `target`, optimised.
fn compile(
    workspace: &Workspace,
    target: &str,
    platform: &Platform,
    commit: Option<&Commit>,
    key: Option<&ReleaseKey>,
) -> Result<PathBuf> {
    if platform.compiler == "musl-gcc" {
        require_commands(&["cc", "musl-gcc"], &mut |line| say(line))?;
    } else if find_command(platform.compiler).is_none() {
        bail!("building for {target} needs {}", platform.compiler);
    }
    // Does nothing for a target that is there. Without rustup the compiler itself says what is missing.
    if let Some(rustup) = find_command("rustup") {
        let added = Command::new(rustup)
            .args(["target", "add", target])
            .current_dir(workspace.root())
            .output()
            .context("cannot start rustup")?;
        if !added.status.success() {
            bail!(
                "rustup target add {target} failed:\n{}",
                String::from_utf8_lossy(&added.stderr)
            );
        }
    }
    let step = Step::begin(format!("{PROGRAM} for {target}"));
    let mut command = build::cargo(workspace);
    command
        .args(["build", "--release", "--locked", "-p", "atcr-credential-helper"])
        .args(["--bin", PROGRAM, "--target", target]);
    if let Some(commit) = commit {
        command
            .env("ATCR_BUILD_COMMIT", &commit.id)
            .env("ATCR_BUILD_DATE", &commit.date);
    }
    if platform.compiler != "cc" && platform.compiler != "musl-gcc" {
        let variable = target.to_uppercase().replace('-', "_");
        command.env(format!("CARGO_TARGET_{variable}_LINKER"), platform.compiler);
    }
    if let Some(key) = key {
        command.env("ATCR_RELEASE_KEY", &key.did);
    }
    let printed = watch_cargo(&mut command, &step.noter())?;
    if !printed.success {
        bail!("the build failed:\n{}", printed.lines.join("\n"));
    }
    step.done();
    let built = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.root().join("target"), PathBuf::from)
        .join(target)
        .join("release")
        .join(platform.program());
    Ok(built)
}

/// The files of an archive: name, mode, bytes.
fn contents(
    workspace: &Workspace,
    platform: &Platform,
    program: &Path,
) -> Result<[(&'static str, u32, Vec<u8>); 3]> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    Ok([
        (platform.program(), 0o755, read(program)?),
        (
            "README.md",
            0o644,
            read(&workspace.root().join("docs/credential-helper.md"))?,
        ),
        ("LICENSE", 0o644, read(&workspace.root().join("LICENSE"))?),
    ])
}

fn tar_of(files: &[(&'static str, u32, Vec<u8>)], unix_seconds: u64) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (name, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(unix_seconds);
        archive.append_data(&mut header, name, bytes.as_slice())?;
    }
    Ok(archive.into_inner()?.finish()?)
}

fn zip_of(files: &[(&'static str, u32, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, bytes) in files {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(*mode);
        archive.start_file(*name, options)?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// What the program says it is: `docker-credential-atcr 0.1.0 …`.
fn version_of(program: &Path) -> Result<String> {
    let output =
        Command::new(fs::canonicalize(program).with_context(|| format!("no {}", program.display()))?)
            .arg("version")
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = said.split_whitespace();
    match (output.status.success(), words.next(), words.next()) {
        (true, Some(PROGRAM), Some(version)) => Ok(version.to_owned()),
        _ => bail!("{} does not say which {PROGRAM} it is: {said}", program.display()),
    }
}

/// What is built when nothing is named.
fn host_target() -> Result<String> {
    let arch = std::env::consts::ARCH;
    match std::env::consts::OS {
        "linux" => Ok(format!("{arch}-unknown-linux-musl")),
        "macos" => Ok(format!("{arch}-apple-darwin")),
        os => bail!("name a --target; there is none by default on {os}"),
    }
}

impl Platform {
    fn of(target: &str) -> Result<Self> {
        let is_own_arch = target.starts_with(std::env::consts::ARCH);
        let (system, arch, compiler) = match target {
            "x86_64-unknown-linux-musl" if is_own_arch => ("Linux", "x86_64", "musl-gcc"),
            "aarch64-unknown-linux-musl" if is_own_arch => ("Linux", "arm64", "musl-gcc"),
            "x86_64-unknown-linux-musl" => ("Linux", "x86_64", "x86_64-linux-musl-gcc"),
            "aarch64-unknown-linux-musl" => ("Linux", "arm64", "aarch64-linux-musl-gcc"),
            "x86_64-pc-windows-gnu" => ("Windows", "x86_64", "x86_64-w64-mingw32-gcc"),
            "x86_64-apple-darwin" if cfg!(target_os = "macos") => ("Darwin", "x86_64", "cc"),
            "aarch64-apple-darwin" if cfg!(target_os = "macos") => ("Darwin", "arm64", "cc"),
            "x86_64-apple-darwin" | "aarch64-apple-darwin" => bail!("{target} is built on a Mac"),
            _ => bail!("there are no releases for {target}"),
        };
        Ok(Self {
            system,
            arch,
            compiler,
        })
    }

    fn program(&self) -> &'static str {
        match self.system {
            "Windows" => "docker-credential-atcr.exe",
            _ => PROGRAM,
        }
    }
}

impl Commit {
    /// `None` for sources without their history, which the program then says: `commit unknown`.
    fn head(workspace: &Workspace) -> Option<Self> {
        let output = Command::new("git")
            .args(["log", "-1", "--format=%h %cI %ct"])
            .current_dir(workspace.root())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = said.split_whitespace();
        Some(Self {
            id: words.next()?.to_owned(),
            date: words.next()?.to_owned(),
            unix_seconds: words.next()?.parse().ok()?,
        })
    }
}

impl ReleaseKey {
    fn read(path: &Path) -> Result<Self> {
        let pem = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let key = SigningKey::from_pkcs8_pem(&pem).ok().with_context(|| {
            format!(
                "{} is no P-256 key in PEM; one is made by `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`",
                path.display()
            )
        })?;
        let point = key.verifying_key().to_encoded_point(true);
        let bytes = [&P256_CODEC, point.as_bytes()].concat();
        let did = format!("did:key:{}", multibase::encode(multibase::Base::Base58Btc, bytes));
        Ok(Self { key, did })
    }
}
