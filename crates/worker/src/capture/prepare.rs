//! What a source needs once before it can be followed: checks, a publication, a heartbeat table, a replication slot.

use super::setting::Setting;
use super::slot::{self, HEARTBEAT, one};
use crate::failure::Failure;
use crate::source::{self, failed, quoted, quoted_table};
use crate::types;
use local::kill;
use pipeline::path::TableName;
use pipeline::planning::FollowedTable;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// A source that is ready.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Tables that are enabled and not followed, with the reason.
    pub left_out: BTreeMap<String, String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Whether capture is at work on this slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    Runs,
    Stands,
}

/// After so long a person is told what is waited for.
const QUIET: Duration = Duration::from_secs(3);

/// Checks the source and makes what is missing. Repeating it is harmless.
pub async fn prepare(
    setting: &Setting,
    client: &Client,
    daemon: Daemon,
) -> Result<Prepared, Failure> {
    check_server(setting, client, daemon).await?;
    let mut prepared = Prepared::default();
    let tables = tables(setting, client, &mut prepared).await?;
    publish(setting, client, &tables).await?;
    kill::point("capture.published");
    make_slot(setting, client, &mut prepared).await?;
    kill::point("capture.prepared");
    Ok(prepared)
}

async fn check_server(setting: &Setting, client: &Client, daemon: Daemon) -> Result<(), Failure> {
    let row = one(
        client,
        "SELECT current_setting('wal_level'), r.rolname::text,
           r.rolreplication OR r.rolsuper OR EXISTS (
             SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'member')),
           (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::bigint,
           (SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders')::bigint
         FROM pg_roles r WHERE r.rolname = current_user",
        "the source's settings cannot be read",
    )
    .await?;
    let wal_level: &str = row.get(0);
    if wal_level != "logical" {
        return Err(Failure::new("WalLevel", format!("`wal_level` of the source is not `logical`: {wal_level}"))
            .hint("ALTER SYSTEM SET wal_level = logical, then restart the server; on RDS set `rds.logical_replication`"));
    }
    let role: &str = row.get(1);
    if !row.get::<_, bool>(2) {
        return Err(Failure::new(
            "MayNotReplicate",
            format!("role `{role}` of the source may not replicate"),
        )
        .hint(format!(
            "ALTER ROLE {} REPLICATION; on RDS: GRANT rds_replication TO {}",
            quoted(role),
            quoted(role)
        )));
    }
    let (slots, slots_max): (i64, i64) = (row.get(3), row.get(4));
    let slot = slot::find(client, setting).await?;
    if slot.is_none() && slots >= slots_max {
        return Err(Failure::new("SlotsInUse", format!("all replication slots of the source are in use: {slots}"))
            .hint("raise `max_replication_slots` and restart the server, or drop a slot that nobody reads"));
    }
    if daemon == Daemon::Runs {
        return Ok(());
    }
    let (senders, senders_max): (i64, i64) = (row.get(5), row.get(6));
    let holder = slot.and_then(|slot| slot.active_process);
    if holder.is_none() && senders >= senders_max {
        return Err(Failure::new(
            "SendersInUse",
            format!("all senders of changes of the source are in use: {senders}"),
        )
        .hint("raise `max_wal_senders` and restart the server"));
    }
    Ok(())
}

/// Failures of the catalogue that are one table's own: the others can be followed.
const OF_ONE_TABLE: [&str; 5] = [
    "AccessDenied",
    "ColumnMissing",
    "NotFollowed",
    "TableMissing",
    "ViewEmpty",
];

/// The tables that can be followed. Those that cannot be are left out and told; when none is left, that ends the preparation.
async fn tables(
    setting: &Setting,
    client: &Client,
    prepared: &mut Prepared,
) -> Result<Vec<TableName>, Failure> {
    let mut followed = Vec::new();
    let mut refused: Option<Failure> = None;
    for wanted in &setting.tables {
        match table(client, wanted).await {
            Ok(None) => followed.push(wanted.name.clone()),
            Ok(Some(reason)) => {
                prepared.left_out.insert(wanted.name.to_string(), reason);
            }
            Err(failure) if OF_ONE_TABLE.contains(&failure.error) => {
                let reason = match &failure.hint {
                    Some(hint) => format!("{}: {hint}", failure.message),
                    None => failure.message.clone(),
                };
                prepared.left_out.insert(wanted.name.to_string(), reason);
                refused = Some(match refused {
                    None => failure,
                    Some(first) => both(first, failure),
                });
            }
            Err(failure) => return Err(failure),
        }
    }
    match refused {
        Some(failure) if followed.is_empty() => Err(failure),
        Some(_) | None => Ok(followed),
    }
}

/// All that is wrong, at once.
fn both(mut first: Failure, other: Failure) -> Failure {
    first.message = format!("{}\n{}", first.message, other.message);
    first.hint = match (first.hint.take(), other.hint) {
        (Some(first), Some(other)) if first != other => Some(format!("{first}\n{other}")),
        (first, other) => first.or(other),
    };
    first.causes.extend(other.causes);
    first
}

/// Why a table is left out; an error when it is not as its item says.
async fn table(client: &Client, wanted: &FollowedTable) -> Result<Option<String>, Failure> {
    let table = source::table(client, &wanted.name).await?;
    if let Some(reason) = table.not_followed {
        return Err(Failure::new(
            "NotFollowed",
            format!("changes of `{}` cannot be followed: {reason}", wanted.name),
        )
        .hint(format!(
            "remove `hudi_config` from step::system::{}, or disable it",
            wanted.name
        )));
    }
    for column in &table.columns {
        if types::lake_column(&column.name).is_some() {
            return Ok(Some(format!(
                "it has a column `{}`, which is what the lake calls one of its own",
                column.name
            )));
        }
        if let Err(refused) = types::carried(&column.facts) {
            return Ok(Some(
                refused
                    .failure(&wanted.name.to_string(), &column.name, &column.shown_type)
                    .message,
            ));
        }
    }
    if let Some(missing) = wanted
        .primary_key
        .iter()
        .find(|key| table.columns.iter().all(|column| column.name != **key))
    {
        return Err(Failure::new(
            "ColumnMissing",
            format!("`{}` has no column `{missing}`", wanted.name),
        )
        .hint(format!(
            "correct `hudi_config.primary_key` of step::system::{}",
            wanted.name
        )));
    }
    identity(client, table.oid, wanted).await
}

/// Once published, a table without replica identity would refuse updates; and deletes must name the record key.
async fn identity(
    client: &Client,
    oid: u32,
    wanted: &FollowedTable,
) -> Result<Option<String>, Failure> {
    let rows = client
        .query(
            "WITH RECURSIVE family (oid) AS (
               SELECT $1::oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.oid = i.inhparent)
             SELECT c.relreplident = 'f', ARRAY(
               SELECT a.attname::text FROM pg_index i
                 CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, position)
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
               WHERE i.indrelid = c.oid AND k.position <= i.indnkeyatts AND i.indisvalid AND i.indimmediate
                 AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)
             FROM family f JOIN pg_class c ON c.oid = f.oid WHERE c.relkind = 'r' OR c.oid = $1",
            &[&oid],
        )
        .await
        .map_err(|error| failed("the source's catalogue cannot be read", &error))?;
    for row in &rows {
        let (whole, columns): (bool, Vec<String>) = (row.get(0), row.get(1));
        if whole {
            continue;
        }
        let table = quoted_table(&wanted.name);
        if columns.is_empty() {
            return Ok(Some(format!(
                "it has neither a primary key nor a replica identity, so the source would refuse its updates and deletes: \
                 `ALTER TABLE {table} REPLICA IDENTITY FULL` gives it one"
            )));
        }
        if let Some(key) = wanted.primary_key.iter().find(|key| !columns.contains(key)) {
            return Ok(Some(format!(
                "its deletes say `{}` and not `{key}` of the record key: `ALTER TABLE {table} REPLICA IDENTITY FULL` makes them",
                columns.join("`, `")
            )));
        }
    }
    Ok(None)
}

/// Makes the publication and the heartbeat, or adds what they lack. Tables that are no longer enabled stay: they may be again.
async fn publish(setting: &Setting, client: &Client, tables: &[TableName]) -> Result<(), Failure> {
    let publication = quoted(&setting.slot);
    let mut wanted = vec![heartbeat()];
    wanted.extend(tables.iter().cloned());
    let mut statements = heartbeat_statements(client).await?;
    match members(setting, client).await? {
        None => {
            let list: Vec<String> = wanted.iter().map(quoted_table).collect();
            statements.push(format!(
                "CREATE PUBLICATION {publication} FOR TABLE {} WITH ({OPTIONS})",
                list.join(", ")
            ));
        }
        Some(members) => {
            let missing: Vec<String> = wanted
                .iter()
                .filter(|table| !members.tables.contains(table))
                .map(quoted_table)
                .collect();
            if !missing.is_empty() {
                statements.push(format!(
                    "ALTER PUBLICATION {publication} ADD TABLE {}",
                    missing.join(", ")
                ));
            }
            if !members.as_needed {
                statements.push(format!("ALTER PUBLICATION {publication} SET ({OPTIONS})"));
            }
        }
    }
    if statements.is_empty() {
        return Ok(());
    }
    // One message is one transaction.
    client
        .batch_execute(&statements.join(";\n"))
        .await
        .map_err(|error| {
            let failure = failed("the source cannot be prepared for capture", &error);
            match error.code() {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => failure.hint(format!(
                    "let the tables' owner, who may create in the database, run: {};",
                    statements.join("; ")
                )),
                _ => failure,
            }
        })
}

const OPTIONS: &str =
    "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";

fn heartbeat() -> TableName {
    TableName {
        schema: HEARTBEAT.0.to_owned(),
        table: HEARTBEAT.1.to_owned(),
    }
}

async fn heartbeat_statements(client: &Client) -> Result<Vec<String>, Failure> {
    let row = one(
        client,
        "SELECT to_regnamespace('headwater') IS NULL, to_regclass('headwater.heartbeat') IS NULL",
        "the source's catalogue cannot be read",
    )
    .await?;
    let mut statements = Vec::new();
    if row.get(0) {
        statements.push("CREATE SCHEMA headwater".to_owned());
    }
    if row.get(1) {
        statements.push(
            "CREATE TABLE headwater.heartbeat (slot text PRIMARY KEY, beat bigint NOT NULL, at timestamptz NOT NULL, flush boolean NOT NULL)"
                .to_owned(),
        );
    }
    Ok(statements)
}

/// A publication as it is.
struct Members {
    tables: Vec<TableName>,
    as_needed: bool,
}

async fn members(setting: &Setting, client: &Client) -> Result<Option<Members>, Failure> {
    let publication = &setting.slot;
    let what = "the source's publications cannot be read";
    let rows = client
        .query(
            "SELECT puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot FROM pg_publication WHERE pubname = $1",
            &[publication],
        )
        .await
        .map_err(|error| failed(what, &error))?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    if row.get(0) {
        return Err(Failure::new(
            "PublicationTaken",
            format!("publication `{publication}` of the source is for all tables"),
        )
        .hint(format!("DROP PUBLICATION {}", quoted(publication))));
    }
    // Row filters and column lists came with Postgres 15.
    let tables = client
        .query(
            "SELECT s.nspname::text, c.relname::text,
               to_jsonb(r) ->> 'prqual' IS NOT NULL OR to_jsonb(r) ->> 'prattrs' IS NOT NULL
             FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid
               JOIN pg_namespace s ON s.oid = c.relnamespace WHERE p.pubname = $1",
            &[publication],
        )
        .await
        .map_err(|error| failed(what, &error))?;
    if let Some(filtered) = tables.iter().find(|row| row.get(2)) {
        let table = TableName {
            schema: filtered.get(0),
            table: filtered.get(1),
        };
        return Err(Failure::new(
            "PublicationFiltered",
            format!("publication `{publication}` of the source gives only some rows or columns of `{table}`"),
        )
        .hint(format!("ALTER PUBLICATION {} DROP TABLE {}", quoted(publication), quoted_table(&table))));
    }
    let name = |row: &tokio_postgres::Row| TableName {
        schema: row.get(0),
        table: row.get(1),
    };
    Ok(Some(Members {
        tables: tables.iter().map(name).collect(),
        as_needed: row.get(1),
    }))
}

async fn make_slot(
    setting: &Setting,
    client: &Client,
    prepared: &mut Prepared,
) -> Result<(), Failure> {
    let slot = &setting.slot;
    match slot::find(client, setting).await? {
        Some(found) if !found.lost => return Ok(()),
        Some(_) => {
            prepared.notes.push(format!(
                "the source threw away what the slot `{slot}` kept: it is made anew"
            ));
            client
                .execute("SELECT pg_drop_replication_slot($1)", &[slot])
                .await
                .map_err(|error| failed("the replication slot cannot be dropped", &error))?;
        }
        None if super::state::read(setting)?.is_some() => {
            prepared
                .notes
                .push(format!("the slot `{slot}` was lost: it is made anew"));
        }
        None => {}
    }
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [slot];
    let made = client.execute(
        "SELECT pg_create_logical_replication_slot($1, 'pgoutput')",
        &parameters,
    );
    tokio::pin!(made);
    let made = tokio::select! {
        made = &mut made => made,
        () = tokio::time::sleep(QUIET) => {
            eprintln!("waiting for transactions that are open in the source");
            made.await
        }
    };
    made.map(|_| ())
        .map_err(|error| failed("the replication slot cannot be made", &error))
}
