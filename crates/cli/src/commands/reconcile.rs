//! `reconcile`: the lake against the database. The worker does it.

use crate::context::open_home;
use crate::context::{Context, Trouble, block_on};
use crate::driver::repair_first;
use crate::worker::become_worker;
use std::process::ExitCode;

/// Compares the lake with the database: counts, or every row
///
/// Waits until the lake is complete through a moment of the database, and compares with the database of that moment.
/// Exits with 1 when a table differs or could not be compared.
#[derive(clap::Args)]
pub struct Arguments {
    /// Whose tables
    #[arg(long)]
    identifier: String,
    /// Only this table (SCHEMA.TABLE); may be repeated
    #[arg(long = "table", value_name = "TABLE")]
    tables: Vec<String>,
    /// Every row, not just their number
    #[arg(long)]
    deep: bool,
    /// Waits so long at most for the lake; 60 unless given
    #[arg(long, value_name = "SECONDS")]
    wait_seconds: Option<u64>,
}

/// What can be compared on AWS.
const ON_AWS: &str = "no task of a stack compares lake and database; `show RUN` has the rows of each table, and the position it is complete at";

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let home = context.home("reconcile", ON_AWS)?;
    let local = open_home(home)?;
    block_on(async {
        repair_first(&local).await;
        Ok(())
    })?;
    drop(local);
    let mut words: Vec<String> = ["reconcile", "--identifier"].map(str::to_owned).into();
    words.push(arguments.identifier);
    for table in arguments.tables {
        words.extend(["--table".to_owned(), table]);
    }
    words.extend(arguments.deep.then(|| "--deep".to_owned()));
    if let Some(seconds) = arguments.wait_seconds {
        words.extend(["--wait-seconds".to_owned(), seconds.to_string()]);
    }
    Err(become_worker(home, context.json, &words))
}
