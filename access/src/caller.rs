//! Who is asking, as a request handler wants to know it.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use domain::{Actor, TenantId};
use schemas::claims::{ApiClaims, Role};

use crate::{Problem, TokenError, Verifier};

/// Who is asking: what a valid token says. As an extractor it wants a [`Verifier`] in the router's state and answers
/// 401 by itself; name it before every other argument of a handler, so that strangers learn nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant acted in; none for an operator.
    pub tenant: Option<TenantId>,
    /// Who acts.
    pub actor: Actor,
    /// What it may do.
    pub role: Role,
}

impl From<ApiClaims> for Caller {
    fn from(claims: ApiClaims) -> Self {
        Self { tenant: claims.tenant, actor: claims.sub, role: claims.role }
    }
}

impl Caller {
    /// Who is asking, by the `Authorization` header.
    ///
    /// # Errors
    /// Why there is no valid token in it.
    pub fn of_headers(headers: &HeaderMap, verifier: &Verifier) -> Result<Self, TokenError> {
        let value = headers.get(header::AUTHORIZATION).ok_or(TokenError::Missing)?;
        let value = value.to_str().map_err(|_| TokenError::Malformed)?;
        match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => verifier.caller(token.trim()),
            _ if value.eq_ignore_ascii_case("bearer") => Err(TokenError::Missing),
            _ => Err(TokenError::Malformed),
        }
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Self::of_headers(&parts.headers, &Verifier::from_ref(state)).map_err(Problem::from)
    }
}

#[cfg(test)]
mod tests;
