//! Who acted. Decided by the credential, never by a field of a request.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::{IdError, RunId, UserId};

/// Who acted. In text: `user:usr_…`, `operator:opr_…`, `agent:run_…` or `system:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person.
    User(UserId),
    /// Somebody who runs the installation: in a token by name, in the log under a pseudonym
    /// ([`OperatorId`](crate::id::OperatorId)); by name in events of before there were pseudonyms.
    Operator(String),
    /// The agent of a run.
    Agent(RunId),
    /// A part of the system itself, such as a process manager.
    System(Cow<'static, str>),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Operator(name) => write!(f, "operator:{name}"),
            Self::Agent(run) => write!(f, "agent:{run}"),
            Self::System(name) => write!(f, "system:{name}"),
        }
    }
}

/// Why a text names no actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActorError {
    /// The part before the colon is none of the known kinds.
    #[error("an actor is written `user:…`, `operator:…`, `agent:…` or `system:…`")]
    Kind,
    /// The id after the colon is malformed.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl FromStr for Actor {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, ActorError> {
        match text.split_once(':') {
            Some(("user", id)) => Ok(Self::User(id.parse()?)),
            Some(("operator", name)) if !name.is_empty() => Ok(Self::Operator(name.to_owned())),
            Some(("agent", id)) => Ok(Self::Agent(id.parse()?)),
            Some(("system", name)) if !name.is_empty() => Ok(Self::System(Cow::Owned(name.to_owned()))),
            _ => Err(ActorError::Kind),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Actor {
    fn schema_name() -> Cow<'static, str> {
        "Actor".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(user|operator|agent|system):.+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_unknown_kinds_are_refused() {
        for text in ["operator:ada", "system:run-card", "user:usr_01h455vb4pex5vsknk084sn02q"] {
            assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
        }
        for text in ["", "root", "system:", "operator:", "user:ada", "agent:crd_01h455vb4pex5vsknk084sn02q"] {
            assert!(text.parse::<Actor>().is_err(), "{text}");
        }
    }
}
