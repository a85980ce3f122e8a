//! Values that several resources take, as they are written in JSON.

use std::fmt;
use std::marker::PhantomData;

use access::Problem;
use axum::http::StatusCode;
use domain::project::{ExecutionPolicy, Lane, LaneRole, Lanes, ModelChoice, Tool};
use domain::provider::ProviderKind;
use domain::value::{LaneKey, ModelName, Name, Text};
use domain::{Invalid, ProviderId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type};

/// Bytes that the longest key or credential has.
const SECRET_BYTES: usize = 8 * 1024;

/// What is written as a JSON object. Serde alone takes an array of the members' values for it as well.
#[derive(Default)]
pub(super) struct Members<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Only(PhantomData)).map(Self)
    }
}

struct Only<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Only<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// Nothing is said.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({}))]
pub(super) struct Nothing {}

/// A new name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Shop" }))]
pub(super) struct Named {
    /// One line, 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    pub(super) name: String,
}

/// One column of a board.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LaneBody {
    /// Stable within the project: 1 to 40 of `a-z`, `0-9` and `-`.
    #[schema(pattern = "^[a-z0-9-]{1,40}$", example = "in-progress")]
    key: String,
    /// What people call it.
    #[schema(min_length = 1, max_length = 200, example = "In progress")]
    name: String,
    /// What it means to runs; one lane must have the role `done`.
    #[schema(schema_with = lane_role)]
    role: LaneRole,
    /// Whether a card may be run from it.
    #[serde(default = "yes")]
    #[schema(default = true)]
    runs_allowed: bool,
}

fn yes() -> bool {
    true
}

/// The board's lanes of these bodies, in order.
pub(super) fn lanes(bodies: Vec<Members<LaneBody>>) -> Result<Lanes, Problem> {
    let lane = |body: LaneBody| -> Result<Lane, Invalid> {
        Ok(Lane {
            key: LaneKey::new(&body.key)?,
            name: Name::new(&body.name)?,
            role: body.role,
            runs_allowed: body.runs_allowed,
        })
    };
    let lanes = bodies.into_iter().enumerate().map(|(i, Members(body))| {
        lane(body).map_err(|invalid| {
            let field = if invalid.field == "name" { "name" } else { "key" };
            Problem::from(invalid).with("field", format!("lanes[{i}].{field}"))
        })
    });
    Ok(Lanes::new(lanes.collect::<Result<_, _>>()?)?)
}

/// The bounds of a project's runs. What is not named takes its default.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "max_steps": 80, "max_run_seconds": 1800, "test_command": "cargo test" }))]
pub(super) struct PolicyBody {
    /// What the agent may do.
    #[schema(schema_with = tools)]
    allowed_tools: Vec<Tool>,
    /// Model calls a run may make.
    #[schema(minimum = 1, maximum = 500, default = 50)]
    max_steps: u32,
    /// Seconds of wall clock for an attempt.
    #[schema(minimum = 1, maximum = 86400, default = 900)]
    max_run_seconds: u32,
    /// Seconds for one command.
    #[schema(minimum = 1, maximum = 3600, default = 300)]
    command_timeout_seconds: u32,
    /// Tokens that one model answer may have.
    #[schema(minimum = 256, maximum = 128_000, default = 8192)]
    max_output_tokens: u32,
    /// Memory of the environment, in MiB.
    #[schema(minimum = 64, maximum = 1_048_576, default = 2048)]
    memory_mib: u32,
    /// Processes in the environment.
    #[schema(minimum = 16, maximum = 32768, default = 256)]
    max_processes: u32,
    /// Runs of the project that may be queued or under way at the same time.
    #[schema(minimum = 1, maximum = 1000, default = 10)]
    max_active_runs: u32,
    /// Attempts of a run, when one dies without a result.
    #[schema(minimum = 1, maximum = 10, default = 2)]
    max_attempts: u32,
    /// The command that runs the project's tests; a run succeeds only if it does.
    test_command: Option<String>,
}

impl Default for PolicyBody {
    fn default() -> Self {
        let policy = ExecutionPolicy::default();
        Self {
            allowed_tools: policy.allowed_tools,
            max_steps: policy.max_steps,
            max_run_seconds: policy.max_run_seconds,
            command_timeout_seconds: policy.command_timeout_seconds,
            max_output_tokens: policy.max_output_tokens,
            memory_mib: policy.memory_mib,
            max_processes: policy.max_processes,
            max_active_runs: policy.max_active_runs,
            max_attempts: policy.max_attempts,
            test_command: None,
        }
    }
}

impl PolicyBody {
    pub(super) fn checked(self) -> Result<ExecutionPolicy, Invalid> {
        let test_command = self.test_command.map(|text| Text::not_blank("policy.test_command", &text)).transpose()?;
        ExecutionPolicy {
            allowed_tools: self.allowed_tools,
            max_steps: self.max_steps,
            max_run_seconds: self.max_run_seconds,
            command_timeout_seconds: self.command_timeout_seconds,
            max_output_tokens: self.max_output_tokens,
            memory_mib: self.memory_mib,
            max_processes: self.max_processes,
            max_active_runs: self.max_active_runs,
            max_attempts: self.max_attempts,
            test_command,
        }
        .checked()
    }
}

/// Which provider and model a project's runs use.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "provider": "prv_01kafq0000e0sbch2gs9rjc5rd", "model": "claude-sonnet-4-5" }))]
pub(super) struct ModelBody {
    /// Whose account pays.
    #[schema(value_type = String)]
    provider: ProviderId,
    /// The model; the provider's default when absent.
    model: Option<String>,
}

impl ModelBody {
    pub(super) fn checked(self) -> Result<ModelChoice, Invalid> {
        let model = self.model.map(|model| ModelName::new(&model)).transpose()?;
        Ok(ModelChoice { provider: self.provider, model })
    }
}

/// The secret, when it can stand in a header: not empty, bounded, without spaces and control characters.
pub(super) fn secret(field: &'static str, code: &'static str, secret: SecretString) -> Result<SecretString, Problem> {
    let text = secret.expose_secret();
    if (1..=SECRET_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(secret);
    }
    let detail = format!("{field}: must be 1 to {SECRET_BYTES} visible ASCII characters");
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).with("field", field))
}

/// Tells `null` (`Some(None)`) from an absent field (`None`, by `serde(default)`).
pub(super) fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn one_of(names: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).enum_values(Some(names)).build()
}

fn lane_role() -> Object {
    one_of(["backlog", "ready", "in_progress", "review", "done", "blocked", "other"])
}

fn tools() -> Schema {
    ArrayBuilder::new().items(one_of(Tool::ALL.map(Tool::as_str))).into()
}

/// The vendors' protocols.
pub(super) fn provider_kind() -> Object {
    one_of([ProviderKind::Anthropic, ProviderKind::Openai].map(ProviderKind::as_str))
}
