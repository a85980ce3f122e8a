//! The keys that sign checkpoints, and the notary that does it.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use access::key_file::{self, KeyFileError};
use anyhow::{Context as _, anyhow};
use outbox::evidence::{Notary, NotarySettings};
use outbox::{Log, Place};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use schemas::evidence::checkpoint::{Keys, open_statement};
use schemas::evidence::note::PublicKey;

use crate::config::Config;

/// The keys of the installation; made when there are none. Their public halves are written beside them.
///
/// # Errors
/// When the file cannot be read or made, or holds something else.
pub fn keys(config: &Config) -> anyhow::Result<Keys> {
    let path = config.evidence_key_file();
    let bytes = key_file::load_or_create::<KeyError>(&path, || Ok(new_line()?.into_bytes()))?;
    let keys = parse(&path, &bytes)?;
    publish(config, &keys)?;
    Ok(keys)
}

/// Puts a new key before the others: it signs from the next start on, and the older ones stay known.
///
/// # Errors
/// When the file cannot be read or written.
pub fn rotate(config: &Config) -> anyhow::Result<Keys> {
    keys(config)?;
    let path = config.evidence_key_file();
    let read = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = new_line()? + &read;
    replace(&path, &text, 0o600)?;
    let keys = parse(&path, text.as_bytes())?;
    publish(config, &keys)?;
    Ok(keys)
}

/// The public keys that this machine knows to be the installation's; none when it has none.
///
/// # Errors
/// When the file is there and makes no sense.
pub fn known(config: &Config) -> anyhow::Result<Vec<PublicKey>> {
    let path = public_file(config);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let (keys, _) = open_statement(&text, &[]).with_context(|| path.display().to_string())?;
            Ok(keys)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(anyhow!(error).context(path.display().to_string())),
    }
}

/// The notary that the configuration describes.
///
/// # Errors
/// When the keys or a place are not usable.
pub fn notary(config: &Config, log: Log) -> anyhow::Result<Notary> {
    let keys = keys(config).context("the keys of the evidence are not usable")?;
    let options = config.store_options();
    let settings = NotarySettings {
        installation: config.evidence.name.clone(),
        interval: config.evidence.interval,
        events: config.evidence.max_events,
        places: config
            .evidence
            .publish
            .iter()
            .map(|url| Place::new(url, &options))
            .collect::<Result<_, _>>()
            .context("evidence.publish")?,
    };
    Ok(Notary::new(log, Arc::new(keys), settings))
}

fn public_file(config: &Config) -> PathBuf {
    config.evidence_key_file().with_extension("pub")
}

/// Writes the public keys, when others stand there or none.
fn publish(config: &Config, keys: &Keys) -> anyhow::Result<()> {
    let (path, text) = (public_file(config), keys.statement(&config.evidence.name).to_string());
    if std::fs::read_to_string(&path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    replace(&path, &text, 0o644)
}

fn parse(path: &Path, bytes: &[u8]) -> anyhow::Result<Keys> {
    let text = std::str::from_utf8(bytes).with_context(|| path.display().to_string())?;
    Keys::parse(text).with_context(|| path.display().to_string())
}

/// Puts a file in another's place, whole.
fn replace(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn new_line() -> Result<String, KeyError> {
    let mut seed = [0; 32];
    OsRng.try_fill_bytes(&mut seed).map_err(|_| KeyError::Random)?;
    Ok(Keys::line(&seed))
}

/// Why there is no key file.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error(transparent)]
    File(#[from] KeyFileError),
    #[error("the system gave no random numbers")]
    Random,
}
