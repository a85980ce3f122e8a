//! Crate workers.
