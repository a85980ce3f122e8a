//! The same commands through the stock repository of `postgres-es` and through ours leave the same events.

use cqrs_es::{Aggregate, AggregateError, CqrsFramework, EventStore};
use domain::PersonalText;
use domain::card::{Card, CardCommand, Rank};
use domain::id::{CommentId, ProjectId};
use domain::project::Lanes;
use domain::tenant::{Tenant, TenantCommand};
use domain::value::{LaneKey, Text, Title};
use outbox::store::LogStore;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use sqlx::Row as _;
use uuid::Uuid;

use crate::support::{Database, connect, metadata, name, rename, tenant, uuid};

const STOCK_TABLE: &str = "CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, \
    sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL, event_version text NOT NULL, \
    payload json NOT NULL, metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence))";
const SEQUENCES: usize = 25;

/// Type, version, payload, sequence.
type Stored = (String, String, Value, i64);

fn tenant_command() -> impl Strategy<Value = TenantCommand> {
    prop_oneof![
        "[a-c]{1,2}".prop_map(|text| TenantCommand::Create { name: name(&text) }),
        "[a-c]{1,2}".prop_map(|text| rename(&text)),
        "[a-c]{1,2}".prop_map(|text| TenantCommand::Suspend { reason: PersonalText::plain(text) }),
        Just(TenantCommand::Resume),
    ]
}

fn card_command() -> impl Strategy<Value = CardCommand> {
    let rank =
        || (0_i64..3).prop_map(|second| Rank::end(time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second)));
    let lane =
        || prop_oneof![Just("backlog"), Just("ready"), Just("nowhere")].prop_map(|key| LaneKey::new(key).unwrap());
    let text = || "\\PC{0,20}".prop_map(|text| Text::new("text", &text).unwrap());
    let title = || "[a-z\"\\\\é]{1,5}".prop_map(|text| Title::new(&text).unwrap());
    let reason = || "[a-c]{1,2}".prop_map(PersonalText::plain);
    prop_oneof![
        3 => (title(), text(), rank(), proptest::option::of(lane())).prop_map(|(title, description, rank, lane)| {
            let project = ProjectId::from_uuid(Uuid::from_u128(7));
            CardCommand::Create { project, title, description, lane, rank, lanes: Some(Lanes::default()) }
        }),
        2 => (proptest::option::of(title()), proptest::option::of(text()))
            .prop_map(|(title, description)| CardCommand::Edit { title, description }),
        2 => (lane(), rank()).prop_map(|(lane, rank)| CardCommand::Move { lane, rank, lanes: Lanes::default() }),
        1 => rank().prop_map(|rank| CardCommand::Rank { rank }),
        1 => (reason(), rank()).prop_map(|(reason, rank)| CardCommand::Block { reason, lanes: Lanes::default(), rank }),
        1 => rank().prop_map(|rank| CardCommand::Unblock { lanes: Lanes::default(), rank }),
        1 => reason().prop_map(|text| CardCommand::Comment { comment: CommentId::from_uuid(Uuid::from_u128(9)), text }),
        1 => Just(CardCommand::Archive),
    ]
}

/// What came of a command, comparable over both.
async fn answer<A: Aggregate, S: EventStore<A>>(store: &CqrsFramework<A, S>, id: &str, command: A::Command) -> String {
    match store.execute(id, command).await {
        Ok(()) => "done".to_owned(),
        Err(AggregateError::UserError(refusal)) => refusal.to_string(),
        Err(error) => panic!("{error}"),
    }
}

async fn same<A, C>(commands: impl Strategy<Value = Vec<C>>)
where
    A: Aggregate<Services = (), Event = <A as domain::Decider>::Event, Command = C> + domain::Decider<Command = C>,
    C: Clone + std::fmt::Debug,
{
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let mut admin = database.admin().await;
    sqlx::raw_sql(STOCK_TABLE).execute(&mut admin).await.unwrap();
    let pool = postgres_es::default_postgress_pool(&database.url).await;
    let stock = postgres_es::postgres_cqrs::<A>(pool, vec![], ());
    let tenant = tenant();
    // Always the same sequences: a failure can be seen again.
    let mut runner = TestRunner::deterministic();
    let mut written = 0;
    for _ in 0..SEQUENCES {
        let id = uuid();
        for command in commands.new_tree(&mut runner).unwrap().current() {
            let ours = CqrsFramework::<A, _>::new(LogStore::new(log.clone(), metadata(tenant)), vec![], ());
            let text = id.to_string();
            let (expected, got) =
                (answer(&stock, &text, command.clone()).await, answer(&ours, &text, command.clone()).await);
            assert_eq!(got, expected, "{command:?}");
        }
        let expected: Vec<Stored> = sqlx::query(
            "SELECT event_type, event_version, payload, sequence FROM events WHERE aggregate_id = $1 ORDER BY sequence",
        )
        .bind(id.to_string())
        .fetch_all(&mut admin)
        .await
        .unwrap()
        .iter()
        .map(|row| {
            // The stock repository stores the whole enum, `{"Variant": {…}}`; ours the event's fields.
            let Value::Object(event) = row.get::<Value, _>("payload") else { panic!("not an object") };
            let payload = event.into_iter().next().unwrap().1;
            (row.get("event_type"), row.get("event_version"), payload, row.get("sequence"))
        })
        .collect();
        let got: Vec<Stored> = log
            .read_stream(tenant, id, 0, 1_000)
            .await
            .unwrap()
            .iter()
            .map(|event| {
                let payload = serde_json::from_str(event.payload.get()).unwrap();
                (event.event_type.clone(), event.event_version.to_string(), payload, event.version)
            })
            .collect();
        assert_eq!(got, expected);
        written += got.len();
    }
    assert!(written > SEQUENCES * 3, "too little was written to compare anything: {written}");
}

#[tokio::test]
async fn tenants() {
    same::<Tenant, _>(proptest::collection::vec(tenant_command(), 1..30)).await;
}

#[tokio::test]
async fn cards() {
    same::<Card, _>(proptest::collection::vec(card_command(), 1..30)).await;
}
