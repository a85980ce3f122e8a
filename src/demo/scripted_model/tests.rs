//! The model as a client sees it: over HTTP, through a small agent that really runs the tools.

mod agent;
mod anthropic_protocol;
mod cards;
mod faults;
mod openai_protocol;

use serde_json::{Value, json};

use super::*;

const KEY: &str = "test-key";

fn start() -> ScriptedModel {
    ScriptedModel::start(KEY).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests are a vendor's client here")]
fn client() -> reqwest::Client {
    // Refused only when another test was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// Sends a body with the vendor's headers.
async fn post(model: &ScriptedModel, protocol: Protocol, body: &Value) -> reqwest::Result<reqwest::Response> {
    let base = model.base_url();
    let request = match protocol {
        Protocol::Anthropic => client()
            .post(format!("{base}/v1/messages"))
            .header("x-api-key", KEY)
            .header("anthropic-version", "2023-06-01"),
        Protocol::OpenAi => client().post(format!("{base}/v1/chat/completions")).bearer_auth(KEY),
    };
    request.json(body).send().await
}

/// A request with one user message that holds a literal script.
fn scripted(script: &Value) -> Value {
    let task = format!("Please:\n```agentworks-script\n{script}\n```\n");
    json!({
        "model": MODEL,
        "max_tokens": 1000,
        "messages": [{ "role": "user", "content": task }],
    })
}

/// The data of every event in a stream.
fn data(stream: &str) -> Vec<Value> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}
