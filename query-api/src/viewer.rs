//! Who is asking, once it is known that they may.

use access::{Problem, Role, TokenError, Verifier};
use axum::http::{HeaderMap, header};
use domain::{Actor, TenantId};

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

/// Who asks, by the text of an `Authorization` header.
///
/// # Errors
/// 401 when the token does not hold, 403 when it names no tenant.
pub(crate) fn of_authorization(verifier: &Verifier, value: &str) -> Result<Viewer, Problem> {
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => of_token(verifier, token.trim()),
        _ => Err(TokenError::Malformed.into()),
    }
}

/// Who asks, by a bare token.
///
/// # Errors
/// As [`of_authorization`].
pub(crate) fn of_token(verifier: &Verifier, token: &str) -> Result<Viewer, Problem> {
    let claims = verifier.api(token)?;
    let Some(tenant) = claims.tenant else {
        return Err(Problem::forbidden(
            "an operator's token names no tenant to read from; use a token of the tenant's",
        ));
    };
    Ok(Viewer { tenant, actor: claims.sub, role: claims.role, expires: claims.exp })
}

/// Who asks, by the headers of a request.
///
/// # Errors
/// As [`of_authorization`].
pub(crate) fn of_headers(verifier: &Verifier, headers: &HeaderMap) -> Result<Viewer, Problem> {
    let value = headers.get(header::AUTHORIZATION).ok_or(TokenError::Missing)?;
    of_authorization(verifier, value.to_str().map_err(|_| TokenError::Malformed)?)
}
