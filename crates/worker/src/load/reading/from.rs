//! Where the rows of a load come from: a table, or a query in place of one.

use crate::failure::Failure;
use crate::source::{self, Column, Reach, Table, failed, quoted_table};
use pipeline::path::TableName;
use pipeline::plan::{JdbcLoad, Load};
use tokio_postgres::Client;

#[derive(Debug, Clone)]
pub enum From {
    Table(TableName),
    /// SQL before SELECT and after FROM.
    Query {
        prefix: String,
        relation: String,
    },
}

impl From {
    pub fn of(load: &JdbcLoad) -> Self {
        match &load.relation {
            None => Self::Table(load.load.source.clone()),
            Some(relation) => Self::Query {
                prefix: load
                    .options
                    .get("preparequery")
                    .map(|prefix| format!("{prefix} "))
                    .unwrap_or_default(),
                relation: relation.clone(),
            },
        }
    }

    /// SQL after FROM.
    pub fn relation(&self) -> String {
        match self {
            Self::Table(name) => quoted_table(name),
            Self::Query { relation, .. } => relation.clone(),
        }
    }

    pub fn select(&self, what: &str) -> String {
        let prefix = match self {
            Self::Table(_) => "",
            Self::Query { prefix, .. } => prefix,
        };
        format!("{prefix}SELECT {what} FROM {}", self.relation())
    }

    /// A query was written for the role's own search path.
    pub async fn prepare(&self, client: &Client) -> Result<(), Failure> {
        match self {
            Self::Table(_) => Ok(()),
            Self::Query { .. } => client
                .batch_execute("RESET search_path")
                .await
                .map_err(|error| failed("the search path cannot be set", &error)),
        }
    }

    /// What the source says of it now.
    pub async fn look(&self, client: &Client, load: &Load) -> Result<Table, Failure> {
        self.prepare(client).await?;
        match self {
            Self::Table(name) => source::table(client, name).await,
            Self::Query { .. } => {
                let table = match load.changes_follow {
                    // Its changes are those of this table.
                    true => source::table(client, &load.source).await?,
                    false => nothing_of(&load.source),
                };
                Ok(Table {
                    columns: self.columns(client, &load.source).await?,
                    generated: Vec::new(),
                    reach: Reach::Whole,
                    rows_estimate: 0,
                    ..table
                })
            }
        }
    }

    async fn columns(&self, client: &Client, name: &TableName) -> Result<Vec<Column>, Failure> {
        let what = format!("the query in place of `{name}` cannot be read");
        let statement = client.prepare(&self.select("*")).await;
        let statement = statement.map_err(|error| failed(&what, &error))?;
        let columns = statement.columns();
        let types: Vec<(u32, i32)> = columns
            .iter()
            .map(|column| (column.type_().oid(), column.type_modifier()))
            .collect();
        let facts = source::type_facts(client, &types).await?;
        let (oids, modifiers): (Vec<u32>, Vec<i32>) = types.into_iter().unzip();
        let shown = client
            .query(
                "SELECT format_type(t.oid, t.modifier) FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS t (oid, modifier, place) ORDER BY t.place",
                &[&oids, &modifiers],
            )
            .await
            .map_err(|error| failed(&what, &error))?;
        let columns = columns.iter().zip(shown).zip(facts);
        Ok(columns
            .map(|((column, shown), facts)| Column {
                name: column.name().to_owned(),
                shown_type: shown.get(0),
                facts,
            })
            .collect())
    }
}

fn nothing_of(name: &TableName) -> Table {
    Table {
        oid: 0,
        name: name.clone(),
        columns: Vec::new(),
        generated: Vec::new(),
        primary_key: Vec::new(),
        reach: Reach::Whole,
        rows_estimate: 0,
        not_followed: None,
    }
}
