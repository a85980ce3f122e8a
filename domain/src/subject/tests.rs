//! Given, when, then.

use cqrs_es::test::TestFramework;

use super::{Subject, SubjectCommand, SubjectErased, SubjectEvent, SubjectRefusal};
use crate::given::id;
use crate::{Refusal, RefusalKind};

fn subject() -> TestFramework<Subject> {
    TestFramework::with(())
}

fn erase(known: bool) -> SubjectCommand {
    SubjectCommand::Erase { subject: id(9), known }
}

fn erased() -> Vec<SubjectEvent> {
    vec![SubjectErased { subject: id(9) }.into()]
}

#[test]
fn a_subject_for_whom_something_is_kept_is_erased() {
    subject().given_no_previous_events().when(erase(true)).then_expect_events(erased());
}

#[test]
fn erasing_again_changes_nothing() {
    subject().given(erased()).when(erase(true)).then_expect_events(vec![]);
    subject().given(erased()).when(erase(false)).then_expect_events(vec![]);
}

#[test]
fn a_subject_for_whom_nothing_is_kept_does_not_exist() {
    subject().given_no_previous_events().when(erase(false)).then_expect_error(SubjectRefusal::NotFound);
}

#[test]
fn refusals_have_stable_codes() {
    let refusal = SubjectRefusal::NotFound;
    assert_eq!((refusal.code(), refusal.kind()), ("not_found", RefusalKind::NotFound));
}
