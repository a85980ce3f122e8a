//! Random small values. Ids, lanes and ranks come from small pools, so that commands meet.

use domain::card::Rank;
use domain::personal::{PersonalText, SealedText};
use domain::project::{ExecutionPolicy, Lane, LaneRole, Lanes, ModelChoice, Repository, Tool};
use domain::value::{Branch, CommitSha, LaneKey, ModelName, Name, Reason, RepositoryUrl, SecretRef, Text, Title};
use domain::{Id, Kind};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Mostly true: facts that are seldom otherwise.
pub(crate) fn likely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.9)
}

pub(crate) fn id<K: Kind>() -> impl Strategy<Value = Id<K>> {
    (1_u128..=3).prop_map(|n| Id::from_uuid(Uuid::from_u128(n)))
}

pub(crate) fn any_id<K: Kind>() -> impl Strategy<Value = Id<K>> {
    any::<u128>().prop_map(|n| Id::from_uuid(Uuid::from_u128(n)))
}

pub(crate) fn name() -> impl Strategy<Value = Name> {
    "\\PC{1,12}".prop_filter_map("a name", |text| Name::new(&text).ok())
}

pub(crate) fn title() -> impl Strategy<Value = Title> {
    "\\PC{1,12}".prop_filter_map("a title", |text| Title::new(&text).ok())
}

pub(crate) fn text() -> impl Strategy<Value = Text> {
    any::<String>().prop_filter_map("a text", |text| Text::new("text", &text).ok())
}

pub(crate) fn reason() -> impl Strategy<Value = Reason> {
    any::<String>().prop_filter_map("a reason", |text| Reason::new(&text).ok())
}

pub(crate) fn sealed() -> impl Strategy<Value = PersonalText> {
    (id(), "[a-zA-Z0-9+/]{0,40}").prop_map(|(subject, sealed)| PersonalText::Sealed(SealedText { subject, sealed }))
}

pub(crate) fn model() -> impl Strategy<Value = ModelName> {
    select(vec!["claude-sonnet", "gpt"]).prop_map(|name| ModelName::new(name).unwrap())
}

pub(crate) fn secret() -> impl Strategy<Value = SecretRef> {
    (1_u128..=3).prop_map(|n| SecretRef::vault(Uuid::from_u128(n)))
}

pub(crate) fn branch() -> impl Strategy<Value = Branch> {
    select(vec!["main", "release/2"]).prop_map(|name| Branch::new(name).unwrap())
}

pub(crate) fn commit() -> impl Strategy<Value = CommitSha> {
    select(vec!["a", "b", "c"]).prop_map(|digit| CommitSha::new(&digit.repeat(40)).unwrap())
}

pub(crate) fn rank() -> impl Strategy<Value = Rank> {
    (1_i64..=4).prop_map(|n| Rank::end(OffsetDateTime::UNIX_EPOCH + Duration::microseconds(n)))
}

pub(crate) fn repository() -> impl Strategy<Value = Repository> {
    let url = select(vec!["https://git.example/a.git", "http://git.example/b.git"])
        .prop_map(|url| RepositoryUrl::new(url).unwrap());
    (url, branch(), prop::option::of(secret())).prop_map(|(url, default_branch, credential)| Repository {
        url,
        default_branch,
        credential,
    })
}

pub(crate) fn policy() -> impl Strategy<Value = ExecutionPolicy> {
    let tools = subsequence(Tool::ALL.to_vec(), 0..=Tool::ALL.len());
    (tools, 1_u32..=3, 1_u32..=3, prop::option::of(text())).prop_map(
        |(allowed_tools, max_active_runs, max_attempts, test_command)| ExecutionPolicy {
            allowed_tools,
            max_active_runs,
            max_attempts,
            test_command,
            ..ExecutionPolicy::default()
        },
    )
}

pub(crate) fn model_choice() -> impl Strategy<Value = ModelChoice> {
    (id(), prop::option::of(model())).prop_map(|(provider, model)| ModelChoice { provider, model })
}

/// A lane of the default board, or one that boards lack.
pub(crate) fn lane() -> impl Strategy<Value = LaneKey> {
    let keys = vec!["backlog", "ready", "in-progress", "review", "done", "blocked", "doing"];
    select(keys).prop_map(|key| LaneKey::new(key).unwrap())
}

/// The default board, or one that lacks some of its lanes.
pub(crate) fn lanes() -> impl Strategy<Value = Lanes> {
    let all = Lanes::default().as_slice().to_vec();
    let some = subsequence(all, 2..=6).prop_filter_map("a board", |lanes: Vec<Lane>| {
        lanes.iter().any(|lane| lane.role == LaneRole::Done).then(|| Lanes::new(lanes).unwrap())
    });
    prop_oneof![3 => Just(Lanes::default()), 1 => some]
}

/// Up to 40 commands, the first of which mostly brings the aggregate into being.
pub(crate) fn sequence<C: std::fmt::Debug + Clone + 'static>(
    create: impl Strategy<Value = C> + Clone + 'static,
    change: impl Strategy<Value = C> + 'static,
) -> impl Strategy<Value = Vec<C>> {
    let first = prop::option::weighted(0.95, create.clone());
    let rest = prop::collection::vec(prop_oneof![1 => create, 20 => change], 0..40);
    (first, rest).prop_map(|(first, rest)| first.into_iter().chain(rest).collect())
}
