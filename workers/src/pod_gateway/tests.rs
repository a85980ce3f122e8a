//! The pods' door over HTTP, before a real log, a real Git host and a vendor that says what it is told to.

use std::path::PathBuf;

use domain::environment::Environment;
use domain::id::EnvironmentKind;
use domain::provider::ProviderKind;
use domain::run::{Ending, FailureKind, Run, RunCommand, RunEvent, RunModelCalled, StepKind, Task, TaskOutcome};
use domain::value::{CommitSha, Reason, Text};
use domain::{EnvironmentId, Id, RunId};
use reqwest::Response;
use schemas::pod::{Failure, Heartbeat, HeartbeatAnswer, Job, Report, Step, path};
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::jobs::queue;
use crate::testing::git_host::{self, GitHost, TOKEN, git};
use crate::testing::vendor::Vendor;
use crate::testing::{World, id, serve, until};

/// A pod that knocks.
struct Pod {
    world: World,
    base: String,
    run: RunId,
    task: Task,
    environment: EnvironmentId,
    token: String,
    http: Http,
}

impl Pod {
    /// Of the first attempt of a run on this repository.
    async fn new(repository: &str, credential: Option<&str>, change: impl FnOnce(&mut Task)) -> Self {
        let world = World::new().await;
        let run = id();
        let credential = match credential {
            Some(credential) => Some(world.secret(credential).await),
            None => None,
        };
        let mut task = world.task(run, repository, credential).await;
        change(&mut task);
        let environment = world.dispatched(run, &task).await;
        let token = world.token(run, &task, 1, environment);
        let http = Http::new().unwrap();
        let gateway = Gateway {
            control: world.control.clone(),
            pool: world.pool().clone(),
            http: http.clone(),
            verifier: world.verifier(),
            otlp: None,
        };
        let base = serve(router(gateway)).await;
        Self { world, base, run, task, environment, token, http }
    }

    async fn plain() -> Self {
        Self::new("http://127.0.0.1:9/shop.git", None, |_| {}).await
    }

    fn request(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        let url = Url::parse(&format!("{}{path}", self.base)).unwrap();
        self.http.api(method, url).unwrap().bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(http::Method::GET, path).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Response {
        self.request(http::Method::POST, path).json(body).send().await.unwrap()
    }

    /// Takes the job.
    async fn start(&self) {
        assert_eq!(self.get(path::JOB).await.status(), 200);
    }

    /// The address of the repository with the token in it, as Git's command line takes it.
    fn remote(&self) -> String {
        format!("http://x-access-token:{}@{}{}", self.token, &self.base[7..], path::GIT)
    }

    /// Lets the attempt be lost; the next one begins elsewhere.
    async fn lose(&self) {
        let lose = RunCommand::LoseAttempt {
            attempt: 1,
            kind: FailureKind::PodLost,
            reason: Reason::cut("lost"),
            log_tail: Text::tail("", 0),
        };
        self.world.tell(self.run, lose).await;
        self.world.tell(self.run, RunCommand::Dispatch { attempt: 2, environment: id() }).await;
    }

    fn outcome(&self, head: &str) -> TaskOutcome {
        let commit = CommitSha::new(head).unwrap();
        TaskOutcome {
            branch: self.task.branch.clone(),
            base_commit: commit.clone(),
            work_commit: commit.clone(),
            head_commit: commit,
            summary: Text::tail("done", 10),
            files_changed: vec![],
            context_path: ".agentworks/x".into(),
            context_sha256: "0".repeat(64),
            pushed_by_attempt: 1,
        }
    }
}

async fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_pod_takes_its_job_tells_its_steps_and_fails() {
    let pod = Pod::plain().await;
    for _ in 0..2 {
        let job: Job = pod.get(path::JOB).await.json().await.unwrap();
        assert_eq!((job.run, job.attempt, job.branch.as_str()), (pod.run, 1, pod.task.branch.as_str()));
        assert_eq!(job.tools.len(), pod.task.policy.allowed_tools.len());
    }
    let step = |number| Step {
        number,
        kind: StepKind::Tool,
        title: "read_file: a".into(),
        detail: "x".repeat(9_000),
        ok: true,
        duration_ms: 1,
    };
    assert_eq!(code(pod.post(path::STEPS, &step(2)).await).await, (409, "run_step_out_of_order".into()));
    for number in [1, 1, 2] {
        assert_eq!(pod.post(path::STEPS, &step(number)).await.status(), 204);
    }
    assert_eq!(code(pod.post(path::STEPS, &json!({ "number": "x" })).await).await, (422, "body_malformed".into()));
    let beat: HeartbeatAnswer = pod.post(path::HEARTBEAT, &Heartbeat { last_step: 2 }).await.json().await.unwrap();
    assert!(beat.go_on);
    let failure = Failure { kind: FailureKind::TestsFailed, reason: "2 tests fail".into(), log_tail: "log".into() };
    for _ in 0..2 {
        assert_eq!(pod.post(path::RESULT, &Report::Failed(failure.clone())).await.status(), 204);
    }
    let events = pod.world.run_events(pod.run).await;
    let names: Vec<_> = events.iter().map(|event| domain::Event::event_type(event).name).collect();
    assert_eq!(names, ["RunQueued", "RunDispatched", "RunStarted", "RunStepRecorded", "RunStepRecorded", "RunFailed"]);
    let beat: HeartbeatAnswer = pod.post(path::HEARTBEAT, &Heartbeat { last_step: 2 }).await.json().await.unwrap();
    assert!(!beat.go_on);
    assert_eq!(code(pod.post(path::STEPS, &step(3)).await).await, (410, "attempt_over".into()));
}

#[tokio::test]
async fn only_the_token_of_the_current_attempt_opens() {
    let mut pod = Pod::plain().await;
    let everything = [
        (http::Method::GET, path::JOB.to_owned()),
        (http::Method::POST, path::STEPS.to_owned()),
        (http::Method::POST, path::RESULT.to_owned()),
        (http::Method::POST, format!("{}/v1/messages", path::MODELS)),
        (http::Method::GET, format!("{}/info/refs?service=git-upload-pack", path::GIT)),
        (http::Method::POST, format!("{}/git-receive-pack", path::GIT)),
    ];
    let report = Report::Failed(Failure { kind: FailureKind::GaveUp, reason: "x".into(), log_tail: String::new() });
    let ask = async |pod: &Pod| {
        let mut statuses = vec![];
        for (method, path) in &everything {
            let mut request = pod.request(method.clone(), path);
            if method == http::Method::POST {
                request = request.json(&report);
            }
            statuses.push(request.send().await.unwrap().status().as_u16());
        }
        statuses
    };
    let good = std::mem::replace(&mut pod.token, "nonsense".into());
    assert_eq!(ask(&pod).await, [401; 6]);
    // Signed by somebody else.
    let other = World::new().await;
    pod.token = other.token(pod.run, &pod.task, 1, pod.environment);
    assert_eq!(ask(&pod).await, [401; 6]);
    // Of an environment that the run was not given to, as after a claim that came to nothing.
    pod.token = pod.world.token(pod.run, &pod.task, 1, id());
    assert_eq!(ask(&pod).await, [410; 6]);
    pod.token = good;
    pod.lose().await;
    assert_eq!(ask(&pod).await, [410; 6]);
}

#[tokio::test]
async fn a_sign_of_life_is_noted_on_the_job() {
    let pod = Pod::plain().await;
    let job = queue::NewJob { run: pod.run, project: pod.task.project, origin: pod.world.origin() };
    let tenant = pod.world.tenant;
    let mut connection = pod.world.pool().acquire().await.unwrap();
    queue::enqueue(&mut connection, tenant, &job).await.unwrap();
    let lease = std::time::Duration::from_secs(60);
    let holder = id::<EnvironmentKind>().uuid();
    assert_eq!(queue::claim(pod.world.pool(), holder, &[pod.environment], lease).await.unwrap().len(), 1);
    pod.start().await;
    let held = queue::extend(pod.world.pool(), holder, &[pod.environment], lease).await.unwrap();
    assert!(matches!(held[&pod.environment], queue::Lease::Held { pod_silent: Some(_) }));
    let events = pod.world.log.read_stream(tenant, pod.run.uuid(), 2, 1).await.unwrap();
    assert_eq!(events[0].metadata.correlation, job.origin.correlation, "a pod's commands follow from the same wish");
}

#[tokio::test]
async fn a_success_is_believed_only_when_the_repository_agrees() {
    let host = GitHost::start().await;
    let main = host.head("main").await.unwrap();
    for (head, reason) in [("1".repeat(40), "has no branch"), (main, "has no branch")] {
        let pod = Pod::new(&host.url(), Some(TOKEN), |_| {}).await;
        pod.start().await;
        let report = Report::Succeeded(pod.outcome(&head));
        for _ in 0..2 {
            assert_eq!(pod.post(path::RESULT, &report).await.status(), 204);
        }
        let events = pod.world.run_events(pod.run).await;
        let Some(RunEvent::Failed(failed)) = events.last() else { panic!("{events:?}") };
        assert_eq!(failed.kind, FailureKind::PushRejected);
        assert!(failed.reason.as_str().contains(reason), "{}", failed.reason);
    }
    let pod = Pod::new("http://127.0.0.1:9/x.git", None, |_| {}).await;
    pod.start().await;
    let report = Report::Succeeded(pod.outcome(&"1".repeat(40)));
    assert_eq!(code(pod.post(path::RESULT, &report).await).await, (503, "try_again".into()));
    assert!(pod.world.run(pod.run).await.is_current(1), "what cannot be checked is not decided");
}

/// A clone through the gateway, with one more commit.
async fn clone(pod: &Pod) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    git(folder.path(), &["clone", "-q", &pod.remote(), "clone"]).await;
    let clone = folder.path().join("clone");
    // More than Git holds in memory before it begins to send.
    let mut seed = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_be_bytes()[0]
    })
    .take(3 * 1024 * 1024)
    .collect();
    std::fs::write(clone.join("noise"), noise).unwrap();
    git(&clone, &["add", "."]).await;
    git(&clone, &["commit", "-q", "-m", "work"]).await;
    (folder, clone)
}

#[tokio::test]
async fn a_run_clones_and_pushes_its_own_branch_and_no_other() {
    let host = GitHost::start().await;
    let pod = Pod::new(&host.url(), Some(TOKEN), |_| {}).await;
    pod.start().await;
    let (_folder, clone) = clone(&pod).await;
    let before = host.head("main").await;
    let branch = pod.task.branch.to_string();
    for (refspec, said) in [
        ("HEAD:refs/heads/main".to_owned(), "remote rejected"),
        (format!("HEAD:refs/heads/{branch}/x"), "remote rejected"),
        ("HEAD:refs/tags/v1".to_owned(), "remote rejected"),
        (":refs/heads/main".to_owned(), "remote rejected"),
    ] {
        let pushed = git_host::run(&clone, &["push", "origin", &refspec]).await;
        let stderr = String::from_utf8_lossy(&pushed.stderr);
        assert!(!pushed.status.success() && stderr.contains(said), "{refspec}: {stderr}");
        assert!(stderr.contains("may push its own branch"), "{refspec}: {stderr}");
    }
    assert_eq!((host.head("main").await, host.head(&branch).await), (before, None));
    let own = format!("HEAD:refs/heads/{branch}");
    // Through each way that Git may send it: in one piece, and in pieces.
    git(&clone, &["-c", "http.postBuffer=8388608", "push", "-q", "origin", &own]).await;
    let head = git(&clone, &["rev-parse", "HEAD"]).await.trim().to_owned();
    assert_eq!(host.head(&branch).await.as_deref(), Some(head.as_str()));
    git(&clone, &["commit", "-q", "--allow-empty", "-m", "more"]).await;
    std::fs::write(clone.join("noise2"), std::fs::read(clone.join("noise")).unwrap().repeat(2)).unwrap();
    git(&clone, &["add", "."]).await;
    git(&clone, &["commit", "-q", "-m", "more"]).await;
    git(&clone, &["push", "-q", "origin", &own]).await;
    let head = git(&clone, &["rev-parse", "HEAD"]).await.trim().to_owned();
    assert_eq!(host.head(&branch).await.as_deref(), Some(head.as_str()));
    let deleted = git_host::run(&clone, &["push", "origin", &format!(":refs/heads/{branch}")]).await;
    assert!(String::from_utf8_lossy(&deleted.stderr).contains("may not delete"), "{deleted:?}");

    // And the success that now is one.
    assert_eq!(pod.post(path::RESULT, &Report::Succeeded(pod.outcome(&head))).await.status(), 204);
    assert!(matches!(pod.world.run(pod.run).await, Run::Ended { ending: Ending::Succeeded(_), .. }));
    assert_eq!(pod.post(path::RESULT, &Report::Succeeded(pod.outcome(&head))).await.status(), 204);
    let late = git_host::run(&clone, &["push", "origin", &own]).await;
    assert!(!late.status.success() && String::from_utf8_lossy(&late.stderr).contains("410"), "{late:?}");
}

#[tokio::test]
async fn a_stale_attempt_pushes_nothing() {
    let host = GitHost::start().await;
    let pod = Pod::new(&host.url(), Some(TOKEN), |_| {}).await;
    let (_folder, clone) = clone(&pod).await;
    pod.lose().await;
    let own = format!("HEAD:refs/heads/{}", pod.task.branch);
    let pushed = git_host::run(&clone, &["push", "origin", &own]).await;
    assert!(!pushed.status.success() && String::from_utf8_lossy(&pushed.stderr).contains("410"), "{pushed:?}");
    assert_eq!(host.head(pod.task.branch.as_str()).await, None);
}

#[tokio::test]
async fn a_repository_that_refuses_is_explained_and_does_not_end_the_attempt() {
    let host = GitHost::start().await;
    for (url, credential, said) in [
        (host.url(), Some("revoked"), "refused the project's credential"),
        (host.url(), None, "refused the project's credential"),
        (format!("{}x", host.url()), Some(TOKEN), "does not exist any more"),
        ("http://127.0.0.1:9/x.git".to_owned(), None, "cannot be reached"),
        ("http://169.254.169.254/latest".to_owned(), None, "link-local"),
    ] {
        let pod = Pod::new(&url, credential, |_| {}).await;
        let answer = pod.get(&format!("{}/info/refs?service=git-upload-pack", path::GIT)).await;
        assert_eq!(answer.status(), 502, "{url}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(said), "{url}: {text}");
        assert!(!text.contains(TOKEN) && !text.contains("revoked"), "{text}");
    }
}

const STREAM: [&str; 3] = [
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-sonnet-9\",\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"hi\"}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];

async fn model_calls(pod: &Pod, count: usize) -> Vec<RunModelCalled> {
    until("the calls are recorded", async || {
        let events = pod.world.run_events(pod.run).await;
        let calls = events.into_iter().filter_map(|event| match event {
            RunEvent::ModelCalled(call) => Some(call),
            _ => None,
        });
        let calls: Vec<_> = calls.collect();
        (calls.len() >= count).then_some(calls)
    })
    .await
}

#[tokio::test]
async fn a_model_answers_as_it_speaks_and_is_paid_with_the_tenants_key() {
    let vendor = Vendor::start().await;
    let pod = Pod::plain().await;
    pod.world.provider(&pod.task, &vendor.base, "sk-tenant").await;
    let stream = vendor.answers(200, "text/event-stream");
    let asked = json!({ "model": "claude-sonnet", "stream": true, "messages": [] });
    stream.send(STREAM[0]).unwrap();
    let url = format!("{}/v1/messages", path::MODELS);
    let mut answer = pod.request(http::Method::POST, &url).header("cookie", "x").json(&asked).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["request-id"], "req_1");
    assert_eq!(answer.headers().get("set-cookie"), None);
    for piece in STREAM {
        // The vendor says the next word only now: nothing is held back on the way.
        if piece != STREAM[0] {
            stream.send(piece).unwrap();
        }
        assert_eq!(answer.chunk().await.unwrap().unwrap(), piece);
    }
    drop(stream);
    assert_eq!(answer.chunk().await.unwrap(), None);

    let got = &vendor.asked()[0];
    assert_eq!(got.path, "/v1/messages");
    assert_eq!(serde_json::from_slice::<Value>(&got.body).unwrap(), asked);
    assert_eq!(
        (got.headers.get("x-api-key").unwrap(), got.headers.get("cookie")),
        (&"sk-tenant".parse().unwrap(), None)
    );
    assert!(!format!("{:?}", got.headers).contains(&pod.token), "the pod's token stays here");
    let call = &model_calls(&pod, 1).await[0];
    assert_eq!((call.input_tokens, call.output_tokens, call.cache_read_tokens, call.status), (25, 15, 5, 200));
    assert_eq!((call.model.as_str(), call.provider), ("claude-sonnet-9", pod.task.provider));
}

#[tokio::test]
async fn a_call_is_paid_for_even_when_the_pod_goes_away_in_the_middle() {
    let vendor = Vendor::start().await;
    let pod = Pod::plain().await;
    pod.world.provider(&pod.task, &vendor.base, "sk-tenant").await;
    let stream = vendor.answers(200, "text/event-stream");
    stream.send(STREAM[0]).unwrap();
    let asked = json!({ "model": "claude-sonnet", "stream": true });
    let mut answer = pod.post(&format!("{}/v1/messages", path::MODELS), &asked).await;
    answer.chunk().await.unwrap();
    drop(answer);
    let call = until("it is recorded", async || {
        // The vendor talks on until nobody listens any more.
        let _closed = stream.send(STREAM[1]);
        let events = pod.world.run_events(pod.run).await;
        events.into_iter().find_map(|event| if let RunEvent::ModelCalled(call) = event { Some(call) } else { None })
    })
    .await;
    assert_eq!((call.input_tokens, call.output_tokens), (25, 1));
}

#[tokio::test]
async fn openai_is_asked_for_its_usage_and_its_errors_are_passed_on() {
    let vendor = Vendor::start().await;
    let pod = Pod::new("http://127.0.0.1:9/x.git", None, |task| task.provider_kind = ProviderKind::Openai).await;
    pod.world.provider(&pod.task, &format!("{}/v1", vendor.base), "sk-openai").await;
    let url = format!("{}/v1/chat/completions", path::MODELS);
    let body = json!({ "model": "claude-sonnet", "stream": true, "messages": [] });
    let answers = vendor.answers(200, "text/event-stream");
    answers.send("data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n").unwrap();
    drop(answers);
    assert!(pod.post(&url, &body).await.text().await.unwrap().ends_with("[DONE]\n\n"));
    let answers = vendor.answers(429, "application/json");
    answers.send("{\"error\":{\"message\":\"slow down\"}}").unwrap();
    drop(answers);
    let limited = pod.post(&url, &body).await;
    assert_eq!(limited.status(), 429);
    assert_eq!(limited.text().await.unwrap(), "{\"error\":{\"message\":\"slow down\"}}");
    let asked = vendor.asked();
    assert_eq!(
        (asked[0].path.as_str(), &asked[0].headers["authorization"]),
        ("/v1/chat/completions", &"Bearer sk-openai".parse().unwrap())
    );
    let sent: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(sent["stream_options"]["include_usage"], true);
    let calls = model_calls(&pod, 2).await;
    assert_eq!((calls[0].input_tokens, calls[0].output_tokens, calls[1].status), (9, 2, 429));
}

#[tokio::test]
async fn a_call_that_may_not_be_made_is_refused_in_the_vendors_words() {
    let pod = Pod::plain().await;
    let call = async |rest: &str, body: Value| {
        let answer = pod.post(&format!("{}/{rest}", path::MODELS), &body).await;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["type"], "error");
        (status, body["error"]["type"].as_str().unwrap().to_owned(), body["error"]["message"].to_string())
    };
    let good = json!({ "model": "claude-sonnet" });
    let (status, kind, message) = call("v1/messages", good.clone()).await;
    assert_eq!((status, kind.as_str()), (403, "permission_error"), "{message}");
    pod.world.provider(&pod.task, "http://127.0.0.1:9", "sk-tenant").await;
    assert_eq!(call("v1/messages", json!({ "model": "a-dearer-one" })).await.0, 400);
    assert_eq!(call("v1/messages", json!([])).await.0, 400);
    for rest in ["v1/files", "v1/messages/batches", "v1/chat/completions"] {
        assert_eq!(call(rest, good.clone()).await.0, 404, "{rest}");
    }
    let (status, _, message) = call("v1/messages", good).await;
    assert_eq!(status, 502);
    assert!(message.contains("cannot be reached") && !message.contains("sk-tenant"), "{message}");
}

#[tokio::test]
async fn traces_without_a_collector_are_taken_and_dropped() {
    let pod = Pod::plain().await;
    assert_eq!(pod.post(path::TRACES, &json!({})).await.status(), 204);
    let environment: Id<EnvironmentKind> = pod.environment;
    assert_eq!(pod.world.environment(environment).await, Environment::Absent);
}
