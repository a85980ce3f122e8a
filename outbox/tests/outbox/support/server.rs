//! A private Postgres, shared by the tests of this binary.

use std::io::Read as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

/// Makes a cluster and serves it until standard input closes, which it does when the test binary ends, however it ends.
const SCRIPT: &str = r#"
set -e
PATH="$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)"
dir="$1"
# Postgres refuses to run as root.
if [ "$(id -u)" = 0 ]; then as="unshare --user --map-user=1000 --map-group=1000"; else as=""; fi
trap 'rm -rf "$dir"' EXIT
$as initdb -D "$dir/data" -U postgres -A trust -E UTF8 --no-sync >"$dir/initdb.log" 2>&1
$as postgres -D "$dir/data" -c listen_addresses= -c unix_socket_directories="$dir" -c max_connections=400 \
    -c log_line_prefix='%d %a ' -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c shared_buffers=64MB >"$dir/server.log" 2>&1 &
server=$!
until pg_isready -q -h "$dir"; do kill -0 $server; sleep 0.05; done
echo ready
read -r _ || true
kill -INT $server
wait $server || true
"#;

struct Server {
    url: String,
    _stdin: Option<ChildStdin>,
    _child: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

fn server() -> &'static Server {
    SERVER.get_or_init(|| {
        let dir = tempfile::Builder::new().prefix("aw-pg-").tempdir().unwrap().keep();
        let dir = dir.to_str().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "sh", dir])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        child.stdout.take().unwrap().read_exact(&mut ready).expect("Postgres did not start");
        Server { url: format!("localhost/{{}}?host={dir}"), _stdin: child.stdin.take(), _child: child }
    })
}

/// A database of its own.
pub(crate) struct Database {
    /// As a superuser.
    pub(crate) url: String,
    /// Its name.
    pub(crate) name: String,
}

impl Database {
    /// One without anything in it.
    pub(crate) async fn empty() -> Self {
        let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&url("postgres", "postgres")).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
        Self { url: url("postgres", &name), name }
    }

    /// One with a log of that many partitions.
    pub(crate) async fn with(partitions: i32) -> Self {
        let database = Self::empty().await;
        outbox::migrate::run(&database.url, partitions).await.unwrap();
        database
    }

    /// One as it was before a migration, and without partitions.
    pub(crate) async fn before(version: i64) -> Self {
        let database = Self::empty().await;
        let roles = include_str!("../../../../migrations/roles.sql");
        sqlx::raw_sql(roles).execute(&mut database.admin().await).await.unwrap();
        let mut migrator = outbox::migrate::numbered();
        migrator.migrations.to_mut().retain(|migration| migration.version < version);
        migrator.run(&mut database.in_role("agentworks_owner").await).await.unwrap();
        database
    }

    /// Its address for another user.
    pub(crate) fn url_of(&self, user: &str) -> String {
        url(user, &self.name)
    }

    /// A connection as superuser.
    pub(crate) async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// A connection in a role, as the log makes them.
    pub(crate) async fn in_role(&self, role: &str) -> PgConnection {
        let options: sqlx::postgres::PgConnectOptions = self.url.parse().unwrap();
        options.options([("role", role)]).connect().await.unwrap()
    }
}

fn url(user: &str, database: &str) -> String {
    format!("postgres://{user}@{}", server().url.replace("{}", database))
}
