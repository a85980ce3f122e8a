//! Whole-system tests: the real executables, Postgres, NATS, Git over HTTP, sandboxed processes, and a model reached over HTTP.
//!
//! Everything goes through the public interface, as a stranger's program would. Only vendors are fakes, and they speak
//! the vendors' own protocols and count what was done to them.

mod apis;
mod crash;
mod demo;
mod lifecycle;
mod runs;
mod support;
mod tracing;
