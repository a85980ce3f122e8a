//! What a token says. A token is a JWT signed with Ed25519 (`EdDSA`).

use domain::id::{ProjectId, RunId};
use domain::{Actor, EnvironmentId, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The issuer of every token.
pub const ISSUER: &str = "agentworks";
/// The audience of a token for the command and query APIs.
pub const API_AUDIENCE: &str = "agentworks-api";
/// The audience of a token for a pod.
pub const POD_AUDIENCE: &str = "agentworks-pod";

/// What the bearer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the installation: may create tenants. Has no tenant of its own.
    Operator,
    /// May do everything in its tenant.
    Owner,
    /// May read everything in its tenant.
    Auditor,
}

/// The claims of a token for the APIs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiClaims {
    /// [`ISSUER`].
    pub iss: String,
    /// [`API_AUDIENCE`].
    pub aud: String,
    /// Who acts.
    pub sub: Actor,
    /// The tenant acted in; absent for an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What it may do.
    pub role: Role,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Ends at, seconds since 1970.
    pub exp: i64,
    /// Unique.
    pub jti: Uuid,
}

/// The claims of a pod's token: good for one attempt of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodClaims {
    /// [`ISSUER`].
    pub iss: String,
    /// [`POD_AUDIENCE`].
    pub aud: String,
    /// The run's agent.
    pub sub: Actor,
    /// Whose run it is.
    pub tenant: TenantId,
    /// The project of the run.
    pub project: ProjectId,
    /// The run.
    pub run: RunId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// Where it runs.
    pub environment: EnvironmentId,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Ends at, seconds since 1970.
    pub exp: i64,
    /// Unique.
    pub jti: Uuid,
}
