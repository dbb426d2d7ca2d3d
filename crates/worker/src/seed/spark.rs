//! The seed of the spark engine: what `seed` does, with the Hudi streamer building the generation.

use super::{Begun, begin, check};
use crate::context::{Guard, Progress};
use crate::failure::Failure;
use crate::hudi;
use crate::silver;
use crate::spark::{Submit, Token};
use local::kill;
use pipeline::plan::{Engine, TableWork};
use pipeline::report::StepReport;
use tasks::port::{Clock, Ledger};

/// Makes rows of other rows, so that none can be counted against the load's.
const TRANSFORMER: &str = "--transformer-class";

/// Seeds a table. A retry of a run that had published already repeats its report.
pub async fn run(
    ledger: &(impl Ledger + Clock),
    submit: &Submit<'_>,
    work: &TableWork,
    guard: &impl Guard,
    progress: &impl Progress,
) -> Result<StepReport, Failure> {
    let job = submit.job;
    silver::check_counted(work)?;
    let mut ready = match begin(ledger, job, work, Engine::Spark).await? {
        Begun::Published(report) => return Ok(report),
        Begun::Ready(ready) => *ready,
    };
    let manifest = &ready.load.manifest;
    progress.expect(manifest.rows);
    kill::point("seed.before.append");
    submit
        .run(&[(Token::LoadRunId, &manifest.run_id)], guard)
        .await?;
    kill::point("seed.after.append");
    let table = hudi::open(&ready.silver.generation(job.run_id)).await?;
    let size = table.size().await?;
    let transformed = submit.has(TRANSFORMER);
    if !transformed {
        check(work, ready.distinct, &size)?;
    }
    progress.add(manifest.rows, manifest.bytes);
    ready.publish(job, Engine::Spark, guard).await?;
    let mut report = ready.report(work, size);
    if transformed {
        report.inserted = size.rows;
        report
            .notes
            .push("rows are not comparable with the load's: a transformer made them".to_owned());
    }
    Ok(report)
}
