//! Who is asking, once it is known that they may.

use std::time::Duration;

use access::{LEEWAY_SECONDS, Problem, Role, TokenError, Verifier};
use axum::http::{HeaderMap, header};
use domain::{Actor, TenantId};
use schemas::claims::ApiClaims;

use crate::clock;

/// How long anything lasts at most, whatever its token says.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Who is asking: somebody of a tenant.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    /// Whose things are visible.
    pub(crate) tenant: TenantId,
    /// Who asks.
    pub(crate) actor: Actor,
    /// What they may do.
    pub(crate) role: Role,
    /// When the token ends, seconds since 1970.
    pub(crate) expires: i64,
}

/// What a token says, by the text of an `Authorization` header.
fn claims_of(verifier: &Verifier, value: &str) -> Result<ApiClaims, Problem> {
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(verifier.api(token.trim())?),
        _ => Err(TokenError::Malformed.into()),
    }
}

/// What a token says, by the headers of a request.
///
/// # Errors
/// 401 when the token does not hold.
pub(crate) fn claims_of_headers(verifier: &Verifier, headers: &HeaderMap) -> Result<ApiClaims, Problem> {
    let value = headers.get(header::AUTHORIZATION).ok_or(TokenError::Missing)?;
    claims_of(verifier, value.to_str().map_err(|_| TokenError::Malformed)?)
}

/// Who asks, by the text of an `Authorization` header.
///
/// # Errors
/// 401 when the token does not hold, 403 when it names no tenant.
pub(crate) fn of_authorization(verifier: &Verifier, value: &str) -> Result<Viewer, Problem> {
    of_claims(claims_of(verifier, value)?)
}

/// Who asks, by a bare token.
///
/// # Errors
/// As [`of_authorization`].
pub(crate) fn of_token(verifier: &Verifier, token: &str) -> Result<Viewer, Problem> {
    of_claims(verifier.api(token)?)
}

/// Who asks, by the headers of a request.
///
/// # Errors
/// As [`of_authorization`].
pub(crate) fn of_headers(verifier: &Verifier, headers: &HeaderMap) -> Result<Viewer, Problem> {
    of_claims(claims_of_headers(verifier, headers)?)
}

fn of_claims(claims: ApiClaims) -> Result<Viewer, Problem> {
    let Some(tenant) = claims.tenant else {
        return Err(Problem::forbidden(
            "an operator's token names no tenant to read from; use a token of the tenant's",
        ));
    };
    Ok(Viewer { tenant, actor: claims.sub, role: claims.role, expires: claims.exp })
}

/// How long what lasts while a token holds may go on, when the token ends at `expires`.
pub(crate) fn remaining(expires: i64) -> Duration {
    let leeway = i64::try_from(LEEWAY_SECONDS).unwrap_or(0);
    let seconds = expires.saturating_add(leeway).saturating_sub(clock::now().unix_timestamp());
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LONGEST)
}
