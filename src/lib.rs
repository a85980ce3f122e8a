//! The executable `agentworks` as a library, so that whole-system tests can start its parts: command line, configuration,
//! servers, roles, start and stop. No rules here.

pub mod cli;
pub mod config;
pub mod demo;
pub mod embedded;
pub mod evidence;
pub mod export;
pub mod facts;
pub mod http;
pub mod roles;
pub mod servers;
pub mod shutdown;
pub mod telemetry;
pub mod tokens;

/// A fifth of what a command takes, and nearly half of the relay's work, was the allocator of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
