//! A lease: at most one holder at a time, most of the time. What it guards must be harmless when two do it.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use crate::crash;

/// A row of `log.leases`. The database's clock decides.
pub(super) struct Lease {
    pool: PgPool,
    name: String,
    holder: Uuid,
    renewed: Option<Instant>,
}

impl Lease {
    /// How often to renew it, and to ask for it.
    pub(super) const RENEW: Duration = Duration::from_millis(1_500);
    /// How long it lasts without being renewed.
    const SECONDS: f64 = 5.0;

    pub(super) const fn new(pool: PgPool, name: String, holder: Uuid) -> Self {
        Self { pool, name, holder, renewed: None }
    }

    /// Takes or renews it when that is due. Whether it is held now.
    pub(super) async fn hold(&mut self) -> Result<bool, sqlx::Error> {
        if self.renewed.is_some_and(|at| at.elapsed() < Self::RENEW) {
            return Ok(true);
        }
        let asked = Instant::now();
        let held = sqlx::query(
            "INSERT INTO log.leases AS l (name, holder, expires) VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3)) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires \
             WHERE l.holder = excluded.holder OR l.expires < clock_timestamp()",
        )
        .bind(&self.name)
        .bind(self.holder)
        .bind(Self::SECONDS)
        .execute(&self.pool)
        .await?
        .rows_affected()
            > 0;
        if held {
            crash::point("relay.leased");
        }
        self.renewed = held.then_some(asked);
        Ok(held)
    }

    /// Lets it go, so that another need not wait. When that fails, it runs out by itself.
    pub(super) async fn release(&mut self) {
        let done = sqlx::query("UPDATE log.leases SET expires = '-infinity' WHERE name = $1 AND holder = $2")
            .bind(&self.name)
            .bind(self.holder)
            .execute(&self.pool)
            .await;
        if let Err(error) = done {
            tracing::debug!(name = self.name, %error, "a lease was not released; it runs out by itself");
        }
        self.renewed = None;
    }
}
