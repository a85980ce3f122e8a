//! Tokens: minting and verifying.

use std::collections::HashMap;
use std::sync::Arc;

use domain::id::{ProjectId, RunId};
use domain::{Actor, EnvironmentId, TenantId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use schemas::claims::{API_AUDIENCE, ApiClaims, ISSUER, POD_AUDIENCE, PodClaims, Role};
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::Caller;
use crate::key::{SigningKey, VerifyingKey};
use crate::verified::Verified;

/// How much later than its end a token still holds, for clocks that differ.
pub const LEEWAY_SECONDS: u64 = 5;

/// What a token for the APIs is to say.
#[derive(Debug, Clone)]
pub struct ApiGrant {
    /// Who acts: a user or an operator.
    pub actor: Actor,
    /// The tenant acted in; none for [`Role::Operator`], and one for every other role.
    pub tenant: Option<TenantId>,
    /// What it may do.
    pub role: Role,
    /// How long it holds.
    pub lifetime: Duration,
}

/// What a pod's token is to say.
#[derive(Debug, Clone)]
pub struct PodGrant {
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
    /// How long it holds.
    pub lifetime: Duration,
}

/// Why no token was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// An operator's token names no tenant, every other names one, and only users and operators hold one.
    #[error("an operator's token names no tenant, every other token names one, and only users and operators hold one")]
    Contradiction,
    /// The library could not sign.
    #[error("the token could not be signed")]
    Signing,
}

/// Why a token does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("a bearer token is required: send `Authorization: Bearer TOKEN`")]
    Missing,
    /// It is no token of this system.
    #[error("this is not a token of this API")]
    Malformed,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
    /// No known key signed it.
    #[error("the token's signature does not hold")]
    WrongSignature,
    /// It was made for another audience or by another issuer.
    #[error("the token was not made for this API")]
    WrongAudience,
}

/// Verifies tokens against one key or, while keys are rotated, several. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Arc<HashMap<String, VerifyingKey>>,
    verified: Arc<Verified>,
}

impl SigningKey {
    /// A token for the APIs. `now` is when it is issued, `jti` its unique id.
    ///
    /// # Errors
    /// When the grant contradicts itself, or signing fails.
    pub fn mint_api(&self, grant: ApiGrant, now: OffsetDateTime, jti: Uuid) -> Result<String, MintError> {
        let claims = ApiClaims {
            iss: ISSUER.to_owned(),
            aud: API_AUDIENCE.to_owned(),
            sub: grant.actor,
            tenant: grant.tenant,
            role: grant.role,
            iat: now.unix_timestamp(),
            exp: now.saturating_add(grant.lifetime).unix_timestamp(),
            jti,
        };
        if consistent(&claims) { self.sign(&claims) } else { Err(MintError::Contradiction) }
    }

    /// A token for one attempt of a run. `now` is when it is issued, `jti` its unique id.
    ///
    /// # Errors
    /// When signing fails.
    pub fn mint_pod(&self, grant: &PodGrant, now: OffsetDateTime, jti: Uuid) -> Result<String, MintError> {
        self.sign(&PodClaims {
            iss: ISSUER.to_owned(),
            aud: POD_AUDIENCE.to_owned(),
            sub: Actor::Agent(grant.run),
            tenant: grant.tenant,
            project: grant.project,
            run: grant.run,
            attempt: grant.attempt,
            environment: grant.environment,
            iat: now.unix_timestamp(),
            exp: now.saturating_add(grant.lifetime).unix_timestamp(),
            jti,
        })
    }

    fn sign(&self, claims: &impl serde::Serialize) -> Result<String, MintError> {
        let header = Header { kid: Some(self.id().to_owned()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(|_| MintError::Signing)
    }
}

/// Whether role, tenant and actor of a token fit together.
fn consistent(claims: &ApiClaims) -> bool {
    (claims.role == Role::Operator) == claims.tenant.is_none()
        && matches!(claims.sub, Actor::User(_) | Actor::Operator(_))
}

impl Verifier {
    /// Takes tokens signed with any of `keys`.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let keys = Arc::new(keys.into_iter().map(|key| (key.id.clone(), key)).collect());
        Self { keys, verified: Arc::default() }
    }

    /// The claims of a token for the APIs.
    ///
    /// # Errors
    /// Why it does not hold.
    pub fn api(&self, token: &str) -> Result<ApiClaims, TokenError> {
        if let Some(claims) = self.verified.get(token) {
            return Ok(claims);
        }
        let claims: ApiClaims = self.verify(token, API_AUDIENCE)?;
        if !consistent(&claims) {
            return Err(TokenError::Malformed);
        }
        self.verified.put(token, &claims);
        Ok(claims)
    }

    /// The claims of a pod's token.
    ///
    /// # Errors
    /// Why it does not hold.
    pub fn pod(&self, token: &str) -> Result<PodClaims, TokenError> {
        self.verify(token, POD_AUDIENCE)
    }

    /// Who acts with this token, given bare (as in the `connection_init` of a GraphQL subscription).
    ///
    /// # Errors
    /// Why it does not hold.
    pub fn caller(&self, token: &str) -> Result<Caller, TokenError> {
        self.api(token).map(Caller::from)
    }

    fn verify<C: DeserializeOwned>(&self, token: &str, audience: &str) -> Result<C, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        // Which keys there are is no secret, so an unknown one may be told apart at once.
        let key = header.kid.and_then(|id| self.keys.get(&id)).ok_or(TokenError::WrongSignature)?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.leeway = LEEWAY_SECONDS;
        rules.set_required_spec_claims(&["exp", "aud", "iss"]);
        rules.set_audience(&[audience]);
        rules.set_issuer(&[ISSUER]);
        // First as plain JSON: whether a token of ours is meant for this door is asked before what it says.
        let token =
            jsonwebtoken::decode::<Value>(token, &key.decoding, &rules).map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => TokenError::Expired,
                ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer => TokenError::WrongAudience,
                // A token that names another algorithm was not signed by this key, whatever it says.
                ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => TokenError::WrongSignature,
                _ => TokenError::Malformed,
            })?;
        serde_json::from_value(token.claims).map_err(|_| TokenError::Malformed)
    }
}
