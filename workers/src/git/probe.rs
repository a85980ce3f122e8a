//! Looks at a repository before a project is connected to it.

use std::collections::BTreeSet;

use async_trait::async_trait;
use command_api::{ProbeError, ProbedRepository, RepositoryProbe};
use domain::value::{Branch, RepositoryUrl};
use secrecy::SecretString;

use super::client::{self, AskError};
use crate::http::Http;

/// Asks repositories over HTTP.
#[derive(Debug, Clone)]
pub struct HttpProbe {
    http: Http,
}

impl HttpProbe {
    /// A probe with a client of its own.
    ///
    /// # Errors
    /// When the client cannot be built: no TLS backend is installed.
    pub fn new() -> Result<Self, reqwest::Error> {
        Ok(Self { http: Http::new()? })
    }
}

#[async_trait]
impl RepositoryProbe for HttpProbe {
    async fn probe(
        &self,
        url: &RepositoryUrl,
        credential: Option<&SecretString>,
    ) -> Result<ProbedRepository, ProbeError> {
        let found = client::ask(&self.http, url.as_str(), credential).await.map_err(|error| match error {
            AskError::NotFound => ProbeError::NotFound,
            AskError::Unauthorized => ProbeError::Unauthorized,
            AskError::Unreachable(why) => ProbeError::Unreachable(why),
        })?;
        // A name that is no branch to us cannot be worked on either.
        let branches: BTreeSet<Branch> = found.branches().filter_map(|name| Branch::new(name).ok()).collect();
        let default = found.default_branch().and_then(|name| Branch::new(name).ok());
        let default_branch = default.filter(|branch| branches.contains(branch)).or_else(|| branches.first().cloned());
        Ok(ProbedRepository { default_branch: default_branch.ok_or(ProbeError::Empty)?, branches })
    }
}
