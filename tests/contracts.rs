//! The contracts that are checked in are those that the code makes.

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn the_contracts_are_up_to_date() {
        let output = Command::new(env!("CARGO_BIN_EXE_agentworks"))
            .args(["contracts", "schemas/contracts", "--check"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
