//! Data subjects: people whom personal data is about, or who said it.

use access::{Problem, Role};
use axum::extract::State;
use axum::http::StatusCode;
use domain::id::SubjectKind;
use domain::{SubjectId, TenantId};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::answer::{Answered, Done, Outcome};
use super::asked::{Asked, Ids, on_tenant};
use crate::Order;
use crate::order::SubjectOrder;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(erase))
}

/// Where a subject is erased.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tenant": "tnt_01kafq0000e0sbch2gs9rjc5rd" }))]
struct EraseSubject {
    /// The tenant. An operator must name it; everybody else's is their own.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantId>,
}

/// Erase a data subject
///
/// For a tenant's owner and for operators. What the subject has said, what was said about it, and what it is called
/// become unreadable everywhere and for ever; that something was said, and when, stays.
#[utoipa::path(post, path = "/subjects/{subject}/erase", operation_id = "eraseSubject", tag = "subjects",
    request_body = EraseSubject, responses((status = OK, description = "The subject is erased.", body = Outcome)))]
async fn erase(
    State(api): State<Shared>,
    caller: access::Caller,
    Ids(subject): Ids<SubjectId>,
    asked: Asked<EraseSubject>,
) -> Answered {
    let tenant = match (asked.body.tenant, caller.role) {
        (Some(tenant), _) => tenant,
        (None, Role::Operator) => {
            let detail = "tenant: an operator must name the tenant in which the subject is to be erased";
            return Err(
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "tenant_missing", detail).with("field", "tenant")
            );
        }
        (None, _) => caller.tenant.ok_or_else(Problem::not_found)?,
    };
    let caller = on_tenant(caller, tenant)?;
    let request = asked.envelope.request(&caller);
    let answer = api.send(&caller, request, Order::Subject(SubjectOrder::Erase { subject })).await?;
    // Decided, and done by the eraser in any case; here at once, so that who hears the answer can rely on it.
    api.vault.erase(tenant, subject).await.map_err(crate::DispatchError::from)?;
    Ok(Done::changed::<SubjectKind>(&answer))
}
