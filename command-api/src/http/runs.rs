//! Runs. They are asked for on their card; here they can be stopped.

use axum::extract::State;
use domain::id::RunKind;
use domain::run::RunCommand;
use domain::value::Reason;
use domain::{PersonalText, RunId};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::answer::{Answered, Done, Outcome};
use super::asked::{Asked, Ids};
use crate::{Caller, Order};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(cancel))
}

/// Why a run is stopped.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "the card was wrong" }))]
struct CancelRun {
    /// For people, 1 to 2,000 characters.
    #[schema(min_length = 1, max_length = 2000)]
    reason: Option<String>,
}

/// Stop a run
#[utoipa::path(post, path = "/runs/{run}/cancel", operation_id = "cancelRun", tag = "runs", request_body = CancelRun,
    responses((status = OK, description = "The run is cancelled.", body = Outcome)))]
async fn cancel(State(api): State<Shared>, caller: Caller, Ids(run): Ids<RunId>, asked: Asked<CancelRun>) -> Answered {
    let reason = asked.body.reason.map(|reason| Reason::new(&reason).map(PersonalText::plain)).transpose()?;
    let order = Order::Run { run, command: RunCommand::Cancel { reason } };
    let request = asked.envelope.request(&caller);
    Ok(Done::changed::<RunKind>(&api.send(&caller, request, order).await?))
}
