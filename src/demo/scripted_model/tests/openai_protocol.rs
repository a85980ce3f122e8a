//! Chat Completions: keys, checks, answers.

use super::*;

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let model = start();
    let url = format!("{}/v1/chat/completions", model.base_url());
    let response = client().post(url).bearer_auth("wrong").json(&json!({})).send().await.unwrap();
    assert_eq!(response.status(), 401);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "invalid_api_key");
}

#[tokio::test]
async fn requests_of_a_wrong_shape_are_refused() {
    let hello = json!({ "role": "user", "content": "hello" });
    let function = json!({ "name": "t", "arguments": "{}" });
    let calls = json!([{ "id": "a", "type": "function", "function": function }]);
    let call = json!({ "role": "assistant", "content": null, "tool_calls": calls });
    let cases = [
        (json!({ "messages": [hello] }), 400, "model"),
        (json!({ "model": MODEL }), 400, "messages"),
        (json!({ "model": MODEL, "messages": [] }), 400, "empty array"),
        (json!({ "model": "gpt-x", "messages": [hello] }), 404, "does not exist"),
        (json!({ "model": MODEL, "messages": [hello, call] }), 400, "did not have response messages: a"),
        (json!({ "model": MODEL, "messages": [hello, call, hello] }), 400, "did not have response messages: a"),
        (
            json!({ "model": MODEL, "messages": [{ "role": "tool", "tool_call_id": "a", "content": "" }] }),
            400,
            "preceding",
        ),
        (json!({ "model": MODEL, "messages": [{ "role": "robot", "content": "" }] }), 400, "Invalid value: 'robot'"),
        (json!({ "model": MODEL, "messages": [hello], "stream_options": {} }), 400, "stream_options"),
    ];
    let model = start();
    for (body, status, words) in cases {
        let response = post(&model, Protocol::OpenAi, &body).await.unwrap();
        assert_eq!(response.status(), status, "{body}");
        let answer: Value = response.json().await.unwrap();
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn streams_chunks_with_usage_at_the_end() {
    let model = start();
    let mut body = scripted(&json!([{ "say": "Hi.", "parallel": [
        { "tool": "t", "input": { "text": "long enough to be sent in more than one piece" } },
        { "tool": "u" },
    ] }]));
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    let text = post(&model, Protocol::OpenAi, &body).await.unwrap().text().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"));
    let chunks = data(&text);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let mut arguments = [String::new(), String::new()];
    for chunk in &chunks {
        for call in chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            arguments[index] += call["function"]["arguments"].as_str().unwrap();
        }
    }
    assert!(serde_json::from_str::<Value>(&arguments[0]).unwrap()["text"].is_string());
    assert_eq!(arguments[1], "{}");
    let (last, rest) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], model.requests()[0].output_tokens);
    assert!(rest.iter().all(|chunk| chunk["usage"].is_null()));
    assert_eq!(rest.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn both_vendors_lists_of_models_answer() {
    let model = start();
    let url = format!("{}/v1/models", model.base_url());
    let openai = client().get(&url).bearer_auth(KEY).send().await.unwrap();
    let list: Value = openai.json().await.unwrap();
    assert_eq!(list["data"][0]["id"], MODEL);
    let anthropic = client().get(&url).header("anthropic-version", "2023-06-01").send().await.unwrap();
    assert_eq!(anthropic.status(), 401);
}
