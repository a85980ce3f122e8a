//! Whether the contracts still keep what the released ones promised.
//!
//! `schemas/released` holds the contracts of the last release. A version of an event that was released never changes, not
//! even by a field that may be absent; other contracts may grow, and nothing in them may go. Texts for people are free.

mod documents;
mod json_schema;

use serde_json::Value;

pub use json_schema::{Change, Promise};

/// What to do about a change of an event.
const NEW_VERSION: &str = "a released version of an event never changes: take this back, raise the version in `events!`, \
                           and add an upcaster (CONTRIBUTING.md, \"Adding an event version\")";
/// What to do about a change of another contract.
const KEEP: &str = "others rely on it: add beside it instead of changing it";

/// Each way in which a contract breaks what was released, with what to do about it. `path` is that below
/// `schemas/contracts`; `new` is none when the contract is gone. `schema.graphql` is compared where it is made.
pub fn breaks(path: &str, released: &str, new: Option<&str>) -> Vec<String> {
    let event = path.starts_with("events/");
    let advice = if event { NEW_VERSION } else { KEEP };
    let Some(new) = new else { return vec![format!("{path} is gone; {advice}")] };
    let (old, new) = match (parse(path, released), parse(path, new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) | (_, Err(error)) => return vec![format!("{path} cannot be read: {error}")],
    };
    let found = match path {
        "asyncapi.yaml" => documents::asyncapi(&old, &new),
        "openapi.json" => documents::openapi(&old, &new),
        _ if event => json_schema::breaks(&old, &new, Promise::Frozen),
        _ => json_schema::breaks(&old, &new, Promise::ReadAndWritten),
    };
    found.into_iter().map(|found| format!("{path}: {found}; {advice}")).collect()
}

fn parse(path: &str, text: &str) -> Result<Value, String> {
    if path.ends_with(".yaml") {
        serde_yaml_ng::from_str(text).map_err(|error| error.to_string())
    } else {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
