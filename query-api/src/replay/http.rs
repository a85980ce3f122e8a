//! `GET /v1/cards/{card}/replay`.

use access::Problem;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::moment::NoMoment;
use super::{Moment, Page, Replay, Unanswered, walk};
use crate::state::QueryState;
use crate::viewer;

/// Steps of an answer when the request names no number, and at most.
const LIMIT: (i64, i64) = (200, 1_000);

/// Which part of a card's history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// The history as it was at this moment: a cursor that the API has given out, a position, or a time (RFC 3339) by
    /// which it was recorded. Now when absent.
    #[serde(rename = "asOf")]
    #[param(rename = "asOf")]
    as_of: Option<String>,
    /// Only what stands after this cursor.
    after: Option<String>,
    /// Steps at most, 1 to 1000; 200 when absent.
    limit: Option<i64>,
}

/// Replay a card
///
/// What happened to a card, to its runs and to their environments, step by step, from the log itself: who acted, what caused
/// it, what the card was after it, and what proves it.
#[utoipa::path(get, path = "/v1/cards/{card}/replay", operation_id = "replayCard", tag = "audit", params(Asked),
    responses((status = OK, description = "A part of the history, in order.", body = Replay)))]
pub(crate) async fn replay(
    State(state): State<QueryState>,
    headers: HeaderMap,
    Path(card): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Replay>, Problem> {
    let viewer = viewer::of_headers(&state.verifier, &headers)?;
    let Query(asked) = asked.map_err(|error| malformed("parameter_invalid", error.body_text()))?;
    let page = asked.page()?;
    // A malformed id names nothing, so it is answered like an unknown one.
    let card = card.parse().map_err(|_| Problem::not_found())?;
    walk(&state.reading, viewer.tenant, card, page).await.map_err(problem)?.map(Json).ok_or_else(Problem::not_found)
}

impl Asked {
    fn page(&self) -> Result<Page, Problem> {
        let as_of = match &self.as_of {
            None => None,
            Some(text) => Some(Moment::parse(text).ok_or_else(|| {
                malformed(
                    "as_of_invalid",
                    "`asOf` is a cursor that the API has given out, a position, or a time such as 2026-11-20T12:00:00Z",
                )
            })?),
        };
        let after = match &self.after {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| problem(Unanswered::After))?),
        };
        let limit = self.limit.unwrap_or(LIMIT.0);
        if !(1..=LIMIT.1).contains(&limit) {
            return Err(malformed("limit_invalid", format!("`limit` is 1 to {}", LIMIT.1)));
        }
        Ok(Page { after, as_of, limit })
    }
}

fn malformed(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, detail)
}

/// How a question that cannot be answered is answered.
fn problem(why: Unanswered) -> Problem {
    let detail = why.to_string();
    match why {
        Unanswered::Moment(NoMoment::Ahead) => malformed("as_of_invalid", detail),
        Unanswered::After => malformed("cursor_invalid", detail),
        Unanswered::NotYet(_) => Problem::unavailable("not_yet_visible", detail, 1),
        Unanswered::Moment(NoMoment::Log(error)) | Unanswered::Log(error) => {
            tracing::error!(%error, "a card could not be replayed");
            match error {
                outbox::LogError::Database(_) => {
                    Problem::unavailable("log_unavailable", "the log cannot be read just now; ask again", 1)
                }
                _ => Problem::internal(),
            }
        }
        Unanswered::Decode(error) => {
            tracing::error!(%error, "a card could not be replayed");
            Problem::internal()
        }
    }
}
