//! Step Functions' list of executions: names are used once.

use crate::world::World;
use serde_json::Value;
use tasks::limits;
use tasks::port::{Clock, ExecutionDescription, ExecutionStatus, Executions, PortError, Started};

impl Executions for World {
    async fn start_execution(&self, name: &str, input: &Value) -> Result<Started, PortError> {
        self.faulty("Step Functions", "executions.start", "", || {
            self.begin_execution(name, input)
        })
    }

    async fn describe_execution(
        &self,
        name: &str,
    ) -> Result<Option<ExecutionDescription>, PortError> {
        self.faulty("Step Functions", "executions.describe", "", || {
            Ok(self
                .executions
                .borrow()
                .iter()
                .find(|execution| execution.name == name)
                .cloned())
        })
    }

    async fn list_running_executions(&self) -> Result<Vec<ExecutionDescription>, PortError> {
        self.faulty("Step Functions", "executions.list", "", || {
            let executions = self.executions.borrow();
            Ok(executions
                .iter()
                .filter(|execution| execution.status == ExecutionStatus::Running)
                .cloned()
                .collect())
        })
    }
}

impl World {
    /// Starts an execution as a trigger does, outside any task.
    pub fn begin_execution(&self, name: &str, input: &Value) -> Result<Started, PortError> {
        limits::check_start("Step Functions", name, input)?;
        let mut executions = self.executions.borrow_mut();
        if executions.iter().any(|execution| execution.name == name) {
            return Ok(Started::Before);
        }
        executions.push(ExecutionDescription {
            name: name.to_owned(),
            status: ExecutionStatus::Running,
            started: self.now(),
            input: input.clone(),
        });
        self.note(|| format!("execution started {name}"));
        Ok(Started::Now)
    }

    /// What the machine that walks an execution says at its end, or a person who aborts it.
    pub fn end_execution(&self, name: &str, status: ExecutionStatus) {
        for execution in self
            .executions
            .borrow_mut()
            .iter_mut()
            .filter(|execution| execution.name == name)
        {
            if execution.status == ExecutionStatus::Running {
                execution.status = status;
                self.note(|| format!("execution {name} {status:?}"));
            }
        }
    }
}
