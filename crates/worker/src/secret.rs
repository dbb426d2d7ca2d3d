//! The source's secret in the Secrets Manager form. Its value is read when a step starts and goes nowhere but to the driver.

use crate::failure::Failure;
use serde::Deserialize;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Deserialize)]
pub struct Secret {
    pub username: String,
    pub password: String,
    pub engine: String,
    pub host: String,
    #[serde(deserialize_with = "port")]
    pub port: u16,
    pub dbname: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where secrets are.
#[derive(Clone, Copy)]
pub enum Secrets<'a> {
    /// A folder of this machine.
    Folder(&'a Path),
    /// Secrets Manager.
    #[cfg(feature = "aws")]
    Manager(&'a aws::Aws),
}

impl Secrets<'_> {
    /// The file of a secret, where secrets are files.
    pub fn file(self, name: &str) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(file(folder, name)),
            #[cfg(feature = "aws")]
            Self::Manager(_) => None,
        }
    }

    pub async fn read(self, name: &str) -> Result<Secret, Failure> {
        match self {
            Self::Folder(folder) => Secret::read(folder, name),
            #[cfg(feature = "aws")]
            Self::Manager(aws) => {
                let text = aws.secret(name).await.map_err(|error| {
                    Failure::new(
                        "SecretMissing",
                        format!("secret `{name}` cannot be read from Secrets Manager"),
                    )
                    .hint("it must be there, and this machine's role must be allowed to read it")
                    .caused_by(&error)
                })?;
                Secret::parse(name, text.expose())
            }
        }
    }
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{}.json", pipeline::path::segment(name)))
}

impl Secret {
    /// Reads `<folder>/<name>.json`, which only its owner may read.
    pub fn read(folder: &Path, name: &str) -> Result<Self, Failure> {
        let path = file(folder, name);
        let shown = path.display();
        let missing = |error: std::io::Error| {
            Failure::new(
                "SecretMissing",
                format!("secret `{name}` cannot be read from `{shown}`"),
            )
            .hint(
                "write username, password, engine, host, port and dbname there as JSON, mode 0600",
            )
            .caused_by(&error)
        };
        let mode = std::fs::metadata(&path)
            .map_err(missing)?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(Failure::new(
                "SecretExposed",
                format!(
                    "secret `{name}` in `{shown}` can be read by others: mode {:04o}",
                    mode & 0o7777
                ),
            )
            .hint(format!("chmod 600 '{shown}'")));
        }
        let text = std::fs::read_to_string(&path).map_err(missing)?;
        Self::parse(name, &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self, Failure> {
        // serde_json's message may quote a value: only the place is told.
        let secret: Self = serde_json::from_str(text).map_err(|error| {
            Failure::new(
                "SecretMalformed",
                format!(
                    "secret `{name}` is not of the Secrets Manager form: line {}, column {}",
                    error.line(),
                    error.column()
                ),
            )
            .hint("it is a JSON object with username, password, engine, host, port and dbname")
        })?;
        if secret.engine != "postgres"
            && secret.engine != "postgresql"
            && secret.engine != "aurora-postgresql"
        {
            return Err(Failure::new(
                "EngineUnknown",
                format!(
                    "secret `{name}` names an engine other than Postgres: `{}`",
                    secret.engine
                ),
            ));
        }
        Ok(secret)
    }

    /// Settings of a connection.
    pub fn postgres(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.username)
            .password(&self.password)
            .dbname(&self.dbname)
            .application_name("headwater")
            .connect_timeout(std::time::Duration::from_secs(15));
        config
    }
}

/// A port as a number or as text: Secrets Manager writes both.
fn port<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(u16),
        Text(String),
    }
    match Form::deserialize(deserializer)? {
        Form::Number(port) => Ok(port),
        Form::Text(text) => text
            .parse()
            .map_err(|_| serde::de::Error::custom("port is not a number")),
    }
}
