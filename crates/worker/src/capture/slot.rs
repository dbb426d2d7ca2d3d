//! The slot, the publication and the heartbeat as the source knows them.

use super::setting::Setting;
use super::state::Seen;
use crate::failure::Failure;
use crate::secret::Secret;
use crate::source::{SESSION, connect, failed};
use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig};
use pipeline::path::TableName;
use pipeline::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::{Client, Row};

/// The table in which capture counts.
pub const HEARTBEAT: (&str, &str) = ("headwater", "heartbeat");

/// Positions are told to the source so soon after they are known.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);
/// Messages on their way from the connection; with the rows in them they are memory.
const MESSAGES_MAX: usize = 256;

/// Whether a failure may go away by itself.
pub fn may_pass(failure: &Failure) -> bool {
    matches!(
        failure.error,
        "SourceUnreachable"
            | "SourceBusy"
            | "SourceFailed"
            | "SlotBusy"
            | "CannotWrite"
            | "TableLocked"
    )
}

pub async fn one(client: &Client, sql: &str, what: &str) -> Result<Row, Failure> {
    client
        .query_one(sql, &[])
        .await
        .map_err(|error| failed(what, &error))
}

/// The slot, if there is one that can be read from.
pub struct Slot {
    pub confirmed: Lsn,
    pub lost: bool,
    pub active_process: Option<i32>,
}

/// `None` when there is no slot of this name.
pub async fn find(client: &Client, setting: &Setting) -> Result<Option<Slot>, Failure> {
    let slot = &setting.slot;
    let rows = client
        .query(
            "SELECT coalesce(plugin = 'pgoutput' AND database = current_database(), false), coalesce(plugin, slot_type)::text,
               coalesce(database, '')::text, coalesce(confirmed_flush_lsn, '0/0')::text, coalesce(wal_status = 'lost', false), active_pid
             FROM pg_replication_slots WHERE slot_name = $1",
            &[slot],
        )
        .await
        .map_err(|error| failed("the source's replication slots cannot be read", &error))?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    if !row.get::<_, bool>(0) {
        let (plugin, database): (&str, &str) = (row.get(1), row.get(2));
        return Err(Failure::new(
            "SlotTaken",
            format!("the replication slot `{slot}` is somebody else's: `{plugin}` of database `{database}`"),
        )
        .hint("name another in `capture.slot` of `database::config`"));
    }
    Ok(Some(Slot {
        confirmed: lsn(row.get(3))?,
        lost: row.get(4),
        active_process: row.get(5),
    }))
}

pub fn lsn(text: &str) -> Result<Lsn, Failure> {
    text.parse().map_err(|_| {
        Failure::new(
            "SourceFailed",
            format!("the source gave no position: `{text}`"),
        )
    })
}

/// What the source says of itself; fails when there is no slot to read from.
pub async fn seen(client: &Client, setting: &Setting) -> Result<Seen, Failure> {
    let what = "the source's state cannot be read";
    let slot = find(client, setting).await?.filter(|slot| !slot.lost);
    let slot = slot.ok_or_else(|| {
        Failure::new(
            "SlotLost",
            format!("the replication slot `{}` is not there, or the source threw its changes away", setting.slot),
        )
        .hint(format!(
            "`{}` makes a new one; changes in between are lost, so every table then needs a new load and seed",
            setting.command("start")
        ))
    })?;
    let row = one(
        client,
        "SELECT (SELECT system_identifier::text FROM pg_control_system()), floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
           gen_random_uuid()::text",
        what,
    )
    .await?;
    Ok(Seen {
        system_identifier: row.get(0),
        slot: setting.slot.clone(),
        confirmed: slot.confirmed,
        beat: beat(client, setting).await?,
        clock: Timestamp(row.get(1)),
        token: row.get(2),
    })
}

async fn beat(client: &Client, setting: &Setting) -> Result<u64, Failure> {
    let statement = "SELECT beat FROM headwater.heartbeat WHERE slot = $1";
    let rows = client
        .query(statement, &[&setting.slot])
        .await
        .map_err(|error| {
            failed("the heartbeat cannot be read", &error).hint(setting.command("start"))
        })?;
    Ok(rows
        .first()
        .map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
}

/// What a beat asks of capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    Alive,
    /// All that was committed before it is written to files at once.
    Flush,
}

/// Counts once; capture finds it in the stream.
pub async fn count(client: &Client, slot: &str, beat: Beat) -> Result<(), Failure> {
    let statement = "INSERT INTO headwater.heartbeat AS h (slot, beat, at, flush) VALUES ($1, 1, clock_timestamp(), $2)
        ON CONFLICT (slot) DO UPDATE SET beat = h.beat + 1, at = clock_timestamp(), flush = $2";
    client
        .execute(statement, &[&slot, &(beat == Beat::Flush)])
        .await
        .map(|_| ())
        .map_err(|error| failed("the heartbeat cannot be written", &error))
}

/// Counts for ever; ends with the failure that stops it.
pub async fn keep_counting(secret: Secret, slot: String, every: Duration) -> Failure {
    let client = match connect(&secret).await {
        Ok(client) => client,
        Err(failure) => return failure,
    };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(failure) = count(&client, &slot, Beat::Alive).await {
            return failure;
        }
    }
}

/// What is published, and the source's clock right afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The tables of the publication without our own, as `schema.table`, and the place of each: a table that is added again gets a new one.
    pub places: BTreeMap<String, u32>,
    pub seen: Timestamp,
}

pub async fn published(client: &Client, publication: &str) -> Result<Published, Failure> {
    let statement = "SELECT t.schemaname::text, t.tablename::text, coalesce(r.oid, c.oid)
        FROM pg_publication_tables t JOIN pg_publication p ON p.pubname = t.pubname
          JOIN pg_namespace s ON s.nspname = t.schemaname JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = t.tablename
          LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
        WHERE t.pubname = $1 AND NOT (t.schemaname = $2 AND t.tablename = $3)";
    let rows = client
        .query(statement, &[&publication, &HEARTBEAT.0, &HEARTBEAT.1])
        .await
        .map_err(|error| failed("the source's publications cannot be read", &error))?;
    let places = rows.iter().map(|row| {
        let name = TableName {
            schema: row.get(0),
            table: row.get(1),
        };
        (name.to_string(), row.get(2))
    });
    Ok(Published {
        places: places.collect(),
        seen: clock(client).await?,
    })
}

async fn clock(client: &Client) -> Result<Timestamp, Failure> {
    let statement = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let row = one(client, statement, "the source's clock cannot be read").await?;
    Ok(Timestamp(row.get(0)))
}

/// Begins the stream at a position, in a session with the settings of every other.
pub async fn stream(
    secret: &Secret,
    setting: &Setting,
    from: Lsn,
) -> Result<ReplicationClient, Failure> {
    let config = ReplicationConfig::new(
        &secret.host,
        &secret.username,
        &secret.password,
        &secret.dbname,
        &setting.slot,
        setting.slot.as_str(),
    )
    .with_port(secret.port)
    .with_start_lsn(from)
    .with_status_interval(STATUS_INTERVAL)
    .with_buffer_size(MESSAGES_MAX)
    .with_application_name("headwater capture");
    let failed = |error: PgWireError| stream_failed(setting, &error);
    let mut client = ReplicationClient::connect_gated(config)
        .await
        .map_err(failed)?;
    client.simple_query(SESSION).await.map_err(failed)?;
    client.start().await.map_err(failed)?;
    client.wait_started().await.map_err(failed)?;
    Ok(client)
}

/// Why there is no stream, or no longer.
pub fn stream_failed(setting: &Setting, error: &PgWireError) -> Failure {
    let slot = &setting.slot;
    // A class of SQLSTATE tells whether it may pass.
    let state = match error {
        PgWireError::Server(message) => message
            .split("SQLSTATE ")
            .nth(1)
            .and_then(|rest| rest.get(..5)),
        _ => None,
    };
    let failure = match (error, state) {
        // Internal: the connection ended, and its reason with it.
        (PgWireError::Io(_) | PgWireError::Task(_) | PgWireError::Internal(_), _) => Failure::new(
            "SourceUnreachable",
            "the connection that carries changes was lost",
        ),
        (PgWireError::Auth(_), _) | (_, Some("28P01" | "28000")) => {
            Failure::new("AccessDenied", "the source does not let capture in").hint(
                "check the secret, the role's right to replicate, and the server's `pg_hba.conf`",
            )
        }
        (_, Some("55006")) => Failure::new(
            "SlotBusy",
            format!("another process reads the replication slot `{slot}`"),
        )
        .hint("two captures cannot share a slot: end the other one"),
        // Where it is missing in the past, making it anew does not bring it back.
        (_, Some("42704")) => Failure::new(
            "PublicationLost",
            format!("the source has no publication `{slot}`, or had none for a while"),
        )
        .hint(format!(
            "SELECT pg_drop_replication_slot('{slot}'), then `{}`: changes in between are lost, so every table then needs a new load and seed",
            setting.command("start")
        )),
        (_, Some("53300" | "53400")) => {
            Failure::new("SourceBusy", "the source has no sender of changes left")
                .hint("raise `max_wal_senders`")
        }
        (_, Some(state))
            if state.starts_with("57P") || state.starts_with("08") || state.starts_with("53") =>
        {
            Failure::new(
                "SourceUnreachable",
                "the source ended the connection that carries changes",
            )
        }
        _ => Failure::new(
            "StreamFailed",
            format!("the source does not give the changes of slot `{slot}`"),
        ),
    };
    failure.caused_by(error)
}
