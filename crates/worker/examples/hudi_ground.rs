//! The native engine's side of `scripts/interop`: makes, changes and reads Hudi tables with the worker's own functions, one command at a time.
//!
//!   hudi_ground plan HOME ITEMS PIPELINE ENGINE   a plan of the local target, as JSON
//!   hudi_ground seed PLAN STEP FILE FOLDER        a new table in FOLDER out of a Parquet file, with the options of the plan's step; one without
//!                                                 rows makes a table without commits, as a seed does
//!   hudi_ground merge FILE FOLDER                 changes of a Parquet file into a table
//!   hudi_ground read FOLDER FILE                  all rows of a table into a Parquet file
//!   hudi_ground written FOLDER                    what the newest commit says it inserted, updated and deleted, and the rows then, as JSON
//!   hudi_ground query PLAN STEP FOLDER FILE T0 [stored]
//!                                                 the query by which Spark merges a change file into a table; `stored` has it look at
//!                                                 the table for what is older than a stored row
//!   hudi_ground load PLAN HOME STEP RUN           the load of the plan's step, by its engine, into `run=<RUN>`; the secret is in HOME

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::deployment::Deployment;
use pipeline::plan::{Engine, Plan, StepWork, TableWork};
use pipeline::planning::PlanRequest;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use worker::context::{Guard, Silent};
use worker::failure::Failure;
use worker::hudi::{self, Layout, Size};
use worker::job::Job;
use worker::load;
use worker::merge::query::Query;
use worker::secret::Secrets;
use worker::silver::{Adapter, Floors, Marked};
use worker::spark::Submit;
use worker::store::{self, Location};

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
        ["written", folder] => written(&place(folder)).await,
        ["query", plan, step, folder, file, t0] => query(plan, step, folder, file, t0, None).await,
        ["query", plan, step, folder, file, t0, "stored"] => {
            let stored = format!("file://{folder}");
            query(plan, step, folder, file, t0, Some(stored)).await
        }
        ["load", plan, home, step, run] => load(plan, Path::new(home), step, run).await,
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

async fn written(folder: &Location) -> Done {
    let table = hudi::open(folder).await?;
    let newest = table.newest_instant().ok_or("the table has no commit")?;
    let written = table.written(&newest).await?;
    let rows = table.size().await?.rows;
    let counts = [written.inserted, written.updated, written.deleted, rows];
    println!("{}", serde_json::to_string(&counts)?);
    Ok(())
}

async fn query(
    plan: &str,
    step: &str,
    folder: &str,
    file: &str,
    t0: &str,
    stored: Option<String>,
) -> Done {
    let plan: Plan = serde_json::from_slice(&fs::read(plan)?)?;
    let planned = plan.steps.iter().find(|planned| planned.name == step);
    let Some(StepWork::SparkSubmit {
        table: Some(work), ..
    }) = planned.map(|planned| &planned.work)
    else {
        return Err(format!("the plan merges no `{step}` by Spark").into());
    };
    let path = Path::new(file);
    let parent = path.parent().ok_or("a file in a folder")?;
    let name = path.file_name().ok_or("a file")?.to_string_lossy();
    let work = TableWork {
        changes: format!("file://{}", parent.display()),
        ..work.clone()
    };
    let floors = Floors {
        t0: t0.parse()?,
        applied: None,
    };
    let files = [name.into_owned()];
    let marked = Marked::read(&store::location(&work.changes)?, &files, &floors)?;
    let query = Query {
        work: &work,
        table: &*hudi::open(&place(folder)).await?.schema().await?,
        files: &files,
        columns: &marked.columns,
        floors: &floors,
        stored,
    };
    println!("{}", query.text()?);
    Ok(())
}

async fn load(plan: &str, home: &Path, step: &str, run: &str) -> Done {
    let plan: Plan = serde_json::from_slice(&fs::read(plan)?)?;
    let planned = plan.steps.iter().find(|planned| planned.name == step);
    let secrets = home.join("secrets");
    let job = Job {
        run_id: run,
        plan: &plan,
        secrets: Secrets::Folder(&secrets),
    };
    let report = match planned.map(|planned| &planned.work) {
        Some(StepWork::Load(work)) => load::run(&job, work, &Free, &Silent).await?,
        Some(StepWork::SparkSubmit {
            arguments,
            load: Some(work),
            ..
        }) => load::spark::run(&Submit::new(&job, arguments), work, &Free, &Silent).await?,
        _ => return Err(format!("the plan loads no `{step}`").into()),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Lets everything pass.
struct Free;

impl Guard for Free {
    async fn may_commit(&self) -> Result<(), Failure> {
        Ok(())
    }
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
