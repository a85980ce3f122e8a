//! What the two vendors' protocols have in common, and the choice between them.

use http::HeaderMap;
use serde_json::{Value, json};

use super::conversation::{Conversation, Reply};
use super::{anthropic, openai};

/// The protocol of a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Anthropic Messages, `POST /v1/messages`.
    Anthropic,
    /// `OpenAI` Chat Completions, `POST /v1/chat/completions`.
    OpenAi,
}

/// A refusal, before it takes a vendor's shape.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) message: String,
}

impl ApiError {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, message }
    }

    /// What a vendor says with this status.
    pub(super) fn of_status(status: u16) -> Self {
        let message = match status {
            400 => "The request was refused.",
            401 => "The key is not valid.",
            403 => "The key has no permission for this resource.",
            429 => "Number of requests has exceeded your rate limit. Please try again later.",
            529 => "Overloaded",
            500.. => "Internal server error",
            _ => "The request failed.",
        };
        Self::new(status, message)
    }
}

impl Protocol {
    pub(super) fn authorize(self, headers: &HeaderMap, key: &str) -> Result<(), ApiError> {
        match self {
            Self::Anthropic => anthropic::authorize(headers, key),
            Self::OpenAi => openai::authorize(headers, key),
        }
    }

    pub(super) fn parse(self, headers: &HeaderMap, body: &Value) -> Result<Conversation, ApiError> {
        match self {
            Self::Anthropic => anthropic::parse(headers, body),
            Self::OpenAi => openai::parse(body),
        }
    }

    pub(super) fn error(self, error: &ApiError, request_id: &str) -> Value {
        match self {
            Self::Anthropic => anthropic::error(error, request_id),
            Self::OpenAi => openai::error(error),
        }
    }

    /// The pieces of an answer as they go over the wire. With `breaks_off` a stream ends half way with an error.
    pub(super) fn render(
        self,
        conversation: &Conversation,
        reply: &Reply,
        number: usize,
        input_tokens: usize,
        breaks_off: bool,
    ) -> Vec<String> {
        let id = match self {
            Self::Anthropic => format!("msg_{number:024}"),
            Self::OpenAi => format!("chatcmpl-{number:024}"),
        };
        let mut events = match (self, conversation.stream) {
            (Self::Anthropic, false) => {
                return vec![anthropic::message(conversation, reply, &id, input_tokens).to_string()];
            }
            (Self::OpenAi, false) => {
                return vec![openai::completion(conversation, reply, &id, input_tokens).to_string()];
            }
            (Self::Anthropic, true) => anthropic::events(conversation, reply, &id, input_tokens),
            (Self::OpenAi, true) => openai::chunks(conversation, reply, &id, input_tokens),
        };
        if breaks_off {
            events.truncate(events.len() / 2);
            events.push(self.error(&ApiError::of_status(529), &id));
        }
        let mut frames: Vec<String> = events.iter().map(|event| self.frame(event)).collect();
        if self == Self::OpenAi && !breaks_off {
            frames.push("data: [DONE]\n\n".to_owned());
        }
        frames
    }

    fn frame(self, event: &Value) -> String {
        match self {
            Self::Anthropic => format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()),
            Self::OpenAi => format!("data: {event}\n\n"),
        }
    }

    /// The list of models, which clients ask for to try a key.
    pub(super) fn models(self, name: &str) -> Value {
        match self {
            Self::Anthropic => json!({
                "data": [{
                    "type": "model",
                    "id": name,
                    "display_name": "Scripted 1",
                    "created_at": "2025-01-01T00:00:00Z",
                }],
                "has_more": false,
                "first_id": name,
                "last_id": name,
            }),
            Self::OpenAi => json!({
                "object": "list",
                "data": [{ "id": name, "object": "model", "created": 1_735_689_600, "owned_by": "agentworks" }],
            }),
        }
    }
}

/// Models that this server knows.
pub(super) fn is_known_model(model: &str) -> bool {
    model.starts_with("scripted-")
}

/// Whether a vendor takes this as the name of a tool.
pub(super) fn is_tool_name(name: &str, longest: usize) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (1..=longest).contains(&name.len()) && name.chars().all(allowed)
}

/// The text of a content that is a string or a list of blocks; None if it is neither.
pub(super) fn text_of(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(blocks) => {
            let texts = blocks.iter().filter_map(|block| block["text"].as_str());
            Some(texts.collect::<Vec<_>>().join("\n"))
        }
        _ => None,
    }
}
