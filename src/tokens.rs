//! Minting tokens with the installation's signing key, and the demo's tenant.

use access::{ApiGrant, Role, SigningKey};
use anyhow::Context;
use domain::id::UserId;
use domain::{Actor, TenantId};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::config::Config;
use crate::demo::Client;

/// Names the one person that a command line has: whoever can read the signing key.
const OWNER: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

/// A token good for `hours`. `name` is who acts, for an operator.
///
/// # Errors
/// When the signing key cannot be read or made.
#[expect(clippy::disallowed_methods, reason = "a token's life begins now, under a name of its own")]
pub fn mint(config: &Config, tenant: Option<TenantId>, role: Role, name: &str, hours: u32) -> anyhow::Result<String> {
    let key = SigningKey::load_or_create(&config.signing_key_file()).context("the signing key is not usable")?;
    let actor = match role {
        Role::Operator => Actor::Operator(name.to_owned()),
        Role::Owner | Role::Auditor => Actor::User(UserId::from_uuid(OWNER)),
    };
    let grant = ApiGrant { actor, tenant, role, lifetime: Duration::hours(hours.into()) };
    Ok(key.mint_api(grant, OffsetDateTime::now_utc(), Uuid::now_v7())?)
}

/// The demo's tenant; created at the first call.
///
/// # Errors
/// When the installation does not answer.
pub async fn demo_tenant(operator: &Client) -> anyhow::Result<TenantId> {
    let answer = operator
        .send(
            http::Method::POST,
            "/v1/tenants",
            &[("Idempotency-Key", "the-demo's-tenant")],
            Some(&json!({ "name": "Demo" })),
        )
        .await?;
    let id = answer.body["id"].as_str().with_context(|| format!("the demo's tenant: {}", answer.body))?;
    Ok(id.parse()?)
}

/// A token of the demo's owner.
///
/// # Errors
/// When the signing key cannot be read or made.
pub fn demo_owner(config: &Config, tenant: TenantId) -> anyhow::Result<String> {
    mint(config, Some(tenant), Role::Owner, "demo", config.auth.token_hours)
}
