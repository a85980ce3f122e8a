//! What the model says, in the words of each protocol.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

/// One answer of the model.
#[derive(Clone)]
pub(crate) enum Turn {
    /// Calls a tool; the input is sent as it is.
    Call(&'static str, String),
    /// Calls several at once.
    Calls(Vec<(&'static str, Value)>),
    Say(&'static str),
    /// An HTTP status, perhaps with `retry-after`.
    Status(u16, Option<u32>),
    /// Half an answer, then the end of the connection.
    Cut,
}

pub(crate) fn call(tool: &'static str, input: &Value) -> Turn {
    Turn::Call(tool, input.to_string())
}

pub(crate) fn finish() -> Turn {
    call("finish", &json!({ "summary": "The world is greeted.", "success": true }))
}

pub(crate) fn greet_the_world() -> Turn {
    call("edit_file", &json!({ "path": "greet.sh", "old_text": "Hello", "new_text": "Hello, world" }))
}

impl Turn {
    fn parts(&self) -> (String, Vec<(String, String)>) {
        match self {
            Self::Call(tool, input) => ("I call it.".into(), vec![((*tool).to_owned(), input.clone())]),
            Self::Calls(calls) => {
                (String::new(), calls.iter().map(|(tool, input)| ((*tool).to_owned(), input.to_string())).collect())
            }
            Self::Say(text) => ((*text).to_owned(), Vec::new()),
            Self::Status(..) | Self::Cut => ("Half of".into(), Vec::new()),
        }
    }

    fn refusal(&self) -> Option<Response<Body>> {
        let Self::Status(status, after) = self else { return None };
        let body = json!({ "type": "error", "error": { "type": "some_error", "message": "the vendor's words" } });
        let mut answer = (StatusCode::from_u16(*status).unwrap(), axum::Json(body)).into_response();
        if let Some(after) = after {
            answer.headers_mut().insert("retry-after", (*after).into());
        }
        Some(answer)
    }

    pub(crate) fn anthropic(&self) -> Response<Body> {
        if let Some(refusal) = self.refusal() {
            return refusal;
        }
        let (text, calls) = self.parts();
        let mut events = vec![
            json!({ "type": "message_start", "message": { "usage": { "input_tokens": 100, "output_tokens": 1 } } }),
        ];
        let mut block = |index: usize, start: Value, delta: Value| {
            events.push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
            events.push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
            events.push(json!({ "type": "content_block_stop", "index": index }));
        };
        if !text.is_empty() {
            block(0, json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": text }));
        }
        for (number, (tool, input)) in calls.iter().enumerate() {
            let start = json!({ "type": "tool_use", "id": format!("call_{number}"), "name": tool, "input": {} });
            block(number + 1, start, json!({ "type": "input_json_delta", "partial_json": input }));
        }
        if !matches!(self, Self::Cut) {
            let reason = if calls.is_empty() { "end_turn" } else { "tool_use" };
            events.push(json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": { "output_tokens": 20 } }));
            events.push(json!({ "type": "message_stop" }));
        }
        let frame = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
        stream(events.iter().map(frame).collect())
    }

    pub(crate) fn openai(&self) -> Response<Body> {
        if let Some(refusal) = self.refusal() {
            return refusal;
        }
        let (text, calls) = self.parts();
        let mut chunks =
            vec![json!({ "choices": [{ "index": 0, "delta": { "role": "assistant", "content": text } }] })];
        for (number, (tool, input)) in calls.iter().enumerate() {
            let function = json!({ "name": tool, "arguments": input });
            let call =
                json!({ "index": number, "id": format!("call_{number}"), "type": "function", "function": function });
            chunks.push(json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] } }] }));
        }
        let mut frames: Vec<String> = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        if !matches!(self, Self::Cut) {
            let reason = if calls.is_empty() { "stop" } else { "tool_calls" };
            let last = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] });
            let usage = json!({ "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 } });
            frames.extend([format!("data: {last}\n\n"), format!("data: {usage}\n\n"), "data: [DONE]\n\n".to_owned()]);
        }
        stream(frames.concat())
    }
}

fn stream(text: String) -> Response<Body> {
    ([("content-type", "text/event-stream")], text).into_response()
}
