//! Anthropic Messages: keys, checks, answers.

use super::*;

async fn refusal(body: &Value) -> (u16, Value) {
    let model = start();
    let response = post(&model, Protocol::Anthropic, body).await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "description": "x", "input_schema": { "type": "object", "properties": {} } })
}

fn call(id: &str) -> Value {
    json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": id, "name": "t", "input": {} }] })
}

fn result(id: &str) -> Value {
    json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": id, "content": "r" }] })
}

fn request(messages: &[Value]) -> Value {
    json!({ "model": MODEL, "max_tokens": 10, "messages": messages, "tools": [tool("t")] })
}

#[tokio::test]
async fn a_wrong_key_or_version_is_refused() {
    let model = start();
    let url = format!("{}/v1/messages", model.base_url());
    for key in [None, Some("wrong")] {
        let mut request = client().post(&url).header("anthropic-version", "2023-06-01").json(&json!({}));
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["type"], "error");
        assert_eq!(body["error"]["type"], "authentication_error");
    }
    let response = client().post(&url).header("x-api-key", KEY).json(&json!({})).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(model.requests().len(), 3);
}

#[tokio::test]
async fn both_versions_and_both_headers_for_the_key_are_known() {
    let model = start();
    let url = format!("{}/v1/messages", model.base_url());
    let mut plain = scripted(&json!([{ "end": "ok" }]));
    let mut cited = plain.clone();
    cited["messages"][0]["content"] = json!([{ "type": "text", "text": "x", "citations": [{ "type": "x" }] }]);
    let mut bodies = vec![("plain", plain.clone()), ("cited", cited)];
    plain["temperature"] = json!(1.0);
    bodies.push(("sampled", plain));
    for (version, refused) in [("2023-06-01", vec![]), ("2026-10-21", vec!["cited", "sampled"])] {
        for (name, body) in &bodies {
            let request = client().post(&url).header("anthropic-version", version).json(body);
            let response = request.bearer_auth(KEY).send().await.unwrap();
            assert_eq!(response.status() == 400, refused.contains(name), "{version} {name}");
        }
    }
    let unknown = client().post(&url).header("anthropic-version", "2020-01-01").bearer_auth(KEY);
    assert_eq!(unknown.send().await.unwrap().status(), 400);
    let wrong = client().post(&url).header("anthropic-version", "2026-10-21").bearer_auth("wrong");
    assert_eq!(wrong.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn requests_of_a_wrong_shape_are_refused_with_the_vendor_s_words() {
    let hello = json!({ "role": "user", "content": "hello" });
    let cases = [
        (json!([]), "valid dictionary"),
        (json!({ "model": MODEL, "messages": [hello] }), "max_tokens: Field required"),
        (json!({ "model": MODEL, "max_tokens": 0, "messages": [hello] }), "greater than or equal to 1"),
        (json!({ "max_tokens": 1, "messages": [hello] }), "model: Field required"),
        (json!({ "model": MODEL, "max_tokens": 1, "messages": [hello], "n": 1 }), "n: Extra inputs"),
        (request(&[]), "at least one message"),
        (request(&[json!({ "role": "system", "content": "x" })]), "messages.0.role"),
        (request(&[json!({ "role": "user", "content": "" })]), "non-empty"),
        (request(&[call("a"), result("a")]), "first message must use"),
        (request(&[hello.clone(), call("a")]), "must end with a user message"),
        (request(&[hello.clone(), call("a"), hello.clone()]), "without `tool_result` blocks immediately after: a"),
        (request(&[hello.clone(), call("a"), result("b")]), "unexpected `tool_use_id`"),
        (request(&[hello.clone(), call("a"), result("a"), call("a"), result("a")]), "ids must be unique"),
    ];
    for (body, words) in cases {
        let (status, answer) = refusal(&body).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
    let mut twice = request(std::slice::from_ref(&hello));
    twice["tools"] = json!([tool("t"), tool("t")]);
    assert_eq!(refusal(&twice).await.0, 400);
    let mut other = request(&[hello]);
    other["model"] = json!("claude-x");
    let (status, answer) = refusal(&other).await;
    assert_eq!((status, &answer["error"]["type"]), (404, &json!("not_found_error")));
}

#[tokio::test]
async fn results_in_messages_of_their_own_are_taken_as_one_turn() {
    let two = json!({ "role": "assistant", "content": [
        { "type": "text", "text": "both" },
        { "type": "tool_use", "id": "a", "name": "t", "input": {} },
        { "type": "tool_use", "id": "b", "name": "t", "input": {} },
    ] });
    let hello = json!({ "role": "user", "content": "hello" });
    let (status, _) = refusal(&request(&[hello, two, result("b"), result("a")])).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn answers_in_one_piece() {
    let model = start();
    let script = json!([{ "say": "Hi ü.", "tool": "t", "input": { "a": "b" } }]);
    let body: Value = post(&model, Protocol::Anthropic, &scripted(&script)).await.unwrap().json().await.unwrap();
    assert_eq!(body["type"], "message");
    assert_eq!(body["role"], "assistant");
    assert_eq!(body["content"][0], json!({ "type": "text", "text": "Hi ü." }));
    assert_eq!(body["content"][1]["input"], json!({ "a": "b" }));
    assert_eq!(body["stop_reason"], "tool_use");
    assert_eq!(body["stop_sequence"], Value::Null);
    let recorded = model.requests().remove(0);
    assert_eq!(body["usage"]["input_tokens"], recorded.input_tokens);
    assert_eq!(body["usage"]["output_tokens"], recorded.output_tokens);
    assert!(recorded.complete && recorded.status == 200 && recorded.turn == 0);
}

#[tokio::test]
async fn streams_events_in_the_documented_order() {
    let model = start();
    let input = json!({ "path": "a", "content": "line one\nline two, somewhat longer than one piece\n" });
    let mut body = scripted(&json!([{ "say": "Hi.", "tool": "t", "input": input }]));
    body["stream"] = json!(true);
    let response = post(&model, Protocol::Anthropic, &body).await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let text = response.text().await.unwrap();
    for block in text.trim_end().split("\n\n") {
        let (event, data) = block.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event.strip_prefix("event: "), data["type"].as_str());
    }
    let events = data(&text);
    let mut kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    assert_eq!(events[0]["message"]["content"], json!([]));
    assert_eq!(events[0]["message"]["stop_reason"], Value::Null);
    let json: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), input);
    let last = &events[events.len() - 2];
    assert_eq!(last["delta"]["stop_reason"], "tool_use");
    assert_eq!(last["usage"]["output_tokens"], model.requests()[0].output_tokens);
}
