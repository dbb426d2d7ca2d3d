//! The ledger in memory: versions, expectations, transactions that are all or nothing.

use crate::world::World;
use serde_json::Value;
use tasks::limits;
use tasks::port::{
    Change, Expect, Ledger, LedgerEntry, LedgerKey, LedgerWrite, PortError, WriteError,
};

impl Ledger for World {
    async fn get(&self, key: &LedgerKey) -> Result<Option<LedgerEntry>, PortError> {
        self.faulty("DynamoDB", "ledger.get", &key.partition, || {
            Ok(self
                .records
                .borrow()
                .get(key)
                .map(|record| entry(key, record)))
        })
    }

    async fn list(
        &self,
        partition: &str,
        sort_prefix: &str,
    ) -> Result<Vec<LedgerEntry>, PortError> {
        self.faulty("DynamoDB", "ledger.list", partition, || {
            let from = LedgerKey {
                partition: partition.to_owned(),
                sort: sort_prefix.to_owned(),
            };
            let records = self.records.borrow();
            let found = records
                .range(from..)
                .take_while(|(key, _)| {
                    key.partition == partition && key.sort.starts_with(sort_prefix)
                })
                .map(|(key, record)| entry(key, record))
                .collect();
            Ok(found)
        })
    }

    async fn write(&self, writes: &[LedgerWrite]) -> Result<(), WriteError> {
        for write in writes {
            let method = match write.change {
                Change::Put(_) => "ledger.put",
                Change::Delete => "ledger.delete",
                Change::Check => "ledger.check",
            };
            self.see(method, &write.key.partition);
        }
        match self.call("ledger.write") {
            None => self.transact(writes),
            Some(effect) => {
                if effect.done() {
                    self.transact(writes)?;
                }
                self.note(|| format!("fault ledger.write: {effect:?}"));
                Err(effect.error("DynamoDB").into())
            }
        }
    }
}

fn entry(key: &LedgerKey, (version, body): &(u64, Value)) -> LedgerEntry {
    LedgerEntry {
        key: key.clone(),
        version: *version,
        body: body.clone(),
    }
}

impl World {
    fn transact(&self, writes: &[LedgerWrite]) -> Result<(), WriteError> {
        limits::check_writes("DynamoDB", writes)?;
        let mut records = self.records.borrow_mut();
        for write in writes {
            let version = records.get(&write.key).map(|(version, _)| *version);
            let holds = match write.expect {
                Expect::Absent => version.is_none(),
                Expect::Version(expected) => version == Some(expected),
            };
            if !holds {
                return Err(WriteError::Conflict(write.key.clone()));
            }
        }
        for write in writes {
            match &write.change {
                Change::Put(body) => {
                    let version = records
                        .get(&write.key)
                        .map_or(1, |(version, _)| version + 1);
                    records.insert(write.key.clone(), (version, body.clone()));
                    self.note(|| format!("ledger put {} v{version}", write.key));
                }
                Change::Delete => {
                    records.remove(&write.key);
                    self.note(|| format!("ledger delete {}", write.key));
                }
                Change::Check => {}
            }
        }
        Ok(())
    }
}
