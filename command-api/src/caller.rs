//! Who is asking, and whether they may.

use std::borrow::Cow;

use access::Role;
use domain::run::RunCommand;
use domain::{Actor, RunId, TenantId};

use crate::Order;
use crate::order::TenantOrder;

/// Who is asking, and in which tenant. Built from a token, or by a worker for itself; never from a request's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant that is acted in. For an operator: the tenant that is acted on.
    pub tenant: TenantId,
    /// Who acts.
    pub actor: Actor,
    /// What it may do.
    pub role: Role,
}

impl Caller {
    /// A part of the system itself, such as `run-card`, acting in a tenant.
    pub fn system(tenant: TenantId, name: &'static str) -> Self {
        Self { tenant, actor: Actor::System(Cow::Borrowed(name)), role: Role::Owner }
    }

    /// The agent of a run. It may speak to its own run and to nothing else.
    pub fn agent(tenant: TenantId, run: RunId) -> Self {
        Self { tenant, actor: Actor::Agent(run), role: Role::Owner }
    }

    /// Whether it may give this order.
    pub(crate) fn may(&self, order: &Order) -> bool {
        if let Actor::Agent(own) = self.actor {
            return matches!(order, Order::Run { run, .. } if *run == own);
        }
        let system = matches!(self.actor, Actor::System(_));
        match (self.role, order) {
            (Role::Auditor, _) => false,
            (Role::Operator, order) => matches!(order, Order::Tenant(_) | Order::Subject(_)),
            (Role::Owner, Order::Tenant(order)) => matches!(order, TenantOrder::Rename { .. }),
            (Role::Owner, Order::Run { command, .. }) => system || matches!(command, RunCommand::Cancel { .. }),
            (Role::Owner, Order::Environment { .. } | Order::FinishCard { .. }) => system,
            (Role::Owner, _) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::EnvironmentId;
    use domain::environment::EnvironmentCommand;
    use domain::value::Name;
    use uuid::Uuid;

    use super::*;
    use crate::order::{SubjectOrder, WorkspaceOrder};

    #[test]
    fn each_role_may_what_is_its_own() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        let run = RunId::from_uuid(Uuid::from_u128(2));
        let environment = EnvironmentId::from_uuid(Uuid::from_u128(3));
        let name = Name::new("x").unwrap();
        let orders = [
            Order::Tenant(TenantOrder::Create { name: name.clone() }),
            Order::Tenant(TenantOrder::Rename { name: name.clone() }),
            Order::Workspace(WorkspaceOrder::Create { name }),
            Order::Run { run, command: RunCommand::Cancel { reason: None } },
            Order::Run { run, command: RunCommand::Start { attempt: 1 } },
            Order::Environment { environment, command: EnvironmentCommand::Provision },
            Order::Subject(SubjectOrder::Erase { subject: domain::SubjectId::from_uuid(Uuid::from_u128(4)) }),
        ];
        let user = |role| Caller { tenant, actor: Actor::Operator("ada".into()), role };
        let may = |caller: Caller| orders.each_ref().map(|order| caller.may(order));
        assert_eq!(may(user(Role::Operator)), [true, true, false, false, false, false, true]);
        assert_eq!(may(user(Role::Owner)), [false, true, true, true, false, false, true]);
        assert_eq!(may(user(Role::Auditor)), [false; 7]);
        assert_eq!(may(Caller::system(tenant, "x")), [false, true, true, true, true, true, true]);
        assert_eq!(may(Caller::agent(tenant, run)), [false, false, false, true, true, false, false]);
        assert_eq!(may(Caller::agent(tenant, RunId::from_uuid(Uuid::from_u128(9)))), [false; 7]);
    }
}
