//! The contracts that are checked in are those that the code makes, and they keep what was released.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Output};

    fn contracts(folder: &str, flag: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_agentworks"))
            .args(["contracts", folder, flag])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap()
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in from.read_dir().unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            if path.is_dir() {
                copy(&path, &to.join(name));
            } else {
                std::fs::copy(&path, to.join(name)).unwrap();
            }
        }
    }

    #[test]
    fn the_contracts_are_up_to_date_and_keep_what_was_released() {
        let output = contracts("schemas/contracts", "--check");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_contract_that_breaks_what_was_released_fails_the_check_and_cannot_be_released() {
        let folder = tempfile::tempdir().unwrap();
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        copy(&schemas.join("contracts"), &folder.path().join("contracts"));
        let contracts_folder = folder.path().join("contracts");
        let contracts_folder = contracts_folder.to_str().unwrap();
        // Nothing was released yet: all that there is becomes released.
        assert!(contracts(contracts_folder, "--release").status.success());
        assert!(contracts(contracts_folder, "--check").status.success());
        let released = |path: &str| folder.path().join("released").join(path);
        for (path, from, to, wanted) in [
            // As if these had been there in the last release.
            (
                "events/CardMoved.v1.json",
                "\"properties\": {",
                "\"properties\": {\"gone\": {\"type\": \"string\"},",
                "`gone` was removed",
            ),
            (
                "events/CardMoved.v1.json",
                "\"title\"",
                "\"additionalProperties\": false, \"title\"",
                "`additionalProperties` is wider",
            ),
            (
                "envelope.json",
                "\"properties\": {",
                "\"properties\": {\"gone\": {\"type\": \"string\"},",
                "`gone` was removed",
            ),
            (
                "asyncapi.yaml",
                "channels:\n",
                "channels:\n  gone:\n    address: gone\n",
                "the channel `gone` was removed",
            ),
            ("openapi.json", "\"paths\": {", "\"paths\": {\"/gone\": {},", "the path `/gone` was removed"),
            ("schema.graphql", "type Query {", "type Query {\n\tgone: Int", "`Query.gone` was removed"),
        ] {
            let present = std::fs::read_to_string(released(path)).unwrap();
            assert!(present.contains(from), "{path}: {from}");
            std::fs::write(released(path), present.replacen(from, to, 1)).unwrap();
            for flag in ["--check", "--release"] {
                let output = contracts(contracts_folder, flag);
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(!output.status.success() && said.contains(wanted), "{path} {flag}: {said}");
            }
            std::fs::write(released(path), present).unwrap();
        }
        // A released version that is gone altogether.
        std::fs::write(released("events/CardMoved.v9.json"), "{}").unwrap();
        let output = contracts(contracts_folder, "--check");
        assert!(String::from_utf8_lossy(&output.stderr).contains("events/CardMoved.v9.json is gone"));
    }
}
