//! Orders about a data subject.

use domain::subject::{Subject, SubjectCommand};
use domain::{SubjectId, TenantId};
use uuid::Uuid;

use super::Ask;
use crate::DispatchError;
use crate::facts::Facts;

/// What may be asked about a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectOrder {
    /// Makes everything that is kept for it unreadable for ever.
    Erase {
        /// Who.
        subject: SubjectId,
    },
}

impl Ask for SubjectOrder {
    type Aggregate = Subject;

    fn name(&self) -> &'static str {
        match self {
            Self::Erase { .. } => "subject.erase",
        }
    }

    fn stream(&self, _: TenantId) -> Option<Uuid> {
        let Self::Erase { subject } = self;
        Some(subject.uuid())
    }

    async fn prepare(&self, _: &Subject, facts: &Facts<'_>) -> Result<SubjectCommand, DispatchError> {
        let Self::Erase { subject } = *self;
        Ok(SubjectCommand::Erase { subject, known: facts.subject_known(subject).await? })
    }
}
