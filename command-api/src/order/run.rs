//! Orders of the system itself: to runs, to environments, and to the card whose run ended.

use domain::card::{Card, CardCommand, RunResult};
use domain::environment::{Environment, EnvironmentCommand};
use domain::run::{Run, RunCommand};
use domain::{CardId, EnvironmentId, RunId, Saying, TenantId};
use uuid::Uuid;

use super::Ask;
use crate::DispatchError;
use crate::facts::Facts;

/// What is asked of a run.
pub(crate) struct RunOrder {
    pub(crate) run: RunId,
    pub(crate) command: RunCommand,
}

impl Ask for RunOrder {
    type Aggregate = Run;

    fn name(&self) -> &'static str {
        match self.command {
            RunCommand::Queue { .. } => "run.queue",
            RunCommand::Dispatch { .. } => "run.dispatch",
            RunCommand::Start { .. } => "run.start",
            RunCommand::RecordStep { .. } => "run.record_step",
            RunCommand::RecordModelCall { .. } => "run.record_model_call",
            RunCommand::Succeed { .. } => "run.succeed",
            RunCommand::Fail { .. } => "run.fail",
            RunCommand::LoseAttempt { .. } => "run.lose_attempt",
            RunCommand::TimeOut { .. } => "run.time_out",
            RunCommand::Cancel { .. } => "run.cancel",
        }
    }

    fn stream(&self, _: TenantId) -> Option<Uuid> {
        Some(self.run.uuid())
    }

    async fn prepare(&self, state: &Run, facts: &Facts<'_>) -> Result<RunCommand, DispatchError> {
        match self.command.clone() {
            RunCommand::Cancel { reason: Some(reason) } if *state != Run::Absent => {
                Ok(RunCommand::Cancel { reason: Some(facts.seal(Saying::Reason, reason, None).await?) })
            }
            command => Ok(command),
        }
    }
}

/// What is asked of an environment.
pub(crate) struct EnvironmentOrder {
    pub(crate) environment: EnvironmentId,
    pub(crate) command: EnvironmentCommand,
}

impl Ask for EnvironmentOrder {
    type Aggregate = Environment;

    fn name(&self) -> &'static str {
        match self.command {
            EnvironmentCommand::Request { .. } => "environment.request",
            EnvironmentCommand::Provision => "environment.provision",
            EnvironmentCommand::MarkReady { .. } => "environment.mark_ready",
            EnvironmentCommand::Stop { .. } => "environment.stop",
            EnvironmentCommand::MarkStopped => "environment.mark_stopped",
            EnvironmentCommand::Fail { .. } => "environment.fail",
        }
    }

    fn stream(&self, _: TenantId) -> Option<Uuid> {
        Some(self.environment.uuid())
    }

    async fn prepare(&self, _: &Environment, _: &Facts<'_>) -> Result<EnvironmentCommand, DispatchError> {
        Ok(self.command.clone())
    }
}

/// Tells a card how its run ended.
pub(crate) struct FinishCardOrder {
    pub(crate) card: CardId,
    pub(crate) run: RunId,
    pub(crate) result: RunResult,
}

impl Ask for FinishCardOrder {
    type Aggregate = Card;

    fn name(&self) -> &'static str {
        "card.finish_run"
    }

    fn stream(&self, _: TenantId) -> Option<Uuid> {
        Some(self.card.uuid())
    }

    async fn prepare(&self, state: &Card, facts: &Facts<'_>) -> Result<CardCommand, DispatchError> {
        let known = state.known().ok_or(DispatchError::NotFound)?;
        let lanes = facts.lanes(known.project).await?;
        Ok(CardCommand::FinishRun { run: self.run, result: self.result.clone(), lanes, rank: facts.end_of_lane() })
    }
}
