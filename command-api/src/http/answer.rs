//! What goes out when an order was carried out.

use access::Problem;
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::id::Kind;
use domain::{Id, RunId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Answer;

/// Says that an earlier answer is given again.
pub(super) const REPLAYED: &str = "idempotent-replayed";

/// What every handler gives back.
pub(super) type Answered = Result<Done, Problem>;

/// An order was carried out.
pub(super) struct Done {
    status: StatusCode,
    version: i64,
    repeated: bool,
    location: Option<String>,
    body: Outcome,
}

/// The answer to a command that was carried out.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "crd_01kafq0000e0sbch2gs9rjc5rd", "version": 3, "position": "p0z1a",
}))]
pub(crate) struct Outcome {
    /// What the command was about, or what it created.
    id: String,
    /// Its version after the command; the `ETag` header says the same.
    #[schema(minimum = 0)]
    version: i64,
    /// Opaque. A query that names it waits until it can show the command's effect.
    position: String,
    /// The run that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
}

impl Done {
    /// 200: something that exists was changed, or was so already.
    pub(super) fn changed<K: Kind>(answer: &Answer) -> Self {
        let body = Outcome {
            id: Id::<K>::from_uuid(answer.stream).to_string(),
            version: answer.version,
            position: answer.cursor.to_string(),
            run: None,
        };
        Self { status: StatusCode::OK, version: answer.version, repeated: answer.repeated, location: None, body }
    }

    /// 201: something was created below `collection`, such as `/v1/projects`.
    pub(super) fn created<K: Kind>(answer: &Answer, collection: &str) -> Self {
        let changed = Self::changed::<K>(answer);
        let location = format!("{collection}/{}", changed.body.id);
        Self { status: StatusCode::CREATED, location: Some(location), ..changed }
    }

    /// 202: a run was asked for.
    pub(super) fn accepted<K: Kind>(answer: &Answer, run: RunId) -> Self {
        let mut changed = Self::changed::<K>(answer);
        changed.body.run = Some(run.to_string());
        Self { status: StatusCode::ACCEPTED, ..changed }
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        // Digits, ids and slashes are always valid in a header.
        if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", self.version)) {
            headers.insert(header::ETAG, etag);
        }
        if let Some(location) = self.location.and_then(|location| HeaderValue::try_from(location).ok()) {
            headers.insert(header::LOCATION, location);
        }
        if self.repeated {
            headers.insert(HeaderName::from_static(REPLAYED), HeaderValue::from_static("true"));
        }
        response
    }
}
