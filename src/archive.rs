//! Archives of a tenant's log: written, checked, restored. What is in one is said in `schemas::evidence::archive`.

mod export;
mod file;
mod import;

pub use export::{Exporter, Until};
pub use file::{Verdict, check};
pub use import::{Imported, import};
