//! Tables that follow events: load the rows they are about, change them in memory, write them back at once.
//!
//! Rows travel as one JSON array, so that a page costs one statement a table, however many rows it touches, and the
//! statement's text never changes.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// The primary key of a row: its tenant and its own id.
pub(crate) type Key = (Uuid, Uuid);

/// A row of a table whose key is `(tenant, id)`. Implemented by `table!`.
pub(crate) trait Row: Serialize + for<'r> FromRow<'r, PgRow> + Send + Sync + Unpin {
    /// Takes the keys as two arrays, answers the rows that exist.
    const LOAD: &'static str;
    /// Takes the rows as a [`document`], inserts or replaces them.
    const SAVE: &'static str;

    fn key(&self) -> Key;
}

/// Declares a row and the statements of its table. The fields are the table's columns, all of them, `tenant` first;
/// `by` names the other column of its key.
macro_rules! table {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident in $table:literal by $id:ident {
            $(#[$tenant_meta:meta])* $tenant_vis:vis tenant: Uuid,
            $(#[$first_meta:meta])* $first_vis:vis $first:ident: $first_type:ty,
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, sqlx::FromRow)]
        $vis struct $name {
            $(#[$tenant_meta])* $tenant_vis tenant: Uuid,
            $(#[$first_meta])* $first_vis $first: $first_type,
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl $crate::table::Row for $name {
            const LOAD: &'static str = concat!(
                "SELECT t.* FROM ", $table, " t JOIN unnest($1::uuid[], $2::uuid[]) AS k (tenant, id) ",
                "ON t.tenant = k.tenant AND t.", stringify!($id), " = k.id"
            );
            const SAVE: &'static str = concat!(
                "INSERT INTO ", $table, " SELECT * FROM json_populate_recordset(NULL::", $table, ", $1::text::json) ",
                "ON CONFLICT (tenant, ", stringify!($id), ") DO UPDATE SET ",
                stringify!($first), " = EXCLUDED.", stringify!($first)
                $(, ", ", stringify!($field), " = EXCLUDED.", stringify!($field))*
            );

            fn key(&self) -> $crate::table::Key {
                (self.tenant, self.$id)
            }
        }
    };
}
pub(crate) use table;

/// Rows that one statement writes.
const BATCH: usize = 2_000;

/// Rows of a table in memory: those that the events at hand are about, or all of them.
pub(crate) struct Rows<R> {
    rows: HashMap<Key, R>,
    changed: BTreeSet<Key>,
    /// Whether the table has no other rows.
    whole: bool,
}

impl<R: Row> Rows<R> {
    /// None yet; `whole` where the table has none either.
    pub(crate) fn new(whole: bool) -> Self {
        Self { rows: HashMap::new(), changed: BTreeSet::new(), whole }
    }

    /// Fetches those of `keys` that exist and are not here.
    pub(crate) async fn load(
        &mut self,
        conn: &mut PgConnection,
        keys: impl Iterator<Item = Key> + Send,
    ) -> Result<(), sqlx::Error> {
        if self.whole {
            return Ok(());
        }
        let missing: BTreeSet<Key> = keys.filter(|key| !self.rows.contains_key(key)).collect();
        if !missing.is_empty() {
            let (tenants, ids): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
            let found: Vec<R> = sqlx::query_as(R::LOAD).bind(tenants).bind(ids).fetch_all(conn).await?;
            self.rows.extend(found.into_iter().map(|row| (row.key(), row)));
        }
        Ok(())
    }

    pub(crate) fn get(&self, key: Key) -> Option<&R> {
        self.rows.get(&key)
    }

    /// The row, to be changed.
    pub(crate) fn change(&mut self, key: Key) -> Option<&mut R> {
        let row = self.rows.get_mut(&key)?;
        self.changed.insert(key);
        Some(row)
    }

    /// Changes every row of a tenant for which `change` says so.
    pub(crate) fn change_all(&mut self, tenant: Uuid, mut change: impl FnMut(&mut R) -> bool) {
        for (key, row) in self.rows.iter_mut().filter(|((of, _), _)| *of == tenant) {
            if change(row) {
                self.changed.insert(*key);
            }
        }
    }

    /// A row that did not exist, or shall be another one.
    pub(crate) fn put(&mut self, row: R) {
        let key = row.key();
        self.changed.insert(key);
        self.rows.insert(key, row);
    }

    /// Hands out what changed since it was last handed out.
    pub(crate) fn drain(&mut self, into: &mut Vec<Write>) -> Result<(), sqlx::Error> {
        let changed = std::mem::take(&mut self.changed);
        let rows: Vec<&R> = changed.iter().filter_map(|key| self.rows.get(key)).collect();
        Write::all(R::SAVE, &rows, into)
    }

    /// The rows in memory of one tenant, in the order of what `by` says.
    pub(crate) fn of<K: Ord>(&self, tenant: Uuid, by: fn(&R) -> K) -> Vec<&R> {
        let mut rows: Vec<&R> = self.rows.iter().filter(|((of, _), _)| *of == tenant).map(|(_, row)| row).collect();
        rows.sort_by_key(|row| by(row));
        rows
    }

    /// How many are in memory.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// A statement that writes rows, and those rows.
pub(crate) struct Write {
    statement: &'static str,
    rows: String,
}

impl Write {
    /// Rows for a statement that takes them as a [`document`].
    pub(crate) fn all<T: Serialize>(
        statement: &'static str,
        rows: &[T],
        into: &mut Vec<Self>,
    ) -> Result<(), sqlx::Error> {
        for batch in rows.chunks(BATCH) {
            into.push(Self { statement, rows: document(batch)? });
        }
        Ok(())
    }

    pub(crate) async fn run(self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(self.statement).bind(self.rows).execute(conn).await.map(drop)
    }
}

/// Rows as one JSON array. NUL, which Postgres cannot hold and which no value of ours may contain, is replaced: a read
/// model must get past whatever has come into the log.
fn document<T: Serialize>(rows: &[T]) -> Result<String, sqlx::Error> {
    let text = serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
    Ok(if text.contains("\\u0000") { without_nul(&text) } else { text })
}

/// The same JSON with U+FFFD for NUL, and every other byte as it was.
fn without_nul(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        clean.push_str(before);
        if let Some(after) = escape.strip_prefix("\\u0000") {
            clean.push_str("\\ufffd");
            rest = after;
        } else {
            // A backslash and what it escapes, so that an escaped backslash begins no escape.
            let (pair, after) = escape.split_at(escape.floor_char_boundary(2));
            clean.push_str(pair);
            rest = after;
        }
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nul_is_replaced() {
        let rows = ["a\0b", "\\u0000", "\\\0", "\0\0", "ü\n\"\\"];
        let read: Vec<String> = serde_json::from_str(&document(&rows).unwrap()).unwrap();
        assert_eq!(read, ["a\u{fffd}b", "\\u0000", "\\\u{fffd}", "\u{fffd}\u{fffd}", "ü\n\"\\"]);
    }
}
