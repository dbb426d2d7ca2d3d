//! The commands of configuration, as a person starts them.

use pipeline::plan::Plan;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const MISTAKES: &str = include_str!("configuration/mistakes.json");
const FOUND: &str = include_str!("configuration/mistakes.txt");
const OLDER: &str = include_str!("configuration/older.json");

/// A folder with a home in it, and the program.
struct Desk {
    folder: TempDir,
}

/// What a command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Desk {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for the test"),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("HEADWATER_HOME")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        said(
            self.command(arguments)
                .output()
                .expect("the program starts"),
        )
    }

    /// Runs a command that must end well, and gives its data.
    fn data(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
        said.out
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(arguments);
        serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}{}", said.out, said.err))
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), text).expect("the file can be written");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).expect("the file is there")
    }

    fn has_home(&self) -> bool {
        self.folder.path().join(".headwater").exists()
    }
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().expect("the program ended by itself"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/tpcc")
        .join(name)
}

fn example_items() -> Vec<Value> {
    let text = std::fs::read_to_string(example("config.json")).expect("the example is there");
    serde_json::from_str(&text).expect("the example is JSON")
}

#[test]
fn check_tells_every_mistake_of_all_items_at_once() {
    let desk = Desk::new();
    desk.write("mistakes.json", MISTAKES);
    let said = desk.run(&["check", "mistakes.json"]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    assert_eq!(said.out, FOUND);
    assert!(!said.out.contains("hunter2"), "a secret is shown");
    let value = desk.json(&["check", "mistakes.json", "--json"]);
    let problems = value["problems"].as_array().unwrap();
    assert_eq!(problems.len(), FOUND.matches("error: ").count());
    assert_eq!((&value["ok"], &value["items"]), (&json!(false), &json!(12)));
    let empty_key = problems
        .iter()
        .find(|problem| problem["path"] == "hudi_config.primary_key");
    assert_eq!(
        empty_key.unwrap(),
        &json!({
            "identifier": "shop", "key": "step::system::public.orders", "path": "hudi_config.primary_key", "found": "empty",
            "expected": "", "hint": "name at least one column",
            "message": "step::system::public.orders: `hudi_config.primary_key` is empty",
        })
    );
    assert!(!desk.has_home(), "checking a file makes no home");
}

#[test]
fn several_files_are_checked_together() {
    let desk = Desk::new();
    let mut items = example_items();
    items.insert(2, json!({"identifier": "tpcc", "enabled": true}));
    desk.write("a.json", json!(items[12..]).to_string());
    desk.write("b.json", json!(items[..12]).to_string());
    let said = desk.run(&["check", "a.json", "b.json"]);
    assert_eq!(
        said.out,
        "error: tpcc b.json: item 3: `config` is missing, expected a key such as `database::config`\n\n\
         a.json, b.json: 17 items of 1 identifier, 1 mistake, 0 warnings\n"
    );
}

#[test]
fn check_takes_a_right_file_from_stdin_and_from_the_table() {
    let desk = Desk::new();
    let mut items = example_items();
    items[7]["hudi_config"]["op"] = json!("INSERT");
    items[5]["emr_config"]["release_label"] = json!("emr-6.5.0");
    let lines: Vec<String> = items.iter().map(Value::to_string).collect();
    let mut child = desk
        .command(&["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.join("\n").as_bytes()).unwrap();
    drop(stdin);
    let from_stdin = said(child.wait_with_output().unwrap());
    let warning = "warning: tpcc step::system::public.customer: `hudi_config.op` does not look keys up: changes that follow become duplicate rows\n\
        hint: use `UPSERT`, unless the table is only ever inserted into\n\n\
        warning: tpcc pipeline::system::seed_hudi: `emr_config.release_label` is older than `emr-7.11.0`, the first with Hudi 1.0.2: emr-6.5.0\n\
        hint: `headwater migrate --release-label emr-7.13.0` rewrites the items\n\n";
    assert_eq!(
        from_stdin.out,
        format!("{warning}stdin: 16 items of 1 identifier, 0 mistakes, 2 warnings\n")
    );
    assert_eq!(from_stdin.code, 0);
    desk.data(&["import", example("config.json").to_str().unwrap()]);
    assert_eq!(
        desk.data(&["check"]),
        "the table of `.headwater`: 16 items of 1 identifier, 0 mistakes, 0 warnings\n"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_its_place() {
    let desk = Desk::new();
    let forms = "hint: items are a JSON array, JSON Lines or DynamoDB JSON\n";
    for (name, bytes, code, expected) in [
        (
            "nothing.json",
            &b""[..],
            1,
            format!("error: `nothing.json` is empty\n{forms}"),
        ),
        (
            "blank.json",
            b"\xef\xbb\xbf \n",
            1,
            format!("error: `blank.json` is empty\n{forms}"),
        ),
        (
            "none.json",
            b"[]",
            1,
            format!("error: `none.json` holds no items\n{forms}"),
        ),
        (
            "latin.json",
            b"[\n {\"a\": \"caf\xe9\"}]",
            1,
            "error: `latin.json` is not UTF-8: line 2, column 12\nhint: save it as UTF-8\n"
                .to_owned(),
        ),
        (
            "half.json",
            b"[{\"identifier\": \"a\"},\n {",
            1,
            format!(
                "error: half.json: line 2, column 2: `file` ends in the middle of a value\n{forms}"
            ),
        ),
        (
            "twice.json",
            b"{\"a\": 1, \"a\": 2}",
            1,
            "error: twice.json: file: `a` is written twice in one object\n\
             hint: keep one of the two: which of them was meant cannot be known\n"
                .to_owned(),
        ),
    ] {
        desk.write(name, bytes);
        let said = desk.run(&["migrate", name]);
        assert_eq!((said.code, said.err), (code, expected), "{name}");
        assert_eq!(said.out, "", "{name}");
        assert_eq!(desk.run(&["check", name]).code, 1, "{name}");
    }
    for (name, expected) in [
        ("absent.json", "error: `absent.json` does not exist\n"),
        (".", "error: `.` is a folder\n"),
    ] {
        let said = desk.run(&["check", name]);
        assert_eq!((said.code, said.err.as_str()), (2, expected));
    }
}

#[test]
fn a_plan_is_the_same_bytes_for_the_same_items_in_any_order() {
    let desk = Desk::new();
    let items = example_items();
    let request = [
        "--identifier",
        "tpcc",
        "--pipeline",
        "incremental_hudi",
        "--json",
    ];
    let mut plans = Vec::new();
    for order in 0..5 {
        let mut items = items.clone();
        // Every order is another walk through the items, by a step that shares no divisor with their number.
        let step = [1, 3, 5, 11, 15][order];
        items = (0..items.len())
            .map(|n| items[(n * step + order) % items.len()].clone())
            .collect();
        desk.write("items.json", json!(items).to_string());
        let file = [&["plan", "--config", "items.json"], &request[..]].concat();
        plans.push(desk.data(&file));
        desk.data(&["import", "items.json"]);
        plans.push(desk.data(&[&["plan"], &request[..]].concat()));
    }
    plans.dedup();
    assert_eq!(plans.len(), 1, "{} different plans", plans.len());
}

#[test]
fn a_printed_plan_is_the_one_that_a_run_freezes() {
    let desk = Desk::new();
    let config = example("config.json");
    let mut value = desk.json(&[
        "plan",
        "--config",
        config.to_str().unwrap(),
        "--identifier",
        "tpcc",
        "--pipeline",
        "seed_hudi",
        "--engine",
        "spark",
        "--target",
        "aws",
        "--json",
    ]);
    let map = value.as_object_mut().unwrap();
    let (sha256, locks) = (map.remove("sha256").unwrap(), map.remove("locks").unwrap());
    assert_eq!(locks, map["writes"]);
    let plan: Plan = serde_json::from_value(value).unwrap();
    assert_eq!(sha256, plan.sha256());
    assert_eq!(plan.cluster.run_job_flow["ReleaseLabel"], "emr-7.13.0");
    assert_eq!(plan.steps.len(), 8);
    for step in &plan.steps {
        let arguments = step.work.arguments();
        assert_eq!(arguments[0], "spark-submit", "{}", step.name);
        assert!(arguments.contains(&"hoodie.write.table.version=8".to_owned()));
    }
    assert_eq!(plan.not_applicable[0].name, "public.history");
    assert!(!desk.has_home(), "planning from a file makes no home");
}

#[test]
fn a_plan_for_people_has_each_option_on_its_own_line() {
    let desk = Desk::new();
    let config = example("config.json");
    let text = desk.data(&[
        "plan",
        "--config",
        config.to_str().unwrap(),
        "--identifier",
        "tpcc",
        "--pipeline",
        "incremental_hudi",
        "--engine",
        "spark",
        "--target",
        "aws",
    ]);
    let beginning = "tpcc incremental_hudi: 8 steps\nengine: spark\ntarget: aws\nplan sha256: ";
    assert!(text.starts_with(beginning), "{text}");
    let step = "  7 public.warehouse\n    engine: spark\n    writes:\n      - s3://headwater-silver-111122223333/tpcc/tpcc_public_warehouse\n    \
        spark-submit \\\n      --master yarn \\\n      --deploy-mode client \\\n";
    assert!(text.contains(step), "{text}");
    assert!(
        text.contains("\n      --hoodie-conf hoodie.datasource.write.recordkey.field=w_id \\\n")
    );
    let end = "not applicable:\n  - name: public.history\n    reason: the item has no `hudi_config`: the table can only be loaded\nfaulty: none\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn a_plan_that_cannot_be_made_says_why() {
    let desk = Desk::new();
    let mut items = example_items();
    items[5]["emr_config"]["release_label"] = json!("emr-6.5.0");
    items[7]["hudi_config"]["primary_key"] = json!("");
    desk.write("items.json", json!(items).to_string());
    let plan = |rest: &[&str]| desk.run(&[&["plan", "--config", "items.json"], rest].concat());
    for (rest, code, expected) in [
        (
            &["--identifier", "tpc", "--pipeline", "seed_hudi"][..],
            2,
            "error: configuration: `identifier` is unknown: tpc\nhint: did you mean `tpcc`?\n",
        ),
        (
            &["--identifier", "tpcc", "--pipeline", "sed_hudi"],
            2,
            "error: configuration: `pipeline` is unknown: sed_hudi\nhint: did you mean `seed_hudi`?\n",
        ),
        (
            &[
                "--identifier",
                "tpcc",
                "--pipeline",
                "seed_hudi",
                "--target",
                "aws",
            ],
            2,
            "error: target `aws` needs a deployment\nhint: `--deployment FILE`, or a `deployment.json` beside the items' file\n",
        ),
    ] {
        let said = plan(rest);
        assert_eq!((said.code, said.err.as_str()), (code, expected));
    }
    let deployment = example("deployment.json");
    let seed = ["--identifier", "tpcc", "--pipeline", "seed_hudi"];
    let aws = plan(&[&seed[..], &["--deployment", deployment.to_str().unwrap()]].concat());
    assert_eq!(
        (aws.code, aws.err.as_str()),
        (
            1,
            "error: pipeline::system::seed_hudi: `emr_config.release_label` is older than `emr-7.11.0`, the first with Hudi 1.0.2: emr-6.5.0\n\
            hint: `headwater migrate --release-label emr-7.13.0` rewrites the items\n"
        ),
    );
    let local = plan(&seed);
    assert_eq!((local.code, local.err.as_str()), (0, ""));
    let faulty = "faulty:\n  public.customer\n    step::system::public.customer: `hudi_config.primary_key` is empty\n    hint: name at least one column\n";
    assert!(local.out.ends_with(faulty), "{}", local.out);
}

#[test]
fn import_takes_all_or_nothing_and_export_gives_it_back() {
    let desk = Desk::new();
    desk.write("mistakes.json", MISTAKES);
    let refused = desk.run(&["import", "mistakes.json"]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(
        refused.err.ends_with("nothing was imported: 30 mistakes\n"),
        "{}",
        refused.err
    );
    let config = example("config.json");
    let config = config.to_str().unwrap();
    let dry = desk.run(&["import", "--dry-run", config]);
    assert_eq!(
        (dry.code, dry.err.as_str()),
        (0, "nothing was imported: `--dry-run`\n")
    );
    assert!(!desk.has_home(), "neither made a home");
    assert_eq!(desk.run(&["export"]).code, 1);

    let imported = desk.data(&["import", config]);
    assert_eq!(imported, dry.out);
    assert!(imported.ends_with(
        "+ tpcc step::system::public.warehouse\ntpcc: 16 items: 16 added, 0 changed, 0 removed\n"
    ));
    let exported = desk.data(&["export"]);
    desk.write("normal.json", &exported);
    desk.data(&["import", "normal.json"]);
    assert_eq!(desk.data(&["export", "--identifier", "tpcc"]), exported);
    assert_eq!(desk.run(&["diff", config]).code, 0);
    let unknown = desk.run(&["export", "--identifier", "tpc"]);
    assert_eq!(
        (unknown.code, unknown.err.as_str()),
        (
            2,
            "error: identifier `tpc` has no items\nhint: did you mean `tpcc`?\n"
        )
    );
}

#[test]
fn diff_shows_what_import_would_change_and_import_changes_it() {
    let desk = Desk::new();
    let mut items = example_items();
    desk.data(&["import", example("config.json").to_str().unwrap()]);
    desk.write("other.json", r#"[{"identifier": "other", "config": "database::config", "secret": "other", "target_db_name": "o", "target_table_prefix": "o"}]"#);
    desk.data(&["import", "other.json"]);
    items[7]["hudi_config"]["primary_key"] = json!("c_id");
    items[8]["hudi_config"]["table_type"] = json!("COPY_ON_WRITE");
    items[9]["config"] = json!("step::system::public.archive");
    desk.write("new.json", json!(items).to_string());
    let said = desk.run(&["diff", "new.json"]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    assert_eq!(
        said.out,
        "--- table\n+++ new.json\n\
         @@ tpcc step::system::public.archive @@\n+enabled: true\n\
         @@ tpcc step::system::public.customer @@\n-hudi_config.primary_key: \"c_w_id,c_d_id,c_id\"\n+hudi_config.primary_key: \"c_id\"\n\
         @@ tpcc step::system::public.district @@\n+hudi_config.table_type: \"COPY_ON_WRITE\"\n\
         @@ tpcc step::system::public.history @@\n-enabled: true\n"
    );
    let value = desk.json(&["diff", "new.json", "--json"]);
    assert_eq!(
        value["differences"][0],
        json!({"change": "added", "identifier": "tpcc", "key": "step::system::public.archive", "attributes": {"enabled": "true"}})
    );
    let imported = desk.json(&["import", "new.json", "--json"]);
    assert_eq!(imported["imported"][0]["differences"], value["differences"]);
    let counts =
        ["items", "added", "changed", "removed"].map(|name| &imported["imported"][0][name]);
    assert_eq!(counts, [16, 1, 2, 1]);
    assert_eq!(desk.run(&["diff", "new.json"]).code, 0);
    assert_eq!(desk.run(&["diff", "other.json"]).code, 0);
}

#[test]
fn migrate_rewrites_older_items_until_check_has_nothing_to_say() {
    let desk = Desk::new();
    desk.write("older.json", OLDER);
    assert_eq!(desk.run(&["check", "older.json"]).code, 1);
    let said = desk.run(&[
        "migrate",
        "older.json",
        "--release-label",
        "emr-7.13.0",
        "--output",
        "new.json",
    ]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert!(said.err.contains(
        "rewritten: shop step::system::public.orders: `config` was `table::public.orders`\n"
    ));
    assert!(said.err.contains("look at: shop pipeline::system::jdbc_load: `emr_config.release_label` is new: the sizes and `spark_conf` were chosen for an older Spark\n"));
    let summary = "older.json: 15 attributes rewritten, 2 to look at, 0 mistakes left\n";
    assert!(said.err.ends_with(summary), "{}", said.err);
    assert_eq!(desk.run(&["check", "new.json"]).code, 0);

    let again = desk.run(&["migrate", "new.json"]);
    assert_eq!(again.out, desk.read("new.json"));
    assert_eq!(
        again.err,
        "new.json: 0 attributes rewritten, 0 to look at, 0 mistakes left\n"
    );
    let deployment = example("deployment.json");
    desk.data(&[
        "plan",
        "--config",
        "new.json",
        "--identifier",
        "shop",
        "--pipeline",
        "jdbc_load",
        "--deployment",
        deployment.to_str().unwrap(),
    ]);
    let wrong = desk.run(&["migrate", "older.json", "--release-label", "emr-6.5.0"]);
    assert_eq!(
        (wrong.code, wrong.err.as_str()),
        (
            2,
            "error: `--release-label` is older than `emr-7.11.0`, the first with Hudi 1.0.2: emr-6.5.0\n"
        )
    );
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let desk = Desk::new();
    let mut items = example_items();
    // More than a pipe holds.
    for n in 0..2000 {
        items.push(json!({"identifier": "tpcc", "config": format!("step::system::big.table_{n}"), "enabled": true}));
    }
    desk.write("items.json", json!(items).to_string());
    let plan = [
        "plan",
        "--config",
        "items.json",
        "--identifier",
        "tpcc",
        "--pipeline",
        "jdbc_load",
        "--json",
    ];
    let mut child = desk
        .command(&plan)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let said = said(child.wait_with_output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}
