//! A person is erased: what they said, what was said about them and what they are called is nowhere, and was nowhere.
//!
//! Marks are planted wherever a person's words can come in, through the real interface; then every table, every file of
//! the installation (Postgres' heap and its journal, NATS' store, logs at their most talkative) is searched for them, in
//! every form in which bytes are written.

use std::path::{Path, PathBuf};

use access::Role;
use agentworks::demo::Client;
use agentworks::servers::Servers;
use agentworks::tokens;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::support::{Installation, Stage, refusal, text, writes};

/// Stands in what a person says; each has a number behind it.
const MARK: &str = "zq-Ärthur \"Dent\" 42";
/// Stands in a card's title, which is no personal data: a search that does not find it is blind.
const FOUND: &str = "zq-Magrathea";

/// A mark that is unlike all others.
fn mark(nth: u32) -> String {
    format!("{MARK}/{nth:04}")
}

/// Stands in what a person's program says.
const ASCII: &str = "zq-trillian";

/// A mark that may stand in a header.
fn ascii(nth: u32) -> String {
    format!("{ASCII}-{nth:04}")
}

/// The forms in which a text may have been written.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let escaped: String =
        text.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", c as u32) }).collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = url::form_urlencoded::byte_serialize(bytes).collect();
    let mut forms: Vec<Vec<u8>> = [
        text.to_owned(),
        json_inside(text),
        json_inside(text).replace('\\', "\\\\"),
        escaped,
        hex.to_uppercase(),
        hex,
        percent,
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect();
    forms.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    // Base64 looks different at each of three places; what is beside the mark touches the digits at its ends.
    for shift in 0..3 {
        let padded = [&b"\0\0"[..shift], bytes].concat();
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            let digits = text.trim_end_matches('=');
            forms.push(digits.as_bytes()[4..digits.len() - 3].to_vec());
        }
    }
    forms
}

/// A text as it stands in a JSON string.
fn json_inside(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
        if kind.is_dir() {
            files(&path, found);
        } else if kind.is_file() {
            found.push(path);
        }
    }
}

/// Where in the files one of these texts stands.
fn in_files(installation: &Installation, texts: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    files(installation.data.parent().expect("a parent"), &mut all);
    assert!(all.iter().any(|path| path.to_string_lossy().contains("pg_wal")), "{all:?}");
    assert!(all.iter().any(|path| path.to_string_lossy().contains("jetstream")), "{all:?}");
    let mut hits = Vec::new();
    for path in all {
        let bytes = std::fs::read(&path).unwrap_or_default();
        hits.extend(inside(&bytes, texts).into_iter().map(|text| format!("{text} in {}", path.display())));
    }
    hits
}

/// Which of the texts stand in these bytes, in one form or another.
fn inside(bytes: &[u8], texts: &[&str]) -> Vec<String> {
    let place = |form: &Vec<u8>| memchr::memmem::find(bytes, form);
    let around =
        |at: usize| String::from_utf8_lossy(&bytes[at.saturating_sub(120)..bytes.len().min(at + 120)]).into_owned();
    let stands = |text: &&str| Some(format!("{text} in `{}`", around(forms(text).iter().find_map(place)?)));
    texts.iter().filter_map(stands).collect()
}

/// Where in the tables one of these texts stands.
async fn in_tables(database: &mut PgConnection, texts: &[&str]) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
    )
    .fetch_all(&mut *database)
    .await
    .unwrap();
    assert!(tables.iter().any(|table| table == "vault.subject_keys"), "{tables:?}");
    let mut hits = Vec::new();
    for table in tables {
        let rows = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
        let rows: Vec<String> = sqlx::query_scalar(rows).fetch_all(&mut *database).await.unwrap();
        hits.extend(inside(rows.join("\n").as_bytes(), texts).into_iter().map(|text| format!("{text} in {table}")));
    }
    hits
}

async fn database(installation: &Installation) -> PgConnection {
    PgConnection::connect(Servers::running(&installation.config()).unwrap().expose_secret()).await.unwrap()
}

/// Everything that is planted: all marks that must not be found, and what was made with them.
struct Planted {
    marks: Vec<String>,
    operator: String,
    card: String,
    run: String,
}

/// Lets people say things wherever something can be said.
async fn plant(installation: &Installation, stage: &Stage) -> Planted {
    let mut marks: Vec<String> = (0..8).map(mark).collect();
    marks.extend((10..16).map(ascii));
    let card = stage.card(FOUND, &held()).await;
    let headers = [
        ("x-request-id", &*marks[8]),
        ("user-agent", &*marks[9]),
        ("x-forwarded-for", &*marks[10]),
        ("forwarded", &*marks[10]),
        ("idempotency-key", &*marks[11]),
        ("traceparent", &*marks[12]),
    ];
    let say = async |verb: &str, body: Value| {
        let answer =
            stage.owner.send(Method::POST, &stage.of_card(&card, verb), &headers[..3], Some(&body)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        text(&answer.body, "position")
    };
    let run = stage.run(&card).await;
    stage.model.wait_until_held("plant", 1).await;
    let comments = stage.of_card(&card, "comments");
    let comment = json!({ "text": marks[0] });
    for _ in 0..2 {
        let answer = stage.owner.send(Method::POST, &comments, &headers, Some(&comment)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    // The same key for another text, and what no handler takes.
    let other = stage.owner.send(Method::POST, &comments, &headers, Some(&json!({ "text": marks[1] }))).await.unwrap();
    assert_eq!(other.status, 422, "{}", other.body);
    for body in [json!({ "text": 7, &marks[1]: 1 }), json!({ &marks[1]: marks[1] }), json!([marks[1]])] {
        let refused = stage.owner.send(Method::POST, &comments, &headers[..3], Some(&body)).await.unwrap();
        assert_eq!(refused.status, 400, "{}", refused.body);
    }
    say("block", json!({ "reason": marks[2] })).await;
    let cancel = json!({ "reason": marks[3] });
    stage.owner.post(&format!("/v1/runs/{run}/cancel"), cancel).await.unwrap();
    stage.model.release("plant");
    stage.card_after(&card).await;
    let position = say("comments", json!({ "text": marks[4], "about": ABOUT })).await;
    seen(stage, &card, &position).await;

    let operator = tokens::mint(&installation.config(), None, Role::Operator, &marks[5], 1).unwrap();
    let operator = Client::new(&installation.base, &operator);
    let tenant = format!("/v1/tenants/{}", stage.tenant);
    operator.post(&format!("{tenant}/suspend"), json!({ "reason": marks[6] })).await.unwrap();
    operator.post(&format!("{tenant}/resume"), json!({})).await.unwrap();
    // Asked for in vain: by GraphQL, and where nothing is.
    let query = format!("query {{ card(id: \"{}\") {{ title }} }}", json_inside(&marks[7]));
    drop(stage.owner.query(&query, json!({ "unused": marks[7] })).await);
    let path = format!("/v1/{0}?name={0}", marks[13]);
    assert_eq!(stage.owner.send(Method::GET, &path, &headers[..3], None).await.unwrap().status, 404);
    let name = marks[5].clone();
    Planted { marks, operator: name, card, run }
}

/// A run that is cancelled in its middle.
fn held() -> Value {
    let mut script = writes("a.txt", "a\n");
    script[1]["hold"] = json!("plant");
    script
}

const ABOUT: &str = "sub_01k9fz8n5xe2r8m0q4t6v9w9s9";

async fn seen(stage: &Stage, card: &str, position: &str) -> Value {
    let query = "query($card: ID!, $since: Cursor) {
        cardHistory(card: $card, first: 200, waitFor: $since) {
            edges { node { kind summary text erased subject actor actorSubject payload } } }
        card(id: $card, waitFor: $since) { blockedReason lastRun { reason } } }";
    stage.owner.query(query, json!({ "card": card, "since": position })).await.unwrap()
}

/// The entries of a history that say something.
fn said(seen: &Value) -> Vec<&Value> {
    let edges = seen["cardHistory"]["edges"].as_array().unwrap();
    edges.iter().map(|edge| &edge["node"]).filter(|node| !node["subject"].is_null()).collect()
}

/// The wrapped keys of everybody who is not erased.
async fn keys(database: &mut PgConnection) -> Vec<Vec<u8>> {
    let keys = "SELECT sealed FROM vault.subject_keys WHERE sealed IS NOT NULL";
    sqlx::query_scalar(keys).fetch_all(database).await.unwrap()
}

/// How many rows of the history that serves hold what somebody said.
async fn still_sealed(database: &mut PgConnection) -> i64 {
    let serving = "SELECT quote_ident(schema) FROM read.models WHERE model = 'card_history' AND state = 'serving' ORDER BY code DESC LIMIT 1";
    let schema: String = sqlx::query_scalar(serving).fetch_one(&mut *database).await.unwrap();
    let rows = format!(r#"SELECT count(*) FROM {schema}.card_history WHERE payload::text ~ '"sealed": *"[^"]'"#);
    sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(database).await.unwrap()
}

#[tokio::test]
async fn who_is_erased_is_nowhere_and_what_they_said_was_nowhere_readable() {
    let mut installation = Installation::start(&[("RUST_LOG", "debug")]);
    let mut stage = Stage::set(&installation).await;
    let Planted { marks, operator, card, run } = plant(&installation, &stage).await;

    // Whoever may read it, reads it; the database does not have it.
    let before = seen(&stage, &card, "p0z1").await;
    let texts: Vec<_> = said(&before).iter().map(|node| node["text"].as_str().unwrap().to_owned()).collect();
    for nth in [0, 2, 3, 4] {
        assert!(texts.contains(&marks[nth]), "{nth} is not in {texts:?}");
    }
    assert!(said(&before).iter().all(|node| node["erased"] == false && node["summary"] != "Comment"), "{before}");
    assert_eq!(before["card"]["blockedReason"], marks[2]);
    assert_eq!(before["card"]["lastRun"]["reason"], marks[3]);
    let mut connection = database(&installation).await;
    assert_eq!(in_tables(&mut connection, &[MARK, ASCII]).await, Vec::<String>::new());
    assert!(in_tables(&mut connection, &[FOUND]).await.len() > 2, "the search finds what is there");
    let wrapped = keys(&mut connection).await;

    // Everybody is erased: over HTTP, and by the command line.
    let owner = text(said(&before)[0], "actorSubject");
    let erased = stage.owner.post(&format!("/v1/subjects/{owner}/erase"), json!({})).await.unwrap();
    stage.owner.post(&format!("/v1/subjects/{ABOUT}/erase"), json!({})).await.unwrap();
    let tenant = stage.tenant.to_string();
    installation.command(&["erase", "--tenant", &tenant, "--operator", &operator]);
    installation.command(&["erase", "--tenant", &tenant, "--operator", "test"]);
    let (_, code) =
        refusal(&stage.owner, Method::POST, &stage.of_card(&card, "comments"), &json!({ "text": "x" })).await;
    assert_eq!(code, "subject_erased");
    let after = seen(&stage, &card, &text(&erased, "position")).await;
    assert_eq!(said(&after).len(), texts.len());
    for node in said(&after) {
        assert!(node["text"].is_null() && node["erased"] == true, "{node}");
        assert!(text(node, "summary").ends_with(": [erased]"), "{node}");
    }
    assert_eq!(after["card"]["blockedReason"], "[erased]");
    assert_eq!(after["card"]["lastRun"]["reason"], "[erased]");
    let query = "query($run: ID!, $since: Cursor) { run(id: $run, waitFor: $since) { reason } }";
    let shown = stage.owner.query(query, json!({ "run": run, "since": erased["position"] })).await.unwrap();
    assert_eq!(shown["run"]["reason"], "[erased]");

    // No key is left, in the table or in its files; not even who has the master key can open anything.
    let purged = async {
        let due = "SELECT count(*) FROM vault.subject_keys WHERE erased_at IS NOT NULL AND NOT purged";
        while sqlx::query_scalar::<_, i64>(due).fetch_one(&mut connection).await.unwrap() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, purged).await.expect("the keys' table is rewritten");
    let kept = keys(&mut connection).await;
    let destroyed: Vec<_> = wrapped.into_iter().filter(|key| !kept.contains(key)).collect();
    assert_eq!(destroyed.len(), 4, "of all who were erased, and of nobody else");
    assert_eq!(in_tables(&mut connection, &[MARK, ASCII]).await, Vec::<String>::new());
    assert_eq!(still_sealed(&mut connection).await, 0, "scrubbed");
    connection.close().await.unwrap();

    // The proofs hold as before, and what leaves the house says no more than what is in it.
    let file = installation.data.with_file_name("export");
    let exported = file.to_str().unwrap();
    installation.command(&["export", "--tenant", &tenant, "--to", exported]);
    installation.command(&["verify", exported]);
    let exported = zstd::decode_all(std::fs::File::open(&file).unwrap()).unwrap();
    assert_eq!(inside(&exported, &[MARK, ASCII]), Vec::<String>::new());
    assert!(!inside(&exported, &[FOUND]).is_empty(), "the search finds what is there");

    // What is shown is still the fold of the log; and all files are as they will stay.
    installation.stop();
    assert_eq!(in_files(&installation, &[MARK, ASCII]), Vec::<String>::new());
    assert!(in_files(&installation, &[FOUND]).len() > 3, "the search finds what is there");
    let mut heap = Vec::new();
    files(&installation.data.join("postgres"), &mut heap);
    for path in heap.iter().filter(|path| path.to_string_lossy().contains("/base/")) {
        let bytes = std::fs::read(path).unwrap();
        let left = destroyed.iter().filter(|key| memchr::memmem::find(&bytes, key).is_some()).count();
        assert_eq!(left, 0, "a key is left in {}", path.display());
    }
    installation.command(&["rebuild", "all"]);
    installation.start_again();
    stage.again(&installation);
    assert_eq!(seen(&stage, &card, &text(&erased, "position")).await, after);
}
