//! Crate command-api.
