//! Who knocks: the token, and whether its attempt is still the current one.

use access::{Problem, TokenError};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::EnvironmentId;
use domain::run::{Attempt, Run, Task};
use schemas::claims::PodClaims;
use tracing::warn;

use super::Gateway;
use crate::control::Origin;
use crate::jobs::queue;

/// A pod whose token holds.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) claims: PodClaims,
    /// Its run, as the log has it now.
    pub(super) run: Run,
    /// What its commands follow from.
    pub(super) origin: Origin,
}

/// A pod whose attempt is the current one.
#[derive(Debug, Clone)]
pub(super) struct CurrentPod {
    pub(super) pod: Pod,
    pub(super) task: Task,
}

impl Pod {
    pub(super) fn attempt(&self) -> u32 {
        self.claims.attempt
    }

    pub(super) fn environment(&self) -> EnvironmentId {
        self.claims.environment
    }

    /// Its task, if its attempt is the current one, in the environment that the run was given to.
    pub(super) fn current(self) -> Result<CurrentPod, Problem> {
        let task = match &self.run {
            Run::Active { task, attempt: Attempt { number, environment, .. } }
                if *number == self.claims.attempt && *environment == self.claims.environment =>
            {
                task.as_ref().clone()
            }
            _ => return Err(attempt_over()),
        };
        Ok(CurrentPod { pod: self, task })
    }
}

/// The answer for an attempt that is not current: the pod is to stop.
pub(super) fn attempt_over() -> Problem {
    Problem::new(StatusCode::GONE, "attempt_over", "this attempt of the run is over: stop, and push nothing")
}

/// What passes by itself; the pod asks again.
pub(super) fn try_again() -> Problem {
    Problem::unavailable("try_again", "this cannot be done just now; ask again", 1)
}

impl Gateway {
    /// The pod that a request comes from, whatever has become of its attempt.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> Result<Pod, Problem> {
        let token = token(headers).ok_or(TokenError::Missing)?;
        let claims = self.verifier.pod(&token)?;
        let run = self.control.load_run(claims.tenant, claims.run).await.map_err(|error| {
            warn!(%error, run = %claims.run, "a pod waits for the log");
            try_again()
        })?;
        let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let origin = self.origin(&claims).await;
        Ok(Pod { claims, run, origin: Origin { traceparent: traceparent.or(origin.traceparent), ..origin } })
    }

    /// What the run follows from. The queue knows it while the run is under way; what comes later stands for itself.
    async fn origin(&self, claims: &PodClaims) -> Origin {
        let found = queue::origin_of(&self.pool, claims.tenant, claims.run).await;
        found.ok().flatten().unwrap_or(Origin { correlation: claims.run.uuid(), causation: None, traceparent: None })
    }

    /// The pod that a request comes from, if its attempt is the current one.
    pub(super) async fn admit_current(&self, headers: &HeaderMap) -> Result<CurrentPod, Problem> {
        self.admit(headers).await?.current()
    }
}

/// The token, wherever the pod's tools put it: Git and vendors' clients have their own ways.
fn token(headers: &HeaderMap) -> Option<String> {
    if let Some(key) = headers.get("x-api-key") {
        return key.to_str().ok().map(str::to_owned);
    }
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn the_token_is_found_where_each_client_puts_it() {
        let basic = format!("Basic {}", BASE64_STANDARD.encode("x-access-token:t"));
        for headers in [
            with("authorization", "Bearer t"),
            with("authorization", "bearer t"),
            with("authorization", &basic),
            with("x-api-key", "t"),
        ] {
            assert_eq!(token(&headers).as_deref(), Some("t"), "{headers:?}");
        }
        for headers in [HeaderMap::new(), with("authorization", "t"), with("authorization", "Basic !")] {
            assert_eq!(token(&headers), None, "{headers:?}");
        }
    }
}
