//! A private nats-server that can be stopped, started and emptied.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use outbox::Bus;
use tempfile::TempDir;

/// Serves until standard input closes, which it does when the test binary ends, however it ends.
const SCRIPT: &str =
    r#"nats-server "$@" >/dev/null 2>&1 & server=$!; read -r _ || true; kill -9 $server; wait $server"#;

/// A nats-server with JetStream on a port of its own.
pub(crate) struct Nats {
    port: u16,
    dir: TempDir,
    child: Option<Child>,
}

impl Nats {
    pub(crate) async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut nats = Self { port, dir: TempDir::with_prefix("aw-nats-").unwrap(), child: None };
        nats.resume().await;
        nats
    }

    /// Starts it again with what it holds.
    pub(crate) async fn resume(&mut self) {
        let port = self.port.to_string();
        let dir = self.dir.path().to_str().unwrap();
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "sh", "-js", "-a", "127.0.0.1", "-p", &port, "-sd", dir])
            .stdin(Stdio::piped())
            // The shell tells of what it killed.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        super::eventually("nats-server answers", || async { async_nats::connect(self.url()).await.is_ok() }).await;
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// Deletes what it holds. It must be down.
    pub(crate) fn wipe(&self) {
        std::fs::remove_dir_all(self.dir.path().join("jetstream")).unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn bus(&self) -> Bus {
        Bus::connect(&self.url(), 64 << 20).await.unwrap()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}
