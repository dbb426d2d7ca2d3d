//! One native load without a ledger, for `scripts/bench`:
//! `load_bench SECRETS LAKE RUN_ID SCHEMA.TABLE [CONNECTIONS]`, with the secret in `SECRETS/shop.json`. Prints rows and bytes.

use pipeline::key::parse_table;
use pipeline::path::Zones;
use pipeline::plan::{Load, Plan};
use std::path::Path;
use worker::context::{Guard, Silent};
use worker::failure::Failure;
use worker::job::Job;
use worker::secret::Secrets;

struct Unguarded;

impl Guard for Unguarded {
    async fn may_commit(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [secrets, lake, run_id, table, connections @ ..] = arguments.as_slice() else {
        return Err("usage: load_bench SECRETS LAKE RUN_ID SCHEMA.TABLE [CONNECTIONS]".into());
    };
    let mut plan: Plan = serde_json::from_str(include_str!("plan.json"))?;
    plan.zones = Zones {
        bronze: format!("file://{lake}/bronze"),
        silver: format!("file://{lake}/silver"),
        gold: format!("file://{lake}/gold"),
        runtime: format!("file://{lake}/runtime"),
    };
    let source = parse_table(table).map_err(|_| "no table name")?;
    let load = Load {
        loads: plan.zones.loads(&plan.source.db, &source),
        source,
        parallelism: connections.first().map_or(Ok(4), |text| text.parse())?,
        changes_follow: false,
    };
    let job = Job {
        run_id,
        plan: &plan,
        secrets: Secrets::Folder(Path::new(secrets)),
    };
    let report = worker::load::run(&job, &load, &Unguarded, &Silent).await?;
    println!("{} rows, {} bytes", report.rows, report.bytes);
    Ok(())
}
