//! A card is run: every way it can go ends the run with a reason, in the card's history.

use agentworks::demo::git_host::{Fault, Operation};
use agentworks::demo::scripted_model::Fault as ModelFault;
use http::Method;
use serde_json::{Value, json};

use crate::support::{Installation, Stage, executable, refusal, state, text, writes};

async fn run_to_end(stage: &Stage, script: &Value) -> (String, Value) {
    let card = stage.card("Do something", script).await;
    let run = stage.run(&card).await;
    (card, stage.ended(&run).await)
}

/// The run ended as `kind`, its reason says `word`, and so does its card, which is back where it was; nothing was pushed.
async fn assert_failed(stage: &Stage, card: &str, run: &Value, kind: &str, word: &str) {
    assert_eq!((state(run).as_str(), run["failure"].as_str()), ("failed", Some(kind)), "{run}");
    let reason = text(run, "reason");
    assert!(reason.contains(word), "the reason names `{word}`: {reason}");
    let after = stage.card_after(card).await;
    assert_eq!(after["lane"], "backlog", "{after}");
    assert_eq!(after["lastRun"]["reason"], reason.as_str());
    assert_eq!(stage.pushes(), 0);
}

#[tokio::test]
async fn a_run_ends_in_one_push_with_the_work_and_its_context() {
    let stage = Stage::set(Installation::shared().await).await;
    let (card, run) = run_to_end(&stage, &writes("docs/hello.md", "Hello\n")).await;
    assert_eq!(state(&run), "succeeded", "{run}");
    let branch = text(&run, "branch");
    assert_eq!(stage.file(&branch, "docs/hello.md"), "Hello\n");
    let pushes = stage.git.pushes("work").unwrap();
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].reference, format!("refs/heads/{branch}"));
    assert_eq!(pushes[0].new, text(&run["outcome"], "commit"));
    let id = branch.rsplit('/').next().unwrap();
    let context = stage.file(&branch, &format!(".agentworks/cards/{card}/{id}.context.json"));
    let context: Value = serde_json::from_str(&context).unwrap();
    assert_eq!(context["card"], card.as_str());
    let after = stage.card_after(&card).await;
    assert_eq!(
        (after["lane"].as_str(), after["lastRun"]["commit"].as_str()),
        (Some("review"), run["outcome"]["commit"].as_str())
    );
}

#[tokio::test]
async fn a_run_speaks_the_other_vendors_protocol_as_well() {
    let stage = Stage::with(Installation::shared().await, "openai", json!({})).await;
    let (_, run) = run_to_end(&stage, &writes("a.txt", "a\n")).await;
    assert_eq!(state(&run), "succeeded", "{run}");
    let requests = stage.model.requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.body.get("tools").is_some()));
    let usage = "query($project: ID!) { usage(project: $project) { totals { modelCalls tokens { input output } } } }";
    let usage = stage.owner.query(usage, json!({ "project": stage.project })).await.unwrap();
    let spent = |of: fn(&agentworks::demo::scripted_model::Request) -> usize| {
        requests.iter().map(of).sum::<usize>().to_string()
    };
    let totals = &usage["usage"]["totals"];
    assert_eq!(text(&totals["tokens"], "input"), spent(|request| request.input_tokens), "{totals}");
    assert_eq!(text(&totals["tokens"], "output"), spent(|request| request.output_tokens), "{totals}");
}

#[tokio::test]
async fn an_environment_that_cannot_start_fails_the_run_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let pod = folder.path().join("agentworks-pod");
    std::fs::copy(executable().with_file_name("agentworks-pod"), &pod).unwrap();
    let setting = ("AGENTWORKS_ENVIRONMENTS__LOCAL__POD_EXECUTABLE", pod.to_str().unwrap());
    let installation = Installation::start(&[setting]);
    std::fs::remove_file(&pod).unwrap();
    let stage = Stage::set(&installation).await;
    let (card, run) = run_to_end(&stage, &writes("a", "a")).await;
    assert_failed(&stage, &card, &run, "environment_failed", "agentworks-pod").await;
}

#[tokio::test]
async fn the_history_and_the_usage_tell_what_happened() {
    let stage = Stage::set(Installation::shared().await).await;
    let (card, run) = run_to_end(&stage, &writes("a.txt", "a\n")).await;
    assert_eq!(state(&run), "succeeded");
    stage.card_after(&card).await;
    let query = "query($card: ID!) { cardHistory(card: $card, first: 100) { edges { node { kind actor summary } } } }";
    let history = stage.owner.query(query, json!({ "card": card })).await.unwrap();
    let types: Vec<_> =
        history["cardHistory"]["edges"].as_array().unwrap().iter().map(|edge| text(&edge["node"], "kind")).collect();
    for wanted in [
        "CardCreated",
        "CardRunRequested",
        "RunQueued",
        "RunDispatched",
        "RunStarted",
        "RunStepRecorded",
        "RunModelCalled",
        "RunSucceeded",
        "CardRunFinished",
    ] {
        assert!(types.iter().any(|seen| seen == wanted), "{wanted} is missing in {types:?}");
    }
    let query = "query($project: ID!) { usage(project: $project) { totals { modelCalls runs { succeeded } } } }";
    let usage = stage.owner.query(query, json!({ "project": stage.project })).await.unwrap();
    let totals = &usage["usage"]["totals"];
    assert_eq!(text(totals, "modelCalls"), stage.model.requests().len().to_string());
    assert_eq!(text(&totals["runs"], "succeeded"), "1");
}

#[tokio::test]
async fn the_agent_can_run_the_projects_tests() {
    let stage = Stage::with_policy(Installation::shared().await, json!({ "test_command": "sh check.sh" })).await;
    let script = json!([
        { "tool": "run_command", "input": { "command": "sh check.sh; echo status $?" } },
        { "tool": "write_file", "input": { "path": "b.txt", "content": "b" } },
        { "tool": "finish", "input": { "summary": "Tested.", "success": true } },
    ]);
    let (_, run) = run_to_end(&stage, &script).await;
    assert_eq!(state(&run), "succeeded", "{run}");
    let steps = run["steps"].as_array().unwrap();
    assert!(
        steps.iter().any(|step| step["detail"].as_str().is_some_and(|detail| detail.contains("status 0"))),
        "{steps:?}"
    );
    assert!(steps.iter().any(|step| step["kind"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("check"))));
}

#[tokio::test]
async fn a_vendor_that_refuses_the_key_fails_the_run() {
    let stage = Stage::set(Installation::shared().await).await;
    stage.model.inject(ModelFault::status(401));
    let (card, run) = run_to_end(&stage, &writes("a", "a")).await;
    assert_failed(&stage, &card, &run, "model_error", "401").await;
}

#[tokio::test]
async fn a_vendor_that_is_busy_is_asked_again() {
    let stage = Stage::set(Installation::shared().await).await;
    stage.model.inject(ModelFault { retry_after: Some(1), ..ModelFault::status(429) });
    let (_, run) = run_to_end(&stage, &writes("a", "a")).await;
    assert_eq!(state(&run), "succeeded", "{run}");
}

#[tokio::test]
async fn a_forbidden_tool_fails_the_run() {
    let policy = json!({ "allowed_tools": ["list_files", "read_file"] });
    let stage = Stage::with_policy(Installation::shared().await, policy).await;
    let (card, run) = run_to_end(&stage, &writes("a", "a")).await;
    assert_failed(&stage, &card, &run, "tool_refused", "write_file").await;
}

#[tokio::test]
async fn tests_that_fail_fail_the_run_and_their_output_is_kept() {
    let policy = json!({ "test_command": "echo the-tests-say-no; exit 3" });
    let stage = Stage::with_policy(Installation::shared().await, policy).await;
    let (card, run) = run_to_end(&stage, &writes("a", "a")).await;
    assert!(text(&run, "logTail").contains("the-tests-say-no"), "{run}");
    assert_failed(&stage, &card, &run, "tests_failed", "3").await;
}

#[tokio::test]
async fn a_refused_push_fails_the_run() {
    let stage = Stage::set(Installation::shared().await).await;
    stage.git.refuse_pushes("work", Some("the branch is protected")).unwrap();
    let (card, run) = run_to_end(&stage, &writes("a", "a")).await;
    assert_failed(&stage, &card, &run, "push_rejected", "the branch is protected").await;
}

#[tokio::test]
async fn a_push_whose_answer_was_lost_is_found_and_not_repeated() {
    let stage = Stage::set(Installation::shared().await).await;
    stage.git.inject(Some(Operation::Push), Fault::LoseAnswer, 1);
    let (_, run) = run_to_end(&stage, &writes("a", "a")).await;
    assert_eq!(state(&run), "succeeded", "{run}");
    assert_eq!(stage.pushes(), 1);
}

#[tokio::test]
async fn an_agent_that_changes_nothing_or_gives_up_fails_the_run() {
    let stage = Stage::set(Installation::shared().await).await;
    let idle = json!([{ "tool": "finish", "input": { "summary": "Nothing to do.", "success": true } }]);
    let (card, run) = run_to_end(&stage, &idle).await;
    assert_failed(&stage, &card, &run, "nothing_changed", "").await;
    let helpless = json!([{ "tool": "finish", "input": { "summary": "I lack a compiler.", "success": false } }]);
    let (card, run) = run_to_end(&stage, &helpless).await;
    assert_failed(&stage, &card, &run, "gave_up", "I lack a compiler").await;
}

#[tokio::test]
async fn an_agent_that_never_ends_runs_out_of_steps() {
    let stage = Stage::with_policy(Installation::shared().await, json!({ "max_steps": 3 })).await;
    let script = json!([{ "tool": "list_files", "input": {}, "repeat": 50 }]);
    let (card, run) = run_to_end(&stage, &script).await;
    assert_failed(&stage, &card, &run, "step_limit", "3").await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_timed_out_and_leaves_no_process() {
    let stage = Stage::with_policy(Installation::shared().await, json!({ "max_run_seconds": 3 })).await;
    let marker = format!("86{}", std::process::id());
    let script = json!([{ "tool": "run_command", "input": { "command": format!("sleep {marker}") } }]);
    let card = stage.card("Slow", &script).await;
    let run = stage.run(&card).await;
    let run = stage.ended(&run).await;
    assert_eq!(state(&run), "timed_out", "{run}");
    assert_eq!(stage.card_after(&card).await["lane"], "backlog");
    no_process_with(&marker).await;
}

#[tokio::test]
async fn a_cancelled_run_stops_at_once_and_pushes_nothing() {
    let stage = Stage::set(Installation::shared().await).await;
    let marker = format!("87{}", std::process::id());
    let script = json!([
        { "tool": "run_command", "input": { "command": format!("sleep {marker}") } },
        { "tool": "finish", "input": { "summary": "x", "success": true } },
    ]);
    let card = stage.card("Cancel me", &script).await;
    let run = stage.run(&card).await;
    some_process_with(&marker).await;
    let path = format!("/v1/runs/{run}/cancel");
    stage.owner.post(&path, json!({ "reason": "not needed any more" })).await.unwrap();
    let ended = stage.ended(&run).await;
    assert_eq!(state(&ended), "cancelled");
    assert!(text(&ended, "reason").contains("not needed any more"));
    no_process_with(&marker).await;
    assert_eq!(stage.pushes(), 0);
    assert_eq!(stage.card_after(&card).await["lane"], "backlog");
}

#[tokio::test]
async fn a_killed_pod_is_followed_by_another_attempt_that_succeeds() {
    let stage = Stage::set(Installation::shared().await).await;
    let mut script = writes("a.txt", "a\n");
    script[1]["hold"] = json!("before-the-end");
    let card = stage.card("Killed once", &script).await;
    let run = stage.run(&card).await;
    stage.model.wait_until_held("before-the-end", 1).await;
    kill_pod_of(&stage, &run).await;
    stage.model.release("before-the-end");
    let ended = stage.ended(&run).await;
    assert_eq!((state(&ended).as_str(), ended["attempt"].as_u64()), ("succeeded", Some(2)), "{ended}");
    assert_eq!(stage.pushes(), 1);
}

#[tokio::test]
async fn a_card_is_run_only_when_nothing_forbids_it() {
    let stage = Stage::with_policy(Installation::shared().await, json!({ "max_active_runs": 1 })).await;
    let script = json!([{ "hold": "stay" }, { "tool": "finish", "input": { "summary": "x", "success": false } }]);
    let (first, second) = (stage.card("First", &script).await, stage.card("Second", &writes("b", "b")).await);
    let post = async |path: String, body: Value| refusal(&stage.owner, Method::POST, &path, &body).await;

    let on = format!("/v1/projects/{}/cards/{second}/dependencies/{first}", stage.project);
    stage.owner.command(Method::PUT, &on, json!({})).await.unwrap();
    assert_eq!(post(stage.of_card(&second, "run"), json!({})).await, (409, "dependency_not_done".into()));
    stage.owner.command(Method::DELETE, &on, json!({})).await.unwrap();

    stage.owner.post(&stage.of_card(&second, "block"), json!({ "reason": "wait" })).await.unwrap();
    assert_eq!(post(stage.of_card(&second, "run"), json!({})).await, (409, "card_blocked".into()));
    stage.owner.post(&stage.of_card(&second, "unblock"), json!({})).await.unwrap();

    stage.owner.post(&stage.of_card(&second, "move"), json!({ "lane": "done" })).await.unwrap();
    assert_eq!(post(stage.of_card(&second, "run"), json!({})).await, (409, "lane_forbids_runs".into()));
    stage.owner.post(&stage.of_card(&second, "move"), json!({ "lane": "ready" })).await.unwrap();

    let run = stage.run(&first).await;
    assert_eq!(post(stage.of_card(&first, "run"), json!({})).await, (409, "run_already_active".into()));
    assert_eq!(post(stage.of_card(&second, "run"), json!({})).await, (429, "too_many_active_runs".into()));
    stage.model.release("stay");
    stage.ended(&run).await;
}

#[tokio::test]
async fn the_key_and_the_tokens_are_nowhere() {
    let installation = Installation::shared().await;
    let stage = Stage::set(installation).await;
    let script = json!([
        { "tool": "run_command", "input": { "command": "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; cat .git/config .git 2>/dev/null; find / -name '*.p[k]8' -o -name 'master.k[e]y' 2>/dev/null" } },
        { "tool": "write_file", "input": { "path": "x", "content": "x" } },
        { "tool": "finish", "input": { "summary": "Looked.", "success": true } },
    ]);
    let (_, run) = run_to_end(&stage, &script).await;
    assert_eq!(state(&run), "succeeded", "{run}");
    let events = serde_json::to_string(&installation.events(stage.tenant)).unwrap();
    let log = installation.log_text();
    for secret in ["sk-scripted-secret-key", "ght_", "eyJ", "signing.pk8", "master.key"] {
        assert!(!events.contains(secret), "`{secret}` is in the events");
        assert!(!log.contains(secret), "`{secret}` is in the log");
    }
}

fn processes_with(marker: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_ours = command.split(|byte| *byte == 0).any(|arg| arg == marker.as_bytes());
        if is_ours && pid != std::process::id() {
            found.push(pid);
        }
    }
    found
}

async fn some_process_with(marker: &str) {
    until(|| !processes_with(marker).is_empty()).await;
}

async fn no_process_with(marker: &str) {
    until(|| processes_with(marker).is_empty()).await;
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, wait).await.expect("the condition comes true");
}

/// Kills the sandbox in which this run's pod works.
async fn kill_pod_of(stage: &Stage, run: &str) {
    let query = "query($run: ID!) { run(id: $run) { environment } }";
    let data = stage.owner.query(query, json!({ "run": run })).await.expect("an answer");
    let environment = text(&data["run"], "environment");
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let (name, variables) = (read("comm"), read("environ"));
        if name.starts_with(b"bwrap") && String::from_utf8_lossy(&variables).contains(&environment) {
            let pid = rustix::process::Pid::from_raw(pid).expect("a process");
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            killed += 1;
        }
    }
    assert!(killed > 0, "the pod's sandbox is found");
}
