//! The work of an attempt: EXPLORE (look, clone) → PLAN (say what is to be done) → SUMMON (the agent works) → COMPLETE
//! (commit, push).

use std::time::{Duration, Instant};

use schemas::context::{self, Context, Tokens};
use schemas::pod::{Branch, CommitSha, FailureKind, Job, StepKind, TaskOutcome, Text};
use time::OffsetDateTime;

use crate::agent::{Agent, Work};
use crate::boot::Told;
use crate::clock;
use crate::control_plane::ControlPlane;
use crate::conversation::Conversation;
use crate::failure::Stop;
use crate::git::{Commits, GitError, Message, Repository};
use crate::journal::{Entry, Journal, Phase};
use crate::model::Model;
use crate::process::Surroundings;
use crate::text::{head, one_line, sha256};
use crate::tools::Toolbox;

/// Bytes of a summary.
const SUMMARY_BYTES: usize = 16 * 1024;
/// Branches that are named when the wanted one is missing.
const NAMED_BRANCHES: usize = 5;

/// An attempt that has its job and its folders.
pub(crate) struct Attempt<'a> {
    pub(crate) told: &'a Told,
    pub(crate) job: &'a Job,
    pub(crate) control_plane: &'a ControlPlane,
    pub(crate) repository: Repository,
    /// When the wall clock runs out.
    pub(crate) deadline: tokio::time::Instant,
}

/// What the remote has.
enum Found {
    /// The commit to start from.
    Base(CommitSha),
    /// What an earlier attempt pushed.
    Earlier(Box<TaskOutcome>),
}

impl Attempt<'_> {
    /// Does the work, or finds it done.
    pub(crate) async fn work(&self, journal: &mut Journal) -> Result<TaskOutcome, Stop> {
        let began = clock::now();
        journal.phase(Phase::Explore)?;
        let base = match self.explore(journal).await? {
            Found::Base(base) => base,
            Found::Earlier(outcome) => return Ok(*outcome),
        };
        journal.phase(Phase::Plan)?;
        let surroundings = Surroundings { path: self.told.path.clone(), home: self.told.workspace.join("home") };
        let limit = Duration::from_secs(u64::from(self.job.limits.command_timeout_seconds));
        let toolbox = Toolbox::new(&self.repository, self.job.tools.clone(), surroundings, limit)?;
        let conversation = Conversation::open(self.job, toolbox.offered());
        let model = Model::new(self.job, self.control_plane)?;
        journal.phase(Phase::Summon)?;
        let agent = Agent::new(self.job, (&self.repository, &base), &model, toolbox, journal, self.deadline);
        let work = agent.run(conversation).await?;
        journal.phase(Phase::Complete)?;
        self.complete(journal, &base, work, began).await
    }

    /// Looks what is there, and clones.
    #[tracing::instrument(name = "clone", skip_all)]
    async fn explore(&self, journal: &mut Journal) -> Result<Found, Stop> {
        let started = Instant::now();
        let found = self.look_and_clone().await;
        let (title, detail, ok) = match &found {
            Ok(Found::Base(base)) => (format!("cloned `{}` at {base}", self.job.base_branch), String::new(), true),
            Ok(Found::Earlier(outcome)) => {
                let title = format!("found the work of attempt {} on the branch", outcome.pushed_by_attempt);
                (title, format!("{} at {}", outcome.branch, outcome.head_commit), true)
            }
            Err(stop) => ("the repository could not be cloned".to_owned(), stop.to_string(), false),
        };
        journal.record(Entry { kind: StepKind::Clone, title, detail: &detail, sha256: None, ok, started })?;
        found
    }

    async fn look_and_clone(&self) -> Result<Found, Stop> {
        let clone_failed = |reason: String| Stop::failed(FailureKind::CloneFailed, reason);
        let unreachable = |error: GitError| clone_failed(format!("the repository cannot be reached: {error}"));
        let (base_branch, branch) = (self.job.base_branch.as_str(), self.job.branch.as_str());
        let heads = self.repository.heads(&[base_branch, branch]).await.map_err(unreachable)?;
        if let Some(head) = heads.get(branch) {
            return self.earlier(head).await.map(|outcome| Found::Earlier(Box::new(outcome)));
        }
        let Some(base) = heads.get(base_branch) else {
            let all = self.repository.heads(&[]).await.map_err(unreachable)?;
            return Err(clone_failed(missing(base_branch, &all.into_keys().collect::<Vec<_>>())));
        };
        self.repository.clone_branch(base_branch, base).await?;
        Ok(Found::Base(base.clone()))
    }

    /// The outcome of the attempt that pushed the branch, from the context that it left there.
    async fn earlier(&self, head: &CommitSha) -> Result<TaskOutcome, Stop> {
        let path = context::path(self.job.card, self.job.run);
        let foreign = |why: String| {
            let reason = format!(
                "the branch `{}` is there already, but not with the work of this run: {why}. Delete or rename it",
                self.job.branch
            );
            Stop::failed(FailureKind::PushRejected, reason)
        };
        let text = self
            .repository
            .remote_file(head, &self.job.branch, &path)
            .await
            .map_err(|error| foreign(format!("`{path}` cannot be read ({error})")))?;
        let context: Context =
            serde_json::from_str(&text).map_err(|error| foreign(format!("`{path}` makes no sense ({error})")))?;
        if context.run != self.job.run || context.card != self.job.card {
            return Err(foreign(format!("`{path}` is about another run")));
        }
        Ok(outcome(&context, head.clone(), path, sha256(text.as_bytes())))
    }

    /// Commits the work and its context, and pushes them.
    async fn complete(
        &self,
        journal: &mut Journal,
        base: &CommitSha,
        work: Work,
        began: OffsetDateTime,
    ) -> Result<TaskOutcome, Stop> {
        let started = Instant::now();
        let defect = |error: GitError| Stop::internal(format!("the work could not be committed: {error}"));
        let summary = self.control_plane.token().redact(&work.summary).replace('\0', "\u{fffd}");
        let summary = head(&summary, SUMMARY_BYTES).to_owned();
        let message = self.message(one_line(&self.job.title, 200), summary.clone());
        let mut commits = self.repository.commit(&work.staged, base, &message).await.map_err(defect)?;
        let work_commit = commits.head().clone();
        let count = work.staged.changed.len();
        let detail = work.staged.changed.join("\n");
        let files = if count == 1 { "file" } else { "files" };
        let title = format!("committed {count} {files} as {work_commit}");
        let entry = Entry { kind: StepKind::Commit, title, detail: &detail, sha256: None, ok: true, started };
        journal.record(entry)?;
        let context = self.context(journal, work, (base, work_commit), &summary, began)?;
        let path = context::path(self.job.card, self.job.run);
        let mut bytes = serde_json::to_vec_pretty(&context).map_err(std::io::Error::from)?;
        bytes.push(b'\n');
        let message = self.message(format!("Context of {}", self.job.run), String::new());
        self.repository.commit_file(&mut commits, &path, &bytes, &message).await.map_err(defect)?;
        self.push(journal, &commits).await?;
        Ok(outcome(&context, commits.head().clone(), path, sha256(&bytes)))
    }

    #[tracing::instrument(name = "push", skip_all)]
    async fn push(&self, journal: &mut Journal, commits: &Commits) -> Result<(), Stop> {
        let started = Instant::now();
        let pushed = self.repository.push(commits, &self.job.branch).await;
        let (title, detail) = match &pushed {
            Ok(()) => (format!("pushed `{}`", self.job.branch), commits.head().to_string()),
            Err(stop) => (format!("could not push `{}`", self.job.branch), stop.to_string()),
        };
        let ok = pushed.is_ok();
        journal.record(Entry { kind: StepKind::Push, title, detail: &detail, sha256: None, ok, started })?;
        pushed
    }

    fn message(&self, title: String, body: String) -> Message {
        let trailers = vec![format!("AgentWorks-Card: {}", self.job.card), format!("AgentWorks-Run: {}", self.job.run)];
        Message { title, body, trailers }
    }

    fn context(
        &self,
        journal: &Journal,
        work: Work,
        (base, work_commit): (&CommitSha, CommitSha),
        summary: &str,
        began: OffsetDateTime,
    ) -> Result<Context, Stop> {
        let invalid = |error: &dyn std::fmt::Display| Stop::internal(format!("the job does not fit: {error}"));
        let job: &Job = self.job;
        let tokens: Tokens = work.tokens;
        Ok(Context {
            version: context::VERSION,
            project: job.project,
            card: job.card,
            run: job.run,
            attempt: job.attempt,
            title: job.title.clone(),
            model: context::Model { protocol: job.protocol, name: job.model.clone() },
            started_at: began,
            finished_at: clock::now(),
            base_branch: Branch::new(&job.base_branch).map_err(|error| invalid(&error))?,
            base_commit: base.clone(),
            branch: Branch::new(&job.branch).map_err(|error| invalid(&error))?,
            work_commit,
            summary: Text::new("summary", summary).map_err(|error| invalid(&error))?,
            files_changed: work.staged.changed,
            steps: journal.steps().to_vec(),
            tokens,
            tests: work.tests,
        })
    }
}

/// What a context says came of its attempt.
fn outcome(context: &Context, head: CommitSha, context_path: String, context_sha256: String) -> TaskOutcome {
    TaskOutcome {
        branch: context.branch.clone(),
        base_commit: context.base_commit.clone(),
        work_commit: context.work_commit.clone(),
        head_commit: head,
        summary: context.summary.clone(),
        files_changed: context.files_changed.clone(),
        context_path,
        context_sha256,
        pushed_by_attempt: context.attempt,
    }
}

/// Why there is nothing to start from.
fn missing(branch: &str, all: &[String]) -> String {
    if all.is_empty() {
        return format!("the repository is empty: push a first commit to `{branch}`, then run the card again");
    }
    let some: Vec<String> = all.iter().take(NAMED_BRANCHES).map(|name| format!("`{name}`")).collect();
    let more = if all.len() > NAMED_BRANCHES { ", …" } else { "" };
    format!(
        "the repository has no branch `{branch}`; it has {}{more}. Set the project's default branch to one of them",
        some.join(", ")
    )
}
