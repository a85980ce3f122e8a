//! One readable line for each event.

use domain::PersonalText;
use domain::card::{CardEvent, RunResult};
use domain::environment::EnvironmentEvent;
use domain::run::{RunEvent, StepKind, Timeout};

/// Characters of a quoted text.
const QUOTE: usize = 200;

/// The first line of a text, cut.
fn quote(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    if line.chars().count() <= QUOTE {
        return line.to_owned();
    }
    line.chars().take(QUOTE - 1).chain(['…']).collect()
}

/// A commit's name as people write it.
fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// A summary with what was said.
pub fn with(summary: &str, said: &str) -> String {
    format!("{summary}: {}", quote(said))
}

/// `summary`, and what was said where everybody may read it; what is sealed is added at the moment of reading.
fn by_people(summary: &str, said: Option<&PersonalText>) -> String {
    match said {
        Some(PersonalText::Plain(said)) => with(summary, said),
        Some(PersonalText::Sealed(_)) | None => summary.to_owned(),
    }
}

/// `text`, and the explanation when there is one.
fn because(text: &str, reason: Option<impl ToString>) -> String {
    reason.map_or_else(|| text.to_owned(), |reason| with(text, &reason.to_string()))
}

pub(super) fn of_card(event: &CardEvent) -> String {
    match event {
        CardEvent::Created(created) => format!("Created in `{}`: {}", created.lane, created.title),
        CardEvent::Edited(edited) => match (&edited.title, &edited.description) {
            (Some(title), None) => format!("Title changed to: {title}"),
            (Some(title), Some(_)) => format!("Description changed, and title to: {title}"),
            (None, _) => "Description changed".to_owned(),
        },
        CardEvent::Moved(moved) => format!("Moved from `{}` to `{}`", moved.from, moved.to),
        CardEvent::Ranked(_) => "Moved within its lane".to_owned(),
        CardEvent::AgentAssigned(assigned) => match &assigned.agent {
            Some(agent) => format!("Assigned to agent {}", agent.name),
            None => "Assigned to no agent any more".to_owned(),
        },
        CardEvent::DependencyAdded(added) => format!("Waits for {}", added.on),
        CardEvent::DependencyRemoved(removed) => format!("No longer waits for {}", removed.on),
        CardEvent::Blocked(blocked) => by_people("Blocked", Some(&blocked.reason)),
        CardEvent::Unblocked(_) => "No longer blocked".to_owned(),
        CardEvent::Commented(commented) => by_people("Comment", Some(&commented.text)),
        CardEvent::RunRequested(requested) => format!("Run requested with {}", requested.task.model),
        CardEvent::RunFinished(finished) => match &finished.result {
            RunResult::Succeeded { commit, .. } => format!("Run succeeded with commit {}", short(commit.as_str())),
            RunResult::Failed { kind, reason } => because(&format!("Run failed ({})", kind.as_str()), Some(reason)),
            RunResult::TimedOut { after_seconds } => format!("Run timed out after {after_seconds} s"),
            RunResult::Cancelled { reason } => by_people("Run cancelled", reason.as_ref()),
        },
        CardEvent::Archived(_) => "Archived".to_owned(),
    }
}

pub(super) fn of_run(event: &RunEvent) -> String {
    match event {
        RunEvent::Queued(_) => "Run queued".to_owned(),
        RunEvent::Dispatched(dispatched) => {
            format!("Attempt {} dispatched to {}", dispatched.attempt, dispatched.environment)
        }
        RunEvent::Started(started) => format!("Attempt {} started", started.attempt),
        RunEvent::StepRecorded(step) => {
            let mark = if step.ok { "" } else { " (failed)" };
            format!("Step {}, {}{mark}: {}", step.number, doing(step.kind), quote(step.title.as_str()))
        }
        RunEvent::ModelCalled(call) => {
            let read = call.input_tokens.saturating_add(call.cache_read_tokens).saturating_add(call.cache_write_tokens);
            format!("Called {}: {read} tokens read, {} written, status {}", call.model, call.output_tokens, call.status)
        }
        RunEvent::AttemptLost(lost) => because(&format!("Attempt {} lost", lost.attempt), Some(&lost.reason)),
        RunEvent::Succeeded(succeeded) => {
            let files = succeeded.outcome.files_changed.len();
            let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
            format!("Pushed {} with {files} changed", short(succeeded.outcome.head_commit.as_str()))
        }
        RunEvent::Failed(failed) => because(&format!("Failed ({})", failed.kind.as_str()), Some(&failed.reason)),
        RunEvent::TimedOut(timed_out) => {
            let what = match timed_out.timeout {
                Timeout::Dispatch => "No worker took the run",
                Timeout::Start => "The attempt did not start",
                Timeout::Run => "The attempt did not end",
            };
            format!("{what} within {} s", timed_out.after_seconds)
        }
        RunEvent::Cancelled(cancelled) => by_people("Cancelled", cancelled.reason.as_ref()),
    }
}

const fn doing(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Clone => "clone",
        StepKind::Model => "model",
        StepKind::Tool => "tool",
        StepKind::Check => "check",
        StepKind::Commit => "commit",
        StepKind::Push => "push",
    }
}

pub(super) fn of_environment(event: &EnvironmentEvent) -> String {
    match event {
        EnvironmentEvent::Requested(requested) => {
            format!("Environment for attempt {} requested", requested.purpose.attempt)
        }
        EnvironmentEvent::Provisioning(_) => "Environment is being made".to_owned(),
        EnvironmentEvent::Ready(ready) if ready.confinement.is_empty() => "Environment ready".to_owned(),
        EnvironmentEvent::Ready(ready) => because("Environment ready, confined by", Some(ready.confinement.join(", "))),
        EnvironmentEvent::Stopping(stopping) => because("Environment is being stopped", Some(&stopping.reason)),
        EnvironmentEvent::Stopped(_) => "Environment stopped".to_owned(),
        EnvironmentEvent::Failed(failed) => because("Environment failed", Some(&failed.reason)),
    }
}
