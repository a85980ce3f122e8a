//! The stream of events over real HTTP bodies, on a real log.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing helper fails its test")]

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request};
use domain::TenantId;
use futures::{Stream, StreamExt as _};
use query_api::{EventSettings, Settings};
use schemas::{CloudEvent, Cursor};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::api::Api;
use crate::nats::Nats;
use crate::support::World;

const SSE: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";
/// What must happen within this time.
const SOON: Duration = Duration::from_secs(20);

/// A stream as a client reads it.
struct Reading {
    headers: HeaderMap,
    body: Pin<Box<dyn Stream<Item = Result<Bytes, axum::Error>> + Send>>,
    text: String,
}

/// A server-sent event.
#[derive(Debug, Default, PartialEq)]
struct Sent {
    id: String,
    event: String,
    data: Option<Value>,
}

impl Reading {
    async fn open(api: &Api, token: &str, accept: &str, query: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(format!("/v1/events?{query}"))
            .header("authorization", format!("Bearer {token}"))
            .header("accept", accept);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        if parts.status != 200 {
            panic!("{}: {:?}", parts.status, axum::body::to_bytes(body, 100_000).await);
        }
        Self { headers: parts.headers, body: Box::pin(body.into_data_stream()), text: String::new() }
    }

    /// What stands before the next `end`; `None` when the stream is over.
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some((piece, rest)) = self.text.split_once(end) {
                let (piece, rest) = (piece.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(piece);
            }
            let chunk = timeout(SOON, self.body.next()).await.expect("nothing came")?;
            self.text += std::str::from_utf8(&chunk.expect("the stream broke off")).unwrap();
        }
    }

    /// The next block of server-sent events that is no comment and no setting.
    async fn sent(&mut self) -> Option<Sent> {
        loop {
            let block = self.until("\n\n").await?;
            let mut sent = Sent::default();
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("id", id)) => sent.id = id.to_owned(),
                    Some(("event", event)) => sent.event = event.to_owned(),
                    Some(("data", data)) => sent.data = Some(serde_json::from_str(data).unwrap()),
                    Some(("retry", _)) => {}
                    _ => assert_eq!(line, ":"),
                }
            }
            if sent != Sent::default() {
                return Some(sent);
            }
        }
    }

    /// The next event, in lines.
    async fn line(&mut self) -> Option<Value> {
        loop {
            let line = self.until("\n").await?;
            if !line.is_empty() {
                return Some(serde_json::from_str(&line).unwrap());
            }
        }
    }

    /// All lines up to the end.
    async fn lines(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(line) = self.line().await {
            all.push(line);
        }
        all
    }
}

/// The tenant's events as the library gives them.
async fn in_log(world: &World, tenant: TenantId) -> Vec<Value> {
    let events = world.log.read_tenant(tenant, 0, 10_000).await.unwrap();
    events.iter().map(|event| serde_json::to_value(CloudEvent::of(event)).unwrap()).collect()
}

fn settings(events: EventSettings) -> Settings {
    Settings { events, ..Settings::default() }
}

fn cursor(position: i64) -> String {
    Cursor { partition: 0, position }.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_reads_its_own_events_in_order_in_both_forms_and_an_operator_reads_all() {
    let mut world = World::new(11).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let project = world.project(tenant).await;
    world.project(other).await;
    world.card(tenant, project, "First").await;
    let api = Api::start(&world).await;
    let wanted = in_log(&world, tenant).await;
    assert!(wanted.len() >= 4);
    let lines = Reading::open(&api, &api.owner(tenant), LINES, "follow=false", None).await;
    assert_eq!(lines.headers["content-type"], LINES);
    assert_eq!(lines.lines().await, wanted);

    let mut sse = Reading::open(&api, &api.owner(tenant), SSE, "follow=false", None).await;
    assert_eq!(sse.headers["content-type"], SSE);
    for event in &wanted {
        let sent = sse.sent().await.unwrap();
        assert_eq!(
            (sent.id.as_str(), sent.event.as_str()),
            (event["cursor"].as_str().unwrap(), event["type"].as_str().unwrap())
        );
        assert_eq!(sent.data.as_ref(), Some(event));
    }
    // What comes last is no event, at most a mark.
    while let Some(sent) = sse.sent().await {
        assert_eq!(sent.data, None);
    }

    let operator = api.token(None, time::Duration::HOUR);
    let all = Reading::open(&api, &operator, LINES, "follow=false", None).await.lines().await;
    let positions: Vec<_> =
        all.iter().map(|event| event["position"].as_str().unwrap().parse::<i64>().unwrap()).collect();
    assert_eq!(positions, (1..=world.position).collect::<Vec<_>>());
    let own: Vec<_> = all.into_iter().filter(|event| event["tenant"] == tenant.to_string()).collect();
    assert_eq!(own, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_again_goes_on_where_it_was() {
    let mut world = World::new(12).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let api = Api::start(&world).await;
    let wanted = in_log(&world, tenant).await;
    let token = api.owner(tenant);
    for seen in 0..wanted.len() {
        let at =
            seen.checked_sub(1).map_or_else(|| cursor(0), |last| wanted[last]["cursor"].as_str().unwrap().to_owned());
        let position = seen.checked_sub(1).map_or("0", |last| wanted[last]["position"].as_str().unwrap()).to_owned();
        for (query, last) in [
            (format!("follow=false&after={at}"), None),
            (format!("follow=false&after={position}"), None),
            // The header wins, whatever the address says.
            ("follow=false&after=0".to_owned(), Some(at.as_str())),
            (format!("follow=false&after={}", cursor(world.position)), Some(position.as_str())),
        ] {
            let lines = Reading::open(&api, &token, LINES, &query, last).await.lines().await;
            assert_eq!(lines, wanted[seen..], "{query} {last:?}");
        }
    }
    let mut live = Reading::open(&api, &token, SSE, &format!("after={}", cursor(world.position)), None).await;
    let card = world.card(tenant, project, "Later").await;
    let sent = live.sent().await.unwrap();
    assert_eq!((sent.event.as_str(), sent.id), ("CardCreated", cursor(world.position)));
    assert_eq!(sent.data.unwrap()["subject"], card.uuid().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_other_types_are_left_out_and_the_cursor_still_moves_past_them() {
    let mut world = World::new(13).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let heartbeat = Duration::from_millis(50);
    let api = Api::with(&world, settings(EventSettings { heartbeat, ..EventSettings::default() })).await;
    let mut live = Reading::open(&api, &api.owner(tenant), SSE, "types=CardCreated,%20CardMoved", None).await;
    assert_eq!(live.sent().await.unwrap().event, "CardCreated");
    world.move_card(tenant, card, "ready").await;
    assert_eq!(live.sent().await.unwrap().event, "CardMoved");
    // Nothing of what happens now is for this client: others' events, and those of other types.
    let marked = tokio::spawn(async move { live.sent().await.unwrap() });
    while !marked.is_finished() {
        world.project(other).await;
        world.rename_project(tenant, project, &format!("Renamed {}", world.position)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mark = marked.await.unwrap();
    assert_eq!((mark.event.as_str(), mark.data), ("", None));
    let at: Cursor = mark.id.parse().unwrap();
    assert!(at.position > 5 && at.position <= world.position, "{at:?}");
    // Resuming there misses nothing.
    world.move_card(tenant, card, "backlog").await;
    let mut again = Reading::open(&api, &api.owner(tenant), SSE, "types=CardMoved", Some(&mark.id)).await;
    let sent = again.sent().await.unwrap();
    assert_eq!(sent.id, cursor(world.position));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_answered_is_refused_and_says_why() {
    let mut world = World::new(14).await;
    let tenant = world.tenant().await;
    let api = Api::start(&world).await;
    let (owner, operator) = (api.owner(tenant), api.token(None, time::Duration::HOUR));
    let expired = api.token(Some(tenant), time::Duration::seconds(-60));
    let ahead = format!("after={}", cursor(world.position + 1));
    let cases = [
        (None, SSE, "", 401, "token_missing"),
        (Some("nonsense"), SSE, "", 401, "token_malformed"),
        (Some(expired.as_str()), SSE, "", 401, "token_expired"),
        (Some(&owner), "application/json", "", 406, "not_acceptable"),
        (Some(&owner), SSE, "after=x", 400, "cursor_invalid"),
        (Some(&owner), SSE, "after=", 400, "cursor_invalid"),
        (Some(&owner), SSE, "after=-1", 400, "cursor_invalid"),
        (Some(&owner), SSE, "after=99999999999999999999", 400, "cursor_invalid"),
        (Some(&owner), SSE, "after=p7z1", 400, "cursor_invalid"),
        (Some(&owner), SSE, &ahead, 400, "cursor_ahead"),
        (Some(&owner), SSE, "types=", 400, "types_unknown"),
        (Some(&owner), SSE, "types=CardMoved,cardmoved,Nothing", 400, "types_unknown"),
        (Some(&owner), SSE, "type=CardMoved", 400, "parameter_unknown"),
        (Some(&owner), SSE, "after=0&after=1", 400, "parameter_repeated"),
        (Some(&owner), SSE, "follow=maybe", 400, "follow_invalid"),
        (Some(&owner), SSE, "partition=0", 400, "partition_unexpected"),
        (Some(&operator), SSE, "partition=1", 400, "partition_unknown"),
        (Some(&operator), SSE, "partition=-1", 400, "partition_unknown"),
        (Some(&operator), SSE, "partition=0&after=p1z1", 400, "cursor_invalid"),
    ];
    for (token, accept, query, status, code) in cases {
        let mut request = Request::get(format!("/v1/events?{query}")).header("accept", accept);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{query}: {}", answer.body);
        assert_eq!(answer.kind, "application/problem+json");
        if query.contains("Nothing") {
            assert_eq!(answer.body["unknown"], json!(["Nothing", "cardmoved"]));
        }
    }
    let post = Request::post("/v1/events").body(Body::empty()).unwrap();
    assert_eq!(api.send(post).await.body["code"], "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_stream_gives_signs_of_life_that_say_nothing() {
    let mut world = World::new(15).await;
    let tenant = world.tenant().await;
    let heartbeat = Duration::from_millis(20);
    let api = Api::with(&world, settings(EventSettings { heartbeat, ..EventSettings::default() })).await;
    let query = format!("after={}", cursor(world.position));
    let mut sse = Reading::open(&api, &api.owner(tenant), SSE, &query, None).await;
    assert_eq!(sse.until("\n\n").await.unwrap(), "retry: 1000");
    for _ in 0..3 {
        assert_eq!(sse.until("\n\n").await.unwrap(), ":");
    }
    let mut lines = Reading::open(&api, &api.owner(tenant), LINES, &query, None).await;
    for _ in 0..3 {
        assert_eq!(lines.until("\n").await.unwrap(), "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_token_and_with_the_process() {
    let mut world = World::new(16).await;
    let tenant = world.tenant().await;
    let api = Api::start(&world).await;
    // The leeway for clocks that differ is what is left of this token.
    let brief = api.token(Some(tenant), time::Duration::seconds(-3));
    let mut short = Reading::open(&api, &brief, LINES, "", None).await;
    assert_eq!(short.line().await.unwrap()["type"], "TenantCreated");
    assert_eq!(short.line().await, None);
    let mut long = Reading::open(&api, &api.owner(tenant), LINES, "", None).await;
    assert_eq!(long.line().await.unwrap()["type"], "TenantCreated");
    api.shutdown.cancel();
    assert_eq!(long.line().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_holds_up_nobody_and_is_cut_and_one_that_ends_early_is_told() {
    let mut world = World::new(17).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let text = "long ".repeat(2_000);
    for _ in 0..60 {
        let card = world.card(tenant, project, "Card").await;
        let comment = domain::id::CommentId::from_uuid(world.uuid());
        let comment = domain::card::CardCommand::Comment { comment, text: domain::PersonalText::plain(&text) };
        world.card_act(tenant, card, comment).await;
    }
    let events =
        EventSettings { streams_per_tenant: 2, stalled: Duration::from_millis(200), ..EventSettings::default() };
    let api = Api::with(&world, settings(events)).await;
    let token = api.owner(tenant);
    let idle = Reading::open(&api, &token, LINES, "follow=false", None).await;
    // Others are served meanwhile.
    let wanted = in_log(&world, tenant).await;
    assert_eq!(Reading::open(&api, &token, LINES, "follow=false", None).await.lines().await, wanted);
    let full = || async {
        let request = Request::get("/v1/events?follow=false").header("authorization", format!("Bearer {token}"));
        let response = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        response.status() == 429
    };
    let held = Reading::open(&api, &token, LINES, "", None).await;
    crate::eventually("there are no more than two places", &full).await;
    // The place of the one that takes nothing becomes free, then the other's.
    crate::eventually("the idle one is cut", || async { !full().await }).await;
    drop(held);
    // What it finds when it reads on is not taken for the whole.
    let mut body = idle.body;
    let mut broke_off = false;
    while let Some(chunk) = timeout(SOON, body.next()).await.unwrap() {
        broke_off |= chunk.is_err();
    }
    assert!(broke_off);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_and_without_a_bus_what_another_process_appends_is_seen() {
    let mut world = World::new(18).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let nats = Nats::start().await;
    // Logs of their own, so that no append is handed over within the process.
    let settings = outbox::LogSettings { url: world.database.url.clone(), max_connections: 4, notify: false };
    for bus in [Some(nats.bus().await), None] {
        let log = outbox::Log::connect(&settings).await.unwrap();
        let relayed = bus.clone();
        let stop = tokio_util::sync::CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        if let Some(bus) = relayed {
            tokio::spawn(outbox::relay::run(world.log.clone(), bus, 0, uuid::Uuid::from_u128(1), stop.clone()));
        }
        let tail = outbox::tail::Tail::new(log, bus);
        let mut follower = tail.follow(outbox::tail::Scope::Tenant(tenant), world.position).unwrap();
        for round in 0..5 {
            world.rename_project(tenant, project, &format!("Project {} {round}", world.position)).await;
            let page = timeout(SOON, follower.next()).await.unwrap().unwrap();
            assert_eq!(page.iter().map(|event| event.position).collect::<Vec<_>>(), [world.position]);
        }
    }
}
