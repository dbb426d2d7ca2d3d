//! Buckets in memory.

use crate::world::World;
use tasks::port::{Object, Objects, PortError};

impl Objects for World {
    async fn read(&self, uri: &str) -> Result<Option<Vec<u8>>, PortError> {
        self.faulty("S3", "objects.read", uri, || {
            Ok(self.objects.borrow().get(uri).cloned())
        })
    }

    async fn put(&self, uri: &str, bytes: &[u8]) -> Result<(), PortError> {
        self.faulty("S3", "objects.put", uri, || {
            self.objects
                .borrow_mut()
                .insert(uri.to_owned(), bytes.to_vec());
            self.note(|| format!("object put {uri}"));
            Ok(())
        })
    }

    async fn list_objects(&self, uri: &str) -> Result<Vec<Object>, PortError> {
        self.faulty("S3", "objects.list", uri, || {
            let below = format!("{}/", uri.trim_end_matches('/'));
            let objects = self.objects.borrow();
            let found = objects
                .range(below.clone()..)
                .take_while(|(uri, _)| uri.starts_with(&below))
                .map(|(uri, bytes)| Object {
                    uri: uri.clone(),
                    bytes: bytes.len() as u64,
                })
                .collect();
            Ok(found)
        })
    }
}
