//! What breaks in the documents that have more than a schema: AsyncAPI and OpenAPI.

use serde_json::{Map, Value};

use super::json_schema::{Promise, breaks_within};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn members<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// What of `old` is not in `new`, in the object at `pointer`.
fn removed(old: &Value, new: &Value, pointer: &str, what: &str) -> Vec<String> {
    let present = |name: &String| members(new, pointer).any(|(other, _)| other == name);
    let gone = members(old, pointer).filter(|(name, _)| !present(name));
    gone.map(|(name, _)| format!("the {what} `{name}` was removed")).collect()
}

/// Which of `pointers` lead to something else than they did.
fn changed(at: &str, old: &Value, new: &Value, pointers: &[&str]) -> Vec<String> {
    let differs = pointers.iter().filter(|pointer| old.pointer(pointer) != new.pointer(pointer));
    differs.map(|pointer| format!("{at}: `{}` has changed", pointer.trim_start_matches('/'))).collect()
}

/// What a change of `asyncapi.yaml` breaks.
pub(super) fn asyncapi(old: &Value, new: &Value) -> Vec<String> {
    let mut found = removed(old, new, "/channels", "channel");
    found.extend(removed(old, new, "/operations", "operation"));
    found.extend(removed(old, new, "/components/messages", "message"));
    for (name, channel) in members(old, "/channels") {
        let Some(now) = new["channels"].get(name) else { continue };
        found.extend(changed(name, channel, now, &["/address"]));
        found.extend(removed(channel, now, "/messages", &format!("message of the channel {name}")));
    }
    for (name, operation) in members(old, "/operations") {
        let Some(now) = new["operations"].get(name) else { continue };
        found.extend(changed(name, operation, now, &["/action", "/channel"]));
    }
    for (name, message) in members(old, "/components/messages") {
        let Some(now) = new["components"]["messages"].get(name) else { continue };
        found.extend(changed(name, message, now, &["/name", "/contentType", "/payload"]));
        let headers = breaks_within((&message["headers"], old), (&now["headers"], new), Promise::Read);
        found.extend(headers.into_iter().map(|broken| format!("headers of {name}: {broken}")));
    }
    found
}

/// What a change of `openapi.json` breaks.
pub(super) fn openapi(old: &Value, new: &Value) -> Vec<String> {
    let mut found = removed(old, new, "/paths", "path");
    for (path, item) in members(old, "/paths") {
        let Some(now) = new["paths"].get(path) else { continue };
        for method in METHODS {
            let at = format!("{} {path}", method.to_uppercase());
            match (item.get(method), now.get(method)) {
                (Some(_), None) => found.push(format!("{at} was removed")),
                (Some(before), Some(after)) => found.extend(operation(&at, (before, old), (after, new))),
                (None, _) => {}
            }
        }
    }
    found
}

/// An operation and its document.
type Part<'a> = (&'a Value, &'a Value);

fn operation(at: &str, old: Part<'_>, new: Part<'_>) -> Vec<String> {
    let mut found = changed(at, old.0, new.0, &["/operationId"]);
    found.extend(parameters(at, old, new));
    found.extend(removed(old.0, new.0, "/responses", "answer").into_iter().map(|gone| format!("{at}: {gone}")));
    for (status, answer) in members(old.0, "/responses") {
        let Some(now) = new.0["responses"].get(status) else { continue };
        found.extend(contents(&format!("{at} {status}"), (answer, old.1), (now, new.1), Promise::Read));
    }
    match (old.0.get("requestBody"), new.0.get("requestBody")) {
        (Some(before), Some(after)) => {
            found.extend(contents(&format!("{at} body"), (before, old.1), (after, new.1), Promise::Written));
        }
        (Some(_), None) => found.push(format!("{at}: the body was removed")),
        (None, Some(after)) if after["required"] == true => found.push(format!("{at}: a body is required now")),
        (None, _) => {}
    }
    found
}

fn contents(at: &str, old: Part<'_>, new: Part<'_>, promise: Promise) -> Vec<String> {
    let mut found: Vec<_> =
        removed(old.0, new.0, "/content", "media type").into_iter().map(|gone| format!("{at}: {gone}")).collect();
    for (media_type, content) in members(old.0, "/content") {
        let Some(now) = new.0["content"].get(media_type) else { continue };
        let broken = breaks_within((&content["schema"], old.1), (&now["schema"], new.1), promise);
        found.extend(broken.into_iter().map(|broken| format!("{at}: {broken}")));
    }
    found
}

fn parameters(at: &str, old: Part<'_>, new: Part<'_>) -> Vec<String> {
    let list = |part: Part<'_>| part.0["parameters"].as_array().cloned().unwrap_or_default();
    let name = |parameter: &Value| format!("{} in {}", parameter["name"], parameter["in"]);
    let (before, after) = (list(old), list(new));
    let mut found = Vec::new();
    for parameter in &before {
        let Some(now) = after.iter().find(|other| name(other) == name(parameter)) else {
            found.push(format!("{at}: the parameter {} was removed", name(parameter)));
            continue;
        };
        if now["required"] == true && parameter["required"] != true {
            found.push(format!("{at}: the parameter {} is required now", name(parameter)));
        }
        let broken = breaks_within((&parameter["schema"], old.1), (&now["schema"], new.1), Promise::Written);
        found.extend(broken.into_iter().map(|broken| format!("{at}: the parameter {}: {broken}", name(parameter))));
    }
    let fresh = after.iter().filter(|now| before.iter().all(|other| name(other) != name(now)));
    found.extend(
        fresh
            .filter(|now| now["required"] == true)
            .map(|now| format!("{at}: the parameter {} was added and is required", name(now))),
    );
    found
}
