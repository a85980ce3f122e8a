//! What may have happened to an environment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Driver, Purpose};
use crate::value::Reason;

crate::events! {
    /// The events of an [`Environment`](super::Environment).
    pub enum EnvironmentEvent {
        /// It is wanted.
        Requested(EnvironmentRequested) = 1,
        /// It is being made.
        Provisioning(EnvironmentProvisioning) = 1,
        /// It is usable.
        Ready(EnvironmentReady) = 1,
        /// It is being taken down.
        Stopping(EnvironmentStopping) = 1,
        /// It is gone in good order.
        Stopped(EnvironmentStopped) = 1,
        /// It could not be made, or died.
        Failed(EnvironmentFailed) = 1,
    }
}

/// An environment is wanted. First event of every environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentRequested {
    /// What it is for.
    #[serde(flatten)]
    pub purpose: Purpose,
    /// What it is made with.
    pub driver: Driver,
}

/// The environment is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentProvisioning {}

/// The environment is usable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentReady {
    /// What confines it, for auditors: such as `namespaces`, `cgroup`, `rlimits`.
    pub confinement: Vec<String>,
}

/// The environment is being taken down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentStopping {
    /// Why.
    pub reason: Reason,
}

/// The environment is gone in good order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentStopped {}

/// The environment could not be made, or died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentFailed {
    /// What went wrong and, where known, what to do.
    pub reason: Reason,
}
