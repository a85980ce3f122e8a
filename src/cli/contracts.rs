//! `agentworks contracts`: writes the generated contracts, or says which are stale.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Arguments of `agentworks contracts`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder.
    #[arg(default_value = "schemas/contracts")]
    folder: PathBuf,
    /// Change nothing; fail when a file is stale.
    #[arg(long)]
    check: bool,
}

/// Every generated contract: its path below the folder, and its content.
fn all() -> anyhow::Result<Vec<(String, String)>> {
    let mut files = schemas::contracts::all();
    let mut openapi = serde_json::to_value(command_api::openapi())?;
    // Whether a map keeps its order depends on which crates were built together; the file must not.
    openapi.sort_all_objects();
    files.push(("openapi.json".into(), serde_json::to_string_pretty(&openapi)? + "\n"));
    files.push(("schema.graphql".into(), query_api::sdl()));
    Ok(files)
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for (path, content) in all()? {
        let file = args.folder.join(&path);
        if std::fs::read_to_string(&file).is_ok_and(|present| present == content) {
            continue;
        }
        if args.check {
            stale.push(path);
        } else {
            write(&file, &content)?;
        }
    }
    if stale.is_empty() { Ok(()) } else { bail!("stale contracts: {}; run `./dev contracts`", stale.join(", ")) }
}

fn write(file: &Path, content: &str) -> anyhow::Result<()> {
    let folder = file.parent().context("a contract has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    std::fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}
