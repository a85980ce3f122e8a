//! What a pod writes to its standard output and error: read as it comes, the end of it kept.

use std::collections::VecDeque;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;

/// Bytes that are kept.
const KEPT: usize = 16 * 1024;
/// Longest wait for the rest after the end: a process that was left behind may hold the pipe open.
const SETTLE: Duration = Duration::from_millis(500);

/// The end of a pod's output. The reading ends with the last writer, or when this is dropped.
#[derive(Debug)]
pub(super) struct Output {
    kept: Arc<Mutex<VecDeque<u8>>>,
    reader: JoinHandle<()>,
}

impl Output {
    /// And the pipe to write to.
    pub(super) fn new() -> io::Result<(Self, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        let mut reader = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let kept = Arc::new(Mutex::new(VecDeque::with_capacity(KEPT)));
        let into = Arc::clone(&kept);
        let read = async move {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer).await {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&buffer[..length]);
                let surplus = kept.len().saturating_sub(KEPT);
                kept.drain(..surplus);
            }
        };
        Ok((Self { kept, reader: tokio::spawn(read) }, writer))
    }

    /// Waits for the last bytes of a pod that has ended.
    pub(super) async fn settle(&mut self) {
        // A task that has ended must not be asked for its end twice.
        if !self.reader.is_finished() {
            let _held_open = tokio::time::timeout(SETTLE, &mut self.reader).await;
        }
    }

    /// The end of it as text, whole lines where it was cut.
    pub(super) fn tail(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        let start = if bytes.len() < KEPT { 0 } else { bytes.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1) };
        String::from_utf8_lossy(&bytes[start..]).replace('\0', "\u{fffd}")
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
