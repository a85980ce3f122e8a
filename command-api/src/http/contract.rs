//! What every endpoint has in common, added to the contract in one place: the ids in paths, the headers, the token, and
//! how each says no.

use domain::id::Kind;
use domain::id::{CardKind, ProjectKind, ProviderKind, RunKind, SubjectKind, TenantKind, WorkspaceKind};
use serde_json::json;
use utoipa::PartialSchema as _;
use utoipa::ToSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ContentBuilder, Header, InfoBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, ServerBuilder,
};

/// The name of the security scheme.
const TOKEN: &str = "token";

/// How the API says no: RFC 9457, with a stable code.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used; access::Problem writes it")]
struct Problem {
    /// Always `about:blank`: `code` tells problems apart.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// For people: what is wrong and, where known, what to do.
    detail: String,
    /// Stable and machine-readable, such as `lane_unknown`.
    code: String,
    /// Which part of the body is meant, such as `lanes[2].key`.
    field: Option<String>,
    /// With 412: the version that the thing has.
    current_version: Option<i64>,
    /// With 413: the bytes that a body may have.
    limit: Option<u64>,
    /// With 429 and 503: seconds to wait; the header `Retry-After` says the same.
    retry_after: Option<u32>,
}

/// A status, what it means, and an example of its `code` and `detail`.
type Refusal = (u16, &'static str, &'static str, &'static str);

const REFUSALS: [Refusal; 11] = [
    (
        400,
        "The body is not JSON, or not of this shape, or a header is malformed.",
        "json_invalid",
        "title: invalid type: integer `1`, expected a string",
    ),
    (401, "The token is missing, malformed, expired, or not valid here.", "token_expired", "the token has expired"),
    (403, "The token's role does not allow it.", "forbidden", "an auditor's token only reads"),
    (404, "There is no such thing, or it belongs to another tenant.", "not_found", "there is no such thing here"),
    (
        409,
        "A rule forbids it in the present state.",
        "run_already_active",
        "run run_01kafq0000e0sbch2gs9rjc5rd of this card is queued or under way; cancel it or wait for its end",
    ),
    (
        412,
        "The thing has another version than `If-Match` names.",
        "version_mismatch",
        "the version is 4, not the one named by If-Match; read it again",
    ),
    (413, "The body is too large.", "body_too_large", "the request's body has more than 1048576 bytes"),
    (
        415,
        "The body is not sent as JSON.",
        "content_type_unsupported",
        "the body must be JSON, sent with `Content-Type: application/json`",
    ),
    (
        422,
        "A value is out of its bounds, what it names does not exist, or the Idempotency-Key was used for another request.",
        "title_empty",
        "title: must not be empty",
    ),
    (
        429,
        "A limit is reached; it may pass later.",
        "too_many_active_runs",
        "10 runs of this project are queued or under way, and its policy allows 10",
    ),
    (
        503,
        "Just now it cannot be done; send it again with the same Idempotency-Key.",
        "log_unavailable",
        "the request could not be carried out just now; send it again with the same Idempotency-Key",
    ),
];

/// Adds to each endpoint what all have in common.
pub(super) fn complete(mut api: OpenApi) -> OpenApi {
    api.info = InfoBuilder::new()
        .title("AgentWorks")
        .version("1")
        .description(Some(DESCRIPTION))
        .license(Some(utoipa::openapi::LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    api.servers = Some(vec![ServerBuilder::new().url("/").build()]);
    api.tags = Some(
        ["tenants", "workspaces", "providers", "projects", "cards", "runs", "subjects"]
            .map(|name| TagBuilder::new().name(name).build())
            .into(),
    );
    let components = api.components.get_or_insert_default();
    components.schemas.insert("Problem".to_owned(), Problem::schema());
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(scheme));
    for (path, item) in &mut api.paths.paths {
        for operation in operations(item) {
            complete_operation(path, operation);
        }
    }
    api
}

const DESCRIPTION: &str = "Everything that changes something, and the stream of what happened. Questions are asked over GraphQL.\n\n\
    Every command may carry an `Idempotency-Key`: sending it again with the same key and body changes nothing and gives \
    the same answer, marked by `Idempotent-Replayed: true`. Every answer carries the thing's version (also as `ETag`; \
    send it back in `If-Match` to change only what you have seen) and a `position`: a query that names it waits until \
    it can show the effect.";

/// The operations of a path that there are.
fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

fn complete_operation(path: &str, operation: &mut Operation) {
    let creates = operation.responses.responses.contains_key("201");
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Parameter> = names.map(id_parameter).collect();
    parameters.push(header_parameter(
        "Idempotency-Key",
        "Names the request: 1 to 255 visible ASCII characters. Repeating it with the same key changes nothing.",
        "^[!-~]{1,255}$",
        "b7c1f0ce-3f0e-4b6f-8a52-3a1e3c1f9d10",
    ));
    if !creates {
        parameters.push(header_parameter(
            "If-Match",
            "Change it only if it still has this version. Without it, changes of others in between are taken in.",
            "^\"[0-9]+\"$",
            "\"3\"",
        ));
    }
    operation.parameters = Some(parameters.into_iter().map(RefOr::T).collect());
    operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])]);
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        body.required = Some(Required::True);
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            add_headers(response, creates);
        }
    }
    for refusal in REFUSALS.into_iter().filter(|(status, ..)| !(creates && *status == 412)) {
        operation.responses.responses.insert(refusal.0.to_string(), problem(refusal).into());
    }
}

fn add_headers(response: &mut Response, creates: bool) {
    let mut add = |name: &str, description: &str| {
        response.headers.insert(name.to_owned(), RefOr::T(header(description)));
    };
    add("ETag", "The version after the command, in quotes.");
    add("Idempotent-Replayed", "`true` when this is the answer that the same request got before.");
    if creates {
        add("Location", "The path of what was created.");
    }
}

fn problem((status, meaning, code, detail): Refusal) -> Response {
    let title = axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let example = json!({ "type": "about:blank", "title": title, "status": status, "code": code, "detail": detail });
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).example(Some(example)).build();
    let mut response = ResponseBuilder::new().description(meaning).content("application/problem+json", content);
    if status == 401 {
        response = response.header("WWW-Authenticate", header("How to authenticate."));
    }
    if matches!(status, 429 | 503) {
        response = response.header("Retry-After", header("Seconds to wait."));
    }
    response.build()
}

fn header(description: &str) -> Header {
    let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).build();
    HeaderBuilder::new().schema(Some(text)).description(Some(description)).build()
}

/// The prefix of the ids that stand at this place of a path.
fn prefix(name: &str) -> &'static str {
    match name {
        "tenant" => TenantKind::PREFIX,
        "workspace" => WorkspaceKind::PREFIX,
        "provider" => ProviderKind::PREFIX,
        "project" => ProjectKind::PREFIX,
        "run" => RunKind::PREFIX,
        "subject" => SubjectKind::PREFIX,
        _ => CardKind::PREFIX,
    }
}

fn id_parameter(name: &str) -> Parameter {
    let prefix = prefix(name);
    let schema = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .pattern(Some(format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$")))
        .examples([format!("{prefix}_01kafq0000e0sbch2gs9rjc5rd")])
        .build();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
        .build()
}

fn header_parameter(name: &str, description: &str, pattern: &str, example: &str) -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .pattern(Some(pattern))
        .examples([example])
        .build();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}
