//! A follower whose reader hands it what the test wants, on a real log.

use std::pin::pin;

use domain::CardId;
use futures::StreamExt as _;
use tokio::sync::broadcast;

use super::*;
use crate::support::{Following, World};

struct Stage {
    world: World,
    following: Following,
    reading: Reading,
    tenant: TenantId,
    project: ProjectId,
    cards: Vec<CardId>,
    deltas: broadcast::Sender<Arc<Delta>>,
}

async fn stage(seed: u64, behind: usize) -> Stage {
    let mut world = World::new(seed).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let mut cards = Vec::new();
    for title in ["First", "Second", "Third"] {
        cards.push(world.card(tenant, project, title).await);
    }
    let following = world.follow();
    following.caught_up(&world).await;
    let reading = Reading {
        log: world.log.clone(),
        progress: following.progress.clone(),
        boards: Arc::new(crate::follow::Boards::new(world.log.clone(), following.progress.clone())),
        tail: outbox::tail::Tail::new(world.log.clone(), None),
        wait: std::time::Duration::from_secs(10),
    };
    Stage { world, following, reading, tenant, project, cards, deltas: broadcast::Sender::new(behind) }
}

impl Stage {
    /// A follower that hears of what [`Stage::hand_out`] gives.
    fn follower(&self) -> BoardFollower {
        let mut follower = BoardFollower::new(self.reading.clone(), self.tenant, self.project, None, Slot::default());
        follower.watch = Watch::fed_by(self.deltas.subscribe(), self.tenant, self.project);
        follower
    }

    /// Moves a card; the positions before and after.
    async fn change(&mut self, card: usize, lane: &str) -> (i64, i64) {
        let before = self.world.position;
        self.world.move_card(self.tenant, self.cards[card], lane).await;
        self.following.caught_up(&self.world).await;
        (before, self.world.position)
    }

    /// What a reader that has seen `after` hands out now.
    async fn hand_out(&self, after: i64) {
        let delta = delta(&self.world.log, self.tenant, self.project, after).await.unwrap().unwrap();
        self.deltas.send(Arc::new(delta)).unwrap();
    }
}

fn seen(frame: Option<Result<BoardFrame>>) -> (i64, Vec<CardId>) {
    let frame = frame.unwrap().unwrap_or_else(|error| panic!("{error:?}"));
    let cards = frame.cards.iter().map(|card| CardId::from_uuid(card.card)).collect();
    (frame.cursor.0.position, cards)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reader_that_began_later_leaves_out_is_read() {
    let mut stage = stage(1, 8).await;
    let mut frames = pin!(stage.follower().frames());
    seen(frames.next().await);
    stage.change(0, "ready").await;
    let (later, end) = stage.change(1, "ready").await;
    stage.hand_out(later).await;
    assert_eq!(seen(frames.next().await), (end, vec![stage.cards[0], stage.cards[1]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_does_not_come_again() {
    let mut stage = stage(2, 8).await;
    let (start, _) = stage.change(0, "ready").await;
    let mut frames = pin!(stage.follower().frames());
    let (cursor, _) = seen(frames.next().await);
    // A reader that is behind hands out what the follower read by itself, alone and then with something new.
    stage.hand_out(start).await;
    let (_, end) = stage.change(1, "ready").await;
    stage.hand_out(start).await;
    assert!(cursor < end);
    assert_eq!(seen(frames.next().await), (end, vec![stage.cards[1]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_too_slow_reads_what_was_dropped() {
    let mut stage = stage(3, 2).await;
    let mut frames = pin!(stage.follower().frames());
    seen(frames.next().await);
    let mut end = 0;
    for (card, lane) in [(0, "ready"), (1, "ready"), (2, "ready"), (1, "review"), (2, "review")] {
        let (before, after) = stage.change(card, lane).await;
        stage.hand_out(before).await;
        end = after;
    }
    assert_eq!(seen(frames.next().await), (end, stage.cards.clone()));
    let (before, after) = stage.change(0, "review").await;
    stage.hand_out(before).await;
    assert_eq!(seen(frames.next().await), (after, vec![stage.cards[0]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_nobody_watches_has_no_reader() {
    let stage = stage(4, 2).await;
    let watch = || BoardFollower::new(stage.reading.clone(), stage.tenant, stage.project, None, Slot::default());
    let (one, two) = (watch(), watch());
    assert_eq!(stage.reading.boards.watched(), 1);
    drop(one);
    assert_eq!(stage.reading.boards.watched(), 1);
    drop(two);
    assert_eq!(stage.reading.boards.watched(), 0);
}
