//! What a process remembers makes it quicker and never wrong.

use std::time::Duration;

use outbox::MemorySettings;
use serde_json::{Value, json};

use crate::support::{Reply, Shop, World};

const ALWAYS_ASK: MemorySettings = MemorySettings { max_bytes: 0, fact_life: Duration::ZERO };
const NO_FACTS: MemorySettings = MemorySettings { max_bytes: 1 << 20, fact_life: Duration::ZERO };
const FOR_EVER: MemorySettings = MemorySettings { max_bytes: 1 << 20, fact_life: Duration::MAX };

async fn rename(world: &World, shop: &Shop, name: &str) -> Reply {
    let path = format!("/v1/tenants/{}", shop.tenant);
    world.call("PATCH", &path, &shop.token, &[], &json!({ "name": name })).await
}

async fn suspend(world: &World, shop: &Shop, how: &str) -> Reply {
    let path = format!("/v1/tenants/{}/{how}", shop.tenant);
    let body = if how == "suspend" { json!({ "reason": "unpaid" }) } else { json!({}) };
    world.call("POST", &path, &world.operator(), &[], &body).await
}

#[tokio::test]
async fn who_remembers_an_old_state_appends_nothing_on_it() {
    let here = World::new().await;
    let there = here.beside(FOR_EVER).await;
    let shop = here.shop().await;
    let card = here.card(&shop, "One").await;
    let to = |lane: &str| json!({ "lane": lane });
    there.post(&shop, &shop.at(&card, "/move"), to("ready")).await.version();
    // Here it is remembered as it was created.
    assert_eq!(here.post(&shop, &shop.at(&card, "/move"), to("review")).await.version(), 3);
    here.post(&shop, &shop.at(&card, "/archive"), json!({})).await.version();
    assert_eq!(there.post(&shop, &shop.at(&card, "/move"), to("done")).await.refusal(), (409, "card_archived"));
}

#[tokio::test]
async fn what_memory_says_no_to_the_log_is_asked_about() {
    let here = World::new().await;
    let there = here.beside(FOR_EVER).await;
    let shop = here.shop().await;
    let card = here.card(&shop, "One").await;
    // A refusal.
    suspend(&there, &shop, "suspend").await.version();
    let move_it = json!({ "lane": "ready" });
    there.post(&shop, &shop.at(&card, "/move"), move_it.clone()).await.refusal();
    suspend(&here, &shop, "resume").await.version();
    there.post(&shop, &shop.at(&card, "/move"), move_it).await.version();
    // "It is so already".
    rename(&there, &shop, "Yes").await.version();
    let other = rename(&here, &shop, "No").await.version();
    assert_eq!(rename(&there, &shop, "Yes").await.version(), other + 1);
    // A version that only the log knows, and one that only memory knows.
    there.post(&shop, &shop.at(&card, "/move"), json!({ "lane": "review" })).await.version();
    let seen = here.post(&shop, &shop.at(&card, "/move"), json!({ "lane": "done" })).await.version();
    let expecting = async |version: i64| {
        let header = format!("\"{version}\"");
        let path = shop.at(&card, "/move");
        there.call("POST", &path, &shop.token, &[("if-match", header.as_str())], &json!({ "lane": "ready" })).await
    };
    assert_eq!(expecting(seen - 1).await.refusal(), (412, "version_mismatch"));
    assert_eq!(expecting(seen).await.version(), seen + 1);
}

#[tokio::test]
async fn what_was_done_here_is_known_here_at_once() {
    let world = World::new().await.beside(FOR_EVER).await;
    let shop = world.shop().await;
    let card = world.card(&shop, "One").await;
    let to = |lane: &str| json!({ "lane": lane });
    let lanes = json!({ "lanes": [
        { "key": "backlog", "name": "Backlog", "role": "backlog", "runs_allowed": true },
        { "key": "finished", "name": "Finished", "role": "done", "runs_allowed": false },
    ] });
    world.put(&shop, &format!("/v1/projects/{}/lanes", shop.project), lanes).await.version();
    assert_eq!(world.post(&shop, &shop.at(&card, "/move"), to("ready")).await.refusal().1, "lane_unknown");
    world.post(&shop, &shop.at(&card, "/move"), to("finished")).await.version();
    suspend(&world, &shop, "suspend").await.version();
    assert_eq!(world.post(&shop, &shop.at(&card, "/move"), to("backlog")).await.refusal().1, "tenant_not_active");
}

#[tokio::test]
async fn a_command_to_what_is_remembered_reads_nothing() {
    let world = World::new().await.beside(FOR_EVER).await;
    let shop = world.shop().await;
    let card = world.card(&shop, "One").await;
    let mut admin = world.database.admin().await;
    let blind = "DO $$ DECLARE f regprocedure; BEGIN \
                 FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'log'::regnamespace AND proname IN ('load', 'command') LOOP \
                 EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM agentworks_app', f); END LOOP; END $$";
    sqlx::raw_sql(blind).execute(&mut admin).await.unwrap();
    let key = [("idempotency-key", "once")];
    let to = |lane: &str| json!({ "lane": lane });
    let path = shop.at(&card, "/move");
    assert_eq!(world.post(&shop, &path, to("ready")).await.version(), 2);
    assert_eq!(world.call("POST", &path, &shop.token, &key, &to("review")).await.version(), 3);
    let again = world.call("POST", &path, &shop.token, &key, &to("review")).await;
    assert_eq!((again.version(), again.headers.contains_key("idempotent-replayed")), (3, true));
    world.card(&shop, "Another").await;
}

/// A random request, the same in any world: about one of three cards, or the tenant.
async fn step(world: &World, shop: &Shop, cards: &[String], random: u64) -> Reply {
    let pick = |of: usize, digit: u32| usize::try_from(random >> (digit * 8) & 0xff).unwrap() % of;
    let card = &cards[pick(3, 0)];
    let lane = ["backlog", "ready", "review", "done", "nowhere"][pick(5, 1)];
    let post = |rest: &str, body: Value| {
        let path = shop.at(card, rest);
        async move { world.post(shop, &path, body).await }
    };
    match pick(12, 2) {
        0..4 => post("/move", json!({ "lane": lane })).await,
        4 => post("/move", json!({ "lane": lane, "after": cards[pick(3, 3)] })).await,
        5 => post("/block", json!({ "reason": "waiting" })).await,
        6 => post("/unblock", json!({})).await,
        7 => world.put(shop, &shop.at(card, &format!("/dependencies/{}", cards[pick(3, 3)])), json!({})).await,
        8 => rename(world, shop, ["A", "B"][pick(2, 3)]).await,
        9 => suspend(world, shop, ["suspend", "resume"][pick(2, 3)]).await,
        10 => post("/comments", json!({ "text": "Hm" })).await,
        _ if pick(4, 3) == 0 => post("/archive", json!({})).await,
        _ => {
            let key = [("idempotency-key", ["a", "b"][pick(2, 4)])];
            world.call("POST", &shop.at(card, "/move"), &shop.token, &key, &json!({ "lane": lane })).await
        }
    }
}

#[tokio::test]
async fn two_that_remember_answer_like_one_that_always_asks() {
    for seed in 1..=4 {
        let asks = World::new().await.beside(ALWAYS_ASK).await;
        let one = World::new().await.beside(NO_FACTS).await;
        let remember = [one.beside(NO_FACTS).await, one];
        let shops = [asks.shop().await, remember[0].shop().await];
        let mut cards = [Vec::new(), Vec::new()];
        for title in ["One", "Two", "Three"] {
            cards[0].push(asks.card(&shops[0], title).await);
            cards[1].push(remember[1].card(&shops[1], title).await);
        }
        let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
        for number in 0..80 {
            // xorshift
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let process = &remember[usize::try_from(random >> 60).unwrap() % 2];
            let wanted = step(&asks, &shops[0], &cards[0], random).await;
            let found = step(process, &shops[1], &cards[1], random).await;
            let told = |reply: &Reply| (reply.status, reply.body["code"].clone(), reply.body["version"].clone());
            assert_eq!(told(&found), told(&wanted), "seed {seed}, step {number}");
        }
    }
}
