//! Why an order is not carried out.

use access::Problem;
use axum::http::StatusCode;
use domain::{Invalid, Refusal, RefusalKind};
use outbox::LogError;

use crate::facts::FactsUnavailable;
use crate::vault::VaultError;

/// Why an order is not carried out. Nothing has changed then, except that after [`DispatchError::Log`] the outcome can
/// be unknown: repeat the request under the same command id.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The caller may not give this order.
    #[error("the caller may not do this")]
    Forbidden,
    /// The thing does not exist, or belongs to another tenant, or stands elsewhere than the order says.
    #[error("there is no such thing")]
    NotFound,
    /// A rule of the domain forbids it.
    #[error("{0}")]
    Refused(Refused),
    /// The command id was used before for another request.
    #[error("the command id was used before for another request")]
    KeyReused,
    /// The thing has another version than the caller has seen.
    #[error("the version is {current}, not what was expected")]
    VersionMismatch {
        /// The version it has.
        current: i64,
    },
    /// Others changed the same thing again and again meanwhile.
    #[error("the thing is being changed by too many others at once")]
    Contended,
    /// The read model that a fact comes from is not there yet.
    #[error(transparent)]
    Facts(#[from] FactsUnavailable),
    /// The vault could not keep a secret.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A refusal of any aggregate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// Stable and machine-readable, such as `run_already_active`.
    pub code: &'static str,
    /// How an edge should answer.
    pub kind: RefusalKind,
    /// For people.
    pub message: String,
}

impl DispatchError {
    /// What an aggregate said.
    pub(crate) fn refused(refusal: &impl Refusal) -> Self {
        match refusal.kind() {
            RefusalKind::NotFound => Self::NotFound,
            kind => Self::Refused(Refused { code: refusal.code(), kind, message: refusal.to_string() }),
        }
    }

    /// A rule about the facts themselves, which no aggregate can know.
    pub(crate) fn rule(kind: RefusalKind, code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused(Refused { code, kind, message: message.into() })
    }

    /// A stable code, for answers and counters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Refused(refused) => refused.code,
            Self::KeyReused => "idempotency_key_reused",
            Self::VersionMismatch { .. } => "version_mismatch",
            Self::Contended => "contended",
            Self::Facts(_) => "read_model_behind",
            Self::Vault(VaultError::Database(_)) => "vault_unavailable",
            Self::Vault(VaultError::Erased(_)) => "subject_erased",
            Self::Log(LogError::Database(_) | LogError::Stopped) => "log_unavailable",
            Self::Vault(_) | Self::Log(_) => "internal",
        }
    }

    /// Whether trying again later, with the same command id, may go well by itself.
    pub fn is_passing(&self) -> bool {
        matches!(self.code(), "contended" | "read_model_behind" | "vault_unavailable" | "log_unavailable")
    }
}

impl From<Invalid> for DispatchError {
    fn from(invalid: Invalid) -> Self {
        Self::rule(RefusalKind::Invalid, invalid.code, invalid.to_string())
    }
}

impl From<DispatchError> for Problem {
    fn from(error: DispatchError) -> Self {
        let code = error.code();
        let passing = "the request could not be carried out just now; send it again with the same Idempotency-Key";
        match error {
            DispatchError::Forbidden => Self::forbidden("this token's role does not allow it"),
            DispatchError::NotFound => Self::not_found(),
            DispatchError::Refused(refused) => Self::refused(refused.kind, refused.code, refused.message),
            DispatchError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                code,
                "this Idempotency-Key was used before for another request; use a new one",
            ),
            DispatchError::VersionMismatch { current } => Self::new(
                StatusCode::PRECONDITION_FAILED,
                code,
                format!("the version is {current}, not the one named by If-Match; read it again"),
            )
            .with("current_version", current),
            DispatchError::Contended | DispatchError::Facts(_) => Self::unavailable(code, passing, 1),
            DispatchError::Vault(VaultError::Erased(_)) => {
                let detail = "this person was erased: nothing can be said by them or about them any more";
                Self::refused(RefusalKind::Rule, code, detail)
            }
            DispatchError::Vault(_) | DispatchError::Log(_) if code == "internal" => {
                tracing::error!(error.message = %error, "a command met a defect");
                Self::internal()
            }
            DispatchError::Vault(_) | DispatchError::Log(_) => {
                tracing::warn!(error.message = %error, "a command could not reach the database");
                Self::unavailable(code, passing, 2)
            }
        }
    }
}
