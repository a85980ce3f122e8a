//! Walks a card's history.

use std::collections::BTreeMap;

use domain::card::Card;
use domain::{CardId, Decider as _, TenantId};
use outbox::evidence::{self, Inclusion};
use outbox::{Log, LogError};
use projections::card_history;
use schemas::Cursor;
use serde::Serialize;
use utoipa::ToSchema;

use super::moment::{Moment, NoMoment};
use super::step::{CardAt, Step};

use crate::snapshot::{Behind, Snapshot};
use crate::state::Reading;

/// Events of a card that one read takes.
const READ: i64 = 1_000;

/// Which part of a history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// Only what stands after this.
    pub(crate) after: Option<Cursor>,
    /// Only what had happened by then; until now when absent.
    pub(crate) as_of: Option<Moment>,
    /// Steps, at most.
    pub(crate) limit: i64,
}

/// A part of a card's history.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Replay {
    /// The card, `crd_…`
    #[schema(value_type = String)]
    pub(crate) card: CardId,
    /// The moment as of which this is.
    #[schema(value_type = String)]
    pub(crate) as_of: Cursor,
    /// What happened, in order.
    pub(crate) steps: Vec<Step>,
    /// Give it as `after` for what follows; null when this is the end.
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<Cursor>,
    /// The newest signed checkpoint of the tenant's log (a C2SP signed note), which the proofs of the steps lead to.
    pub(crate) checkpoint: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// There is no such moment.
    #[error(transparent)]
    Moment(#[from] NoMoment),
    /// `after` is of another log.
    #[error("`after` is not a cursor that this API has given out")]
    After,
    /// The read model that says which events concern the card is not that far yet.
    #[error("the history of this card has not got so far yet; ask again")]
    NotYet(Cursor),
    /// The log or the read model failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An event makes no sense to this release.
    #[error(transparent)]
    Decode(#[from] domain::DecodeError),
}

impl From<sqlx::Error> for Unanswered {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

/// A part of a card's history; `None` when the tenant has no such card, or had none at that moment.
///
/// # Errors
/// Why there is no answer.
pub(crate) async fn walk(
    reading: &Reading,
    tenant: TenantId,
    card: CardId,
    page: Page,
) -> Result<Option<Replay>, Unanswered> {
    let log = &reading.log;
    let partition = log.partition_of(tenant);
    let upto = Moment::position(page.as_of, log, tenant).await?;
    let after = match page.after {
        Some(cursor) if cursor.partition != partition => return Err(Unanswered::After),
        after => after.map_or(0, |cursor| cursor.position),
    };
    // Which events concern the card says the read model; what they say, the log.
    let mut snapshot =
        Snapshot::reached(reading, tenant, card_history::NAME, upto).await.map_err(|error| match error {
            Behind::NotYet(reached) => Unanswered::NotYet(reached),
            Behind::Log(error) => error.into(),
        })?;
    let mut positions = card_history::positions(snapshot.conn(), tenant, card, after, upto, page.limit + 1).await?;
    drop(snapshot);
    let more = i64::try_from(positions.len()).is_ok_and(|count| count > page.limit);
    if more {
        positions.pop();
    }
    let states = States::load(log, tenant, card, positions.last().copied().unwrap_or(upto)).await?;
    if states.is_empty() {
        return Ok(None);
    }
    let events = log.read_at(tenant, &positions).await?;
    let (checkpoint, mut proofs) = proofs(log, tenant, &positions).await?;
    let steps: Vec<Step> = events
        .iter()
        .map(|event| Step::of(event, states.after(event.position), proofs.remove(&event.position)))
        .collect();
    let next = steps.last().filter(|_| more).map(|step| step.cursor);
    Ok(Some(Replay { card, as_of: Cursor { partition, position: upto }, steps, next, checkpoint }))
}

/// The tenant's newest checkpoint, and the proofs of those of the events at `positions` that it covers.
async fn proofs(
    log: &Log,
    tenant: TenantId,
    positions: &[i64],
) -> Result<(Option<String>, BTreeMap<i64, Inclusion>), Unanswered> {
    let mut tx = log.tenant_read(tenant).await?;
    let Some((size, note)) = evidence::checkpoint(&mut tx, tenant).await? else {
        return Ok((None, BTreeMap::new()));
    };
    let mut proofs = BTreeMap::new();
    for position in positions {
        if let Some(proof) = evidence::inclusion(&mut tx, tenant, *position, size).await? {
            proofs.insert(*position, proof);
        }
    }
    Ok((Some(note), proofs))
}

/// What the card was after each of its own events.
struct States(Vec<(i64, CardAt)>);

impl States {
    /// Folds the card's stream up to a position.
    async fn load(log: &Log, tenant: TenantId, card: CardId, upto: i64) -> Result<Self, Unanswered> {
        let (mut state, mut version, mut states) = (Card::default(), 0, Vec::new());
        loop {
            let page = log.read_stream(tenant, card.uuid(), version, READ).await?;
            let Some(last) = page.last() else { return Ok(Self(states)) };
            version = last.version;
            for event in &page {
                if event.position > upto {
                    return Ok(Self(states));
                }
                let Some(happened) = event.decode::<Card>()? else { return Ok(Self(Vec::new())) };
                state.evolve(&happened);
                states.extend(CardAt::of(&state).map(|at| (event.position, at)));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The state after the event at a position, when that is one of the card's own.
    fn after(&self, position: i64) -> Option<CardAt> {
        let found = self.0.binary_search_by_key(&position, |(at, _)| *at).ok()?;
        self.0.get(found).map(|(_, card)| card.clone())
    }
}
