//! One step of a card's history, as auditors see it.

use async_graphql::{ID, Object, SimpleObject};
use domain::card::Card;
use outbox::evidence::Inclusion;
use schemas::{Cursor, Metadata, Recorded};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::scalar::{self, int};

/// An event of the card, of a run of it or of a run's environment; who acted, what caused it, what the card was after it,
/// and what proves it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Step {
    /// Its place in the log; give it as `after` to go on behind it, or as `asOf` to see the card as it was then.
    #[schema(value_type = String)]
    pub(crate) cursor: Cursor,
    /// The event, `evt_…`
    pub(super) event: String,
    /// The event's name, such as `CardMoved`.
    #[serde(rename = "type")]
    pub(super) event_type: String,
    /// The version of the payload.
    pub(super) event_version: u16,
    /// What it happened to: `card`, `run` or `environment`.
    pub(super) aggregate: String,
    /// The aggregate's id as a bare UUID.
    #[schema(value_type = String, format = Uuid)]
    pub(super) stream: uuid::Uuid,
    /// Its place in the aggregate's stream, from 1.
    pub(super) version: i64,
    /// Who acted, such as `user:usr_…`, `agent:run_…` or `system:run-card`; decided by the credential.
    pub(super) actor: String,
    /// Why it happened.
    pub(super) cause: Cause,
    /// When it was decided, UTC.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(super) occurred_at: OffsetDateTime,
    /// When the log took it, UTC.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(super) recorded_at: OffsetDateTime,
    /// What happened, as the bytes that were stored and digested.
    #[schema(value_type = Object)]
    pub(super) payload: Box<RawValue>,
    /// The card after this step; absent when the step did not change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) card: Option<CardAt>,
    /// What proves it.
    pub(super) evidence: Evidence,
}

/// Why a step happened.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[graphql(name = "ReplayCause")]
pub(crate) struct Cause {
    /// The command that led to it, `cmd_…`
    pub(super) command: String,
    /// The same for everything that followed from one outside request.
    pub(super) correlation: String,
    /// The event that caused the command, `evt_…`; null when a person or a program outside asked for it.
    pub(super) causation: Option<String>,
    /// W3C trace context of the command, when it was traced.
    pub(super) traceparent: Option<String>,
}

impl Cause {
    /// Why an event happened.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            command: metadata.command.to_string(),
            correlation: metadata.correlation.to_string(),
            causation: metadata.causation.map(|id| id.to_string()),
            traceparent: metadata.traceparent.clone(),
        }
    }
}

/// A card as it was after a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, SimpleObject)]
#[graphql(name = "ReplayCard")]
pub(crate) struct CardAt {
    /// Its title.
    title: String,
    /// What is to be done.
    description: String,
    /// The key of its lane.
    lane: String,
    /// Its place in the lane.
    rank: String,
    /// The agent that runs it.
    agent: Option<String>,
    /// The cards it waits for, `crd_…`
    depends_on: Vec<String>,
    /// Whether something holds it up; what, says the event.
    blocked: bool,
    /// The run that is queued or under way, `run_…`
    active_run: Option<String>,
    /// Whether it is off the board.
    archived: bool,
}

/// What proves a step.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[graphql(name = "ReplayEvidence")]
pub(crate) struct Evidence {
    /// SHA-256 over the event's bytes in their fixed framing, hexadecimal.
    pub(super) digest: String,
    /// SHA-256 of the stream's chain before and the digest, hexadecimal.
    pub(super) chain: String,
    /// The proof that the event stands in the tenant's log under the newest checkpoint; absent while none covers it, some
    /// seconds after it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proof: Option<Proof>,
}

/// The proof that an event stands in the tenant's Merkle log (RFC 9162).
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[graphql(name = "ReplayProof")]
pub(crate) struct Proof {
    /// The event's leaf, from 0. The leaf is made of the digest.
    pub(super) index: String,
    /// The size of the tree, which a checkpoint signs.
    pub(super) tree_size: String,
    /// The hashes beside the way from the leaf to the root, from below, hexadecimal.
    pub(super) path: Vec<String>,
}

impl From<Inclusion> for Proof {
    fn from(inclusion: Inclusion) -> Self {
        Self {
            index: inclusion.index.to_string(),
            tree_size: inclusion.size.to_string(),
            path: inclusion.path.iter().map(ToString::to_string).collect(),
        }
    }
}

impl CardAt {
    /// `None` while there is no card.
    pub(super) fn of(card: &Card) -> Option<Self> {
        let known = card.known()?;
        Some(Self {
            title: known.title.to_string(),
            description: known.description.to_string(),
            lane: known.lane.to_string(),
            rank: known.rank.to_string(),
            agent: known.agent.as_ref().map(|agent| agent.name.to_string()),
            depends_on: known.depends_on.iter().map(ToString::to_string).collect(),
            blocked: known.blocked.is_some(),
            active_run: known.active_run.as_ref().map(|(run, _)| run.to_string()),
            archived: matches!(card, Card::Archived(_)),
        })
    }
}

impl Step {
    pub(super) fn of(event: &Recorded, card: Option<CardAt>, proof: Option<Inclusion>) -> Self {
        let metadata = &event.metadata;
        Self {
            cursor: Cursor { partition: event.partition, position: event.position },
            event: event.id.to_string(),
            event_type: event.event_type.clone(),
            event_version: event.event_version,
            aggregate: event.aggregate_type.clone(),
            stream: event.stream,
            version: event.version,
            actor: metadata.actor.to_string(),
            cause: Cause::of(metadata),
            occurred_at: metadata.occurred_at,
            recorded_at: event.recorded_at,
            payload: event.payload.clone(),
            card,
            evidence: Evidence {
                digest: event.digest.to_string(),
                chain: event.chain.to_string(),
                proof: proof.map(Proof::from),
            },
        }
    }
}

/// An event of the card, of a run of it or of a run's environment; who acted, what caused it, what the card was after it,
/// and what proves it.
#[Object(name = "ReplayStep")]
impl Step {
    /// Its place in the log.
    async fn cursor(&self) -> scalar::Cursor {
        scalar::Cursor(self.cursor)
    }

    /// The event, `evt_…`
    async fn event(&self) -> ID {
        ID(self.event.clone())
    }

    /// The event's name, such as `CardMoved`.
    async fn kind(&self) -> &str {
        &self.event_type
    }

    /// The version of the payload.
    async fn event_version(&self) -> i32 {
        self.event_version.into()
    }

    /// What it happened to: `card`, `run` or `environment`.
    async fn aggregate(&self) -> &str {
        &self.aggregate
    }

    /// The aggregate, such as `crd_…` or `run_…`
    async fn subject(&self) -> ID {
        scalar::aggregate(&self.aggregate, self.stream)
    }

    /// Its place in the aggregate's stream, from 1.
    async fn version(&self) -> i32 {
        int(self.version)
    }

    /// Who acted, such as `user:usr_…`, `agent:run_…` or `system:run-card`; decided by the credential.
    async fn actor(&self) -> &str {
        &self.actor
    }

    /// Why it happened.
    async fn cause(&self) -> &Cause {
        &self.cause
    }

    /// When it was decided.
    async fn occurred_at(&self) -> OffsetDateTime {
        self.occurred_at
    }

    /// When the log took it.
    async fn recorded_at(&self) -> OffsetDateTime {
        self.recorded_at
    }

    /// What happened, as JSON text, as it was stored and digested.
    async fn payload(&self) -> &str {
        self.payload.get()
    }

    /// The card after this step; null when the step did not change it.
    async fn card(&self) -> Option<&CardAt> {
        self.card.as_ref()
    }

    /// What proves it.
    async fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}
