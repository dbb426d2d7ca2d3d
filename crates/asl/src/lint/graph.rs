//! States and transitions as a graph.

use crate::machine::{Machine, StateKind, Transition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) struct Graph<'m> {
    next: BTreeMap<&'m str, Vec<&'m str>>,
    ends: BTreeSet<&'m str>,
}

impl<'m> Graph<'m> {
    pub fn new(machine: &'m Machine) -> Self {
        let next = |(name, state): (&'m String, &'m crate::machine::State)| {
            let mut targets = state.successors();
            targets.sort_unstable();
            targets.dedup();
            (name.as_str(), targets)
        };
        let ends = machine
            .states
            .iter()
            .filter(|(_, state)| match &state.kind {
                StateKind::Task(task) => task.next == Transition::End,
                StateKind::Wait(wait) => wait.next == Transition::End,
                StateKind::Pass(pass) => pass.next == Transition::End,
                StateKind::Choice(_) => false,
                StateKind::Succeed | StateKind::Fail(_) => true,
            });
        Self {
            ends: ends.map(|(name, _)| name.as_str()).collect(),
            next: machine.states.iter().map(next).collect(),
        }
    }

    pub fn is_end(&self, name: &str) -> bool {
        self.ends.contains(name)
    }

    fn after(&self, name: &str) -> &[&'m str] {
        self.next.get(name).map_or(&[], Vec::as_slice)
    }

    /// A shortest path to each state that can be reached over admitted states only.
    pub fn paths_from(
        &self,
        start: &str,
        admits: impl Fn(&str) -> bool,
    ) -> BTreeMap<&'m str, Vec<&'m str>> {
        let mut paths: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut open = VecDeque::new();
        if let Some((start, _)) = self.next.get_key_value(start)
            && admits(start)
        {
            paths.insert(start, vec![start]);
            open.push_back(*start);
        }
        while let Some(name) = open.pop_front() {
            let path = paths.get(name).cloned().unwrap_or_default();
            for next in self.after(name) {
                if admits(next) && !paths.contains_key(next) {
                    let longer = path.iter().copied().chain([*next]).collect();
                    paths.insert(next, longer);
                    open.push_back(next);
                }
            }
        }
        paths
    }

    /// The states from which an end can be reached.
    pub fn reaching_an_end(&self) -> BTreeSet<&'m str> {
        let mut reaching = self.ends.clone();
        loop {
            let more: Vec<_> = self
                .next
                .iter()
                .filter(|(name, next)| {
                    !reaching.contains(*name) && next.iter().any(|n| reaching.contains(n))
                })
                .map(|(name, _)| *name)
                .collect();
            if more.is_empty() {
                return reaching;
            }
            reaching.extend(more);
        }
    }

    /// One cycle through each group of states that lie on a common one, over admitted states only.
    pub fn cycles(&self, admits: impl Fn(&str) -> bool) -> Vec<Vec<&'m str>> {
        let mut seen = BTreeSet::new();
        let mut cycles = Vec::new();
        for start in self.next.keys().filter(|name| admits(name)) {
            if seen.contains(start) {
                continue;
            }
            let back = self
                .paths_from(start, &admits)
                .into_values()
                .filter(|path| {
                    path.last()
                        .is_some_and(|last| self.after(last).contains(start))
                })
                .min_by_key(Vec::len);
            if let Some(cycle) = back {
                seen.extend(cycle.iter().copied());
                cycles.push(cycle);
            }
        }
        cycles
    }

    /// All cycles that visit no state twice, each beginning at its first state by name; at most `most`.
    pub fn simple_cycles(&self, most: usize) -> Vec<Vec<&'m str>> {
        let mut cycles = Vec::new();
        for start in self.next.keys() {
            let mut path = vec![*start];
            self.extend_cycle(start, &mut path, most, &mut cycles);
        }
        cycles
    }

    fn extend_cycle(
        &self,
        start: &'m str,
        path: &mut Vec<&'m str>,
        most: usize,
        cycles: &mut Vec<Vec<&'m str>>,
    ) {
        let Some(last) = path.last().copied() else {
            return;
        };
        for next in self.after(last) {
            if cycles.len() >= most {
                return;
            }
            if *next == start {
                cycles.push(path.clone());
            } else if *next > start && !path.contains(next) {
                path.push(next);
                self.extend_cycle(start, path, most, cycles);
                path.pop();
            }
        }
    }
}
