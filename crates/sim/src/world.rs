//! Everything that the simulated account holds, and the clock.

use crate::clusters::Cluster;
use crate::fault::{Effect, Fault};
use crate::worker::Behaviour;
use pipeline::deployment::Deployment;
use pipeline::metric::Metric;
use pipeline::time::Timestamp;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tasks::port::{
    Clock, ConfigTable, DeploymentError, Deployments, ExecutionDescription, LedgerKey, Mail,
    PortError,
};

/// 2026-01-01T00:00:00Z: where every simulation begins.
const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);

/// A port call that a task made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub task: String,
    /// The port and its method; a transaction is seen as `ledger.put`, `ledger.delete` and `ledger.check`.
    pub method: &'static str,
    /// The ledger's partition, the object's URI, the configuration's identifier; empty for the other ports.
    pub about: String,
}

/// One simulated account. Single-threaded: handlers take turns.
pub struct World {
    now: Cell<Timestamp>,
    calls: RefCell<BTreeMap<&'static str, u32>>,
    faults: RefCell<Vec<Fault>>,
    log: RefCell<Vec<String>>,
    /// The task whose turn it is.
    task: RefCell<Option<String>>,
    /// Which port calls each task made. Several worlds may share it.
    pub seen: Rc<RefCell<BTreeSet<Seen>>>,
    pub deployment: Deployment,
    pub items: RefCell<Vec<Value>>,
    pub(crate) records: RefCell<BTreeMap<LedgerKey, (u64, Value)>>,
    pub objects: RefCell<BTreeMap<String, Vec<u8>>>,
    pub clusters: RefCell<Vec<Cluster>>,
    pub executions: RefCell<Vec<ExecutionDescription>>,
    pub mails: RefCell<Vec<Mail>>,
    pub metrics: RefCell<Vec<Metric>>,
    /// How steps behave, by step name; others succeed.
    pub behaviours: RefCell<BTreeMap<String, Behaviour>>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            now: Cell::new(BEGINNING),
            calls: RefCell::default(),
            faults: RefCell::default(),
            log: RefCell::default(),
            task: RefCell::default(),
            seen: Rc::default(),
            deployment: Deployment::local("/lake"),
            items: RefCell::default(),
            records: RefCell::default(),
            objects: RefCell::default(),
            clusters: RefCell::default(),
            executions: RefCell::default(),
            mails: RefCell::default(),
            metrics: RefCell::default(),
            behaviours: RefCell::default(),
        }
    }
}

impl World {
    /// Moves the clock; never back.
    pub fn advance_to(&self, moment: Timestamp) {
        self.now.set(self.now.get().max(moment));
    }

    pub fn inject(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    /// Port calls so far, by name.
    pub fn calls(&self) -> BTreeMap<&'static str, u32> {
        self.calls.borrow().clone()
    }

    /// One line per port call that changed something, and per world event.
    pub fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        let at = self.now.get();
        self.log.borrow_mut().push(format!("{at} {}", line()));
    }

    /// Counts a port call and gives what happens to it.
    pub(crate) fn call(&self, name: &'static str) -> Option<Effect> {
        let mut calls = self.calls.borrow_mut();
        let count = calls.entry(name).or_default();
        *count += 1;
        let faults = self.faults.borrow();
        let fault = faults
            .iter()
            .find(|fault| fault.call == name && fault.occurrence == *count);
        fault.map(|fault| fault.effect)
    }

    /// Notes a port call of the task that is running.
    pub(crate) fn see(&self, method: &'static str, about: &str) {
        if let Some(task) = self.task.borrow().clone() {
            let about = about.to_owned();
            self.seen.borrow_mut().insert(Seen {
                task,
                method,
                about,
            });
        }
    }

    /// Does something as a task: its port calls are seen as that task's.
    pub(crate) fn as_task<T>(&self, task: &str, act: impl FnOnce() -> T) -> T {
        self.task.replace(Some(task.to_owned()));
        let answer = act();
        self.task.replace(None);
        answer
    }

    /// Does a call unless its fault forbids it, and loses its answer if the fault says so.
    pub(crate) fn faulty<T>(
        &self,
        service: &'static str,
        name: &'static str,
        about: &str,
        act: impl FnOnce() -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        self.see(name, about);
        match self.call(name) {
            None => act(),
            Some(effect) => {
                if effect.done() {
                    act()?;
                }
                self.note(|| format!("fault {name}: {effect:?}"));
                Err(effect.error(service))
            }
        }
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        self.now.get()
    }
}

impl Deployments for World {
    async fn deployment(&self) -> Result<Deployment, DeploymentError> {
        let deployment = || Ok(self.deployment.clone());
        Ok(self.faulty("S3", "deployment", "", deployment)?)
    }
}

impl ConfigTable for World {
    async fn items(&self, identifier: &str) -> Result<Vec<Value>, PortError> {
        self.faulty("DynamoDB", "config.items", identifier, || {
            let text = |item: &Value, name: &str| {
                item.get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let mut items: Vec<Value> = self
                .items
                .borrow()
                .iter()
                .filter(|item| text(item, "identifier") == identifier)
                .cloned()
                .collect();
            items.sort_by_key(|item| text(item, "config"));
            Ok(items)
        })
    }
}
