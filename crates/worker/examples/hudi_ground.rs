//! The native engine's side of `scripts/interop`: makes, changes and reads Hudi tables with the worker's own functions, one command at a time.
//!
//!   hudi_ground plan HOME ITEMS PIPELINE ENGINE   a plan of the local target, as JSON
//!   hudi_ground seed PLAN STEP FILE FOLDER        a new table in FOLDER out of a Parquet file, with the options of the plan's step; one without
//!                                                 rows makes a table without commits, as a seed does
//!   hudi_ground merge FILE FOLDER                 changes of a Parquet file into a table
//!   hudi_ground read FOLDER FILE                  all rows of a table into a Parquet file

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::deployment::Deployment;
use pipeline::plan::{Engine, Plan, StepWork};
use pipeline::planning::PlanRequest;
use std::error::Error;
use std::fs::{self, File};
use std::path::PathBuf;
use worker::hudi::{self, Layout, Size};
use worker::silver::Adapter;
use worker::store::Location;

type Done = Result<(), Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["plan", home, items, pipeline, engine] => plan(home, items, pipeline, engine),
        ["seed", plan, step, file, folder] => seed(plan, step, file, &place(folder)).await,
        ["merge", file, folder] => merge(file, &place(folder)).await,
        ["read", folder, file] => read(&place(folder), file).await,
        _ => Err("see the head of this program's source".into()),
    }
}

fn place(folder: &str) -> Location {
    PathBuf::from(folder).into()
}

fn plan(home: &str, items: &str, pipeline: &str, engine: &str) -> Done {
    let items = pipeline::item::read_items(&fs::read_to_string(items)?)
        .map_err(|problems| format!("{problems:?}"))?;
    let engine: Engine = serde_json::from_value(engine.into())?;
    let request = PlanRequest {
        identifier: "ground".to_owned(),
        pipeline: pipeline.to_owned(),
        engine: Some(engine),
    };
    let plan = pipeline::planning::plan(&items, &Deployment::local(home), &request)
        .map_err(|problems| format!("{problems:?}"))?;
    println!("{}", serde_json::to_string(&plan)?);
    Ok(())
}

async fn seed(plan: &str, step: &str, file: &str, folder: &Location) -> Done {
    let plan: Plan = serde_json::from_slice(&fs::read(plan)?)?;
    let planned = plan.steps.iter().find(|planned| planned.name == step);
    let Some(StepWork::Seed(work)) = planned.map(|planned| &planned.work) else {
        return Err(format!("the plan seeds no `{step}`").into());
    };
    let (columns, batches) = batches(file)?;
    hudi::create(folder, &work.hudi_options, &columns).await?;
    if batches.is_empty() {
        return Ok(());
    }
    let layout = Layout::for_rows(&batches, &Size::default());
    let instant = hudi::open_to_write(folder, layout)
        .await?
        .append(batches)
        .await?;
    println!("{instant}");
    Ok(())
}

async fn merge(file: &str, folder: &Location) -> Done {
    let (_, batches) = batches(file)?;
    let size = hudi::open(folder).await?.size().await?;
    let layout = Layout::for_rows(&batches, &size);
    let instant = hudi::open_to_write(folder, layout)
        .await?
        .upsert(batches)
        .await?;
    println!("{instant}");
    Ok(())
}

async fn read(folder: &Location, file: &str) -> Done {
    let table = hudi::open(folder).await?;
    let batches: Vec<RecordBatch> = table.read(None).await?.try_collect().await?;
    let columns = match batches.first() {
        Some(batch) => batch.schema(),
        None => table.schema().await?,
    };
    let mut writer = ArrowWriter::try_new(File::create(file)?, columns, None)?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(())
}

/// The columns of a file as a table keeps them, and its rows in them.
fn batches(file: &str) -> Result<(SchemaRef, Vec<RecordBatch>), Box<dyn Error>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
    let columns = hudi::columns(builder.schema());
    let adapter = Adapter::new(columns.clone(), file.to_owned(), String::new());
    let batches = builder
        .build()?
        .map(|batch| Ok(adapter.adapt(&batch?)?))
        .collect::<Result<_, Box<dyn Error>>>()?;
    Ok((columns, batches))
}
