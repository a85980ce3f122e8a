//! Projects.

use domain::Decider;
use domain::project::{CreateFacts, Lanes, Project, ProjectCommand, ProjectEvent};
use proptest::prelude::*;

use crate::given::{id, lane, lanes, likely, model_choice, name, policy, repository, sequence};
use crate::law;

fn create() -> impl Strategy<Value = ProjectCommand> + Clone {
    let facts = (likely(), likely(), likely()).prop_map(|(tenant_active, workspace_open, provider_usable)| {
        CreateFacts { tenant_active, workspace_open, provider_usable }
    });
    (id(), name(), repository(), lanes(), policy(), prop::option::of(model_choice()), facts)
        .prop_map(|(workspace, name, repository, lanes, policy, model, facts)| ProjectCommand::Create {
            workspace,
            name,
            repository,
            lanes,
            policy,
            model,
            facts,
        })
        .boxed()
}

fn change() -> impl Strategy<Value = ProjectCommand> {
    prop_oneof![
        8 => name().prop_map(|name| ProjectCommand::Rename { name }),
        8 => repository().prop_map(|repository| ProjectCommand::ConnectRepository { repository }),
        8 => (lanes(), prop::collection::btree_set(lane(), 0..3))
            .prop_map(|(lanes, occupied)| ProjectCommand::ConfigureLanes { lanes, occupied }),
        8 => policy().prop_map(|policy| ProjectCommand::SetPolicy { policy }),
        8 => (model_choice(), likely())
            .prop_map(|(model, provider_usable)| ProjectCommand::ChooseModel { model, provider_usable }),
        1 => Just(ProjectCommand::Archive),
    ]
}

fn commands() -> impl Strategy<Value = Vec<ProjectCommand>> {
    sequence(create(), change())
}

#[test]
fn everything_happens_to_projects() {
    law::everything_happens::<Project>(commands());
}

proptest! {
    #![proptest_config(law::config())]

    #[test]
    fn projects_keep_the_laws(commands in commands()) {
        law::obey::<Project>(commands, |_| false)?;
    }

    #[test]
    fn a_projects_history_tells_one_story(commands in commands()) {
        let history = law::history::<Project>(commands);
        let mut project = Project::default();
        for (i, event) in history.iter().enumerate() {
            prop_assert_eq!(matches!(event, ProjectEvent::Created(_)), i == 0, "created first, and once");
            if let ProjectEvent::Archived(_) = event {
                prop_assert_eq!(i, history.len() - 1, "nothing happens to an archived project");
            }
            project.evolve(event);
            if let Some(open) = project.open() {
                prop_assert!(Lanes::new(open.lanes.as_slice().to_vec()).is_ok(), "a board keeps its rules");
            }
        }
    }
}
