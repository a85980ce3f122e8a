//! The `OpenAI` Chat Completions protocol: requests checked as the vendor checks them, answers in its shapes.
//!
//! Guarantees: a request that the vendor would refuse for its shape is refused with the same status and (nearly) the same
//! words. A tool result counts as failed when it begins with "error", because this protocol has no field for that.

use http::HeaderMap;
use serde_json::{Value, json};

use super::conversation::{Conversation, Reply, pieces};
use super::protocol::{ApiError, is_known_model, is_tool_name, text_of};

/// When this server's model was made, which every answer tells.
const CREATED: u64 = 1_735_689_600;

/// Checks the key.
pub(super) fn authorize(headers: &HeaderMap, key: &str) -> Result<(), ApiError> {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Bearer ")) {
        None => Err(ApiError::new(401, "You didn't provide an API key.")),
        Some(given) if given != key => Err(ApiError::new(401, "Incorrect API key provided.")),
        Some(_) => Ok(()),
    }
}

/// Reads and checks a request.
pub(super) fn parse(body: &Value) -> Result<Conversation, ApiError> {
    let invalid = |message: &str| ApiError::new(400, message);
    let fields = body.as_object().ok_or_else(|| invalid("We could not parse the JSON body of your request."))?;
    let model = fields.get("model").and_then(Value::as_str);
    let model = model.ok_or_else(|| invalid("you must provide a model parameter"))?;
    let messages = fields.get("messages").and_then(Value::as_array);
    let messages = messages.ok_or_else(|| invalid("Missing required parameter: 'messages'."))?;
    if messages.is_empty() {
        return Err(invalid("Invalid 'messages': empty array. Expected an array with minimum length 1."));
    }
    for name in ["max_tokens", "max_completion_tokens"] {
        let value = fields.get(name).filter(|value| !value.is_null());
        if value.is_some_and(|value| value.as_u64().is_none_or(|tokens| tokens == 0)) {
            return Err(invalid(&format!("Invalid '{name}': expected a positive integer.")));
        }
    }
    if !is_known_model(model) {
        let message = format!("The model `{model}` does not exist or you do not have access to it.");
        return Err(ApiError::new(404, message));
    }
    let stream = fields.get("stream").and_then(Value::as_bool).unwrap_or(false);
    let options = fields.get("stream_options").filter(|value| !value.is_null());
    if options.is_some() && !stream {
        return Err(invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled."));
    }
    let mut conversation = Conversation {
        model: model.to_owned(),
        stream,
        stream_usage: options.is_some_and(|options| options["include_usage"] == true),
        tools: tools(fields.get("tools"))?,
        ..Conversation::default()
    };
    read_messages(messages, &mut conversation)?;
    if fields.get("tool_choice").and_then(Value::as_str) == Some("none") {
        conversation.tools.clear();
    }
    Ok(conversation)
}

fn tools(value: Option<&Value>) -> Result<Vec<String>, ApiError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| ApiError::new(400, "Invalid 'tools': expected a non-empty array."))?;
    let name = |(place, tool): (usize, &Value)| {
        if tool["type"] != "function" {
            return Err(ApiError::new(400, format!("Missing required parameter: 'tools[{place}].type'.")));
        }
        match tool["function"]["name"].as_str() {
            Some(name) if is_tool_name(name, 64) => Ok(name.to_owned()),
            Some(_) => Err(ApiError::new(
                400,
                format!("Invalid 'tools[{place}].function.name': string does not match pattern '^[a-zA-Z0-9_-]+$'."),
            )),
            None => Err(ApiError::new(400, format!("Missing required parameter: 'tools[{place}].function.name'."))),
        }
    };
    list.iter().enumerate().map(name).collect()
}

fn read_messages(messages: &[Value], conversation: &mut Conversation) -> Result<(), ApiError> {
    let mut open: Vec<String> = Vec::new();
    let mut task = None;
    for (place, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role == "tool" {
            tool_message(place, message, &mut open, conversation)?;
            continue;
        }
        all_answered(&open)?;
        let text = text_of(&message["content"]);
        let missing = || ApiError::new(400, format!("Invalid value for 'content': messages[{place}] has none."));
        match role {
            "system" | "developer" => conversation.system += &text.ok_or_else(missing)?,
            "user" => {
                let text = text.ok_or_else(missing)?;
                task.get_or_insert(text);
            }
            "assistant" => {
                conversation.turns += 1;
                open = calls(place, message, conversation)?;
                if open.is_empty() && text.is_none() {
                    return Err(missing());
                }
            }
            _ => {
                let text = format!(
                    "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'tool', and 'developer'."
                );
                return Err(ApiError::new(400, text));
            }
        }
    }
    all_answered(&open)?;
    conversation.task = task.unwrap_or_default();
    Ok(())
}

fn all_answered(open: &[String]) -> Result<(), ApiError> {
    if open.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(
        400,
        format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
             'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            open.join(", ")
        ),
    ))
}

fn tool_message(
    place: usize,
    message: &Value,
    open: &mut Vec<String>,
    conversation: &mut Conversation,
) -> Result<(), ApiError> {
    let id = message["tool_call_id"].as_str();
    let id =
        id.ok_or_else(|| ApiError::new(400, format!("Missing required parameter: 'messages[{place}].tool_call_id'.")))?;
    let Some(found) = open.iter().position(|call| call == id) else {
        let text =
            "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.";
        return Err(ApiError::new(400, text));
    };
    open.remove(found);
    let text = text_of(&message["content"]);
    let text =
        text.ok_or_else(|| ApiError::new(400, format!("Invalid value for 'content': messages[{place}] has none.")))?;
    let start = text.trim_start().get(..5).unwrap_or_default();
    let failed = start.eq_ignore_ascii_case("error");
    conversation.answered(id, text, failed);
    Ok(())
}

/// Reads the calls of a turn of the model; their ids.
fn calls(place: usize, message: &Value, conversation: &mut Conversation) -> Result<Vec<String>, ApiError> {
    let mut open = Vec::new();
    for (number, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let (id, function) = (call["id"].as_str(), &call["function"]);
        let (Some(id), Some(name), Some(arguments)) = (id, function["name"].as_str(), function["arguments"].as_str())
        else {
            let text = format!("Missing required parameter: 'messages[{place}].tool_calls[{number}]'.");
            return Err(ApiError::new(400, text));
        };
        let input = serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.to_owned()));
        conversation.called(id, name, input);
        open.push(id.to_owned());
    }
    Ok(open)
}

/// The vendor's error body.
pub(super) fn error(error: &ApiError) -> Value {
    let (kind, code) = match error.status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    json!({ "error": { "message": error.message, "type": kind, "param": null, "code": code } })
}

fn call_id(turn: usize, place: usize) -> String {
    format!("call_{turn:06}_{place:02}")
}

fn finish_reason(reply: &Reply) -> &'static str {
    match reply {
        Reply { truncated: true, .. } => "length",
        Reply { calls, .. } if !calls.is_empty() => "tool_calls",
        _ => "stop",
    }
}

fn usage(input: usize, output: usize) -> Value {
    json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input + output,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0 },
    })
}

/// The answer as one JSON object.
pub(super) fn completion(conversation: &Conversation, reply: &Reply, id: &str, input_tokens: usize) -> Value {
    let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
    if !reply.text.is_empty() {
        message["content"] = json!(reply.text);
    }
    let call = |(place, call): (usize, &super::conversation::Call)| {
        json!({
            "id": call_id(conversation.turns, place),
            "type": "function",
            "function": { "name": call.name, "arguments": call.input },
        })
    };
    if !reply.calls.is_empty() {
        message["tool_calls"] = reply.calls.iter().enumerate().map(call).collect();
    }
    json!({
        "id": id,
        "object": "chat.completion",
        "created": CREATED,
        "model": conversation.model,
        "choices": [{
            "index": 0,
            "message": message,
            "logprobs": null,
            "finish_reason": finish_reason(reply),
        }],
        "usage": usage(input_tokens, reply.tokens()),
        "service_tier": "default",
        "system_fingerprint": null,
    })
}

/// The answer as the chunks of a stream.
pub(super) fn chunks(conversation: &Conversation, reply: &Reply, id: &str, input_tokens: usize) -> Vec<Value> {
    let with_usage = conversation.stream_usage;
    let chunk = |choices: Value| {
        let mut chunk = json!({
            "id": id,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": conversation.model,
            "service_tier": "default",
            "system_fingerprint": null,
            "choices": choices,
        });
        if with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    };
    let delta = |delta: Value, finish: Option<&str>| {
        chunk(json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]))
    };
    let content = if reply.text.is_empty() { Value::Null } else { json!("") };
    let mut chunks = vec![delta(json!({ "role": "assistant", "content": content, "refusal": null }), None)];
    chunks.extend(pieces(&reply.text).into_iter().map(|text| delta(json!({ "content": text }), None)));
    for (place, call) in reply.calls.iter().enumerate() {
        let start = json!({
            "index": place,
            "id": call_id(conversation.turns, place),
            "type": "function",
            "function": { "name": call.name, "arguments": "" },
        });
        chunks.push(delta(json!({ "tool_calls": [start] }), None));
        for piece in pieces(&call.input) {
            let more = json!({ "index": place, "function": { "arguments": piece } });
            chunks.push(delta(json!({ "tool_calls": [more] }), None));
        }
    }
    chunks.push(delta(json!({}), Some(finish_reason(reply))));
    if with_usage {
        let mut last = chunk(json!([]));
        last["usage"] = usage(input_tokens, reply.tokens());
        chunks.push(last);
    }
    chunks
}
