//! The laws that every aggregate keeps, whatever it is asked: tried on random sequences of commands.

#[cfg(test)]
mod card;
#[cfg(test)]
mod given;
#[cfg(test)]
mod others;
#[cfg(test)]
mod project;
#[cfg(test)]
mod run;
#[cfg(test)]
mod values;

#[cfg(test)]
mod law {
    use std::collections::BTreeSet;

    use cqrs_es::Aggregate;
    use cqrs_es::test::TestFramework;
    use domain::{Decider, Event};
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, TestRunner};

    /// How often each law is tried: 256 times, or as often as `PROPTEST_CASES` says.
    pub(crate) fn config() -> Config {
        Config { failure_persistence: None, ..Config::default() }
    }

    /// What happens when all `commands` are asked in turn.
    pub(crate) fn history<A: Decider>(commands: Vec<A::Command>) -> Vec<A::Event> {
        let mut state = A::default();
        let mut history = Vec::new();
        for command in commands {
            for event in state.decide(command).unwrap_or_default() {
                state.evolve(&event);
                history.push(event);
            }
        }
        history
    }

    /// Fails unless, when all `commands` are asked in turn,
    /// - asking changes nothing, and a refusal is repeated when the command is;
    /// - a command that was just fulfilled has nothing left to do, but where `adds` says that it always adds a fact;
    /// - the `cqrs_es` adapter answers as `decide` does;
    /// - the state is the fold of the events, also of those that were stored and read again;
    /// - state and events survive their JSON form.
    pub(crate) fn obey<A>(
        commands: Vec<<A as Decider>::Command>,
        adds: fn(&<A as Decider>::Command) -> bool,
    ) -> Result<(), TestCaseError>
    where
        <A as Decider>::Command: Clone,
        A: Decider
            + Aggregate<
                Command = <A as Decider>::Command,
                Event = <A as Decider>::Event,
                Error = <A as Decider>::Refusal,
                Services = (),
            >,
    {
        let mut state = A::default();
        let mut history = Vec::new();
        for command in commands {
            let before = state.clone();
            let verdict = state.decide(command.clone());
            prop_assert_eq!(&state, &before, "asking changes nothing");

            let adapted = TestFramework::<A>::with(()).given(history.clone()).when(command.clone()).inspect_result();
            prop_assert_eq!(&adapted, &verdict, "the adapter answers the same");

            match verdict {
                Err(refusal) => prop_assert_eq!(state.decide(command), Err(refusal), "a refusal is repeated"),
                Ok(events) => {
                    for event in &events {
                        state.evolve(event);
                    }
                    history.extend(events);
                    if !adds(&command) {
                        let again = state.decide(command.clone()).unwrap_or_default();
                        prop_assert_eq!(again, vec![], "nothing is left to do after {:?}", command);
                    }
                }
            }
            prop_assert_eq!(&A::fold(&history), &state, "the state is the fold of its events");
            prop_assert_eq!(&through_json(&state)?, &state);
        }
        let read = history.iter().map(stored_and_read).collect::<Result<Vec<_>, _>>()?;
        prop_assert_eq!(&read, &history, "what is stored is what is read");
        prop_assert_eq!(&A::fold(&read), &state);
        for event in &history {
            prop_assert_eq!(&through_json(event)?, event);
        }
        Ok(())
    }

    /// Fails unless random sequences make everything happen that can happen to the aggregate: otherwise the laws would
    /// hold for want of trying. The sequences are the same in every run.
    pub(crate) fn everything_happens<A: Decider>(sequences: impl Strategy<Value = Vec<A::Command>>) {
        let all: BTreeSet<_> = A::Event::TYPES.iter().map(|event| event.name).collect();
        let mut seen = BTreeSet::new();
        let mut runner = TestRunner::deterministic();
        for _ in 0..1_000 {
            let commands = sequences.new_tree(&mut runner).unwrap().current();
            seen.extend(history::<A>(commands).iter().map(|event| event.event_type().name));
            if seen == all {
                return;
            }
        }
        panic!("these never happened: {:?}", all.difference(&seen));
    }

    fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> Result<T, TestCaseError> {
        let broken = |error: serde_json::Error| TestCaseError::fail(error.to_string());
        serde_json::from_str(&serde_json::to_string(value).map_err(broken)?).map_err(broken)
    }

    fn stored_and_read<E: Event>(event: &E) -> Result<E, TestCaseError> {
        let payload = event.encode().map_err(|error| TestCaseError::fail(error.to_string()))?;
        E::decode(event.event_type().name, &payload).map_err(|error| TestCaseError::fail(error.to_string()))
    }
}
