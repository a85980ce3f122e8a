//! A small agent: asks the model, runs the tools in a folder, until the model finishes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

pub(super) const TOOLS: [&str; 6] = ["list_files", "read_file", "write_file", "edit_file", "run_command", "finish"];

/// How a conversation ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) summary: String,
    /// What `finish` said; None if the model ended with text alone.
    pub(super) success: Option<bool>,
    pub(super) commands: Vec<String>,
}

/// Works on a task in a folder until the model ends.
pub(super) async fn work(protocol: Protocol, tools: &[&str], folder: &Path, task: &str) -> End {
    let model = start();
    let mut commands = Vec::new();
    let mut messages = vec![json!({ "role": "user", "content": task })];
    for _ in 0..40 {
        let body = json!({
            "model": MODEL,
            "max_tokens": 4096,
            "messages": messages,
            "tools": tools.iter().map(|name| definition(protocol, name)).collect::<Value>(),
        });
        let response = post(&model, protocol, &body).await.unwrap();
        assert_eq!(response.status(), 200);
        let answer: Value = response.json().await.unwrap();
        let (message, text, calls) = read(protocol, &answer);
        if calls.is_empty() {
            return End { summary: text, success: None, commands };
        }
        messages.push(message);
        for (id, name, input) in calls {
            assert!(tools.contains(&name.as_str()), "{name} was not offered");
            if name == "finish" {
                let summary = input["summary"].as_str().unwrap().to_owned();
                return End { summary, success: input["success"].as_bool(), commands };
            }
            if name == "run_command" {
                commands.push(input["command"].as_str().unwrap().to_owned());
            }
            let result = run(folder, &name, &input);
            messages.push(match protocol {
                Protocol::Anthropic => json!({ "role": "user", "content": [{
                    "type": "tool_result", "tool_use_id": id, "content": result.clone().unwrap_or_else(|e| e), "is_error": result.is_err(),
                }] }),
                Protocol::OpenAi => json!({
                    "role": "tool", "tool_call_id": id, "content": result.unwrap_or_else(|error| format!("error: {error}")),
                }),
            });
        }
    }
    panic!("the model did not end: {messages:#?}");
}

fn definition(protocol: Protocol, name: &str) -> Value {
    match protocol {
        Protocol::Anthropic => json!({ "name": name, "description": name, "input_schema": { "type": "object" } }),
        Protocol::OpenAi => {
            json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } })
        }
    }
}

/// The model's message, its text, and its calls: id, name, input.
fn read(protocol: Protocol, answer: &Value) -> (Value, String, Vec<(String, String, Value)>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match protocol {
        Protocol::Anthropic => {
            let blocks = answer["content"].as_array().unwrap();
            let texts = blocks.iter().map(|block| text(&block["text"])).collect();
            let calls = blocks.iter().filter(|block| block["type"] == "tool_use");
            let calls = calls.map(|call| (text(&call["id"]), text(&call["name"]), call["input"].clone())).collect();
            (json!({ "role": "assistant", "content": blocks }), texts, calls)
        }
        Protocol::OpenAi => {
            let message = &answer["choices"][0]["message"];
            let calls = message["tool_calls"].as_array().into_iter().flatten();
            let calls = calls.map(|call| {
                let function = &call["function"];
                let input = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
                (text(&call["id"]), text(&function["name"]), input)
            });
            (message.clone(), text(&message["content"]), calls.collect())
        }
    }
}

fn run(folder: &Path, name: &str, input: &Value) -> Result<String, String> {
    let path = folder.join(input["path"].as_str().unwrap_or_default());
    let told = |error: std::io::Error| error.to_string();
    match name {
        "list_files" => Ok(list(folder, &path).join("\n")),
        "read_file" => fs::read_to_string(path).map_err(told),
        "write_file" => {
            fs::create_dir_all(path.parent().unwrap()).map_err(told)?;
            fs::write(path, input["content"].as_str().unwrap()).map_err(told)?;
            Ok("written".to_owned())
        }
        "edit_file" => {
            let text = fs::read_to_string(&path).map_err(told)?;
            let (old, new) = (input["old_text"].as_str().unwrap(), input["new_text"].as_str().unwrap());
            if text.matches(old).count() != 1 {
                return Err("old_text must occur exactly once".to_owned());
            }
            fs::write(path, text.replace(old, new)).map_err(told)?;
            Ok("edited".to_owned())
        }
        "run_command" => {
            let command = format!("({}) 2>&1", input["command"].as_str().unwrap());
            let output = Command::new("sh").arg("-c").arg(command).current_dir(folder).output().map_err(told)?;
            let status = output.status.code().unwrap_or(-1);
            Ok(format!("exit status: {status}\n{}", String::from_utf8_lossy(&output.stdout)))
        }
        _ => Err(format!("unknown tool {name}")),
    }
}

fn list(folder: &Path, below: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(below)];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    files.sort();
    files
}
