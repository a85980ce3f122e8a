//! Personal data: what people say about people.
//!
//! Such a text is sealed before it comes here, under a key that belongs to one person and to nobody else (the data
//! subject), and stays so in events, messages and read models; it is opened at the moment of reading. Erasing a person
//! means destroying that key: every event stays as it was digested, and nobody can read it any more. Decisions are made
//! on sealed texts, so none may depend on what one says.

use std::fmt;

use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Actor;
use crate::id::{OperatorId, SubjectId};

/// What a sealed text is. It is authenticated with the text, so that none can be shown in another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Saying {
    /// A comment on a card.
    Comment,
    /// Why something was blocked, stopped or suspended.
    Reason,
    /// What somebody is called.
    Name,
}

impl Saying {
    /// Never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::Reason => "reason",
            Self::Name => "name",
        }
    }
}

/// A text that people typed. Its debug form does not tell it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PersonalText {
    /// As it is stored.
    Sealed(SealedText),
    /// Readable: on its way to being sealed, or from an event of before texts were sealed, or by the system itself.
    Plain(String),
}

/// A text under the key of a person. Whoever does not hold the key reads whose it is, and no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealedText {
    /// Whose key opens it.
    pub subject: SubjectId,
    /// Nonce, ciphertext and tag of AES-256-GCM, in base64. Empty in a read model whose subject was erased.
    pub sealed: String,
}

impl PersonalText {
    /// A text that is not sealed yet.
    pub fn plain(text: impl fmt::Display) -> Self {
        Self::Plain(text.to_string())
    }

    /// Whose it is, when it is sealed.
    pub const fn subject(&self) -> Option<SubjectId> {
        match self {
            Self::Sealed(sealed) => Some(sealed.subject),
            Self::Plain(_) => None,
        }
    }

    /// The same without what it says, when it is `subject`'s.
    #[must_use]
    pub fn without(self, subject: SubjectId) -> Self {
        match self {
            Self::Sealed(sealed) if sealed.subject == subject => {
                Self::Sealed(SealedText { subject, sealed: String::new() })
            }
            other => other,
        }
    }
}

impl fmt::Debug for PersonalText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(sealed) => sealed.fmt(f),
            Self::Plain(_) => f.write_str("Plain(…)"),
        }
    }
}

impl SubjectId {
    /// The data subject behind who acted; none behind a machine, nor behind an operator of before operators had
    /// pseudonyms. Always the same, and nobody else's.
    pub fn of(actor: &Actor) -> Option<Self> {
        let person = match actor {
            Actor::User(user) => user.uuid(),
            Actor::Operator(name) => name.parse::<OperatorId>().ok()?.uuid(),
            Actor::Agent(_) | Actor::System(_) => return None,
        };
        // An id of its own: a stream has one, and a person may have a stream besides.
        Some(Self::from_uuid(Uuid::new_v5(&person, b"subject")))
    }
}

/// Lifts version 1 of an event, whose text was readable, to version 2: the payload stays as it is, since
/// [`PersonalText::Plain`] reads it.
pub(crate) struct OnceReadable(pub(crate) &'static str);

impl EventUpcaster for OnceReadable {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_type == self.0 && event_version == "1"
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        "2".clone_into(&mut event.event_version);
        event
    }
}

impl Actor {
    /// The same, an operator under a pseudonym.
    pub fn under(pseudonym: OperatorId) -> Self {
        Self::Operator(pseudonym.to_string())
    }

    /// The operator's name as the token says it; `None` for others and under a pseudonym.
    pub fn operator_name(&self) -> Option<&str> {
        match self {
            Self::Operator(name) if name.parse::<OperatorId>().is_err() => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{id, sealed};

    #[test]
    fn a_text_that_is_not_sealed_is_not_shown_in_debug_forms() {
        assert!(!format!("{:?}", PersonalText::plain("hush")).contains("hush"));
    }

    #[test]
    fn only_what_is_the_subjects_is_taken_away() {
        let PersonalText::Sealed(own) = sealed("x") else { panic!("sealed") };
        let gone = PersonalText::Sealed(SealedText { subject: own.subject, sealed: String::new() });
        assert_eq!(sealed("x").without(own.subject), gone);
        assert_eq!(sealed("x").without(id(1)), sealed("x"));
        assert_eq!(PersonalText::plain("x").without(own.subject), PersonalText::plain("x"));
    }

    #[test]
    fn people_are_subjects_and_machines_are_not() {
        let operator = Actor::under(id(1));
        assert_ne!(SubjectId::of(&operator), SubjectId::of(&Actor::User(id(2))));
        assert_eq!(SubjectId::of(&operator), SubjectId::of(&operator.to_string().parse().unwrap()));
        for nobody in [Actor::Agent(id(1)), Actor::System("run-card".into()), Actor::Operator("ada".into())] {
            assert_eq!(SubjectId::of(&nobody), None, "{nobody}");
        }
    }

    #[test]
    fn a_pseudonym_is_no_name() {
        assert_eq!(Actor::under(id(1)).operator_name(), None);
        assert_eq!(Actor::Operator("ada".into()).operator_name(), Some("ada"));
    }
}
