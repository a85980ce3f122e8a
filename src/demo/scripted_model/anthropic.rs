//! The Anthropic Messages protocol: requests checked as the vendor checks them, answers in its shapes.
//!
//! Guarantees: a request that the vendor would refuse for its shape is refused with the same status, error type and
//! (nearly) the same words, in the versions 2023-06-01 and 2026-10-21 of the protocol. Consecutive messages of one role count as one, as the vendor documents.
//! Never: a message without the fields that the vendor always sends.

use std::collections::HashSet;

use http::HeaderMap;
use serde_json::{Value, json};

use super::conversation::{Conversation, Reply, pieces};
use super::protocol::{ApiError, is_known_model, is_tool_name, text_of};

/// Every field that a request may have.
const FIELDS: &str = "model messages max_tokens system tools tool_choice stream temperature top_p top_k stop_sequences \
    metadata thinking service_tier container context_management mcp_servers output_config \
    cache_control inference_geo diagnostics speed";

/// The versions of the protocol that are served, the latest first.
const VERSIONS: [&str; 2] = ["2026-10-21", "2023-06-01"];

/// Checks the key, which may come in either of the vendor's headers, and the version.
pub(super) fn authorize(headers: &HeaderMap, key: &str) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    match text("x-api-key").or(bearer) {
        None => return Err(ApiError::new(401, "x-api-key header is required")),
        Some(given) if given != key => return Err(ApiError::new(401, "invalid x-api-key")),
        Some(_) => {}
    }
    match text("anthropic-version") {
        None => Err(ApiError::new(400, "anthropic-version: header is required")),
        Some(version) if VERSIONS.contains(&version) => Ok(()),
        Some(version) => Err(ApiError::new(400, format!("anthropic-version: \"{version}\" is not a valid version"))),
    }
}

/// Refuses what the latest version has removed, when that is the version asked for.
fn check_version(headers: &HeaderMap, body: &Value) -> Result<(), ApiError> {
    if headers.get("anthropic-version").is_none_or(|version| version != VERSIONS[0]) {
        return Ok(());
    }
    if let Some(gone) = ["temperature", "top_p", "top_k"].into_iter().find(|name| body.get(name).is_some()) {
        return Err(ApiError::new(400, format!("{gone}: Extra inputs are not permitted")));
    }
    let users = body["messages"].as_array().into_iter().flatten().filter(|message| message["role"] == "user");
    let mut blocks = users.filter_map(|message| message["content"].as_array()).flatten();
    if blocks.any(|block| block["citations"].as_array().is_some_and(|list| !list.is_empty())) {
        return Err(ApiError::new(400, "messages: citations are not permitted on text blocks of user messages"));
    }
    Ok(())
}

/// Reads and checks a request.
pub(super) fn parse(headers: &HeaderMap, body: &Value) -> Result<Conversation, ApiError> {
    check_version(headers, body)?;
    let invalid = |message: String| ApiError::new(400, message);
    let fields = body.as_object().ok_or_else(|| invalid("Input should be a valid dictionary".into()))?;
    if let Some(extra) = fields.keys().find(|name| !FIELDS.split(' ').any(|field| field == *name)) {
        return Err(invalid(format!("{extra}: Extra inputs are not permitted")));
    }
    let required = |name: &str| fields.get(name).ok_or_else(|| invalid(format!("{name}: Field required")));
    let model = required("model")?.as_str().ok_or_else(|| invalid("model: Input should be a valid string".into()))?;
    let max_tokens = required("max_tokens")?;
    if !max_tokens.is_u64() {
        return Err(invalid("max_tokens: Input should be a valid integer".into()));
    }
    if max_tokens.as_u64() == Some(0) {
        return Err(invalid("max_tokens: Input should be greater than or equal to 1".into()));
    }
    let stream = match fields.get("stream") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| invalid("stream: Input should be a valid boolean".into()))?,
    };
    let messages = required("messages")?;
    let messages = messages.as_array().ok_or_else(|| invalid("messages: Input should be a valid list".into()))?;
    if !is_known_model(model) {
        return Err(ApiError::new(404, format!("model: {model}")));
    }
    let mut conversation = Conversation {
        model: model.to_owned(),
        stream,
        system: system(fields.get("system"))?,
        tools: tools(fields.get("tools"))?,
        ..Conversation::default()
    };
    read_messages(messages, &mut conversation)?;
    if !conversation.exchanges.is_empty() && conversation.tools.is_empty() {
        let message = "Requests which include `tool_use` or `tool_result` blocks must define tools";
        return Err(invalid(message.into()));
    }
    if body.pointer("/tool_choice/type").and_then(Value::as_str) == Some("none") {
        conversation.tools.clear();
    }
    Ok(conversation)
}

fn system(value: Option<&Value>) -> Result<String, ApiError> {
    match value {
        None => Ok(String::new()),
        Some(value) => text_of(value).ok_or_else(|| ApiError::new(400, "system: Input should be a valid string")),
    }
}

fn tools(value: Option<&Value>) -> Result<Vec<String>, ApiError> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let list = value.as_array().ok_or_else(|| ApiError::new(400, "tools: Input should be a valid list"))?;
    let mut names: Vec<String> = Vec::new();
    for (place, tool) in list.iter().enumerate() {
        let at = |problem: &str| ApiError::new(400, format!("tools.{place}.custom.{problem}"));
        let name = tool["name"].as_str().ok_or_else(|| at("name: Field required"))?;
        if !is_tool_name(name, 128) {
            return Err(at("name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"));
        }
        let schema = tool.get("input_schema").ok_or_else(|| at("input_schema: Field required"))?;
        if schema["type"] != "object" {
            return Err(at("input_schema.type: Input should be 'object'"));
        }
        if names.iter().any(|known| known == name) {
            return Err(ApiError::new(400, "tools: Tool names must be unique."));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// One message's content, whether it came as text or as blocks.
fn blocks(message: &Value, place: usize) -> Result<Vec<Value>, ApiError> {
    match &message["content"] {
        Value::String(text) => Ok(vec![json!({ "type": "text", "text": text })]),
        Value::Array(blocks) => Ok(blocks.clone()),
        Value::Null => Err(ApiError::new(400, format!("messages.{place}.content: Field required"))),
        _ => Err(ApiError::new(400, format!("messages.{place}.content: Input should be a valid list"))),
    }
}

fn read_messages(messages: &[Value], conversation: &mut Conversation) -> Result<(), ApiError> {
    let mut turns: Vec<(bool, Vec<Value>)> = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        let is_user = match message["role"].as_str() {
            Some("user") => true,
            Some("assistant") => false,
            _ => {
                let text = format!("messages.{place}.role: Input should be 'user' or 'assistant'");
                return Err(ApiError::new(400, text));
            }
        };
        let blocks = blocks(message, place)?;
        if blocks.is_empty() {
            let text = format!("messages.{place}: all messages must have non-empty content");
            return Err(ApiError::new(400, text));
        }
        match turns.last_mut() {
            Some((last, content)) if *last == is_user => content.extend(blocks),
            _ => turns.push((is_user, blocks)),
        }
    }
    match (turns.first(), turns.last()) {
        (None, _) => return Err(ApiError::new(400, "messages: at least one message is required")),
        (Some((false, _)), _) => {
            return Err(ApiError::new(400, "messages: first message must use the \"user\" role"));
        }
        (_, Some((false, _))) => {
            let text =
                "This model does not support assistant message prefill. The conversation must end with a user message.";
            return Err(ApiError::new(400, text));
        }
        _ => {}
    }
    let mut open: Vec<String> = Vec::new();
    let mut known: HashSet<String> = HashSet::new();
    for (place, (is_user, blocks)) in turns.iter().enumerate() {
        if *is_user {
            user_turn(place, blocks, &mut open, conversation)?;
        } else {
            conversation.turns += 1;
            open = assistant_turn(place, blocks, &mut known, conversation)?;
        }
    }
    Ok(())
}

/// Reads a user's turn, which must answer every open call before it says anything else.
fn user_turn(
    place: usize,
    blocks: &[Value],
    open: &mut Vec<String>,
    conversation: &mut Conversation,
) -> Result<(), ApiError> {
    let mut texts = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let at = |problem: &str| ApiError::new(400, format!("messages.{place}.content.{number}{problem}"));
        match block["type"].as_str() {
            Some("text") => texts.push(text_block(block)?),
            Some("image" | "document") => {}
            Some("tool_result") => {
                let id = block["tool_use_id"].as_str().ok_or_else(|| at(".tool_result.tool_use_id: Field required"))?;
                let Some(found) = open.iter().position(|call| call == id) else {
                    return Err(at(&format!(
                        ": unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block \
                         must have a corresponding `tool_use` block in the previous message."
                    )));
                };
                if !texts.is_empty() {
                    return Err(at(": `tool_result` blocks must come before any other content"));
                }
                open.remove(found);
                let content = block.get("content").cloned().unwrap_or_else(|| Value::String(String::new()));
                let text = text_of(&content).ok_or_else(|| at(".tool_result.content: Input should be a valid list"))?;
                conversation.answered(id, text, block["is_error"] == true);
            }
            _ => return Err(at(": Input tag does not match any of the expected tags")),
        }
    }
    if !open.is_empty() {
        return Err(ApiError::new(
            400,
            format!(
                "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
                 `tool_use` block must have a corresponding `tool_result` block in the next message.",
                place.saturating_sub(1),
                open.join(", ")
            ),
        ));
    }
    if place == 0 {
        conversation.task = texts.join("\n");
    }
    Ok(())
}

/// Reads a turn of the model; the ids of its calls.
fn assistant_turn(
    place: usize,
    blocks: &[Value],
    known: &mut HashSet<String>,
    conversation: &mut Conversation,
) -> Result<Vec<String>, ApiError> {
    let mut open = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let at = |problem: &str| ApiError::new(400, format!("messages.{place}.content.{number}{problem}"));
        match block["type"].as_str() {
            Some("text") => {
                text_block(block)?;
            }
            Some("thinking" | "redacted_thinking") => {}
            Some("tool_use") => {
                let id = block["id"].as_str().ok_or_else(|| at(".tool_use.id: Field required"))?;
                let name = block["name"].as_str().ok_or_else(|| at(".tool_use.name: Field required"))?;
                if !block["input"].is_object() {
                    return Err(at(".tool_use.input: Input should be a valid dictionary"));
                }
                if !is_tool_name(id, 256) {
                    return Err(at(".tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"));
                }
                if !known.insert(id.to_owned()) {
                    return Err(ApiError::new(400, "messages: `tool_use` ids must be unique"));
                }
                conversation.called(id, name, block["input"].clone());
                open.push(id.to_owned());
            }
            _ => return Err(at(": Input tag does not match any of the expected tags")),
        }
    }
    Ok(open)
}

fn text_block(block: &Value) -> Result<String, ApiError> {
    match block["text"].as_str() {
        Some("") | None => Err(ApiError::new(400, "messages: text content blocks must be non-empty")),
        Some(text) => Ok(text.to_owned()),
    }
}

/// The vendor's error body.
pub(super) fn error(error: &ApiError, request_id: &str) -> Value {
    let kind = match error.status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({
        "type": "error",
        "error": { "type": kind, "message": error.message },
        "request_id": request_id,
    })
}

fn call_id(turn: usize, place: usize) -> String {
    format!("toolu_{turn:06}_{place:02}")
}

fn stop_reason(reply: &Reply) -> &'static str {
    match reply {
        Reply { truncated: true, .. } => "max_tokens",
        Reply { calls, .. } if !calls.is_empty() => "tool_use",
        _ => "end_turn",
    }
}

fn usage(input: usize, output: usize) -> Value {
    json!({
        "input_tokens": input,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output,
        "service_tier": "standard",
    })
}

/// The answer as one JSON object.
pub(super) fn message(conversation: &Conversation, reply: &Reply, id: &str, input_tokens: usize) -> Value {
    let mut content = Vec::new();
    if !reply.text.is_empty() {
        content.push(json!({ "type": "text", "text": reply.text }));
    }
    for (place, call) in reply.calls.iter().enumerate() {
        let id = call_id(conversation.turns, place);
        content.push(json!({ "type": "tool_use", "id": id, "name": call.name, "input": call.value() }));
    }
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": conversation.model,
        "content": content,
        "stop_reason": stop_reason(reply),
        "stop_sequence": null,
        "usage": usage(input_tokens, reply.tokens()),
    })
}

/// The answer as the events of a stream, each with its event name.
pub(super) fn events(conversation: &Conversation, reply: &Reply, id: &str, input_tokens: usize) -> Vec<Value> {
    let mut start = message(conversation, &Reply::default(), id, input_tokens);
    start["stop_reason"] = Value::Null;
    let mut events = vec![json!({ "type": "message_start", "message": start })];
    let mut index = 0;
    let mut block = |empty: Value, deltas: Vec<Value>| {
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": empty }));
        if index == 0 {
            events.push(json!({ "type": "ping" }));
        }
        for delta in deltas {
            events.push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        }
        events.push(json!({ "type": "content_block_stop", "index": index }));
        index += 1;
    };
    if !reply.text.is_empty() {
        let deltas = pieces(&reply.text).into_iter();
        let deltas = deltas.map(|text| json!({ "type": "text_delta", "text": text })).collect();
        block(json!({ "type": "text", "text": "" }), deltas);
    }
    for (place, call) in reply.calls.iter().enumerate() {
        let id = call_id(conversation.turns, place);
        // The vendor begins with an empty piece.
        let deltas = std::iter::once("").chain(pieces(&call.input));
        let deltas = deltas.map(|json| json!({ "type": "input_json_delta", "partial_json": json })).collect();
        block(json!({ "type": "tool_use", "id": id, "name": call.name, "input": {} }), deltas);
    }
    events.push(json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(reply), "stop_sequence": null },
        "usage": { "output_tokens": reply.tokens() },
    }));
    events.push(json!({ "type": "message_stop" }));
    events
}
