//! Connections to the source, and why there is none.

use crate::failure::Failure;
use crate::secret::Secret;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, NoTls};

/// What makes Postgres's text of a value the same whatever server, database and role are set to, and keeps a long read alive:
/// not every version has all the limits of time that would end it.
pub const SESSION: &str = "SET client_encoding = 'UTF8'; SET search_path = pg_catalog; SET TimeZone = 'UTC'; \
    SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; \
    SET xmlbinary = 'base64'; SET lc_monetary = 'C'; SET row_security = off; SET lock_timeout = '5min'; \
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN \
      ('statement_timeout', 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout')";

/// The first version with reads of a range of row addresses.
const VERSION_MIN: i32 = 140_000;

/// Seconds for an address to accept a connection.
const CONNECT_SECONDS: u64 = 15;

/// Opens a connection with `SESSION`. It ends when the client is dropped.
pub async fn connect(secret: &Secret) -> Result<Client, Failure> {
    let (client, connection) = secret
        .postgres()
        .connect(NoTls)
        .await
        .map_err(|error| refused(secret, error.code(), &error))?;
    // What goes wrong with it is told by the query that fails.
    tokio::spawn(connection);
    begin(secret, client).await
}

/// Like `connect`, with the stream of the connection wrapped into another.
pub async fn connect_through<S>(
    secret: &Secret,
    wrap: impl FnOnce(TcpStream) -> S,
) -> Result<Client, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = stream(secret)
        .await
        .map_err(|error| refused(secret, None, &error))?;
    let (client, connection) = secret
        .postgres()
        .connect_raw(wrap(stream), NoTls)
        .await
        .map_err(|error| refused(secret, error.code(), &error))?;
    tokio::spawn(connection);
    begin(secret, client).await
}

/// As the driver connects by itself: to each address of the host in turn; a host that goes away is noticed.
async fn stream(secret: &Secret) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::HostUnreachable);
    for address in tokio::net::lookup_host((secret.host.as_str(), secret.port)).await? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_keepalive(true)?;
        socket.set_nodelay(true)?;
        let limit = Duration::from_secs(CONNECT_SECONDS);
        match tokio::time::timeout(limit, socket.connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

async fn begin(secret: &Secret, client: Client) -> Result<Client, Failure> {
    client
        .batch_execute(SESSION)
        .await
        .map_err(|error| refused(secret, error.code(), &error))?;
    check_version(&client).await?;
    Ok(client)
}

async fn check_version(client: &Client) -> Result<(), Failure> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version')",
            &[],
        )
        .await
        .map_err(|error| failed("the server's version cannot be read", &error))?;
    if row.get::<_, i32>(0) >= VERSION_MIN {
        return Ok(());
    }
    Err(Failure::new(
        "SourceTooOld",
        format!(
            "the source is a Postgres that is too old: {}",
            row.get::<_, &str>(1)
        ),
    )
    .hint("Postgres 14 and later are supported"))
}

/// Why there is no connection. The driver's errors hold no password.
fn refused(
    secret: &Secret,
    code: Option<&SqlState>,
    error: &(dyn std::error::Error + 'static),
) -> Failure {
    let (host, port, user, database) =
        (&secret.host, secret.port, &secret.username, &secret.dbname);
    let failure = match code {
        Some(&SqlState::INVALID_PASSWORD) => Failure::new(
            "WrongPassword",
            format!("the source at `{host}:{port}` does not accept the password of `{user}`"),
        )
        .hint("correct `password` in the secret"),
        Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION | &SqlState::INSUFFICIENT_PRIVILEGE) => Failure::new(
            "AccessDenied",
            format!("the source at `{host}:{port}` does not let `{user}` into `{database}`"),
        )
        .hint("check `username` in the secret, the role's right to connect, and the server's `pg_hba.conf`"),
        Some(&SqlState::INVALID_CATALOG_NAME) => Failure::new(
            "DatabaseMissing",
            format!("the source at `{host}:{port}` has no database `{database}`"),
        )
        .hint("correct `dbname` in the secret"),
        Some(&SqlState::TOO_MANY_CONNECTIONS) => Failure::new(
            "SourceBusy",
            format!("the source at `{host}:{port}` has no connection left"),
        )
        .hint("raise `max_connections`, or let fewer steps run at once"),
        _ => Failure::new(
            "SourceUnreachable",
            format!("the source at `{host}:{port}` cannot be reached"),
        )
        .hint("check `host` and `port` in the secret, and that the server runs and may be reached from here"),
    };
    failure.caused_by(error)
}

/// Why a query failed: the right is missing, the table went away, the connection is lost, or something else.
pub fn failed(what: &str, error: &Error) -> Failure {
    let failure = match error.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Failure::new("AccessDenied", what)
            .hint("grant SELECT on the table and its partitions and USAGE on its schema; a table with row security needs BYPASSRLS"),
        Some(&SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN) => Failure::new("TableChanged", what)
            .hint("the table was changed while it was read: run the load again"),
        Some(&SqlState::LOCK_NOT_AVAILABLE) => Failure::new("TableLocked", what)
            .hint("another session holds an exclusive lock on the table: run the load again when it is done"),
        Some(_) => Failure::new("SourceFailed", what),
        None => Failure::new("SourceUnreachable", what).hint("the connection to the source was lost: run again when it is back"),
    };
    failure.caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_postgres::postgres;

    #[tokio::test]
    async fn no_limit_of_time_that_the_database_sets_ends_a_connection() {
        let database = postgres().database().await;
        let name = &database.secret.dbname;
        let limits = "FROM pg_settings s WHERE s.name ~ '^(statement|transaction|idle.*)_timeout$'";
        let set = format!(
            "DO $$ DECLARE name text; BEGIN FOR name IN SELECT s.name {limits} LOOP
               EXECUTE format('ALTER DATABASE {name} SET %I = 1000', name); END LOOP; END $$"
        );
        database.client.batch_execute(&set).await.expect("limits");
        let client = connect(&database.secret).await.expect("a connection");
        let limits = format!("SELECT min(setting), max(setting), max(reset_val) {limits}");
        let row = client.query_one(&limits, &[]).await.expect("limits");
        let texts: [&str; 3] = [row.get(0), row.get(1), row.get(2)];
        assert_eq!(texts, ["0", "0", "1000"]);
    }
}
