//! What people do meanwhile: several clients a tenant that create, move, edit, comment and run cards over HTTP. Each notes
//! what it asked, under which key, and everything that it was answered; what got no answer is asked again with the same key.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentworks::demo::Client;
use agentworks::demo::git_host::Access;
use domain::{SubjectId, TenantId};
use http::Method;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::records::{Answered, Records, Sent};
use crate::world::{KEY, PATIENCE, World};

/// How long a client waits for an answer before it asks again.
const ANSWER: Duration = Duration::from_secs(8);
/// Clients of one tenant.
const CLIENTS: u64 = 2;
const LANES: [&str; 4] = ["backlog", "ready", "review", "done"];
/// A card that is run.
const SCRIPT: &str = r#"[{"tool":"write_file","input":{"path":"PATH","content":"done\n"}},{"tool":"finish","input":{"summary":"Wrote it.","success":true}}]"#;

/// The name of a tenant's repository at the host.
pub(crate) fn repository(number: usize) -> String {
    format!("work{number}")
}

/// A tenant at work.
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) project: String,
    cards: Mutex<Vec<String>>,
}

/// Everything that clients do, and what they know of it.
pub(crate) struct Load {
    pub(crate) tenants: Vec<Arc<Tenant>>,
    pub(crate) records: Arc<Records>,
    stop: Arc<AtomicBool>,
    /// Whether cards are run at present: costlier than all the rest.
    running: Arc<AtomicBool>,
    clients: JoinSet<()>,
    seed: u64,
}

/// Sends requests of one client.
struct Hand {
    client: Client,
    tenant: Option<TenantId>,
    records: Arc<Records>,
    random: StdRng,
}

impl Load {
    /// Creates tenants with a project each, through the process on `port`.
    pub(crate) async fn set_up(world: &World, port: u16, tenants: usize, seed: u64) -> Self {
        let records = Arc::new(Records::default());
        let mut load = Self {
            tenants: vec![],
            records: Arc::clone(&records),
            stop: Arc::default(),
            running: Arc::default(),
            clients: JoinSet::new(),
            seed,
        };
        for number in 0..tenants {
            let random = StdRng::seed_from_u64(seed ^ ((number as u64 + 1) << 40));
            let mut hand = Hand { client: world.client(port, None), tenant: None, records: records.clone(), random };
            let tenant =
                hand.must("tenant", Method::POST, "/v1/tenants", json!({ "name": format!("T{number}") })).await;
            let id: TenantId = text(&tenant, "id").parse().expect("an id");
            hand.client = world.client(port, Some(id));
            hand.tenant = Some(id);
            let name = repository(number);
            world.git.create_repository(&name, &[("README.md", "# Work\n", false)]).await.expect("a repository");
            let token = world.git.issue_token(&name, Access::ReadWrite, None).expect("a token");
            let workspace = hand.must("workspace", Method::POST, "/v1/workspaces", json!({ "name": "W" })).await;
            let provider = json!({
                "name": "Scripted", "kind": "anthropic", "key": KEY, "base_url": world.model.base_url(),
                "default_model": "scripted-1",
            });
            let provider = hand.must("provider", Method::POST, "/v1/providers", provider).await;
            let project = json!({
                "workspace": workspace["id"], "name": "P", "model": { "provider": provider["id"] },
                "repository": { "url": world.git.url(&name), "credential": token },
                // A run is lost with each death of its worker: these must outlast them all.
                "policy": { "max_attempts": 10 },
            });
            let project = hand.must("project", Method::POST, "/v1/projects", project).await;
            let cards = Mutex::default();
            load.tenants.push(Arc::new(Tenant { id, project: text(&project, "id"), cards }));
        }
        load
    }

    /// Lets clients work through the process on `port`, until [`Load::finish`].
    pub(crate) fn start(&mut self, world: &World, port: u16) {
        for (number, tenant) in (0_u64..).zip(&self.tenants) {
            for client in 0..CLIENTS {
                let random = StdRng::seed_from_u64(self.seed ^ (number << 8) ^ (client << 16));
                let hand = self.hand(world, port, tenant, random);
                let (tenant, stop) = (Arc::clone(tenant), Arc::clone(&self.stop));
                self.clients.spawn(async move { work(hand, &tenant, &stop).await });
            }
            let hand = self.hand(world, port, tenant, StdRng::seed_from_u64(self.seed ^ (number << 8) ^ (9 << 24)));
            let (tenant, stop, running) = (Arc::clone(tenant), Arc::clone(&self.stop), Arc::clone(&self.running));
            self.clients.spawn(async move { run_cards(hand, &tenant, &stop, &running).await });
        }
    }

    fn hand(&self, world: &World, port: u16, tenant: &Tenant, random: StdRng) -> Hand {
        let client = world.client(port, Some(tenant.id));
        Hand { client, tenant: Some(tenant.id), records: Arc::clone(&self.records), random }
    }

    /// Whether cards are run from now on.
    pub(crate) fn run_cards(&self, yes: bool) {
        self.running.store(yes, Ordering::Relaxed);
    }

    /// Lets every client have the answer to its last request, and go home.
    ///
    /// # Errors
    /// When one does not get it.
    pub(crate) async fn finish(&mut self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        let all = async {
            while let Some(done) = self.clients.join_next().await {
                done.expect("a client does not fail");
            }
        };
        tokio::time::timeout(PATIENCE, all).await.map_err(|_| "a client waits for its answer in vain".to_owned())
    }
}

/// What an ordinary person does.
async fn work(mut hand: Hand, tenant: &Tenant, stop: &AtomicBool) {
    let cards = format!("/v1/projects/{}/cards", tenant.project);
    while !stop.load(Ordering::Relaxed) {
        let known = tenant.cards.lock().expect("no panic").clone();
        // Much happens to the first card, so that its history gets long.
        let card = |random: &mut StdRng| match random.random_range(0..3) {
            0 => known[0].clone(),
            _ => known[random.random_range(1..known.len())].clone(),
        };
        let choice = hand.random.random_range(0..100);
        if known.len() < 3 || (choice < 18 && known.len() < 60) {
            let key = hand.random.random::<u32>();
            let body = json!({ "title": format!("Card {key:08x}"), "description": "To be done." });
            let created = hand.send("card", Method::POST, &cards, body).await;
            if let Some(id) = created["id"].as_str() {
                tenant.cards.lock().expect("no panic").push(id.to_owned());
            }
            continue;
        }
        let one = card(&mut hand.random);
        let note = format!("{:016x}", hand.random.random::<u64>());
        let path = |verb: &str| format!("{cards}/{one}/{verb}");
        match choice {
            0..45 => hand.send("comment", Method::POST, &path("comments"), json!({ "text": note })).await,
            45..70 => {
                let lane = LANES[hand.random.random_range(0..LANES.len())];
                hand.send("move", Method::POST, &path("move"), json!({ "lane": lane })).await
            }
            70..78 => {
                let before = card(&mut hand.random);
                hand.send("rank", Method::POST, &path("rank"), json!({ "before": before })).await
            }
            78..88 => hand.send("edit", Method::PATCH, &format!("{cards}/{one}"), json!({ "title": note })).await,
            88..91 => hand.send("block", Method::POST, &path("block"), json!({ "reason": note })).await,
            91..94 => hand.send("unblock", Method::POST, &path("unblock"), json!({})).await,
            94..96 => {
                // Said about somebody who wants to be forgotten.
                let about = SubjectId::from_uuid(Uuid::from_u128(hand.random.random()));
                hand.send("comment", Method::POST, &path("comments"), json!({ "text": note, "about": about })).await;
                hand.send("erase", Method::POST, &format!("/v1/subjects/{about}/erase"), json!({})).await
            }
            96..98 => {
                let on = format!("dependencies/{}", card(&mut hand.random));
                hand.send("depend", Method::PUT, &path(&on), json!({})).await
            }
            _ if one == known[0] => {
                hand.send("comment", Method::POST, &path("comments"), json!({ "text": note })).await
            }
            _ => hand.send("archive", Method::POST, &path("archive"), json!({})).await,
        };
        let pause = hand.random.random_range(0..30);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Somebody who runs cards, now and then.
async fn run_cards(mut hand: Hand, tenant: &Tenant, stop: &AtomicBool, running: &AtomicBool) {
    let cards = format!("/v1/projects/{}/cards", tenant.project);
    while !stop.load(Ordering::Relaxed) {
        if running.load(Ordering::Relaxed) {
            let path = format!("{:08x}.txt", hand.random.random::<u32>());
            let script = SCRIPT.replace("PATH", &path);
            let description = format!("Do as the script says.\n\n```agentworks-script\n{script}\n```\n");
            let body = json!({ "title": "Run me", "description": description });
            let created = hand.send("card", Method::POST, &cards, body).await;
            if let Some(card) = created["id"].as_str() {
                hand.send("run", Method::POST, &format!("{cards}/{card}/run"), json!({})).await;
            }
        }
        let mut left = 15;
        while left > 0 && !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            left -= 1;
        }
    }
}

impl Hand {
    /// Asks until it is answered, and notes all of it. Now and then it asks again although it was answered. The last
    /// answer's body.
    async fn send(&mut self, kind: &'static str, method: Method, path: &str, body: Value) -> Value {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let key = format!("{kind}-{}-{:08x}", NUMBER.fetch_add(1, Ordering::Relaxed), self.random.random::<u32>());
        let trace = format!("{:032x}", self.random.random::<u128>() | 1);
        let sent = Sent::new(kind, &key, &trace, self.tenant.map(TenantId::uuid), path, &body);
        let place = self.records.sent(sent);
        let traceparent = format!("00-{trace}-{:016x}-01", self.random.random::<u64>() | 1);
        let headers = [("Idempotency-Key", key.as_str()), ("traceparent", traceparent.as_str())];
        let again = self.random.random_range(0..20) == 0;
        let (mut answers, mut pause) = (0, Duration::from_millis(20));
        loop {
            let asked =
                tokio::time::timeout(ANSWER, self.client.send(method.clone(), path, &headers, Some(&body))).await;
            match asked {
                Ok(Ok(answer)) if answer.status < 500 && answer.status != 429 => {
                    let noted = Answered { status: answer.status, body: answer.body.clone() };
                    self.records.answered(place, noted);
                    answers += 1;
                    if answers > usize::from(again) {
                        return answer.body;
                    }
                }
                _ => {
                    self.records.unanswered(place);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(300));
                }
            }
        }
    }

    async fn must(&mut self, kind: &'static str, method: Method, path: &str, body: Value) -> Value {
        let answer = tokio::time::timeout(PATIENCE, self.send(kind, method, path, body)).await.expect("an answer");
        assert!(answer["id"].is_string(), "{kind}: {answer}");
        answer
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {value}")).to_owned()
}

/// A tenant as the database has it.
pub(crate) fn uuid(tenant: &Tenant) -> Uuid {
    tenant.id.uuid()
}
