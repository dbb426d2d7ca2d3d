//! How an execution moves: from state to state until something outside is needed.

use crate::context::{Context, Identity, Scope};
use crate::execution::{Execution, Heartbeat, Phase, Running, Status, Token, Visit};
use crate::fault::{Fault, HEARTBEAT_TIMEOUT, NO_CHOICE_MATCHED, TIMEOUT};
use crate::history::EventKind;
use crate::limits::SECONDS_MAX;
use crate::machine::{
    Catcher, Choice, Fail, Machine, Pass, ResourceKind, State, StateKind, Task, Transition, Until,
    Wait,
};
use crate::moment::Moment;
use crate::process::{bounded, fill, moment_at};
use serde_json::{Value, json};
use std::borrow::Cow;

/// What became of entering or resuming a state.
enum Flow {
    /// It was left with this output.
    Go(Transition, Value),
    /// Something outside is needed, or the execution has ended.
    Stop,
}

impl Visit {
    fn context<'a>(&'a self, identity: &'a Identity) -> Context<'a> {
        Context {
            identity,
            state: &self.state,
            entered: self.entered,
            retry_count: self.retry_count(),
        }
    }
}

/// The input of a visited Task: InputPath, then Parameters.
pub(crate) fn task_input(
    machine: &Machine,
    identity: &Identity,
    visit: &Visit,
) -> Result<Value, Fault> {
    let (state, task) = task_of(machine, &visit.state)?;
    let context = visit.context(identity);
    let input = state.input.apply(&visit.input, context)?;
    let input = fill(task.parameters.as_ref(), input, context)?.into_owned();
    bounded(input, "the task's input")
}

pub(crate) fn resource(machine: &Machine, state: &str) -> String {
    task_of(machine, state).map_or_else(|_| String::new(), |(_, task)| task.resource.name.clone())
}

/// Only a saved execution that is given another machine than it was started with finds no such state.
fn state_of<'m>(machine: &'m Machine, name: &str) -> Result<&'m State, Fault> {
    machine
        .states
        .get(name)
        .ok_or_else(|| Fault::runtime(format!("the definition has no state `{name}`")))
}

fn task_of<'m>(machine: &'m Machine, name: &str) -> Result<(&'m State, &'m Task), Fault> {
    let state = state_of(machine, name)?;
    match &state.kind {
        StateKind::Task(task) => Ok((state, task)),
        _ => Err(Fault::runtime(format!("the state `{name}` is not a Task"))),
    }
}

impl Execution {
    /// Enters a state, and the states after it.
    pub(crate) fn run(&mut self, machine: &Machine, first: &str, input: Value, now: Moment) {
        let mut flow = Flow::Go(Transition::To(first.to_owned()), input);
        loop {
            flow = match flow {
                Flow::Stop => return,
                Flow::Go(..) if self.history_is_full() => {
                    self.fail(
                        Fault::runtime("the history has reached its 25,000 events"),
                        now,
                    );
                    return;
                }
                Flow::Go(Transition::End, output) => {
                    self.finish(Status::Succeeded, Some(output), None, None, now);
                    return;
                }
                Flow::Go(Transition::To(name), input) => self.enter(machine, &name, input, now),
            };
        }
    }

    fn go_on(&mut self, machine: &Machine, flow: Flow, now: Moment) {
        match flow {
            Flow::Stop => {}
            Flow::Go(Transition::To(next), output) => self.run(machine, &next, output, now),
            Flow::Go(Transition::End, output) => {
                self.finish(Status::Succeeded, Some(output), None, None, now);
            }
        }
    }

    fn enter(&mut self, machine: &Machine, name: &str, input: Value, now: Moment) -> Flow {
        let state = match state_of(machine, name) {
            Ok(state) => state,
            Err(fault) => return self.fail(fault, now),
        };
        self.record(EventKind::entered(&state.kind), Some(name), now);
        let visit = Visit::new(name, input, now);
        match &state.kind {
            StateKind::Task(task) => self.hand_out_task(state, task, visit, now),
            StateKind::Choice(choice) => self.choose(state, choice, visit, now),
            StateKind::Wait(wait) => self.begin_wait(state, wait, visit, now),
            StateKind::Pass(pass) => self.pass(state, pass, visit, now),
            StateKind::Succeed => self.leave(state, visit, None, &Transition::End, now),
            StateKind::Fail(fail) => self.stop_at_fail(fail, &visit, now),
        }
    }

    /// Filters the value that the state gives and leaves it. `None`: its own input, filtered by InputPath.
    fn leave(
        &mut self,
        state: &State,
        visit: Visit,
        value: Option<Value>,
        next: &Transition,
        now: Moment,
    ) -> Flow {
        match output_of(state, &self.identity, visit, value) {
            Ok((name, output)) => {
                self.exited(state, &name, now);
                Flow::Go(next.clone(), output)
            }
            Err(fault) => self.fail(fault, now),
        }
    }

    fn exited(&mut self, state: &State, name: &str, now: Moment) {
        if let Some(kind) = EventKind::exited(&state.kind) {
            self.record(kind, Some(name), now);
        }
    }

    fn fail(&mut self, fault: Fault, now: Moment) -> Flow {
        self.finish(
            Status::Failed,
            None,
            Some(fault.error),
            Some(fault.cause),
            now,
        );
        Flow::Stop
    }

    fn stop_at_fail(&mut self, fail: &Fail, visit: &Visit, now: Moment) -> Flow {
        let scope = Scope {
            input: &visit.input,
            context: visit.context(&self.identity),
        };
        let error = fail
            .error
            .as_ref()
            .map(|text| text.read(&scope))
            .transpose();
        let cause = fail
            .cause
            .as_ref()
            .map(|text| text.read(&scope))
            .transpose();
        match (error, cause) {
            (Ok(error), Ok(cause)) => {
                self.finish(Status::Failed, None, error, cause, now);
                Flow::Stop
            }
            (Err(fault), _) | (_, Err(fault)) => self.fail(fault, now),
        }
    }

    fn choose(&mut self, state: &State, choice: &Choice, visit: Visit, now: Moment) -> Flow {
        match chosen(state, choice, &visit, &self.identity) {
            Ok(next) => {
                let next = Transition::To(next.to_owned());
                self.leave(state, visit, None, &next, now)
            }
            Err(fault) => self.fail(fault, now),
        }
    }

    fn pass(&mut self, state: &State, pass: &Pass, mut visit: Visit, now: Moment) -> Flow {
        if pass.value.is_none() && pass.parameters.is_none() && replaces(&pass.result) {
            return self.leave(state, visit, None, &pass.next, now);
        }
        let result = match &pass.value {
            Some(value) => Ok(value.clone()),
            None => pass_result(state, pass, &visit, &self.identity),
        };
        let input = std::mem::take(&mut visit.input);
        match result.and_then(|result| pass.result.apply(input, result)) {
            Ok(value) => self.leave(state, visit, Some(value), &pass.next, now),
            Err(fault) => self.fail(fault, now),
        }
    }

    fn begin_wait(&mut self, state: &State, wait: &Wait, visit: Visit, now: Moment) -> Flow {
        match wait_end(state, wait, &visit, &self.identity, now) {
            Ok(until) if until > now => {
                self.phase = Phase::Wait(visit, until);
                Flow::Stop
            }
            Ok(_) => self.leave(state, visit, None, &wait.next, now),
            Err(fault) => self.fail(fault, now),
        }
    }

    pub(crate) fn end_wait(&mut self, machine: &Machine, visit: Visit, now: Moment) {
        let flow = match state_of(machine, &visit.state) {
            Ok(state) => match &state.kind {
                StateKind::Wait(wait) => self.leave(state, visit, None, &wait.next, now),
                _ => self.fail(Fault::runtime("the saved state is not a Wait"), now),
            },
            Err(fault) => self.fail(fault, now),
        };
        self.go_on(machine, flow, now);
    }

    pub(crate) fn hand_out(&mut self, machine: &Machine, visit: Visit, now: Moment) {
        let flow = match task_of(machine, &visit.state) {
            Ok((state, task)) => self.hand_out_task(state, task, visit, now),
            Err(fault) => self.fail(fault, now),
        };
        self.go_on(machine, flow, now);
    }

    fn hand_out_task(&mut self, state: &State, task: &Task, visit: Visit, now: Moment) -> Flow {
        let running = match prepare(state, task, &visit, &self.identity, now) {
            Ok(running) => running,
            Err(fault) => return self.recover(state, task, visit, fault, now),
        };
        for kind in EventKind::begun(task.resource.kind) {
            self.record(*kind, Some(&visit.state), now);
        }
        if self.history_is_full() {
            return self.fail(
                Fault::runtime("the history has reached its 25,000 events"),
                now,
            );
        }
        self.tokens += 1;
        let token = Token(self.tokens);
        self.phase = Phase::Task(visit, Running { token, ..running });
        Flow::Stop
    }

    pub(crate) fn succeed_task(
        &mut self,
        machine: &Machine,
        visit: Visit,
        result: Value,
        now: Moment,
    ) {
        let flow = match task_of(machine, &visit.state) {
            Ok((state, task)) => self.take_result(state, task, visit, result, now),
            Err(fault) => self.fail(fault, now),
        };
        self.go_on(machine, flow, now);
    }

    fn take_result(
        &mut self,
        state: &State,
        task: &Task,
        visit: Visit,
        result: Value,
        now: Moment,
    ) -> Flow {
        let kind = EventKind::succeeded(task.resource.kind);
        self.record(kind, Some(&visit.state), now);
        let selected = bounded(result, "the task's result").and_then(|result| {
            let context = visit.context(&self.identity);
            fill(task.result_selector.as_ref(), Cow::Owned(result), context).map(Cow::into_owned)
        });
        let selected = match selected {
            Ok(selected) => selected,
            Err(fault) => return self.recover(state, task, visit, fault, now),
        };
        // Only where the result cannot be placed is the input still needed, to recover from that.
        let kept = match &task.result {
            result if replaces(result) => None,
            _ => Some(visit.input.clone()),
        };
        let mut visit = visit;
        let input = std::mem::take(&mut visit.input);
        match task.result.apply(input, selected) {
            Ok(value) => self.leave(state, visit, Some(value), &task.next, now),
            Err(fault) => {
                visit.input = kept.unwrap_or_default();
                self.recover(state, task, visit, fault, now)
            }
        }
    }

    pub(crate) fn fail_task(&mut self, machine: &Machine, visit: Visit, fault: Fault, now: Moment) {
        let flow = match task_of(machine, &visit.state) {
            Ok((state, task)) => {
                let kind = failure_event(task.resource.kind, &fault);
                self.record_fault(kind, &visit.state, &fault, now);
                self.recover(state, task, visit, fault, now)
            }
            Err(fault) => self.fail(fault, now),
        };
        self.go_on(machine, flow, now);
    }

    /// Retry first, then Catch, then the end.
    fn recover(
        &mut self,
        state: &State,
        task: &Task,
        mut visit: Visit,
        fault: Fault,
        now: Moment,
    ) -> Flow {
        if let Some(at) = task.retry.iter().position(|retrier| retrier.covers(&fault)) {
            let retrier = &task.retry[at];
            visit.retries.resize(task.retry.len(), 0);
            let retry = visit.retries[at];
            if retry < retrier.max_attempts {
                visit.retries[at] += 1;
                let delay = retrier.delay_milliseconds(retry);
                let delay = self.random.jittered(delay, retrier.jitter);
                self.phase = Phase::Backoff(visit, now.plus_milliseconds(delay));
                return Flow::Stop;
            }
        }
        let catcher = task
            .catch
            .iter()
            .find(|catcher| catcher.errors.iter().any(|name| fault.is_matched_by(name)));
        match catcher {
            Some(catcher) => self.caught(state, catcher, visit, fault, now),
            None => self.fail(fault, now),
        }
    }

    fn caught(
        &mut self,
        state: &State,
        catcher: &Catcher,
        visit: Visit,
        fault: Fault,
        now: Moment,
    ) -> Flow {
        let error = json!({"Error": fault.error, "Cause": fault.cause});
        let output = catcher
            .result
            .apply(visit.input, error)
            .and_then(|output| bounded(output, "the state's output"));
        match output {
            Ok(output) => {
                self.exited(state, &visit.state, now);
                Flow::Go(Transition::To(catcher.next.clone()), output)
            }
            Err(fault) => self.fail(fault, now),
        }
    }
}

fn replaces(result: &crate::machine::ResultPath) -> bool {
    matches!(result, crate::machine::ResultPath::To(path) if path.is_whole())
}

fn failure_event(resource: ResourceKind, fault: &Fault) -> EventKind {
    if fault.error == TIMEOUT || fault.error == HEARTBEAT_TIMEOUT {
        EventKind::timed_out(resource)
    } else {
        EventKind::failed(resource)
    }
}

/// The state's name and its output.
fn output_of(
    state: &State,
    identity: &Identity,
    mut visit: Visit,
    value: Option<Value>,
) -> Result<(String, Value), Fault> {
    let value = match value {
        Some(value) => value,
        None => {
            let input = std::mem::take(&mut visit.input);
            state.input.pass(input, visit.context(identity))?
        }
    };
    let output = state.output.pass(value, visit.context(identity))?;
    let output = bounded(output, "the state's output")?;
    Ok((visit.state, output))
}

fn pass_result(
    state: &State,
    pass: &Pass,
    visit: &Visit,
    identity: &Identity,
) -> Result<Value, Fault> {
    let context = visit.context(identity);
    let input = state.input.apply(&visit.input, context)?;
    fill(pass.parameters.as_ref(), input, context).map(Cow::into_owned)
}

fn chosen<'m>(
    state: &State,
    choice: &'m Choice,
    visit: &Visit,
    identity: &Identity,
) -> Result<&'m str, Fault> {
    let context = visit.context(identity);
    let input = state.input.apply(&visit.input, context)?;
    let scope = Scope {
        input: &input,
        context,
    };
    for (rule, next) in &choice.rules {
        if rule.holds(&scope)? {
            return Ok(next);
        }
    }
    choice.default.as_deref().ok_or_else(|| {
        Fault::new(
            NO_CHOICE_MATCHED,
            "no rule of the choice holds, and it has no default",
        )
    })
}

fn wait_end(
    state: &State,
    wait: &Wait,
    visit: &Visit,
    identity: &Identity,
    now: Moment,
) -> Result<Moment, Fault> {
    let context = visit.context(identity);
    let input = state.input.apply(&visit.input, context)?;
    let scope = Scope {
        input: &input,
        context,
    };
    match &wait.until {
        Until::Seconds(seconds) => Ok(now.plus_seconds(seconds.read(&scope)?)),
        Until::Moment(moment) => Ok(*moment),
        Until::MomentAt(path) => moment_at(path, &scope),
    }
}

/// Input and deadlines of a task; its token is given later.
fn prepare(
    state: &State,
    task: &Task,
    visit: &Visit,
    identity: &Identity,
    now: Moment,
) -> Result<Running, Fault> {
    let context = visit.context(identity);
    let input = state.input.apply(&visit.input, context)?;
    let scope = Scope {
        input: &input,
        context,
    };
    let seconds = task.timeout.as_ref().map(|seconds| seconds.read(&scope));
    let seconds = seconds.transpose()?.unwrap_or(SECONDS_MAX);
    let heartbeat = task.heartbeat.as_ref().map(|seconds| seconds.read(&scope));
    let heartbeat = heartbeat.transpose()?.map(|seconds| Heartbeat {
        seconds,
        deadline: now.plus_seconds(seconds),
    });
    let input = fill(task.parameters.as_ref(), input, context)?.into_owned();
    Ok(Running {
        token: Token(0),
        deadline: now.plus_seconds(seconds),
        heartbeat,
        prepared: Some(bounded(input, "the task's input")?),
    })
}
