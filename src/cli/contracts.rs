//! `agentworks contracts`: writes the generated contracts, or checks that they are fresh and keep what was released.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use schemas::contracts::compat;

/// Arguments of `agentworks contracts`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder.
    #[arg(default_value = "schemas/contracts")]
    folder: PathBuf,
    /// Change nothing; fail when a file is stale, or breaks what was released.
    #[arg(long)]
    check: bool,
    /// Make the contracts the released ones, which later ones are held against.
    #[arg(long, conflicts_with = "check")]
    release: bool,
}

/// The folder with the contracts of the last release, beside that of the present ones.
const RELEASED: &str = "../released";
/// The pods of a release speak to the control plane of the same release only.
const UNRELEASED: &str = "pod/";
/// Compared by the crate that makes it.
const SDL: &str = "schema.graphql";

/// Every generated contract: its path below the folder, and its content.
fn all() -> anyhow::Result<Vec<(String, String)>> {
    let mut files = schemas::contracts::all();
    let mut openapi = serde_json::to_value(crate::roles::openapi())?;
    // Whether a map keeps its order depends on which crates were built together; the file must not.
    openapi.sort_all_objects();
    files.push(("openapi.json".into(), serde_json::to_string_pretty(&openapi)? + "\n"));
    files.push((SDL.into(), query_api::sdl()));
    Ok(files)
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for (path, content) in all()? {
        let file = args.folder.join(&path);
        if std::fs::read_to_string(&file).is_ok_and(|present| present == content) {
            continue;
        }
        if args.check || args.release {
            stale.push(path);
        } else {
            write(&file, &content)?;
        }
    }
    if !stale.is_empty() {
        bail!("stale contracts: {}; run `./dev contracts`", stale.join(", "));
    }
    if args.check || args.release {
        let broken = breaks(&args.folder)?;
        if !broken.is_empty() {
            bail!("these contracts break what was released:\n  {}", broken.join("\n  "));
        }
    }
    if args.release { release(&args.folder) } else { Ok(()) }
}

/// How the contracts in `folder` break those that were released.
fn breaks(folder: &Path) -> anyhow::Result<Vec<String>> {
    let released = folder.join(RELEASED);
    let mut found = Vec::new();
    for path in files(&released)? {
        let old = std::fs::read_to_string(released.join(&path)).with_context(|| format!("cannot read {path}"))?;
        let new = std::fs::read_to_string(folder.join(&path)).ok();
        found.extend(match &new {
            Some(new) if path == SDL => query_api::sdl_breaks(&old, new),
            new => compat::breaks(&path, &old, new.as_deref()),
        });
    }
    Ok(found)
}

fn release(folder: &Path) -> anyhow::Result<()> {
    for path in files(folder)?.into_iter().filter(|path| !path.starts_with(UNRELEASED)) {
        let content = std::fs::read_to_string(folder.join(&path)).with_context(|| format!("cannot read {path}"))?;
        write(&folder.join(RELEASED).join(&path), &content)?;
    }
    Ok(())
}

/// The paths of all files below a folder, sorted; none when there is no such folder.
fn files(folder: &Path) -> anyhow::Result<Vec<String>> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = left.pop().filter(|next| next.is_dir()) {
        for entry in next.read_dir().with_context(|| format!("cannot read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(folder)?.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn write(file: &Path, content: &str) -> anyhow::Result<()> {
    let folder = file.parent().context("a contract has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    std::fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}
