//! `atcr-scanner doctor`: whether everything is there that a scan needs.

use std::fmt::Write as _;
use std::fs;

use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_atproto::egress::{EgressClient, Limits};
use atcr_scan_protocol::{PATH, SECRET_HEADER};
use http::{Method, StatusCode};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::compose;
use crate::config::ScannerConfig;
use crate::settings::{HoldSettings, ScannerSettings};
use crate::tools::confine;
use crate::work::WorkFolder;

/// How long the hold may take to answer.
const HOLD: Limits = Limits {
    max_bytes: 64 * 1024,
    timeout: std::time::Duration::from_secs(15),
};

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It works, with less.
    Warning,
    /// It does not work.
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
}

fn check<T, E: std::fmt::Display>(
    name: &'static str,
    outcome: Result<T, E>,
    detail: impl FnOnce(T) -> (Verdict, String),
) -> Check {
    let (verdict, detail) = match outcome {
        Ok(found) => detail(found),
        Err(error) => (Verdict::Failed, format!("{error:#}")),
    };
    Check {
        name,
        verdict,
        detail,
    }
}

/// Checks tools, limits, folders, database and hold, and prints what it found.
///
/// # Errors
/// If something is missing without which nothing is scanned.
#[expect(clippy::print_stdout, reason = "printing is what it is for")]
pub async fn run(config: ScannerConfig, settings: ScannerSettings, json: bool) -> anyhow::Result<()> {
    let mut checks = vec![limits(settings.allow_open_paths).await];
    let tools = compose::tools(&settings, compose::launcher()?).await;
    checks.push(check("tools", tools.as_ref(), |tools| {
        let all = std::iter::once(&tools.syft).chain(&tools.grype);
        let said: Vec<String> = all
            .map(|tool| format!("{} {} ({})", tool.name, tool.version, tool.path.display()))
            .collect();
        (Verdict::Ok, said.join(", "))
    }));
    checks.push(work_folder(&settings));
    checks.push(match (&tools, &settings.database_folder) {
        (_, None) => Check {
            name: "database",
            verdict: Verdict::Warning,
            detail: "SCANNER_VULN_ENABLED is false: packages are listed and not looked up".to_owned(),
        },
        (Ok(tools), Some(_)) => check("database", compose::databases(&settings, tools, &CancellationToken::new()).await, |found| {
            match found.and_then(|databases| databases.current()) {
                Some(current) => (
                    Verdict::Ok,
                    format!(
                        "of {}, {} hours old",
                        current.status().built.format("%Y-%m-%d %H:%M UTC"),
                        current.age(SystemClock.now()).as_secs() / 3600
                    ),
                ),
                None => (
                    Verdict::Warning,
                    "there is none yet: packages are listed and not looked up; `atcr-scanner db update` fetches one"
                        .to_owned(),
                ),
            }
        }),
        (Err(_), Some(_)) => Check {
            name: "database",
            verdict: Verdict::Failed,
            detail: "it cannot be asked without the tools".to_owned(),
        },
    });
    checks.push(hold(&config).await);
    if json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        let mut text = String::new();
        for Check {
            name,
            verdict,
            detail,
        } in &checks
        {
            let mark = match verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Failed => "FAILED",
            };
            let _ = writeln!(text, "{mark:8} {name:10} {detail}");
        }
        print!("{text}");
    }
    let failed = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Failed)
        .count();
    anyhow::ensure!(failed == 0, "{failed} of {} checks failed", checks.len());
    Ok(())
}

/// Whether tools can be confined here.
async fn limits(allow_open_paths: bool) -> Check {
    let probed = async { confine::probed(&compose::launcher()?).await };
    check("limits", probed.await, |probed| {
        if let Err(why) = probed.allows_tools(allow_open_paths) {
            return (Verdict::Failed, why);
        }
        match probed.paths.as_str() {
            "fully" => (
                Verdict::Ok,
                "tools get no network and no paths but their own".to_owned(),
            ),
            kept => (
                Verdict::Warning,
                format!("tools get no network; this kernel keeps them to their paths {kept} (landlock)"),
            ),
        }
    })
}

fn work_folder(settings: &ScannerSettings) -> Check {
    let folder = &settings.work_folder;
    let tried = (|| {
        let parent = folder.parent().unwrap_or(folder);
        let own = tempfile::Builder::new().prefix("atcr-scan-").tempdir_in(parent)?;
        let work = WorkFolder::open(own.path())?;
        let job = work.job()?;
        let file = own.path().join("file");
        fs::write(&file, b"x")?;
        fs::hard_link(&file, job.path().join("link"))?;
        let stat = rustix::fs::statvfs(own.path())?;
        anyhow::Ok(stat.f_bavail * stat.f_frsize)
    })();
    let wanted = settings.unpacked_bytes;
    check("folder", tried, |free: u64| {
        let detail = format!("{}: {} MiB free", folder.display(), free >> 20);
        if free < wanted {
            (
                Verdict::Warning,
                format!(
                    "{detail}; the largest image that is scanned may take {} MiB",
                    wanted >> 20
                ),
            )
        } else {
            (Verdict::Ok, detail)
        }
    })
}

/// Whether the hold takes scanners with this secret. It is asked without a WebSocket, so that it hands out no job.
async fn hold(config: &ScannerConfig) -> Check {
    let name = "hold";
    let hold = match HoldSettings::parse(config) {
        Ok(hold) => hold,
        Err(missing) => {
            return Check {
                name,
                verdict: Verdict::Warning,
                detail: format!("not asked: {}", missing.replace("\n  ", "; ")),
            };
        }
    };
    let asked = async {
        let client = EgressClient::for_configured_hosts()?;
        let mut url = hold.url.clone();
        url.set_path(PATH);
        let request = client
            .request(Method::GET, &url)?
            .header(SECRET_HEADER, hold.secret.expose());
        anyhow::Ok(client.send_capped(request, HOLD).await?.status)
    };
    check(name, asked.await, |status: StatusCode| match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            (Verdict::Failed, format!("{} refuses the shared secret", hold.url))
        }
        StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED => (
            Verdict::Failed,
            format!(
                "{} takes no scanners: its scanner.secret is not set, or it is no hold",
                hold.url
            ),
        ),
        status if status.is_server_error() || status.is_redirection() => {
            (Verdict::Failed, format!("{} answers {status}", hold.url))
        }
        _ => (Verdict::Ok, format!("{} takes the secret", hold.url)),
    })
}
