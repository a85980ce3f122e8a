//! What runs inside an environment: takes one job from the control plane, lets an agent work on it, and pushes the result.
//!
//! Guarantees: only dials out; the token is in no argument, no environment but that of the Git processes that need it,
//! no log, no prompt and no file; the result is reported once, or the exit code says why not ([`schemas::pod::exit`]).
//! Never: knows of tenants, users or money; sees a model vendor's key.
//!
//! The workspace has `repository/` and `git/` (the agent's clone), `home/` (its home folder) and `pod/` (the journal and
//! the pod's own Git folders).

mod agent;
mod attempt;
mod boot;
mod clock;
mod control_plane;
mod conversation;
mod failure;
mod git;
mod journal;
mod model;
mod process;
mod pulse;
mod secret;
mod telemetry;
mod text;
mod tools;
mod work;

use std::io::{BufRead, Write as _};

use schemas::pod::exit;
use tracing::Instrument as _;

use crate::control_plane::ControlPlane;
use crate::telemetry::Telemetry;

/// Runs a pod that is told its job by one line of `input`; the exit code of the process, see [`schemas::pod::exit`].
pub fn start(input: impl BufRead) -> u8 {
    match boot::shield().and_then(|()| boot::read(input)) {
        Ok(told) => run(&told),
        Err(error) => complain(&error),
    }
}

fn run(told: &boot::Told) -> u8 {
    // It fails only when a provider is there already, which then is ours as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let telemetry = Telemetry::start(told);
    let handle = telemetry.handle();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let code = match (runtime, ControlPlane::new(&told.control_plane, &told.token, &handle)) {
        (Ok(runtime), Ok(control_plane)) => {
            let root = telemetry.root();
            let code = runtime.block_on(attempt::run(told, &control_plane, &handle).instrument(root));
            runtime.shutdown_background();
            code
        }
        (Err(error), _) => complain(&error),
        (_, Err(error)) => complain(&error),
    };
    telemetry.stop();
    code
}

/// Says on standard error why there is no pod; the log is not there yet.
fn complain(error: &dyn std::error::Error) -> u8 {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "agentworks-pod: {error}");
    exit::BAD_BOOT
}
