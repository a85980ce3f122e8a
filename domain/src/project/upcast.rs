//! Lifts stored project events of older versions.

use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde_json::{Value, json};

pub(super) fn chain() -> Vec<Box<dyn EventUpcaster>> {
    vec![Box::new(CreatedV1)]
}

/// `ProjectCreated` 1 → 2: the repository became a value of its own, so that it can carry a credential; the model
/// choice appeared.
struct CreatedV1;

impl EventUpcaster for CreatedV1 {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_type == "ProjectCreated" && event_version == "1"
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        if let Value::Object(fields) = &mut event.payload {
            let url = fields.remove("repository_url").unwrap_or_default();
            let default_branch = fields.remove("default_branch").unwrap_or_else(|| json!("main"));
            fields.insert(
                "repository".into(),
                json!({ "url": url, "default_branch": default_branch, "credential": null }),
            );
            fields.insert("model".into(), Value::Null);
        }
        "2".clone_into(&mut event.event_version);
        event
    }
}
