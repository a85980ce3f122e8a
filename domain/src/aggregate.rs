//! The shape every aggregate has, and its adapter to `cqrs_es`.

use std::fmt::Debug;

use cqrs_es::persist::EventUpcaster;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An aggregate: decides on commands and evolves by events, both without any I/O.
pub trait Decider: Default + Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The aggregate's name in the log and on the bus, such as `card`.
    const TYPE: &'static str;
    /// The form of the state: one more whenever its fields, or what [`Decider::evolve`] makes of an event, change. What
    /// was kept in another form (a snapshot) is then ignored. `schemas/tests/states.rs` notices.
    const STATE: i32;
    /// What may be asked of it.
    type Command: Debug + Send + Sync + 'static;
    /// What may have happened to it.
    type Event: Event;
    /// Why it says no.
    type Refusal: Refusal;

    /// What follows from `command` in this state. Nothing changes by asking; no events means that the command is
    /// already fulfilled.
    ///
    /// # Errors
    /// The rule that the command would break.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// Takes in a fact. It happened, so this cannot fail; a fact that makes no sense here changes nothing.
    fn evolve(&mut self, event: &Self::Event);

    /// The chain that lifts stored events of older versions to what [`Event::decode`] reads, in order.
    fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
        Vec::new()
    }

    /// The state after `events`.
    fn fold<'a>(events: impl IntoIterator<Item = &'a Self::Event>) -> Self {
        let mut state = Self::default();
        for event in events {
            state.evolve(event);
        }
        state
    }
}

/// The events of one aggregate. Implemented by [`events!`](crate::events).
pub trait Event: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + Sync + 'static {
    /// Every event of the aggregate with its current version.
    const TYPES: &'static [EventType];

    /// This event's name and current version.
    fn event_type(&self) -> EventType;

    /// The payload as it is stored: the event's fields, without its name.
    ///
    /// # Errors
    /// When a value has no JSON form; no event here has such a value.
    fn encode(&self) -> Result<String, serde_json::Error>;

    /// The event of that name from a payload of its *current* version.
    ///
    /// # Errors
    /// When the name is unknown or the payload does not fit.
    fn decode(name: &str, payload: &str) -> Result<Self, DecodeError>;

    /// The JSON Schemas of the current payloads, in the order of [`Event::TYPES`].
    fn schemas() -> Vec<(EventType, schemars::Schema)>;
}

/// An event's name and the version of its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventType {
    /// Past tense and unique over all aggregates, such as `CardMoved`.
    pub name: &'static str,
    /// Starts at 1; a new one comes with an upcaster from the one before.
    pub version: u16,
}

/// Why a stored event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The name is none of the aggregate's.
    #[error("unknown event type `{0}`; was it written by a newer release?")]
    Unknown(String),
    /// The version is newer than this program knows.
    #[error("event `{name}` has version {version}, newer than this release understands")]
    Newer {
        /// The event's name.
        name: String,
        /// The version found.
        version: u16,
    },
    /// The payload does not fit the name.
    #[error("the payload of event `{name}` cannot be read: {source}")]
    Payload {
        /// The event's name.
        name: String,
        /// What does not fit.
        source: serde_json::Error,
    },
}

/// How the edges translate a [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The thing does not exist (or belongs to another tenant, which looks the same).
    NotFound,
    /// The command itself makes no sense: a value is out of its bounds.
    Invalid,
    /// A rule forbids it in the present state.
    Rule,
    /// A limit is reached; it may pass later.
    Limit,
}

/// Why an aggregate says no: one variant a broken rule.
pub trait Refusal: std::error::Error + Clone + PartialEq + Send + Sync + 'static {
    /// Stable and machine-readable, such as `run_already_active`.
    fn code(&self) -> &'static str;
    /// How an edge should answer.
    fn kind(&self) -> RefusalKind;
}

/// Declares an aggregate's events: one line each, `Variant(Payload) = version`, where the payload's name is the event's.
#[macro_export]
macro_rules! events {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$vdoc:meta])* $variant:ident($payload:ident) = $version:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        $vis enum $name { $($(#[$vdoc])* $variant($payload),)* }

        impl $crate::aggregate::Event for $name {
            const TYPES: &'static [$crate::aggregate::EventType] =
                &[$($crate::aggregate::EventType { name: stringify!($payload), version: $version },)*];

            fn event_type(&self) -> $crate::aggregate::EventType {
                match self {
                    $(Self::$variant(_) => $crate::aggregate::EventType { name: stringify!($payload), version: $version },)*
                }
            }

            fn encode(&self) -> Result<String, serde_json::Error> {
                match self { $(Self::$variant(payload) => serde_json::to_string(payload),)* }
            }

            fn decode(name: &str, payload: &str) -> Result<Self, $crate::aggregate::DecodeError> {
                match name {
                    $(stringify!($payload) => serde_json::from_str(payload).map(Self::$variant).map_err(|source| {
                        $crate::aggregate::DecodeError::Payload { name: name.to_owned(), source }
                    }),)*
                    _ => Err($crate::aggregate::DecodeError::Unknown(name.to_owned())),
                }
            }

            fn schemas() -> Vec<($crate::aggregate::EventType, schemars::Schema)> {
                vec![$((
                    $crate::aggregate::EventType { name: stringify!($payload), version: $version },
                    schemars::schema_for!($payload),
                ),)*]
            }
        }

        impl cqrs_es::DomainEvent for $name {
            fn event_type(&self) -> String {
                $crate::aggregate::Event::event_type(self).name.to_owned()
            }

            fn event_version(&self) -> String {
                $crate::aggregate::Event::event_type(self).version.to_string()
            }
        }

        $(impl From<$payload> for $name {
            fn from(payload: $payload) -> Self {
                Self::$variant(payload)
            }
        })*
    };
}

/// Adapts a [`Decider`] to `cqrs_es::Aggregate`.
#[macro_export]
macro_rules! cqrs_aggregate {
    ($name:ty) => {
        impl cqrs_es::Aggregate for $name {
            const TYPE: &'static str = <$name as $crate::aggregate::Decider>::TYPE;
            type Command = <$name as $crate::aggregate::Decider>::Command;
            type Event = <$name as $crate::aggregate::Decider>::Event;
            type Error = <$name as $crate::aggregate::Decider>::Refusal;
            type Services = ();

            async fn handle(
                &mut self,
                command: Self::Command,
                _services: &(),
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), Self::Error> {
                for event in $crate::aggregate::Decider::decide(self, command)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: Self::Event) {
                $crate::aggregate::Decider::evolve(self, &event);
            }
        }
    };
}
