//! Where commands work: the home folder of this machine, or a stack on AWS. Commands know only this; what the two do in
//! different ways is here, and nowhere else.

use crate::context::Trouble;
use crate::driver;
#[cfg(feature = "aws")]
use crate::stack;
use crate::step_logs::{self, Log};
use local::Local;
use local::executions::HistoryEvent;
use local::progress::StepProgress;
use pipeline::run::Run;
use pipeline::time::Timestamp;
use serde_json::Value;
use std::time::Duration;
use tasks::port::{
    Clock, DeploymentError, Deployments, ExecutionDescription, Executions, Ledger, LedgerEntry,
    LedgerKey, LedgerWrite, Object, Objects, PortError, Started, WriteError,
};
use tasks::record;
use tasks::sweep::Swept;

pub enum Place {
    Home(Box<Local>),
    #[cfg(feature = "aws")]
    Stack(Box<aws::stack::Stack>),
}

/// The same call on the ports of whatever the place is.
macro_rules! at {
    ($place:expr, $ports:ident => $call:expr) => {
        match $place {
            Place::Home(local) => {
                let $ports = local.as_ref();
                $call
            }
            #[cfg(feature = "aws")]
            Place::Stack(stack) => {
                let $ports = &stack.aws;
                $call
            }
        }
    };
}

impl Place {
    #[cfg(feature = "aws")]
    pub async fn stack(name: &str) -> Result<Self, Trouble> {
        Ok(Self::Stack(Box::new(stack::open(name).await?)))
    }

    #[cfg(not(feature = "aws"))]
    pub async fn stack(_: &str) -> Result<Self, Trouble> {
        Err(Trouble::usage("this `headwater` was built without AWS")
            .hint("build it with the feature `aws`"))
    }

    /// As messages name it.
    pub fn name(&self) -> String {
        match self {
            Self::Home(local) => format!("`{}`", local.home().root().display()),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => format!("stack `{}`", stack.aws.resources().stack),
        }
    }

    /// What a person types before a command for it.
    pub fn headwater(&self) -> String {
        match self {
            Self::Home(_) => "headwater".to_owned(),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => format!("headwater --stack {}", stack.aws.resources().stack),
        }
    }

    /// Between two looks at a run that goes on.
    pub fn look_interval(&self) -> Duration {
        match self {
            Self::Home(_) => driver::FOLLOW_INTERVAL,
            #[cfg(feature = "aws")]
            Self::Stack(_) => stack::LOOK_INTERVAL,
        }
    }

    /// All items of the configuration table, those that state a generation included.
    pub async fn all_items(&self) -> Result<Vec<Value>, Trouble> {
        match self {
            Self::Home(local) => Ok(local.config_items()?),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => Ok(stack.aws.config_items().await?),
        }
    }

    /// These items in the place of all items of an identifier.
    pub async fn replace_items(&self, identifier: &str, items: &[Value]) -> Result<(), Trouble> {
        match self {
            Self::Home(local) => Ok(local.replace_config(identifier, items)?),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => stack::replace_items(&stack.aws, identifier, items).await,
        }
    }

    /// Identifiers that may have runs.
    pub async fn identifiers(&self) -> Result<Vec<String>, Trouble> {
        match self {
            Self::Home(local) => {
                let all = record::runs_partition("");
                let partitions = local.partitions(&all)?;
                let name = |partition: &String| partition.strip_prefix(&all).map(str::to_owned);
                Ok(partitions.iter().filter_map(name).collect())
            }
            #[cfg(feature = "aws")]
            Self::Stack(stack) => stack::identifiers(&stack.aws).await,
        }
    }

    /// How far running steps are, where they tell.
    pub fn progress_of(&self, run_id: &str) -> Result<Vec<StepProgress>, Trouble> {
        match self {
            Self::Home(local) => Ok(local.progress_of(run_id)?),
            #[cfg(feature = "aws")]
            Self::Stack(_) => Ok(Vec::new()),
        }
    }

    /// What happened in an execution, in order.
    pub async fn history_of(&self, execution: &str) -> Result<Vec<HistoryEvent>, Trouble> {
        match self {
            Self::Home(local) => Ok(local.history_of(execution)?),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => stack::history_of(&stack.aws, execution).await,
        }
    }

    /// The error and cause with which an execution failed.
    pub async fn fault_of(&self, execution: &str) -> Result<Option<(String, String)>, Trouble> {
        match self {
            Self::Home(local) => Ok(local.fault_of(execution)?),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => Ok(stack.aws.fault_of(execution).await?),
        }
    }

    /// Returns when no execution of a chain runs any more. On this machine that is this process's own work.
    pub async fn see_to_end(&self, execution: &str) -> Result<(), Trouble> {
        match self {
            Self::Home(local) => driver::drive(local, execution).await,
            #[cfg(feature = "aws")]
            Self::Stack(stack) => stack::see_to_end(&stack.aws, execution).await,
        }
    }

    /// Sees to it that an execution goes on without this process.
    pub fn leave(&self, execution: &str) -> Result<(), Trouble> {
        match self {
            Self::Home(local) => driver::drive_apart(local, execution),
            #[cfg(feature = "aws")]
            Self::Stack(_) => Ok(()),
        }
    }

    /// The same for one that another process may drive.
    pub fn take_up(&self, execution: &str) -> Result<(), Trouble> {
        match self {
            Self::Home(local) if !local.is_driven(execution)? => {
                driver::drive_apart(local, execution)
            }
            Self::Home(_) => Ok(()),
            #[cfg(feature = "aws")]
            Self::Stack(_) => Ok(()),
        }
    }

    /// Whether whoever follows a run is what takes it further: then ending the one ends the other.
    pub fn runs_here(&self) -> bool {
        match self {
            Self::Home(_) => true,
            #[cfg(feature = "aws")]
            Self::Stack(_) => false,
        }
    }

    /// What every command about runs does first. On AWS the stack's own sweep does it.
    pub async fn repair_first(&self) {
        match self {
            Self::Home(local) => driver::repair_first(local).await,
            #[cfg(feature = "aws")]
            Self::Stack(_) => {}
        }
    }

    /// Makes ledger, executions and clusters agree.
    pub async fn repair(&self) -> Result<Repaired, Trouble> {
        match self {
            Self::Home(local) => driver::repair(local).await,
            #[cfg(feature = "aws")]
            Self::Stack(stack) => stack::repair(&stack.aws).await,
        }
    }

    /// The logs of a run's steps, in order.
    pub async fn logs_of(&self, run: &Run) -> Result<Vec<Log>, Trouble> {
        match self {
            Self::Home(local) => step_logs::of_home(local, run),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => stack::logs_of(&stack.aws, run).await,
        }
    }

    /// A log from a place on; empty where there is none yet.
    pub async fn log_from(&self, log: &Log, offset: u64) -> Result<Vec<u8>, Trouble> {
        match self {
            Self::Home(local) => Ok(local.log_from(log.place.as_ref(), offset)?),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => stack::log_from(&stack.aws, log, offset).await,
        }
    }
}

/// What a sweep did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    pub swept: Swept,
    /// Executions that were given a new driver.
    pub resumed: Vec<String>,
}

impl Repaired {
    /// Each deed in a line.
    pub fn lines(&self) -> Vec<String> {
        let told = |what: &str, entries: &[String]| -> Vec<String> {
            entries
                .iter()
                .map(|entry| format!("{what}: {entry}"))
                .collect()
        };
        [
            told("resumed", &self.resumed),
            told("finished", &self.swept.finished),
            told("terminated", &self.swept.terminated),
            told("sent", &self.swept.sent),
            told("look at", &self.swept.reported),
        ]
        .concat()
    }
}

impl Clock for Place {
    fn now(&self) -> Timestamp {
        at!(self, ports => ports.now())
    }
}

impl Deployments for Place {
    async fn deployment(&self) -> Result<pipeline::deployment::Deployment, DeploymentError> {
        at!(self, ports => Deployments::deployment(ports).await)
    }
}

impl Ledger for Place {
    async fn get(&self, key: &LedgerKey) -> Result<Option<LedgerEntry>, PortError> {
        at!(self, ports => ports.get(key).await)
    }

    async fn list(&self, partition: &str, prefix: &str) -> Result<Vec<LedgerEntry>, PortError> {
        at!(self, ports => ports.list(partition, prefix).await)
    }

    async fn write(&self, writes: &[LedgerWrite]) -> Result<(), WriteError> {
        at!(self, ports => ports.write(writes).await)
    }
}

impl Objects for Place {
    async fn read(&self, uri: &str) -> Result<Option<Vec<u8>>, PortError> {
        at!(self, ports => ports.read(uri).await)
    }

    async fn put(&self, uri: &str, bytes: &[u8]) -> Result<(), PortError> {
        at!(self, ports => ports.put(uri, bytes).await)
    }

    async fn list_objects(&self, uri: &str) -> Result<Vec<Object>, PortError> {
        at!(self, ports => ports.list_objects(uri).await)
    }
}

impl Executions for Place {
    async fn start_execution(&self, name: &str, input: &Value) -> Result<Started, PortError> {
        at!(self, ports => ports.start_execution(name, input).await)
    }

    async fn describe_execution(
        &self,
        name: &str,
    ) -> Result<Option<ExecutionDescription>, PortError> {
        at!(self, ports => ports.describe_execution(name).await)
    }

    async fn list_running_executions(&self) -> Result<Vec<ExecutionDescription>, PortError> {
        at!(self, ports => ports.list_running_executions().await)
    }
}
