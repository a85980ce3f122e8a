//! What a client asks for: where to begin, which events, and whether to stay.

use std::collections::BTreeSet;

use access::Problem;
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode, Uri};
use domain::{TenantId, registry};
use outbox::Log;
use schemas::Cursor;

/// The types wanted; none: every one.
pub(super) type Types = Option<BTreeSet<String>>;

/// What a client asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Ask {
    after: Option<After>,
    partition: Option<i32>,
    pub(super) types: Types,
    pub(super) follow: bool,
}

/// Where to begin: behind this.
#[derive(Debug, Clone, Copy, PartialEq)]
enum After {
    Cursor(Cursor),
    Position(i64),
}

fn refused(code: &'static str, field: &str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, detail).with("field", field)
}

/// The cursor stands behind the end of the log.
pub(super) fn ahead() -> Problem {
    let detail = "the log does not reach so far: this is the cursor of another log, or of one that was restored";
    refused("cursor_ahead", "after", detail)
}

impl Ask {
    /// Reads the query of an address. `Last-Event-ID`, which a reconnecting browser sends, wins over `after`.
    ///
    /// # Errors
    /// 400, naming the parameter and what is wrong with it.
    pub(super) fn read(query: &str, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut ask = Self { after: None, partition: None, types: None, follow: true };
        let mut seen = BTreeSet::new();
        for (name, value) in pairs(query)? {
            match name.as_str() {
                "after" => ask.after = Some(after(&value, "after")?),
                "partition" => ask.partition = Some(partition(&value)?),
                "types" => ask.types = Some(types(&value)?),
                "follow" => ask.follow = follow(&value)?,
                _ => {
                    let known = "the parameters are `after`, `types`, `follow` and `partition`";
                    return Err(refused("parameter_unknown", &name, format!("no parameter `{name}`: {known}")));
                }
            }
            if !seen.insert(name.clone()) {
                return Err(refused("parameter_repeated", &name, format!("`{name}` may be given once")));
            }
        }
        if let Some(last) = headers.get("last-event-id").filter(|last| !last.is_empty()) {
            ask.after = Some(after(last.to_str().unwrap_or_default(), "Last-Event-ID")?);
        }
        Ok(ask)
    }

    /// Where to begin for somebody of `tenant`, or for an operator.
    ///
    /// # Errors
    /// 400 for a place in another partition, or when an operator left open which is meant.
    pub(super) fn start(&self, tenant: Option<TenantId>, log: &Log) -> Result<Cursor, Problem> {
        let named = match self.after {
            Some(After::Cursor(cursor)) => Some(cursor.partition),
            _ => None,
        };
        let partition = match (tenant, self.partition) {
            (Some(_), Some(_)) => {
                let detail = "only an operator's token reads partitions; yours reads its tenant's events";
                return Err(refused("partition_unexpected", "partition", detail));
            }
            (Some(tenant), None) => log.partition_of(tenant),
            (None, Some(partition)) => partition,
            (None, None) if log.partitions() == 1 => 0,
            (None, None) => named.ok_or_else(|| {
                let detail = format!("the log has {} partitions: name one, from 0", log.partitions());
                refused("partition_missing", "partition", detail)
            })?,
        };
        if !(0..log.partitions()).contains(&partition) {
            let detail = format!("the log has {} partitions, counted from 0", log.partitions());
            return Err(refused("partition_unknown", "partition", detail));
        }
        if named.is_some_and(|named| named != partition) {
            return Err(refused("cursor_invalid", "after", "this cursor is of another part of the log"));
        }
        let position = match self.after {
            None => 0,
            Some(After::Cursor(cursor)) => cursor.position,
            Some(After::Position(position)) => position,
        };
        Ok(Cursor { partition, position })
    }
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let malformed = |_| Problem::new(StatusCode::BAD_REQUEST, "request_malformed", "the query cannot be read");
    let uri = format!("/?{query}").parse::<Uri>().map_err(|error| malformed(error.to_string()))?;
    Query::try_from_uri(&uri).map(|Query(pairs)| pairs).map_err(|error| malformed(error.to_string()))
}

fn after(text: &str, field: &str) -> Result<After, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let position = digits.then(|| text.parse().ok().map(After::Position)).flatten();
    position.or_else(|| text.parse().ok().map(After::Cursor)).ok_or_else(|| {
        let detail = format!("`{field}` takes a cursor that this API has given out, or a position");
        refused("cursor_invalid", field, detail)
    })
}

fn partition(text: &str) -> Result<i32, Problem> {
    text.parse().map_err(|_| refused("partition_unknown", "partition", "a partition is a number from 0"))
}

fn follow(text: &str) -> Result<bool, Problem> {
    text.parse().map_err(|_| refused("follow_invalid", "follow", "`follow` is `true` or `false`"))
}

/// Names of events, with commas between them.
fn types(text: &str) -> Result<BTreeSet<String>, Problem> {
    let wanted: BTreeSet<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let unknown = unknown_types(&wanted);
    if unknown.is_empty() {
        return Ok(wanted);
    }
    let detail = format!("there are no events of these types: {}", unknown.join(", "));
    let known: Vec<_> = known_types().into_iter().collect();
    Err(refused("types_unknown", "types", detail).with("unknown", unknown).with("known", known))
}

fn known_types() -> BTreeSet<&'static str> {
    registry::events().into_iter().map(|known| known.event.name).collect()
}

/// Those of the types that no event has.
pub(crate) fn unknown_types(wanted: &BTreeSet<String>) -> Vec<String> {
    let known = known_types();
    wanted.iter().filter(|name| !known.contains(name.as_str())).cloned().collect()
}
