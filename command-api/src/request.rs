//! What comes with an order: what makes it one and the same when it is repeated, and what it follows from.

use domain::id::{CommandId, EventId, RunId, TenantId};
use domain::value::SecretRef;
use domain::{Actor, Id};
use schemas::Recorded;
use secrecy::SecretString;
use uuid::Uuid;

use crate::clock;
use crate::vault::{Deposit, Vault};

/// Names the ids that this crate derives.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d3b_7c1e_52f4_4f0a_9c55_0e8f_41d2_b7a9);

/// What comes with an order.
#[derive(Debug)]
pub struct Request {
    /// Names the request within its tenant: the same id is the same request.
    pub command: CommandId,
    /// What tells another request under the same id apart; `None`: the order's kind and target.
    pub fingerprint: Option<[u8; 32]>,
    /// Whether the same id may come again, so that an earlier answer is looked for first.
    pub repeatable: bool,
    /// The version that the caller has seen. With it a conflict is the caller's to solve, without it ours.
    pub expected_version: Option<i64>,
    /// The same for everything that follows from one outside request.
    pub correlation: Uuid,
    /// The event that caused this, if one did.
    pub causation: Option<EventId>,
    /// W3C trace context to continue where no span of this process is under way.
    pub traceparent: Option<String>,
    /// A secret that belongs to the order: stored only once the order is decided, and before it is appended.
    pub deposit: Option<Deposit>,
}

impl Request {
    /// A request of the system itself. `command` must be derived from what caused it, so that doing it again repeats
    /// the request instead of making another.
    pub fn internal(
        command: CommandId,
        correlation: Uuid,
        causation: Option<EventId>,
        traceparent: Option<String>,
    ) -> Self {
        Self {
            command,
            fingerprint: None,
            repeatable: true,
            expected_version: None,
            correlation,
            causation,
            traceparent,
            deposit: None,
        }
    }

    /// A request of the system itself that follows from an event. `step` tells apart what follows from the same event.
    pub fn because_of(event: &Recorded, step: &str) -> Self {
        Self::internal(
            Id::from_uuid(derived(event.id.uuid(), step)),
            event.metadata.correlation,
            Some(event.id),
            event.metadata.traceparent.clone(),
        )
    }

    /// A request that is not meant to be repeated and follows from nothing before it.
    pub fn fresh() -> Self {
        let command = clock::id();
        Self { repeatable: false, ..Self::internal(Id::from_uuid(command), command, None, None) }
    }

    /// A request that its caller can repeat by naming the same `key` again.
    pub fn keyed(tenant: Option<TenantId>, actor: &Actor, key: &str, fingerprint: [u8; 32]) -> Self {
        // NUL stands in neither part, so no two pairs read the same.
        let name = format!("{}\0{actor}\0{key}", tenant.map(|tenant| tenant.to_string()).unwrap_or_default());
        let command = derived(NAMESPACE, &name);
        Self { fingerprint: Some(fingerprint), ..Self::internal(Id::from_uuid(command), command, None, None) }
    }

    /// The request with a secret that goes into the vault with it, and where it will be.
    pub fn with_secret(self, vault: &Vault, secret: SecretString) -> (Self, SecretRef) {
        let deposit = vault.deposit(self.command, &self.fingerprint.unwrap_or_default(), secret);
        let reference = deposit.reference();
        (Self { deposit: Some(deposit), ..self }, reference)
    }

    /// The run that this request asks for, when it asks for one: the same when repeated.
    pub fn run(&self) -> RunId {
        run_of(self.command)
    }

    /// The tenant that this request creates, when it creates one: the same when repeated, since commands are known
    /// only within their tenant.
    pub fn tenant(&self) -> TenantId {
        Id::from_uuid(derived(self.command.uuid(), "tenant"))
    }
}

/// The run that a command asks for.
pub(crate) fn run_of(command: CommandId) -> RunId {
    Id::from_uuid(derived(command.uuid(), "run"))
}

/// The id named `name` below `parent`.
pub(crate) fn derived(parent: Uuid, name: &str) -> Uuid {
    Uuid::new_v5(&parent, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_of_the_same_caller_is_the_same_command() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        let ada = Actor::Operator("ada".into());
        let command = |tenant, actor: &Actor, key| Request::keyed(tenant, actor, key, [0; 32]).command;
        let one = command(Some(tenant), &ada, "k");
        assert_eq!(one, command(Some(tenant), &ada, "k"));
        for other in [
            command(Some(tenant), &ada, "l"),
            command(None, &ada, "k"),
            command(Some(tenant), &Actor::Operator("bob".into()), "k"),
        ] {
            assert_ne!(one, other);
        }
    }
}
