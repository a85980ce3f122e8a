//! What may be asked of an environment.

use super::{Driver, Purpose};
use crate::value::Reason;

/// The commands of an [`Environment`](super::Environment). All but `Request` change nothing when repeated.
#[derive(Debug, Clone, PartialEq)]
pub enum EnvironmentCommand {
    /// Brings it into being.
    Request {
        /// What it is for.
        purpose: Purpose,
        /// What it is made with.
        driver: Driver,
    },
    /// The driver begins to make it.
    Provision,
    /// The driver says that it is usable.
    MarkReady {
        /// What confines it.
        confinement: Vec<String>,
    },
    /// It is not needed any more.
    Stop {
        /// Why.
        reason: Reason,
    },
    /// The driver says that it is gone.
    MarkStopped,
    /// The driver says that it could not be made, or died.
    Fail {
        /// What went wrong.
        reason: Reason,
    },
}
