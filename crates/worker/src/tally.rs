//! What a step has done so far, counted without waiting and shown now and then.

use crate::context::Progress;
use crate::world::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts of one step.
pub struct Tally {
    world: Arc<World>,
    run_id: String,
    step: String,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// 0: not known.
    expected: AtomicU64,
    finished: AtomicBool,
}

impl Tally {
    /// Begins to count, and to write from a thread of its own.
    pub fn start(world: Arc<World>, run_id: &str, step: &str) -> Arc<Self> {
        let tally = Arc::new(Self {
            world,
            run_id: run_id.to_owned(),
            step: step.to_owned(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            finished: AtomicBool::new(false),
        });
        let writer = tally.clone();
        std::thread::spawn(move || {
            while !writer.finished.load(Ordering::Relaxed) {
                writer.write();
                std::thread::sleep(writer.world.show_interval());
            }
        });
        tally
    }

    /// The last write.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
        self.write();
    }

    /// Nothing depends on it: a write that fails is made up for by the next.
    fn write(&self) {
        let expected = match self.expected.load(Ordering::Relaxed) {
            0 => None,
            rows => Some(rows),
        };
        let written = self.world.show(
            &self.run_id,
            &self.step,
            self.rows.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
            expected,
        );
        if let Err(error) = written {
            tracing::debug!(%error, "progress was not written");
        }
    }
}

impl Progress for Tally {
    fn expect(&self, rows: u64) {
        self.expected.store(rows, Ordering::Relaxed);
    }

    fn add(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use local::Local;

    #[test]
    fn what_was_added_is_written_at_the_end() {
        let home = tempfile::tempdir().expect("a folder");
        let world = World::of(Local::open(home.path()).expect("opened"));
        let tally = Tally::start(Arc::new(world), "run", "public.orders");
        tally.expect(10);
        tally.add(3, 100);
        tally.add(4, 200);
        tally.finish();
        let local = Local::open(home.path()).expect("opened");
        let written = local.progress_of("run").expect("read");
        assert_eq!(written.len(), 1);
        assert_eq!(
            (written[0].rows, written[0].bytes, written[0].expected),
            (7, 300, Some(10))
        );
    }
}
