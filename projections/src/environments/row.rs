//! The table of environments.

use time::OffsetDateTime;
use time::serde::rfc3339;
use uuid::Uuid;

use crate::table::table;

table! {
    /// An environment.
    pub struct EnvironmentRow in "environments" by environment {
        /// Whose it is.
        pub tenant: Uuid,
        /// The environment.
        pub environment: Uuid,
        /// The project of its run.
        pub project: Uuid,
        /// The run that works in it.
        pub run: Uuid,
        /// Which attempt of the run, from 1.
        pub attempt: i32,
        /// What it is made with, such as `local`.
        pub driver: String,
        /// `requested`, `provisioning`, `ready`, `stopping`, `stopped` or `failed`.
        pub state: String,
        /// What confines it, such as `namespaces`; nothing before it is ready.
        pub confinement: Vec<String>,
        /// What went wrong, when it failed.
        pub failure: Option<String>,
        /// When it was asked for, UTC.
        #[serde(with = "rfc3339")]
        pub requested_at: OffsetDateTime,
        /// When its driver began to make it, UTC.
        #[serde(with = "rfc3339::option")]
        pub provisioning_at: Option<OffsetDateTime>,
        /// When it was usable, UTC.
        #[serde(with = "rfc3339::option")]
        pub ready_at: Option<OffsetDateTime>,
        /// When it began to be taken down, UTC.
        #[serde(with = "rfc3339::option")]
        pub stopping_at: Option<OffsetDateTime>,
        /// When it was gone, in good order or not, UTC.
        #[serde(with = "rfc3339::option")]
        pub ended_at: Option<OffsetDateTime>,
        /// The version of the aggregate.
        pub version: i64,
        /// The position of its last change.
        pub position: i64,
    }
}
