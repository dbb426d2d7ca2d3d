//! For tests: one private Postgres per test program, on a free loopback port, gone when the program ends, however it ends.
//!
//! `postgres().database().await` makes a new empty database with its own connection and secret; use one per test.
//! The server has `wal_level = logical` and accepts passwords only. As root it runs as the user `postgres`.

use crate::secret::Secret;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_postgres::{Client, NoTls};

const USER: &str = "headwater";
/// Of a server that is gone after the test.
const PASSWORD: &str = "a password, for tests only";

/// Starts a server in a folder of its own, says `ready`, and takes all away when its input ends, as it does when the test program dies.
const SCRIPT: &str = r#"
trap '' INT
folder=$(mktemp -d "${TMPDIR:-/tmp}/headwater-test.XXXXXXXX") || exit 1
umask 077
printf '%s' "$PASSWORD" >"$folder/password"
as=
if [ "$(id -u)" = 0 ]; then
    chown -R postgres "$folder"
    as="setpriv --reuid=postgres --regid=postgres --clear-groups"
fi
cd "$folder" || exit 1
export HOME="$folder"
if $as "$BIN/initdb" -D data -U "$DB_USER" --pwfile=password -A scram-sha-256 -E UTF8 --locale=C --no-sync >log 2>&1 &&
    $as "$BIN/pg_ctl" -D data -l server.log -w -o "-c listen_addresses=127.0.0.1 -c port=$PORT -c unix_socket_directories='' \
      -c wal_level=logical -c max_wal_senders=20 -c max_replication_slots=20 -c max_prepared_transactions=10 -c max_connections=200 \
      -c fsync=off -c shared_buffers=64MB" start >>log 2>&1 </dev/null; then
    echo ready
    cat >/dev/null
else
    cat log server.log >&2
fi
$as "$BIN/pg_ctl" -D data -m immediate stop >/dev/null 2>&1
cd /
rm -rf "$folder"
"#;

/// A running server.
pub struct Postgres {
    pub port: u16,
    databases: AtomicU32,
    // Its end is what ends the server.
    _input: ChildStdin,
}

/// The server of this test program; the first call starts it.
pub fn postgres() -> &'static Postgres {
    static POSTGRES: OnceLock<Postgres> = OnceLock::new();
    POSTGRES.get_or_init(|| {
        // Another program may take the port between the look and the start.
        (0..5)
            .find_map(|_| start())
            .expect("a Postgres server for tests: install PostgreSQL 14 or later (`scripts/setup`)")
    })
}

fn start() -> Option<Postgres> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .ok()?
        .local_addr()
        .ok()?
        .port();
    let mut child: Child = Command::new("sh")
        .args(["-c", SCRIPT])
        .env("BIN", programs()?)
        .env("PORT", port.to_string())
        .env("DB_USER", USER)
        .env("PASSWORD", PASSWORD)
        .env_remove("PGDATA")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    input.flush().ok()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take()?)
        .read_line(&mut line)
        .ok()?;
    (line.trim() == "ready").then_some(Postgres {
        port,
        databases: AtomicU32::new(0),
        _input: input,
    })
}

/// The folder of `initdb`: the newest in Debian's place, or where `pg_config` says.
fn programs() -> Option<PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .ok()
        .and_then(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.join("bin/initdb").exists())
                .max_by_key(|path| version(path))
                .map(|path| path.join("bin"))
        });
    debian.or_else(|| {
        let output = Command::new("pg_config").arg("--bindir").output().ok()?;
        let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        folder.join("initdb").exists().then_some(folder)
    })
}

/// An empty database.
pub struct Database {
    pub client: Client,
    pub secret: Secret,
}

impl Postgres {
    /// A secret for a role of this server.
    pub fn secret(&self, user: &str, password: &str, database: &str) -> Secret {
        Secret {
            username: user.to_owned(),
            password: password.to_owned(),
            engine: "postgres".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            dbname: database.to_owned(),
        }
    }

    /// A new database, owned by a superuser whose secret this is.
    pub async fn database(&self) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let server = connect(&self.secret(USER, PASSWORD, "postgres")).await;
        server
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("a new database");
        let secret = self.secret(USER, PASSWORD, &name);
        Database {
            client: connect(&secret).await,
            secret,
        }
    }
}

impl Database {
    /// One more connection.
    pub async fn connect(&self) -> Client {
        connect(&self.secret).await
    }
}

async fn connect(secret: &Secret) -> Client {
    let (client, connection) = secret
        .postgres()
        .connect(NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn each_database_is_empty_and_its_own() {
    let (one, other) = (postgres().database().await, postgres().database().await);
    one.client
        .batch_execute("CREATE TABLE t (x int)")
        .await
        .expect("a table");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let count: i64 = other
        .client
        .query_one(tables, &[])
        .await
        .expect("a count")
        .get(0);
    assert_eq!(count, 0);
}
