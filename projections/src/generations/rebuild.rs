//! Builds a model's next generation beside the one that serves, proves it equal, and switches; or switches back.

use std::time::Duration;

use outbox::{Log, LogError, consumer, migrate};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::build::Builder;
use super::compare::{Difference, difference};
use super::{Generation, create, discard, index, list};
use crate::Model;

/// Events that may be missing when the consumer's position is held: what they take is what its readers may be behind.
const NEAR: i64 = 500;
/// How long the generation that serves may stand still while it is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Why a model was not switched to another generation. The one that served goes on.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Somebody else builds the same generation.
    #[error("another process builds {0} at this moment")]
    Busy(String),
    /// What was built is not what serves.
    #[error("what was built differs from what serves: {0}")]
    Differs(Box<Difference>),
    /// There is nothing to go back to.
    #[error("there is no earlier generation to go back to")]
    NoEarlier,
    /// What serves stands still before the position that was built.
    #[error(
        "the generation that serves stands still at {0:?}, before what was built: run the projections, then try again"
    )]
    StandsStill(Vec<i64>),
}

/// What a rebuilder is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Events are applied; so many are, of so many.
    Apply {
        /// How many events are applied.
        done: i64,
        /// How many there are.
        of: i64,
    },
    /// Indexes are made.
    Index,
    /// What was built is compared with what serves.
    Prove,
    /// Readers are switched.
    Switch,
}

/// What has come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The generation that serves now.
    pub generation: i32,
    /// The generation that served before, kept.
    pub before: Option<i32>,
    /// The position at which readers were switched, by partition.
    pub positions: Vec<i64>,
    /// Whether both were compared at one position; not when none served, or the one that did had applied nothing.
    pub proven: bool,
    /// The difference that was accepted.
    pub difference: Option<Difference>,
}

/// Rebuilds one model.
pub struct Rebuilder<'a> {
    log: &'a Log,
    model: &'a Model,
    owner: PgConnection,
    /// Where comparing is done.
    other: PgConnection,
    told: &'a mut (dyn FnMut(Step) + Send),
}

impl<'a> Rebuilder<'a> {
    /// In the database of `log`, which is at `url` for a user that may act as its owner. `told` hears of each step.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn new(
        log: &'a Log,
        url: &str,
        model: &'a Model,
        told: &'a mut (dyn FnMut(Step) + Send),
    ) -> Result<Self, RebuildError> {
        let (owner, other) = (migrate::owner(url).await?, migrate::owner(url).await?);
        Ok(Self { log, model, owner, other, told })
    }

    /// Builds the next generation while the present one serves, proves them equal at one position, and switches.
    /// Takes up what an earlier call has left unfinished, unless it is to begin `anew`.
    ///
    /// # Errors
    /// Why not; the present generation goes on. [`RebuildError::Differs`] unless a difference is accepted.
    pub async fn rebuild(mut self, anew: bool, accept_difference: bool) -> Result<Built, RebuildError> {
        let next = self.begin(anew).await?;
        let mut builder = Builder::open(self.log, self.model, &next).await?;
        self.approach(&mut builder).await?;
        (self.told)(Step::Index);
        let mut tx = self.owner.begin().await?;
        index(&mut tx, self.model, &next.schema).await?;
        tx.commit().await?;
        let mut found = None;
        let proven = if let Some(serving) = self.serving().await?
            && self.align(&mut builder).await?
        {
            (self.told)(Step::Prove);
            found = self.compare(&mut builder, &serving.schema, &next.schema).await?;
            true
        } else {
            false
        };
        match found {
            Some(difference) if !accept_difference => Err(RebuildError::Differs(Box::new(difference))),
            difference => Ok(Built { proven, difference, ..self.switch(builder, &next).await? }),
        }
    }

    /// Brings the generation that served before up to date and switches back to it.
    ///
    /// # Errors
    /// Why not; the present generation goes on.
    pub async fn roll_back(mut self) -> Result<Built, RebuildError> {
        let all = list(&mut self.owner, self.model).await?;
        let earlier = all.into_iter().filter(|it| it.state == "retired" && it.code == self.model.code);
        let earlier = earlier.max_by_key(|it| it.since).ok_or(RebuildError::NoEarlier)?;
        let mut builder = Builder::open(self.log, self.model, &earlier).await?;
        self.approach(&mut builder).await?;
        self.switch(builder, &earlier).await
    }

    /// The generation to build.
    async fn begin(&mut self, anew: bool) -> Result<Generation, RebuildError> {
        let all = list(&mut self.owner, self.model).await?;
        let left = all.into_iter().find(|it| it.state == "building" && it.code == self.model.code);
        match left {
            Some(left) if !anew => return Ok(left),
            Some(left) => discard(&mut self.owner, &left).await?,
            None => {}
        }
        let mut tx = self.owner.begin().await?;
        let new = create(&mut tx, self.model, "building").await?;
        tx.commit().await?;
        Ok(new)
    }

    async fn serving(&mut self) -> Result<Option<Generation>, RebuildError> {
        let all = list(&mut self.owner, self.model).await?;
        Ok(all.into_iter().find(|it| it.state == "serving" && it.code == self.model.code))
    }

    /// Where what serves is, by partition.
    async fn served(&mut self) -> Result<Vec<i64>, RebuildError> {
        let mut positions = Vec::new();
        for partition in 0..self.log.partitions() {
            positions.push(consumer::position(&mut self.owner, self.model.consumer, partition).await?);
        }
        Ok(positions)
    }

    /// Builds until little is missing. Never goes beyond what serves, so that both can be compared, unless that has
    /// applied nothing at all: then to the end of the log.
    async fn approach(&mut self, builder: &mut Builder<'_>) -> Result<(), RebuildError> {
        loop {
            let mut targets = self.served().await?;
            if targets.iter().all(|position| *position == 0) {
                for (partition, target) in (0..).zip(&mut targets) {
                    *target = self.log.head(partition).await?;
                }
            }
            let missing: i64 = targets.iter().zip(builder.positions()).map(|(target, at)| (target - at).max(0)).sum();
            let of = targets.iter().sum();
            let told = &mut self.told;
            builder.run_to(&targets, &mut |done| told(Step::Apply { done, of })).await?;
            if missing <= NEAR {
                return Ok(());
            }
        }
    }

    /// Waits until what serves is where the builder is, or further. False when it has applied nothing at all.
    async fn align(&mut self, builder: &mut Builder<'_>) -> Result<bool, RebuildError> {
        let (mut before, mut waited) = (Vec::new(), Duration::ZERO);
        loop {
            let served = self.served().await?;
            if served.iter().all(|position| *position == 0) {
                return Ok(false);
            }
            if served.iter().zip(builder.positions()).all(|(served, built)| served >= built) {
                return Ok(true);
            }
            waited = if served == before { waited + LOOK } else { Duration::ZERO };
            if waited >= PATIENCE {
                return Err(RebuildError::StandsStill(served));
            }
            before = served;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Compares both at one position, but for tenants that are parked in one of them. The position is held only until a
    /// snapshot of it is taken.
    async fn compare(
        &mut self,
        builder: &mut Builder<'_>,
        serving: &str,
        built: &str,
    ) -> Result<Option<Difference>, RebuildError> {
        self.approach(builder).await?;
        let mut held = self.owner.begin().await?;
        let positions = hold(&mut held, self.model, self.log.partitions()).await?;
        builder.run_to(&positions, &mut |_| {}).await?;
        let mut snapshot = self.other.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        sqlx::query("SELECT FROM read.models").execute(&mut *snapshot).await?;
        held.rollback().await?;
        let parked: Vec<Uuid> = sqlx::query_scalar("SELECT tenant FROM log.parked WHERE consumer IN ($1, $2)")
            .bind(self.model.consumer)
            .bind(built)
            .fetch_all(&mut *snapshot)
            .await?;
        let found = difference(&mut snapshot, serving, built, &parked).await?;
        snapshot.rollback().await?;
        Ok(found)
    }

    /// Lets `next` serve, at the position where what serves is.
    async fn switch(&mut self, mut builder: Builder<'_>, next: &Generation) -> Result<Built, RebuildError> {
        self.approach(&mut builder).await?;
        let before = self.serving().await?;
        (self.told)(Step::Switch);
        let mut tx = self.owner.begin().await?;
        let held = hold(&mut tx, self.model, self.log.partitions()).await?;
        builder.run_to(&held, &mut |_| {}).await?;
        let positions = builder.positions().to_vec();
        let untouched = held.iter().all(|position| *position == 0);
        if positions != held && !untouched {
            return Err(RebuildError::StandsStill(held));
        }
        if let Some(before) = &before {
            set_state(&mut tx, before, "retired").await?;
        }
        set_state(&mut tx, next, "serving").await?;
        exchange(&mut tx, self.model.consumer, before.as_ref().map(|before| before.schema.as_str()), &next.schema)
            .await?;
        tx.commit().await?;
        Ok(Built {
            generation: next.generation,
            before: before.map(|before| before.generation),
            positions,
            proven: false,
            difference: None,
        })
    }
}

/// Holds the consumer where it is until the transaction ends; its positions, by partition.
async fn hold(tx: &mut Transaction<'_, Postgres>, model: &Model, partitions: i32) -> Result<Vec<i64>, RebuildError> {
    for partition in 0..partitions {
        consumer::register(tx, model.consumer, partition).await?;
    }
    let held = "SELECT position FROM log.consumers WHERE name = $1 ORDER BY partition FOR UPDATE";
    Ok(sqlx::query_scalar(held).bind(model.consumer).fetch_all(&mut **tx).await?)
}

/// The serving consumer takes the positions of `next`, and the tenants that are parked there; its own are kept under the
/// name of what served before, where it can be taken up again. Its rows stay, as harnesses wait for them.
async fn exchange(tx: &mut PgConnection, consumer: &str, before: Option<&str>, next: &str) -> Result<(), sqlx::Error> {
    if let Some(before) = before {
        let keep = "INSERT INTO log.consumers (name, partition, position, parked) \
            SELECT $2, partition, position, parked FROM log.consumers WHERE name = $1";
        sqlx::query(keep).bind(consumer).bind(before).execute(&mut *tx).await?;
        let parked = "UPDATE log.parked SET consumer = $2 WHERE consumer = $1";
        sqlx::query(parked).bind(consumer).bind(before).execute(&mut *tx).await?;
    }
    for statement in [
        "UPDATE log.consumers c SET position = n.position, parked = n.parked FROM log.consumers n \
         WHERE c.name = $1 AND n.name = $2 AND c.partition = n.partition",
        "UPDATE log.parked SET consumer = $1 WHERE consumer = $2",
    ] {
        sqlx::query(statement).bind(consumer).bind(next).execute(&mut *tx).await?;
    }
    sqlx::query("DELETE FROM log.consumers WHERE name = $1").bind(next).execute(tx).await.map(drop)
}

async fn set_state(tx: &mut PgConnection, generation: &Generation, state: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE read.models SET state = $2, since = now() WHERE schema = $1")
        .bind(&generation.schema)
        .bind(state)
        .execute(tx)
        .await
        .map(drop)
}
