//! Tenants. Operators create, suspend and resume them; an owner may rename its own.

use axum::extract::State;
use domain::id::TenantKind;
use domain::value::{Name, Reason};
use domain::{PersonalText, TenantId};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answered, Done, Outcome};
use super::asked::{Asked, Ids, on_tenant};
use super::values::{Named, Nothing};
use super::{Api, Shared};
use crate::order::TenantOrder;
use crate::{Caller, Order};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(rename))
        .routes(routes!(suspend))
        .routes(routes!(resume))
}

/// Create a tenant
///
/// For operators.
#[utoipa::path(post, path = "/tenants", operation_id = "createTenant", tag = "tenants", request_body = Named,
    responses((status = CREATED, description = "The tenant exists.", body = Outcome)))]
async fn create(State(api): State<Shared>, caller: access::Caller, asked: Asked<Named>) -> Answered {
    // A key of before operators had pseudonyms names the tenant that it made then.
    if let Some(request) = asked.envelope.once_keyed(&caller.actor) {
        let creator = Caller { tenant: request.tenant(), actor: caller.actor.clone(), role: caller.role };
        if let Some(answer) = api.dispatcher.recall(&creator, &request).await? {
            return Ok(Done::created::<TenantKind>(&answer, "/v1/tenants"));
        }
    }
    let request = asked.envelope.keyed(None, &caller.actor);
    // The dispatcher refuses whoever is no operator; until then the new tenant belongs to nobody.
    let caller = Caller { tenant: request.tenant(), actor: caller.actor, role: caller.role };
    let order = Order::Tenant(TenantOrder::Create { name: Name::new(&asked.body.name)? });
    let answer = api.send(&caller, request, order).await?;
    Ok(Done::created::<TenantKind>(&answer, "/v1/tenants"))
}

/// Rename a tenant
#[utoipa::path(patch, path = "/tenants/{tenant}", operation_id = "renameTenant", tag = "tenants", request_body = Named,
    responses((status = OK, description = "The tenant has this name.", body = Outcome)))]
async fn rename(
    State(api): State<Shared>,
    caller: access::Caller,
    Ids(tenant): Ids<TenantId>,
    asked: Asked<Named>,
) -> Answered {
    let caller = on_tenant(caller, tenant)?;
    let order = TenantOrder::Rename { name: Name::new(&asked.body.name)? };
    change(&api, &caller, asked, order).await
}

/// Why a tenant is suspended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "the invoice of May is open" }))]
struct SuspendTenant {
    /// For people, 1 to 2,000 characters.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
}

/// Suspend a tenant
///
/// For operators. A suspended tenant can be read but creates and runs nothing.
#[utoipa::path(post, path = "/tenants/{tenant}/suspend", operation_id = "suspendTenant", tag = "tenants",
    request_body = SuspendTenant, responses((status = OK, description = "The tenant is suspended.", body = Outcome)))]
async fn suspend(
    State(api): State<Shared>,
    caller: access::Caller,
    Ids(tenant): Ids<TenantId>,
    asked: Asked<SuspendTenant>,
) -> Answered {
    let caller = on_tenant(caller, tenant)?;
    let order = TenantOrder::Suspend { reason: PersonalText::plain(Reason::new(&asked.body.reason)?) };
    change(&api, &caller, asked, order).await
}

/// Resume a tenant
///
/// For operators.
#[utoipa::path(post, path = "/tenants/{tenant}/resume", operation_id = "resumeTenant", tag = "tenants",
    request_body = Nothing, responses((status = OK, description = "The tenant is active.", body = Outcome)))]
async fn resume(
    State(api): State<Shared>,
    caller: access::Caller,
    Ids(tenant): Ids<TenantId>,
    asked: Asked<Nothing>,
) -> Answered {
    let caller = on_tenant(caller, tenant)?;
    change(&api, &caller, asked, TenantOrder::Resume).await
}

async fn change<T>(api: &Api, caller: &Caller, asked: Asked<T>, order: TenantOrder) -> Answered {
    let request = asked.envelope.request(caller);
    Ok(Done::changed::<TenantKind>(&api.send(caller, request, Order::Tenant(order)).await?))
}
