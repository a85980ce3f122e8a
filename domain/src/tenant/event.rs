//! What may have happened to a tenant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::personal::PersonalText;
use crate::value::Name;

crate::events! {
    /// The events of a [`Tenant`](super::Tenant).
    pub enum TenantEvent {
        /// It was created.
        Created(TenantCreated) = 1,
        /// It has another name.
        Renamed(TenantRenamed) = 1,
        /// It may not work any more.
        Suspended(TenantSuspended) = 2,
        /// It may work again.
        Resumed(TenantResumed) = 1,
    }
}

/// The tenant was created. First event of every tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantCreated {
    /// What people call it.
    pub name: Name,
}

/// The tenant has another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantRenamed {
    /// The new name.
    pub name: Name,
}

/// The tenant may read but not work any more.
///
/// Version 1 had a readable `reason`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantSuspended {
    /// Why.
    pub reason: PersonalText,
}

/// The tenant may work again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantResumed {}
