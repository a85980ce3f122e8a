//! Misbehaviour on request.

use super::*;

const BOTH: [Protocol; 2] = [Protocol::Anthropic, Protocol::OpenAi];

fn hello() -> Value {
    scripted(
        &json!([{ "say": "A text that is long enough for a few pieces of a stream.", "tool": "t", "input": { "a": 1 } }]),
    )
}

fn streamed() -> Value {
    let mut body = hello();
    body["stream"] = json!(true);
    body
}

#[tokio::test]
async fn statuses_come_as_often_as_injected() {
    for protocol in BOTH {
        let model = start();
        model.inject(Fault { retry_after: Some(7), ..Fault::status(429) }.times(2));
        model.inject(Fault::status(529));
        for status in [429, 429, 529, 200] {
            let response = post(&model, protocol, &hello()).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key("retry-after"), status == 429);
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["error"]["message"].is_string(), status != 200);
        }
        let statuses: Vec<u16> = model.requests().iter().map(|request| request.status).collect();
        assert_eq!(statuses, [429, 429, 529, 200]);
    }
}

#[tokio::test]
async fn faults_in_a_script_are_used_up_once() {
    let model = start();
    let script = json!([{ "fault": { "status": 500, "times": 2 } }, { "end": "ok" }]);
    for status in [500, 500, 200, 200] {
        let response = post(&model, Protocol::Anthropic, &scripted(&script)).await.unwrap();
        assert_eq!(response.status(), status);
    }
    model.forget_used_faults();
    let response = post(&model, Protocol::Anthropic, &scripted(&script)).await.unwrap();
    assert_eq!(response.status(), 500);
}

#[tokio::test]
async fn a_cut_answer_breaks_off_after_its_first_pieces() {
    for protocol in BOTH {
        let model = start();
        model.inject(Fault::cut_after(2));
        let mut response = post(&model, protocol, &streamed()).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut text = String::new();
        let cut = loop {
            match response.chunk().await {
                Ok(Some(bytes)) => text += std::str::from_utf8(&bytes).unwrap(),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(cut, "{text}");
        assert_eq!(data(&text).len(), 2);
        assert!(!model.requests()[0].complete);
    }
}

#[tokio::test]
async fn a_stream_can_end_with_an_error_and_an_answer_can_be_too_long() {
    for protocol in BOTH {
        let model = start();
        model.inject(Fault { stream_error: true, ..Fault::default() });
        let text = post(&model, protocol, &streamed()).await.unwrap().text().await.unwrap();
        assert!(data(&text).last().unwrap()["error"]["message"].is_string());
        model.inject(Fault { truncated: true, ..Fault::default() });
        let text = post(&model, protocol, &hello()).await.unwrap().text().await.unwrap();
        assert!(text.contains("\"max_tokens\"") || text.contains("\"length\""), "{text}");
    }
}

#[tokio::test]
async fn tool_calls_can_be_spoiled() {
    for protocol in BOTH {
        let model = start();
        model.inject(Fault { malformed_input: true, piece_delay_ms: 1, ..Fault::default() });
        let text = post(&model, protocol, &streamed()).await.unwrap().text().await.unwrap();
        let json: String = data(&text)
            .iter()
            .flat_map(|event| {
                [
                    event.pointer("/delta/partial_json"),
                    event.pointer("/choices/0/delta/tool_calls/0/function/arguments"),
                ]
            })
            .filter_map(|piece| Some(piece?.as_str()?.to_owned()))
            .collect();
        assert!(json.starts_with("{\"a\":1") && serde_json::from_str::<Value>(&json).is_err(), "{json}");
        model.inject(Fault { unoffered_tool: true, first_byte_delay_ms: 1, ..Fault::default() });
        let text = post(&model, protocol, &hello()).await.unwrap().text().await.unwrap();
        assert!(text.contains("launch_rocket"));
    }
}

#[tokio::test]
async fn a_gate_holds_an_answer_until_it_is_released() {
    let model = start();
    let script = scripted(&json!([{ "hold": "here" }, { "end": "released" }]));
    let answer = post(&model, Protocol::Anthropic, &script);
    let release = async {
        model.wait_until_held("here", 1).await;
        assert_eq!(model.requests()[0].status, 0);
        model.release("here");
    };
    let (answer, ()) = tokio::join!(answer, release);
    assert!(answer.unwrap().text().await.unwrap().contains("released"));
}

#[tokio::test]
async fn stopping_cuts_a_held_answer() {
    let mut model = start();
    let body = scripted(&json!([{ "hold": "for ever" }, { "end": "never" }]));
    let url = format!("{}/v1/chat/completions", model.base_url());
    let request = client().post(url).bearer_auth(KEY).json(&body);
    let answer = tokio::spawn(request.send());
    model.wait_until_held("for ever", 1).await;
    model.stop();
    assert!(answer.await.unwrap().is_err());
}
