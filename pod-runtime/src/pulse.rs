//! The signs of life of an attempt, and the word that it is over.
//!
//! Guarantees: whoever hears from the control plane that the attempt is over ends it for all, at once. A control plane
//! that is away does not: it may come back, and the wall clock is the net.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use schemas::pod::{HEARTBEAT_SECONDS, Heartbeat};
use tokio::sync::watch;

use crate::control_plane::{CallError, ControlPlane};

/// Shared by all that talk to the control plane.
pub(crate) struct Pulse {
    last_step: AtomicU32,
    over: watch::Sender<Option<String>>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { last_step: AtomicU32::new(0), over: watch::Sender::new(None) }
    }

    /// Notes the last step that the control plane knows.
    pub(crate) fn told(&self, step: u32) {
        self.last_step.store(step, Ordering::Relaxed);
    }

    /// Ends the attempt.
    pub(crate) fn end(&self, why: String) {
        self.over.send_replace(Some(why));
    }

    /// Waits until the attempt is over; why it is.
    pub(crate) async fn over(&self) -> String {
        let mut over = self.over.subscribe();
        // The sender lives as long as `self`, so this ends only with a reason.
        over.wait_for(Option::is_some).await.ok().and_then(|why| why.clone()).unwrap_or_default()
    }

    /// Gives signs of life until the attempt is over.
    pub(crate) async fn beat(&self, control_plane: &ControlPlane) {
        let mut ticks = tokio::time::interval(Duration::from_secs(HEARTBEAT_SECONDS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let last_step = self.last_step.load(Ordering::Relaxed);
            match control_plane.heartbeat(&Heartbeat { last_step }).await {
                Ok(answer) if answer.go_on => {}
                Ok(_) => return self.end("the control plane said so".to_owned()),
                Err(error @ CallError::Over(_)) => return self.end(error.to_string()),
                Err(error) => tracing::warn!(%error, "a heartbeat was lost"),
            }
        }
    }
}
