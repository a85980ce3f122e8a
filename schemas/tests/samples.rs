//! Golden samples: one stored payload of every event at every version, in `schemas/samples`.
//!
//! `CardMoved.v1.json` is a sample of `CardMoved` at version 1; `CardRunFinished.v1.failed.json` is a further one, for
//! another of its shapes. Samples are only ever added: what was stored once must be readable for ever.

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;

    use domain::card::Card;
    use domain::environment::Environment;
    use domain::project::Project;
    use domain::provider::Provider;
    use domain::run::Run;
    use domain::subject::Subject;
    use domain::tenant::Tenant;
    use domain::workspace::Workspace;
    use domain::{Decider, DecodeError, Event, registry};
    use schemas::event::decode_payload;
    use serde_json::Value;

    /// An event's name and a version of it.
    type Version = (String, u16);

    fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("samples")
    }

    /// The file of every sample, by what it is a sample of.
    fn samples() -> BTreeMap<Version, Vec<PathBuf>> {
        let mut all: BTreeMap<Version, Vec<PathBuf>> = BTreeMap::new();
        for file in folder().read_dir().unwrap() {
            let path = file.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            let parts: Vec<_> = file.split('.').collect();
            let ([name, version, "json"] | [name, version, _, "json"]) = parts.as_slice() else {
                panic!("{file}: a sample is called NAME.vVERSION.json or NAME.vVERSION.CASE.json");
            };
            let version = version.strip_prefix('v').and_then(|version| version.parse().ok());
            let version = version.unwrap_or_else(|| panic!("{file}: no version in its name"));
            all.entry(((*name).to_owned(), version)).or_default().push(path);
        }
        all
    }

    /// What an aggregate makes of a stored payload: the payload as it would be stored today.
    fn read<A: Decider>(name: &str, version: u16, payload: &str) -> Result<Value, DecodeError> {
        let event = decode_payload::<A>(name, version, payload)?;
        assert_eq!(event.event_type().name, name);
        Ok(serde_json::from_str(&event.encode().unwrap()).unwrap())
    }

    fn read_as(aggregate: &str, name: &str, version: u16, payload: &str) -> Result<Value, DecodeError> {
        let read = match aggregate {
            Tenant::TYPE => read::<Tenant>,
            Workspace::TYPE => read::<Workspace>,
            Provider::TYPE => read::<Provider>,
            Project::TYPE => read::<Project>,
            Card::TYPE => read::<Card>,
            Run::TYPE => read::<Run>,
            Environment::TYPE => read::<Environment>,
            Subject::TYPE => read::<Subject>,
            other => panic!("`{other}` is in the registry but not in this test"),
        };
        read(name, version, payload)
    }

    #[test]
    fn every_version_of_every_event_has_a_sample_and_every_sample_an_event() {
        let wanted: BTreeSet<Version> = registry::events()
            .into_iter()
            .flat_map(|known| (1..=known.event.version).map(move |version| (known.event.name.to_owned(), version)))
            .collect();
        let present: BTreeSet<Version> = samples().into_keys().collect();
        let missing: Vec<_> = wanted.difference(&present).collect();
        assert!(missing.is_empty(), "add a sample of {missing:?}, as the log would hold it, to schemas/samples");
        let surplus: Vec<_> = present.difference(&wanted).collect();
        assert!(surplus.is_empty(), "these samples have no event; was a released one removed? {surplus:?}");
    }

    #[test]
    fn every_sample_is_read_and_those_of_the_current_version_are_written_as_they_were() {
        let samples = samples();
        for known in registry::events() {
            let (name, current) = (known.event.name, known.event.version);
            for version in 1..=current {
                for path in samples.get(&(name.to_owned(), version)).into_iter().flatten() {
                    let file = path.display();
                    let payload = std::fs::read_to_string(path).unwrap();
                    let read = read_as(known.aggregate, name, version, &payload)
                        .unwrap_or_else(|error| panic!("{file} can no longer be read: {error}"));
                    if version == current {
                        let stored: Value = serde_json::from_str(&payload).unwrap();
                        assert_eq!(read, stored, "{file}: a released version never changes; make it a new one");
                    }
                }
            }
        }
    }

    #[test]
    fn what_an_old_project_lacked_is_filled_in() {
        let old = std::fs::read_to_string(folder().join("ProjectCreated.v1.json")).unwrap();
        let lifted = read_as("project", "ProjectCreated", 1, &old).unwrap();
        let wanted = serde_json::json!({
            "url": "https://git.example/acme/shop.git",
            "default_branch": "trunk",
            "credential": null,
        });
        assert_eq!((&lifted["repository"], &lifted["model"]), (&wanted, &Value::Null));
        assert_eq!(lifted["name"], "Shop");
    }

    #[test]
    fn a_text_that_was_stored_readable_is_still_read() {
        for (aggregate, name) in [("card", "CardBlocked"), ("card", "CardCommented"), ("tenant", "TenantSuspended")] {
            let old = std::fs::read_to_string(folder().join(format!("{name}.v1.json"))).unwrap();
            let stored: Value = serde_json::from_str(&old).unwrap();
            assert_eq!(read_as(aggregate, name, 1, &old).unwrap(), stored, "{name}");
        }
    }

    #[test]
    fn an_event_of_a_newer_release_or_of_another_aggregate_is_refused_by_name() {
        let newer = read_as("card", "CardMoved", 2, "{}");
        assert!(matches!(newer, Err(DecodeError::Newer { version: 2, .. })), "{newer:?}");
        let unknown = read_as("card", "RunStarted", 1, r#"{"attempt":1}"#);
        assert!(matches!(unknown, Err(DecodeError::Unknown(_))), "{unknown:?}");
        let broken = read_as("run", "RunStarted", 1, r#"{"attempt":-1}"#);
        assert!(matches!(broken, Err(DecodeError::Payload { .. })), "{broken:?}");
        // An old version that its upcasters cannot lift is told apart from one that is simply unknown.
        let broken = read_as("project", "ProjectCreated", 1, "{}");
        assert!(matches!(broken, Err(DecodeError::Payload { .. })), "{broken:?}");
    }
}
