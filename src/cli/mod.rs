//! The command line: what each subcommand is called and takes. What they do is in a file each.

mod archive;
mod contracts;
mod demo;
mod erase;
mod events;
mod export;
mod import;
mod keys;
mod migrate;
mod parked;
mod progress;
mod queue;
mod rebuild;
mod serve;
mod token;
mod up;
mod verify;

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::Config;

/// Kanban cards that run: an event-sourced backend for AI-agent software delivery.
#[derive(Debug, Parser)]
#[command(name = "agentworks", version, about)]
pub struct Cli {
    /// Configuration file; without it `agentworks.toml` in the working directory, if there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, with a private Postgres and NATS unless addresses are configured.
    Up(up::Args),
    /// Run some roles against configured servers.
    Serve(serve::Args),
    /// Bring the database's schema up to date.
    Migrate,
    /// Show the product at work: three cards, run one after the other.
    Demo(demo::Args),
    /// Mint a token.
    Token(token::Args),
    /// Show the public keys that verify the log's checkpoints, newest first; rotate them.
    Keys(keys::Args),
    /// Write a tenant's log into a file that proves itself.
    Export(export::Args),
    /// Check such a file; needs no database, no network and no configuration. Exit code 0: it is what was signed; 1: it is
    /// not; 2: it could not be checked.
    Verify(verify::Args),
    /// Restore such a file into an empty tenant, and prove the restored log equal.
    Import(import::Args),
    /// Print the log, one JSON document a line.
    Events(events::Args),
    /// Show, retry or skip what a consumer could not apply.
    Parked(parked::Args),
    /// Show what waits for a worker, tenant by tenant; pause and resume a tenant, put a run first.
    Queue(queue::Args),
    /// Erase a person: what they said, what was said about them and what they are called becomes unreadable for ever.
    Erase(erase::Args),
    /// Move full ranges of the log to the archive's store, verified; reads find them there.
    Archive(archive::Args),
    /// Rebuild a projection from the log.
    Rebuild(rebuild::Args),
    /// Write the generated contracts below a folder, or check that they are fresh.
    #[command(hide = true)]
    Contracts(contracts::Args),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// What went wrong, for the person at the terminal.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        if let Command::Contracts(args) = &self.command {
            return contracts::run(args).map(|()| ExitCode::SUCCESS);
        }
        if let Command::Verify(args) = &self.command {
            return Ok(verify::run(self.config.as_deref(), args));
        }
        let config = Config::load(self.config.as_deref()).context("the configuration is not usable")?;
        if let Some(at) = &config.crash.at {
            outbox::crash::arm(at)?;
        }
        match self.command {
            Command::Up(args) => up::run(config, args).await,
            Command::Serve(args) => serve::run(config, args).await,
            Command::Migrate => migrate::run(config).await,
            Command::Demo(args) => Box::pin(demo::run(config, args)).await,
            Command::Token(args) => token::run(&config, &args),
            Command::Keys(args) => keys::run(&config, &args),
            Command::Export(args) => Box::pin(export::run(config, args)).await,
            Command::Import(args) => Box::pin(import::run(config, self.config.as_deref(), args)).await,
            Command::Erase(args) => Box::pin(erase::run(config, args)).await,
            Command::Events(args) => Box::pin(events::run(config, args)).await,
            Command::Parked(args) => Box::pin(parked::run(config, args)).await,
            Command::Queue(args) => Box::pin(queue::run(config, args)).await,
            Command::Archive(args) => Box::pin(archive::run(config, args)).await,
            Command::Rebuild(args) => Box::pin(rebuild::run(config, args)).await,
            Command::Contracts(_) | Command::Verify(_) => Ok(()),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// Says a line to whoever called the command. That nobody listens any more (`| head` has seen enough) is no failure.
fn say(line: Arguments<'_>) -> std::io::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        said => said,
    }
}
