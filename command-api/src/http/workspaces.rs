//! Workspaces.

use axum::extract::State;
use domain::WorkspaceId;
use domain::id::WorkspaceKind;
use domain::value::Name;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answered, Done, Outcome};
use super::asked::{Asked, Ids};
use super::values::{Named, Nothing};
use super::{Api, Shared};
use crate::order::{WorkspaceChange, WorkspaceOrder};
use crate::{Caller, Order};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(rename)).routes(routes!(archive))
}

/// Create a workspace
#[utoipa::path(post, path = "/workspaces", operation_id = "createWorkspace", tag = "workspaces", request_body = Named,
    responses((status = CREATED, description = "The workspace exists.", body = Outcome)))]
async fn create(State(api): State<Shared>, caller: Caller, asked: Asked<Named>) -> Answered {
    let order = Order::Workspace(WorkspaceOrder::Create { name: Name::new(&asked.body.name)? });
    let request = asked.envelope.request(&caller);
    let answer = api.send(&caller, request, order).await?;
    Ok(Done::created::<WorkspaceKind>(&answer, "/v1/workspaces"))
}

/// Rename a workspace
#[utoipa::path(patch, path = "/workspaces/{workspace}", operation_id = "renameWorkspace", tag = "workspaces",
    request_body = Named, responses((status = OK, description = "The workspace has this name.", body = Outcome)))]
async fn rename(
    State(api): State<Shared>,
    caller: Caller,
    Ids(workspace): Ids<WorkspaceId>,
    asked: Asked<Named>,
) -> Answered {
    let name = Name::new(&asked.body.name)?;
    change(&api, &caller, workspace, asked, WorkspaceChange::Rename { name }).await
}

/// Archive a workspace
///
/// It takes no new projects; those it has go on.
#[utoipa::path(post, path = "/workspaces/{workspace}/archive", operation_id = "archiveWorkspace", tag = "workspaces",
    request_body = Nothing, responses((status = OK, description = "The workspace is archived.", body = Outcome)))]
async fn archive(
    State(api): State<Shared>,
    caller: Caller,
    Ids(workspace): Ids<WorkspaceId>,
    asked: Asked<Nothing>,
) -> Answered {
    change(&api, &caller, workspace, asked, WorkspaceChange::Archive).await
}

async fn change<T>(
    api: &Api,
    caller: &Caller,
    workspace: WorkspaceId,
    asked: Asked<T>,
    change: WorkspaceChange,
) -> Answered {
    let order = Order::Workspace(WorkspaceOrder::Change { workspace, change });
    let request = asked.envelope.request(caller);
    Ok(Done::changed::<WorkspaceKind>(&api.send(caller, request, order).await?))
}
