//! The forms of the aggregates' states are those that snapshots were kept in.

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use domain::card::Card;
    use domain::environment::Environment;
    use domain::project::Project;
    use domain::provider::Provider;
    use domain::run::Run;
    use domain::subject::Subject;
    use domain::tenant::Tenant;
    use domain::workspace::Workspace;
    use domain::{Decider, Event};
    use schemas::event::decode_payload;
    use sha2::{Digest as _, Sha256};

    /// What the samples make of a state, one after the other: the first digits of its digest.
    fn form<A: Decider>() -> (&'static str, i32, String) {
        let mut state = A::default();
        let mut said = Sha256::new();
        for known in A::Event::TYPES {
            let mut samples: Vec<PathBuf> = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("samples")
                .read_dir()
                .unwrap()
                .map(|file| file.unwrap().path())
                .filter(|path| {
                    let file = path.file_name().unwrap().to_str().unwrap();
                    file.starts_with(&format!("{}.v{}.", known.name, known.version))
                })
                .collect();
            samples.sort();
            for path in samples {
                let payload = std::fs::read_to_string(path).unwrap();
                state.evolve(&decode_payload::<A>(known.name, known.version, &payload).unwrap());
                said.update(serde_json::to_string(&state).unwrap());
            }
        }
        let digits = said.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        (A::TYPE, A::STATE, digits)
    }

    #[test]
    fn a_state_that_changes_its_form_says_so() {
        let forms = [
            form::<Tenant>(),
            form::<Workspace>(),
            form::<Provider>(),
            form::<Project>(),
            form::<Card>(),
            form::<Run>(),
            form::<Environment>(),
            form::<Subject>(),
        ];
        let known = [
            ("tenant", 1, "32cb2d0c15ec"),
            ("workspace", 1, "25c4fc278b18"),
            ("provider", 1, "702593f64303"),
            ("project", 1, "e7abb2cb58cd"),
            ("card", 2, "500fd9a50b87"),
            ("run", 1, "3048a542a276"),
            ("environment", 1, "ad101208d58a"),
            ("subject", 1, "d65794fe302c"),
        ];
        let known = known.map(|(aggregate, state, digits)| (aggregate, state, digits.to_owned()));
        assert_eq!(
            forms.as_slice(),
            known.as_slice(),
            "a state, or what events make of it, has changed: raise its `Decider::STATE`, and write both down here"
        );
    }
}
