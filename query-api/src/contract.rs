//! What is read over HTTP besides GraphQL, as the contract describes it.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Ref, Response, ResponseBuilder};

#[derive(OpenApi)]
#[openapi(
    paths(crate::replay::replay, crate::events::stream_events),
    tags((name = "audit", description = "How it came about."), (name = "events", description = "What happens, as a stream."))
)]
struct Reading;

/// What every reading may be refused for.
const REFUSALS: [(&str, &str); 4] = [
    ("400", "A parameter is malformed, or names what does not exist; `field` says which one."),
    ("401", "The token is missing, malformed, expired, or not valid here."),
    ("403", "The token's role does not allow it."),
    ("503", "The log cannot be read just now; `Retry-After` says when to come again."),
];

/// The contract of what is read, to be merged with that of the commands, which describes the token and `Problem`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut contract = Reading::openapi();
    for operation in contract.paths.paths.values_mut().filter_map(get) {
        operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("token", [])]);
        let answers = &mut operation.responses.responses;
        for (status, meaning) in REFUSALS {
            answers.entry(status.to_owned()).or_insert_with(|| problem(meaning).into());
        }
    }
    contract
}

fn get(item: &mut PathItem) -> Option<&mut Operation> {
    item.get.as_mut()
}

fn problem(meaning: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(meaning).content("application/problem+json", content).build()
}
