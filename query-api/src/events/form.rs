//! The two forms in which events are written, and which of them a client wants.

use access::Problem;
use axum::http::{HeaderMap, StatusCode};
use schemas::{CloudEvent, Cursor, Recorded};

use crate::accept;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `text/event-stream`: `id` is the cursor, `event` the type, `data` the event.
    Sse,
    /// `application/x-ndjson`: an event a line.
    Lines,
}

impl Form {
    const ALL: [Self; 2] = [Self::Sse, Self::Lines];

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// What the `Accept` headers like best; server-sent events when they leave it open.
    ///
    /// # Errors
    /// 406 when they take neither.
    pub(super) fn wanted(headers: &HeaderMap) -> Result<Self, Problem> {
        let best = accept::best(headers, &Self::ALL.map(Self::media_type));
        best.and_then(|kind| Self::ALL.into_iter().find(|form| form.media_type() == kind)).ok_or_else(|| {
            let detail = "events come as `text/event-stream` or as `application/x-ndjson`";
            Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
        })
    }

    /// Writes an event.
    ///
    /// # Errors
    /// When it has no JSON form; every event of the log has one.
    pub(super) fn event(self, event: &Recorded, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        if self == Self::Sse {
            let cursor = Cursor { partition: event.partition, position: event.position };
            out.extend(format!("id: {cursor}\nevent: {}\ndata: ", event.event_type).into_bytes());
        }
        let start = out.len();
        serde_json::to_writer(&mut *out, &CloudEvent::of(event))?;
        // A stored payload may have line ends between its values, and nowhere else: within a text they are escaped.
        for byte in &mut out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        out.extend_from_slice(if self == Self::Sse { b"\n\n" } else { b"\n" });
        Ok(())
    }

    /// What a stream begins with, so that a client sees at once that it is open.
    pub(super) fn opening(self) -> &'static [u8] {
        match self {
            Self::Sse => b"retry: 1000\n\n",
            Self::Lines => b"",
        }
    }

    /// A sign of life that says nothing.
    pub(super) fn heartbeat(self) -> &'static [u8] {
        match self {
            Self::Sse => b":\n\n",
            Self::Lines => b"\n",
        }
    }

    /// Moves the client's cursor past events that were not for it. Lines have no place for that.
    pub(super) fn mark(self, cursor: Cursor) -> Option<Vec<u8>> {
        (self == Self::Sse).then(|| format!("id: {cursor}\n\n").into_bytes())
    }
}
