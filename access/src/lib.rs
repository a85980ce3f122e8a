//! Crate access.
