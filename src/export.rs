//! Exports of a tenant's log: written, checked, restored. What is in one is said in `schemas::evidence::export`.

mod exporter;
mod file;
mod import;

pub use exporter::{Exporter, Until};
pub use file::{Verdict, check};
pub use import::{Imported, import};
