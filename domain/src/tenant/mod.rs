//! A tenant: billing and isolation. Everything belongs to one.

mod command;
mod decide;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use command::TenantCommand;
use cqrs_es::persist::EventUpcaster;
pub use error::TenantRefusal;
pub use event::{TenantCreated, TenantEvent, TenantRenamed, TenantResumed, TenantSuspended};
use serde::{Deserialize, Serialize};

use crate::aggregate::Decider;
use crate::personal::OnceReadable;
use crate::value::Name;

/// The state of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Tenant {
    /// It does not exist.
    #[default]
    Absent,
    /// It may work.
    Active {
        /// What people call it.
        name: Name,
    },
    /// It may read but not work.
    Suspended {
        /// What people call it.
        name: Name,
    },
}

impl Tenant {
    /// Whether it exists and may work.
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Active { .. })
    }
}

impl Decider for Tenant {
    const TYPE: &'static str = "tenant";
    const STATE: i32 = 1;
    type Command = TenantCommand;
    type Event = TenantEvent;
    type Refusal = TenantRefusal;

    fn decide(&self, command: TenantCommand) -> Result<Vec<TenantEvent>, TenantRefusal> {
        decide::decide(self, command)
    }

    fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
        vec![Box::new(OnceReadable("TenantSuspended"))]
    }

    fn evolve(&mut self, event: &TenantEvent) {
        match (&mut *self, event) {
            (Self::Absent, TenantEvent::Created(created)) => *self = Self::Active { name: created.name.clone() },
            (Self::Active { name } | Self::Suspended { name }, TenantEvent::Renamed(renamed)) => {
                *name = renamed.name.clone();
            }
            (Self::Active { name }, TenantEvent::Suspended(_)) => *self = Self::Suspended { name: name.clone() },
            (Self::Suspended { name }, TenantEvent::Resumed(_)) => *self = Self::Active { name: name.clone() },
            _ => {}
        }
    }
}

crate::cqrs_aggregate!(Tenant);
