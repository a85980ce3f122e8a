//! The two forms in which events are written, and which of them a client wants.

use access::Problem;
use axum::http::{HeaderMap, StatusCode, header};
use schemas::{CloudEvent, Cursor, Recorded};

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
        let values: Vec<_> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        if values.is_empty() {
            return Ok(Self::Sse);
        }
        let ranges: Vec<_> = values.iter().flat_map(|value| value.split(',')).filter_map(range).collect();
        let liked = |form: &Self| weight(form.media_type(), &ranges);
        // Of equals the first.
        let best = Self::ALL.into_iter().rev().max_by(|a, b| liked(a).total_cmp(&liked(b)));
        best.filter(|form| liked(form) > 0.0).ok_or_else(|| {
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

/// A media range and its weight.
fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?.to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |weight| weight.parse().ok());
    Some((range, weight?))
}

/// How much a media type is liked: the most specific range decides.
fn weight(media_type: &str, ranges: &[(String, f32)]) -> f32 {
    let any_of_kind = media_type.split('/').next().map(|kind| format!("{kind}/*")).unwrap_or_default();
    let of = |range: &str| ranges.iter().find(|(known, _)| known == range).map(|(_, weight)| *weight);
    of(media_type).or_else(|| of(&any_of_kind)).or_else(|| of("*/*")).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_a_client_likes_best_is_written() {
        let wanted = |accept: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            Form::wanted(&headers).ok()
        };
        assert_eq!(Form::wanted(&HeaderMap::new()), Ok(Form::Sse));
        for accept in [
            "*/*",
            "text/*",
            "Text/Event-Stream",
            "application/x-ndjson;q=0.5, text/event-stream",
            "text/event-stream, */*;q=0.1",
        ] {
            assert_eq!(wanted(accept), Some(Form::Sse), "{accept}");
        }
        for accept in
            ["application/x-ndjson", "application/*", "application/x-ndjson, */*; q=0.1", "text/event-stream;q=0, */*"]
        {
            assert_eq!(wanted(accept), Some(Form::Lines), "{accept}");
        }
        for accept in ["application/json", "text/html", "*/*;q=0", "", "text/event-stream;q=x"] {
            assert_eq!(wanted(accept), None, "{accept}");
        }
    }
}
