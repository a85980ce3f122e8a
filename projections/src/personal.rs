//! Personal texts in read models.
//!
//! A column of type text holds what was said as the event has it: a sealed text in its JSON form, a readable one (of the
//! system, or of an event of before texts were sealed) as it is. When its subject is erased, whose it was stays and the
//! rest goes, in the order of the log: the same whether it happens live or in a rebuild.

use domain::personal::SealedText;
use domain::{PersonalText, SubjectId};
use serde::Serialize;
use uuid::Uuid;

use crate::fact::Fact;
use crate::table::Write;

/// What a column holds of a text.
pub(crate) fn stored(text: &PersonalText) -> String {
    match text {
        PersonalText::Plain(text) => text.clone(),
        PersonalText::Sealed(sealed) => json(sealed),
    }
}

/// The text that a column holds.
pub fn said(column: &str) -> PersonalText {
    let sealed = column.starts_with(OPENING).then(|| serde_json::from_str(column).ok()).flatten();
    sealed.map_or_else(|| PersonalText::plain(column), PersonalText::Sealed)
}

/// How every sealed text of the subject begins in a column.
fn of(subject: SubjectId) -> String {
    format!(r#"{OPENING}{subject}""#)
}

/// What a column holds once the subject is erased.
fn erased(subject: SubjectId) -> String {
    json(&SealedText { subject, sealed: String::new() })
}

/// Takes away what a column holds when it is the subject's; whether it is.
fn scrub(column: Option<&mut String>, subject: SubjectId) -> bool {
    let Some(column) = column.filter(|column| column.starts_with(&of(subject))) else { return false };
    *column = erased(subject);
    true
}

/// Somebody was erased: what is taken away in the rows in memory, in the order of the log, and in those of the tables before
/// the rows of memory are written.
#[derive(Debug, Serialize)]
pub(crate) struct Erasure {
    pub(crate) tenant: Uuid,
    pub(crate) position: i64,
    #[serde(rename = "subject")]
    pub(crate) whom: SubjectId,
    /// How what they said begins in a column.
    said: String,
    /// What stands there afterwards.
    erased: String,
}

impl Erasure {
    pub(crate) fn of(fact: &Fact<'_>) -> Option<Self> {
        let whom = fact.erased()?;
        let (tenant, position) = (fact.tenant(), fact.event.position);
        Some(Self { tenant, position, whom, said: of(whom), erased: erased(whom) })
    }

    /// Takes away what a column holds, when it is theirs; the row changed then.
    pub(crate) fn scrub(&self, column: Option<&mut String>, position: &mut i64) -> bool {
        let theirs = scrub(column, self.whom);
        if theirs {
            *position = self.position;
        }
        theirs
    }

    /// Hands out the statements for the tables, one each: a row may hold what several people said.
    pub(crate) fn drain(
        all: &mut Vec<Self>,
        statement: &'static str,
        into: &mut Vec<Write>,
    ) -> Result<(), sqlx::Error> {
        std::mem::take(all).chunks(1).try_for_each(|one| Write::all(statement, one, into))
    }
}

const OPENING: &str = r#"{"subject":""#;

fn json(sealed: &SealedText) -> String {
    // Base64 and ids need no escapes.
    format!(r#"{OPENING}{}","sealed":"{}"}}"#, sealed.subject, sealed.sealed)
}

#[cfg(test)]
mod tests {
    use domain::Id;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_column_gives_back_what_was_said_until_the_subject_is_erased() {
        let subject: SubjectId = Id::from_uuid(Uuid::from_u128(7));
        let sealed = PersonalText::Sealed(SealedText { subject, sealed: "AbC+/9==".into() });
        for text in [sealed.clone(), PersonalText::plain("waiting for {\"subject\""), PersonalText::plain("")] {
            assert_eq!(said(&stored(&text)), text);
        }
        assert_eq!(serde_json::to_string(&sealed).unwrap(), stored(&sealed));
        let mut column = stored(&sealed);
        assert!(!scrub(Some(&mut column), Id::from_uuid(Uuid::from_u128(8))));
        assert_eq!(said(&column), sealed);
        assert!(scrub(Some(&mut column), subject));
        assert_eq!(said(&column), sealed.without(subject));
        assert_eq!(column, erased(subject));
    }
}
