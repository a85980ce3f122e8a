//! The shell of the process manager `run-card` (the decisions are in `domain::process::run_card`).
//!
//! It stores what is to follow from a page of events — commands, and changes of the job queue — in the transaction that
//! also moves its position; [`sender`] dispatches the commands afterwards. Nothing is lost between the two, and nothing
//! happens twice: a command's id derives from the event and the step. Never: a dispatch inside the transaction.

pub(crate) mod order;
pub(crate) mod sender;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use domain::card::Card;
use domain::id::{ProjectId, RunId};
use domain::process::run_card::{self, Reaction};
use domain::run::{Run, RunCommand, RunEvent};
use domain::{Decider as _, TenantId};
use outbox::consumer::{ApplyError, Consumer, Touched};
use outbox::{Log, crash};
use schemas::Recorded;
use sqlx::PgConnection;

use self::order::{Letter, Outgoing};
use crate::control::Origin;
use crate::ids;
use crate::jobs::queue::{self, NewJob};
use crate::jobs::wake::Wakes;

/// The durable identity of the process manager.
pub const RUN_CARD: &str = "run-card";

/// The consumer.
pub(crate) struct RunCard {
    log: Log,
    wakes: Arc<Wakes>,
}

impl RunCard {
    pub(crate) fn new(log: Log, wakes: Arc<Wakes>) -> Self {
        Self { log, wakes }
    }

    async fn on_run(&self, event: &Recorded) -> Result<Vec<Reaction>, ApplyError> {
        let Some(fact) = event.decode::<Run>()? else { return Ok(vec![]) };
        let run = RunId::from_uuid(event.stream);
        match &fact {
            RunEvent::Queued(queued) => Ok(run_card::on_run(run, &fact, &queued.task)),
            // The many events in the middle of a run have no consequence here: not worth a look at the log.
            RunEvent::Dispatched(_) | RunEvent::Started(_) | RunEvent::StepRecorded(_) | RunEvent::ModelCalled(_) => {
                Ok(vec![])
            }
            _ => {
                let state = self.log.load::<Run>(event.metadata.tenant, event.stream).await?.state;
                let task = state.task().ok_or_else(|| ApplyError::Other(format!("run {run} has no first event")))?;
                Ok(run_card::on_run(run, &fact, task))
            }
        }
    }

    async fn carry_out(tx: &mut PgConnection, event: &Recorded, reaction: Reaction) -> Result<(), ApplyError> {
        let tenant = event.metadata.tenant;
        match reaction {
            Reaction::Run { run, command } => {
                let RunCommand::Queue { task, requested_by } = *command else {
                    return Err(ApplyError::Other("the process manager asked a run for something new".to_owned()));
                };
                let order = Outgoing::QueueRun { run, task, requested_by };
                order::post(tx, &letter(event, "queue-run", order)).await?;
            }
            Reaction::FinishCard { card, run, result } => {
                let order = Outgoing::FinishCard { card, run, result };
                order::post(tx, &letter(event, "finish-card", order)).await?;
            }
            Reaction::Enqueue { run, project } => enqueue(tx, event, run, project).await?,
            Reaction::Requeue { run } => {
                let lost = match event.decode::<Run>()? {
                    Some(RunEvent::AttemptLost(lost)) => lost.attempt,
                    _ => return Err(ApplyError::Other("only a lost attempt is followed by another".to_owned())),
                };
                queue::requeue(tx, tenant, run, lost + 1, queue::backoff(lost + 1)).await?;
            }
            Reaction::Dequeue { run } => queue::dequeue(tx, tenant, run).await?,
        }
        Ok(())
    }
}

async fn enqueue(tx: &mut PgConnection, event: &Recorded, run: RunId, project: ProjectId) -> Result<(), sqlx::Error> {
    queue::enqueue(tx, event.metadata.tenant, &NewJob { run, project, origin: Origin::of(event) }).await
}

fn is_for_queue(reaction: &Reaction) -> bool {
    matches!(reaction, Reaction::Enqueue { .. } | Reaction::Requeue { .. } | Reaction::Dequeue { .. })
}

fn letter(event: &Recorded, step: &str, order: Outgoing) -> Letter {
    Letter {
        tenant: event.metadata.tenant,
        command: ids::of_reaction(event.id, step),
        order,
        origin: Origin::of(event),
    }
}

/// The run whose attempt or life an event has ended.
fn ended(event: &Recorded) -> Option<RunId> {
    let ends = matches!(
        event.event_type.as_str(),
        "RunAttemptLost" | "RunSucceeded" | "RunFailed" | "RunTimedOut" | "RunCancelled"
    );
    ends.then(|| RunId::from_uuid(event.stream))
}

#[async_trait]
impl Consumer for RunCard {
    fn name(&self) -> &'static str {
        RUN_CARD
    }

    async fn apply(&self, tx: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
        let mut planned = vec![];
        for event in page {
            let reactions = match event.aggregate_type.as_str() {
                Card::TYPE => {
                    let fact = event.decode::<Card>()?;
                    fact.map(|fact| run_card::on_card(&fact, &event.metadata.actor)).unwrap_or_default()
                }
                Run::TYPE => self.on_run(event).await?,
                _ => vec![],
            };
            planned.extend(reactions.into_iter().map(|reaction| (event, reaction)));
        }
        let queues = planned.iter().filter(|(_, reaction)| is_for_queue(reaction));
        let tenants: BTreeSet<TenantId> = queues.map(|(event, _)| event.metadata.tenant).collect();
        if !tenants.is_empty() {
            queue::lock(tx, &tenants.into_iter().collect::<Vec<_>>()).await?;
        }
        for (event, reaction) in planned {
            Self::carry_out(tx, event, reaction).await?;
        }
        crash::point("process.planned");
        Ok(Touched::default())
    }

    async fn committed(&self, page: &[Recorded]) {
        for run in page.iter().filter_map(ended) {
            self.wakes.run_ended(run);
        }
        if page.iter().any(|event| [Card::TYPE, Run::TYPE].contains(&event.aggregate_type.as_str())) {
            self.wakes.letters();
            self.wakes.jobs().await;
        }
    }

    async fn reset(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM work.outgoing").execute(&mut *tx).await?;
        queue::clear(tx).await
    }
}
