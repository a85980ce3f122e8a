//! Every field that there is, asked with another tenant's ids.
//!
//! The questions are made from the schema itself, so a field that comes later is asked as well.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{BaseType, FieldDefinition, Type, TypeDefinition, TypeKind, TypeSystemDefinition};
use domain::TenantId;
use query_api::Settings;
use serde_json::{Value, json};

use crate::api::Api;
use crate::support::World;

/// Fields in each other that a question goes down to.
const DEPTH: usize = 5;

struct Schema(BTreeMap<String, TypeDefinition>);

/// A field of `Query` or `Subscription`, as a document with a variable for each id that it takes.
struct Question {
    field: String,
    document: String,
    /// The variables, and whether each is a list.
    ids: Vec<(String, bool)>,
}

fn base(of: &Type) -> String {
    match &of.base {
        BaseType::Named(name) => name.to_string(),
        BaseType::List(inner) => base(inner),
    }
}

impl Schema {
    fn read() -> Self {
        let document = parse_schema(query_api::sdl()).unwrap();
        let types = document.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(named) => Some((named.node.name.node.to_string(), named.node)),
            _ => None,
        });
        Self(types.collect())
    }

    fn fields(&self, of: &str) -> Vec<&FieldDefinition> {
        match self.0.get(of).map(|found| &found.kind) {
            Some(TypeKind::Object(object)) => object.fields.iter().map(|field| &field.node).collect(),
            Some(TypeKind::Interface(interface)) => interface.fields.iter().map(|field| &field.node).collect(),
            _ => vec![],
        }
    }

    /// Everything below a type, but no type within itself.
    fn below(&self, of: &str, path: &mut Vec<String>) -> String {
        let mut parts = vec!["__typename".to_owned()];
        path.push(of.to_owned());
        for field in self.fields(of) {
            let asks = field.arguments.iter().any(|argument| !argument.node.ty.node.nullable);
            let (name, kind) = (&field.name.node, base(&field.ty.node));
            let deeper = !self.fields(&kind).is_empty();
            if asks || (deeper && (path.contains(&kind) || path.len() >= DEPTH)) {
                continue;
            }
            parts.push(if deeper { format!("{name} {}", self.below(&kind, path)) } else { name.to_string() });
        }
        if let Some(TypeKind::Interface(_)) = self.0.get(of).map(|found| &found.kind) {
            for (name, other) in &self.0 {
                if let TypeKind::Object(object) = &other.kind
                    && object.implements.iter().any(|implemented| implemented.node == of)
                {
                    // One level: names differ in nullability between the kinds.
                    let own =
                        self.fields(name).into_iter().filter(|field| self.fields(&base(&field.ty.node)).is_empty());
                    let own: Vec<_> = own
                        .filter(|field| field.arguments.is_empty())
                        .map(|field| format!("{name}_{field}: {field}", field = field.name.node))
                        .take(4)
                        .collect();
                    parts.push(format!("... on {name} {{ {} }}", own.join(" ")));
                }
            }
        }
        path.pop();
        format!("{{ {} }}", parts.join(" "))
    }

    /// Each field with all the ids that it takes, and with those alone that it must be given.
    fn questions(&self, root: &str, operation: &str) -> Vec<Question> {
        let of = |field: &FieldDefinition, all: bool| {
            let arguments = field.arguments.iter().map(|argument| &argument.node);
            let ids = arguments.filter(|argument| base(&argument.ty.node) == "ID");
            let ids: Vec<_> = ids.filter(|argument| all || !argument.ty.node.nullable).collect();
            let declared: String = ids.iter().map(|id| format!("${}: {} ", id.name.node, id.ty.node)).collect();
            let given: String = ids.iter().map(|id| format!("{name}: ${name} ", name = id.name.node)).collect();
            let brackets = |text: String| if text.is_empty() { text } else { format!("({text})") };
            let (name, kind) = (&field.name.node, base(&field.ty.node));
            let below = self.below(&kind, &mut vec![]);
            let document = format!("{operation} Q{} {{ {name}{} {below} }}", brackets(declared), brackets(given));
            let list = |ty: &Type| matches!(ty.base, BaseType::List(_));
            let ids = ids.iter().map(|id| (id.name.node.to_string(), list(&id.ty.node))).collect();
            Question { field: name.to_string(), document, ids }
        };
        self.fields(root).into_iter().flat_map(|field| [of(field, true), of(field, false)]).collect()
    }
}

/// The same id for all that a question takes.
fn with(question: &Question, id: &str) -> Value {
    let value = |list: bool| if list { json!([id]) } else { json!(id) };
    Value::Object(question.ids.iter().map(|(name, list)| (name.clone(), value(*list))).collect())
}

/// An id of the same kind that nobody has.
fn unknown(id: &str) -> String {
    format!("{}_00000000000000000000000000", id.split('_').next().unwrap())
}

struct Stage {
    api: Api,
    owner: TenantId,
    stranger: TenantId,
    /// Everything of the owner's that has an id.
    ids: BTreeSet<String>,
}

async fn stage(seed: u64) -> Stage {
    let mut world = World::new(seed).await;
    let (owner, stranger) = (world.tenant().await, world.tenant().await);
    let provider = world.provider(owner).await;
    let workspace = world.workspace(owner).await;
    let project = world.project(owner).await;
    let card = world.card(owner, project, "First").await;
    let run = world.request_run(owner, card, provider).await.unwrap();
    world.queue(owner, run).await;
    let environment = world.begin(owner, run, 1).await;
    world.step(owner, run, 1, 1).await;
    world.succeed(owner, run, 1).await;
    let settings = Settings { max_complexity: 100_000_000, ..Settings::default() };
    let api = Api::with(&world, settings).await;
    api.caught_up(&world).await;
    let ids = [
        owner.to_string(),
        provider.to_string(),
        workspace.to_string(),
        project.to_string(),
        card.to_string(),
        run.to_string(),
        environment.to_string(),
    ];
    Stage { api, owner, stranger, ids: ids.into() }
}

impl Stage {
    /// Whether an answer names anything of the owner's, besides what was asked with.
    fn tells(&self, answer: &Value, asked: &str) -> Option<&String> {
        let text = answer.to_string();
        self.ids.iter().find(|id| *id != asked && text.contains(*id))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_with_anothers_id_is_answered_as_with_an_unknown_one() {
    let stage = stage(21).await;
    let schema = Schema::read();
    let (mut asked, mut found) = (0, BTreeSet::new());
    for question in schema.questions("Query", "query") {
        for id in &stage.ids {
            let variables = with(&question, id);
            let mine = stage.api.ask(stage.owner, &question.document, variables.clone()).await;
            assert_eq!(mine.get("errors"), None, "{}: {mine}", question.document);
            if stage.tells(&mine, "").is_some() {
                found.insert(question.field.clone());
            }
            let theirs = stage.api.ask(stage.stranger, &question.document, variables).await;
            let nobodys = stage.api.ask(stage.stranger, &question.document, with(&question, &unknown(id))).await;
            assert_eq!(theirs, nobodys, "{} {id}", question.field);
            assert_eq!(stage.tells(&theirs, id), None, "{}: {theirs}", question.field);
            asked += 1;
            if question.ids.is_empty() {
                break;
            }
        }
    }
    // The questions do find what is there, for whom it is.
    for field in [
        "me",
        "node",
        "nodes",
        "workspaces",
        "providers",
        "projects",
        "project",
        "board",
        "card",
        "cards",
        "cardHistory",
        "cardReplay",
        "run",
        "runs",
        "environment",
        "environments",
        "log",
    ] {
        assert!(found.contains(field), "{field} finds nothing: {found:?}");
    }
    assert!(asked > 50, "{asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_subscription_with_anothers_id_ends_as_with_an_unknown_one() {
    let stage = stage(22).await;
    for question in Schema::read().questions("Subscription", "subscription") {
        for id in &stage.ids {
            let mut heard = vec![];
            for id in [id.clone(), unknown(id)] {
                let mut socket = stage.api.open(stage.stranger).await;
                socket.subscribe("1", &question.document, with(&question, &id)).await;
                heard.push(socket.hear().await);
            }
            assert_eq!(heard[0], heard[1], "{} {id}", question.field);
            assert_eq!(stage.tells(&heard[0], id), None, "{}", question.field);
        }
    }
}
