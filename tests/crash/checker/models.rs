//! The fold, continued: histories, runs, usage.

use serde_json::{Value, json};

use super::fold::{Tables, id, said};
use super::picture::Event;

/// Every event that concerns a card, with the run and the attempt that it belongs to.
pub(super) fn history(tables: &mut Tables, event: &Event, body: &Value) {
    let (tenant, stream) = (json!(event.tenant), json!(event.stream));
    let mut payload = body.clone();
    let (card, run, attempt) = match event.aggregate_type.as_str() {
        "card" => {
            if event.event_type == "CardRunRequested" {
                payload["task"]["repository"]["credential"] = Value::Null;
                tables.put("card_history_runs", json!({ "tenant": tenant, "run": id(&body["run"]), "card": stream }));
            }
            let run = if event.event_type.starts_with("CardRun") { id(&body["run"]) } else { Value::Null };
            (stream, run, Value::Null)
        }
        "run" => {
            if event.event_type == "RunQueued" {
                payload["repository"]["credential"] = Value::Null;
                tables.put("card_history_runs", json!({ "tenant": tenant, "run": stream, "card": id(&body["card"]) }));
            }
            let Some(owner) = tables.get("card_history_runs", &[&tenant, &stream]) else { return };
            let attempt = body["attempt"].as_i64().filter(|attempt| *attempt > 0);
            (owner["card"].clone(), stream, json!(attempt))
        }
        "environment" => {
            if event.event_type == "EnvironmentRequested" {
                let row = json!({ "tenant": tenant, "environment": stream, "run": id(&body["run"]), "attempt": body["attempt"] });
                tables.put("card_history_environments", row);
            }
            let Some(environment) = tables.get("card_history_environments", &[&tenant, &stream]).cloned() else {
                return;
            };
            let Some(owner) = tables.get("card_history_runs", &[&tenant, &environment["run"]]) else { return };
            (owner["card"].clone(), environment["run"].clone(), environment["attempt"].clone())
        }
        _ => return,
    };
    tables.put(
        "card_history",
        json!({ "tenant": tenant, "card": card, "position": event.position, "event": event.id, "kind": event.event_type,
            "actor": event.actor, "occurred_at": event.occurred_at, "run": run, "attempt": attempt, "payload": payload }),
    );
}

pub(super) fn runs(tables: &mut Tables, event: &Event, body: &Value) {
    let tenant = json!(event.tenant);
    if event.event_type == "CardRunRequested" {
        let row = queued(event, &id(&body["run"]), &body["task"], &json!(event.actor));
        tables.put("runs", row);
        tables.get("runs", &[&tenant, &id(&body["run"])]).expect("just put")["version"] = json!(0);
    }
    if event.aggregate_type != "run" {
        return;
    }
    let stream = json!(event.stream);
    if event.event_type == "RunQueued" {
        let since = tables.get("runs", &[&tenant, &stream]).map(|row| row["queued_at"].clone());
        let mut row = queued(event, &stream, body, &body["requested_by"]);
        row["queued_at"] = since.unwrap_or_else(|| json!(event.occurred_at));
        tables.put("runs", row);
    }
    if event.event_type == "RunStepRecorded" {
        let mut row =
            json!({ "tenant": tenant, "run": stream, "occurred_at": event.occurred_at, "position": event.position });
        for column in ["attempt", "number", "kind", "title", "detail", "ok", "duration_ms"] {
            row[column] = body[column].clone();
        }
        tables.put("run_steps", row);
    }
    let Some(row) = tables.get("runs", &[&tenant, &stream]) else { return };
    row["version"] = json!(event.version);
    row["position"] = json!(event.position);
    run_changed(row, event, body);
}

fn run_changed(row: &mut Value, event: &Event, body: &Value) {
    let at = json!(event.occurred_at);
    match event.event_type.as_str() {
        "RunDispatched" => {
            row["state"] = json!("dispatching");
            row["attempt"] = body["attempt"].clone();
            row["environment"] = id(&body["environment"]);
            row["dispatched_at"] = at;
            row["started_at"] = Value::Null;
        }
        "RunStarted" => {
            row["state"] = json!("running");
            row["started_at"] = at;
            row["reason"] = Value::Null;
        }
        "RunModelCalled" => {
            row["model_calls"] = json!(row["model_calls"].as_i64().unwrap_or(0) + 1);
            add(row, body, &TOKENS);
        }
        "RunAttemptLost" => {
            row["state"] = json!("queued");
            row["reason"] = body["reason"].clone();
        }
        "RunSucceeded" => {
            end(row, at, "succeeded", &Value::Null);
            row["outcome"] = body.clone();
            row["outcome"].as_object_mut().expect("a payload").remove("attempt");
        }
        "RunFailed" => {
            end(row, at, "failed", &body["reason"]);
            row["failure"] = body["kind"].clone();
            row["log_tail"] = body["log_tail"].clone();
        }
        "RunTimedOut" => {
            let reason = format!("It took longer than {} s.", body["after_seconds"]);
            end(row, at, "timed_out", &json!(reason));
        }
        "RunCancelled" => end(row, at, "cancelled", &said(&body["reason"])),
        _ => {}
    }
}

const TOKENS: [&str; 4] = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"];

fn add(row: &mut Value, body: &Value, columns: &[&str]) {
    for column in columns {
        row[*column] = json!(row[*column].as_i64().unwrap_or(0) + body[*column].as_i64().unwrap_or(0));
    }
}

fn end(row: &mut Value, at: Value, state: &str, reason: &Value) {
    row["state"] = json!(state);
    row["ended_at"] = at;
    row["reason"] = reason.clone();
}

fn queued(event: &Event, run: &Value, task: &Value, requested_by: &Value) -> Value {
    json!({
        "tenant": event.tenant, "run": run, "card": id(&task["card"]), "project": id(&task["project"]),
        "workspace": id(&task["workspace"]), "title": task["title"], "state": "queued", "attempt": 0,
        "environment": null, "branch": task["branch"], "provider": id(&task["provider"]),
        "provider_kind": task["provider_kind"], "model": task["model"], "requested_by": requested_by, "outcome": null,
        "failure": null, "reason": null, "log_tail": null, "queued_at": event.occurred_at, "dispatched_at": null,
        "started_at": null, "ended_at": null, "model_calls": 0, "input_tokens": 0, "output_tokens": 0,
        "cache_read_tokens": 0, "cache_write_tokens": 0, "version": event.version, "position": event.position,
    })
}

/// Where attempts work.
pub(super) fn environments(tables: &mut Tables, event: &Event, body: &Value) {
    if event.aggregate_type != "environment" {
        return;
    }
    let (tenant, stream) = (json!(event.tenant), json!(event.stream));
    if event.event_type == "EnvironmentRequested" {
        let row = json!({
            "tenant": tenant, "environment": stream, "project": id(&body["project"]), "run": id(&body["run"]),
            "attempt": body["attempt"], "driver": body["driver"], "confinement": [], "failure": null,
            "requested_at": event.occurred_at, "provisioning_at": null, "ready_at": null, "stopping_at": null,
            "ended_at": null,
        });
        tables.put("environments", row);
    }
    let Some(row) = tables.get("environments", &[&tenant, &stream]) else { return };
    let (state, time) = match event.event_type.as_str() {
        "EnvironmentRequested" => ("requested", "requested_at"),
        "EnvironmentProvisioning" => ("provisioning", "provisioning_at"),
        "EnvironmentReady" => ("ready", "ready_at"),
        "EnvironmentStopping" => ("stopping", "stopping_at"),
        "EnvironmentStopped" => ("stopped", "ended_at"),
        _ => ("failed", "ended_at"),
    };
    row["state"] = json!(state);
    row[time] = json!(event.occurred_at);
    row["version"] = json!(event.version);
    row["position"] = json!(event.position);
    match state {
        "ready" => row["confinement"] = body["confinement"].clone(),
        "failed" => row["failure"] = body["reason"].clone(),
        _ => {}
    }
}

const COUNTS: [&str; 6] =
    ["model_calls", "runs_succeeded", "runs_failed", "runs_timed_out", "runs_cancelled", "run_ms"];

/// What was used, by day, project, provider and model.
pub(super) fn usage(tables: &mut Tables, event: &Event, body: &Value) {
    if event.aggregate_type != "run" {
        return;
    }
    let (tenant, stream) = (json!(event.tenant), json!(event.stream));
    if event.event_type == "RunQueued" {
        tables.put(
            "usage_runs",
            json!({ "tenant": tenant, "run": stream, "project": id(&body["project"]), "provider": id(&body["provider"]),
                "model": body["model"], "started_at": null }),
        );
        return;
    }
    let Some(run) = tables.get("usage_runs", &[&tenant, &stream]) else { return };
    if event.event_type == "RunStarted" {
        run["started_at"] = json!(event.occurred_at);
        return;
    }
    let counted = match event.event_type.as_str() {
        "RunModelCalled" => Some("model_calls"),
        "RunAttemptLost" => None,
        "RunSucceeded" => Some("runs_succeeded"),
        "RunFailed" => Some("runs_failed"),
        "RunTimedOut" => Some("runs_timed_out"),
        "RunCancelled" => Some("runs_cancelled"),
        _ => return,
    };
    let called = event.event_type == "RunModelCalled";
    let elapsed = if called { 0 } else { elapsed(&run["started_at"], event) };
    if !called {
        run["started_at"] = Value::Null;
    }
    let source = if called {
        (id(&body["provider"]), body["model"].clone())
    } else {
        (run["provider"].clone(), run["model"].clone())
    };
    let (project, (provider, model)) = (run["project"].clone(), source);
    let day = json!(event.occurred_at.get(..10));
    let key = [&tenant, &day, &project, &provider, &model];
    if tables.get("usage", &key).is_none() {
        let mut row = json!({ "tenant": tenant, "day": day, "project": project, "provider": provider, "model": model });
        add(&mut row, &json!({}), &TOKENS);
        add(&mut row, &json!({}), &COUNTS);
        tables.put("usage", row);
    }
    let row = tables.get("usage", &key).expect("just put");
    let mut more = json!({ "run_ms": elapsed });
    if let Some(counted) = counted {
        more[counted] = json!(1);
    }
    add(row, &more, &COUNTS);
    if called {
        add(row, body, &TOKENS);
    }
}

/// Whole milliseconds from `since` to the event.
fn elapsed(since: &Value, event: &Event) -> i64 {
    since.as_str().map_or(0, |since| ((event.occurred_us - micros(since)) / 1_000).max(0))
}

/// `2026-11-25T22:23:13.123456+00:00` in microseconds.
fn micros(at: &str) -> i64 {
    let format = &time::format_description::well_known::Rfc3339;
    let at = time::OffsetDateTime::parse(at, format).expect("a time");
    i64::try_from(at.unix_timestamp_nanos() / 1_000).expect("a time of our days")
}
