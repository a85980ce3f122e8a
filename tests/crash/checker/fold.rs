//! A fold of the log of our own, as plain as it can be: from events to the rows that the read models must have.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::clients::uuid_of;
use super::models;
use super::picture::Event;

/// The rows of a table, by their key.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// The columns of its key.
    pub(super) key: Columns,
    /// Columns that are for people alone.
    pub(super) ignored: Columns,
    pub(super) rows: BTreeMap<Vec<String>, Value>,
}

/// All tables, by name.
pub(super) struct Tables(BTreeMap<&'static str, Table>);

type Columns = &'static [&'static str];

const TABLES: &[(&str, Columns, Columns)] = &[
    ("tenants", &["tenant", "id"], &[]),
    ("workspaces", &["tenant", "workspace"], &[]),
    ("providers", &["tenant", "provider"], &[]),
    ("projects", &["tenant", "project"], &[]),
    ("cards", &["tenant", "card"], &[]),
    ("card_history", &["tenant", "card", "position"], &["summary"]),
    ("card_history_runs", &["tenant", "run"], &[]),
    ("card_history_environments", &["tenant", "environment"], &[]),
    ("runs", &["tenant", "run"], &[]),
    ("run_steps", &["tenant", "run", "attempt", "number"], &[]),
    ("environments", &["tenant", "environment"], &[]),
    ("usage", &["tenant", "day", "project", "provider", "model"], &[]),
    ("usage_runs", &["tenant", "run"], &[]),
];

pub(super) fn fold(events: &[Event]) -> BTreeMap<&'static str, Table> {
    let tables = TABLES.iter().map(|&(name, key, ignored)| (name, Table { key, ignored, rows: BTreeMap::new() }));
    let mut tables = Tables(tables.collect());
    for event in events {
        tables.take(event);
    }
    tables.0
}

/// A part of a key, as text.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `crd_…` as the database has it; null stays null.
pub(super) fn id(value: &Value) -> Value {
    value.as_str().and_then(uuid_of).map_or(Value::Null, |uuid| json!(uuid))
}

impl Tables {
    pub(super) fn put(&mut self, table: &str, row: Value) {
        let table = self.0.get_mut(table).expect("a table");
        let key = table.key.iter().map(|column| text(&row[*column])).collect();
        table.rows.insert(key, row);
    }

    pub(super) fn get(&mut self, table: &str, key: &[&Value]) -> Option<&mut Value> {
        let key: Vec<String> = key.iter().map(|value| text(value)).collect();
        self.0.get_mut(table).expect("a table").rows.get_mut(&key)
    }

    fn take(&mut self, event: &Event) {
        let body = event.body();
        match event.aggregate_type.as_str() {
            "tenant" => self.tenant(event, &body),
            "workspace" => self.workspace(event, &body),
            "provider" => self.provider(event, &body),
            "project" => self.project(event, &body),
            "card" => self.card(event, &body),
            "subject" => self.erase(event, &body),
            _ => {}
        }
        models::history(self, event, &body);
        models::runs(self, event, &body);
        models::environments(self, event, &body);
        models::usage(self, event, &body);
    }

    /// The row of the event's own stream: the one it begins with this event, or the one that is there.
    fn own(&mut self, table: &'static str, event: &Event, begins: Option<Value>) -> &mut Value {
        if let Some(mut row) = begins {
            row["tenant"] = json!(event.tenant);
            row["created_at"] = json!(event.occurred_at);
            self.put(table, row);
        }
        let (tenant, stream) = (json!(event.tenant), json!(event.stream));
        if self.get(table, &[&tenant, &stream]).is_none() {
            // In a damaged log a stream may begin anywhere; that is for other rules to name.
            let named = self.0[table].key[1];
            self.put(table, json!({ "tenant": tenant, named: stream }));
        }
        let row = self.get(table, &[&tenant, &stream]).expect("just put");
        row["version"] = json!(event.version);
        row["position"] = json!(event.position);
        row
    }

    fn tenant(&mut self, event: &Event, body: &Value) {
        let begins = (event.event_type == "TenantCreated")
            .then(|| json!({ "id": event.stream, "name": body["name"], "suspended": false }));
        let row = self.own("tenants", event, begins);
        match event.event_type.as_str() {
            "TenantRenamed" => row["name"] = body["name"].clone(),
            "TenantSuspended" => row["suspended"] = json!(true),
            "TenantResumed" => row["suspended"] = json!(false),
            _ => {}
        }
    }

    fn workspace(&mut self, event: &Event, body: &Value) {
        let begins = (event.event_type == "WorkspaceCreated")
            .then(|| json!({ "workspace": event.stream, "name": body["name"], "archived": false }));
        let row = self.own("workspaces", event, begins);
        match event.event_type.as_str() {
            "WorkspaceRenamed" => row["name"] = body["name"].clone(),
            "WorkspaceArchived" => row["archived"] = json!(true),
            _ => {}
        }
    }

    fn provider(&mut self, event: &Event, body: &Value) {
        let begins = (event.event_type == "ProviderRegistered").then(|| {
            json!({ "provider": event.stream, "name": body["name"], "kind": body["kind"], "base_url": body["base_url"],
                "default_model": body["default_model"], "enabled": true })
        });
        let row = self.own("providers", event, begins);
        match event.event_type.as_str() {
            "ProviderConfigured" => {
                for column in ["name", "kind", "base_url", "default_model"] {
                    row[column] = body[column].clone();
                }
            }
            "ProviderDisabled" => row["enabled"] = json!(false),
            "ProviderEnabled" => row["enabled"] = json!(true),
            _ => {}
        }
    }

    fn project(&mut self, event: &Event, body: &Value) {
        let begins = (event.event_type == "ProjectCreated").then(|| {
            json!({ "project": event.stream, "workspace": id(&body["workspace"]), "name": body["name"],
                "lanes": body["lanes"], "policy": body["policy"], "provider": id(&body["model"]["provider"]),
                "model": body["model"]["model"], "archived": false, "created_by": event.actor })
        });
        let row = self.own("projects", event, begins);
        match event.event_type.as_str() {
            "ProjectRenamed" => row["name"] = body["name"].clone(),
            "ProjectLanesConfigured" => row["lanes"] = body["lanes"].clone(),
            "ProjectPolicySet" => row["policy"] = body["policy"].clone(),
            "ProjectModelChosen" => {
                row["provider"] = id(&body["model"]["provider"]);
                row["model"] = body["model"]["model"].clone();
            }
            "ProjectArchived" => row["archived"] = json!(true),
            _ => {}
        }
        let repository = &body["repository"];
        if !repository.is_null() {
            row["repository_url"] = repository["url"].clone();
            row["default_branch"] = repository["default_branch"].clone();
            row["has_credential"] = json!(!repository["credential"].is_null());
        }
        changed(row, event);
    }

    /// What was said about somebody, or by them, goes; that something was said stays. (Nobody in these worlds has a reason
    /// for anything and is erased.)
    fn erase(&mut self, event: &Event, body: &Value) {
        for row in self.0.get_mut("card_history").expect("a table").rows.values_mut() {
            let said = row["payload"]["text"]["subject"] == body["subject"];
            if said && row["tenant"] == json!(event.tenant) {
                row["payload"]["text"]["sealed"] = json!("");
            }
        }
    }

    fn card(&mut self, event: &Event, body: &Value) {
        let begins = (event.event_type == "CardCreated").then(|| {
            json!({ "card": event.stream, "project": id(&body["project"]), "lane": body["lane"], "rank": body["rank"],
                "title": body["title"], "description": body["description"], "agent": null, "depends_on": [],
                "blocked_reason": null, "active_run": null, "last_run": null, "archived": false,
                "created_by": event.actor })
        });
        let row = self.own("cards", event, begins);
        changed(row, event);
        match event.event_type.as_str() {
            "CardEdited" => {
                for column in ["title", "description"].into_iter().filter(|column| !body[*column].is_null()) {
                    row[column] = body[column].clone();
                }
            }
            "CardMoved" => {
                row["lane"] = body["to"].clone();
                row["rank"] = body["rank"].clone();
            }
            "CardRanked" => row["rank"] = body["rank"].clone(),
            "CardAgentAssigned" => row["agent"] = body["agent"].clone(),
            "CardDependencyAdded" => depend(row, |on| on.push(id(&body["on"]))),
            "CardDependencyRemoved" => depend(row, |on| on.retain(|card| *card != id(&body["on"]))),
            "CardBlocked" => row["blocked_reason"] = said(&body["reason"]),
            "CardUnblocked" => row["blocked_reason"] = Value::Null,
            "CardRunRequested" => row["active_run"] = id(&body["run"]),
            "CardRunFinished" => {
                row["active_run"] = Value::Null;
                row["last_run"] = last_run(body);
            }
            "CardArchived" => row["archived"] = json!(true),
            _ => {}
        }
    }
}

/// What was said, as a column of type text has it.
pub(super) fn said(text: &Value) -> Value {
    match (text["subject"].as_str(), text["sealed"].as_str()) {
        (Some(subject), Some(sealed)) => json!(format!(r#"{{"subject":"{subject}","sealed":"{sealed}"}}"#)),
        _ => text.clone(),
    }
}

fn changed(row: &mut Value, event: &Event) {
    row["updated_at"] = json!(event.occurred_at);
    row["updated_by"] = json!(event.actor);
}

/// The cards that a card waits for: a sorted set.
fn depend(row: &mut Value, change: impl FnOnce(&mut Vec<Value>)) {
    let Some(on) = row["depends_on"].as_array_mut() else { return };
    change(on);
    on.sort_by_key(text);
    on.dedup();
}

fn last_run(body: &Value) -> Value {
    let run: Uuid = body["run"].as_str().and_then(uuid_of).expect("a run");
    let reason = match body["result"].as_str() {
        Some("timed_out") => json!(format!("It took longer than {} s.", body["after_seconds"])),
        _ => said(&body["reason"]),
    };
    json!({ "run": run, "result": body["result"], "failure": body["kind"], "commit": body["commit"],
        "summary": body["summary"], "reason": reason })
}
