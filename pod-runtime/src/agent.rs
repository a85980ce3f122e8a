//! The agent loop: the model asks for tools and gets their answers until it finishes.
//!
//! Guarantees: at most [`Limits::max_steps`](schemas::pod::Limits) model calls; every call and every tool is a step of the
//! journal before the next is made; the work that is handed on is what the agent left when it finished, and has passed the
//! project's tests when there are any.

use std::time::Instant;

use genai::chat::ToolCall;
use schemas::context::{Tests, Tokens};
use schemas::pod::{CommitSha, FailureKind, Job, StepKind};
use serde_json::Value;

use crate::conversation::Conversation;
use crate::failure::Stop;
use crate::git::{Repository, Staged};
use crate::journal::{Entry, Journal};
use crate::model::{Answer, Model};
use crate::text::{one_line, tail};
use crate::tools::{FINISH, Finish, ToolResult, Toolbox, parse};

/// How often the project's tests may fail before the run does.
const CHECKS: u32 = 3;
/// How often in a row the model may answer without calling a tool.
const SILENT_TURNS: u32 = 3;
/// Bytes of failing tests' output that the model and the report get.
const CHECK_BYTES: usize = 16 * 1024;

/// What the agent hands on.
pub(crate) struct Work {
    pub(crate) staged: Staged,
    pub(crate) summary: String,
    pub(crate) tests: Option<Tests>,
    pub(crate) tokens: Tokens,
}

/// The loop's surroundings and what it has counted.
pub(crate) struct Agent<'a> {
    pub(crate) job: &'a Job,
    pub(crate) repository: &'a Repository,
    pub(crate) base: &'a CommitSha,
    pub(crate) model: &'a Model,
    pub(crate) toolbox: Toolbox<'a>,
    pub(crate) journal: &'a mut Journal,
    pub(crate) deadline: tokio::time::Instant,
    tokens: Tokens,
    checks: u32,
    /// The failure to tell when the agent has no steps left, after its tests failed.
    failing: Option<Stop>,
}

/// How the agent's call of `finish` is taken.
enum Verdict {
    Accepted(Box<Work>),
    /// The agent is told, and goes on.
    NotYet(ToolResult),
}

impl<'a> Agent<'a> {
    pub(crate) fn new(
        job: &'a Job,
        (repository, base): (&'a Repository, &'a CommitSha),
        model: &'a Model,
        toolbox: Toolbox<'a>,
        journal: &'a mut Journal,
        deadline: tokio::time::Instant,
    ) -> Self {
        let tokens = Tokens::default();
        Self { job, repository, base, model, toolbox, journal, deadline, tokens, checks: 0, failing: None }
    }

    /// Works until the agent has finished.
    ///
    /// # Errors
    /// Why there is no work to hand on.
    pub(crate) async fn run(mut self, mut conversation: Conversation) -> Result<Work, Stop> {
        let mut silent = 0;
        for _ in 0..self.job.limits.max_steps {
            conversation.shorten();
            let answer = self.ask(&conversation).await?;
            let calls: Vec<ToolCall> = answer.content.tool_calls().into_iter().cloned().collect();
            let words = answer.content.joined_texts().unwrap_or_default();
            conversation.answered(answer.content);
            if calls.is_empty() {
                silent += 1;
                if silent == SILENT_TURNS {
                    let words = one_line(&words, 500);
                    let reason = format!("the agent stopped without saying whether the task is done. It said: {words}");
                    // What the project's tests said last tells more than that it gave up on them.
                    return Err(self.failing.unwrap_or_else(|| Stop::failed(FailureKind::GaveUp, reason)));
                }
                conversation.say(if answer.cut {
                    "Your answer was cut off because it was too long. Go on."
                } else {
                    NUDGE
                });
                continue;
            }
            silent = 0;
            let mut results = Vec::new();
            let mut finished = false;
            for call in calls {
                let result = if finished {
                    ToolResult::error("not run, because it came after `finish`")
                } else if call.fn_name == FINISH {
                    finished = true;
                    match self.finish(&call.fn_arguments).await? {
                        Verdict::Accepted(work) => return Ok(*work),
                        Verdict::NotYet(result) => result,
                    }
                } else {
                    self.call(&call).await?
                };
                results.push((call, result));
            }
            conversation.answer_calls(&results);
        }
        Err(self.failing.unwrap_or_else(|| {
            let reason = format!("the agent used up its {} steps before it had finished", self.job.limits.max_steps);
            Stop::failed(FailureKind::StepLimit, reason)
        }))
    }

    #[tracing::instrument(name = "model", skip_all)]
    async fn ask(&mut self, conversation: &Conversation) -> Result<Answer, Stop> {
        let started = Instant::now();
        let asked = self.model.ask(&conversation.request(), self.deadline).await;
        let entry =
            |title: String, detail, ok| Entry { kind: StepKind::Model, title, detail, sha256: None, ok, started };
        match asked {
            Ok(answer) => {
                self.tokens.model_calls += 1;
                self.tokens.input += answer.tokens.input;
                self.tokens.cached_input += answer.tokens.cached_input;
                self.tokens.output += answer.tokens.output;
                let words = answer.content.joined_texts().unwrap_or_default();
                let names: Vec<&str> = answer.content.tool_calls().iter().map(|call| call.fn_name.as_str()).collect();
                let what = if names.is_empty() { "words only".to_owned() } else { names.join(", ") };
                let cut = if answer.cut { ", cut off" } else { "" };
                let title = format!(
                    "{}: {what} ({} tokens in, {} out{cut})",
                    self.job.model, answer.tokens.input, answer.tokens.output
                );
                self.journal.record(entry(title, &words, true))?;
                Ok(answer)
            }
            Err(stop) => {
                let detail = stop.to_string();
                self.journal.record(entry(format!("{}: no answer", self.job.model), &detail, false))?;
                Err(stop)
            }
        }
    }

    #[tracing::instrument(name = "tool", skip_all, fields(tool = call.fn_name))]
    async fn call(&mut self, call: &ToolCall) -> Result<ToolResult, Stop> {
        let started = Instant::now();
        let called = self.toolbox.call(&call.fn_name, &call.fn_arguments).await;
        let (detail, sha256, ok) = match &called {
            Ok(result) => (result.text.as_str(), Some(result.sha256.clone()), result.ok),
            Err(reason) => (reason.as_str(), None, false),
        };
        let title = title_of(call);
        self.journal.record(Entry { kind: StepKind::Tool, title, detail, sha256, ok, started })?;
        called.map_err(|reason| Stop::failed(FailureKind::ToolRefused, reason))
    }

    /// Takes down the work, and lets the project's tests judge it.
    async fn finish(&mut self, input: &Value) -> Result<Verdict, Stop> {
        let finish: Finish = match parse(FINISH, input) {
            Ok(finish) => finish,
            Err(error) => return Ok(Verdict::NotYet(ToolResult::error(&error.to_string()))),
        };
        let summary = finish.summary.trim().to_owned();
        if !finish.success {
            let summary = if summary.is_empty() { "it gave no reason" } else { &summary };
            return Err(Stop::failed(FailureKind::GaveUp, format!("the agent gave up: {summary}")));
        }
        let staged = self.repository.stage(self.base, self.toolbox.written()).await.map_err(|error| {
            Stop::internal(format!("the agent's work could not be taken down (did it break its Git folder?): {error}"))
        })?;
        if staged.changed.is_empty() {
            let said = one_line(&summary, 1_000);
            let reason = format!("the agent finished without changing anything. It said: {said}");
            return Err(Stop::failed(FailureKind::NothingChanged, reason));
        }
        let tests = match &self.job.test_command {
            None => None,
            Some(command) => match self.check(command).await? {
                Ok(tests) => Some(tests),
                Err(told) => return Ok(Verdict::NotYet(told)),
            },
        };
        Ok(Verdict::Accepted(Box::new(Work { staged, summary, tests, tokens: self.tokens })))
    }

    /// Runs the project's tests: they passed, or what the agent is told.
    #[tracing::instrument(name = "check", skip_all)]
    async fn check(&mut self, command: &str) -> Result<Result<Tests, ToolResult>, Stop> {
        let started = Instant::now();
        let finished = self.toolbox.check(command).await?;
        self.checks += 1;
        let (title, ok) = (format!("{command}: {}", finished.ending), finished.passed());
        let sha256 = Some(finished.sha256.clone());
        self.journal.record(Entry { kind: StepKind::Check, title, detail: &finished.output, sha256, ok, started })?;
        if ok {
            return Ok(Ok(Tests { command: command.to_owned(), passed: true, runs: self.checks }));
        }
        let output = tail(&finished.output, CHECK_BYTES).to_owned();
        let told = format!(
            "the work was not taken, because the project's tests (`{command}`) ended with {}:\n{output}",
            finished.ending
        );
        let reason = format!("the project's tests failed: `{command}` ended with {}", finished.ending);
        let failure = Stop::Failed { kind: FailureKind::TestsFailed, reason, output: Some(output) };
        if self.checks >= CHECKS {
            return Err(failure);
        }
        self.failing = Some(failure);
        Ok(Err(ToolResult::error(&told)))
    }
}

const NUDGE: &str = "Go on with the tools. When everything is done, or if it cannot be done, call `finish`.";

/// A tool call in one line: the tool, and the input that says most.
fn title_of(call: &ToolCall) -> String {
    let says_most = ["command", "path", "pattern"].into_iter().find_map(|name| call.fn_arguments.get(name)?.as_str());
    match says_most {
        Some(text) => format!("{}: {text}", call.fn_name),
        None => call.fn_name.clone(),
    }
}
