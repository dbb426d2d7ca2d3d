//! `headwater plan`: all that a run would do, without doing anything. The plan is the one that a run freezes.

use crate::context::{Context, Target as At, Trouble, block_on};
use crate::{items, plan_text, print};
use pipeline::deployment::Deployment;
use pipeline::plan::{Engine, Plan, Target};
use pipeline::planning::{PlanRequest, plan};
use pipeline::problem::Problem;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// All that a run would do, without doing anything
#[derive(clap::Args)]
pub struct Arguments {
    /// Items from a file instead of the configuration table; `-` is stdin
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The identifier of the items
    #[arg(long, value_name = "ID")]
    identifier: String,
    /// The pipeline: a system pipeline or the name of a custom one
    #[arg(long, value_name = "NAME")]
    pipeline: String,
    /// For all steps, whatever the items say
    #[arg(long, value_enum)]
    engine: Option<EngineArgument>,
    /// Where it would run; by default that of the deployment file, else the stack, else `local`
    #[arg(long, value_enum)]
    target: Option<TargetArgument>,
    /// The deployment; by default that of the stack; without one, for target `aws`, `deployment.json` beside the items' file
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum EngineArgument {
    Spark,
    Native,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum TargetArgument {
    Aws,
    Local,
}

/// The members of a plan, and what is derived from it.
#[derive(Serialize)]
struct Printed<'a> {
    /// Of the plan's canonical form.
    sha256: String,
    /// Table paths that the run holds until it ends: those that it writes.
    locks: &'a [String],
    #[serde(flatten)]
    plan: &'a Plan,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let files: Vec<PathBuf> = arguments.config.iter().cloned().collect();
    let (deployment, source) = block_on(async {
        let deployment = deployment(context, &arguments).await?;
        Ok((deployment, items::read_all(context, &files).await?))
    })?;
    let request = PlanRequest {
        identifier: arguments.identifier,
        pipeline: arguments.pipeline,
        engine: arguments.engine.map(|engine| match engine {
            EngineArgument::Spark => Engine::Spark,
            EngineArgument::Native => Engine::Native,
        }),
    };
    let plan = plan(&source.items, &deployment, &request).map_err(|problems| refusal(&problems))?;
    if !context.json {
        print::data(&plan_text::text(&plan))?;
        return Ok(ExitCode::SUCCESS);
    }
    let printed = Printed {
        sha256: plan.sha256(),
        locks: &plan.writes,
        plan: &plan,
    };
    let text = serde_json::to_string_pretty(&printed)
        .map_err(|error| Trouble::failed(format!("the plan cannot be printed: {error}")))?;
    print::data(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// An identifier or pipeline that nobody knows is wrong usage; everything else is a mistake in items.
fn refusal(problems: &[Problem]) -> Trouble {
    match problems {
        [problem] if problem.key == "configuration" => {
            let trouble = Trouble::usage(
                Problem {
                    hint: None,
                    ..problem.clone()
                }
                .to_string(),
            );
            match &problem.hint {
                Some(hint) => trouble.hint(hint),
                None => trouble,
            }
        }
        problems => Trouble::problems(problems),
    }
}

async fn deployment(context: &Context, arguments: &Arguments) -> Result<Deployment, Trouble> {
    let target = arguments.target.map(|target| match target {
        TargetArgument::Aws => Target::Aws,
        TargetArgument::Local => Target::Local,
    });
    match (&arguments.deployment, &context.target) {
        (Some(file), _) => {
            let deployment = items::deployment_of(file)?;
            match target.filter(|target| *target != deployment.target) {
                None => Ok(deployment),
                Some(_) => {
                    let message = format!("`{}` is for another target", file.display());
                    Err(Trouble::usage(message).hint("`--target` must be that of the file"))
                }
            }
        }
        (None, At::Stack(_)) if target == Some(Target::Local) => {
            Err(Trouble::usage("a stack is not of target `local`").hint("leave out `--target`"))
        }
        (None, At::Stack(_)) => items::deployment_at(&context.open().await?).await,
        (None, At::Home(_)) if target == Some(Target::Aws) => {
            items::deployment_of(&beside(arguments.config.as_deref())?)
        }
        (None, At::Home(folder)) => match arguments.config {
            None => items::deployment_at(&context.existing().await?).await,
            Some(_) => Ok(Deployment::local(&home(folder)?)),
        },
    }
}

/// `deployment.json` beside the items.
fn beside(config: Option<&Path>) -> Result<PathBuf, Trouble> {
    let file = config
        .filter(|file| *file != Path::new(items::STDIN))
        .map(|file| file.with_file_name("deployment.json"))
        .filter(|file| file.exists());
    file.ok_or_else(|| {
        Trouble::usage("target `aws` needs a deployment")
            .hint("`--deployment FILE`, or a `deployment.json` beside the items' file")
    })
}

/// The home folder as runs see it, whether it exists or not.
fn home(folder: &Path) -> Result<String, Trouble> {
    let whole = std::path::absolute(folder)
        .map_err(|error| Trouble::failed(format!("`{}`: {error}", folder.display())))?;
    let real = whole.ancestors().find_map(|above| {
        let below = whole.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(below))
    });
    Ok(real.unwrap_or(whole).to_string_lossy().into_owned())
}
