//! Every event there is, for contracts and coverage tests.

use crate::aggregate::{Decider, Event, EventType};
use crate::card::Card;
use crate::environment::Environment;
use crate::project::Project;
use crate::provider::Provider;
use crate::run::Run;
use crate::subject::Subject;
use crate::tenant::Tenant;
use crate::workspace::Workspace;

/// An event as the contracts describe it.
#[derive(Debug, Clone)]
pub struct Described {
    /// The aggregate's name.
    pub aggregate: &'static str,
    /// The event's name and current version.
    pub event: EventType,
    /// The JSON Schema of its payload.
    pub schema: schemars::Schema,
}

fn of<A: Decider>(all: &mut Vec<Described>) {
    all.extend(A::Event::schemas().into_iter().map(|(event, schema)| Described { aggregate: A::TYPE, event, schema }));
}

/// Every event of every aggregate, in a fixed order.
pub fn events() -> Vec<Described> {
    let mut all = Vec::new();
    of::<Tenant>(&mut all);
    of::<Workspace>(&mut all);
    of::<Provider>(&mut all);
    of::<Project>(&mut all);
    of::<Card>(&mut all);
    of::<Run>(&mut all);
    of::<Environment>(&mut all);
    of::<Subject>(&mut all);
    all
}
