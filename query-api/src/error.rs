//! What clients get to read when something does not work: a text, and `extensions.code`.

use std::time::Duration;

use async_graphql::{Error, ErrorExtensions, Pos, Response, ServerError};
use outbox::LogError;
use schemas::Cursor;

/// The document cannot be read, does not fit the schema, or costs too much.
pub(crate) const INVALID_QUERY: &str = "invalid_query";

/// The answer took too long.
pub(crate) const TIMED_OUT: &str = "timed_out";

/// An error with a stable code.
pub(crate) fn coded(code: &str, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code))
}

/// A request that is not executed at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Stable, such as `query_missing`.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refused {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Refused> for Response {
    fn from(refused: Refused) -> Self {
        let error = coded(refused.code, refused.message).into_server_error(Pos::default());
        Self::from_errors(vec![ServerError { locations: vec![], ..error }])
    }
}

/// The answer to a question that takes longer than this.
pub(crate) fn too_late(time: Duration) -> Response {
    Refused::new(TIMED_OUT, format!("it took longer than {} seconds; ask for less", time.as_secs())).into()
}

/// What does not exist, or is another tenant's.
pub(crate) fn not_found() -> Error {
    coded("not_found", "there is no such thing here")
}

/// A cursor of another log, or no cursor.
pub(crate) fn cursor_invalid() -> Error {
    coded("cursor_invalid", "this is not a cursor that this API has given out")
}

/// The read model has not got so far in time.
pub(crate) fn not_yet_visible(reached: Cursor) -> Error {
    coded("not_yet_visible", "what you wait for is not visible yet; ask again")
        .extend_with(|_, extensions| extensions.set("reached", reached.to_string()))
}

/// The database failed. What it said is for the log only.
pub(crate) fn internal(error: impl std::fmt::Display) -> Error {
    tracing::error!(%error, "a read model could not be read");
    coded("internal", "something went wrong here; the error has been recorded")
}

/// The database could not be asked just now.
const UNAVAILABLE: &str = "unavailable";

/// Whether asking again may help.
pub(crate) fn is_unavailable(error: &Error) -> bool {
    let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
    code == Some(&async_graphql::Value::from(UNAVAILABLE))
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    tracing::warn!(%error, "a read could not reach the database");
    coded(UNAVAILABLE, "this cannot be read just now; ask again in some seconds")
}

/// A database that is not there is told apart from a defect.
fn of_database(error: &sqlx::Error) -> Error {
    use sqlx::Error::{Io, PoolClosed, PoolTimedOut};
    // Class 57 is what a server says that stops or starts.
    let stopping = |error: &dyn sqlx::error::DatabaseError| error.code().is_some_and(|code| code.starts_with("57P"));
    match error {
        Io(_) | PoolTimedOut | PoolClosed => unavailable(error),
        sqlx::Error::Database(said) if stopping(&**said) => unavailable(error),
        _ => internal(error),
    }
}

/// The log failed.
pub(crate) fn of_log(error: LogError) -> Error {
    match error {
        LogError::Database(error) => of_database(&error),
        error => internal(error),
    }
}

/// What reading may fail with, as a client sees it.
pub(crate) trait OrInternal<T> {
    /// The value; else the code `unavailable` when the database could not be asked, and `internal` for every other error.
    fn or_internal(self) -> Result<T, Error>;
}

impl<T> OrInternal<T> for Result<T, sqlx::Error> {
    fn or_internal(self) -> Result<T, Error> {
        self.map_err(|error| of_database(&error))
    }
}

impl<T> OrInternal<T> for Result<T, LogError> {
    fn or_internal(self) -> Result<T, Error> {
        self.map_err(of_log)
    }
}
