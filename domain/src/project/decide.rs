//! A project's rules.

use super::{
    CreateFacts, OpenProject, Project, ProjectArchived, ProjectCommand, ProjectCreated, ProjectEvent,
    ProjectLanesConfigured, ProjectModelChosen, ProjectPolicySet, ProjectRefusal, ProjectRenamed,
    ProjectRepositoryConnected,
};

type Decision = Result<Vec<ProjectEvent>, ProjectRefusal>;

pub(super) fn decide(project: &Project, command: ProjectCommand) -> Decision {
    match (project, command) {
        (Project::Absent, ProjectCommand::Create { workspace, name, repository, lanes, policy, model, facts }) => {
            creatable(facts)?;
            Ok(vec![ProjectCreated { workspace, name, repository, lanes, policy, model }.into()])
        }
        (Project::Absent, _) => Err(ProjectRefusal::NotFound),
        (_, ProjectCommand::Create { .. }) => Err(ProjectRefusal::AlreadyExists),
        (Project::Archived(_), ProjectCommand::Archive) => Ok(vec![]),
        (Project::Archived(_), _) => Err(ProjectRefusal::Archived),
        (Project::Open(open), command) => change(open, command),
    }
}

fn creatable(facts: CreateFacts) -> Result<(), ProjectRefusal> {
    if !facts.tenant_active {
        return Err(ProjectRefusal::TenantNotActive);
    }
    if !facts.workspace_open {
        return Err(ProjectRefusal::WorkspaceNotOpen);
    }
    if facts.provider_usable { Ok(()) } else { Err(ProjectRefusal::ProviderNotUsable) }
}

/// `event`, unless what it says is so already.
fn unless(so: bool, event: impl Into<ProjectEvent>) -> Decision {
    Ok(if so { vec![] } else { vec![event.into()] })
}

fn change(open: &OpenProject, command: ProjectCommand) -> Decision {
    match command {
        ProjectCommand::Create { .. } => Err(ProjectRefusal::AlreadyExists),
        ProjectCommand::Rename { name } => unless(name == open.name, ProjectRenamed { name }),
        ProjectCommand::ConnectRepository { repository } => {
            unless(repository == open.repository, ProjectRepositoryConnected { repository })
        }
        ProjectCommand::ConfigureLanes { lanes, occupied } => {
            match occupied.into_iter().find(|key| lanes.get(key).is_none()) {
                Some(key) => Err(ProjectRefusal::LaneOccupied(key)),
                None => unless(lanes == open.lanes, ProjectLanesConfigured { lanes }),
            }
        }
        ProjectCommand::SetPolicy { policy } => unless(policy == open.policy, ProjectPolicySet { policy }),
        ProjectCommand::ChooseModel { provider_usable: false, .. } => Err(ProjectRefusal::ProviderNotUsable),
        ProjectCommand::ChooseModel { model, .. } => {
            unless(open.model.as_ref() == Some(&model), ProjectModelChosen { model })
        }
        ProjectCommand::Archive => Ok(vec![ProjectArchived {}.into()]),
    }
}
