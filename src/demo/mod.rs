//! The demo: the product at work, on a fresh installation, through its public interface only.
//!
//! It starts (or finds) an installation, makes or takes a repository, and plays the part of a person: creates what is
//! needed, runs three cards in order, accepts each, and looks at what came of it. It succeeds only if `git` itself
//! finds every pushed commit in the repository.

pub mod client;
pub mod git_host;
mod local_server;
pub mod sample_repository;
mod screen;
pub mod scripted_model;
mod source;
mod story;

use std::path::PathBuf;

pub use client::Client;
pub use screen::Screen;

use crate::config::Config;

/// What the demo may be told.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The repository to work on: a path on this machine, or an address.
    pub repository: Option<String>,
    /// The credential for an address that wants one.
    pub repository_token: Option<String>,
    /// The branch to start from; the repository's default branch when absent.
    pub branch: Option<String>,
}

/// Plays the demo against the installation that `operator` is a client of.
///
/// # Errors
/// When any part of it does not come out as it should.
pub async fn play(config: &Config, options: &Options, operator: &Client, screen: &mut Screen) -> anyhow::Result<()> {
    let source = source::Source::open(&folder(config), options).await?;
    let vendor = source::Vendor::choose(config)?;
    let outcome = story::tell(config, &source, &vendor, operator, screen).await;
    source.close();
    outcome
}

/// Where the demo keeps its repositories.
fn folder(config: &Config) -> PathBuf {
    config.data_dir.join("demo")
}
