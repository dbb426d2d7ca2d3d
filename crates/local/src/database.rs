//! The one SQLite file of a home: how it is opened, and its tables.

use crate::home::Home;
use crate::{OpenError, lock};
use rusqlite::Connection;
use std::time::Duration;

/// The schema that this program writes, kept in SQLite's `user_version`.
pub const SCHEMA_VERSION: i64 = 1;

/// How long a statement waits for another process's transaction: these last milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
CREATE TABLE ledger (
    partition TEXT NOT NULL,
    sort TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (partition, sort)
) WITHOUT ROWID;
CREATE TABLE config (
    identifier TEXT NOT NULL,
    config TEXT NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (identifier, config)
) WITHOUT ROWID;
CREATE TABLE clusters (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    tags TEXT NOT NULL,
    created INTEGER NOT NULL,
    ended INTEGER,
    state TEXT NOT NULL,
    reason_code TEXT,
    reason TEXT,
    step_concurrency INTEGER NOT NULL,
    idle_timeout_seconds INTEGER NOT NULL,
    terminate INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE steps (
    cluster TEXT NOT NULL,
    number INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    arguments TEXT NOT NULL,
    state TEXT NOT NULL,
    failure TEXT,
    created INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER,
    PRIMARY KEY (cluster, number)
) WITHOUT ROWID;
CREATE TABLE definitions (
    sha256 TEXT PRIMARY KEY,
    definition TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE executions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    root TEXT NOT NULL,
    input TEXT NOT NULL,
    definition TEXT NOT NULL,
    status TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    state TEXT,
    output TEXT,
    error TEXT,
    cause TEXT
);
CREATE INDEX executions_by_status ON executions (status);
CREATE TABLE history (
    execution TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    state TEXT,
    error TEXT,
    cause TEXT,
    PRIMARY KEY (execution, number)
) WITHOUT ROWID;
CREATE TABLE progress (
    run_id TEXT NOT NULL,
    step TEXT NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    expected INTEGER,
    began INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    PRIMARY KEY (run_id, step)
) WITHOUT ROWID;
";

/// Opens the database; makes its tables when it is new.
pub fn open(home: &Home) -> Result<Connection, OpenError> {
    let file = home.database();
    // Two processes that make a database at once get in each other's way before any time-out of SQLite's applies.
    let _making = lock::hold(&home.database_lock()).map_err(|source| OpenError::Folder {
        folder: home.root().to_owned(),
        source,
    })?;
    let failed = |source| OpenError::Database {
        file: file.clone(),
        source,
    };
    let mut connection = Connection::open(&file).map_err(failed)?;
    settle(&connection).map_err(failed)?;
    match version(&connection).map_err(failed)? {
        0 => make(&mut connection).map_err(failed)?,
        SCHEMA_VERSION => {}
        found => return Err(OpenError::Newer { file, found }),
    }
    Ok(connection)
}

fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The ledger is what a killed machine is put right from: a commit is on disk when it returns.
    connection.pragma_update(None, "synchronous", "FULL")
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}
