//! How environments follow the log.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::DecodeError;
use domain::environment::{Driver, EnvironmentEvent, EnvironmentRequested};
use sqlx::PgConnection;
use uuid::Uuid;

use super::row::EnvironmentRow;
use crate::fact::{Fact, What, small};
use crate::model::Fold;
use crate::table::{Rows, Write};

/// The rows of environments in memory.
pub(super) struct Tables {
    environments: Rows<EnvironmentRow>,
}

impl Tables {
    pub(super) fn new(whole: bool) -> Self {
        Self { environments: Rows::new(whole) }
    }
}

#[async_trait]
impl Fold for Tables {
    async fn load(&mut self, conn: &mut PgConnection, facts: &[Fact<'_>]) -> Result<(), sqlx::Error> {
        let theirs = facts.iter().filter(|fact| matches!(fact.what, What::Environment(_)));
        self.environments.load(conn, theirs.map(Fact::key)).await
    }

    fn take(&mut self, fact: &Fact<'_>, topics: &mut BTreeSet<Uuid>) -> Result<(), DecodeError> {
        let What::Environment(event) = &fact.what else { return Ok(()) };
        if let EnvironmentEvent::Requested(asked) = event {
            self.environments.put(requested(fact, asked));
        }
        let Some(row) = self.environments.change(fact.key()) else { return Ok(()) };
        evolve(row, fact, event);
        topics.extend([row.environment, row.project]);
        Ok(())
    }

    fn drain(&mut self) -> Result<Vec<Write>, sqlx::Error> {
        let mut all = Vec::new();
        self.environments.drain(&mut all)?;
        Ok(all)
    }

    fn len(&self) -> usize {
        self.environments.len()
    }
}

fn evolve(row: &mut EnvironmentRow, fact: &Fact<'_>, event: &EnvironmentEvent) {
    let at = Some(fact.at());
    let state = match event {
        EnvironmentEvent::Requested(_) => "requested",
        EnvironmentEvent::Provisioning(_) => {
            row.provisioning_at = at;
            "provisioning"
        }
        EnvironmentEvent::Ready(ready) => {
            row.ready_at = at;
            row.confinement.clone_from(&ready.confinement);
            "ready"
        }
        EnvironmentEvent::Stopping(_) => {
            row.stopping_at = at;
            "stopping"
        }
        EnvironmentEvent::Stopped(_) => {
            row.ended_at = at;
            "stopped"
        }
        EnvironmentEvent::Failed(failed) => {
            row.ended_at = at;
            row.failure = Some(failed.reason.to_string());
            "failed"
        }
    };
    state.clone_into(&mut row.state);
    (row.version, row.position) = (fact.event.version, fact.event.position);
}

fn requested(fact: &Fact<'_>, asked: &EnvironmentRequested) -> EnvironmentRow {
    EnvironmentRow {
        tenant: fact.tenant(),
        environment: fact.event.stream,
        project: asked.purpose.project.uuid(),
        run: asked.purpose.run.uuid(),
        attempt: small(asked.purpose.attempt),
        driver: driver(asked.driver).to_owned(),
        state: String::new(),
        confinement: vec![],
        failure: None,
        requested_at: fact.at(),
        provisioning_at: None,
        ready_at: None,
        stopping_at: None,
        ended_at: None,
        version: 0,
        position: 0,
    }
}

const fn driver(driver: Driver) -> &'static str {
    match driver {
        Driver::Local => "local",
    }
}
