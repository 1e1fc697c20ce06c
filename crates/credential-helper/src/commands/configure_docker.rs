//! `configure-docker`: Docker asks this program for a registry's credentials, or no longer.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Context, parse_registry};
use crate::DEFAULT_REGISTRY;
use crate::docker_config::{self, DockerConfig, Plan};
use crate::error::HelperError;
use crate::keyring::find_program;
use crate::prompt;
use crate::registry_url::RegistryUrl;

/// Arguments of `configure-docker`.
#[derive(Debug, Args)]
pub struct ConfigureDockerArguments {
    /// The registries [default: all that have accounts, else atcr.io]
    registries: Vec<String>,
    /// Restore what was there before
    #[arg(long)]
    undo: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Another file of the same form, such as Podman's auth.json
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Write JSON; do not ask
    #[arg(long)]
    pub(crate) json: bool,
}

/// Changes Docker's configuration, after it has shown the change, and asked if a person can answer.
///
/// # Errors
/// [`HelperError`]
pub fn configure_docker(
    context: &Context,
    arguments: &ConfigureDockerArguments,
) -> Result<ExitCode, HelperError> {
    let printer = &context.printer;
    let docker = match &arguments.file {
        Some(path) => DockerConfig::at(path.clone(), context.store.folder()),
        None => DockerConfig::locate(&context.environment, context.store.folder())?,
    };
    let hosts = hosts(context, arguments)?;
    let plan = if arguments.undo {
        docker.plan_undo(&hosts)?
    } else {
        docker.plan(&hosts)?
    };
    for host in &plan.not_ours {
        printer.warning(format_args!(
            "{} no longer has an entry of docker-credential-atcr for {host}, so there is nothing to undo",
            docker.path().display()
        ));
    }
    if !plan.is_empty() {
        show(context, &docker, &plan);
    }
    if !arguments.dry_run {
        write(context, arguments, &docker, &plan)?;
    } else if plan.is_empty() {
        printer.done(format_args!("{} needs no change", docker.path().display()));
    }
    if arguments.json {
        printer.json(&json!({
            "file": docker.path(),
            "changes": !plan.is_empty(),
            "written": !plan.is_empty() && !arguments.dry_run,
            "not_ours": plan.not_ours,
        }));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks if a person can answer, and writes.
fn write(
    context: &Context,
    arguments: &ConfigureDockerArguments,
    docker: &DockerConfig,
    plan: &Plan,
) -> Result<(), HelperError> {
    let printer = &context.printer;
    if plan.is_empty() {
        docker.apply(plan)?;
        printer.done(format_args!("{} needs no change", docker.path().display()));
        return Ok(());
    }
    if !arguments.yes && printer.is_interactive() && !prompt::confirm(printer, "Write this?", true)? {
        return Err(HelperError::Declined);
    }
    docker.apply(plan)?;
    printer.done(format_args!("{} is written", docker.path().display()));
    if !arguments.undo {
        printer.say(super::WHAT_IS_PUBLIC);
        check_path(context);
    }
    Ok(())
}

/// Shows and writes, without asking.
pub(super) fn configure(
    context: &Context,
    docker: &DockerConfig,
    hosts: &[String],
) -> Result<(), HelperError> {
    let plan = docker.plan(hosts)?;
    if !plan.is_empty() {
        show(context, docker, &plan);
        docker.apply(&plan)?;
        context
            .printer
            .done(format_args!("{} is written", docker.path().display()));
    }
    check_path(context);
    Ok(())
}

/// Shows, asks, writes. A no is fine.
pub(super) fn offer(context: &Context, docker: &DockerConfig, host: &str) -> Result<(), HelperError> {
    let plan = docker.plan(&[host.to_owned()])?;
    show(context, docker, &plan);
    if prompt::confirm(&context.printer, "Make Docker use this sign-in?", true)? {
        docker.apply(&plan)?;
        check_path(context);
        context
            .printer
            .done(format_args!("Ready: docker push {host}/<you>/<image>:<tag>"));
    }
    Ok(())
}

fn hosts(context: &Context, arguments: &ConfigureDockerArguments) -> Result<Vec<String>, HelperError> {
    if !arguments.registries.is_empty() {
        return arguments
            .registries
            .iter()
            .map(|text| parse_registry(text).map(|url| url.authority()))
            .collect();
    }
    if arguments.undo {
        return Ok(Vec::new());
    }
    let accounts = context.store.load()?;
    let known: Vec<String> = accounts.iter().map(|(url, _)| url.authority()).collect();
    Ok(if known.is_empty() {
        vec![parse_registry(DEFAULT_REGISTRY).map(|url: RegistryUrl| url.authority())?]
    } else {
        known
    })
}

fn show(context: &Context, docker: &DockerConfig, plan: &Plan) {
    let printer = &context.printer;
    let what = match (&plan.before, &plan.after) {
        (None, _) => "A new file",
        (_, None) => "Removed",
        _ => "A change",
    };
    printer.say(format_args!("{what}: {}", docker.path().display()));
    docker_config::show(
        printer,
        plan.before.as_deref().unwrap_or_default(),
        plan.after.as_deref().unwrap_or_default(),
    );
}

/// Docker finds helpers through `PATH`, and says little when it does not.
fn check_path(context: &Context) {
    let file = format!("docker-credential-atcr{}", std::env::consts::EXE_SUFFIX);
    if find_program(OsStr::new(&file), &context.environment).is_none() {
        context
            .printer
            .warning(format_args!("{file} is not on PATH, so Docker will not find it"));
    }
}
