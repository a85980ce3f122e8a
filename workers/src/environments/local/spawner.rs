//! The parent of every sandbox.
//!
//! A sandbox asks the kernel for a kill when its parent dies (`--die-with-parent`). To the kernel the parent is the
//! *thread* that started it, and the runtime's threads come and go: every sandbox is therefore started by one thread
//! that lives as long as this process.

use std::io;
use std::process::{Child, Command};
use std::sync::{LazyLock, mpsc};

use tokio::sync::oneshot;

type Job = (Command, oneshot::Sender<io::Result<Child>>);

static PARENT: LazyLock<io::Result<mpsc::Sender<Job>>> = LazyLock::new(|| {
    let (sender, jobs) = mpsc::channel::<Job>();
    let work = move || {
        for (mut command, reply) in jobs {
            // Given up meanwhile: a child that nobody takes must not stay.
            if let Err(Ok(mut child)) = reply.send(command.spawn()) {
                let _already_gone = child.kill();
                let _reaped = child.wait();
            }
        }
    };
    std::thread::Builder::new().name("sandbox-parent".into()).spawn(work).map(|_| sender)
});

/// Starts a process that may outlive the calling thread, but not this process.
pub(super) async fn spawn(command: Command) -> io::Result<Child> {
    let gone = || io::Error::other("the thread that starts sandboxes is gone");
    let parent = PARENT.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let (reply, answer) = oneshot::channel();
    parent.send((command, reply)).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}
