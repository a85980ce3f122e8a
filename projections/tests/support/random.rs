//! Random histories: commands of every kind, most of them sensible, some refused.

use domain::card::{AgentProfile, Card, CardCommand, DependencyFacts, Rank};
use domain::environment::{Environment, EnvironmentCommand};
use domain::id::CommentId;
use domain::personal::SealedText;
use domain::project::{ExecutionPolicy, Lane, LaneRole, Lanes, ModelChoice, Project, ProjectCommand};
use domain::provider::{Provider, ProviderCommand, ProviderKind, ProviderSettings};
use domain::run::{FailureKind, Run, RunCommand, Timeout};
use domain::subject::{Subject, SubjectCommand};
use domain::tenant::{Tenant, TenantCommand};
use domain::value::{BaseUrl, ModelName, SecretRef, Title};
use domain::workspace::{Workspace, WorkspaceCommand};
use domain::{CardId, Decider, PersonalText, ProviderId, RunId, SubjectId, TenantId};
use rand::Rng as _;
use uuid::Uuid;

use super::{SECRET, World, lane, model_call, name, reason, step, text};

impl World {
    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.rng.random_range(0..from.len())]) }
    }

    fn line(&mut self) -> String {
        let count = self.next();
        format!("“{count}” \\ \"quoted\" – ünïcode")
    }

    /// A command that may be refused.
    async fn attempt<A: Decider>(&mut self, tenant: TenantId, stream: Uuid, command: A::Command) {
        // A refusal leaves nothing in the log.
        drop(self.act::<A>(tenant, stream, Self::actor(), command).await);
    }

    /// One random command, which may be refused.
    pub(crate) async fn random(&mut self) {
        match self.rng.random_range(0..100) {
            0..2 => {
                self.tenant().await;
            }
            2..8 => self.random_tenant_thing().await,
            8..14 => self.random_project().await,
            14..55 => self.random_card().await,
            55..95 => self.random_run().await,
            95..98 => self.random_environment().await,
            _ => self.random_erasure().await,
        }
    }

    /// What one of a few people said, as if it were sealed; or said in the open, as it was once.
    fn said(&mut self) -> PersonalText {
        let line = self.line();
        let subject = SubjectId::from_uuid(Uuid::from_u128(self.rng.random_range(1..=6)));
        if self.rng.random_bool(0.1) {
            return PersonalText::plain(line);
        }
        PersonalText::Sealed(SealedText { subject, sealed: format!("{:032x}+/==", self.rng.random::<u128>()) })
    }

    async fn random_erasure(&mut self) {
        let Some(tenant) = self.pick(&self.tenants.clone()) else { return };
        let subject = SubjectId::from_uuid(Uuid::from_u128(self.rng.random_range(1..=6)));
        self.attempt::<Subject>(tenant, subject.uuid(), SubjectCommand::Erase { subject, known: true }).await;
    }

    async fn random_tenant_thing(&mut self) {
        let Some(tenant) = self.pick(&self.tenants.clone()) else { return };
        let workspaces = self.workspaces.clone();
        let providers = self.providers.clone();
        let (workspace, provider) = (self.pick(&workspaces), self.pick(&providers));
        let line = self.line();
        let settings = ProviderSettings {
            name: name(&line),
            kind: ProviderKind::Anthropic,
            base_url: Some(BaseUrl::new("http://127.0.0.1:1").unwrap()),
            default_model: ModelName::new("model-2").unwrap(),
        };
        match (self.rng.random_range(0..10), workspace, provider) {
            (kind @ 0..3, ..) => {
                let command = match kind {
                    0 => TenantCommand::Rename { name: name(&line) },
                    1 => TenantCommand::Suspend { reason: self.said() },
                    _ => TenantCommand::Resume,
                };
                self.attempt::<Tenant>(tenant, tenant.uuid(), command).await;
            }
            (kind @ 3..5, Some((of, id)), _) => {
                let rename = WorkspaceCommand::Rename { name: name(&line) };
                let command = if kind == 3 { rename } else { WorkspaceCommand::Archive };
                self.attempt::<Workspace>(of, id.uuid(), command).await;
            }
            (kind @ 5..9, _, Some((of, id))) => {
                let command = match kind {
                    5 => ProviderCommand::Configure { settings },
                    6 => ProviderCommand::RotateKey { key: SecretRef::vault(Uuid::from_u128(SECRET)) },
                    7 => ProviderCommand::Disable,
                    _ => ProviderCommand::Enable,
                };
                self.attempt::<Provider>(of, id.uuid(), command).await;
            }
            _ => {
                self.provider(tenant).await;
            }
        }
    }

    async fn random_project(&mut self) {
        let Some(tenant) = self.pick(&self.tenants.clone()) else { return };
        let Some((of, id)) = self.pick(&self.projects.clone()).filter(|_| self.projects.len() > 3) else {
            self.project(tenant).await;
            return;
        };
        let line = self.line();
        let more = Lane { key: lane("later"), name: name(&line), role: LaneRole::Other, runs_allowed: false };
        let lanes = [Lanes::default().as_slice(), &[more]].concat();
        let command = match self.rng.random_range(0..12) {
            0..4 => ProjectCommand::Rename { name: name(&line) },
            4..6 => ProjectCommand::ConnectRepository { repository: Self::repository() },
            6..8 => ProjectCommand::ConfigureLanes { lanes: Lanes::new(lanes).unwrap(), occupied: [].into() },
            8 => ProjectCommand::SetPolicy { policy: ExecutionPolicy { max_steps: 9, ..ExecutionPolicy::default() } },
            9..11 => {
                let provider = ProviderId::from_uuid(self.uuid());
                ProjectCommand::ChooseModel { model: ModelChoice { provider, model: None }, provider_usable: true }
            }
            _ => ProjectCommand::Archive,
        };
        self.attempt::<Project>(of, id.uuid(), command).await;
    }

    async fn random_card(&mut self) {
        let cards = self.cards.clone();
        let known = self.pick(&cards).filter(|_| self.rng.random_bool(0.8));
        let Some((tenant, card)) = known else {
            let Some((tenant, project)) = self.pick(&self.projects.clone()) else { return };
            let line = self.line();
            self.card(tenant, project, &line).await;
            return;
        };
        let provider = self.pick(&self.providers.clone()).map(|(_, id)| id);
        if let (Some(provider), true) = (provider, self.rng.random_bool(0.3)) {
            if let Ok(run) = self.request_run(tenant, card, provider).await {
                self.queue(tenant, run).await;
            }
            return;
        }
        let command = self.random_card_command(tenant, card).await;
        self.attempt::<Card>(tenant, card.uuid(), command).await;
    }

    async fn random_card_command(&mut self, tenant: TenantId, card: CardId) -> CardCommand {
        let project = self.log.load::<Card>(tenant, card.uuid()).await.unwrap().state.known().unwrap().project;
        let lanes = self.lanes(tenant, project).await;
        let (rank, line) = (self.rank(), self.line());
        let on = self.pick(&self.cards.clone()).map_or(card, |(_, card)| card);
        match self.rng.random_range(0..20) {
            0..2 => CardCommand::Edit { title: Some(Title::new(&line).unwrap()), description: None },
            2 => CardCommand::Edit { title: None, description: Some(text(&line)) },
            3..7 => {
                let to = self.pick(&["backlog", "ready", "review", "done", "in-progress"]).unwrap_or("ready");
                CardCommand::Move { lane: lane(to), rank, lanes }
            }
            7..9 => CardCommand::Rank { rank: Rank::just_after(&rank) },
            9 => CardCommand::AssignAgent { agent: None, provider_usable: true },
            10 => {
                let agent =
                    AgentProfile { name: name(&line), provider: None, model: None, instructions: Some(text(&line)) };
                CardCommand::AssignAgent { agent: Some(agent), provider_usable: true }
            }
            11..13 => {
                let facts = DependencyFacts { on_same_board: true, waits_for_this: false };
                CardCommand::AddDependency { on, facts }
            }
            13 => CardCommand::RemoveDependency { on },
            14..16 => CardCommand::Block { reason: self.said(), lanes, rank },
            16 => CardCommand::Unblock { lanes, rank },
            17..19 => CardCommand::Comment { comment: CommentId::from_uuid(self.uuid()), text: self.said() },
            _ => CardCommand::Archive,
        }
    }

    async fn random_run(&mut self) {
        let Some((tenant, run)) = self.pick(&self.runs.clone()) else { return };
        let state = self.log.load::<Run>(tenant, run.uuid()).await.unwrap().state;
        let attempt = state.attempt_number();
        match &state {
            Run::Queued { attempts_lost, .. } if self.rng.random_bool(0.8) => {
                self.begin(tenant, run, attempts_lost + 1).await;
            }
            Run::Active { attempt: current, .. } if self.rng.random_bool(0.7) => {
                drop(self.run_act(tenant, run, step(attempt, current.last_step + 1)).await);
            }
            _ => {
                let command = self.random_run_command(run, attempt);
                drop(self.run_act(tenant, run, command).await);
            }
        }
    }

    fn random_run_command(&mut self, run: RunId, attempt: u32) -> RunCommand {
        let (line, provider) = (self.line(), self.tasks[&run].provider);
        match self.rng.random_range(0..12) {
            0..3 => model_call(attempt, provider, self.rng.random_range(0..5_000)),
            3 => model_call(attempt, provider, u64::MAX),
            4..7 => RunCommand::Succeed { attempt, outcome: Box::new(self.outcome(run, attempt)) },
            7 => {
                let (kind, log_tail) = (FailureKind::TestsFailed, text("1 failed"));
                RunCommand::Fail { attempt, kind, reason: reason(&line), log_tail }
            }
            8..10 => {
                let (kind, log_tail) = (FailureKind::PodLost, text("gone"));
                RunCommand::LoseAttempt { attempt, kind, reason: reason(&line), log_tail }
            }
            10 => RunCommand::TimeOut { attempt, timeout: Timeout::Run, after_seconds: 900 },
            _ => RunCommand::Cancel { reason: Some(self.said()) },
        }
    }

    async fn random_environment(&mut self) {
        let Some((tenant, id)) = self.pick(&self.environments.clone()) else { return };
        let line = self.line();
        let command = match self.rng.random_range(0..5) {
            0 => EnvironmentCommand::Provision,
            1 => EnvironmentCommand::MarkReady { confinement: vec!["namespaces".to_owned()] },
            2 => EnvironmentCommand::Stop { reason: reason(&line) },
            3 => EnvironmentCommand::MarkStopped,
            _ => EnvironmentCommand::Fail { reason: reason(&line) },
        };
        self.attempt::<Environment>(tenant, id.uuid(), command).await;
    }
}
