//! Projects.

use axum::extract::State;
use domain::id::ProjectKind;
use domain::project::{Lanes, Project, Repository};
use domain::value::{Branch, Name, RepositoryUrl, SecretRef};
use domain::{ProjectId, WorkspaceId};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answered, Done, Outcome};
use super::asked::{Asked, Ids};
use super::values::{LaneBody, Members, ModelBody, Named, Nothing, PolicyBody, lanes, secret};
use super::{Api, Shared, probe};
use crate::order::{ProjectChange, ProjectOrder};
use crate::{Caller, DispatchError, Order, Request};
use access::Problem;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(rename))
        .routes(routes!(connect_repository))
        .routes(routes!(configure_lanes))
        .routes(routes!(set_policy))
        .routes(routes!(choose_model))
        .routes(routes!(archive))
}

/// Where a project's code lives. It is asked before it is taken.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "url": "https://git.example/shop.git", "default_branch": "main" }))]
struct RepositoryBody {
    /// Over HTTP or HTTPS, without user name and password.
    #[schema(format = "uri")]
    url: String,
    /// The branch that runs start from; the repository's own default when absent.
    default_branch: Option<String>,
    /// A token that may read and push, when one is needed. Kept in the vault; never given out.
    #[schema(value_type = Option<String>, format = Password, write_only, max_length = 8192)]
    credential: Option<SecretString>,
}

/// A [`RepositoryBody`] of checked values.
struct Wanted {
    url: RepositoryUrl,
    branch: Option<Branch>,
    secret: Option<SecretString>,
}

impl RepositoryBody {
    fn checked(self) -> Result<Wanted, Problem> {
        let branch = self.default_branch.map(|branch| Branch::new(&branch)).transpose();
        Ok(Wanted {
            url: RepositoryUrl::new(&self.url)?,
            branch: branch.map_err(|invalid| Problem::from(invalid).with("field", "repository.default_branch"))?,
            secret: self
                .credential
                .map(|credential| secret("repository.credential", "credential_invalid", credential))
                .transpose()?,
        })
    }
}

impl Wanted {
    /// The repository, once it was asked, and the request with the credential on its way into the vault.
    async fn connected(self, api: &Api, request: Request) -> Result<(Request, Repository), Problem> {
        let (request, credential): (Request, Option<SecretRef>) = match self.secret.clone() {
            Some(secret) => {
                let (request, credential) = request.with_secret(&api.vault, secret);
                (request, Some(credential))
            }
            None => (request, None),
        };
        let repository = probe::connect(&*api.probe, self.url, self.branch, self.secret.as_ref(), credential).await?;
        Ok((request, repository))
    }
}

/// A new project.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "workspace": "wsp_01kafq0000e0sbch2gs9rjc5rd", "name": "Shop",
    "repository": { "url": "https://git.example/shop.git" },
    "model": { "provider": "prv_01kafq0000e0sbch2gs9rjc5rd" },
}))]
struct CreateProject {
    /// Its workspace.
    #[schema(value_type = String)]
    workspace: WorkspaceId,
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Where its code lives.
    #[schema(value_type = RepositoryBody)]
    repository: Members<RepositoryBody>,
    /// Its board's lanes in order; Backlog, Ready, In progress, Review, Done and Blocked when absent.
    #[schema(value_type = Option<Vec<LaneBody>>)]
    lanes: Option<Vec<Members<LaneBody>>>,
    /// The bounds of its runs.
    #[serde(default)]
    #[schema(value_type = PolicyBody)]
    policy: Members<PolicyBody>,
    /// Which model its runs use; can be chosen later.
    #[schema(value_type = Option<ModelBody>)]
    model: Option<Members<ModelBody>>,
}

/// Create a project on a repository
#[utoipa::path(post, path = "/projects", operation_id = "createProject", tag = "projects", request_body = CreateProject,
    responses((status = CREATED, description = "The project exists.", body = Outcome)))]
async fn create(State(api): State<Shared>, caller: Caller, asked: Asked<CreateProject>) -> Answered {
    let body = asked.body;
    let name = Name::new(&body.name)?;
    let wanted = body.repository.0.checked()?;
    let lanes = body.lanes.map_or_else(|| Ok(Lanes::default()), lanes)?;
    let policy = Box::new(body.policy.0.checked()?);
    let model = body.model.map(|Members(model)| model.checked()).transpose()?;
    let request = asked.envelope.request(&caller);
    // A repeated request must not depend on whether the repository answers today.
    if let Some(answer) = api.dispatcher.recall(&caller, &request).await? {
        return Ok(Done::created::<ProjectKind>(&answer, "/v1/projects"));
    }
    let (request, repository) = wanted.connected(&api, request).await?;
    let workspace = body.workspace;
    let order = Order::Project(ProjectOrder::Create { workspace, name, repository, lanes, policy, model });
    let answer = api.send(&caller, request, order).await?;
    Ok(Done::created::<ProjectKind>(&answer, "/v1/projects"))
}

/// Rename a project
#[utoipa::path(patch, path = "/projects/{project}", operation_id = "renameProject", tag = "projects",
    request_body = Named, responses((status = OK, description = "The project has this name.", body = Outcome)))]
async fn rename(
    State(api): State<Shared>,
    caller: Caller,
    Ids(project): Ids<ProjectId>,
    asked: Asked<Named>,
) -> Answered {
    let name = Name::new(&asked.body.name)?;
    change(&api, &caller, project, asked.envelope.request(&caller), ProjectChange::Rename { name }).await
}

/// Connect a project to another repository, or with another credential
#[utoipa::path(put, path = "/projects/{project}/repository", operation_id = "connectRepository", tag = "projects",
    request_body = RepositoryBody,
    responses((status = OK, description = "The project's code lives there.", body = Outcome)))]
async fn connect_repository(
    State(api): State<Shared>,
    caller: Caller,
    Ids(project): Ids<ProjectId>,
    asked: Asked<RepositoryBody>,
) -> Answered {
    let wanted = asked.body.checked()?;
    let request = asked.envelope.request(&caller);
    if let Some(answer) = api.dispatcher.recall(&caller, &request).await? {
        return Ok(Done::changed::<ProjectKind>(&answer));
    }
    // No repository is asked for a project that is not there.
    let loaded = api.dispatcher.load::<Project>(caller.tenant, project.uuid()).await.map_err(DispatchError::from)?;
    if loaded.version == 0 {
        return Err(Problem::not_found());
    }
    let (request, repository) = wanted.connected(&api, request).await?;
    change(&api, &caller, project, request, ProjectChange::ConnectRepository { repository }).await
}

/// All lanes of a board.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "lanes": [
    { "key": "todo", "name": "To do", "role": "ready" },
    { "key": "doing", "name": "Doing", "role": "in_progress" },
    { "key": "done", "name": "Done", "role": "done", "runs_allowed": false },
] }))]
struct LanesBody {
    /// 1 to 20, in order.
    #[schema(min_items = 1, max_items = 20)]
    #[schema(value_type = Vec<LaneBody>)]
    lanes: Vec<Members<LaneBody>>,
}

/// Give a board other lanes
///
/// A lane that holds cards cannot be left out.
#[utoipa::path(put, path = "/projects/{project}/lanes", operation_id = "configureLanes", tag = "projects",
    request_body = LanesBody, responses((status = OK, description = "The board has these lanes.", body = Outcome)))]
async fn configure_lanes(
    State(api): State<Shared>,
    caller: Caller,
    Ids(project): Ids<ProjectId>,
    asked: Asked<LanesBody>,
) -> Answered {
    let lanes = lanes(asked.body.lanes)?;
    change(&api, &caller, project, asked.envelope.request(&caller), ProjectChange::ConfigureLanes { lanes }).await
}

/// Set the bounds of a project's runs
///
/// Runs that are under way keep theirs.
#[utoipa::path(put, path = "/projects/{project}/policy", operation_id = "setPolicy", tag = "projects",
    request_body = PolicyBody, responses((status = OK, description = "The bounds hold for new runs.", body = Outcome)))]
async fn set_policy(
    State(api): State<Shared>,
    caller: Caller,
    Ids(project): Ids<ProjectId>,
    asked: Asked<PolicyBody>,
) -> Answered {
    let policy = Box::new(asked.body.checked()?);
    change(&api, &caller, project, asked.envelope.request(&caller), ProjectChange::SetPolicy { policy }).await
}

/// Choose the model of a project's runs
#[utoipa::path(put, path = "/projects/{project}/model", operation_id = "chooseModel", tag = "projects",
    request_body = ModelBody, responses((status = OK, description = "New runs use this model.", body = Outcome)))]
async fn choose_model(
    State(api): State<Shared>,
    caller: Caller,
    Ids(project): Ids<ProjectId>,
    asked: Asked<ModelBody>,
) -> Answered {
    let model = asked.body.checked()?;
    change(&api, &caller, project, asked.envelope.request(&caller), ProjectChange::ChooseModel { model }).await
}

/// Archive a project
#[utoipa::path(post, path = "/projects/{project}/archive", operation_id = "archiveProject", tag = "projects",
    request_body = Nothing, responses((status = OK, description = "The project takes no more work.", body = Outcome)))]
async fn archive(
    State(api): State<Shared>,
    caller: Caller,
    Ids(project): Ids<ProjectId>,
    asked: Asked<Nothing>,
) -> Answered {
    change(&api, &caller, project, asked.envelope.request(&caller), ProjectChange::Archive).await
}

async fn change(api: &Api, caller: &Caller, project: ProjectId, request: Request, change: ProjectChange) -> Answered {
    let order = Order::Project(ProjectOrder::Change { project, change });
    Ok(Done::changed::<ProjectKind>(&api.send(caller, request, order).await?))
}
