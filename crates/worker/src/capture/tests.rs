//! Capture against a private Postgres.

use super::control;
use super::prepare::{Daemon, Prepared, prepare};
use super::setting::Setting;
use super::slot::{self, Beat};
use super::state;
use super::stream::{Limits, Totals, Watch, follow};
use crate::failure::Failure;
use crate::secret::Secret;
use crate::source::{self, connect};
use crate::store::disk;
use crate::test_postgres::{Database, postgres};
use crate::types::{ColumnBuilder, carried};
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::change_files::{order, written};
use pipeline::deployment::Deployment;
use pipeline::path::TableName;
use pipeline::planning::FollowedTable;
use pipeline::position::CaptureState;
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::SimpleQueryMessage;

/// Flushed only when asked.
const PATIENT: Limits = Limits {
    bytes: 1 << 20,
    interval: Duration::from_secs(3600),
    beat: Duration::from_secs(3600),
};

/// A database, and a home for what is captured of it.
struct Scene {
    database: Database,
    setting: Setting,
    _folder: TempDir,
}

/// `public.<name>` with its record key.
fn table(name: &str, key: &[&str]) -> FollowedTable {
    FollowedTable {
        name: public(name),
        primary_key: key.iter().map(ToString::to_string).collect(),
    }
}

fn public(name: &str) -> TableName {
    TableName {
        schema: "public".to_owned(),
        table: name.to_owned(),
    }
}

impl Scene {
    /// Not yet prepared.
    async fn bare(sql: &str, tables: Vec<FollowedTable>) -> Self {
        let database = postgres().database().await;
        database
            .client
            .batch_execute(sql)
            .await
            .expect("the story's tables");
        let folder = TempDir::new().expect("a folder");
        let home = folder.path().to_owned();
        let secrets = home.join("secrets");
        std::fs::create_dir_all(&secrets).expect("a folder of secrets");
        std::fs::create_dir_all(home.join("capture")).expect("a folder of capture");
        let setting = Setting {
            identifier: "shop".to_owned(),
            secrets,
            secret: "shop".to_owned(),
            // Slots belong to the server, not to a database.
            slot: format!("capture_{}", database.secret.dbname),
            db: "shop".to_owned(),
            zones: Deployment::local(&home.to_string_lossy()).zones_of("shop"),
            tables,
            home,
        };
        let scene = Self {
            database,
            setting,
            _folder: folder,
        };
        scene.write_secret(&scene.database.secret);
        scene
    }

    async fn prepared(sql: &str, tables: Vec<FollowedTable>) -> Self {
        let scene = Self::bare(sql, tables).await;
        scene.prepare().await.expect("the source can be followed");
        scene
    }

    fn write_secret(&self, secret: &Secret) {
        let path = self.setting.secrets.join("shop.json");
        let text = serde_json::json!({
            "username": secret.username, "password": secret.password, "engine": "postgres",
            "host": secret.host, "port": secret.port, "dbname": secret.dbname,
        });
        std::fs::write(&path, text.to_string()).expect("a secret");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))
            .expect("a private secret");
    }

    async fn prepare(&self) -> Result<Prepared, Failure> {
        let client = connect(&self.setting.secret()?).await?;
        prepare(&self.setting, &client, Daemon::Stands).await
    }

    async fn execute(&self, sql: &str) {
        self.database
            .client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Follows until told to stop.
    async fn follow(&self, limits: Limits) -> Running {
        let running = self.follow_to(limits, None);
        running.streaming().await;
        running
    }

    /// Follows, and dies at the nth passing of a point.
    fn follow_to(&self, limits: Limits, death: Option<(&'static str, usize)>) -> Running {
        let watcher = Arc::new(Watcher {
            death: Mutex::new(death),
            streaming: watch::channel(false).0,
            warnings: Mutex::default(),
        });
        let (stop, mut stopped) = watch::channel(false);
        let (setting, watching) = (self.setting.clone(), watcher.clone());
        let task = tokio::spawn(async move {
            let mut totals = Totals::default();
            loop {
                match follow(&setting, limits, &*watching, &mut stopped, &mut totals).await {
                    // The connection of the one before is still being closed.
                    Err(failure) if failure.error == "SlotBusy" => {
                        tokio::time::sleep(Duration::from_millis(5)).await
                    }
                    ended => return (ended, totals),
                }
            }
        });
        Running {
            watcher,
            stop,
            task,
        }
    }

    /// The slot, when its last reader's connection is gone.
    async fn released(&self) -> slot::Slot {
        loop {
            let found = slot::find(&self.database.client, &self.setting).await;
            let found = found.expect("it can be asked").expect("a slot");
            if found.active_process.is_none() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// All that is committed now is in files.
    async fn flushed(&self, running: &Running) {
        let row = self
            .database
            .client
            .query_one("SELECT pg_current_wal_insert_lsn()::text", &[])
            .await
            .expect("a position");
        let until = slot::lsn(row.get(0)).expect("a position");
        slot::count(&self.database.client, &self.setting.slot, Beat::Flush)
            .await
            .expect("a beat");
        while state::flushed(&self.state()).expect("a position") < until {
            assert!(!running.task.is_finished(), "capture ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn state(&self) -> CaptureState {
        state::read(&self.setting)
            .expect("a state that can be read")
            .expect("a state")
    }

    /// The change files of a table, in order.
    fn files(&self, name: &str) -> Vec<String> {
        let folder = self.setting.folder(&public(name)).expect("a folder");
        let mut files = disk::data_files(&folder).expect("files");
        files.sort_by(|a, b| order(a).cmp(&order(b)));
        files
    }

    fn batches(&self, name: &str) -> Vec<RecordBatch> {
        let folder = self.setting.folder(&public(name)).expect("a folder");
        let files = self.files(name);
        let open = |file: &String| {
            let file = std::fs::File::open(folder.join(file)).expect("a change file");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
            reader
                .build()
                .expect("a reader")
                .map(|batch| batch.expect("a batch"))
        };
        files.iter().flat_map(open).collect()
    }

    /// The changes of a table as they lie in its files.
    fn changes(&self, name: &str) -> Vec<Change> {
        self.batches(name).iter().flat_map(changes_of).collect()
    }

    /// Its changes without their numbers, and without what was delivered twice.
    fn story(&self, name: &str) -> Vec<String> {
        let mut by_number = BTreeMap::new();
        for change in self.changes(name) {
            let twin = by_number.insert(change.seq.clone(), change.clone());
            assert!(
                twin.is_none_or(|twin| twin == change),
                "one number, two changes: {change:?}"
            );
        }
        by_number.into_values().map(|change| change.text).collect()
    }
}

struct Running {
    watcher: Arc<Watcher>,
    stop: watch::Sender<bool>,
    task: JoinHandle<(Result<(), Failure>, Totals)>,
}

impl Running {
    async fn streaming(&self) {
        let mut streaming = self.watcher.streaming.subscribe();
        let looked = tokio::time::timeout(
            Duration::from_secs(60),
            streaming.wait_for(|streaming| *streaming),
        );
        looked
            .await
            .expect("it streams in time")
            .expect("it streams");
    }

    async fn stop(self) -> Totals {
        self.stop.send(true).expect("capture is there");
        let (ended, totals) = self.task.await.expect("capture does not panic");
        ended.expect("capture stops well");
        totals
    }

    async fn failure(self) -> Failure {
        self.task
            .await
            .expect("capture does not panic")
            .0
            .expect_err("capture fails")
    }
}

struct Watcher {
    death: Mutex<Option<(&'static str, usize)>>,
    streaming: watch::Sender<bool>,
    warnings: Mutex<Vec<String>>,
}

impl Watch for Watcher {
    fn point(&self, name: &'static str) -> Result<(), Failure> {
        if let Some((deadly, passings)) = &mut *self.death.lock().expect("no panic")
            && *deadly == name
        {
            *passings -= 1;
            if *passings == 0 {
                return Err(Failure::new("Killed", name));
            }
        }
        Ok(())
    }

    fn streaming(&self) {
        self.streaming.send_replace(true);
    }

    fn warn(&self, line: &str) {
        self.warnings
            .lock()
            .expect("no panic")
            .push(line.to_owned());
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    seq: String,
    /// `Op`, then the columns, `-` for NULL.
    text: String,
}

fn changes_of(batch: &RecordBatch) -> Vec<Change> {
    let options = FormatOptions::new().with_null("-");
    let formatters: Vec<ArrayFormatter> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).expect("it prints"))
        .collect();
    let columns = batch.num_columns();
    let schema = batch.schema();
    let name = |index: usize| schema.field(index).name().as_str();
    assert_eq!(
        [name(0), name(columns - 2), name(columns - 1)],
        ["Op", "trx_seq", "_hoodie_is_deleted"]
    );
    (0..batch.num_rows())
        .map(|row| {
            let values: Vec<String> = formatters
                .iter()
                .map(|formatter| formatter.value(row).to_string())
                .collect();
            assert_eq!(values[columns - 1], (values[0] == "D").to_string());
            Change {
                seq: values[columns - 2].clone(),
                text: values[..columns - 2].join(" "),
            }
        })
        .collect()
}

#[tokio::test]
async fn every_kind_of_change_is_written_in_commit_order() {
    let scene = Scene::prepared(
        "CREATE TABLE account (id int PRIMARY KEY, name text, balance numeric(9, 2));
         CREATE TABLE entry (account int, number int, note text, PRIMARY KEY (number, account));
         INSERT INTO account VALUES (1, 'before capture', 0)",
        vec![
            table("account", &["id"]),
            table("entry", &["account", "number"]),
        ],
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene
        .execute("INSERT INTO account VALUES (2, 'two', 2.5), (3, NULL, -0.01)")
        .await;
    scene
        .execute("UPDATE account SET name = 'ONE' WHERE id = 1; DELETE FROM account WHERE id = 2")
        .await;
    scene
        .execute("UPDATE account SET id = 30, name = 'moved' WHERE id = 3")
        .await;
    scene
        .execute(
            "INSERT INTO entry VALUES (1, 7, 'n'); UPDATE entry SET account = 2; DELETE FROM entry",
        )
        .await;
    scene
        .execute("BEGIN; INSERT INTO account VALUES (99, 'never', 0); ROLLBACK")
        .await;
    scene.flushed(&running).await;
    assert_eq!(
        scene.story("account"),
        [
            "I 2 two 2.50",
            "I 3 - -0.01",
            "U 1 ONE 0.00",
            "D 2 - -",
            "D 3 - -",
            "I 30 moved -0.01"
        ]
    );
    assert_eq!(
        scene.story("entry"),
        ["I 1 7 n", "D 1 7 -", "I 2 7 n", "D 2 7 -"]
    );
    let seqs: Vec<String> = scene
        .changes("account")
        .into_iter()
        .map(|change| change.seq)
        .collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");

    scene
        .execute("INSERT INTO account VALUES (4, 'four', 4)")
        .await;
    scene.flushed(&running).await;
    let totals = running.stop().await;
    assert_eq!(totals.files, 3, "two at the first flush, one at the second");
    let files = scene.files("account");
    let last = scene.changes("account").pop().expect("a change");
    assert_eq!(last.text, "I 4 four 4.00");
    let last: ChangeSeq = last.seq.parse().expect("35 digits");
    let name = files[1].clone();
    assert!(
        written(&name).expect("a moment") >= last.timestamp(),
        "{name} is earlier than {last}"
    );
    let (date, file) = name.split_once('/').expect("a folder of the date");
    assert!(
        file.starts_with(date) && written(&files[0]) < written(&name),
        "{files:?}"
    );
    let state = scene.state();
    assert_eq!(state.tables, ["public.account", "public.entry"]);
    assert!(state.last_seq >= last && state.needs_reseed.is_empty());
    let slot = scene.released().await;
    assert_eq!(slot.confirmed, state::flushed(&state).expect("a position"));
}

#[tokio::test]
async fn an_unchanged_large_value_comes_from_the_old_row_or_the_table_needs_a_new_seed() {
    let large =
        "CREATE TABLE full_row (id int PRIMARY KEY, small int, large text STORAGE EXTERNAL);
        CREATE TABLE key_only (LIKE full_row INCLUDING ALL);
        ALTER TABLE full_row REPLICA IDENTITY FULL;
        INSERT INTO full_row VALUES (1, 1, repeat('x', 9000));
        INSERT INTO key_only VALUES (1, 1, repeat('x', 9000))";
    let large = large.replace("text STORAGE EXTERNAL", "text");
    let scene = Scene::prepared(
        &format!("{large}; ALTER TABLE full_row ALTER large SET STORAGE EXTERNAL; ALTER TABLE key_only ALTER large SET STORAGE EXTERNAL;
            UPDATE full_row SET large = repeat('y', 9000); UPDATE key_only SET large = repeat('y', 9000)"),
        vec![table("full_row", &["id"]), table("key_only", &["id"])],
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene
        .execute("UPDATE full_row SET small = 2; UPDATE key_only SET small = 2")
        .await;
    scene
        .execute("INSERT INTO key_only VALUES (2, 2, 'small')")
        .await;
    scene.flushed(&running).await;
    let y = "y".repeat(9000);
    assert_eq!(scene.story("full_row"), [format!("U 1 2 {y}")]);
    assert_eq!(scene.story("key_only"), ["I 2 2 small"]);
    let state = scene.state();
    let (name, mark) = state.needs_reseed.first_key_value().expect("a mark");
    assert_eq!(
        (name.as_str(), state.needs_reseed.len()),
        ("public.key_only", 1)
    );
    assert!(mark.reason.contains("`large`"), "{}", mark.reason);
    let next: ChangeSeq = scene.changes("key_only")[0].seq.parse().expect("35 digits");
    assert!(
        mark.at < next && mark.at.timestamp() >= state.started,
        "{}",
        mark.at
    );

    scene
        .execute("UPDATE full_row SET id = 5; DELETE FROM full_row")
        .await;
    scene.flushed(&running).await;
    assert_eq!(
        scene.story("full_row")[1..],
        [
            format!("D 1 2 {y}"),
            format!("I 5 2 {y}"),
            format!("D 5 2 {y}")
        ]
    );
    running.stop().await;
}

#[tokio::test]
async fn a_table_that_was_out_of_the_publication_or_took_anothers_name_needs_a_new_seed() {
    let names = ["renamed", "readded", "removed", "same"];
    let tables = names.map(|name| format!("CREATE TABLE {name} (id int PRIMARY KEY)"));
    let scene = Scene::prepared(
        &tables.join("; "),
        names.map(|name| table(name, &["id"])).into(),
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene.flushed(&running).await;
    assert_eq!(scene.state().needs_reseed, BTreeMap::new());
    let before = scene.state().heartbeat;

    let slot = &scene.setting.slot;
    scene
        .execute(&format!(
            "ALTER TABLE renamed RENAME TO old; CREATE TABLE public.renamed (id int PRIMARY KEY); INSERT INTO public.renamed VALUES (1);
             ALTER PUBLICATION {slot} DROP TABLE readded"
        ))
        .await;
    scene.execute("INSERT INTO readded VALUES (1)").await;
    scene.prepare().await.expect("again");
    scene.flushed(&running).await;
    let state = scene.state();
    let marked: Vec<&str> = state.needs_reseed.keys().map(String::as_str).collect();
    assert_eq!(marked, ["public.old", "public.readded", "public.renamed"]);
    assert!(
        state
            .needs_reseed
            .values()
            .all(|mark| mark.at.timestamp() > before)
    );

    // Each beat looks, though nobody asks.
    scene
        .execute(&format!("ALTER PUBLICATION {slot} DROP TABLE removed"))
        .await;
    let beat = slot::count(&scene.database.client, slot, Beat::Alive);
    beat.await.expect("a beat");
    while scene.state().tables.contains(&"public.removed".to_owned()) {
        assert!(!running.task.is_finished(), "capture ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(scene.state().needs_reseed.contains_key("public.removed"));
    running.stop().await;
}

#[tokio::test]
async fn a_changed_key_is_told_though_the_key_is_not_known() {
    let mut scene = Scene::prepared(
        "CREATE TABLE a (id int PRIMARY KEY, note text); ALTER TABLE a REPLICA IDENTITY FULL; INSERT INTO a VALUES (1, 'x')",
        vec![table("a", &["id"])],
    )
    .await;
    // Its item is switched off for a while; what is captured then is merged later.
    scene.setting.tables.clear();
    let running = scene.follow(PATIENT).await;
    scene.execute("UPDATE a SET id = 2").await;
    scene.flushed(&running).await;
    running.stop().await;
    assert_eq!(scene.story("a"), ["D 1 x", "I 2 x"]);
}

#[tokio::test]
async fn a_publication_that_was_lost_cannot_be_gone_on_with_and_says_so() {
    let scene = Scene::prepared(
        "CREATE TABLE a (id int PRIMARY KEY)",
        vec![table("a", &["id"])],
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene.flushed(&running).await;
    let slot = &scene.setting.slot;
    scene.execute(&format!("DROP PUBLICATION {slot}")).await;
    scene.execute("INSERT INTO a VALUES (1)").await;
    let failure = running.failure().await;
    assert_eq!(failure.error, "PublicationLost", "{failure:?}");
    assert!(failure.hint.expect("a hint").contains(slot));
    scene.prepare().await.expect("a new publication");
    let running = scene.follow_to(PATIENT, None);
    assert_eq!(running.failure().await.error, "PublicationLost");
}

#[tokio::test]
async fn a_truncated_table_needs_a_new_seed_and_the_others_go_on() {
    let scene = Scene::prepared(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)",
        vec![table("a", &["id"]), table("b", &["id"])],
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene.execute("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); TRUNCATE a; INSERT INTO a VALUES (2)").await;
    scene.flushed(&running).await;
    running.stop().await;
    assert_eq!(scene.story("a"), ["I 1", "I 2"]);
    assert_eq!(scene.story("b"), ["I 1"]);
    let marks: Vec<(String, String)> = scene
        .state()
        .needs_reseed
        .into_iter()
        .map(|(name, mark)| (name, mark.reason))
        .collect();
    assert_eq!(
        marks,
        [("public.a".to_owned(), "it was truncated".to_owned())]
    );
}

/// Columns of many types, with values that depend on what a session is set to.
const ALL_TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'so so'); CREATE DOMAIN cents AS numeric(6, 2);
    CREATE TABLE every (
      id int PRIMARY KEY, c_bool bool, c_int2 int2, c_int8 int8, c_oid oid, c_float4 float4, c_float8 float8, c_numeric numeric,
      c_decimal numeric(20, 5), c_money money, c_text text, c_varchar varchar(9), c_char char(5), c_onechar \"char\", c_name name,
      c_bytea bytea, c_date date, c_timestamp timestamp, c_timestamptz timestamptz, c_time time, c_timetz timetz,
      c_interval interval, c_uuid uuid, c_json json, c_jsonb jsonb, c_xml xml, c_bit bit(4), c_varbit varbit, c_inet inet, c_cidr cidr,
      c_macaddr macaddr, c_point point, c_box box, c_tsvector tsvector, c_tstzrange tstzrange, c_multirange int4multirange,
      c_lsn pg_lsn, c_regclass regclass, c_mood mood, c_cents cents, c_ints int[], c_floats float8[], c_times timestamptz[],
      c_texts text[][], c_bytes bytea[], c_jsons jsonb[])";
const ALL_VALUES: &str = "INSERT INTO every VALUES
      (1, true, -32768, 9223372036854775807, 4294967295, 0.1, 0.1::float8 + 0.2, 123456789012345678901234567890.000001, -0.00001, -1234.5,
       E'tab\\there, \"quotes\" \\\\ and ü', 'v', 'ab', 'x', 'n', '\\x00ff27', '2026-02-28', '2026-02-28 23:59:59.999999',
       '2026-07-01 12:00:00.000001+02', '23:59:59.999999', '23:59:59+02', '1 year 2 mons -3 days 04:05:06.7',
       'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{\"a\":  1}', '{\"b\": [1, null]}', '<a>1</a>', '0101', '101', '10.0.0.1', '10.0.0.0/8',
       '08:00:2b:01:02:03', '(1.1,2)', '(1,2),(3,4.4)', 'a:1 b:2', '[2026-01-01 00:00+02,)', '{[1,3),[5,7)}', '16/B374D848', 'every',
       'so so', 12.3, '{1,NULL,3}', '{0.1,NaN}', '{2026-07-01 12:00:00+02}', '{{a,\"b,c\"},{NULL,d}}', '{\"\\\\x00ff\"}',
       ARRAY['{\"k\": \"v\"}'::jsonb]),
      (2, false, 0, 0, 0, 'NaN', '-Infinity', 'NaN', 'NaN', 0, '', '', '', '', '', '', 'infinity', '-infinity', 'infinity', '00:00', '00:00+00',
       '-1 mons', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'empty', '{}', NULL, NULL, NULL, NULL, '{}', '{}', '{}',
       '{}', '{}', '{}')";

#[tokio::test]
async fn values_are_those_of_the_load_whatever_the_server_is_set_to() {
    let scene = Scene::bare(ALL_TYPES, vec![table("every", &["id"])]).await;
    let database = &scene.database.secret.dbname;
    for setting in [
        "DateStyle = 'German, DMY'",
        "IntervalStyle = 'iso_8601'",
        "TimeZone = 'Asia/Tokyo'",
        "extra_float_digits = -3",
        "bytea_output = 'escape'",
        "search_path = 'public'",
    ] {
        scene
            .execute(&format!("ALTER DATABASE {database} SET {setting}"))
            .await;
    }
    scene.prepare().await.expect("the source can be followed");
    let running = scene.follow(PATIENT).await;
    scene.execute(ALL_VALUES).await;
    scene.flushed(&running).await;
    running.stop().await;

    let client = connect(&scene.database.secret).await.expect("a connection");
    let facts = source::table(&client, &public("every"))
        .await
        .expect("a table");
    let loaded = client
        .simple_query("SELECT * FROM public.every ORDER BY id")
        .await
        .expect("rows");
    let captured = scene.batches("every").pop().expect("a batch");
    for (index, column) in facts.columns.iter().enumerate() {
        let mut builder =
            ColumnBuilder::new(&carried(&column.facts).expect("a type that is carried"));
        for message in &loaded {
            if let SimpleQueryMessage::Row(row) = message {
                match row.get(index) {
                    None => builder.append_null(),
                    Some(text) => builder.append_text(text).expect("a value that is carried"),
                }
            }
        }
        let expected: ArrayRef = builder.finish().expect("a column");
        assert_eq!(&expected, captured.column(index + 1), "{}", column.name);
        assert_eq!(captured.schema().field(index + 1).name(), &column.name);
    }
    let interval = captured.column_by_name("c_interval").expect("a column");
    let interval = interval
        .as_any()
        .downcast_ref::<StringArray>()
        .expect("texts");
    assert_eq!(interval.value(0), "1 year 2 mons -3 days +04:05:06.7");
}

#[tokio::test]
async fn killed_at_any_point_of_a_flush_it_gives_the_same_numbers_again() {
    let scene = Scene::prepared(
        "CREATE TABLE a (id int PRIMARY KEY, note text); CREATE TABLE b (id int PRIMARY KEY, note text)",
        vec![table("a", &["id"]), table("b", &["id"])],
    )
    .await;
    let points = [
        ("capture.before.files", 1),
        ("capture.between.files", 1),
        ("capture.between.files", 2),
        ("capture.after.files", 1),
        ("capture.after.state", 1),
        ("capture.after.slot", 1),
        ("capture.after.slot", 2),
    ];
    // Some of each transaction is spilt before its end is seen.
    let limits = Limits {
        bytes: 4096,
        ..PATIENT
    };
    let mut expected = Vec::new();
    for (round, death) in (1..).zip(points) {
        let running = scene.follow_to(limits, Some(death));
        running.streaming().await;
        let first = round * 1000;
        for table in ["a", "b"] {
            let sql = format!(
                "BEGIN; INSERT INTO {table} SELECT i, repeat('n', 100) FROM generate_series({first}, {first} + 49) i;
                 UPDATE {table} SET id = id + 500 WHERE id = {first}; COMMIT"
            );
            scene.execute(&sql).await;
        }
        expected.extend((first..first + 50).map(|id| format!("I {id}")));
        expected.extend([format!("D {first}"), format!("I {}", first + 500)]);
        slot::count(&scene.database.client, &scene.setting.slot, Beat::Flush)
            .await
            .expect("a beat");
        slot::count(&scene.database.client, &scene.setting.slot, Beat::Flush)
            .await
            .expect("a beat");
        assert_eq!(running.failure().await.error, "Killed", "{death:?}");
    }
    let running = scene.follow(limits).await;
    scene.flushed(&running).await;
    running.stop().await;
    for name in ["a", "b"] {
        let story: Vec<String> = scene
            .story(name)
            .iter()
            .map(|text| text.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(story, expected, "{name}");
    }
    assert!(
        scene.changes("a").len() > expected.len(),
        "nothing was delivered twice: the deaths were too early"
    );
    let leftover =
        std::fs::read_dir(scene.setting.folder(&public("a")).expect("a folder")).expect("a folder");
    let temporary =
        |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".tmp");
    assert!(
        !leftover.flatten().any(|entry| temporary(&entry)),
        "files of the dead are left"
    );
}

#[tokio::test]
async fn changes_of_partitions_carry_their_parents_name() {
    let scene = Scene::prepared(
        "CREATE TABLE sale (day date, id int, amount int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
         CREATE TABLE sale_old PARTITION OF sale FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
         CREATE TABLE sale_new (amount int, id int, day date NOT NULL, PRIMARY KEY (day, id));
         ALTER TABLE sale ATTACH PARTITION sale_new FOR VALUES FROM ('2026-01-01') TO (MAXVALUE)",
        vec![table("sale", &["day", "id"])],
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene
        .execute("INSERT INTO sale VALUES ('2025-05-05', 1, 10), ('2026-05-05', 2, 20)")
        .await;
    scene.execute("UPDATE sale SET amount = 21 WHERE id = 2; UPDATE sale SET day = '2026-06-06' WHERE id = 1").await;
    scene.execute("DELETE FROM sale WHERE id = 2").await;
    scene.flushed(&running).await;
    running.stop().await;
    assert_eq!(
        scene.story("sale"),
        [
            "I 2025-05-05 1 10",
            "I 2026-05-05 2 20",
            "U 2026-05-05 2 21",
            "D 2025-05-05 1 -",
            "I 2026-06-06 1 10",
            "D 2026-05-05 2 -"
        ]
    );
    assert_eq!(scene.state().tables, ["public.sale"]);
}

#[tokio::test]
async fn a_partition_may_have_another_replica_identity_than_its_parent() {
    let scene = Scene::prepared(
        "CREATE TABLE a (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
         CREATE TABLE a_all PARTITION OF a DEFAULT; ALTER TABLE a REPLICA IDENTITY FULL;
         ALTER TABLE a_all ALTER note SET STORAGE EXTERNAL; INSERT INTO a VALUES (1, 'x'), (3, repeat('y', 9000))",
        vec![table("a", &["id"])],
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene
        .execute("UPDATE a SET id = 2 WHERE id = 1; UPDATE a SET note = 'z' WHERE id = 2")
        .await;
    scene.flushed(&running).await;
    assert_eq!(scene.story("a"), ["D 1 -", "I 2 x", "U 2 z"]);
    assert!(scene.state().needs_reseed.is_empty());

    // The large value that it leaves is nowhere.
    scene.execute("UPDATE a SET id = 4 WHERE id = 3").await;
    scene.flushed(&running).await;
    running.stop().await;
    assert_eq!(scene.story("a")[3..], ["D 3 -"]);
    let reason = &scene.state().needs_reseed["public.a"].reason;
    assert!(reason.contains("`note`"), "{reason}");
}

#[tokio::test]
async fn a_table_without_a_key_is_left_out_and_its_source_goes_on() {
    let scene = Scene::bare(
        "CREATE TABLE keyed (id int PRIMARY KEY); CREATE TABLE keyless (id int, note text);
         CREATE TABLE other_key (id int, code int PRIMARY KEY);
         CREATE TABLE taken (id int PRIMARY KEY, trx_seq text)",
        vec![
            table("keyed", &["id"]),
            table("keyless", &["id"]),
            table("other_key", &["id"]),
            table("taken", &["id"]),
        ],
    )
    .await;
    let left_out = scene
        .prepare()
        .await
        .expect("the others can be followed")
        .left_out;
    let names: Vec<&str> = left_out.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["public.keyless", "public.other_key", "public.taken"]
    );
    let running = scene.follow(PATIENT).await;
    scene.execute("INSERT INTO keyless VALUES (1, 'a'); UPDATE keyless SET note = 'b'; DELETE FROM keyless").await;
    scene.execute("INSERT INTO keyed VALUES (1)").await;
    scene.flushed(&running).await;
    assert_eq!(scene.story("keyed"), ["I 1"]);
    let state = scene.state();
    let marked: Vec<&str> = state.needs_reseed.keys().map(String::as_str).collect();
    assert_eq!(
        marked,
        ["public.keyless", "public.other_key", "public.taken"]
    );

    // With an identity it is followed from the next start on.
    scene
        .execute("ALTER TABLE keyless REPLICA IDENTITY FULL")
        .await;
    scene.prepare().await.expect("again");
    scene.execute("INSERT INTO keyless VALUES (2, 'c')").await;
    scene.flushed(&running).await;
    running.stop().await;
    assert_eq!(scene.story("keyless"), ["I 2 c"]);
    let state = scene.state();
    assert_eq!(state.tables, ["public.keyed", "public.keyless"]);
    assert!(
        state.needs_reseed["public.keyless"].at.timestamp()
            < Timestamp(chrono::Utc::now().timestamp_millis() + 10)
    );
}

#[tokio::test]
async fn a_lost_slot_ends_capture_and_a_new_one_begins_a_new_epoch() {
    let scene = Scene::prepared(
        "CREATE TABLE a (id int PRIMARY KEY)",
        vec![table("a", &["id"])],
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene.execute("INSERT INTO a VALUES (1)").await;
    scene.flushed(&running).await;
    running.stop().await;
    let first = scene.state();
    scene.released().await;
    let drop_slot = "SELECT pg_drop_replication_slot($1)";
    scene
        .database
        .client
        .execute(drop_slot, &[&scene.setting.slot])
        .await
        .expect("a slot that nobody reads");
    scene.execute("INSERT INTO a VALUES (2)").await;
    assert_eq!(
        scene.follow_to(PATIENT, None).failure().await.error,
        "SlotLost"
    );
    assert_eq!(scene.state(), first);

    let notes = scene.prepare().await.expect("a new slot").notes;
    assert!(notes[0].contains("lost"), "{notes:?}");
    let running = scene.follow(PATIENT).await;
    let warnings = running.watcher.warnings.lock().expect("no panic").clone();
    assert!(warnings[0].contains("begins anew"), "{warnings:?}");
    scene.execute("INSERT INTO a VALUES (3)").await;
    scene.flushed(&running).await;
    running.stop().await;
    assert_ne!(scene.state().epoch, first.epoch);
    assert_eq!(scene.story("a"), ["I 1", "I 3"]);

    // A database that was set back has counted less.
    scene
        .execute("UPDATE headwater.heartbeat SET beat = 0")
        .await;
    let epoch = scene.state().epoch;
    scene.follow(PATIENT).await.stop().await;
    assert_ne!(scene.state().epoch, epoch);
}

#[tokio::test]
async fn a_huge_transaction_takes_no_more_memory_than_a_small_one() {
    let scene = Scene::prepared(
        "CREATE TABLE a (id int PRIMARY KEY, note text)",
        vec![table("a", &["id"])],
    )
    .await;
    let limits = Limits {
        bytes: 256 * 1024,
        ..PATIENT
    };
    let running = scene.follow(limits).await;
    scene
        .execute("INSERT INTO a SELECT i, 'note ' || i FROM generate_series(1, 30000) i")
        .await;
    scene.flushed(&running).await;
    let totals = running.stop().await;
    assert!(totals.held_max < limits.bytes + 1024, "{totals:?}");
    let files = scene.files("a");
    assert!(files.len() > 5, "{files:?}");
    assert!(files.is_sorted_by(|a, b| a < b), "{files:?}");
    let changes = scene.changes("a");
    assert_eq!(changes.len(), 30000);
    assert!(changes.is_sorted_by(|a, b| a.seq < b.seq));
}

#[tokio::test]
async fn a_file_has_one_schema_and_a_changed_table_goes_on_in_the_next() {
    let scene = Scene::prepared(
        "CREATE TABLE a (id int PRIMARY KEY, note text)",
        vec![table("a", &["id"])],
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene
        .execute("BEGIN; INSERT INTO a VALUES (1, 'x'); ALTER TABLE a ADD more int; INSERT INTO a VALUES (2, 'y', 7); COMMIT")
        .await;
    scene.execute("ALTER TABLE a ALTER more TYPE bigint; ALTER TABLE a DROP note; INSERT INTO a VALUES (3, 8)").await;
    scene.flushed(&running).await;
    running.stop().await;
    assert_eq!(scene.story("a"), ["I 1 x", "I 2 y 7", "I 3 8"]);
    assert_eq!(scene.files("a").len(), 3);
    assert_eq!(
        scene.batches("a")[2].column(2).data_type(),
        &arrow::datatypes::DataType::Int64
    );
}

#[tokio::test]
async fn a_value_that_the_lake_cannot_hold_fails_its_table_only() {
    let scene = Scene::prepared(
        "CREATE TABLE a (id int PRIMARY KEY, at timestamp, note bytea); CREATE TABLE b (id int PRIMARY KEY)",
        vec![table("a", &["id"]), table("b", &["id"])],
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene.execute("INSERT INTO a VALUES (1, '2026-01-01', 'x'); INSERT INTO a VALUES (2, '294276-12-31', 'y')").await;
    scene
        .execute("INSERT INTO a VALUES (3, '2026-01-03', 'z'); INSERT INTO b VALUES (1)")
        .await;
    scene.flushed(&running).await;
    running.stop().await;
    assert_eq!(scene.story("a"), ["I 3 2026-01-03T00:00:00 7a"]);
    assert_eq!(scene.story("b"), ["I 1"]);
    let state = scene.state();
    let mark = &state.needs_reseed["public.a"];
    assert!(mark.reason.contains("`at`"), "{}", mark.reason);
    let kept: ChangeSeq = scene.changes("a")[0].seq.parse().expect("35 digits");
    assert!(mark.at < kept);
}

#[tokio::test]
async fn a_table_that_is_not_as_its_item_says_is_left_out_and_the_others_are_followed() {
    let scene = Scene::bare(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE VIEW v AS SELECT * FROM a",
        vec![
            table("a", &["id"]),
            table("gone", &["id"]),
            table("v", &["id"]),
        ],
    )
    .await;
    let prepared = scene.prepare().await.expect("one can be followed");
    let left_out: Vec<&str> = prepared.left_out.keys().map(String::as_str).collect();
    assert_eq!(left_out, ["public.gone", "public.v"]);
    let running = scene.follow(PATIENT).await;
    scene.flushed(&running).await;
    running.stop().await;
    let state = scene.state();
    assert_eq!(state.tables, ["public.a"]);
    let marked: Vec<&str> = state.needs_reseed.keys().map(String::as_str).collect();
    assert_eq!(marked, left_out);
}

#[tokio::test]
async fn a_source_that_cannot_be_followed_is_refused_with_the_reason() {
    let scene = Scene::bare(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE VIEW v AS SELECT * FROM a; CREATE UNLOGGED TABLE u (id int PRIMARY KEY)",
        vec![table("v", &["id"]), table("u", &["id"]), table("none", &["id"]), table("a", &["di"])],
    )
    .await;
    let refused = scene.prepare().await.expect_err("no table can be followed");
    for name in ["public.v", "public.u", "public.none", "public.a"] {
        assert!(
            refused.message.contains(&format!("`{name}`")),
            "{}",
            refused.message
        );
    }
    let nothing = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())";
    let made: i64 = scene
        .database
        .client
        .query_one(nothing, &[])
        .await
        .expect("a count")
        .get(0);
    assert_eq!(made, 0, "nothing is made before all is checked");

    let role = format!("poor_{}", scene.database.secret.dbname);
    scene
        .execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT SELECT ON a TO {role}"
        ))
        .await;
    scene.write_secret(&postgres().secret(&role, "p", &scene.database.secret.dbname));
    assert_eq!(
        scene.prepare().await.expect_err("it may not").error,
        "MayNotReplicate"
    );
    scene
        .execute(&format!("ALTER ROLE {role} REPLICATION"))
        .await;
    let setting = Setting {
        tables: vec![table("a", &["id"])],
        ..scene.setting.clone()
    };
    let client = connect(&setting.secret().expect("a secret"))
        .await
        .expect("a connection");
    let denied = prepare(&setting, &client, Daemon::Stands)
        .await
        .expect_err("it owns nothing");
    assert_eq!(denied.error, "AccessDenied");
    assert!(denied.hint.expect("a hint").contains("CREATE PUBLICATION"));

    let slot = &scene.setting.slot;
    let make = format!("CREATE PUBLICATION {slot} FOR TABLE a WHERE (id > 5)");
    if scene.database.client.batch_execute(&make).await.is_ok() {
        scene.write_secret(&scene.database.secret);
        let filtered = Scene { setting, ..scene };
        assert_eq!(
            filtered.prepare().await.expect_err("it is filtered").error,
            "PublicationFiltered"
        );
        assert!(!control::runs(&filtered.setting).expect("it can be asked"));
    }
}

#[tokio::test]
async fn a_lost_connection_is_a_fault_that_passes_and_nothing_is_lost() {
    let scene = Scene::prepared(
        "CREATE TABLE a (id int PRIMARY KEY)",
        vec![table("a", &["id"])],
    )
    .await;
    let running = scene.follow(PATIENT).await;
    scene.execute("INSERT INTO a VALUES (1)").await;
    scene.flushed(&running).await;
    scene.execute("INSERT INTO a VALUES (2)").await;
    let end =
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1";
    let slot = &scene.setting.slot;
    let ended = scene.database.client.execute(end, &[slot]).await;
    ended.expect("a connection to end");
    let failure = running.failure().await;
    assert!(slot::may_pass(&failure), "{failure}");
    let running = scene.follow(PATIENT).await;
    scene.execute("INSERT INTO a VALUES (3)").await;
    scene.flushed(&running).await;
    running.stop().await;
    assert_eq!(scene.story("a"), ["I 1", "I 2", "I 3"]);
}
