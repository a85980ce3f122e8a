//! A subject's one rule.

use super::{Subject, SubjectCommand, SubjectErased, SubjectEvent, SubjectRefusal};

pub(super) fn decide(state: Subject, command: SubjectCommand) -> Result<Vec<SubjectEvent>, SubjectRefusal> {
    let SubjectCommand::Erase { subject, known } = command;
    match state {
        Subject::Erased => Ok(vec![]),
        Subject::Present if known => Ok(vec![SubjectErased { subject }.into()]),
        Subject::Present => Err(SubjectRefusal::NotFound),
    }
}
