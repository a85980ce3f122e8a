//! The executable `agentworks-pod`: started by an environment driver with one [`schemas::pod::Boot`] on standard input.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(pod_runtime::start(std::io::stdin().lock()))
}
