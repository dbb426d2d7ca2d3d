//! Buckets of S3. The client waits on a few threads of its own, so that callers wait for a bucket as they wait for a disk.

use super::measure::{Measured, Tail, Unmeasured, tail};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart,
};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;
use tokio::runtime::Runtime;

/// A file above this is uploaded in parts of it.
const PART_BYTES: usize = 16 << 20;
/// Parts on their way at once: their bytes are in memory.
const PARTS_AT_ONCE: usize = 4;
/// Footers that are fetched at once.
const FOOTERS_AT_ONCE: usize = 16;
/// Most footers are smaller; of a larger one the rest is fetched too.
const FOOTER_GUESS_BYTES: usize = 64 << 10;
const THREADS: usize = 2;

/// How S3 is reached: options by the names of the usual AWS environment, in lower case (`aws_region`, `aws_endpoint_url` ...).
pub type Settings = Vec<(String, String)>;

static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// The settings of this process: those of its environment. Without encryption only where the endpoint says so itself.
pub fn settings() -> &'static Settings {
    SETTINGS.get_or_init(|| complete(environment()))
}

/// Before S3 is first used: other settings than those of the environment.
#[cfg(all(test, feature = "aws"))]
pub(crate) fn set_settings(settings: Settings) {
    let _ = SETTINGS.set(complete(settings));
}

fn environment() -> Settings {
    std::env::vars()
        .filter(|(name, _)| name.starts_with("AWS_"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect()
}

fn complete(mut settings: Settings) -> Settings {
    let plain = settings
        .iter()
        .any(|(name, value)| name.starts_with("aws_endpoint") && value.starts_with("http://"));
    settings.retain(|(name, _)| name != "aws_allow_http");
    settings.push(("aws_allow_http".to_owned(), plain.to_string()));
    settings
}

/// An object, or all whose keys begin with `<key>/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    bucket: String,
    path: Path,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.path)
    }
}

impl Key {
    /// `<bucket>/<key>`, where the key is raw: nothing in it is decoded.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (bucket, key) = text.split_once('/').unwrap_or((text, ""));
        let path = Path::parse(key).ok()?;
        (!bucket.is_empty()).then(|| Self {
            bucket: bucket.to_owned(),
            path,
        })
    }

    pub(super) fn join(&self, name: &str) -> Self {
        let joined = format!("{}/{name}", self.path);
        Self {
            bucket: self.bucket.clone(),
            // Names are segments of `pipeline::path` or come from a listing: there is nothing that a key may not hold.
            path: Path::parse(&joined).unwrap_or_else(|_| Path::from(joined)),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.path.filename().unwrap_or_default()
    }

    pub(super) fn url(&self) -> String {
        let mut url = format!("s3://{}", self.bucket);
        for part in self.path.parts() {
            url.push('/');
            percent_encode(part.as_ref(), &mut url);
        }
        url
    }

    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        self.wait(async |store, key| Ok(store.get(&key.path).await?.bytes().await?.to_vec()))
    }

    pub(super) fn put(&self, bytes: &[u8]) -> io::Result<()> {
        let bytes = Bytes::copy_from_slice(bytes);
        self.wait(async |store, key| {
            store.put(&key.path, PutPayload::from(bytes)).await?;
            Ok(())
        })
    }

    pub(super) fn fetch(&self) -> io::Result<File> {
        self.wait(async |store, key| {
            let mut file = tempfile::tempfile()?;
            let mut bytes = store.get(&key.path).await?.into_stream();
            while let Some(bytes) = bytes.try_next().await? {
                file.write_all(&bytes)?;
            }
            file.rewind()?;
            Ok(file)
        })
    }

    pub(super) fn upload(&self, mut file: File) -> io::Result<u64> {
        let bytes = file.metadata()?.len();
        file.rewind()?;
        self.wait(async move |store, key| {
            if bytes <= PART_BYTES as u64 {
                let mut whole = Vec::new();
                file.read_to_end(&mut whole)?;
                store.put(&key.path, PutPayload::from(whole)).await?;
            } else {
                in_parts(&store, &key.path, file).await?;
            }
            Ok(bytes)
        })
    }

    pub(super) fn head(&self) -> io::Result<ObjectMeta> {
        self.wait(async |store, key| Ok(store.head(&key.path).await?))
    }

    pub(super) fn measured(&self, names: &[String]) -> Result<Vec<Measured>, Unmeasured> {
        let names = names.to_vec();
        let measured = self.wait(async |store, key| {
            let files = futures::stream::iter(names.into_iter().map(|name| {
                let (store, path) = (store.clone(), key.join(&name).path);
                async move {
                    let measured = measured(&store, &path).await;
                    measured.map_err(|error| Unmeasured::new(&name, error))
                }
            }));
            Ok(files.buffered(FOOTERS_AT_ONCE).try_collect().await)
        });
        measured.unwrap_or_else(|error| Err(Unmeasured::new("", error)))
    }

    pub(super) fn newest_change(&self) -> io::Result<SystemTime> {
        let newest = self
            .all()?
            .into_iter()
            .map(|object| object.last_modified)
            .max();
        newest
            .map(Into::into)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    pub(super) fn data_files(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = self
            .all()?
            .iter()
            .filter_map(|object| self.data_name(object))
            .collect();
        names.sort();
        Ok(names)
    }

    pub(super) fn stored_bytes(&self, wanted: impl Fn(&String) -> bool) -> io::Result<u64> {
        let objects = self.all()?;
        let files = objects
            .iter()
            .filter(|object| self.data_name(object).is_some_and(|name| wanted(&name)));
        Ok(files.map(|object| object.size).sum())
    }

    /// The name of an object below this one, if it is data.
    fn data_name(&self, object: &ObjectMeta) -> Option<String> {
        let below = object.location.as_ref().strip_prefix(self.path.as_ref())?;
        let data = !object.location.filename()?.starts_with(['.', '_']);
        data.then(|| below.trim_start_matches('/').to_owned())
    }

    pub(super) fn folders(&self) -> io::Result<Vec<Self>> {
        self.wait(async |store, key| {
            let found = store.list_with_delimiter(Some(&key.path)).await?;
            let folders = found.common_prefixes.into_iter();
            Ok(folders
                .map(|path| Self {
                    bucket: key.bucket.clone(),
                    path,
                })
                .collect())
        })
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        let removed = self.wait(async |store, key| Ok(store.delete(&key.path).await?));
        super::disk::gone(removed)
    }

    pub(super) fn remove_below(&self) -> io::Result<()> {
        self.wait(async |store, key| {
            let found = store.list(Some(&key.path));
            let keys = found.map_ok(|object| object.location).boxed();
            store
                .delete_stream(keys)
                .try_for_each(async |_| Ok(()))
                .await?;
            Ok(())
        })
    }

    fn all(&self) -> io::Result<Vec<ObjectMeta>> {
        self.wait(async |store, key| Ok(store.list(Some(&key.path)).try_collect().await?))
    }

    /// Waits on this thread for work on the client's threads: also where this thread runs other asynchronous work.
    fn wait<T, F>(&self, work: impl FnOnce(Arc<AmazonS3>, Self) -> F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failed>> + Send + 'static,
    {
        let runtime = RUNTIME
            .as_ref()
            .map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        let work = work(store(&self.bucket)?, self.clone());
        let (say, hear) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            let _ = say.send(work.await);
        });
        match hear.recv() {
            Ok(result) => result.map_err(|failed| failed.0),
            Err(_) => Err(io::Error::other("the client of S3 broke off")),
        }
    }
}

/// Uploads a file so that it appears when its last part is there; parts of one that fails are taken away.
async fn in_parts(store: &AmazonS3, path: &Path, mut file: File) -> Result<(), Failed> {
    let upload = store.put_multipart(path).await?;
    let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
    loop {
        let mut part = Vec::with_capacity(PART_BYTES);
        let read = (&mut file).take(PART_BYTES as u64).read_to_end(&mut part);
        let sent = match read {
            Ok(0) => break,
            Ok(_) => parts
                .wait_for_capacity(PARTS_AT_ONCE - 1)
                .await
                .map_err(Failed::from),
            Err(error) => Err(error.into()),
        };
        if let Err(failed) = sent {
            // What matters is why it could not be sent; the bucket's lifecycle takes away what stays.
            let _ = parts.abort().await;
            return Err(failed);
        }
        parts.put(Bytes::from(part));
    }
    parts.finish().await?;
    Ok(())
}

async fn measured(
    store: &AmazonS3,
    path: &Path,
) -> Result<Measured, Box<dyn std::error::Error + Send + Sync>> {
    let mut wanted = FOOTER_GUESS_BYTES;
    loop {
        let options = GetOptions {
            range: Some(GetRange::Suffix(wanted as u64)),
            ..GetOptions::default()
        };
        let found = store.get_opts(path, options).await?;
        let bytes = found.meta.size;
        match tail(&found.bytes().await?, bytes)? {
            Tail::Rows(rows) => return Ok(Measured { rows, bytes }),
            Tail::Needed(needed) => wanted = needed,
        }
    }
}

static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("s3")
        .enable_all()
        .build()
});

/// The client of a bucket, made when it is first used.
fn store(bucket: &str) -> io::Result<Arc<AmazonS3>> {
    static STORES: LazyLock<Mutex<HashMap<String, Arc<AmazonS3>>>> = LazyLock::new(Mutex::default);
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = stores.get(bucket) {
        return Ok(store.clone());
    }
    let builder = settings().iter().fold(
        AmazonS3Builder::new(),
        |builder, (name, value)| match name.parse() {
            Ok(option) => builder.with_config(option, value),
            Err(_) => builder,
        },
    );
    let built = builder.with_bucket_name(bucket).build();
    let store = Arc::new(built.map_err(|error| Failed::from(error).0)?);
    stores.insert(bucket.to_owned(), store.clone());
    Ok(store)
}

/// As the disk would say it.
struct Failed(io::Error);

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl From<object_store::Error> for Failed {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error;
        let kind = match &error {
            Error::NotFound { .. } => io::ErrorKind::NotFound,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                io::ErrorKind::PermissionDenied
            }
            _ => io::ErrorKind::Other,
        };
        Self(io::Error::new(kind, error))
    }
}

/// All but letters, digits and what every URL holds as it is.
fn percent_encode(text: &str, url: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'=' => {
                url.push(byte.into());
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
}
