//! What both protocols mean: a conversation so far, and the model's next turn.

use serde_json::Value;

/// A conversation as the script engine sees it, whichever protocol it came by.
#[derive(Debug, Clone, Default)]
pub(super) struct Conversation {
    /// The model that was asked for.
    pub(super) model: String,
    /// Whether the answer is to be streamed.
    pub(super) stream: bool,
    /// Whether a stream ends with the usage (`OpenAI` only; the other protocol always tells it).
    pub(super) stream_usage: bool,
    /// The system text.
    pub(super) system: String,
    /// The names of the tools that may be called.
    pub(super) tools: Vec<String>,
    /// The text of the first user message.
    pub(super) task: String,
    /// How many turns the model has had.
    pub(super) turns: usize,
    /// The tool calls that were answered, in order.
    pub(super) exchanges: Vec<Exchange>,
}

impl Conversation {
    /// Whether a tool was offered.
    pub(super) fn offers(&self, tool: &str) -> bool {
        self.tools.iter().any(|name| name == tool)
    }

    /// Notes a tool call that the model made.
    pub(super) fn called(&mut self, id: &str, name: &str, input: Value) {
        self.exchanges.push(Exchange {
            id: id.to_owned(),
            name: name.to_owned(),
            input,
            result: String::new(),
            failed: false,
        });
    }

    /// Notes what came of a call; the latest call of that id is meant.
    pub(super) fn answered(&mut self, id: &str, result: String, failed: bool) {
        if let Some(exchange) = self.exchanges.iter_mut().rev().find(|it| it.id == id) {
            exchange.result = result;
            exchange.failed = failed;
        }
    }
}

/// A tool call and its result.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) input: Value,
    pub(super) result: String,
    /// Whether the tool said that it failed.
    pub(super) failed: bool,
}

/// The model's next turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
    /// Cut off because the answer grew too long.
    pub(super) truncated: bool,
}

impl Reply {
    /// Text alone: the end of the conversation.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Tokens, by the rule of this server: four bytes each.
    pub(super) fn tokens(&self) -> usize {
        let calls: usize = self.calls.iter().map(|it| it.name.len() + it.input.len()).sum();
        tokens(self.text.len() + calls)
    }
}

/// A tool call to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// The input as it is sent: JSON, unless a fault spoiled it.
    pub(super) input: String,
}

impl Call {
    /// The input for an answer that is not streamed, where it must be a JSON value.
    pub(super) fn value(&self) -> Value {
        serde_json::from_str(&self.input).unwrap_or_else(|_| Value::String(self.input.clone()))
    }
}

/// How many tokens so many bytes are.
pub(super) const fn tokens(bytes: usize) -> usize {
    let tokens = bytes / 4;
    if tokens == 0 { 1 } else { tokens }
}

/// A text in pieces as a stream sends them; never splits a character.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    const BYTES: usize = 32;
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = (BYTES.min(rest.len())..=rest.len()).find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
