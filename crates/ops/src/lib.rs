//! `atcr`: what an operator asks of holds, relays, buckets and databases by hand.
//!
//! Each tool is a command, and also the whole program under the name that the original has for it: see [`names`].
//!
//! - [`healthcheck`]: whether a server is well
//! - [`usage_report`]: what each account keeps at a hold
//! - [`record_query`]: who has records of a kind, and which
//! - [`crawl`]: asks relays to follow a hold
//! - [`s3_test`]: whether a bucket does what a hold needs
//! - [`db_migrate`]: moves the index of an appview
//! - [`network`]: how other hosts are reached · [`output`]: what is printed

pub mod crawl;
pub mod db_migrate;
pub mod healthcheck;
pub mod names;
pub mod network;
pub mod output;
pub mod record_query;
pub mod s3_test;
pub mod usage_report;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tools of those who run ATCR servers.
#[derive(Debug, Parser)]
#[command(name = "atcr", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a URL, and succeed if it answers that all is well
    #[command(after_help = healthcheck::EXAMPLES)]
    Healthcheck(healthcheck::Healthcheck),
    /// Say how much each account keeps at a hold
    #[command(after_help = usage_report::EXAMPLES)]
    UsageReport(usage_report::UsageReport),
    /// Find accounts that have records of a kind, and read the records
    #[command(after_help = record_query::EXAMPLES)]
    RecordQuery(record_query::RecordQuery),
    /// Ask relays to follow a hold
    #[command(after_help = crawl::EXAMPLES, visible_alias = "request-crawl")]
    Crawl(crawl::Crawl),
    /// Do with a bucket what a hold does, and say what it refuses
    #[command(after_help = s3_test::EXAMPLES)]
    S3Test(s3_test::S3Test),
    /// Copy an appview's index of the network from its file into a PostgreSQL database
    #[command(after_help = db_migrate::EXAMPLES)]
    DbMigrate(db_migrate::DbMigrate),
}

/// Runs the command in `arguments`, the program's name first, and says how it went: 0, or 1 for a failure, which is one line on standard
/// error, or 2 for arguments that are wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Cli::try_parse_from(names::spelled_out(arguments)) {
        Ok(cli) => cli.command,
        Err(error) => {
            // If nobody reads it, there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    atcr_server::exit_code(atcr_server::run_to_end(async {
        match command {
            Command::Healthcheck(command) => command.run().await,
            Command::UsageReport(command) => command.run().await,
            Command::RecordQuery(command) => command.run().await,
            Command::Crawl(command) => command.run().await,
            Command::S3Test(command) => command.run().await,
            Command::DbMigrate(command) => command.run().await,
        }
    }))
}
