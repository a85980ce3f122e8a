//! Crate projections.
