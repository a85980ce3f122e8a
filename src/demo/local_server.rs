//! A server on this machine's loopback address, on a runtime of its own.
//!
//! For: the Git host and the scripted model.
//! Guarantees: when [`LocalServer::stop`] returns, no connection is open and nothing listens any more, whatever the
//! handlers were waiting for. Dropping it stops it as well, a moment later. Works inside and outside of another runtime.
//! Never: listens on any address but the loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Runtime};

/// A running server.
#[derive(Debug)]
pub(super) struct LocalServer {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl LocalServer {
    /// Serves `router` on a free port.
    pub(super) fn start(name: &str, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        runtime.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "a demo server stopped");
            }
        });
        Ok(Self { address, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and cuts every connection.
    pub(super) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A thread of its own, because waiting for a runtime's end is not allowed inside another runtime.
            let end = move || runtime.shutdown_timeout(Duration::from_secs(5));
            let _ = std::thread::spawn(end).join();
        }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
