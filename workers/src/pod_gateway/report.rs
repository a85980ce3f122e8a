//! The result of an attempt. A success is believed only when the repository says the same.

use access::Problem;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use domain::run::{FailureKind, Run, RunCommand, Task, TaskOutcome};
use domain::value::{Reason, Text};
use outbox::crash;
use schemas::pod::{Failure, Report, STEP_DETAIL_BYTES};
use tracing::warn;

use super::Gateway;
use super::admission::{CurrentPod, Pod, try_again};
use super::attempt::malformed;
use crate::git::client::{self, AskError};

/// POST [`schemas::pod::path::RESULT`].
pub(super) async fn result(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Result<Json<Report>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let pod = gateway.admit(&headers).await?;
    let Json(report) = body.map_err(|rejection| malformed(&rejection))?;
    if is_known(&pod, &report) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let CurrentPod { pod, task } = pod.current()?;
    let command = match report {
        Report::Succeeded(outcome) => gateway.succeeded(&pod, &task, outcome).await?,
        Report::Failed(Failure { kind, reason, log_tail }) => RunCommand::Fail {
            attempt: pod.attempt(),
            kind,
            reason: Reason::cut(&reason),
            log_tail: Text::tail(&log_tail, STEP_DETAIL_BYTES),
        },
    };
    let step = if matches!(command, RunCommand::Succeed { .. }) { "succeed" } else { "fail" };
    crash::point("result.checked");
    gateway.tell(&pod, step, command).await?;
    crash::point("result.recorded");
    Ok(StatusCode::NO_CONTENT)
}

/// Whether this very result is recorded already, and its answer was lost on the way. A failure that we made of a success
/// that was none counts as well.
fn is_known(pod: &Pod, report: &Report) -> bool {
    use domain::run::Ending;
    let Run::Ended { attempt, ending, .. } = &pod.run else { return false };
    *attempt == pod.attempt()
        && match (ending, report) {
            (Ending::Succeeded(known), Report::Succeeded(outcome)) => known.head_commit == outcome.head_commit,
            (Ending::Failed(kind), Report::Failed(failure)) => *kind == failure.kind,
            (Ending::Failed(FailureKind::PushRejected), Report::Succeeded(_)) => true,
            _ => false,
        }
}

impl Gateway {
    /// What a reported success is worth: the branch must stand where the pod says.
    async fn succeeded(&self, pod: &Pod, task: &Task, outcome: TaskOutcome) -> Result<RunCommand, Problem> {
        let attempt = pod.attempt();
        let reject = |reason: String| RunCommand::Fail {
            attempt,
            kind: FailureKind::PushRejected,
            reason: Reason::cut(&reason),
            log_tail: Text::tail("", 0),
        };
        let (branch, wanted) = (task.branch.as_str(), outcome.head_commit.as_str());
        match self.head_of(pod, task, branch).await {
            Ok(Some(head)) if head == wanted => Ok(RunCommand::Succeed { attempt, outcome: Box::new(outcome) }),
            Ok(Some(head)) => Ok(reject(format!(
                "the work was reported as pushed, but branch `{branch}` of the repository stands at {head}, not at {wanted}"
            ))),
            Ok(None) => {
                Ok(reject(format!("the work was reported as pushed, but the repository has no branch `{branch}`")))
            }
            Err(error) => {
                // The pod asks again, and the run's own clock ends it when that goes on for too long.
                warn!(%error, run = %pod.claims.run, "a result cannot be checked against the repository yet");
                Err(try_again())
            }
        }
    }

    async fn head_of(&self, pod: &Pod, task: &Task, branch: &str) -> Result<Option<String>, AskError> {
        let credential = self.credential(pod, task).await.map_err(|error| AskError::Unreachable(error.to_string()))?;
        let found = client::ask(&self.http, task.repository.url.as_str(), credential.as_ref()).await?;
        Ok(found.branch(branch).map(str::to_owned))
    }
}
