//! The load of the spark engine: what `load` does, with Spark reading and writing the rows under the snapshot that the worker holds.

use super::copy::Copied;
use super::folder::Folder;
use super::reading::{self, From, own_types};
use super::snapshot::is_comparable;
use super::{Begun, LIMITS, Limits, begin, check, manifest, notes, report};
use crate::context::{Guard, Progress};
use crate::failure::Failure;
use crate::source::{SESSION, Table};
use crate::spark::{Scratch, Submit, Token};
use crate::types::{Carried, IS_DELETED, OP, TRX_SEQ};
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::plan::JdbcLoad;
use pipeline::position::ManifestFile;
use pipeline::report::StepReport;
use pipeline::seq::ChangeSeq;
use std::collections::BTreeMap;

/// Loads a table into `run=<run_id>`, or says again what an earlier attempt of the same run did.
pub async fn run(
    submit: &Submit<'_>,
    load: &JdbcLoad,
    guard: &impl Guard,
    progress: &impl Progress,
) -> Result<StepReport, Failure> {
    run_within(LIMITS, submit, load, guard, progress).await
}

pub(super) async fn run_within(
    limits: Limits,
    submit: &Submit<'_>,
    jdbc: &JdbcLoad,
    guard: &impl Guard,
    progress: &impl Progress,
) -> Result<StepReport, Failure> {
    let (job, load) = (submit.job, &jdbc.load);
    let folder = Folder::new(&load.loads, job.run_id)?;
    if let Some(manifest) = folder.manifest()? {
        let note = "an earlier attempt of this run had loaded it".to_owned();
        return Ok(report(&folder, &manifest, vec![note]));
    }
    let from = From::of(jdbc);
    let begun = begin(limits, job, load, &from).await?;
    let seq = ChangeSeq::new(begun.t0.at, 0);
    folder.prepare()?;
    local::kill::point("load.before.files");
    progress.expect(begun.table.rows_estimate);
    let copied = async {
        let ((), (counted, nulled)) = tokio::try_join!(
            written(submit, jdbc, &begun, &seq, guard),
            counted(jdbc, &from, &begun)
        )?;
        let files = files(&folder, &begun.table)?;
        carried_as_planned(&folder, &files, jdbc, &begun)?;
        let rows = files.iter().map(|file| file.rows).sum();
        let copied = Copied {
            rows,
            rows_sent: rows,
            files,
            nulled,
        };
        check(&begun.table, &copied, counted)?;
        guard.may_commit().await?;
        Ok(copied)
    };
    let copied = copied.await.inspect_err(|_| folder.abandon())?;
    let notes = notes(&begun.table, &begun.t0);
    let manifest = manifest(job, &begun.table, seq, &begun.snapshot, begun.cover, copied);
    local::kill::point("load.before.manifest");
    folder.complete(&manifest)?;
    local::kill::point("load.after.manifest");
    progress.add(manifest.rows, manifest.bytes);
    Ok(report(&folder, &manifest, notes))
}

/// Spark reads and writes.
async fn written(
    submit: &Submit<'_>,
    load: &JdbcLoad,
    begun: &Begun,
    seq: &ChangeSeq,
    guard: &impl Guard,
) -> Result<(), Failure> {
    let snapshot = &begun.snapshot.id;
    let reading = reading::reading(load, &begun.table, &begun.carried, snapshot, SESSION);
    let reading = serde_json::to_vec(&reading).unwrap_or_default();
    let reading = Scratch::write("reading.json", &reading)?;
    let secret = submit.job.secrets.file(&submit.job.plan.source.secret);
    let mut values = vec![(Token::T0, seq.as_str().to_owned())];
    values.push((Token::Reading, reading.text()));
    values.extend(secret.map(|file| (Token::SecretFile, file.to_string_lossy().into_owned())));
    let values: Vec<(Token, &str)> = values
        .iter()
        .map(|(token, value)| (*token, value.as_str()))
        .collect();
    submit.run(&values, guard).await
}

/// The rows of the snapshot, where they can be compared, and the values that became NULL.
async fn counted(
    load: &JdbcLoad,
    from: &From,
    begun: &Begun,
) -> Result<(Option<u64>, BTreeMap<String, u64>), Failure> {
    let (names, conditions): (Vec<String>, Vec<String>) =
        reading::nulled(load, &begun.table.columns, &begun.carried)
            .into_iter()
            .unzip();
    let conditions = [vec!["true".to_owned()], conditions].concat();
    let counts = begun
        .snapshot
        .counts(&begun.table, from, &conditions)
        .await?;
    let rows = counts
        .first()
        .copied()
        .filter(|_| is_comparable(&begun.table));
    let nulled = names.into_iter().zip(counts.into_iter().skip(1));
    Ok((rows, nulled.filter(|(_, count)| *count > 0).collect()))
}

/// What Spark left.
fn files(folder: &Folder, table: &Table) -> Result<Vec<ManifestFile>, Failure> {
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(
            "LoadUnreadable",
            format!("what Spark wrote of `{}` cannot be read", table.name),
        )
        .caused_by(error)
    };
    let mut names = folder
        .place
        .data_files()
        .map_err(|error| unreadable(&error))?;
    names.retain(|name| name.ends_with(".parquet"));
    let measured = folder.place.measured(&names);
    let measured = measured.map_err(|error| unreadable(&error))?;
    Ok(names
        .into_iter()
        .zip(measured)
        .map(|(name, measured)| ManifestFile {
            name,
            rows: measured.rows,
            bytes: measured.bytes,
        })
        .collect())
}

/// Whether the columns are those of a native load; all files of a write have the same.
fn carried_as_planned(
    folder: &Folder,
    files: &[ManifestFile],
    load: &JdbcLoad,
    begun: &Begun,
) -> Result<(), Failure> {
    let table = &begun.table.name;
    let differs = |why: String| {
        Failure::new(
            "ColumnsDiffer",
            format!("what Spark wrote of `{table}` is not as it is to be carried: {why}"),
        )
    };
    let Some(smallest) = files.iter().min_by_key(|file| file.bytes) else {
        return Err(differs("there is no Parquet file".to_owned()));
    };
    let place = folder.place.join(&smallest.name);
    let schema = place
        .open()
        .map_err(|error| differs(error.to_string()))
        .and_then(|file| {
            ParquetRecordBatchReaderBuilder::try_new(file)
                .map_err(|error| differs(error.to_string()))
        })?
        .schema()
        .clone();
    let found: Vec<(String, DataType)> = schema
        .fields()
        .iter()
        .map(|field| (field.name().clone(), field.data_type().clone()))
        .collect();
    let expected = expected(&begun.table, &begun.carried);
    let names = |columns: &[(String, DataType)]| -> Vec<String> {
        columns.iter().map(|(name, _)| name.clone()).collect()
    };
    if names(&found) != names(&expected) {
        return Err(differs(format!("columns `{}`", names(&found).join("`, `"))));
    }
    let own = own_types(load);
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        if found != expected && !own.contains(name) {
            return Err(differs(format!("`{name}` is {found}, not {expected}")));
        }
    }
    Ok(())
}

fn expected(table: &Table, carried: &[Carried]) -> Vec<(String, DataType)> {
    let own = table
        .columns
        .iter()
        .zip(carried)
        .map(|(column, carried)| (column.name.clone(), carried.arrow_type()));
    let mut all = vec![(OP.to_owned(), DataType::Utf8)];
    all.extend(own);
    all.push((TRX_SEQ.to_owned(), DataType::Utf8));
    all.push((IS_DELETED.to_owned(), DataType::Boolean));
    all
}
