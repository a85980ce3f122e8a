//! Each rule with a made-up change that breaks it.

use serde_json::{Value, json};

use super::breaks;

/// A schema with a bit of everything.
fn schema() -> Value {
    json!({
        "$id": "urn:agentworks:event:Tested:1",
        "type": "object",
        "description": "What happened.",
        "required": ["kind", "count"],
        "properties": {
            "kind": { "$ref": "#/$defs/Kind" },
            "count": { "type": "integer", "minimum": 1, "maximum": 9 },
            "when": { "type": ["string", "null"], "format": "date-time" },
            "code": { "type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "minLength": 1 },
            "list": { "type": "array", "items": { "type": "string" }, "maxItems": 3 },
            "result": { "oneOf": [
                { "type": "object", "properties": { "status": { "const": "failed" }, "reason": { "type": "string" } }, "required": ["status", "reason"] },
                { "type": "object", "properties": { "status": { "const": "done" } }, "required": ["status"] },
            ] },
        },
        "$defs": { "Kind": { "enum": ["a", "b"], "description": "A kind." } },
    })
}

fn changed(edits: &[(&str, Option<Value>)]) -> Value {
    let mut schema = schema();
    for (pointer, value) in edits {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match (schema.pointer_mut(parent).unwrap(), value) {
            (Value::Object(fields), Some(value)) => drop(fields.insert(key.to_owned(), value.clone())),
            (Value::Object(fields), None) => drop(fields.remove(key).unwrap()),
            (Value::Array(items), Some(value)) => items.push(value.clone()),
            (Value::Array(items), None) => drop(items.remove(key.parse().unwrap())),
            _ => panic!("{pointer}"),
        }
    }
    schema
}

fn found(path: &str, new: &Value) -> Vec<String> {
    breaks(path, &schema().to_string(), Some(&new.to_string()))
}

/// What is done to a document.
type Edit = fn(&mut Value);

const EVENT: &str = "events/Tested.v1.json";
const ENVELOPE: &str = "envelope.json";

#[test]
fn texts_for_people_and_the_order_of_things_are_free() {
    let mut new = changed(&[
        ("/description", Some("Otherwise.".into())),
        ("/$defs/Kind/description", None),
        ("/properties/count/title", Some("Count".into())),
        ("/required", Some(json!(["count", "kind"]))),
    ]);
    assert_eq!(found(EVENT, &new), [""; 0]);
    assert_eq!(found(ENVELOPE, &new), [""; 0]);
    // Nor does it matter whether a part has a name of its own.
    new["properties"]["kind"] = json!({ "enum": ["b", "a"] });
    assert_eq!(found(EVENT, &new), [""; 0]);
}

#[test]
fn each_change_of_a_released_event_is_refused_and_says_what_to_do() {
    let cases = [
        ("/properties/when", None, "the field `when` was removed"),
        ("/properties/new", Some(json!({ "type": "string" })), "the field `new` was added"),
        ("/required/-", Some("when".into()), "the field `when` is required now"),
        ("/required/1", None, "the field `count` is no longer required"),
        ("/properties/count/type", Some("number".into()), "`type` is"),
        ("/properties/when/type", Some("string".into()), "/when: `type` is narrower"),
        ("/properties/code/type", Some(json!(["string", "null"])), "/code: `type` is wider"),
        ("/$defs/Kind/enum", Some(json!(["a"])), "/kind: \"b\" may no longer stand here"),
        ("/$defs/Kind/enum", Some(json!(["a", "b", "c"])), "/kind: \"c\" may stand here as well"),
        ("/$defs/Kind/enum", None, "`enum` is wider"),
        ("/properties/count/minimum", Some(json!(2)), "`minimum` is narrower"),
        ("/properties/count/minimum", None, "`minimum` is wider"),
        ("/properties/count/maximum", Some(json!(8)), "`maximum` is narrower"),
        ("/properties/code/maxLength", Some(json!(4)), "`maxLength` is narrower"),
        ("/properties/code/maxLength", Some(json!(6)), "`maxLength` is wider"),
        ("/properties/code/pattern", Some("^[0-9]+$".into()), "`pattern` has changed"),
        ("/properties/when/format", Some("date".into()), "`format` has changed"),
        ("/properties/when/format", None, "`format` is wider"),
        ("/properties/list/maxItems", Some(json!(2)), "`maxItems` is narrower"),
        ("/properties/list/items/minLength", Some(json!(1)), "/list/items: `minLength` is narrower"),
        ("/properties/result/oneOf/1", None, "`done` may no longer stand here"),
        (
            "/properties/result/oneOf/-",
            Some(json!({ "properties": { "status": { "const": "lost" } } })),
            "`lost` may stand here",
        ),
        ("/properties/result/oneOf/0/properties/reason", Some(json!({ "type": "integer" })), "/reason: `type` is"),
        ("/additionalProperties", Some(json!(false)), "`additionalProperties` is narrower"),
        ("/unevaluatedProperties", Some(json!(false)), "`unevaluatedProperties` has changed"),
    ];
    for (pointer, value, wanted) in cases {
        let found = found(EVENT, &changed(&[(pointer, value.clone())]));
        let told = found.iter().any(|found| found.contains(wanted) && found.contains("raise the version"));
        assert!(told, "{pointer} {value:?}: {found:?}");
    }
    let added = changed(&[("/properties/new", Some(json!({}))), ("/required/-", Some("new".into()))]);
    assert!(found(EVENT, &added)[0].contains("`new` was added and is required"));
    assert!(breaks(EVENT, &schema().to_string(), None)[0].contains("is gone"));
}

#[test]
fn an_envelope_may_grow_and_nothing_in_it_may_go() {
    let grown = changed(&[("/properties/new", Some(json!({ "type": "string" })))]);
    assert_eq!(found(ENVELOPE, &grown), [""; 0]);
    for (pointer, value) in [
        ("/properties/when", None),
        ("/required/-", Some("when".into())),
        ("/required/1", None),
        ("/properties/when/type", Some("string".into())),
        ("/properties/count/minimum", Some(json!(2))),
        ("/properties/when/format", Some("date".into())),
        ("/$defs/Kind/enum", Some(json!(["a"]))),
    ] {
        assert!(!found(ENVELOPE, &changed(&[(pointer, value)])).is_empty(), "{pointer}");
    }
}

#[test]
fn the_bus_keeps_its_channels_messages_and_headers() {
    let document = crate::contracts::all().into_iter().find(|(path, _)| path == "asyncapi.yaml").unwrap().1;
    let old: Value = serde_yaml_ng::from_str(&document).unwrap();
    let compare = |edit: Edit| {
        let mut new = old.clone();
        edit(&mut new);
        breaks("asyncapi.yaml", &document, Some(&serde_yaml_ng::to_string(&new).unwrap()))
    };
    fn remove(value: &mut Value, pointer: &str, key: &str) {
        value.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    }
    assert_eq!(compare(|new| new["info"]["description"] = "Otherwise.".into()), [""; 0]);
    assert_eq!(compare(|new| new["channels"]["new"] = json!({ "address": "new" })), [""; 0]);
    let further = |new: &mut Value| {
        new["components"]["schemas"]["headers"]["properties"]["further"] = json!({ "type": "string", "const": "1" });
    };
    assert_eq!(compare(further), [""; 0], "a header that may be absent");
    let cases: [(Edit, &str); 6] = [
        (|new| remove(new, "/channels", "card"), "the channel `card` was removed"),
        (
            |new| remove(new, "/channels/card/messages", "CardMoved.v1"),
            "the message of the channel card `CardMoved.v1`",
        ),
        (|new| remove(new, "/components/messages", "CardMoved.v1"), "the message `CardMoved.v1` was removed"),
        (|new| remove(new, "/operations", "cardEvents"), "the operation `cardEvents` was removed"),
        (|new| new["channels"]["card"]["address"] = "other".into(), "`address` has changed"),
        (|new| remove(new, "/components/schemas/headers/properties", "ce-tenant"), "the field `ce-tenant` was removed"),
    ];
    for (edit, wanted) in cases {
        let found = compare(edit);
        assert!(found.iter().any(|found| found.contains(wanted)), "{wanted}: {found:?}");
    }
}

#[test]
fn the_http_api_keeps_its_operations_and_takes_what_it_took() {
    let old = json!({
        "paths": { "/v1/things": { "post": {
            "operationId": "makeThing",
            "parameters": [{ "name": "If-Match", "in": "header", "required": false, "schema": { "type": "string" } }],
            "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/New" } } } },
            "responses": { "201": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Made" } } } } },
        } } },
        "components": { "schemas": {
            "New": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" }, "size": { "type": "integer" } } },
            "Made": { "type": "object", "required": ["id"], "properties": { "id": { "type": "string" }, "at": { "type": "string" } } },
        } },
    });
    let compare = |pointer: &str, value: Value| {
        let mut new = old.clone();
        *new.pointer_mut(pointer).unwrap() = value;
        breaks("openapi.json", &old.to_string(), Some(&new.to_string()))
    };
    let thing = "/paths/~1v1~1things/post";
    let field = json!({ "type": "string" });
    for (pointer, value) in [
        ("/components/schemas/New/required".to_owned(), json!([])),
        ("/components/schemas/Made/required".to_owned(), json!(["id", "at"])),
        (
            "/components/schemas/New/properties".to_owned(),
            json!({ "name": field, "size": { "type": "integer" }, "new": field }),
        ),
        ("/components/schemas/Made/properties".to_owned(), json!({ "id": field, "at": field, "new": field })),
    ] {
        assert_eq!(compare(&pointer, value), [""; 0], "{pointer}");
    }
    for (pointer, value, wanted) in [
        ("/paths".to_owned(), json!({}), "the path `/v1/things` was removed"),
        ("/paths/~1v1~1things".to_owned(), json!({}), "POST /v1/things was removed"),
        (format!("{thing}/operationId"), "otherThing".into(), "`operationId` has changed"),
        (format!("{thing}/parameters"), json!([]), "was removed"),
        (format!("{thing}/parameters/0/required"), true.into(), "is required now"),
        (format!("{thing}/responses"), json!({}), "the answer `201` was removed"),
        (format!("{thing}/requestBody/content"), json!({}), "the media type `application/json` was removed"),
        ("/components/schemas/New/required".to_owned(), json!(["name", "size"]), "`size` is required now"),
        ("/components/schemas/New/properties/size/type".to_owned(), "string".into(), "/size: `type` is"),
        ("/components/schemas/Made/properties".to_owned(), json!({ "id": field }), "the field `at` was removed"),
        ("/components/schemas/Made/required".to_owned(), json!([]), "`id` is no longer required"),
    ] {
        let found = compare(&pointer, value);
        assert!(found.iter().any(|found| found.contains(wanted)), "{pointer}: {found:?}");
    }
}
