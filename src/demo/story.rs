//! The story that the demo tells: what a person would do, in order.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use domain::TenantId;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use super::source::{Source, Vendor};
use super::{Client, Screen};
use crate::config::Config;
use crate::tokens;

/// A run that takes longer is given up: its own bound is shorter.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

const BOARD: &str = "subscription($project: ID!) { boardChanged(project: $project) { cursor snapshot { lanes { name cards { id title } } } cards { id title lane } } }";
const PROGRESS: &str = "subscription($run: ID!, $position: Cursor) { runProgress(run: $run, waitFor: $position) { cursor ended run { state attempt reason } newSteps { number kind title ok durationMs } } }";
const RUN: &str = "query($run: ID!) { run(id: $run) { state reason branch outcome { commit workCommit baseCommit contextPath summary filesChanged } } }";
const HISTORY: &str =
    "query($card: ID!) { cardHistory(card: $card, first: 100) { edges { node { occurredAt actor summary } } } }";
const USAGE: &str = "query($project: ID!) { usage(project: $project) { totals { modelCalls tokens { input output } runs { succeeded } runMs } } }";

/// What the story is about, once it exists.
struct Scene {
    tenant: TenantId,
    owner: Client,
    project: String,
    cards: Vec<String>,
}

pub(super) async fn tell(
    config: &Config,
    source: &Source,
    vendor: &Vendor,
    operator: &Client,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let scene = prepare(config, source, vendor, operator, screen).await?;
    let mut board = scene.owner.subscribe(BOARD, json!({ "project": scene.project })).await?;
    show_board(&scene, screen).await?;
    let mut last = None;
    for (card, demo) in scene.cards.iter().zip(&source.cards) {
        screen.heading(&format!("Run: {}", demo.title));
        let (run, position) = press_run(&scene, card, screen).await?;
        let outcome = watch(&scene, (&run, &position), &mut board, screen).await?;
        last = Some(accept(&scene, source, card, &outcome, screen).await?);
    }
    report(&scene, source, last, screen).await?;
    screen.heading(&format!("Done in {:.1} s.", started.elapsed().as_secs_f64()));
    look_further(config, &scene, screen)
}

fn id(answer: &Value) -> anyhow::Result<String> {
    answer["id"].as_str().map(str::to_owned).with_context(|| format!("no id in {answer}"))
}

/// A number as people read it; large ones come as strings.
fn plain(number: &Value) -> String {
    number.as_str().map_or_else(|| number.to_string(), str::to_owned)
}

async fn prepare(
    config: &Config,
    source: &Source,
    vendor: &Vendor,
    operator: &Client,
    screen: &mut Screen,
) -> anyhow::Result<Scene> {
    screen.line(&format!("Repository: {}", source.url));
    screen.line(&format!("Model: {}", vendor.describe()));
    screen.now("creating tenant, workspace, provider, project and cards");
    let tenant = tokens::demo_tenant(operator).await?;
    let owner = operator.with_token(&tokens::demo_owner(config, tenant)?);
    let workspace = id(&owner.post("/v1/workspaces", json!({ "name": "Demo" })).await?)?;
    let provider = id(&owner.post("/v1/providers", vendor.registration()).await?)?;
    let mut repository = json!({ "url": source.url });
    if let Some(credential) = &source.credential {
        repository["credential"] = json!(credential);
    }
    if let Some(branch) = &source.branch {
        repository["default_branch"] = json!(branch);
    }
    let project = json!({
        "workspace": workspace, "name": "Demo", "repository": repository, "model": { "provider": provider },
    });
    let project = id(&owner.post("/v1/projects", project).await?)?;
    let mut cards: Vec<String> = Vec::new();
    for demo in &source.cards {
        let body = json!({ "title": demo.title, "description": demo.description, "lane": "ready" });
        let card = id(&owner.post(&format!("/v1/projects/{project}/cards"), body).await?)?;
        if let Some(before) = demo.depends_on.and_then(|place| cards.get(place)) {
            let path = format!("/v1/projects/{project}/cards/{card}/dependencies/{before}");
            owner.command(http::Method::PUT, &path, json!({})).await?;
        }
        cards.push(card);
    }
    screen.now("");
    screen.done(&format!("tenant {tenant}, project {project}, {} cards", cards.len()));
    Ok(Scene { tenant, owner, project, cards })
}

/// Presses Run; the run, and the position from which on it can be read.
async fn press_run(scene: &Scene, card: &str, screen: &mut Screen) -> anyhow::Result<(String, Value)> {
    let path = format!("/v1/projects/{}/cards/{card}/run", scene.project);
    let answer = scene.owner.post(&path, json!({})).await?;
    let run = answer["run"].as_str().context("the answer names no run")?.to_owned();
    screen.detail(&format!("{run} of {card}"));
    Ok((run, answer["position"].clone()))
}

/// Shows what happens until the run has ended.
async fn watch(
    scene: &Scene,
    (run, position): (&str, &Value),
    board: &mut (impl StreamExt<Item = Result<Value, super::client::ClientError>> + Unpin),
    screen: &mut Screen,
) -> anyhow::Result<Value> {
    let mut progress = scene.owner.subscribe(PROGRESS, json!({ "run": run, "position": position })).await?;
    let mut ticks = interval(Duration::from_millis(120));
    screen.now("waiting for an environment");
    let follow = async {
        let mut ended = false;
        while !ended {
            tokio::select! {
                frame = progress.next() => {
                    let frame = frame.context("the progress of the run ended without its end")??;
                    ended = show_progress(&frame["runProgress"], screen);
                }
                frame = board.next() => {
                    let frame = frame.context("the board's subscription ended")??;
                    show_moves(&frame["boardChanged"], screen);
                }
                _ = ticks.tick() => screen.tick(),
            }
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, follow).await.context("the run did not end in time")??;
    screen.now("");
    let outcome = scene.owner.query(RUN, json!({ "run": run })).await?["run"].clone();
    if outcome["state"].as_str().map(str::to_lowercase).as_deref() != Some("succeeded") {
        let reason = outcome["reason"].as_str().unwrap_or("no reason is known");
        screen.failed(&format!("the run ended {}: {reason}", outcome["state"]));
        bail!("{run} did not succeed: {reason}");
    }
    Ok(outcome)
}

/// Shows a frame; whether the run has ended.
fn show_progress(frame: &Value, screen: &mut Screen) -> bool {
    for step in frame["newSteps"].as_array().into_iter().flatten() {
        let title = step["title"].as_str().unwrap_or_default();
        let line = format!("{:>2}  {title}  ({} ms)", step["number"], plain(&step["durationMs"]));
        if step["ok"] == true {
            screen.detail(&line);
        } else {
            screen.failed(&line);
        }
        screen.now(&format!("working: {title}"));
    }
    if frame["newSteps"].as_array().is_none_or(Vec::is_empty) {
        let state = frame["run"]["state"].as_str().unwrap_or_default().to_lowercase();
        screen.now(&format!("run is {state}"));
    }
    frame["ended"] == true
}

fn show_moves(frame: &Value, screen: &mut Screen) {
    for card in frame["cards"].as_array().into_iter().flatten() {
        let (title, lane) = (card["title"].as_str().unwrap_or_default(), card["lane"].as_str().unwrap_or_default());
        screen.line(&format!("  board: “{title}” is in {lane}"));
    }
}

/// Looks at the work as a person would, and accepts it.
async fn accept(
    scene: &Scene,
    source: &Source,
    card: &str,
    outcome: &Value,
    screen: &mut Screen,
) -> anyhow::Result<Value> {
    let branch = outcome["branch"].as_str().context("the run names no branch")?;
    let commit = outcome["outcome"]["commit"].as_str().context("the run names no commit")?;
    source.verify(branch, commit).await?;
    screen.done(&format!("git finds {} on {branch}", &commit[..commit.len().min(12)]));
    let path = format!("/v1/projects/{}/cards/{card}/move", scene.project);
    scene.owner.post(&path, json!({ "lane": "done" })).await?;
    Ok(outcome.clone())
}

async fn show_board(scene: &Scene, screen: &mut Screen) -> anyhow::Result<()> {
    let query = "query($project: ID!) { board(project: $project) { lanes { name cards { title } } } }";
    let board = scene.owner.query(query, json!({ "project": scene.project })).await?;
    for lane in board["board"]["lanes"].as_array().into_iter().flatten() {
        let titles: Vec<_> =
            lane["cards"].as_array().into_iter().flatten().filter_map(|card| card["title"].as_str()).collect();
        screen.line(&format!("  {:<12} {}", lane["name"].as_str().unwrap_or_default(), titles.join(" · ")));
    }
    Ok(())
}

async fn report(scene: &Scene, source: &Source, last: Option<Value>, screen: &mut Screen) -> anyhow::Result<()> {
    let last = last.context("no card was run")?;
    screen.heading("The board");
    show_board(scene, screen).await?;
    screen.heading("The last branch and commit");
    screen.line(&format!(
        "  {} {}",
        last["branch"].as_str().unwrap_or_default(),
        last["outcome"]["commit"].as_str().unwrap_or_default()
    ));
    screen.line(&format!(
        "  the record of the run is beside the work, in {}",
        last["outcome"]["contextPath"].as_str().unwrap_or_default()
    ));
    if let (Some(base), Some(work)) = (last["outcome"]["baseCommit"].as_str(), last["outcome"]["workCommit"].as_str())
        && let Some(diff) = source.diff(base, work).await?
    {
        for line in diff.lines().take(120) {
            screen.line(&format!("  {line}"));
        }
        if diff.lines().count() > 120 {
            screen.detail("… (cut)");
        }
    }
    let card = scene.cards.last().context("there are no cards")?;
    screen.heading("The last card's history");
    let history = scene.owner.query(HISTORY, json!({ "card": card })).await?;
    for edge in history["cardHistory"]["edges"].as_array().into_iter().flatten() {
        let text = |key: &str| edge["node"][key].as_str().unwrap_or_default();
        let time = text("occurredAt").get(11..19).unwrap_or_default();
        screen.line(&format!("  {time}  {}", text("summary")));
    }
    screen.heading("Usage");
    let usage = &scene.owner.query(USAGE, json!({ "project": scene.project })).await?["usage"]["totals"];
    screen.line(&format!(
        "  {} runs, {} model calls, {} tokens in, {} tokens out",
        plain(&usage["runs"]["succeeded"]),
        plain(&usage["modelCalls"]),
        plain(&usage["tokens"]["input"]),
        plain(&usage["tokens"]["output"]),
    ));
    Ok(())
}

fn look_further(config: &Config, scene: &Scene, screen: &mut Screen) -> anyhow::Result<()> {
    let base = scene.owner.base();
    screen.line("Look further with `./dev up`, which serves the same data:");
    screen.line(&format!("  {base}/graphiql     explore: the board, the history, usage"));
    screen.line(&format!("  {base}/openapi.json the commands"));
    screen.line(&format!("  token: {}", tokens::demo_owner(config, scene.tenant)?));
    Ok(())
}
