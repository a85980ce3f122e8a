//! The servers that an installation stands on: configured ones, or private ones of its own.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use crate::config::Config;
use crate::embedded::{DataDir, EmbeddedError, Nats, Postgres};

/// A NATS that dies so soon after its start, so often in a row, is not worth another one.
const SHORT_LIFE: Duration = Duration::from_secs(10);
const SHORT_LIVES: u32 = 5;
/// The file in the data folder (which is ours alone) that tells other commands of this machine where the database is.
const ADDRESS: &str = "database.url";

/// Where Postgres and NATS are, and what of them is ours to stop.
pub struct Servers {
    /// Postgres, as a user that may migrate.
    pub database: SecretString,
    /// NATS.
    pub bus: SecretString,
    postgres: Option<Postgres>,
    nats: Option<Nats>,
    _data: DataDir,
}

impl Servers {
    /// Takes the data folder and starts what is not configured, both at once.
    ///
    /// # Errors
    /// When the folder is in use, or a server does not start.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let data = DataDir::lock(&config.data_dir)?;
        let postgres = async {
            match &config.database.url {
                Some(url) => anyhow::Ok((url.clone(), None)),
                None => {
                    let server = Postgres::start(&data.path().join("postgres")).await?;
                    Ok((server.url("postgres", "postgres").into(), Some(server)))
                }
            }
        };
        let nats = async {
            match &config.bus.url {
                Some(url) => anyhow::Ok((url.clone(), None)),
                None => {
                    let server = Nats::start(&data.path().join("nats")).await?;
                    Ok((server.url().into(), Some(server)))
                }
            }
        };
        let ((database, postgres), (bus, nats)) = tokio::try_join!(postgres, nats)?;
        let address = data.path().join(ADDRESS);
        private_file(&address, database.expose_secret())
            .with_context(|| format!("cannot write {}", address.display()))?;
        Ok(Self { database, bus, postgres, nats, _data: data })
    }

    /// The database of the installation that holds the data folder now.
    ///
    /// # Errors
    /// When it has not said where it is.
    pub fn running(config: &Config) -> anyhow::Result<SecretString> {
        let address = config.data_dir.join(ADDRESS);
        let url = std::fs::read_to_string(&address).with_context(|| format!("cannot read {}", address.display()))?;
        Ok(url.into())
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// When Postgres cannot be reached or a migration fails.
    pub async fn migrate(&self, config: &Config) -> anyhow::Result<()> {
        outbox::migrate::run(self.database.expose_secret(), config.log.partitions.into())
            .await
            .context("the database's schema could not be brought up to date")
    }

    /// Keeps what is ours going: a NATS that dies is started again (the bus is a hint, nothing is lost with it), a
    /// Postgres that dies is the end. Returns what it said last.
    pub async fn failed(&mut self) -> anyhow::Error {
        let postgres = async {
            match &mut self.postgres {
                Some(postgres) => postgres.failed().await,
                None => std::future::pending().await,
            }
        };
        let nats = async {
            match &mut self.nats {
                Some(nats) => keep(nats).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = postgres => error.into(),
            error = nats => error.into(),
        }
    }

    /// Stops what is ours, NATS first: nothing is lost by it.
    ///
    /// # Errors
    /// When a server had to be killed.
    pub async fn stop(self) -> anyhow::Result<()> {
        let nats = match self.nats {
            Some(nats) => nats.stop().await,
            None => Ok(()),
        };
        if let Some(postgres) = self.postgres {
            postgres.stop().await?;
        }
        Ok(nats?)
    }
}

/// Starts NATS again each time it dies, until it only dies.
async fn keep(nats: &mut Nats) -> EmbeddedError {
    let mut in_a_row = 0;
    loop {
        let alive = Instant::now();
        let error = nats.failed().await;
        in_a_row = if alive.elapsed() < SHORT_LIFE { in_a_row + 1 } else { 1 };
        if in_a_row > SHORT_LIVES {
            return error;
        }
        tracing::warn!(%error, "the private NATS died and is started again");
        if let Err(error) = nats.restart().await {
            return error;
        }
    }
}

/// Writes a file that only we may read.
fn private_file(path: &Path, content: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content.as_bytes())
}
