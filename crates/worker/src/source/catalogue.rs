//! What the catalogue says of one table: its columns and their types, its key, and where its rows are.

use super::connect::failed;
use super::quoted_table;
use crate::failure::Failure;
use crate::types::{TypeFacts, TypeKind};
use pipeline::path::TableName;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Client, Row};

/// A table, a partitioned table or a view.
#[derive(Debug, Clone)]
pub struct Table {
    pub oid: u32,
    pub name: TableName,
    /// In their order; dropped and generated ones are left out.
    pub columns: Vec<Column>,
    /// Generated columns: the change stream does not carry them.
    pub generated: Vec<String>,
    /// In key order; empty without a key.
    pub primary_key: Vec<String>,
    pub reach: Reach,
    /// Rows by the planner's last estimate.
    pub rows_estimate: u64,
    /// Why its changes are not in a change stream under its own name, when they are not.
    pub not_followed: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Postgres's `format_type`.
    pub shown_type: String,
    pub facts: TypeFacts,
}

/// Where the rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// In these tables' own pages, which can be read by address. More than one for a partitioned table.
    Pages(Vec<Stored>),
    /// In no pages of its own (a view): read in one piece.
    Whole,
}

/// A table with pages, or a foreign partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub name: TableName,
    /// `None`: it has no pages here, and is read in one piece.
    pub pages: Option<u64>,
}

/// Reads what is known of a table.
pub async fn table(client: &Client, name: &TableName) -> Result<Table, Failure> {
    let Some(row) = find(client, name).await? else {
        return Err(missing(client, name).await?);
    };
    let oid: u32 = row.get("oid");
    let kind = kind(&row, name)?;
    check_rights(&row, name)?;
    let (columns, generated) = columns(client, oid).await?;
    let (reach, rows_estimate) = match kind {
        Kind::Stored => stored(client, oid).await?,
        Kind::View | Kind::Foreign => (Reach::Whole, 0),
    };
    Ok(Table {
        oid,
        name: name.clone(),
        columns,
        generated,
        primary_key: primary_key(client, oid).await?,
        reach,
        rows_estimate,
        not_followed: not_followed(&row),
    })
}

async fn query(
    client: &Client,
    statement: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Vec<Row>, Failure> {
    client
        .query(statement, parameters)
        .await
        .map_err(|error| failed("the source's catalogue cannot be read", &error))
}

async fn find(client: &Client, name: &TableName) -> Result<Option<Row>, Failure> {
    let rows = query(
        client,
        "SELECT c.oid, c.relkind::text AS kind, c.relpersistence::text AS persistence, c.relispopulated AS populated,
           has_schema_privilege(s.oid, 'USAGE') AS schema_usage,
           has_any_column_privilege(c.oid, 'SELECT') AS selectable,
           c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) AS inherited,
           current_user::text AS role
         FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
         WHERE s.nspname = $1 AND c.relname = $2",
        &[&name.schema, &name.table],
    )
    .await?;
    Ok(rows.into_iter().next())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stored,
    View,
    Foreign,
}

fn kind(row: &Row, name: &TableName) -> Result<Kind, Failure> {
    match row.get("kind") {
        "m" if !row.get::<_, bool>("populated") => Err(Failure::new(
            "ViewEmpty",
            format!("materialised view `{name}` was never filled"),
        )
        .hint(format!("REFRESH MATERIALIZED VIEW {}", quoted_table(name)))),
        "r" | "p" | "m" => Ok(Kind::Stored),
        "v" => Ok(Kind::View),
        "f" => Ok(Kind::Foreign),
        _ => Err(Failure::new(
            "TableMissing",
            format!("`{name}` of the source is not a table or a view"),
        )),
    }
}

fn check_rights(row: &Row, name: &TableName) -> Result<(), Failure> {
    if row.get("schema_usage") && row.get("selectable") {
        return Ok(());
    }
    let role: &str = row.get("role");
    Err(Failure::new(
        "AccessDenied",
        format!("role `{role}` of the source may not read `{name}`"),
    )
    .hint(format!(
        "GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON {} TO {role}",
        super::quoted(&name.schema),
        quoted_table(name)
    )))
}

fn not_followed(row: &Row) -> Option<&'static str> {
    match row.get("kind") {
        "v" => Some("it is a view"),
        "m" => Some("it is a materialised view"),
        "f" => Some("it is a foreign table"),
        _ if row.get::<_, &str>("persistence") != "p" => Some("it is unlogged"),
        _ if row.get("inherited") => {
            Some("other tables inherit from it, and their changes have their own names")
        }
        _ => None,
    }
}

/// The table does not exist: names like it, in its schema first.
async fn missing(client: &Client, name: &TableName) -> Result<Failure, Failure> {
    let rows = query(
        client,
        "SELECT s.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND s.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
         ORDER BY 1, 2 LIMIT 10000",
        &[],
    )
    .await?;
    let names: Vec<String> = rows
        .iter()
        .map(|row| format!("{}.{}", row.get::<_, &str>(0), row.get::<_, &str>(1)))
        .collect();
    let wanted = name.to_string();
    // The table may be in another schema, or in another case.
    let elsewhere = names
        .iter()
        .find(|found| found.eq_ignore_ascii_case(&wanted))
        .or_else(|| {
            names
                .iter()
                .find(|found| found.ends_with(&format!(".{}", name.table)))
        })
        .map(String::as_str);
    let near =
        elsewhere.or_else(|| pipeline::problem::nearest(&wanted, names.iter().map(String::as_str)));
    let failure = Failure::new(
        "TableMissing",
        format!("the source has no table `{wanted}`"),
    );
    Ok(match near {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("check schema and table in the name of the step's item; if the table is gone, set `enabled` to false there"),
    })
}

/// Columns that are carried, and the names of generated ones.
async fn columns(client: &Client, oid: u32) -> Result<(Vec<Column>, Vec<String>), Failure> {
    let rows = query(
        client,
        "SELECT attname::text, format_type(atttypid, atttypmod), atttypid, atttypmod, attgenerated <> ''
         FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        &[&oid],
    )
    .await?;
    let (generated, rows): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.get(4));
    let types = types(client, rows.iter().map(|row| row.get(2)).collect()).await?;
    let columns = rows
        .iter()
        .map(|row| Column {
            name: row.get(0),
            shown_type: row.get(1),
            facts: facts(row.get(2), row.get(3), &types),
        })
        .collect();
    Ok((columns, generated.iter().map(|row| row.get(0)).collect()))
}

/// A row of `pg_type`.
struct Type {
    name: String,
    built_in: bool,
    kind: String,
    base: u32,
    base_modifier: i32,
    element: u32,
    delimiter: String,
    output: String,
    is_array: bool,
}

/// These types and all that they are made of.
async fn types(client: &Client, mut wanted: BTreeSet<u32>) -> Result<BTreeMap<u32, Type>, Failure> {
    let mut known = BTreeMap::new();
    while !wanted.is_empty() {
        let oids: Vec<u32> = std::mem::take(&mut wanted).into_iter().collect();
        let rows = query(
            client,
            "SELECT t.oid, t.typname::text, s.nspname = 'pg_catalog', t.typtype::text, t.typbasetype, t.typtypmod, t.typelem,
               t.typdelim::text, quote_ident(o.nspname) || '.' || quote_ident(p.proname), p.proname = 'array_out'
             FROM pg_type t JOIN pg_namespace s ON s.oid = t.typnamespace
               JOIN pg_proc p ON p.oid = t.typoutput JOIN pg_namespace o ON o.oid = p.pronamespace
             WHERE t.oid = ANY($1)",
            &[&oids],
        )
        .await?;
        for row in rows {
            let found = Type {
                name: row.get(1),
                built_in: row.get(2),
                kind: row.get(3),
                base: row.get(4),
                base_modifier: row.get(5),
                element: row.get(6),
                delimiter: row.get(7),
                output: row.get(8),
                is_array: row.get(9),
            };
            let below = [found.base, if found.is_array { found.element } else { 0 }];
            known.insert(row.get::<_, u32>(0), found);
            wanted.extend(
                below
                    .into_iter()
                    .filter(|oid| *oid != 0 && !known.contains_key(oid)),
            );
        }
    }
    Ok(known)
}

/// What the catalogue says of these types now, each with its modifier.
pub async fn type_facts(client: &Client, wanted: &[(u32, i32)]) -> Result<Vec<TypeFacts>, Failure> {
    let types = types(client, wanted.iter().map(|(oid, _)| *oid).collect()).await?;
    let facts = wanted
        .iter()
        .map(|(oid, modifier)| facts(*oid, *modifier, &types));
    Ok(facts.collect())
}

fn facts(oid: u32, modifier: i32, types: &BTreeMap<u32, Type>) -> TypeFacts {
    let Some(found) = types.get(&oid) else {
        // Dropped between two looks at the catalogue: refused like any type without values.
        return TypeFacts {
            name: format!("type {oid}"),
            kind: TypeKind::Pseudo,
            modifier,
            output: String::new(),
        };
    };
    if found.kind == "d" {
        let modifier = if modifier < 0 {
            found.base_modifier
        } else {
            modifier
        };
        return facts(found.base, modifier, types);
    }
    let delimiter = found.delimiter.chars().next().unwrap_or(',');
    // Of an array of an extension's or user's making only the array itself is ours to know.
    let kind = match found.kind.as_str() {
        _ if found.is_array => TypeKind::Array {
            element: Box::new(facts(found.element, modifier, types)),
            delimiter,
        },
        "p" => TypeKind::Pseudo,
        "e" => TypeKind::Enum,
        "b" | "r" | "m" if found.built_in => TypeKind::BuiltIn,
        _ => TypeKind::Other,
    };
    TypeFacts {
        name: found.name.clone(),
        kind,
        modifier,
        output: found.output.clone(),
    }
}

async fn primary_key(client: &Client, oid: u32) -> Result<Vec<String>, Failure> {
    let rows = query(
        client,
        "SELECT a.attname::text FROM pg_index i
           CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, position)
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
         WHERE i.indrelid = $1 AND i.indisprimary AND k.position <= i.indnkeyatts ORDER BY k.position",
        &[&oid],
    )
    .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The table itself, or its partitions and theirs, with the pages they have now; and the rows that are expected.
async fn stored(client: &Client, oid: u32) -> Result<(Reach, u64), Failure> {
    let rows = query(
        client,
        "WITH RECURSIVE family (oid) AS (
           SELECT $1::oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.oid = i.inhparent
           WHERE NOT i.inhdetachpending)
         SELECT s.nspname::text, c.relname::text, c.relkind = 'f',
           pg_relation_size(c.oid) / current_setting('block_size')::bigint, greatest(c.reltuples, 0)::float8,
           has_schema_privilege(s.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT'), current_user::text
         FROM family f JOIN pg_class c ON c.oid = f.oid JOIN pg_namespace s ON s.oid = c.relnamespace
         WHERE c.relkind <> 'p' ORDER BY 1, 2",
        &[&oid],
    )
    .await?;
    let mut parts = Vec::with_capacity(rows.len());
    let mut expected = 0.0;
    for row in &rows {
        let name = TableName {
            schema: row.get(0),
            table: row.get(1),
        };
        if !row.get::<_, bool>(5) {
            return Err(partition_denied(&name, row.get(6)));
        }
        expected += row.get::<_, f64>(4);
        parts.push(Stored {
            name,
            pages: (!row.get::<_, bool>(2)).then(|| row.get::<_, i64>(3).unsigned_abs()),
        });
    }
    Ok((Reach::Pages(parts), expected as u64))
}

fn partition_denied(name: &TableName, role: &str) -> Failure {
    Failure::new(
        "AccessDenied",
        format!("role `{role}` of the source may not read the partition `{name}`"),
    )
    .hint(format!(
        "partitions are read one by one: GRANT SELECT ON {} TO {role}",
        quoted_table(name)
    ))
}
