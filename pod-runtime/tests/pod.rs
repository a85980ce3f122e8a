//! The pod as a process, against a control plane, a repository and a model over HTTP.

#![expect(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use schemas::context::Context;
use schemas::pod::ModelProtocol::{Anthropic, OpenAi};
use schemas::pod::{StepKind, exit};
use serde_json::json;
use support::model::{Turn, call, finish, greet_the_world};
use support::{TOKEN, TRACE, World, holds, lives};

#[tokio::test]
async fn what_a_tool_wrote_is_committed_even_where_git_ignores_it_and_what_commands_left_is_not() {
    let turns = vec![
        call("write_file", &json!({ "path": "build/notes.md", "content": "kept" })),
        call("run_command", &json!({ "command": "touch build/rubbish" })),
        finish(),
    ];
    let world = World::new(Anthropic, turns).await;
    let ended = world.run().await;
    let work = ended.outcome().work_commit.as_str().to_owned();
    assert_eq!(world.origin.bare(&["show", "--format=", "--name-only", &work]), "build/notes.md\n");
}

#[tokio::test]
async fn a_card_is_worked_on_committed_and_pushed_once_with_either_protocol() {
    for protocol in [Anthropic, OpenAi] {
        let turns = vec![
            call("list_files", &json!({})),
            call("read_file", &json!({ "path": "greet.sh" })),
            greet_the_world(),
            call("run_command", &json!({ "command": "mkdir build && touch build/x && sh greet.sh" })),
            finish(),
        ];
        let mut world = World::new(protocol, turns).await;
        world.job.test_command = Some("sh test.sh".into());
        let ended = world.run().await;
        let outcome = ended.outcome();
        assert_eq!(ended.code, Some(i32::from(exit::REPORTED)));
        assert_eq!(world.origin.pushes(), [format!("refs/heads/{}", world.job.branch)]);

        let (work, head) = (outcome.work_commit.as_str(), outcome.head_commit.as_str());
        assert_eq!(world.origin.bare(&["rev-parse", &world.job.branch]).trim(), head);
        assert_eq!(world.origin.bare(&["rev-parse", &format!("{head}^")]).trim(), work);
        assert_eq!(world.origin.bare(&["rev-parse", &format!("{work}^")]), world.origin.bare(&["rev-parse", "main"]));
        assert_eq!(world.origin.bare(&["show", "--format=", "--name-only", work]), "greet.sh\n");
        assert_eq!(world.origin.bare(&["show", &format!("{work}:greet.sh")]), "echo Hello, world\n");
        let message = world.origin.bare(&["log", "-1", "--format=%an <%ae>|%B", work]);
        let expected = "AgentWorks agent <agent@agentworks.invalid>|Greet the world\n\nThe world is greeted.\n\nAgentWorks-Card: crd_";
        assert!(message.starts_with(expected), "{message}");

        let text = world.origin.bare(&["show", &format!("{head}:{}", outcome.context_path)]);
        let context: Context = serde_json::from_str(&text).unwrap();
        assert_eq!((context.run, context.attempt, &context.work_commit), (world.job.run, 1, &outcome.work_commit));
        assert_eq!((context.tokens.model_calls, context.tokens.input, context.tokens.output), (5, 500, 100));
        assert!(context.tests.unwrap().passed);
        assert_eq!(outcome.files_changed, ["greet.sh"]);
        assert_eq!(outcome.pushed_by_attempt, 1);

        let kinds: Vec<StepKind> = ended.steps.iter().map(|step| step.kind).collect();
        let tool = [StepKind::Model, StepKind::Tool];
        let tools = [tool, tool, tool, tool].concat();
        let end = [StepKind::Model, StepKind::Check, StepKind::Commit, StepKind::Push];
        assert_eq!(kinds, [[StepKind::Clone].as_slice(), &tools, &end].concat());
        assert!(ended.steps.iter().zip(1..).all(|(step, number)| step.ok && step.number == number));
        assert_eq!(ended.steps[4].detail, "echo Hello\n");
        assert!(ended.steps[8].detail.starts_with("exit status: 0\nHello, world\n"));
        assert!(!holds(&world.workspace(), TOKEN), "the token lies in the workspace");
        let parents = world.fake.parents.lock().unwrap();
        assert!(parents.len() > 10 && parents.iter().all(|it| it.contains(TRACE)));
    }
}

#[tokio::test]
async fn work_whose_report_was_lost_is_reported_and_not_done_again() {
    let mut world = World::new(Anthropic, vec![greet_the_world(), finish()]).await;
    let first = world.run().await.outcome().clone();
    world.fake.reports.lock().unwrap().clear();
    world.job.attempt = 2;
    let second = world.run().await;
    assert_eq!(second.outcome(), &first);
    assert_eq!(world.origin.pushes().len(), 1);
    assert_eq!(world.fake.questions.lock().unwrap().len(), 2, "the model was paid again");
}

#[tokio::test]
async fn a_foreign_branch_in_the_way_is_a_failure_and_is_not_touched() {
    let world = World::new(Anthropic, vec![greet_the_world(), finish()]).await;
    world.origin.bare(&["branch", &world.job.branch, "main"]);
    let ended = world.run().await;
    let (kind, reason, _) = ended.failure();
    assert_eq!(kind, "push_rejected");
    assert!(reason.contains("not with the work of this run"), "{reason}");
    assert!(world.origin.pushes().is_empty());
}

#[tokio::test]
async fn a_push_whose_answer_is_lost_is_looked_for_and_not_repeated() {
    let world = World::new(Anthropic, vec![greet_the_world(), finish()]).await;
    world.origin.lose_answers.store(1, Ordering::SeqCst);
    let ended = world.run().await;
    assert_eq!(ended.outcome().head_commit.as_str(), world.origin.bare(&["rev-parse", &world.job.branch]).trim());
    assert_eq!(world.origin.pushes().len(), 1);
}

#[tokio::test]
async fn a_refused_push_ends_with_the_remotes_words() {
    let world = World::new(Anthropic, vec![greet_the_world(), finish()]).await;
    world.origin.hook("pre-receive", "echo 'only on weekdays' >&2; exit 1");
    let ended = world.run().await;
    let (kind, reason, _) = ended.failure();
    assert_eq!(kind, "push_rejected");
    assert!(reason.contains("only on weekdays"), "{reason}");
    assert_eq!(ended.code, Some(i32::from(exit::REPORTED)));
}

#[tokio::test]
async fn a_refused_key_ends_the_run_at_once() {
    for protocol in [Anthropic, OpenAi] {
        let world = World::new(protocol, vec![Turn::Status(401, None)]).await;
        let ended = world.run().await;
        let (kind, reason, _) = ended.failure();
        assert_eq!(kind, "model_error");
        assert!(reason.contains("refused the key (401)") && reason.contains("the vendor's words"), "{reason}");
        assert_eq!(world.fake.questions.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    for protocol in [Anthropic, OpenAi] {
        let turns =
            vec![Turn::Status(429, Some(0)), Turn::Cut, greet_the_world(), Turn::Status(529, Some(0)), finish()];
        let world = World::new(protocol, turns).await;
        let ended = world.run().await;
        assert_eq!(ended.outcome().files_changed, ["greet.sh"]);
        assert_eq!(world.fake.questions.lock().unwrap().len(), 5);
    }
}

#[tokio::test]
async fn a_vendor_that_stays_in_trouble_ends_the_run() {
    let world = World::new(Anthropic, vec![Turn::Status(503, Some(0)); 6]).await;
    let ended = world.run().await;
    let (kind, reason, _) = ended.failure();
    assert_eq!(kind, "model_error");
    assert!(reason.contains("in trouble (503)") && reason.contains("tried 4 times"), "{reason}");
    let world = World::new(Anthropic, vec![Turn::Status(429, Some(3_600))]).await;
    let ended = world.run().await;
    assert!(ended.failure().1.contains("too late"), "{}", ended.failure().1);
}

#[tokio::test]
async fn a_forbidden_tool_ends_the_run_and_an_unknown_one_does_not() {
    let turns = vec![call("launch_rocket", &json!({})), call("run_command", &json!({ "command": "touch x" }))];
    let mut world = World::new(Anthropic, turns).await;
    world.job.tools.retain(|tool| tool != "run_command");
    let ended = world.run().await;
    let (kind, reason, _) = ended.failure();
    assert_eq!(kind, "tool_refused");
    assert!(reason.contains("`run_command`") && reason.contains("policy"), "{reason}");
    let questions = world.fake.questions.lock().unwrap();
    let offered: Vec<&str> =
        questions[0]["tools"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(offered, ["list_files", "read_file", "write_file", "edit_file", "search_files", "finish"]);
    assert_eq!(questions[1]["messages"][2]["content"][0]["is_error"], true);
    assert!(!world.workspace().join("repository/x").exists());
}

#[tokio::test]
async fn the_third_attempt_to_leave_the_worktree_ends_the_run() {
    let escape = |path: &str| call("write_file", &json!({ "path": path, "content": "x" }));
    let turns = vec![escape("../out"), escape(".git"), escape("/tmp/../etc/out"), finish()];
    let world = World::new(Anthropic, turns).await;
    let ended = world.run().await;
    assert_eq!(ended.failure().0, "tool_refused");
    assert_eq!(world.fake.questions.lock().unwrap().len(), 3);
    assert!(!world.workspace().join("out").exists());
}

#[tokio::test]
async fn failing_tests_are_told_to_the_agent_who_may_repair() {
    let wrong = call("write_file", &json!({ "path": "greet.sh", "content": "echo Hello, moon\n" }));
    let right = call("edit_file", &json!({ "path": "greet.sh", "old_text": "moon", "new_text": "world" }));
    let mut world = World::new(OpenAi, vec![wrong.clone(), finish(), right, finish()]).await;
    world.job.test_command = Some("sh test.sh".into());
    let ended = world.run().await;
    assert_eq!(ended.outcome().files_changed, ["greet.sh"]);
    let checks: Vec<bool> = ended.steps.iter().filter(|it| it.kind == StepKind::Check).map(|it| it.ok).collect();
    assert_eq!(checks, [false, true]);
    assert!(world.fake.questions.lock().unwrap()[2].to_string().contains("no world"));

    let mut world = World::new(OpenAi, vec![wrong, finish(), finish(), finish()]).await;
    world.job.test_command = Some("sh test.sh".into());
    let ended = world.run().await;
    let (kind, reason, tail) = ended.failure();
    assert_eq!((kind, tail), ("tests_failed", "no world\n"));
    assert!(reason.contains("`sh test.sh` ended with exit status: 1"), "{reason}");
    assert!(world.origin.pushes().is_empty());
}

#[tokio::test]
async fn an_agent_without_result_is_a_failure_with_its_reason() {
    let gave_up = call("finish", &json!({ "summary": "There is no moon.", "success": false }));
    let read = call("read_file", &json!({ "path": "greet.sh" }));
    let cases = [
        (vec![gave_up], "gave_up", "There is no moon."),
        (vec![finish()], "nothing_changed", "without changing anything"),
        (vec![read; 11], "step_limit", "its 10 steps"),
        (vec![Turn::Say("Hm."); 3], "gave_up", "without saying whether"),
    ];
    for (turns, kind, words) in cases {
        let world = World::new(Anthropic, turns).await;
        let ended = world.run().await;
        let failure = ended.failure();
        assert_eq!(failure.0, kind);
        assert!(failure.1.contains(words), "{}", failure.1);
        assert!(world.origin.pushes().is_empty());
    }
}

#[tokio::test]
async fn wrong_input_is_told_to_the_model() {
    for protocol in [Anthropic, OpenAi] {
        let turns = vec![
            Turn::Call("edit_file", "{\"path\": \"gre".into()),
            call("edit_file", &json!({ "path": "greet.sh" })),
            Turn::Calls(vec![
                ("read_file", json!({ "path": "greet.sh" })),
                ("edit_file", json!({ "path": "greet.sh", "old_text": "Hello", "new_text": "Hello, world" })),
                ("finish", json!({ "summary": "Done.", "success": true })),
            ]),
        ];
        let world = World::new(protocol, turns).await;
        let ended = world.run().await;
        assert_eq!(ended.outcome().summary.as_str(), "Done.");
        let questions = world.fake.questions.lock().unwrap();
        assert!(questions[1].to_string().contains("is no JSON object"), "{}", questions[1]);
        assert!(questions[2].to_string().contains("missing field `old_text`"), "{}", questions[2]);
    }
}

#[tokio::test]
async fn what_an_agent_does_to_git_changes_nothing_but_its_own_work() {
    let script = "git config core.hooksPath ../hooks && mkdir ../hooks \
        && printf '#!/bin/sh\\ntouch ../owned\\n' > ../hooks/pre-push && chmod +x ../hooks/pre-push \
        && git config http.proxy http://127.0.0.1:1 && git config url.http://127.0.0.1:1/.insteadOf http:// \
        && git config filter.own.clean 'touch ../owned; cat' && echo '* filter=own' > .gitattributes \
        && git init -q vendored && git -C vendored -c user.name=a -c user.email=a@b commit -q --allow-empty -m x \
        && mkdir -p .agentworks/cards && echo forged > .agentworks/cards/forged.json \
        && echo more >> greet.sh && git add -A && git commit -qm own && rm -rf ../owned \
        && git config core.fsmonitor 'touch ../owned'";
    let turns = vec![call("run_command", &json!({ "command": script })), finish()];
    let world = World::new(Anthropic, turns).await;
    let ended = world.run().await;
    let outcome = ended.outcome();
    assert_eq!(outcome.files_changed, [".gitattributes", "greet.sh"]);
    let work = outcome.work_commit.as_str();
    assert_eq!(world.origin.bare(&["show", "--format=", "--name-only", work]), ".gitattributes\ngreet.sh\n");
    let files = world.origin.bare(&["ls-tree", "-r", "--name-only", outcome.head_commit.as_str()]);
    assert!(files.contains(".context.json") && !files.contains("forged") && !files.contains("vendored"), "{files}");
    assert!(!world.workspace().join("owned").exists(), "a command of the agent's configuration was run");
}

#[tokio::test]
async fn a_cancelled_run_stops_at_once_and_leaves_no_process() {
    let script = "setsid sleep 97531 & sleep 97531";
    let world = World::new(Anthropic, vec![call("run_command", &json!({ "command": script })), finish()]).await;
    let pod = world.start().await;
    let mut asked = world.fake.asked.subscribe();
    asked.wait_for(|count| *count == 1).await.unwrap();
    world.fake.go_on.store(false, Ordering::SeqCst);
    let ended = tokio::time::timeout(Duration::from_secs(30), world.wait(pod)).await.unwrap();
    assert_eq!(ended.code, Some(i32::from(exit::OVER)));
    assert!(ended.reports.is_empty());
    assert!(world.origin.pushes().is_empty());
    assert!(!lives("sleep\097531"));
}

#[tokio::test]
async fn an_attempt_that_is_over_by_any_answer_pushes_nothing() {
    let world = World::new(Anthropic, vec![call("run_command", &json!({ "command": "sleep 97533" }))]).await;
    world.fake.gone.store(true, Ordering::SeqCst);
    let ended = world.run().await;
    assert_eq!(ended.code, Some(i32::from(exit::OVER)));
    assert!(ended.reports.is_empty());
    assert!(!lives("sleep\097533"));
}

#[tokio::test]
async fn a_command_does_not_find_the_token() {
    let script = "cat /proc/$PPID/environ /proc/$PPID/cmdline /proc/self/environ; env; cat ../pod/journal.jsonl; \
        cat ../git/config; git remote -v";
    let turns = vec![call("run_command", &json!({ "command": script })), greet_the_world(), finish()];
    let world = World::new(Anthropic, turns).await;
    let ended = world.run().await;
    ended.outcome();
    let told = world.fake.questions.lock().unwrap()[1].to_string();
    assert!(told.contains("agent@agentworks.invalid"), "{told}");
    assert!(!told.contains(TOKEN) && !told.contains("[redacted]"), "{told}");
}

#[tokio::test]
async fn the_wall_clock_is_the_last_net() {
    let mut world = World::new(Anthropic, vec![call("run_command", &json!({ "command": "sleep 97532" }))]).await;
    world.job.limits.max_run_seconds = 1;
    let ended = world.run().await;
    assert_eq!(ended.code, Some(i32::from(exit::OUT_OF_TIME)));
    assert!(ended.reports.is_empty());
    assert!(!lives("sleep\097532"));
}

#[tokio::test]
async fn a_control_plane_that_is_away_for_a_moment_is_waited_for() {
    let world = World::new(Anthropic, vec![greet_the_world(), finish()]).await;
    world.fake.away.store(3, Ordering::SeqCst);
    assert_eq!(world.run().await.outcome().files_changed, ["greet.sh"]);
}

#[tokio::test]
async fn a_repository_without_the_branch_says_what_to_do() {
    let mut world = World::new(Anthropic, Vec::new()).await;
    world.job.base_branch = "trunk".into();
    let ended = world.run().await;
    let (kind, reason, _) = ended.failure();
    assert_eq!(kind, "clone_failed");
    assert!(reason.contains("no branch `trunk`; it has `main`"), "{reason}");

    let world = World::new(Anthropic, Vec::new()).await;
    world.origin.bare(&["update-ref", "-d", "refs/heads/main"]);
    let ended = world.run().await;
    assert_eq!(ended.failure().0, "clone_failed");
    assert!(ended.failure().1.contains("the repository is empty"), "{}", ended.failure().1);
}

#[tokio::test]
async fn traces_go_through_the_control_plane() {
    let mut world = World::new(Anthropic, vec![greet_the_world(), finish()]).await;
    world.traces = true;
    world.run().await.outcome();
    let traces = world.fake.traces.lock().unwrap();
    let id: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&TRACE[2 * at..2 * at + 2], 16).unwrap()).collect();
    let has = |part: &[u8]| traces.windows(part.len()).any(|window| window == part);
    assert!(has(&id), "another trace");
    assert!(["attempt", "clone", "model", "tool", "push"].iter().all(|name| has(name.as_bytes())));
    assert!(!has(TOKEN.as_bytes()));
    let parents = world.fake.parents.lock().unwrap();
    assert!(parents.iter().all(|it| it.contains(TRACE)));
}

#[tokio::test]
async fn a_wrong_token_or_boot_line_has_its_own_exit_code() {
    use tokio::io::AsyncWriteExt as _;
    let world = World::new(Anthropic, Vec::new()).await;
    let mut boot = world.boot();
    boot.token = "expired".into();
    for (line, code) in [(serde_json::to_string(&boot).unwrap(), exit::OVER), ("{}".into(), exit::BAD_BOOT)] {
        let mut pod = tokio::process::Command::new(env!("CARGO_BIN_EXE_agentworks-pod"));
        let mut pod = pod.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
        pod.stdin.take().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
        assert_eq!(pod.wait().await.unwrap().code(), Some(i32::from(code)));
    }
}
