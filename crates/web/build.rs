//! Collects what the pages serve beside themselves: our style sheets and scripts, and what others made, from npm.
//!
//! Others' files are never in the source tree. They are installed once for each state of `npm/package-lock.json` and `npm/subset.mjs` into
//! `$ATCR_CACHE_DIR`, else `~/.cache/atcr`, where every checkout finds them again; without such a folder, into the build's own.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

/// Our style sheets, in the order in which they apply.
const STYLES: [&str; 11] = [
    "tokens",
    "base",
    "components",
    "data",
    "navigate",
    "pull",
    "prose",
    "frame",
    "pages",
    "images",
    "admin",
];

/// Files that are served as they are: the name, and where it is below `node_modules` or below the crate. The fonts are what
/// `npm/subset.mjs` makes of others'.
const FROM_NPM: [(&str, &str); 3] = [
    ("geist.woff2", "../geist.woff2"),
    ("geist-mono.woff2", "../geist-mono.woff2"),
    ("htmx.js", "htmx.org/dist/htmx.min.js"),
];
const OURS: [(&str, &str); 3] = [
    ("theme.js", "static/scripts/theme.js"),
    ("page.js", "static/scripts/page.js"),
    ("mark.svg", "static/brand/mark.svg"),
];

/// The icons that pages may ask for with `icon("…")`; a test of each server looks whether its templates ask for another.
const ICONS: [&str; 35] = [
    "anchor",
    "arrow-right",
    "at-sign",
    "boxes",
    "check",
    "chevron-down",
    "circle-alert",
    "circle-check",
    "circle-user-round",
    "clock",
    "copy",
    "download",
    "file-archive",
    "file-badge",
    "hard-drive",
    "history",
    "info",
    "laptop",
    "lock-keyhole",
    "log-out",
    "moon",
    "package",
    "scroll-text",
    "search",
    "settings",
    "shield-alert",
    "shield-check",
    "ship-wheel",
    "signature",
    "star",
    "sun",
    "tag",
    "terminal",
    "triangle-alert",
    "x",
];

/// What the licences of others' files ask to be passed on.
const LICENSES: [&str; 4] = [
    "@fontsource-variable/geist/LICENSE",
    "@fontsource-variable/geist-mono/LICENSE",
    "htmx.org/LICENSE",
    "lucide-static/LICENSE",
];

fn main() -> ExitCode {
    match collect() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn collect() -> Result<(), String> {
    for input in ["build.rs", "npm/package-lock.json", "npm/subset.mjs", "static"] {
        println!("cargo::rerun-if-changed={input}");
    }
    println!("cargo::rerun-if-env-changed=ATCR_CACHE_DIR");
    let source = folder("CARGO_MANIFEST_DIR")?;
    let out = folder("OUT_DIR")?.join("web");
    fs::create_dir_all(&out).map_err(at(&out))?;
    let packages = packages(&source.join("npm"))?;

    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for (name, path) in FROM_NPM {
        // Copied: the cache may be emptied between two builds.
        let (from, to) = (packages.join(path), out.join(name));
        fs::copy(&from, &to).map_err(at(&from))?;
        files.push((name.to_owned(), to));
    }
    for (name, path) in OURS {
        files.push((name.to_owned(), source.join(path)));
    }
    let styles = join(STYLES.map(|name| source.join(format!("static/styles/{name}.css"))))?;
    let licenses = join(LICENSES.map(|path| packages.join(path)))?;
    let sprite = sprite(&packages.join("lucide-static/icons"))?;
    for (name, text) in [
        ("app.css", styles),
        ("third-party.txt", licenses),
        ("icons.svg", sprite),
    ] {
        files.push((name.to_owned(), write(&out.join(name), &text)?));
    }
    write(&out.join("files.rs"), &table("FILES", &files, &out, &source))?;
    Ok(())
}

/// A Rust table of names and contents, to be included from `out`. Its paths follow the folders of the build that compiles it, so that a
/// copied or moved target folder goes on.
fn table(name: &str, files: &[(String, PathBuf)], out: &Path, source: &Path) -> String {
    let mut table = format!("pub(super) static {name}: &[(&str, &[u8])] = &[\n");
    for (name, path) in files {
        let path = match (path.strip_prefix(out), path.strip_prefix(source)) {
            (Ok(beside), _) => format!("{:?}", beside.display().to_string()),
            (_, Ok(ours)) => format!(
                "concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?})",
                format!("/{}", ours.display())
            ),
            _ => format!("{:?}", path.display().to_string()),
        };
        let _ = writeln!(table, "    ({name:?}, include_bytes!({path})),");
    }
    table + "];\n"
}

/// A sprite of [`ICONS`].
fn sprite(icons: &Path) -> Result<String, String> {
    let mut sprite = String::from("<svg xmlns=\"http://www.w3.org/2000/svg\"><!-- lucide, ISC -->\n");
    for name in ICONS {
        let svg = fs::read_to_string(icons.join(format!("{name}.svg")))
            .map_err(|_| format!("lucide has no icon {name:?}"))?;
        let inner = svg
            .split_once("<svg")
            .and_then(|(_, rest)| rest.split_once('>'))
            .and_then(|(_, rest)| rest.split_once("</svg>"))
            .map(|(inner, _)| inner.split_whitespace().collect::<Vec<_>>().join(" "))
            .ok_or_else(|| format!("the icon {name:?} is no SVG"))?;
        let _ = writeln!(
            sprite,
            "<symbol id=\"{name}\" viewBox=\"0 0 24 24\">{inner}</symbol>"
        );
    }
    Ok(sprite + "</svg>\n")
}

/// The folder `node_modules` with the packages of the lock file in `web`.
fn packages(web: &Path) -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    for name in ["package-lock.json", "subset.mjs"] {
        read(&web.join(name))?.hash(&mut hasher);
    }
    let cache = match (env::var_os("ATCR_CACHE_DIR"), env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) if !home.is_empty() => Path::new(&home).join(".cache/atcr"),
        _ => folder("OUT_DIR")?,
    };
    let installed = cache.join(format!("web-{:016x}", hasher.finish()));
    if !installed.join("complete").is_file() {
        install(web, &installed)?;
    }
    Ok(installed.join("node_modules"))
}

/// Installs next to the final place and moves it there, so that two builds at once do not meet half of it.
fn install(web: &Path, installed: &Path) -> Result<(), String> {
    let building = installed.with_extension(format!("building-{}", std::process::id()));
    fs::create_dir_all(&building).map_err(at(&building))?;
    for name in ["package.json", "package-lock.json", "subset.mjs"] {
        fs::copy(web.join(name), building.join(name)).map_err(at(&web.join(name)))?;
    }
    let outcome = Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ])
        .current_dir(&building)
        .output();
    let result = match outcome {
        Err(error) => Err(format!(
            "npm is needed once, for the packages of crates/web/npm, and cannot be started ({error}): install Node.js with npm"
        )),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said
                .lines()
                .find(|line| line.contains("npm error"))
                .unwrap_or("it did not say why");
            Err(format!("npm ci of crates/web/npm failed: {last}"))
        }
        Ok(_) => {
            subset(&building).and_then(|()| fs::write(building.join("complete"), "").map_err(at(&building)))
        }
    };
    if result.is_ok() && fs::rename(&building, installed).is_err() && !installed.join("complete").is_file() {
        // An unfinished installation is in the way, and no other process will finish it.
        fs::remove_dir_all(installed).map_err(at(installed))?;
        fs::rename(&building, installed).map_err(at(installed))?;
    }
    // Left over when another build was faster, or this one failed.
    let _ = fs::remove_dir_all(&building);
    result
}

/// Makes the fonts, in the folder where the packages are.
fn subset(building: &Path) -> Result<(), String> {
    let outcome = Command::new("node")
        .arg("subset.mjs")
        .current_dir(building)
        .output();
    let output =
        outcome.map_err(|error| format!("node cannot be started ({error}): install Node.js with npm"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said
        .lines()
        .find(|line| line.contains("Error"))
        .unwrap_or("it did not say why");
    Err(format!("the fonts of crates/web/npm cannot be made: {last}"))
}

fn folder(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| format!("cargo did not set {variable}"))
}

fn join<const N: usize>(paths: [PathBuf; N]) -> Result<String, String> {
    let texts: Result<Vec<String>, String> = paths.iter().map(|path| read(path)).collect();
    Ok(texts?.join("\n"))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(at(path))
}

/// Writes only what differs, so that nothing is compiled anew without need.
fn write(path: &Path, text: &str) -> Result<PathBuf, String> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(path.to_owned());
    }
    fs::write(path, text).map_err(at(path))?;
    Ok(path.to_owned())
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}
