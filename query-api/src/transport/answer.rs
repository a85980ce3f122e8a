//! Answers as JSON text.

use async_graphql::{Response as Answer, ServerError, Value};
use serde::Serialize;

/// An answer that holds nothing but errors, which has no entry `data`.
#[derive(Serialize)]
struct Refusal<'a> {
    errors: &'a [ServerError],
}

/// An answer as JSON text.
pub(super) fn text(answer: &Answer) -> String {
    let text = if never_ran(answer) {
        serde_json::to_string(&Refusal { errors: &answer.errors })
    } else {
        serde_json::to_string(answer)
    };
    text.unwrap_or_else(|error| {
        tracing::error!(%error, "an answer has no JSON form");
        r#"{"errors":[{"message":"something went wrong here","extensions":{"code":"internal"}}]}"#.into()
    })
}

/// Whether the document was refused before anything ran: what fails while it runs has a path.
pub(super) fn never_ran(answer: &Answer) -> bool {
    answer.data == Value::Null && !answer.errors.is_empty() && answer.errors.iter().all(|error| error.path.is_empty())
}
