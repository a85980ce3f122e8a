//! Counts tokens while an answer passes by, whole or as a stream of server-sent events.
//!
//! Never: keeps more than one event of a stream, or changes a byte.

use domain::provider::ProviderKind;
use serde_json::Value;

/// Bytes of an answer, or of one line of a stream, that are held to be read. What is longer is not counted.
const MAX_HELD: usize = 8 * 1024 * 1024;

/// What an answer cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// The model as the vendor named it.
    pub(super) model: Option<String>,
    /// Tokens read, without those from a cache.
    pub(super) input: u64,
    /// Tokens written.
    pub(super) output: u64,
    /// Tokens read from the vendor's cache.
    pub(super) cache_read: u64,
    /// Tokens written to the vendor's cache.
    pub(super) cache_write: u64,
}

/// Reads an answer as it passes.
#[derive(Debug)]
pub(super) struct Meter {
    kind: ProviderKind,
    streams: bool,
    held: Vec<u8>,
    overflowed: bool,
    usage: Usage,
}

impl Meter {
    /// For an answer with this content type.
    pub(super) fn new(kind: ProviderKind, content_type: &str) -> Self {
        let streams = content_type.trim_start().to_ascii_lowercase().starts_with("text/event-stream");
        Self { kind, streams, held: vec![], overflowed: false, usage: Usage::default() }
    }

    /// Takes the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        if !self.streams {
            self.hold(piece);
            return;
        }
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.hold(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.held);
            if !std::mem::take(&mut self.overflowed) {
                self.line(&line);
            }
        }
        self.hold(rest);
    }

    /// What was counted.
    pub(super) fn finish(mut self) -> Usage {
        let rest = std::mem::take(&mut self.held);
        if !self.overflowed {
            if self.streams {
                self.line(&rest);
            } else if let Ok(answer) = serde_json::from_slice(&rest) {
                self.take(&answer);
            }
        }
        self.usage
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.held.len() + piece.len() > MAX_HELD {
            self.overflowed = true;
            self.held.clear();
        }
        if !self.overflowed {
            self.held.extend_from_slice(piece);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else { return };
        // Most events carry text and no numbers; only those that may are parsed.
        let may_count = |needle: &[u8]| data.windows(needle.len()).any(|window| window == needle);
        if may_count(b"\"usage\"")
            && let Ok(event) = serde_json::from_slice(data)
        {
            self.take(&event);
        }
    }

    fn take(&mut self, json: &Value) {
        match self.kind {
            // `message_start` holds the message, `message_delta` totals of the answer so far; a whole answer is a message.
            ProviderKind::Anthropic => self.anthropic(json.get("message").unwrap_or(json)),
            ProviderKind::Openai => self.openai(json),
        }
    }

    fn name(&mut self, json: &Value) {
        if let Some(model) = json.get("model").and_then(Value::as_str) {
            self.usage.model = Some(model.to_owned());
        }
    }

    fn anthropic(&mut self, message: &Value) {
        self.name(message);
        let Some(usage) = message.get("usage") else { return };
        // Later numbers are totals and stand for the earlier ones; what is not repeated still holds.
        let set = |field: &str, into: &mut u64| {
            if let Some(count) = usage.get(field).and_then(Value::as_u64) {
                *into = count;
            }
        };
        set("input_tokens", &mut self.usage.input);
        set("output_tokens", &mut self.usage.output);
        set("cache_read_input_tokens", &mut self.usage.cache_read);
        set("cache_creation_input_tokens", &mut self.usage.cache_write);
    }

    fn openai(&mut self, answer: &Value) {
        self.name(answer);
        let Some(usage) = answer.get("usage").filter(|usage| usage.is_object()) else { return };
        let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        self.usage.cache_read = count("/prompt_tokens_details/cached_tokens");
        // This vendor counts what came from its cache among what was read.
        self.usage.input = count("/prompt_tokens").saturating_sub(self.usage.cache_read);
        self.usage.output = count("/completion_tokens");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANTHROPIC: &str = concat!(
        "event: message_start\n",
        r#"data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[],"stop_reason":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":7,"cache_read_input_tokens":1200,"output_tokens":1}}}"#,
        "\n\n",
        "event: content_block_delta\n",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"my \"usage\": {\"output_tokens\": 999}"}}"#,
        "\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n",
        "event: message_delta\n",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#,
        "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    const OPENAI: &str = concat!(
        r#"data: {"id":"c","object":"chat.completion.chunk","model":"gpt-5-mini","choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}"#,
        "\n\n",
        r#"data: {"id":"c","object":"chat.completion.chunk","model":"gpt-5-mini","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_tokens_details":{"cached_tokens":64}}}"#,
        "\n\ndata: [DONE]\n\n",
    );

    fn count(kind: ProviderKind, content_type: &str, answer: &str, step: usize) -> Usage {
        let mut meter = Meter::new(kind, content_type);
        for piece in answer.as_bytes().chunks(step) {
            meter.feed(piece);
        }
        meter.finish()
    }

    #[test]
    fn a_stream_is_counted_however_it_is_cut() {
        for (kind, stream, want) in [
            (
                ProviderKind::Anthropic,
                ANTHROPIC,
                Usage {
                    model: Some("claude-sonnet-4-5-20250929".into()),
                    input: 25,
                    output: 15,
                    cache_read: 1200,
                    cache_write: 7,
                },
            ),
            (
                ProviderKind::Openai,
                OPENAI,
                Usage { model: Some("gpt-5-mini".into()), input: 36, output: 20, cache_read: 64, cache_write: 0 },
            ),
        ] {
            for step in [1, 13, 4096] {
                assert_eq!(count(kind, "text/event-stream; charset=utf-8", stream, step), want);
            }
            // Some proxies end their lines the other way.
            assert_eq!(count(kind, "text/event-stream", &stream.replace('\n', "\r\n"), 64), want);
        }
    }

    #[test]
    fn a_whole_answer_is_counted_and_an_error_costs_nothing() {
        let answer =
            r#"{"model":"m","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":3,"output_tokens":4}}"#;
        let usage = count(ProviderKind::Anthropic, "application/json", answer, 7);
        assert_eq!((usage.input, usage.output, usage.model.as_deref()), (3, 4, Some("m")));
        let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
        assert_eq!(count(ProviderKind::Anthropic, "application/json", error, 7), Usage::default());
        assert_eq!(count(ProviderKind::Openai, "text/html", "<h1>502</h1>", 7), Usage::default());
    }

    #[test]
    fn a_line_without_an_end_is_not_held_for_ever() {
        let mut meter = Meter::new(ProviderKind::Openai, "text/event-stream");
        for _ in 0..20 {
            meter.feed(&vec![b'x'; 1024 * 1024]);
            assert!(meter.held.len() <= MAX_HELD);
        }
        meter.feed(b"\n");
        meter.feed(OPENAI.as_bytes());
        assert_eq!(meter.finish().output, 20);
    }
}
