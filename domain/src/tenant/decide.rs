//! A tenant's rules.

use super::{
    Tenant, TenantCommand, TenantCreated, TenantEvent, TenantRefusal, TenantRenamed, TenantResumed, TenantSuspended,
};

pub(super) fn decide(tenant: &Tenant, command: TenantCommand) -> Result<Vec<TenantEvent>, TenantRefusal> {
    match (tenant, command) {
        (Tenant::Absent, TenantCommand::Create { name }) => Ok(vec![TenantCreated { name }.into()]),
        (Tenant::Absent, _) => Err(TenantRefusal::NotFound),
        (_, TenantCommand::Create { .. }) => Err(TenantRefusal::AlreadyExists),
        (Tenant::Active { name: present } | Tenant::Suspended { name: present }, TenantCommand::Rename { name }) => {
            Ok(if name == *present { vec![] } else { vec![TenantRenamed { name }.into()] })
        }
        (Tenant::Active { .. }, TenantCommand::Suspend { reason }) => Ok(vec![TenantSuspended { reason }.into()]),
        (Tenant::Suspended { .. }, TenantCommand::Resume) => Ok(vec![TenantResumed {}.into()]),
        (Tenant::Suspended { .. }, TenantCommand::Suspend { .. }) | (Tenant::Active { .. }, TenantCommand::Resume) => {
            Ok(vec![])
        }
    }
}
