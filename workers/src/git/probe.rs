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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::git_host::{GitHost, TOKEN, git};
    use crate::testing::tls;

    #[tokio::test]
    async fn a_repository_says_what_it_has_and_everything_else_why_not() {
        tls();
        let (probe, host) = (HttpProbe::new().unwrap(), GitHost::start().await);
        let ask = async |url: &str, token: Option<&str>| {
            let token = token.map(|token| SecretString::from(token.to_owned()));
            probe.probe(&RepositoryUrl::new(url).unwrap(), token.as_ref()).await
        };
        let found = ask(&host.url(), Some(TOKEN)).await.unwrap();
        assert_eq!(found.default_branch.as_str(), "main");
        assert_eq!(found.branches.len(), 1);
        assert_eq!(ask(&host.url(), None).await, Err(ProbeError::Unauthorized));
        assert_eq!(ask(&host.url(), Some("wrong")).await, Err(ProbeError::Unauthorized));
        assert_eq!(ask(&format!("{}x", host.url()), Some(TOKEN)).await, Err(ProbeError::NotFound));
        for url in ["http://127.0.0.1:9/x.git", "http://169.254.169.254/x.git", "http://does-not-exist.invalid/x"] {
            assert!(matches!(ask(url, None).await, Err(ProbeError::Unreachable(_))), "{url}");
        }
        git(&host.path(), &["update-ref", "-d", "refs/heads/main"]).await;
        assert_eq!(ask(&host.url(), Some(TOKEN)).await, Err(ProbeError::Empty));
    }
}
