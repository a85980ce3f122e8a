//! What people said and what they are called, opened at the moment of reading.
//!
//! The keys of all people that a request names are fetched together, with the request, and kept no longer: who is erased
//! is erased for the next request in every process. What cannot be opened is shown as erased, never as an error.

use std::collections::HashMap;
use std::sync::Arc;

use access::{MasterKeys, SealError, Sealed, SubjectKey};
use async_graphql::dataloader::Loader;
use async_graphql::{Context, Result};
use domain::personal::SealedText;
use domain::{Actor, PersonalText, Saying, SubjectId, TenantId};
use outbox::LogError;
use outbox::subjects::{self, Kept, SealedKey};

use crate::loader::{Named, named};

/// Stands where something was erased.
pub(crate) const ERASED: &str = "[erased]";

/// Somebody who is not erased.
pub(crate) struct Person {
    key: SubjectKey,
    name: Option<String>,
}

impl Person {
    fn of(
        keys: &MasterKeys,
        tenant: TenantId,
        subject: SubjectId,
        SealedKey { key_id, nonce, bytes }: SealedKey,
        name: Option<String>,
    ) -> Result<Self, SealError> {
        let key = keys.subject_key(tenant, subject, Sealed { key_id, nonce, bytes })?;
        let name = name.and_then(|sealed| key.open(Saying::Name, &SealedText { subject, sealed }));
        Ok(Self { key, name })
    }
}

impl Loader<SubjectId> for Named {
    type Value = Arc<Person>;
    type Error = LogError;

    async fn load(&self, subjects: &[SubjectId]) -> Result<HashMap<SubjectId, Arc<Person>>, LogError> {
        let mut people = HashMap::new();
        let mut turn = self.reader.turn().await?;
        for (subject, kept) in subjects::kept_in(turn.conn(), self.tenant, subjects).await? {
            let Kept::Key { key, name } = kept else { continue };
            match Person::of(&self.keys, self.tenant, subject, key, name) {
                Ok(person) => {
                    people.insert(subject, Arc::new(person));
                }
                Err(error) => tracing::error!(%subject, %error, "the key of a subject does not open"),
            }
        }
        Ok(people)
    }
}

/// What a text says; `None` when its subject is erased.
///
/// # Errors
/// `internal`.
pub(crate) async fn open(ctx: &Context<'_>, saying: Saying, text: PersonalText) -> Result<Option<String>> {
    let sealed = match text {
        PersonalText::Plain(text) => return Ok(Some(text)),
        PersonalText::Sealed(sealed) if sealed.sealed.is_empty() => return Ok(None),
        PersonalText::Sealed(sealed) => sealed,
    };
    let Some(person) = named(ctx, sealed.subject).await? else { return Ok(None) };
    let said = person.key.open(saying, &sealed);
    if said.is_none() {
        tracing::error!(subject = %sealed.subject, "a text does not open: it was altered, or moved from another place");
    }
    Ok(said)
}

/// The reason that a column of a read model holds, or [`ERASED`].
///
/// # Errors
/// `internal`.
pub(crate) async fn reason(ctx: &Context<'_>, column: Option<&str>) -> Result<Option<String>> {
    let Some(column) = column else { return Ok(None) };
    let said = open(ctx, Saying::Reason, projections::personal::said(column)).await?;
    Ok(Some(said.unwrap_or_else(|| ERASED.to_owned())))
}

/// Who acted: an operator by name, while it is known.
///
/// # Errors
/// `internal`.
pub(crate) async fn actor(ctx: &Context<'_>, text: &str) -> Result<String> {
    let operator = text.parse().ok().filter(|actor| matches!(actor, Actor::Operator(_)));
    let Some(subject) = operator.and_then(|actor| SubjectId::of(&actor)) else { return Ok(text.to_owned()) };
    let name = named(ctx, subject).await?.and_then(|person| person.name.clone());
    Ok(name.map_or_else(|| text.to_owned(), |name| Actor::Operator(name).to_string()))
}
