//! Every field of free text in an event is known to be personal, and sealed, or known not to be: `docs/personal-data.md`.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use domain::registry;
    use serde_json::Value;

    /// Whether each field of free text below a schema is sealed.
    fn fields(root: &Value, schema: &Value, path: &str, found: &mut BTreeMap<String, bool>) {
        if let Some(name) = schema["$ref"].as_str().and_then(|target| target.strip_prefix("#/$defs/")) {
            if name == "PersonalText" {
                found.insert(path.to_owned(), true);
                return;
            }
            fields(root, &root["$defs"][name], path, found);
        }
        for several in ["oneOf", "anyOf", "allOf"] {
            schema[several].as_array().into_iter().flatten().for_each(|part| fields(root, part, path, found));
        }
        for (name, part) in schema["properties"].as_object().into_iter().flatten() {
            fields(root, part, &format!("{path}.{name}"), found);
        }
        if schema["items"].is_object() {
            fields(root, &schema["items"], &format!("{path}[]"), found);
        }
        let text =
            schema["type"] == "string" || schema["type"].as_array().is_some_and(|of| of.contains(&"string".into()));
        if text && ["pattern", "const", "enum", "format"].iter().all(|bound| schema[bound].is_null()) {
            found.insert(path.to_owned(), false);
        }
    }

    /// The rows of the table in the documentation: the field, and whether it is sealed.
    fn documented() -> BTreeMap<String, bool> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/personal-data.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            assert!(matches!(cells[1], "sealed" | "no") && !cells[2].is_empty(), "{row}");
            (cells[0].trim_end_matches('`').to_owned(), cells[1] == "sealed")
        })
        .collect()
    }

    #[test]
    fn every_field_of_free_text_is_sealed_or_known_to_be_no_personal_data() {
        let mut found = BTreeMap::new();
        for known in registry::events() {
            let schema = known.schema.to_value();
            fields(&schema, &schema, known.event.name, &mut found);
        }
        assert!(found.values().filter(|sealed| **sealed).count() >= 5, "{found:?}");
        let documented = documented();
        let missing: Vec<_> = found.keys().filter(|field| !documented.contains_key(*field)).collect();
        assert!(missing.is_empty(), "is it about people? Then seal it; say so in docs/personal-data.md: {missing:?}");
        assert_eq!(documented, found, "docs/personal-data.md says otherwise than the schemas");
    }
}
