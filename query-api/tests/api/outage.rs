//! Subscriptions outlive a database that is gone for a while.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::sync::{Arc, Mutex};

use outbox::{Log, LogSettings};
use query_api::Settings;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::api::{Api, Socket};
use crate::eventually;
use crate::support::World;

/// Where Postgres listens below a folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// A way to the database that can be cut.
struct Way {
    folder: tempfile::TempDir,
    open: Arc<watch::Sender<bool>>,
    /// Cuts it when somebody says this, once.
    trap: Trap,
}

type Trap = Arc<Mutex<Option<&'static str>>>;

/// Passes on what the client says, until it falls into the trap.
async fn pass_on(mut client: impl AsyncRead + Unpin, mut server: impl AsyncWrite + Unpin, trap: &Trap) -> bool {
    let mut buffer = [0; 8 * 1024];
    loop {
        let Ok(count @ 1..) = client.read(&mut buffer).await else { return false };
        let said = |text: &&str| buffer[..count].windows(text.len()).any(|bytes| bytes == text.as_bytes());
        if trap.lock().unwrap().take_if(|text| said(&&**text)).is_some() {
            return true;
        }
        server.write_all(&buffer[..count]).await.unwrap();
    }
}

impl Way {
    fn to(world: &World) -> Self {
        let (_, folder) = world.database.url.split_once("?host=").unwrap();
        let (target, own) = (format!("{folder}/{SOCKET}"), tempfile::tempdir().unwrap());
        let (listener, open) =
            (UnixListener::bind(own.path().join(SOCKET)).unwrap(), Arc::new(watch::Sender::new(true)));
        let (state, trap) = (open.clone(), Trap::default());
        let set = trap.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut open, cut) = (state.subscribe(), state.clone());
                let (target, trap) = (target.clone(), set.clone());
                // What comes while it is cut is dropped at once, and so is what is there when it is cut.
                tokio::spawn(async move {
                    if !*open.borrow_and_update() {
                        return;
                    }
                    let mut server = UnixStream::connect(target).await.unwrap();
                    let ((says, mut hears), (mut answers, asked)) = (client.split(), server.split());
                    tokio::select! {
                        fell = pass_on(says, asked, &trap) => if fell {
                            cut.send_replace(false);
                        },
                        _ = copy(&mut answers, &mut hears) => {}
                        _ = open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { folder: own, open, trap }
    }

    fn set(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// A log at its end.
    async fn log(&self, world: &World) -> Log {
        let (database, _) = world.database.url.split_once("?host=").unwrap();
        let url = format!("{database}?host={}", self.folder.path().to_str().unwrap());
        Log::connect(&LogSettings { url, max_connections: 4, notify: false }).await.unwrap()
    }
}

/// Frames until one holds what is looked for.
async fn until(socket: &mut Socket, found: impl Fn(&Value) -> bool) {
    while !found(&socket.frame().await) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_go_on_when_the_database_is_there_again() {
    let mut world = World::new(41).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let way = Way::to(&world);
    let api = Api::of(&world, way.log(&world).await, Settings::default(), None).await;
    api.caught_up(&world).await;
    let board = "subscription($id: ID!) { boardChanged(project: $id) { cards { lane } } }";
    let history = "subscription($id: ID!) { cardChanged(card: $id) { card { lane } } }";
    let events = "subscription { events(types: [\"CardMoved\"]) { events { kind } } }";
    let [mut on_board, mut on_card, mut on_log, mut late] =
        [api.open(tenant).await, api.open(tenant).await, api.open(tenant).await, api.open(tenant).await];
    on_board.subscribe("1", board, json!({ "id": project })).await;
    on_card.subscribe("1", history, json!({ "id": card })).await;
    on_log.subscribe("1", events, Value::Null).await;
    for socket in [&mut on_board, &mut on_card, &mut on_log] {
        socket.frame().await;
    }

    way.set(false);
    assert_eq!(api.code(tenant, "{ me { tenant { id } } }", Value::Null).await, "unavailable");
    // One that begins now waits.
    late.subscribe("1", board, json!({ "id": project })).await;
    world.move_card(tenant, card, "ready").await;
    api.caught_up(&world).await;
    // Nobody can read it: a question is still refused after the followers were told to look.
    assert_eq!(api.code(tenant, "{ me { tenant { id } } }", Value::Null).await, "unavailable");
    way.set(true);
    until(&mut on_board, |frame| frame["cards"][0]["lane"] == "ready").await;
    until(&mut on_card, |frame| frame["card"]["lane"] == "ready").await;
    until(&mut on_log, |frame| frame["events"][0]["kind"] == "CardMoved").await;
    late.frame().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_waits_for_what_its_things_name() {
    let mut world = World::new(42).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let way = Way::to(&world);
    let api = Api::of(&world, way.log(&world).await, Settings::default(), None).await;
    api.caught_up(&world).await;
    // By then the frame has been read, and the project that its card names is asked for.
    *way.trap.lock().unwrap() = Some("project = ANY");
    let mut socket = api.open(tenant).await;
    let history = "subscription($id: ID!) { cardChanged(card: $id) { card { project { id } } } }";
    socket.subscribe("1", history, json!({ "id": card })).await;
    eventually("the project is asked for", async || !*way.open.borrow()).await;
    way.set(true);
    assert_eq!(socket.frame().await["card"], json!({ "project": { "id": project } }));
}
