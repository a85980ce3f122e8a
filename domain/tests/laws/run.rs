//! Runs.

use domain::process::run_card::{Reaction, on_run};
use domain::provider::ProviderKind;
use domain::run::{FailureKind, Run, RunCommand, RunEvent, StepKind, Task, TaskOutcome, Timeout};
use domain::value::Branch;
use domain::{Actor, CardId, Decider, Id, RunId};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use crate::given::{any_id, commit, id, model, policy, reason, repository, sealed, sequence, text, title};
use crate::law;

const RUN: RunId = Id::from_uuid(Uuid::from_u128(4));
const CARD: CardId = Id::from_uuid(Uuid::from_u128(3));

fn task() -> impl Strategy<Value = Task> {
    (id(), id(), title(), text(), prop::option::of(text()), repository(), id(), model(), policy()).prop_map(
        |(workspace, project, title, description, instructions, repository, provider, model, policy)| Task {
            workspace,
            project,
            card: CARD,
            title,
            description,
            instructions,
            repository,
            branch: Branch::of_run(CARD, RUN),
            provider,
            provider_kind: ProviderKind::Anthropic,
            model,
            policy,
        },
    )
}

fn queue() -> impl Strategy<Value = RunCommand> + Clone {
    let actor = prop_oneof![
        any_id().prop_map(Actor::User),
        any_id().prop_map(Actor::Agent),
        Just(Actor::Operator("ada".into())),
        Just(Actor::System("run-card".into())),
    ];
    (task(), actor).prop_map(|(task, requested_by)| RunCommand::Queue { task: Box::new(task), requested_by }).boxed()
}

fn outcome() -> impl Strategy<Value = TaskOutcome> {
    let branch =
        prop_oneof![9 => Just(Branch::of_run(CARD, RUN)), 1 => Just(Branch::of_run(CARD, Id::from_uuid(Uuid::nil())))];
    (branch, commit(), commit(), text(), prop::collection::vec("[a-z/]{1,8}", 0..3)).prop_map(
        |(branch, base_commit, head_commit, summary, files_changed)| TaskOutcome {
            branch,
            base_commit,
            work_commit: head_commit.clone(),
            head_commit,
            summary,
            files_changed,
            context_path: "c.json".into(),
            context_sha256: "0".repeat(64),
            pushed_by_attempt: 1,
        },
    )
}

/// Attempts from 0 to one more than a run ever has here.
fn attempt() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 6 => Just(1), 4 => Just(2), 2 => Just(3), 1 => Just(4)]
}

fn step() -> impl Strategy<Value = RunCommand> {
    let kind = select(vec![StepKind::Clone, StepKind::Model, StepKind::Tool, StepKind::Check, StepKind::Push]);
    (attempt(), 0_u32..5, kind, reason(), text(), any::<bool>(), any::<u64>()).prop_map(
        |(attempt, number, kind, title, detail, ok, duration_ms)| RunCommand::RecordStep {
            attempt,
            number,
            kind,
            title,
            detail,
            ok,
            duration_ms,
        },
    )
}

fn model_call() -> impl Strategy<Value = RunCommand> {
    (attempt(), id(), model(), any::<[u64; 5]>(), any::<u16>()).prop_map(
        |(attempt, provider, model, [input, output, read, written, duration_ms], status)| RunCommand::RecordModelCall {
            attempt,
            provider,
            model,
            input_tokens: input,
            output_tokens: output,
            cache_read_tokens: read,
            cache_write_tokens: written,
            status,
            duration_ms,
        },
    )
}

fn change() -> impl Strategy<Value = RunCommand> {
    let kind = || select(vec![FailureKind::PodLost, FailureKind::EnvironmentFailed, FailureKind::GaveUp]);
    let timeout = select(vec![Timeout::Dispatch, Timeout::Start, Timeout::Run]);
    prop_oneof![
        20 => (attempt(), any_id()).prop_map(|(attempt, environment)| RunCommand::Dispatch { attempt, environment }),
        20 => attempt().prop_map(|attempt| RunCommand::Start { attempt }),
        30 => step(),
        8 => model_call(),
        2 => (attempt(), outcome())
            .prop_map(|(attempt, outcome)| RunCommand::Succeed { attempt, outcome: Box::new(outcome) }),
        1 => (attempt(), kind(), reason(), text())
            .prop_map(|(attempt, kind, reason, log_tail)| RunCommand::Fail { attempt, kind, reason, log_tail }),
        6 => (attempt(), kind(), reason(), text())
            .prop_map(|(attempt, kind, reason, log_tail)| RunCommand::LoseAttempt { attempt, kind, reason, log_tail }),
        1 => (attempt(), timeout, any::<u32>())
            .prop_map(|(attempt, timeout, after_seconds)| RunCommand::TimeOut { attempt, timeout, after_seconds }),
        1 => prop::option::of(sealed()).prop_map(|reason| RunCommand::Cancel { reason }),
    ]
}

fn commands() -> impl Strategy<Value = Vec<RunCommand>> {
    sequence(queue(), change())
}

#[test]
fn everything_happens_to_runs() {
    law::everything_happens::<Run>(commands());
}

proptest! {
    #![proptest_config(law::config())]

    #[test]
    fn runs_keep_the_laws(commands in commands()) {
        law::obey::<Run>(commands, |command| matches!(command, RunCommand::RecordModelCall { .. }))?;
    }

    #[test]
    fn a_run_ends_at_most_once_and_only_tokens_are_counted_afterwards(commands in commands()) {
        let history = law::history::<Run>(commands);
        let ends = |event: &RunEvent| {
            matches!(
                event,
                RunEvent::Succeeded(_) | RunEvent::Failed(_) | RunEvent::TimedOut(_) | RunEvent::Cancelled(_)
            )
        };
        let mut rest = history.iter().skip_while(|event| !ends(event));
        let ended = rest.next().is_some();
        prop_assert!(rest.all(|event| matches!(event, RunEvent::ModelCalled(_))));
        prop_assert_eq!(matches!(Run::fold(&history), Run::Ended { .. }), ended);
    }

    #[test]
    fn attempts_and_steps_are_counted_without_a_gap(commands in commands()) {
        let history = law::history::<Run>(commands);
        let (mut attempts, mut steps) = (0, 0);
        for event in &history {
            match event {
                RunEvent::Dispatched(dispatched) => {
                    attempts += 1;
                    steps = 0;
                    prop_assert_eq!(dispatched.attempt, attempts);
                }
                RunEvent::StepRecorded(step) => {
                    steps += 1;
                    prop_assert_eq!((step.attempt, step.number), (attempts, steps));
                }
                _ => {}
            }
        }
        let allowed = Run::fold(&history).task().map_or(0, |task| task.policy.max_attempts);
        prop_assert!(attempts <= allowed, "{} attempts, {} allowed", attempts, allowed);
    }

    #[test]
    fn a_card_hears_of_the_end_of_its_run_once(commands in commands()) {
        let history = law::history::<Run>(commands);
        let Some(task) = Run::fold(&history).task().cloned() else { return Ok(()) };
        let told: Vec<_> = history
            .iter()
            .flat_map(|event| on_run(RUN, event, &task))
            .filter(|reaction| matches!(reaction, Reaction::FinishCard { .. }))
            .collect();
        prop_assert_eq!(told.len(), usize::from(matches!(Run::fold(&history), Run::Ended { .. })));
        for reaction in told {
            let Reaction::FinishCard { card, run, .. } = reaction else { unreachable!() };
            prop_assert_eq!((card, run), (task.card, RUN));
        }
    }
}
