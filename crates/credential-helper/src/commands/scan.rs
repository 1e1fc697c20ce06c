//! `scan`: what the image's hold found in it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use atcr_atproto::clock::Clock as _;
use clap::Args;
use secrecy::SecretString;

use super::get::environment_credentials;
use super::verify::default_registry;
use super::{Context, reveal};
use crate::appview::scans::{ImagePlace, ScanResult, Severity};
use crate::appview::{AppView, AppViewError};
use crate::error::HelperError;
use crate::printer::plain;
use crate::registry_url::{RegistryUrl, ServerAddress};
use crate::scans::judgement::{Demand, Judgement, judge};
use crate::scans::platform;
use crate::scans::report::Report;
use crate::selection::{Selection, select};
use crate::verification::Unchecked;
use crate::verification::image_name::ImageName;

/// How `scan` ends when findings are as bad as `--fail-on` says.
const FAILED: u8 = 3;
/// How it ends when vulnerabilities were not looked for, or are not known.
const UNKNOWN: u8 = 4;
/// Pause between two questions to a scan that is not over.
const POLL: Duration = Duration::from_secs(3);
/// Longest wait, in seconds.
const MAX_WAIT_SECS: u64 = 24 * 60 * 60;

/// Arguments of `scan`.
#[derive(Debug, Args)]
#[command(after_help = "\
The registry is asked, which asks the hold that stores the image: what is printed is that hold's statement. Nothing is scanned here.

Ends with 0: looked at, and nothing as bad as --fail-on; 1: could not be asked; 2: wrong usage; 3: something as bad as --fail-on;
4: not known: not scanned yet, packages only, members only, or the hold does not answer.")]
pub struct ScanArguments {
    /// The image, by tag or digest: atcr.io/alice.example/app:1. The registry may be left out
    image: String,
    /// End with 3 if something as bad as that is found, or worse
    #[arg(long, value_name = "SEVERITY")]
    fail_on: Option<Severity>,
    /// List and count only what an update fixes
    #[arg(long)]
    only_fixed: bool,
    /// Of an image for several platforms, this one instead of this machine's: linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Wait so long for a scan that is not over
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MAX_WAIT_SECS))]
    wait: u64,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says what was found in an image. Exits with 3 when it is worse than allowed, with 4 when it is not known.
///
/// # Errors
/// [`HelperError`], which says nothing about the image.
pub fn scan(context: &Context, arguments: &ScanArguments) -> Result<ExitCode, HelperError> {
    let accounts = context.store.load()?;
    let known: Vec<RegistryUrl> = accounts.iter().map(|(url, _)| url.clone()).collect();
    let default = default_registry(context, &known)?;
    let image = ImageName::parse(&arguments.image, &known, &default).map_err(|source| {
        HelperError::Unchecked(Box::new(Unchecked::ImageName {
            given: arguments.image.clone(),
            source,
        }))
    })?;
    let appview = AppView::new(&image.registry);
    let mut asking = Asking {
        context,
        appview: &appview,
        image: &image,
        token: token(context, &appview, &image)?,
    };
    let owner = image.identity.to_string();
    let place = ImagePlace {
        owner: &owner,
        repository: &image.repository,
    };
    let separator = if image.reference.digest().is_some() {
        '@'
    } else {
        ':'
    };
    let missing = || HelperError::NoSuchImage {
        registry: image.registry.clone(),
        image: image.to_string(),
    };
    let listed = appview
        .listed_image(place, &format!("{separator}{}", image.reference))?
        .ok_or_else(missing)?;
    let (digest, platform) = if listed.children.is_empty() {
        (listed.digest, None)
    } else {
        let wanted = arguments
            .platform
            .clone()
            .unwrap_or_else(platform::of_this_machine);
        let chosen =
            platform::choose(&listed.children, &wanted).map_err(|platforms| HelperError::NoSuchPlatform {
                image: image.to_string(),
                wanted: wanted.clone(),
                platforms: platforms.join(", "),
            })?;
        (chosen.digest.clone(), chosen.platform.clone())
    };
    let result = wait_for(context, arguments, || {
        let answer = asking.ask(|token| appview.scan_result(place, &digest, token))?;
        answer.ok_or_else(missing)
    })?;
    let result = if result.state.has_counts() {
        let whole = asking.ask(|token| appview.scan_findings(place, &digest, token))?;
        whole.ok_or_else(missing)?
    } else {
        result
    };
    let demand = Demand {
        fail_on: arguments.fail_on,
        only_fixed: arguments.only_fixed,
    };
    let (judgement, failing) = judge(&result, demand);
    let mut report = Report {
        image: image.to_string(),
        platform,
        registry: image.registry.authority(),
        judgement,
        failing,
        fail_on: arguments.fail_on,
        only_fixed: arguments.only_fixed,
        result,
    };
    report.narrow(demand);
    if arguments.json {
        context.printer.json(&report);
    } else {
        let now = atcr_atproto::clock::SystemClock.now();
        report.write(&context.printer, now);
    }
    Ok(end(context, &report))
}

/// The exit code, with a sentence if it is not 0.
fn end(context: &Context, report: &Report) -> ExitCode {
    match (report.judgement, report.fail_on) {
        (Judgement::Pass, _) => ExitCode::SUCCESS,
        (Judgement::Fail, severity) => {
            let severity = severity.map_or("any severity", Severity::name);
            let (count, noun) = match report.failing {
                1 => (1, "finding is"),
                count => (count, "findings are"),
            };
            context
                .printer
                .error(format_args!("{count} {noun} {severity} or worse"));
            ExitCode::from(FAILED)
        }
        (Judgement::Unknown, _) => {
            context
                .printer
                .error("it is not known whether the image has vulnerabilities");
            ExitCode::from(UNKNOWN)
        }
    }
}

/// Asks again, as long as the arguments allow, until the scan is over. While it waits, a registry or a hold that does not answer now is
/// asked again too.
fn wait_for(
    context: &Context,
    arguments: &ScanArguments,
    mut ask: impl FnMut() -> Result<ScanResult, HelperError>,
) -> Result<ScanResult, HelperError> {
    let start = Instant::now();
    let patience = Duration::from_secs(arguments.wait);
    let mut said = None;
    loop {
        let answer = ask();
        let left = patience.saturating_sub(start.elapsed());
        let pause = match &answer {
            Ok(result) if result.state.may_change() => Some(POLL),
            Ok(_) => None,
            Err(HelperError::AppView(error)) => error.is_transient().then(|| pause_after(error)),
            Err(_) => None,
        };
        let Some(pause) = pause.filter(|_| !left.is_zero()) else {
            return answer;
        };
        let message = match &answer {
            Ok(result) => result.message.clone().unwrap_or_else(|| "Waiting.".to_owned()),
            Err(error) => format!("{error}; asking again."),
        };
        if said.as_ref() != Some(&message) {
            context.printer.say(&message);
            said = Some(message);
        }
        std::thread::sleep(pause.min(left));
    }
}

/// How long a registry that failed is left alone.
fn pause_after(error: &AppViewError) -> Duration {
    match error {
        AppViewError::TooManyRequests { retry_after, .. } => POLL.max(*retry_after),
        _ => POLL,
    }
}

/// Questions about one image.
struct Asking<'a> {
    context: &'a Context,
    appview: &'a AppView,
    image: &'a ImageName,
    token: Option<SecretString>,
}

impl Asking<'_> {
    /// Asks with the token, and with a new one when it does not count any more: it lives for minutes, and a scan may take hours.
    fn ask<T>(
        &mut self,
        question: impl Fn(Option<&SecretString>) -> Result<T, AppViewError>,
    ) -> Result<T, HelperError> {
        match question(self.token.as_ref()) {
            Err(AppViewError::Refused { status: 401, .. }) if self.token.is_some() => {
                self.token = token(self.context, self.appview, self.image)?;
                Ok(question(self.token.as_ref())?)
            }
            answer => Ok(answer?),
        }
    }
}

/// A token of the account that is signed in for the image; `None` for what everybody is told.
fn token(
    context: &Context,
    appview: &AppView,
    image: &ImageName,
) -> Result<Option<SecretString>, HelperError> {
    let Ok(name) = image.registry_name() else {
        return Ok(None);
    };
    let Some((username, secret)) = credentials(context, image)? else {
        return Ok(None);
    };
    let token = appview.pull_token(name.as_str(), &username, &secret)?;
    if token.is_none() {
        context.printer.warning(format_args!(
            "{} does not take the sign-in of {}; asking without it",
            image.registry.authority(),
            plain(&username)
        ));
    }
    Ok(token)
}

fn credentials(context: &Context, image: &ImageName) -> Result<Option<(String, SecretString)>, HelperError> {
    if let Ok(address) = ServerAddress::parse(&image.registry.to_string())
        && let Some(found) = environment_credentials(context, &address)?
    {
        return Ok(Some(found));
    }
    let accounts = context.store.load()?;
    let Some(registry) = accounts.get(&image.registry) else {
        return Ok(None);
    };
    match select(registry, &[image.identity.to_string()]) {
        Selection::Account(account) => {
            let username = account.did.clone().unwrap_or_else(|| account.handle.clone());
            let secret = reveal(&image.registry, account, &context.environment)?;
            Ok(Some((username, secret)))
        }
        _ => Ok(None),
    }
}
