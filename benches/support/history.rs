//! Events to append and to read.

use domain::card::{CardCreated, CardEvent, CardMoved, Rank};
use domain::id::{CommandId, EventId};
use domain::project::{ExecutionPolicy, Lanes, ProjectCreated, ProjectEvent, Repository};
use domain::tenant::{TenantCreated, TenantEvent, TenantRenamed};
use domain::value::{Branch, LaneKey, Name, RepositoryUrl, Text, Title};
use domain::workspace::{WorkspaceCreated, WorkspaceEvent};
use domain::{Actor, Event, ProjectId, TenantId, WorkspaceId};
use futures::StreamExt as _;
use outbox::{Append, Log, NewEvent, Verdict};
use schemas::Metadata;
use schemas::evidence::Hash;
use time::OffsetDateTime;
use uuid::Uuid;

/// Events of each card: it is created, and then moved about.
pub(crate) const EVENTS_A_CARD: usize = 10;
/// Cards of each tenant, all on one board.
const CARDS_A_TENANT: usize = 1_000;

/// A first append to a new stream.
pub(crate) fn append<E: Event>(tenant: TenantId, aggregate_type: &'static str, stream: Uuid, events: &[E]) -> Append {
    let mut fingerprint = [0; 32];
    fingerprint[..16].copy_from_slice(stream.as_bytes());
    let new = |event| NewEvent::of(EventId::from_uuid(Uuid::now_v7()), event).unwrap();
    Append {
        metadata: Metadata {
            tenant,
            actor: Actor::System("bench".into()),
            command: CommandId::from_uuid(Uuid::now_v7()),
            correlation: Uuid::now_v7(),
            causation: None,
            traceparent: None,
            occurred_at: OffsetDateTime::now_utc(),
        },
        fingerprint,
        aggregate_type,
        stream,
        expected_version: 0,
        expected_chain: Hash::ZERO,
        events: events.iter().map(new).collect(),
    }
}

/// The first events of a new stream, `count` of them, of about 300 bytes each.
pub(crate) fn renames(tenant: TenantId, count: usize) -> Append {
    let event = TenantEvent::Renamed(TenantRenamed { name: Name::new(&"x".repeat(190)).unwrap() });
    append(tenant, "tenant", Uuid::now_v7(), &vec![event; count])
}

/// Fills the log with tenants, their workspaces, projects and cards, until it holds `events`. How many it holds then.
pub(crate) async fn fill(log: &Log, events: usize) -> usize {
    let cards = events / EVENTS_A_CARD;
    let mut total = 0;
    let mut appends = Vec::new();
    for first in (0..cards).step_by(CARDS_A_TENANT) {
        let (tenant, workspace, project) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
        let of = TenantId::from_uuid(tenant);
        appends.push(append(of, "tenant", tenant, &[TenantEvent::Created(TenantCreated { name: name("Acme") })]));
        let created = WorkspaceEvent::Created(WorkspaceCreated { name: name("Web") });
        appends.push(append(of, "workspace", workspace, &[created]));
        appends.push(append(of, "project", project, &[project_created(WorkspaceId::from_uuid(workspace))]));
        for number in first..(first + CARDS_A_TENANT).min(cards) {
            appends.push(append(of, "card", Uuid::now_v7(), &card(ProjectId::from_uuid(project), number)));
        }
        total += appends.iter().map(|append| append.events.len()).sum::<usize>();
        let stored = futures::stream::iter(appends.drain(..).map(|append| log.append(append))).buffer_unordered(256);
        stored.for_each(async |verdict| assert!(matches!(verdict.unwrap(), Verdict::Stored(_)))).await;
    }
    total
}

/// Fills the log with the cards of one tenant, until it has about `events`.
pub(crate) async fn fill_tenant(log: &Log, events: usize) -> TenantId {
    let (tenant, workspace, project) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let of = TenantId::from_uuid(tenant);
    let first = [
        append(of, "tenant", tenant, &[TenantEvent::Created(TenantCreated { name: name("Acme") })]),
        append(of, "project", project, &[project_created(WorkspaceId::from_uuid(workspace))]),
    ];
    let cards = (0..events / EVENTS_A_CARD)
        .map(|number| append(of, "card", Uuid::now_v7(), &card(ProjectId::from_uuid(project), number)));
    let stored =
        futures::stream::iter(first.into_iter().chain(cards).map(|append| log.append(append))).buffer_unordered(256);
    stored.for_each(async |verdict| assert!(matches!(verdict.unwrap(), Verdict::Stored(_)))).await;
    of
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn lane(key: &str) -> LaneKey {
    LaneKey::new(key).unwrap()
}

fn project_created(workspace: WorkspaceId) -> ProjectEvent {
    ProjectEvent::Created(ProjectCreated {
        workspace,
        name: name("Shop"),
        repository: Repository {
            url: RepositoryUrl::new("https://git.example/acme/shop.git").unwrap(),
            default_branch: Branch::new("main").unwrap(),
            credential: None,
        },
        lanes: Lanes::default(),
        policy: ExecutionPolicy::default(),
        model: None,
    })
}

fn card(project: ProjectId, number: usize) -> Vec<CardEvent> {
    let rank = Rank::end(OffsetDateTime::now_utc());
    let created = CardEvent::Created(CardCreated {
        project,
        title: Title::new(&format!("Card {number}: prices are rounded wrong")).unwrap(),
        description: Text::new("description", &"What is to be done, in some words. ".repeat(4)).unwrap(),
        lane: lane("backlog"),
        rank: rank.clone(),
    });
    let lanes = ["backlog", "ready", "review"];
    let moved = |turn: usize| {
        CardEvent::Moved(CardMoved {
            from: lane(lanes[turn % 3]),
            to: lane(lanes[(turn + 1) % 3]),
            rank: rank.clone(),
            done: false,
        })
    };
    std::iter::once(created).chain((0..EVENTS_A_CARD - 1).map(moved)).collect()
}
