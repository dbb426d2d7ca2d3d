//! Runs a definition in virtual time: `cargo run -q -p asl --example run -- DEFINITION.json --input INPUT.json [--mocks MOCKS.json]`.
//!
//! Prints one JSON object. Exit codes: 0 the execution succeeded, 1 it did not, 2 it could not be run.

use asl::mock::{Mocks, Run};
use asl::{Event, Machine, Moment, Start, Status};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: run DEFINITION.json [--input INPUT.json] [--mocks MOCKS.json] \
                     [--start 2026-01-01T00:00:00Z] [--seed 0]";
/// Virtual time begins here unless `--start` says otherwise: the same command prints the same history.
const START: &str = "2026-01-01T00:00:00Z";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(run) => {
            println!("{}", report(&run));
            match run.outcome.status {
                Status::Succeeded => ExitCode::SUCCESS,
                Status::Failed | Status::TimedOut | Status::Aborted => ExitCode::from(1),
            }
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Options {
    definition: Option<String>,
    input: Option<String>,
    mocks: Option<String>,
    start: Option<String>,
    seed: Option<String>,
}

fn run(arguments: impl Iterator<Item = String>) -> Result<Run, String> {
    let options = options(arguments)?;
    let definition = options.definition.ok_or(USAGE)?;
    let machine = Machine::parse(&text(&definition)?).map_err(|errors| {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        format!("`{definition}` is refused\n{}", lines.join("\n"))
    })?;
    let input = options.input.map_or(Ok(json!({})), |path| parse(&path))?;
    let mocks: Mocks = options
        .mocks
        .map_or(Ok(Mocks::default()), |path| parse(&path))?;
    let start = options.start.as_deref().unwrap_or(START);
    let now = Moment::parse(start).ok_or(format!("`--start`: not a timestamp: {start}"))?;
    let seed = options.seed.map_or(Ok(0), |seed| {
        seed.parse()
            .map_err(|_| format!("`--seed`: not a number: {seed}"))
    })?;
    let name = Path::new(&definition).file_stem().map_or_else(
        || "machine".to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    );
    asl::mock::run(&machine, named(&name, input, now, seed), &mocks).map_err(|e| e.to_string())
}

fn named(machine_name: &str, input: Value, now: Moment, seed: u64) -> Start {
    const ACCOUNT: &str = "arn:aws:states:us-east-1:123456789012";
    Start {
        name: "run".to_owned(),
        id: format!("{ACCOUNT}:execution:{machine_name}:run"),
        machine_name: machine_name.to_owned(),
        machine_id: format!("{ACCOUNT}:stateMachine:{machine_name}"),
        input,
        now,
        seed,
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let place = match argument.as_str() {
            "--input" => &mut options.input,
            "--mocks" => &mut options.mocks,
            "--start" => &mut options.start,
            "--seed" => &mut options.seed,
            flag if flag.starts_with('-') => {
                return Err(format!("unknown flag: {flag}\n{USAGE}"));
            }
            _ if options.definition.is_some() => {
                return Err(format!("a second definition: {argument}\n{USAGE}"));
            }
            _ => {
                options.definition = Some(argument);
                continue;
            }
        };
        let value = arguments.next();
        *place = Some(value.ok_or(format!("`{argument}` needs a value\n{USAGE}"))?);
    }
    Ok(options)
}

fn text(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("`{path}`: {error}"))
}

fn parse<T: serde::de::DeserializeOwned>(path: &str) -> Result<T, String> {
    serde_json::from_str(&text(path)?).map_err(|error| format!("`{path}`: {error}"))
}

fn report(run: &Run) -> Value {
    let event = |event: &Event| json!({"at": event.at.to_string(), "type": event.kind, "state": event.state});
    json!({
        "status": run.outcome.status,
        "output": run.outcome.output,
        "error": run.outcome.error,
        "cause": run.outcome.cause,
        "history": run.history.iter().map(event).collect::<Vec<_>>(),
    })
}
