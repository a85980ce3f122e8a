//! `agentworks rebuild`: builds a projection's next generation from the log while the present one serves, proves both
//! equal, and switches.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use outbox::{Log, migrate};
use projections::generations::{self, Built, Rebuilder, Step};
use projections::{MODELS, Model};
use secrecy::ExposeSecret;

use super::say;
use crate::config::Config;
use crate::roles;

/// Arguments of `agentworks rebuild`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The projection, such as `board`; `all` for every one.
    projection: String,
    /// Switch even when what was built differs from what serves; the difference is told.
    #[arg(long)]
    accept_difference: bool,
    /// Begin again where an earlier run was interrupted, instead of going on.
    #[arg(long)]
    anew: bool,
    /// Bring the generation that served before up to date, and switch back to it.
    #[arg(long, conflicts_with_all = ["accept_difference", "anew", "list", "drop_retired"])]
    rollback: bool,
    /// Only list the generations.
    #[arg(long, conflicts_with_all = ["accept_difference", "anew", "drop_retired"])]
    list: bool,
    /// Only drop the generations that served before, those of older releases included and those of the last minute excepted.
    #[arg(long, conflicts_with_all = ["accept_difference", "anew"])]
    drop_retired: bool,
}

/// How long a generation is kept in any case: a read that began in it may last so long.
const KEPT: Duration = Duration::from_secs(60);
/// How often progress is told where it cannot be told in place.
const EVERY: Duration = Duration::from_secs(5);
/// How often it is told in place.
const OFTEN: Duration = Duration::from_millis(100);
/// Cells of the bar.
const CELLS: i64 = 30;

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let chosen: Vec<&Model> =
        MODELS.iter().filter(|model| args.projection == "all" || model.name == args.projection).collect();
    if chosen.is_empty() {
        let known: Vec<_> = MODELS.iter().map(|model| model.name).collect();
        bail!("there is no projection `{}`; there are: all, {}", args.projection, known.join(", "));
    }
    let (url, _servers) = roles::database(&config).await?;
    let log = roles::log_at(&config, &url).await?;
    for model in chosen {
        one(&log, url.expose_secret(), model, &args)
            .await
            .with_context(|| format!("{} goes on as it was", model.name))?;
    }
    Ok(())
}

async fn one(log: &Log, url: &str, model: &Model, args: &Args) -> anyhow::Result<()> {
    let name = model.name;
    if args.list {
        for it in generations::list(&mut migrate::owner(url).await?, model).await? {
            say(format_args!(
                "{name} {}: {} since {} (version {} of the code)",
                it.generation, it.state, it.since, it.code
            ))?;
        }
        return Ok(());
    }
    if args.drop_retired {
        for it in generations::drop_retired(&mut migrate::owner(url).await?, model, KEPT).await? {
            say(format_args!("{name} {}: dropped", it.generation))?;
        }
        return Ok(());
    }
    let mut meter = Meter::new(name);
    let mut told = |step| meter.tell(step);
    let rebuilder = Rebuilder::new(log, url, model, &mut told).await?;
    let done = if args.rollback {
        rebuilder.roll_back().await
    } else {
        rebuilder.rebuild(args.anew, args.accept_difference).await
    };
    meter.end();
    say(format_args!("{}", said(name, &done?, args.rollback, meter.started.elapsed())))?;
    Ok(())
}

fn said(name: &str, built: &Built, back: bool, took: Duration) -> String {
    let Built { generation, before, positions, proven, difference } = built;
    let doubt = match (back, difference, proven) {
        (true, ..) => "brought up to date".to_owned(),
        (false, Some(difference), _) => format!("rebuilt, with a difference that was accepted ({difference})"),
        (false, None, true) => "rebuilt and proven equal".to_owned(),
        (false, None, false) => "rebuilt; nothing served that it could be compared with".to_owned(),
    };
    let kept = before.map(|before| format!("; generation {before} is kept")).unwrap_or_default();
    let at: Vec<String> = positions.iter().map(ToString::to_string).collect();
    format!(
        "{name}: {doubt} in {:.1} s; generation {generation} serves from position {}{kept}",
        took.as_secs_f64(),
        at.join(", ")
    )
}

/// Tells a person how far it is: in place on a terminal, line by line elsewhere.
struct Meter {
    name: &'static str,
    started: Instant,
    /// Where it began.
    from: Option<i64>,
    told: Option<Instant>,
    in_place: bool,
}

impl Meter {
    fn new(name: &'static str) -> Self {
        let in_place = std::io::stderr().is_terminal();
        Self { name, started: Instant::now(), from: None, told: None, in_place }
    }

    fn tell(&mut self, step: Step) {
        let (name, pause) = (self.name, if self.in_place { OFTEN } else { EVERY });
        let line = match step {
            Step::Apply { done, of } => {
                let from = *self.from.get_or_insert(done);
                if done < of && self.told.is_some_and(|told| told.elapsed() < pause) {
                    return;
                }
                self.told = Some(Instant::now());
                progress(done, of, done - from, self.started.elapsed())
            }
            Step::Index => "making indexes".to_owned(),
            Step::Prove => "comparing with what serves".to_owned(),
            Step::Switch => "switching".to_owned(),
        };
        // Nobody may be looking.
        let _ = if self.in_place {
            write!(std::io::stderr(), "\r\x1b[K{name}: {line}")
        } else {
            writeln!(std::io::stderr(), "{name}: {line}")
        };
    }

    fn end(&self) {
        if self.in_place {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// A bar, events a second, and about how long it will still take.
fn progress(done: i64, of: i64, here: i64, took: Duration) -> String {
    let filled = done.saturating_mul(CELLS) / of.max(1);
    let bar: String = (0..CELLS).map(|cell| if cell < filled { '█' } else { '░' }).collect();
    let millis = i64::try_from(took.as_millis()).unwrap_or(i64::MAX).max(1);
    let rate = here.saturating_mul(1_000) / millis;
    let left = if rate > 0 { format!(", about {} s left", (of - done).max(0) / rate) } else { String::new() };
    format!("{bar} {}% {done}/{of} events, {rate}/s{left}", done.saturating_mul(100) / of.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_shows_a_share_a_rate_and_an_estimate() {
        let half = progress(500, 1_000, 400, Duration::from_secs(4));
        assert!(half.starts_with("███████████████░"), "{half}");
        assert!(half.ends_with("50% 500/1000 events, 100/s, about 5 s left"), "{half}");
        assert!(progress(0, 0, 0, Duration::ZERO).contains("0/0"));
    }
}
