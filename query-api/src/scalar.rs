//! Scalars, and ids as clients write them.

use async_graphql::{ID, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use domain::id::{CardKind, EnvironmentKind, ProjectKind, ProviderKind, RunKind, TenantKind, WorkspaceKind};
use domain::{Id, Kind};

/// A place in the log, opaque to clients: commands answer with one, frames and boards carry one. Give it back as
/// `waitFor` to see at least that much, or as `since` to go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor(pub(crate) schemas::Cursor);

/// A place in the log, opaque to clients: commands answer with one, frames and boards carry one. Give it back as
/// `waitFor` to see at least that much, or as `since` to go on from there.
#[Scalar(name = "Cursor")]
impl ScalarType for Cursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => text.parse().map(Self).map_err(InputValueError::custom),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A whole number that may need 64 bits, as decimal digits in a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BigInt(pub(crate) i64);

/// A whole number that may need 64 bits, as decimal digits in a string.
#[Scalar(name = "BigInt")]
impl ScalarType for BigInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => text.parse().map(Self).map_err(InputValueError::custom),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// The id that a client names. A malformed one names nothing, so it is answered like an unknown one.
pub(crate) fn named<K: Kind>(id: &ID) -> Option<Id<K>> {
    id.parse().ok()
}

/// An id as clients see it.
pub(crate) fn id<K: Kind>(uuid: uuid::Uuid) -> ID {
    ID(Id::<K>::from_uuid(uuid).to_string())
}

/// The id of an aggregate of that type, as clients see it. One of a type that has no kind of its own is a bare UUID.
pub(crate) fn aggregate(kind: &str, stream: uuid::Uuid) -> ID {
    match kind {
        "tenant" => id::<TenantKind>(stream),
        "workspace" => id::<WorkspaceKind>(stream),
        "provider" => id::<ProviderKind>(stream),
        "project" => id::<ProjectKind>(stream),
        "card" => id::<CardKind>(stream),
        "run" => id::<RunKind>(stream),
        "environment" => id::<EnvironmentKind>(stream),
        _ => ID(stream.to_string()),
    }
}

/// A version or a small count as GraphQL's 32-bit `Int`; larger ones stand at the end of the scale.
pub(crate) fn int(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
