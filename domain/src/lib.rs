//! What may happen: aggregates, process managers, limits.
//!
//! Everything here is pure. A decision reads no clock, draws no random number and does no I/O: time, ids,
//! the actor and looked-up facts arrive inside the command, so any history can be replayed and any rule tested
//! with plain values. What may be said to an aggregate is its `command.rs`, what it answers its `decide.rs`,
//! what then is true its `event.rs`, and why it refused its `error.rs`.

pub mod actor;
pub mod aggregate;
pub mod card;
pub mod environment;
#[cfg(test)]
mod given;
pub mod id;
pub mod personal;
pub mod process;
pub mod project;
pub mod provider;
pub mod registry;
pub mod run;
pub mod subject;
pub mod tenant;
pub mod value;
pub mod workspace;

pub use actor::Actor;
pub use aggregate::{Decider, DecodeError, Event, EventType, Refusal, RefusalKind};
pub use id::{
    CardId, EnvironmentId, EventId, Id, IdError, Kind, ProjectId, ProviderId, RunId, SubjectId, TenantId, WorkspaceId,
};
pub use personal::{PersonalText, Saying};
pub use value::Invalid;
