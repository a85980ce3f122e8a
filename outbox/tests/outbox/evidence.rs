//! Each event is once in its tenant's Merkle log, whatever happens; what was signed is never contradicted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{EventId, TenantId};
use outbox::consumer::{ApplyError, Consumer, Touched, parking};
use outbox::evidence::{self, Evidence, Notary, NotaryError, NotarySettings};
use outbox::{Log, Place, Verdict, consumer};
use schemas::Recorded;
use schemas::evidence::Hash;
use schemas::evidence::checkpoint::{Checkpoint, Keys, origin, platform_origin};
use schemas::evidence::merkle::{self, Frontier};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Database, connect, eventually, fill, first, tenant, uuid};

fn keys(seeds: &[u8]) -> Arc<Keys> {
    Arc::new(Keys::parse(&seeds.iter().map(|seed| Keys::line(&[*seed; 32])).collect::<String>()).unwrap())
}

fn notary(log: &Log, keys: &Arc<Keys>, places: Vec<Place>) -> Notary {
    let interval = Duration::from_millis(20);
    let settings = NotarySettings { installation: "test".into(), interval, events: 10, places };
    Notary::new(log.clone(), Arc::clone(keys), settings)
}

async fn caught_up(log: &Log) {
    consumer::catch_up(log, &Evidence::default(), 0, log.head(0).await.unwrap()).await.unwrap();
}

/// The tenant's roots at every size, from the log alone.
async fn roots(log: &Log, tenant: TenantId) -> Vec<Hash> {
    let digests: Vec<Vec<u8>> = sqlx::query_scalar("SELECT digest FROM log.events WHERE tenant = $1 ORDER BY position")
        .bind(tenant.uuid())
        .fetch_all(log.worker_pool())
        .await
        .unwrap();
    let mut tree = Frontier::default();
    let mut roots = vec![tree.root()];
    for digest in digests {
        tree.push(merkle::leaf(&digest));
        roots.push(tree.root());
    }
    roots
}

#[tokio::test]
async fn every_event_can_be_proven_and_every_size_is_a_beginning_of_every_later_one() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (mine, other) = (tenant(), tenant());
    fill(&log, mine, 300).await;
    fill(&log, other, 5).await;
    // Beyond what one level of tiles above the leaves holds.
    let many = (0..660).map(|_| log.append(first(mine, uuid(), 100)));
    for verdict in futures::future::join_all(many).await {
        assert!(matches!(verdict.unwrap(), Verdict::Stored(_)));
    }
    caught_up(&log).await;
    let roots = roots(&log, mine).await;
    assert_eq!(roots.len(), 66_301);
    let at = |size: u64| &roots[usize::try_from(size).unwrap()];

    let mut tx = log.tenant_read(mine).await.unwrap();
    assert_eq!(evidence::size(&mut tx, mine).await.unwrap(), 66_300);
    let sizes = [1, 2, 255, 256, 257, 300, 511, 512, 65_535, 65_536, 65_537, 66_000, 66_299, 66_300];
    for new in sizes {
        assert_eq!(evidence::root(&mut tx, mine, new).await.unwrap().as_ref(), Some(at(new)), "{new}");
        for old in sizes.into_iter().filter(|old| *old <= new) {
            let proof = evidence::consistency(&mut tx, mine, old, new).await.unwrap().unwrap();
            assert!(merkle::verify_consistency((old, at(old)), (new, at(new)), &proof), "{old} of {new}");
        }
    }
    for event in
        log.read_tenant(mine, 250, 12).await.unwrap().iter().chain(&log.read_tenant(mine, 66_290, 99).await.unwrap())
    {
        let proof = evidence::inclusion(&mut tx, mine, event.position, 66_300).await.unwrap().unwrap();
        assert_eq!(proof.digest, event.digest);
        let leaf = merkle::leaf(&event.digest.0);
        assert!(merkle::verify_inclusion(leaf, proof.index, proof.size, &proof.path, at(66_300)));
        assert_eq!(evidence::size_at(&mut tx, mine, event.position).await.unwrap(), proof.index + 1);
    }
    // There are no proofs of what is not there, and none of another tenant's.
    assert_eq!(evidence::root(&mut tx, mine, 66_301).await.unwrap(), None);
    assert_eq!(evidence::inclusion(&mut tx, mine, 303, 66_300).await.unwrap(), None);
    assert_eq!(evidence::size(&mut tx, other).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_second_harnesses_and_a_rebuild_change_no_root() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let tenants = [tenant(), tenant(), tenant()];
    for round in 0..3 {
        let stop = CancellationToken::new();
        for _ in 0..2 {
            tokio::spawn(consumer::run(log.clone(), None, Arc::new(Evidence::default()), 0, stop.clone()));
        }
        for (tenant, count) in tenants.into_iter().zip([7, 120, 301]) {
            fill(&log, tenant, count).await;
        }
        if round == 1 {
            consumer::rebuild(&log, &Evidence::default()).await.unwrap();
        }
        stop.cancel();
    }
    caught_up(&log).await;
    for (tenant, size) in tenants.into_iter().zip([21, 360, 903]) {
        let mut tx = log.tenant_read(tenant).await.unwrap();
        assert_eq!(evidence::size(&mut tx, tenant).await.unwrap(), size);
        let roots = roots(&log, tenant).await;
        assert_eq!(evidence::root(&mut tx, tenant, size).await.unwrap(), roots.last().copied());
    }
}

#[tokio::test]
async fn checkpoints_are_signed_when_a_log_has_moved_and_all_stand_in_the_platforms() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (mine, other) = (tenant(), tenant());
    let (old, new) = (keys(&[1]), keys(&[2, 1]));
    fill(&log, mine, 3).await;
    caught_up(&log).await;
    assert_eq!(notary(&log, &old, vec![]).round().await.unwrap(), 1);
    // Nothing moved, nothing said.
    assert_eq!(notary(&log, &old, vec![]).round().await.unwrap(), 0);
    fill(&log, mine, 2).await;
    fill(&log, other, 1).await;
    caught_up(&log).await;
    assert_eq!(notary(&log, &new, vec![]).round().await.unwrap(), 2);
    assert_eq!(notary(&log, &new, vec![]).sign(mine, Some(4)).await.unwrap(), 4);

    let mut tx = log.worker_pool().begin().await.unwrap();
    let notes = evidence::checkpoints(&mut tx, mine, 0, 100).await.unwrap();
    let roots = roots(&log, mine).await;
    let signers = [old.public()[0], new.public()[0], new.public()[0]];
    for ((note, size), signer) in notes.iter().zip([3, 4, 5]).zip(signers) {
        let (checkpoint, by) = Checkpoint::open(note, &new.public()).unwrap();
        assert_eq!(checkpoint.origin, origin("test", mine));
        assert_eq!((checkpoint.size, checkpoint.root), (size, roots[usize::try_from(size).unwrap()]));
        assert_eq!(by, Some(signer));
    }
    assert_eq!(notes.len(), 3);
    let platform = TenantId::from_uuid(Uuid::nil());
    let (size, note) = evidence::checkpoint(&mut tx, platform).await.unwrap().unwrap();
    let (checkpoint, _) = Checkpoint::open(&note, &new.public()).unwrap();
    assert_eq!((size, checkpoint.size, checkpoint.origin), (4, 4, platform_origin("test")));
    for entry in 0..4 {
        let proof = evidence::inclusion(&mut tx, platform, entry, 4).await.unwrap().unwrap();
        let leaf = merkle::leaf(&proof.digest.0);
        assert!(merkle::verify_inclusion(leaf, proof.index, 4, &proof.path, &checkpoint.root));
    }
}

#[tokio::test]
async fn a_log_that_was_altered_is_not_signed_again() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (mine, other) = (tenant(), tenant());
    let keys = keys(&[1]);
    fill(&log, mine, 3).await;
    caught_up(&log).await;
    notary(&log, &keys, vec![]).round().await.unwrap();

    // Whoever owns the server can do this; the trees that are built from it then do not fit what was said.
    let forgery = "SET session_replication_role = replica; \
                   ALTER TABLE log.events DISABLE TRIGGER unchangeable; \
                   DO $$ DECLARE part regclass; BEGIN FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'log.events'::regclass \
                   LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER unchangeable', part); END LOOP; END $$; \
                   UPDATE log.events SET digest = decode(repeat('07', 32), 'hex') WHERE position = 2";
    sqlx::raw_sql(forgery).execute(&mut database.admin().await).await.unwrap();
    consumer::rebuild(&log, &Evidence::default()).await.unwrap();
    fill(&log, mine, 1).await;
    fill(&log, other, 1).await;
    caught_up(&log).await;
    // The others' go on.
    assert_eq!(notary(&log, &keys, vec![]).round().await.unwrap(), 1);
    let refused = notary(&log, &keys, vec![]).sign(mine, None).await;
    assert!(matches!(refused, Err(NotaryError::Altered { size: 3, .. })), "{refused:?}");
    let mut tx = log.tenant_read(mine).await.unwrap();
    assert_eq!(evidence::checkpoint(&mut tx, mine).await.unwrap().unwrap().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_published_and_a_contradiction_is_an_alarm() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let keys = keys(&[1]);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/witness", folder.path().display());
    let newest = folder.path().join("witness/checkpoint");
    let place = || Place::new(&url, &[]).unwrap();
    let (stop, running) = (CancellationToken::new(), notary(&log, &keys, vec![place()]));
    let consumer = Arc::new(Evidence::telling(&running));
    tokio::spawn(consumer::run(log.clone(), None, consumer, 0, stop.clone()));
    let task = tokio::spawn(running.run(stop.clone()));
    fill(&log, tenant(), 30).await;
    eventually("a checkpoint is published", || async { newest.exists() }).await;
    let published = std::fs::read_to_string(&newest).unwrap();
    let (checkpoint, signer) = Checkpoint::open(&published, &keys.public()).unwrap();
    assert_eq!((checkpoint.origin, signer), (platform_origin("test"), Some(keys.public()[0])));
    fill(&log, tenant(), 1).await;
    eventually("the next one too", || async { std::fs::read_to_string(&newest).unwrap() != published }).await;
    stop.cancel();
    task.await.unwrap();

    // Another history under the same key, and something under a key that is not ours.
    for (seed, size) in [(1, 1), (1, 99), (9, 1)] {
        let other = Checkpoint { origin: platform_origin("test"), size, root: Hash([size.to_be_bytes()[7]; 32]) };
        let forged = other.sign(crate::evidence::keys(&[seed]).newest()).to_string();
        std::fs::write(&newest, &forged).unwrap();
        let refused = notary(&log, &keys, vec![]).publish(&place()).await;
        assert!(matches!(refused, Err(NotaryError::Altered { .. })), "{refused:?}");
        // What was found there stays there, as evidence.
        assert_eq!(std::fs::read_to_string(&newest).unwrap(), forged);
    }
}

/// Whether pages of the tenant's log are what the log has, wherever they begin and however many they take.
async fn assert_read(log: &Log, tenant: TenantId, when: &str) {
    let all: Vec<i64> = sqlx::query_scalar("SELECT position FROM log.events WHERE tenant = $1 ORDER BY position")
        .bind(tenant.uuid())
        .fetch_all(log.worker_pool())
        .await
        .unwrap();
    let places = [0, 1, 2, 99, 209, 210, 254, 255, 256, 257, 258, 500, all.len() - 1, all.len()];
    for nth in places.into_iter().filter(|nth| *nth <= all.len()) {
        let after = if nth == 0 { 0 } else { all[nth - 1] };
        for limit in [1, 2, 100, 257, 2_000] {
            let page = log.read_tenant(tenant, after, i64::try_from(limit).unwrap()).await.unwrap();
            let found: Vec<i64> = page.iter().map(|event| event.position).collect();
            assert!(found == all[nth..all.len().min(nth + limit)], "{when}: {limit} after {after}");
        }
    }
}

/// The consumer `evidence`, which will not take one event.
struct Refusing(EventId);

#[async_trait]
impl Consumer for Refusing {
    fn name(&self) -> &'static str {
        evidence::NAME
    }

    async fn apply(&self, tx: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
        if page.iter().any(|event| event.id == self.0) {
            return Err(ApplyError::Other("it is ill".to_owned()));
        }
        Evidence::default().apply(tx, page).await
    }

    async fn reset(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        Evidence::default().reset(tx).await
    }
}

/// A tenant's events are found by its tree as far as that goes, and in the log behind it.
#[tokio::test]
async fn a_tenants_events_are_found_wherever_its_tree_stands() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (mine, other) = (tenant(), tenant());
    let more = async |count: usize| {
        fill(&log, mine, count).await;
        fill(&log, other, 7).await;
        fill(&log, mine, count).await;
    };
    for count in [5, 100, 23, 128, 1, 40] {
        more(count).await;
        assert_read(&log, mine, "beyond the tree").await;
        caught_up(&log).await;
        assert_read(&log, mine, "all in the tree").await;
    }
    let before = log.head(0).await.unwrap();
    more(30).await;
    // An event that cannot be applied, which nothing that can be appended is for this consumer.
    let ill = &log.read_tenant(mine, before, 1).await.unwrap()[0];
    let mut admin = database.admin().await;
    sqlx::query(
        "INSERT INTO log.parked (consumer, tenant, partition, position, event, error, tries) \
         VALUES ('evidence', $1, 0, $2, $3, 'ill', 1)",
    )
    .bind(mine.uuid())
    .bind(ill.position)
    .bind(ill.id.uuid())
    .execute(&mut admin)
    .await
    .unwrap();
    sqlx::raw_sql("UPDATE log.consumers SET parked = 1 WHERE name = 'evidence'").execute(&mut admin).await.unwrap();
    caught_up(&log).await;
    assert_read(&log, mine, "parked").await;
    assert_read(&log, other, "beside one that is parked").await;
    parking::skip(&log, &Refusing(ill.id), mine, ill.id, "somebody", "it is ill").await.unwrap();
    let mut tx = log.tenant_read(mine).await.unwrap();
    assert_eq!(evidence::size(&mut tx, mine).await.unwrap(), 653, "one is not in it");
    drop(tx);
    assert_read(&log, mine, "with one that is skipped").await;
    consumer::rebuild(&log, &Evidence::default()).await.unwrap();
    let mut tx = log.tenant_read(mine).await.unwrap();
    assert_eq!(evidence::size(&mut tx, mine).await.unwrap(), 654, "it could be applied after all");
    drop(tx);
    assert_read(&log, mine, "after a rebuild").await;
}
