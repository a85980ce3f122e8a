//! The question whether a repository is there, asked before a project is connected to it.

use std::collections::BTreeSet;

use access::Problem;
use async_trait::async_trait;
use axum::http::StatusCode;
use domain::project::Repository;
use domain::value::{Branch, RepositoryUrl, SecretRef};
use secrecy::SecretString;

/// Asks a repository over the network. Implementations bound their time.
#[async_trait]
pub trait RepositoryProbe: Send + Sync {
    /// What is at `url`, asked with `credential` when one is given.
    async fn probe(
        &self,
        url: &RepositoryUrl,
        credential: Option<&SecretString>,
    ) -> Result<ProbedRepository, ProbeError>;
}

/// What a repository says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbedRepository {
    /// The branch that its `HEAD` names.
    pub default_branch: Branch,
    /// Every branch.
    pub branches: BTreeSet<Branch>,
}

/// Why nothing could be learned of a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// There is none.
    #[error("there is no Git repository at this address")]
    NotFound,
    /// It wants a credential, or another one.
    #[error("the repository wants a credential, or does not take this one")]
    Unauthorized,
    /// It could not be asked. The text is for the log only.
    #[error("the repository could not be reached: {0}")]
    Unreachable(String),
    /// It has no branch.
    #[error("the repository has no commit yet; push one first")]
    Empty,
}

impl From<ProbeError> for Problem {
    fn from(error: ProbeError) -> Self {
        let (code, field) = match &error {
            ProbeError::NotFound => ("repository_not_found", "repository.url"),
            ProbeError::Unauthorized => ("repository_unauthorized", "repository.credential"),
            ProbeError::Unreachable(_) => ("repository_unreachable", "repository.url"),
            ProbeError::Empty => ("repository_empty", "repository.url"),
        };
        // Why an address does not answer is not told: it would let a client map the network that we stand in.
        let detail = match error {
            ProbeError::Unreachable(why) => {
                tracing::info!(error.message = why, "a repository could not be reached");
                "the repository could not be reached; check its address".to_owned()
            }
            error => error.to_string(),
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).with("field", field)
    }
}

/// The repository as the project will know it: on the wanted branch or, when none is wanted, on its own default.
pub(super) async fn connect(
    probe: &dyn RepositoryProbe,
    url: RepositoryUrl,
    wanted: Option<Branch>,
    secret: Option<&SecretString>,
    credential: Option<SecretRef>,
) -> Result<Repository, Problem> {
    let found = probe.probe(&url, secret).await?;
    let default_branch = match wanted {
        None => found.default_branch,
        Some(branch) if found.branches.contains(&branch) => branch,
        Some(branch) => {
            let detail = format!("the repository has no branch `{branch}`");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "branch_unknown", detail)
                .with("field", "repository.default_branch"));
        }
    };
    Ok(Repository { url, default_branch, credential })
}
