//! Crate query-api.
