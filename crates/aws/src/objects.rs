//! Buckets on S3: `s3://bucket/key` with the key as it is, not percent-encoded.

use crate::Aws;
use crate::error::{missing, port_error, refused};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use tasks::port::{Object, Objects, PortError};

const SERVICE: &str = "S3";
const SCHEME: &str = "s3://";

impl Objects for Aws {
    async fn read(&self, uri: &str) -> Result<Option<Vec<u8>>, PortError> {
        let Location { bucket, key } = object(uri)?;
        let answer = self.s3().get_object().bucket(bucket).key(key).send().await;
        let body = match answer {
            Ok(answer) => answer.body,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetObjectError::is_no_such_key) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(port_error(SERVICE, error)),
        };
        match body.collect().await {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(error) => Err(PortError::Unknown {
                service: SERVICE,
                message: format!("`{uri}` ended early: {error}"),
            }),
        }
    }

    async fn put(&self, uri: &str, bytes: &[u8]) -> Result<(), PortError> {
        let Location { bucket, key } = object(uri)?;
        self.s3()
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(ByteStream::from(bytes.to_vec()))
            .send()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        Ok(())
    }

    async fn list_objects(&self, uri: &str) -> Result<Vec<Object>, PortError> {
        let Location { bucket, key } = location(uri.trim_end_matches('/'))?;
        let prefix = (!key.is_empty()).then(|| format!("{key}/"));
        let mut pages = self
            .s3()
            .list_objects_v2()
            .bucket(bucket)
            .set_prefix(prefix)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| port_error(SERVICE, error))?;
            for object in page.contents() {
                let key = object.key().ok_or_else(|| missing(SERVICE, "Key"))?;
                // What the console makes to show an empty folder is no object.
                if !key.ends_with('/') {
                    found.push(Object {
                        uri: format!("{SCHEME}{bucket}/{key}"),
                        bytes: object.size().unwrap_or_default().unsigned_abs(),
                    });
                }
            }
        }
        Ok(found)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Location<'a> {
    bucket: &'a str,
    /// Empty for the bucket itself.
    key: &'a str,
}

fn location(uri: &str) -> Result<Location<'_>, PortError> {
    let path = uri.strip_prefix(SCHEME).unwrap_or_default();
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    match bucket {
        "" => Err(refused(
            SERVICE,
            format!("`{uri}` does not begin with `{SCHEME}<bucket>`"),
        )),
        bucket => Ok(Location { bucket, key }),
    }
}

fn object(uri: &str) -> Result<Location<'_>, PortError> {
    match location(uri)? {
        Location { key: "", .. } => Err(refused(SERVICE, format!("`{uri}` names no object"))),
        location => Ok(location),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_a_bucket_and_a_raw_key() {
        for (uri, bucket, key) in [
            ("s3://lake/a/b.parquet", "lake", "a/b.parquet"),
            ("s3://lake/a%2Fb c", "lake", "a%2Fb c"),
            ("s3://lake//a", "lake", "/a"),
        ] {
            assert_eq!(object(uri), Ok(Location { bucket, key }));
        }
        assert_eq!(
            location("s3://lake"),
            Ok(Location {
                bucket: "lake",
                key: ""
            })
        );
        for (uri, told) in [
            (
                "file:///lake/a",
                "`file:///lake/a` does not begin with `s3://<bucket>`",
            ),
            ("s3:///a", "`s3:///a` does not begin with `s3://<bucket>`"),
            ("s3://lake", "`s3://lake` names no object"),
            ("s3://lake/", "`s3://lake/` names no object"),
        ] {
            let error = object(uri).expect_err("refused");
            assert_eq!(error, refused(SERVICE, told.to_owned()));
        }
    }
}
