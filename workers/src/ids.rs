//! Ids that workers give out: fresh ones for new things, derived ones for what must happen once.

use domain::id::{CommandId, EventId};
use domain::{EnvironmentId, RunId};
use uuid::Uuid;

/// Under which every derived id of this crate stands. Never changes: a command that is repeated after an update must
/// still be recognised.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0e_2b8c_5a1d_4c57_9d3a_77f2_41c6_e0b9);

/// A new id, sorted by its time.
#[expect(clippy::disallowed_methods, reason = "this is the room for it: new environments, tokens and calls need ids")]
pub(crate) fn fresh() -> Uuid {
    Uuid::now_v7()
}

fn derived(name: &str) -> CommandId {
    CommandId::from_uuid(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}

/// The command that a process manager sends in `step` of its reaction to `event`.
pub(crate) fn of_reaction(event: EventId, step: &str) -> CommandId {
    derived(&format!("{event}/{step}"))
}

/// The command by which `step` of an attempt is told to its run.
pub(crate) fn of_attempt(run: RunId, attempt: u32, step: &str) -> CommandId {
    derived(&format!("{run}/{attempt}/{step}"))
}

/// The command by which `step` of an environment's life is told.
pub(crate) fn of_environment(environment: EnvironmentId, step: &str) -> CommandId {
    derived(&format!("{environment}/{step}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_step_has_the_same_id_and_another_step_another() {
        let (run, event) = (RunId::from_uuid(Uuid::from_u128(1)), EventId::from_uuid(Uuid::from_u128(1)));
        assert_eq!(of_attempt(run, 1, "lose"), of_attempt(run, 1, "lose"));
        assert_ne!(of_attempt(run, 1, "lose"), of_attempt(run, 2, "lose"));
        assert_ne!(of_reaction(event, "queue-run"), of_reaction(event, "finish-card"));
        // Pinned: see NAMESPACE.
        assert_eq!(of_attempt(run, 1, "lose").uuid().get_version_num(), 5);
    }
}
