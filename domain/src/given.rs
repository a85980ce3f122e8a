//! Small values for the tests of the aggregates.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::card::Rank;
use crate::id::Id;
use crate::personal::{PersonalText, SealedText};
use crate::project::{ExecutionPolicy, Repository};
use crate::provider::ProviderKind;
use crate::run::{Task, TaskOutcome};
use crate::value::{Branch, CommitSha, LaneKey, ModelName, Name, Reason, RepositoryUrl, SecretRef, Text, Title};

/// The `n`th id of its kind.
pub(crate) fn id<K>(n: u128) -> Id<K> {
    Id::from_uuid(Uuid::from_u128(n))
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn title(text: &str) -> Title {
    Title::new(text).unwrap()
}

pub(crate) fn text(text: &str) -> Text {
    Text::new("text", text).unwrap()
}

pub(crate) fn reason(text: &str) -> Reason {
    Reason::new(text).unwrap()
}

/// A text as if it were sealed, of subject 9.
pub(crate) fn sealed(text: &str) -> PersonalText {
    PersonalText::Sealed(SealedText { subject: id(9), sealed: text.to_owned() })
}

pub(crate) fn lane(key: &str) -> LaneKey {
    LaneKey::new(key).unwrap()
}

pub(crate) fn model(text: &str) -> ModelName {
    ModelName::new(text).unwrap()
}

pub(crate) fn url(text: &str) -> RepositoryUrl {
    RepositoryUrl::new(text).unwrap()
}

/// The reference of the vault's `n`th secret.
pub(crate) fn secret(n: u128) -> SecretRef {
    SecretRef::vault(Uuid::from_u128(n))
}

/// The end of a lane as of the `n`th microsecond of some day.
pub(crate) fn rank(n: i64) -> Rank {
    Rank::end(OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::microseconds(n))
}

pub(crate) fn branch(name: &str) -> Branch {
    Branch::new(name).unwrap()
}

/// A commit whose every digit is `digit`.
pub(crate) fn commit(digit: char) -> CommitSha {
    CommitSha::new(&digit.to_string().repeat(40)).unwrap()
}

pub(crate) fn repository() -> Repository {
    Repository { url: url("https://git.example/shop.git"), default_branch: branch("main"), credential: None }
}

/// The task of run 4 of card 3 of project 2 in workspace 1, paid by provider 5.
pub(crate) fn task() -> Task {
    Task {
        workspace: id(1),
        project: id(2),
        card: id(3),
        title: title("Fix the build"),
        description: text("It fails since Monday."),
        instructions: None,
        repository: repository(),
        branch: Branch::of_run(id(3), id(4)),
        provider: id(5),
        provider_kind: ProviderKind::Anthropic,
        model: model("claude-sonnet"),
        policy: ExecutionPolicy::default(),
    }
}

/// What the first attempt at [`task`] left behind.
pub(crate) fn outcome() -> TaskOutcome {
    TaskOutcome {
        branch: task().branch,
        base_commit: commit('a'),
        work_commit: commit('b'),
        head_commit: commit('c'),
        summary: text("Fixed it."),
        files_changed: vec!["src/lib.rs".into()],
        context_path: ".agentworks/cards/3/4.context.json".into(),
        context_sha256: "0".repeat(64),
        pushed_by_attempt: 1,
    }
}
