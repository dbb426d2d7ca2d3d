//! What a commit says of its rows.

use super::failed;
use crate::failure::Failure;
use crate::store::Location;
use futures::FutureExt;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Rows of one commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Commit {
    #[serde(default)]
    partition_to_write_stats: BTreeMap<String, Vec<Stat>>,
}

/// Of one file. Absent is none; a writer that does not count says -1.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stat {
    num_inserts: Option<i64>,
    num_update_writes: Option<i64>,
    num_deletes: Option<i64>,
}

pub(super) async fn of(
    table: &hudi_core::table::Table,
    folder: &Location,
    instant: &str,
) -> Result<Written, Failure> {
    let timeline = table.get_timeline();
    let Some(found) = timeline
        .completed_commits
        .iter()
        .find(|commit| commit.timestamp == instant)
    else {
        return Ok(Written::default());
    };
    let text = timeline
        .get_instant_metadata_in_json(found)
        .boxed()
        .await
        .map_err(|error| failed("say what was written", folder, error))?;
    parse(&text).map_err(|error| {
        Failure::new(
            "HudiFailed",
            format!("commit `{instant}` of `{folder}` is not of its form: {error}"),
        )
    })
}

fn parse(text: &str) -> serde_json::Result<Written> {
    let commit: Commit = serde_json::from_str(text)?;
    let count = |number: Option<i64>| number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let mut written = Written::default();
    for stat in commit.partition_to_write_stats.values().flatten() {
        written.inserted += count(stat.num_inserts);
        written.updated += count(stat.num_update_writes);
        written.deleted += count(stat.num_deletes);
    }
    Ok(written)
}
