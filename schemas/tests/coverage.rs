//! Every version of every event has all that a consumer needs: a schema, samples that keep it, a message on the bus, and
//! a meaning for the event and for each of its fields.

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use domain::registry;
    use schemas::cloud_event::data_schema;
    use schemas::contracts;
    use serde_json::Value;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    /// Name and version of every event that a consumer may meet.
    fn versions() -> Vec<(&'static str, u16)> {
        let known = registry::events().into_iter();
        known.flat_map(|known| (1..=known.event.version).map(move |version| (known.event.name, version))).collect()
    }

    fn schema(name: &str, version: u16) -> Option<Value> {
        let text = std::fs::read_to_string(folder("contracts/events").join(format!("{name}.v{version}.json"))).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The samples of a version: those whose file is called so.
    fn samples(name: &str, version: u16) -> Vec<(String, Value)> {
        let start = format!("{name}.v{version}.");
        let files = folder("samples").read_dir().unwrap().map(|file| file.unwrap());
        files
            .filter_map(|file| file.file_name().to_str().map(|name| (name.to_owned(), file.path())))
            .filter(|(name, _)| name.starts_with(&start))
            .map(|(name, path)| (name, serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()))
            .collect()
    }

    /// The places of a schema's fields that nobody has explained. One with a constant explains itself; so does one whose
    /// own type is explained.
    fn unexplained(schema: &Value, root: &Value, at: &str, found: &mut Vec<String>) {
        let described = |schema: &Value| schema["description"].as_str().is_some_and(|text| !text.trim().is_empty());
        match schema {
            Value::Object(keywords) => {
                for (name, field) in keywords.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    let target = field["$ref"].as_str().and_then(|to| root.pointer(to.trim_start_matches('#')));
                    if !described(field) && field.get("const").is_none() && !target.is_some_and(described) {
                        found.push(format!("{at}/{name}"));
                    }
                }
                for (keyword, value) in keywords {
                    unexplained(value, root, &format!("{at}/{keyword}"), found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| unexplained(item, root, at, found)),
            _ => {}
        }
    }

    /// What a version of an event lacks.
    fn lacks(name: &str, version: u16, asyncapi: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let key = format!("{name}.v{version}");
        match schema(name, version) {
            None => found.push("a JSON Schema".to_owned()),
            Some(schema) => {
                if schema["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
                    found.push("the dialect 2020-12".to_owned());
                }
                if schema["$id"] != data_schema(name, version) {
                    found.push("the `$id` that its events name as `dataschema`".to_owned());
                }
                if schema["description"].as_str().is_none_or(str::is_empty) {
                    found.push("a meaning (the documentation comment of its type)".to_owned());
                }
                let mut fields = Vec::new();
                unexplained(&schema, &schema, "", &mut fields);
                found.extend(fields.into_iter().map(|field| format!("a meaning of its field {field}")));
            }
        }
        if samples(name, version).is_empty() {
            found.push("a sample".to_owned());
        }
        let message = &asyncapi["components"]["messages"][&key];
        if message["payload"]["schema"]["$ref"] != format!("./events/{key}.json") {
            found.push("a message in asyncapi.yaml".to_owned());
        }
        if message["summary"].as_str().is_none_or(str::is_empty) {
            found.push("a summary in asyncapi.yaml".to_owned());
        }
        let carried = asyncapi["channels"].as_object().unwrap().values();
        if !carried.into_iter().any(|channel| channel["messages"].get(&key).is_some()) {
            found.push("a channel in asyncapi.yaml".to_owned());
        }
        found
    }

    fn asyncapi() -> Value {
        let (_, document) = contracts::all().into_iter().find(|(path, _)| path == "asyncapi.yaml").unwrap();
        serde_yaml_ng::from_str(&document).unwrap()
    }

    #[test]
    fn every_version_of_every_event_has_all_that_a_consumer_needs() {
        let asyncapi = asyncapi();
        let all = versions();
        assert!(all.len() > 40);
        let lacking: Vec<_> = all
            .into_iter()
            .flat_map(|(name, version)| {
                lacks(name, version, &asyncapi).into_iter().map(move |what| format!("{name} v{version} lacks {what}"))
            })
            .collect();
        assert!(lacking.is_empty(), "{lacking:#?}");
    }

    #[test]
    fn what_is_missing_is_seen() {
        let missing = lacks("NeverHeardOf", 1, &asyncapi());
        for wanted in ["a JSON Schema", "a sample", "a message in asyncapi.yaml", "a channel in asyncapi.yaml"] {
            assert!(missing.iter().any(|what| what == wanted), "{missing:?}");
        }
        let schema = serde_json::json!({
            "properties": { "explained": { "description": "Yes." }, "bare": {}, "constant": { "const": "x" },
                "named": { "$ref": "#/$defs/Named" }, "unnamed": { "$ref": "#/$defs/Unnamed" } },
            "$defs": { "Named": { "description": "A name.", "properties": { "inner": {} } }, "Unnamed": {} },
        });
        let mut found = Vec::new();
        unexplained(&schema, &schema, "", &mut found);
        found.sort();
        assert_eq!(found, ["/$defs/Named/inner", "/bare", "/unnamed"]);
    }

    #[test]
    fn every_sample_keeps_its_schema_and_would_not_keep_another() {
        for (name, version) in versions() {
            let schema = schema(name, version).unwrap();
            let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            let samples = samples(name, version);
            for (file, sample) in &samples {
                let errors: Vec<_> =
                    validator.iter_errors(sample).map(|error| format!("{}: {error}", error.instance_path())).collect();
                assert!(errors.is_empty(), "{file}: {errors:#?}");
            }
            // A schema that everything keeps would be none.
            for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let mut without = samples[0].1.clone();
                without.as_object_mut().unwrap().remove(required);
                assert!(!validator.is_valid(&without), "{name} v{version} without {required}");
            }
        }
    }
}
