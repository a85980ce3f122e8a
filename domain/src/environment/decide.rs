//! An environment's rules.

use super::{
    Environment, EnvironmentCommand, EnvironmentEvent, EnvironmentFailed, EnvironmentProvisioning, EnvironmentReady,
    EnvironmentRefusal, EnvironmentRequested, EnvironmentStopped, EnvironmentStopping, Phase,
};

type Decision = Result<Vec<EnvironmentEvent>, EnvironmentRefusal>;

pub(super) fn decide(environment: &Environment, command: EnvironmentCommand) -> Decision {
    let phase = match (environment, &command) {
        (Environment::Absent, EnvironmentCommand::Request { .. }) => None,
        (Environment::Absent, _) => return Err(EnvironmentRefusal::NotFound),
        (_, EnvironmentCommand::Request { .. }) => return Err(EnvironmentRefusal::AlreadyExists),
        (Environment::Alive { phase, .. }, _) => Some(*phase),
        (
            Environment::Stopped | Environment::Failed,
            EnvironmentCommand::Stop { .. } | EnvironmentCommand::MarkStopped | EnvironmentCommand::Fail { .. },
        ) => return Ok(vec![]),
        (Environment::Stopped | Environment::Failed, _) => return Err(EnvironmentRefusal::Gone),
    };
    match command {
        EnvironmentCommand::Request { purpose, driver } => Ok(vec![EnvironmentRequested { purpose, driver }.into()]),
        EnvironmentCommand::Provision => advance(phase, Phase::Provisioning, EnvironmentProvisioning {}),
        EnvironmentCommand::MarkReady { confinement } => advance(phase, Phase::Ready, EnvironmentReady { confinement }),
        EnvironmentCommand::Stop { .. } if phase == Some(Phase::Stopping) => Ok(vec![]),
        EnvironmentCommand::Stop { reason } => Ok(vec![EnvironmentStopping { reason }.into()]),
        EnvironmentCommand::MarkStopped => Ok(vec![EnvironmentStopped {}.into()]),
        EnvironmentCommand::Fail { reason } => Ok(vec![EnvironmentFailed { reason }.into()]),
    }
}

fn advance(phase: Option<Phase>, to: Phase, event: impl Into<EnvironmentEvent>) -> Decision {
    match phase {
        Some(Phase::Stopping) => Err(EnvironmentRefusal::Stopping),
        Some(present) if present >= to => Ok(vec![]),
        _ => Ok(vec![event.into()]),
    }
}
