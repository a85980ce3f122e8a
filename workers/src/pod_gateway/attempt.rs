//! What a pod asks and tells about its attempt while it works.

use access::Problem;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use command_api::DispatchError;
use domain::provider::ProviderKind;
use domain::run::{RunCommand, Task};
use domain::value::{Reason, Text};
use schemas::pod::{Heartbeat, HeartbeatAnswer, Job, Limits, ModelProtocol, STEP_DETAIL_BYTES, Step};
use tracing::warn;

use super::Gateway;
use super::admission::{CurrentPod, Pod, attempt_over, try_again};
use crate::ids;
use crate::jobs::queue;

/// GET [`schemas::pod::path::JOB`].
pub(super) async fn job(State(gateway): State<Gateway>, headers: HeaderMap) -> Result<Json<Job>, Problem> {
    let CurrentPod { pod, task } = gateway.admit_current(&headers).await?;
    gateway.tell(&pod, "start", RunCommand::Start { attempt: pod.attempt() }).await?;
    gateway.seen(&pod).await;
    Ok(Json(job_of(&pod, task)))
}

/// POST [`schemas::pod::path::HEARTBEAT`].
pub(super) async fn heartbeat(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Result<Json<Heartbeat>, JsonRejection>,
) -> Result<Json<HeartbeatAnswer>, Problem> {
    let _last_step = body.map_err(|rejection| malformed(&rejection))?;
    let go_on = match gateway.admit(&headers).await?.current() {
        Ok(current) => {
            gateway.seen(&current.pod).await;
            true
        }
        Err(_) => false,
    };
    Ok(Json(HeartbeatAnswer { go_on }))
}

/// POST [`schemas::pod::path::STEPS`].
pub(super) async fn step(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Result<Json<Step>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let CurrentPod { pod, .. } = gateway.admit_current(&headers).await?;
    let Json(step) = body.map_err(|rejection| malformed(&rejection))?;
    let command = RunCommand::RecordStep {
        attempt: pod.attempt(),
        number: step.number,
        kind: step.kind,
        title: Reason::cut(&step.title),
        detail: Text::tail(&step.detail, STEP_DETAIL_BYTES),
        ok: step.ok,
        duration_ms: step.duration_ms,
    };
    gateway.tell(&pod, &format!("step/{}", step.number), command).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Gateway {
    /// Tells the pod's run, once for each `step` of the attempt.
    pub(super) async fn tell(&self, pod: &Pod, step: &str, command: RunCommand) -> Result<(), Problem> {
        let (tenant, run) = (pod.claims.tenant, pod.claims.run);
        let id = ids::of_attempt(run, pod.attempt(), step);
        match self.control.tell_run_as_agent(tenant, run, id, &pod.origin, &command).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain(pod, error).await),
        }
    }

    /// A refusal is the pod's fault, unless its attempt has come to its end just now.
    async fn explain(&self, pod: &Pod, error: DispatchError) -> Problem {
        if error.is_passing() {
            return try_again();
        }
        let now = self.control.load_run(pod.claims.tenant, pod.claims.run).await;
        if now.is_ok_and(|run| !run.is_current(pod.attempt())) {
            return attempt_over();
        }
        warn!(%error, run = %pod.claims.run, "a pod's word was refused");
        match error {
            // The pod would take 403 for the end of its attempt.
            DispatchError::Forbidden | DispatchError::KeyReused => {
                Problem::new(StatusCode::CONFLICT, error.code(), "this was told before in other words")
            }
            other => other.into(),
        }
    }

    async fn seen(&self, pod: &Pod) {
        let (tenant, run) = (pod.claims.tenant, pod.claims.run);
        if let Err(error) = queue::pod_seen(&self.pool, tenant, run, pod.environment()).await {
            warn!(%error, %run, "a pod's sign of life was not noted");
        }
    }
}

/// A body that is not what the protocol says.
pub(super) fn malformed(rejection: &JsonRejection) -> Problem {
    Problem::new(rejection.status(), "body_malformed", rejection.body_text())
}

fn job_of(pod: &Pod, task: Task) -> Job {
    let policy = task.policy;
    Job {
        run: pod.claims.run,
        attempt: pod.attempt(),
        card: task.card,
        project: task.project,
        title: task.title.to_string(),
        description: task.description.to_string(),
        instructions: task.instructions.map(|text| text.to_string()),
        base_branch: task.repository.default_branch.to_string(),
        branch: task.branch.to_string(),
        protocol: match task.provider_kind {
            ProviderKind::Anthropic => ModelProtocol::Anthropic,
            ProviderKind::Openai => ModelProtocol::OpenAi,
        },
        model: task.model.to_string(),
        test_command: policy.test_command.map(|text| text.to_string()),
        limits: Limits {
            max_steps: policy.max_steps,
            max_run_seconds: policy.max_run_seconds,
            command_timeout_seconds: policy.command_timeout_seconds,
            max_output_tokens: policy.max_output_tokens,
        },
        tools: policy.allowed_tools.iter().map(|tool| tool.as_str().to_owned()).collect(),
    }
}
