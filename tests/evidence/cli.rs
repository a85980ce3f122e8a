//! `agentworks verify`, as a person or a script sees it: no database, no configuration.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::packed::Packed;
use crate::world::{World, keys};

fn verify(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agentworks"))
        .arg("verify")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_the_same_when_nobody_reads_the_words() {
    let mut world = World::new().await;
    world.fill(2, 1, 1).await;
    let file = world.export(world.tenant, &[1]).await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentworks"));
    let output = command.arg("verify").arg(file).env_clear().stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_and_the_words_say_what_was_found() {
    let mut world = World::new().await;
    world.fill(20, 2, 8).await;
    let file = world.export(world.tenant, &[2, 1]).await;
    let folder = tempfile::tempdir().unwrap();
    let name = file.to_str().unwrap();
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();

    let unknown = verify(folder.path(), &[name]);
    assert_eq!(unknown.status.code(), Some(0));
    assert!(text(&unknown).contains("right: 40 events") && text(&unknown).contains("not vouched for"), "{unknown:?}");

    let old = keys(&[1]).public()[0];
    let known = verify(folder.path(), &[name, "--key", &old.to_string(), "--json"]);
    assert_eq!(known.status.code(), Some(0));
    let answer: Value = serde_json::from_slice(&known.stdout).unwrap();
    assert_eq!(
        (&answer["ok"], &answer["report"]["vouched"], &answer["report"]["events"]),
        (&true.into(), &true.into(), &40.into())
    );
    assert_eq!(answer["warnings"], Value::Array(vec![]));

    let list = folder.path().join("keys");
    std::fs::write(&list, format!("# of the installation\n{}\n", old.verifier("some/name"))).unwrap();
    assert_eq!(verify(folder.path(), &[name, "--key", list.to_str().unwrap()]).status.code(), Some(0));
    let stranger = verify(folder.path(), &[name, "--key", &keys(&[7]).public()[0].to_string()]);
    assert_eq!(stranger.status.code(), Some(1));
    assert!(text(&stranger).contains("unknown key"), "{stranger:?}");

    let mut export = Packed::open(&file);
    export.change(17, |lines, nth| lines[nth] = lines[nth].replace("name", "nome"));
    let edited = verify(folder.path(), &[export.pack(folder.path()).to_str().unwrap(), "--json"]);
    assert_eq!(edited.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&edited.stdout).unwrap();
    assert_eq!((&answer["failure"]["kind"], &answer["failure"]["index"]), (&"edited".into(), &17.into()));

    for arguments in [&["nowhere"][..], &[name, "--key", "nonsense"]] {
        let failed = verify(folder.path(), arguments);
        assert_eq!(failed.status.code(), Some(2), "{failed:?}");
        assert!(!failed.stderr.is_empty());
    }
}

/// The documentation is enough to check an export: a program of another language that was written from it does.
#[tokio::test(flavor = "multi_thread")]
async fn the_verifier_of_the_documentation_agrees() {
    let there =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there("python3") || !there("zstd") {
        println!("skipped: there is no python3 or no zstd here");
        return;
    }
    let mut world = World::new().await;
    world.fill(20, 2, 8).await;
    let file = world.export(world.tenant, &[2, 1]).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify-export.py");
    let run = |file: &Path, key: &str| Command::new("python3").arg(&script).arg(file).arg(key).output().unwrap();
    let key = keys(&[1]).public()[0].to_string();
    let right = run(&file, &key);
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));
    assert!(!run(&file, &keys(&[3]).public()[0].to_string()).status.success());
    let folder = tempfile::tempdir().unwrap();
    let mut export = Packed::open(&file);
    export.change(17, |lines, nth| lines[nth] = lines[nth].replace("name", "nome"));
    let wrong = run(&export.pack(folder.path()), &key);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("digest: index 17, position"), "{said}");
}
