//! What a process manager wants done, in the form in which it waits to be dispatched.

use domain::card::RunResult;
use domain::id::{CardId, CommandId, EventId, RunId};
use domain::run::{RunCommand, Task};
use domain::{Actor, TenantId};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::control::Origin;

/// A command to be. Stored as JSON in `work.outgoing` for moments, or for as long as the database of facts is away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Outgoing {
    /// Bring the run into being.
    QueueRun {
        /// The run.
        run: RunId,
        /// What to do.
        task: Box<Task>,
        /// Who asked for it.
        requested_by: Actor,
    },
    /// Tell the card how its run ended.
    FinishCard {
        /// The card.
        card: CardId,
        /// The run.
        run: RunId,
        /// How.
        result: RunResult,
    },
}

/// A command with what it follows from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Letter {
    /// Whose it is.
    pub(crate) tenant: TenantId,
    /// Derived from the event and the step.
    pub(crate) command: CommandId,
    /// What is to be done.
    pub(crate) order: Outgoing,
    /// The event that it follows from.
    pub(crate) origin: Origin,
}

impl Outgoing {
    /// As the dispatcher takes it.
    pub(crate) fn into_order(self) -> command_api::Order {
        match self {
            Self::QueueRun { run, task, requested_by } => {
                command_api::Order::Run { run, command: RunCommand::Queue { task, requested_by } }
            }
            Self::FinishCard { card, run, result } => command_api::Order::FinishCard { card, run, result },
        }
    }
}

/// Stores a letter in the transaction of `connection`. The same command once more changes nothing.
pub(crate) async fn post(connection: &mut PgConnection, letter: &Letter) -> Result<(), sqlx::Error> {
    let order = serde_json::to_string(&letter.order).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "INSERT INTO work.outgoing (tenant, command, \"order\", correlation, causation, traceparent)
         VALUES ($1, $2, $3::json, $4, $5, $6) ON CONFLICT (command) DO NOTHING",
    )
    .bind(letter.tenant.uuid())
    .bind(letter.command.uuid())
    .bind(order)
    .bind(letter.origin.correlation)
    .bind(letter.origin.causation.map(EventId::uuid))
    .bind(letter.origin.traceparent.as_deref())
    .execute(connection)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::PersonalText;
    use uuid::Uuid;

    #[test]
    fn an_order_survives_its_json() {
        let order = Outgoing::FinishCard {
            card: CardId::from_uuid(Uuid::from_u128(1)),
            run: RunId::from_uuid(Uuid::from_u128(2)),
            result: RunResult::Cancelled { reason: Some(PersonalText::plain("enough")) },
        };
        let json = serde_json::to_string(&order).unwrap();
        assert!(json.contains(r#""do":"finish_card""#), "{json}");
        assert_eq!(serde_json::from_str::<Outgoing>(&json).unwrap(), order);
    }
}
