//! The merge of the spark engine: batches as `merge` chooses them, written by the Hudi streamer out of a query that the worker writes.

use super::{Limits, Merge, Writer, query};
use crate::context::{Guard, Progress};
use crate::failure::Failure;
use crate::hudi::{self, Size};
use crate::silver::{self, Marked, Silver};
use crate::spark::{Submit, Token};
use crate::store;
use local::kill;
use pipeline::path::segment;
use pipeline::plan::{Partitioning, TableWork};
use pipeline::position::{Operation, Pending};
use pipeline::report::StepReport;
use tasks::port::{Clock, Ledger};

/// A spark-submit takes a minute before it reads a row, so batches are as large as a small cluster merges at ease; the worker reads
/// the numbers of all their changes before. Each file is one more to list and open for the driver.
pub const LIMITS: Limits = Limits {
    batch_rows: 20_000_000,
    batch_bytes: 4 << 30,
    batch_files: 2000,
    ..Limits::USUAL
};

/// Merges all change files that are there; again and again until cancelled, when the pipeline is a continuous one.
pub async fn run(
    ledger: &(impl Ledger + Clock),
    submit: &Submit<'_>,
    work: &TableWork,
    guard: &impl Guard,
    progress: &impl Progress,
) -> Result<StepReport, Failure> {
    run_within(ledger, submit, work, guard, progress, &LIMITS).await
}

/// As `run`, within other limits.
pub async fn run_within(
    ledger: &(impl Ledger + Clock),
    submit: &Submit<'_>,
    work: &TableWork,
    guard: &impl Guard,
    progress: &impl Progress,
    limits: &Limits,
) -> Result<StepReport, Failure> {
    silver::check_counted(work)?;
    let silver = Silver::lock(ledger, work).await?;
    let merge = Merge::begin(silver, submit.job, work, Writer::Spark(submit), limits).await?;
    merge.run(guard, progress).await
}

impl<L: Ledger + Clock> Merge<'_, L> {
    /// One batch: its numbers read, its query written, committed, recorded.
    pub(super) async fn apply_by_spark(
        &mut self,
        submit: &Submit<'_>,
        files: Vec<String>,
        listed: &[String],
        guard: &impl Guard,
        progress: &impl Progress,
    ) -> Result<(), Failure> {
        let position = self.position()?;
        let floors = silver::floors(&self.seed.t0, position.applied.as_ref(), listed);
        let marked = Marked::read(&self.changes, &files, &floors)?;
        let table = hudi::open(&self.folder).await?;
        let before = table.size().await?;
        self.size = Some(before);
        self.report.rows_after = Some(before.rows);
        let several_streams = position.applied.is_some() && floors.applied.is_none();
        let query = query::Query {
            work: self.work,
            table: &*table.schema().await?,
            files: &files,
            columns: &marked.columns,
            floors: &floors,
            stored: several_streams.then(|| self.generation()),
        }
        .text()?;
        let base = table.newest_instant();
        drop(table);
        self.silver
            .begin(Pending {
                run_id: self.job.run_id.to_owned(),
                operation: Operation::Merge,
                base_instant: base.clone(),
                files: files.clone(),
                rows_after: None,
            })
            .await?;
        kill::point("merge.after.pending");
        let instant = match marked.rows - marked.dropped {
            0 => None,
            _ => Some(self.submit(submit, &query, base, &before, guard).await?),
        };
        self.record(&files, marked.rows, marked.newest.as_ref(), instant)
            .await?;
        kill::point("merge.after.position");
        self.report.rows += marked.rows;
        self.report.bytes += marked.bytes;
        self.report.dropped += marked.dropped;
        progress.add(marked.rows, marked.bytes);
        Ok(())
    }

    /// Whether a row can go to another partition: then Hudi does not count all that it inserts.
    fn rows_move(&self) -> bool {
        match &self.work.partitioning {
            Partitioning::None => false,
            Partitioning::By(columns) => columns
                .iter()
                .any(|column| !self.work.primary_key.contains(column)),
        }
    }

    /// URI of the published generation.
    fn generation(&self) -> String {
        format!("{}/g={}", self.work.silver, segment(&self.seed.run_id))
    }

    /// Has the streamer commit; gives the instant that came of it.
    async fn submit(
        &mut self,
        submit: &Submit<'_>,
        query: &str,
        base: Option<String>,
        before: &Size,
        guard: &impl Guard,
    ) -> Result<String, Failure> {
        let name = format!("changes-{}.sql", segment(&self.work.target_table));
        let uri = self.job.plan.zones.run_file(self.job.run_id, &name);
        let place = store::location(&uri)?;
        place
            .put(query.as_bytes())
            .map_err(|error| silver::unusable(&place, &error))?;
        kill::point("merge.before.commit");
        let generation = format!("g={}", segment(&self.seed.run_id));
        let values = [
            (Token::Generation, generation.as_str()),
            (Token::ChangeFiles, uri.as_str()),
        ];
        submit.run(&values, guard).await?;
        kill::point("merge.after.commit");
        let table = hudi::open(&self.folder).await?;
        let Some(instant) = table.instant_after(base.as_deref()) else {
            return Err(Failure::new(
                "HudiFailed",
                format!("the streamer made no commit to `{}`", self.folder),
            ));
        };
        let after = table.size().await?;
        let written = table.written(&instant).await?;
        self.size = Some(after);
        self.report.rows_after = Some(after.rows);
        self.report.inserted += written.inserted;
        self.report.updated += written.updated;
        self.report.deleted += written.deleted;
        let expected = (before.rows + written.inserted).checked_sub(written.deleted);
        self.check(expected.filter(|_| !self.rows_move()), after.rows)
            .await?;
        Ok(instant)
    }
}
