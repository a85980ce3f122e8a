//! Cards, on the board of their project.

use axum::extract::State;
use domain::card::AgentProfile;
use domain::id::CardKind;
use domain::value::{LaneKey, ModelName, Name, Reason, Text, Title};
use domain::{CardId, PersonalText, ProjectId, ProviderId, SubjectId};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answered, Done, Outcome};
use super::asked::{Asked, Ids};
use super::values::Nothing;
use super::{Api, Shared};
use crate::order::{CardChange, CardOrder, Place};
use crate::{Caller, Order};

/// The project and the card.
type OnBoard = (ProjectId, CardId);

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(edit))
        .routes(routes!(move_card))
        .routes(routes!(rank))
        .routes(routes!(run))
        .routes(routes!(archive))
        .routes(routes!(block))
        .routes(routes!(unblock))
        .routes(routes!(comment))
        .routes(routes!(assign_agent, unassign_agent))
        .routes(routes!(add_dependency, remove_dependency))
}

/// A new card.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "title": "Greet in German", "description": "Say „Hallo“.", "lane": "ready" }))]
struct CreateCard {
    /// One line, 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// What is to be done, at most 64 KiB.
    #[serde(default)]
    description: String,
    /// Where it starts; the first lane when absent.
    lane: Option<String>,
}

/// Create a card
#[utoipa::path(post, path = "/projects/{project}/cards", operation_id = "createCard", tag = "cards",
    request_body = CreateCard, responses((status = CREATED, description = "The card is on the board.", body = Outcome)))]
async fn create(
    State(api): State<Shared>,
    caller: Caller,
    Ids(project): Ids<ProjectId>,
    asked: Asked<CreateCard>,
) -> Answered {
    let order = Order::Card(CardOrder::Create {
        project,
        title: Title::new(&asked.body.title)?,
        description: Text::new("description", &asked.body.description)?,
        lane: asked.body.lane.map(|lane| LaneKey::new(&lane)).transpose()?,
    });
    let request = asked.envelope.request(&caller);
    let answer = api.send(&caller, request, order).await?;
    Ok(Done::created::<CardKind>(&answer, &format!("/v1/projects/{project}/cards")))
}

/// Another title or description.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "title": "Greet in French" }))]
struct EditCard {
    /// One line, 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    title: Option<String>,
    /// What is to be done, at most 64 KiB.
    description: Option<String>,
}

/// Change a card's title or description
#[utoipa::path(patch, path = "/projects/{project}/cards/{card}", operation_id = "editCard", tag = "cards",
    request_body = EditCard, responses((status = OK, description = "The card says this.", body = Outcome)))]
async fn edit(State(api): State<Shared>, caller: Caller, Ids(card): Ids<OnBoard>, asked: Asked<EditCard>) -> Answered {
    let title = asked.body.title.as_deref().map(Title::new).transpose()?;
    let description = asked.body.description.as_deref().map(|text| Text::new("description", text)).transpose()?;
    change(&api, &caller, card, asked, CardChange::Edit { title, description }).await
}

/// Where a card goes. Without neighbours it goes to the end of the lane.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "lane": "review", "after": "crd_01kafq0000e0sbch2gs9rjc5rd" }))]
struct MoveCard {
    /// The lane's key.
    lane: String,
    /// The card that will stand before it.
    #[schema(value_type = Option<String>)]
    after: Option<CardId>,
    /// The card that will stand after it.
    #[schema(value_type = Option<String>)]
    before: Option<CardId>,
}

/// Put a card into a lane
#[utoipa::path(post, path = "/projects/{project}/cards/{card}/move", operation_id = "moveCard", tag = "cards",
    request_body = MoveCard, responses((status = OK, description = "The card is there.", body = Outcome)))]
async fn move_card(
    State(api): State<Shared>,
    caller: Caller,
    Ids(card): Ids<OnBoard>,
    asked: Asked<MoveCard>,
) -> Answered {
    let lane = LaneKey::new(&asked.body.lane)?;
    let place = Place { after: asked.body.after, before: asked.body.before };
    change(&api, &caller, card, asked, CardChange::Move { lane, place }).await
}

/// Another place in the same lane. Without neighbours it is the end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "before": "crd_01kafq0000e0sbch2gs9rjc5rd" }))]
struct RankCard {
    /// The card that will stand before it.
    #[schema(value_type = Option<String>)]
    after: Option<CardId>,
    /// The card that will stand after it.
    #[schema(value_type = Option<String>)]
    before: Option<CardId>,
}

/// Give a card another place in its lane
#[utoipa::path(post, path = "/projects/{project}/cards/{card}/rank", operation_id = "rankCard", tag = "cards",
    request_body = RankCard, responses((status = OK, description = "The card is there.", body = Outcome)))]
async fn rank(State(api): State<Shared>, caller: Caller, Ids(card): Ids<OnBoard>, asked: Asked<RankCard>) -> Answered {
    let place = Place { after: asked.body.after, before: asked.body.before };
    change(&api, &caller, card, asked, CardChange::Rank { place }).await
}

/// Run a card
///
/// The run goes on by itself; its id is in the answer.
#[utoipa::path(post, path = "/projects/{project}/cards/{card}/run", operation_id = "runCard", tag = "cards",
    request_body = Nothing, responses((status = ACCEPTED, description = "The run is asked for.", body = Outcome)))]
async fn run(
    State(api): State<Shared>,
    caller: Caller,
    Ids((project, card)): Ids<OnBoard>,
    asked: Asked<Nothing>,
) -> Answered {
    let request = asked.envelope.request(&caller);
    let run = request.run();
    let order = Order::Card(CardOrder::Change { project, card, change: CardChange::Run });
    Ok(Done::accepted::<CardKind>(&api.send(&caller, request, order).await?, run))
}

/// Take a card off the board
#[utoipa::path(post, path = "/projects/{project}/cards/{card}/archive", operation_id = "archiveCard", tag = "cards",
    request_body = Nothing, responses((status = OK, description = "The card is off the board.", body = Outcome)))]
async fn archive(
    State(api): State<Shared>,
    caller: Caller,
    Ids(card): Ids<OnBoard>,
    asked: Asked<Nothing>,
) -> Answered {
    change(&api, &caller, card, asked, CardChange::Archive).await
}

/// What holds a card up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "waiting for the designer" }))]
struct BlockCard {
    /// For people, 1 to 2,000 characters.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
}

/// Block a card
#[utoipa::path(post, path = "/projects/{project}/cards/{card}/block", operation_id = "blockCard", tag = "cards",
    request_body = BlockCard, responses((status = OK, description = "The card is blocked.", body = Outcome)))]
async fn block(
    State(api): State<Shared>,
    caller: Caller,
    Ids(card): Ids<OnBoard>,
    asked: Asked<BlockCard>,
) -> Answered {
    let reason = PersonalText::plain(Reason::new(&asked.body.reason)?);
    change(&api, &caller, card, asked, CardChange::Block { reason }).await
}

/// Unblock a card
#[utoipa::path(post, path = "/projects/{project}/cards/{card}/unblock", operation_id = "unblockCard", tag = "cards",
    request_body = Nothing, responses((status = OK, description = "The card is not blocked.", body = Outcome)))]
async fn unblock(
    State(api): State<Shared>,
    caller: Caller,
    Ids(card): Ids<OnBoard>,
    asked: Asked<Nothing>,
) -> Answered {
    change(&api, &caller, card, asked, CardChange::Unblock).await
}

/// A comment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "text": "Mind the umlauts." }))]
struct Comment {
    /// At most 64 KiB, not blank.
    #[schema(min_length = 1)]
    text: String,
    /// The data subject whom it is about, `sub_…`: it is erased with that person. Absent: with whoever says it.
    #[schema(value_type = Option<String>)]
    about: Option<SubjectId>,
}

/// Comment on a card
#[utoipa::path(post, path = "/projects/{project}/cards/{card}/comments", operation_id = "commentCard", tag = "cards",
    request_body = Comment, responses((status = OK, description = "The comment is on the card.", body = Outcome)))]
async fn comment(
    State(api): State<Shared>,
    caller: Caller,
    Ids(card): Ids<OnBoard>,
    asked: Asked<Comment>,
) -> Answered {
    let text = PersonalText::plain(Text::not_blank("text", &asked.body.text)?);
    let about = asked.body.about;
    change(&api, &caller, card, asked, CardChange::Comment { text, about }).await
}

/// The agent that runs a card.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Careful reviewer", "instructions": "Write a test first." }))]
struct Agent {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Whose account pays; the project's choice when absent.
    #[schema(value_type = Option<String>)]
    provider: Option<ProviderId>,
    /// The model; the project's or provider's choice when absent.
    model: Option<String>,
    /// What it is told besides the card, at most 64 KiB.
    instructions: Option<String>,
}

/// Assign an agent to a card
#[utoipa::path(put, path = "/projects/{project}/cards/{card}/agent", operation_id = "assignAgent", tag = "cards",
    request_body = Agent, responses((status = OK, description = "The agent will run the card.", body = Outcome)))]
async fn assign_agent(
    State(api): State<Shared>,
    caller: Caller,
    Ids(card): Ids<OnBoard>,
    asked: Asked<Agent>,
) -> Answered {
    let body = &asked.body;
    let agent = Box::new(AgentProfile {
        name: Name::new(&body.name)?,
        provider: body.provider,
        model: body.model.as_deref().map(ModelName::new).transpose()?,
        instructions: body.instructions.as_deref().map(|text| Text::new("instructions", text)).transpose()?,
    });
    change(&api, &caller, card, asked, CardChange::AssignAgent { agent: Some(agent) }).await
}

/// Assign no agent to a card
#[utoipa::path(delete, path = "/projects/{project}/cards/{card}/agent", operation_id = "unassignAgent", tag = "cards",
    responses((status = OK, description = "No agent is assigned.", body = Outcome)))]
async fn unassign_agent(
    State(api): State<Shared>,
    caller: Caller,
    Ids(card): Ids<OnBoard>,
    asked: Asked<Nothing>,
) -> Answered {
    change(&api, &caller, card, asked, CardChange::AssignAgent { agent: None }).await
}

/// Make a card wait for another
#[utoipa::path(put, path = "/projects/{project}/cards/{card}/dependencies/{on}", operation_id = "addDependency",
    tag = "cards", responses((status = OK, description = "The card waits for the other.", body = Outcome)))]
async fn add_dependency(
    State(api): State<Shared>,
    caller: Caller,
    Ids((project, card, on)): Ids<(ProjectId, CardId, CardId)>,
    asked: Asked<Nothing>,
) -> Answered {
    change(&api, &caller, (project, card), asked, CardChange::AddDependency { on }).await
}

/// Let a card no longer wait for another
#[utoipa::path(delete, path = "/projects/{project}/cards/{card}/dependencies/{on}", operation_id = "removeDependency",
    tag = "cards", responses((status = OK, description = "The card does not wait for the other.", body = Outcome)))]
async fn remove_dependency(
    State(api): State<Shared>,
    caller: Caller,
    Ids((project, card, on)): Ids<(ProjectId, CardId, CardId)>,
    asked: Asked<Nothing>,
) -> Answered {
    change(&api, &caller, (project, card), asked, CardChange::RemoveDependency { on }).await
}

async fn change<T>(
    api: &Api,
    caller: &Caller,
    (project, card): OnBoard,
    asked: Asked<T>,
    change: CardChange,
) -> Answered {
    let request = asked.envelope.request(caller);
    let order = Order::Card(CardOrder::Change { project, card, change });
    Ok(Done::changed::<CardKind>(&api.send(caller, request, order).await?))
}
