//! Tables of every kind, and those that are refused before anything is written.

use super::*;

#[tokio::test]
async fn every_kind_of_table_is_loaded_whole() {
    let scene = Scene::new(
        "CREATE TABLE empty (id int, note text);
         CREATE TABLE no_key (x int); INSERT INTO no_key SELECT 1 FROM generate_series(1, 7);
         CREATE TABLE parent (id int, at date, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE first PARTITION OF parent FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
         CREATE TABLE rest (gone int, note text, at date NOT NULL, id int NOT NULL) PARTITION BY LIST (id);
         ALTER TABLE rest DROP COLUMN gone;
         ALTER TABLE parent ATTACH PARTITION rest FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
         CREATE TABLE rest_one PARTITION OF rest FOR VALUES IN (1);
         CREATE TABLE rest_other PARTITION OF rest DEFAULT;
         INSERT INTO parent SELECT n, date '2025-01-01' + n, 'n' || n FROM generate_series(1, 600) AS n;
         INSERT INTO parent VALUES (1, '2026-12-31', 'one');
         CREATE TABLE base (id int); CREATE TABLE derived (extra text) INHERITS (base);
         INSERT INTO base SELECT generate_series(1, 5); INSERT INTO derived SELECT generate_series(6, 9), 'x';
         CREATE VIEW seen AS SELECT id, note FROM parent WHERE id <= 10;
         CREATE MATERIALIZED VIEW kept AS SELECT id FROM parent;
         CREATE TABLE generated (a int, twice int GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO generated VALUES (4);
         CREATE TABLE dropped (a int, b int, c text); INSERT INTO dropped VALUES (1, 2, 'c'); ALTER TABLE dropped DROP COLUMN b;",
    )
    .await;
    for (table, rows, columns) in [
        ("empty", 0, "id note"),
        ("no_key", 7, "x"),
        ("parent", 601, "id at note"),
        ("base", 9, "id"),
        ("seen", 11, "id note"),
        ("kept", 601, "id"),
        ("generated", 1, "a"),
        ("dropped", 1, "a c"),
    ] {
        let report = scene
            .load("a", table)
            .await
            .unwrap_or_else(|failure| panic!("{table}: {failure:?}"));
        assert_eq!(report.rows, rows, "{table}");
        let read = scene.rows("a", &Scene::table(table));
        assert_eq!(read.num_rows() as u64, rows, "{table}");
        let schema = read.schema();
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(
            names.join(" "),
            format!("Op {columns} trx_seq _hoodie_is_deleted"),
            "{table}"
        );
        let noted = report.notes.iter().any(|note| note.contains("`twice`"));
        assert_eq!(noted, table == "generated", "{:?}", report.notes);
    }
}

#[tokio::test]
async fn odd_names_survive() {
    let scene = Scene::new(
        r#"CREATE SCHEMA "Odd ""schema""/%";
           CREATE TABLE "Odd ""schema""/%"."Order lines.2026" ("a b" int, """q""" int, "Ünï'\" int, "select" int, "Id" int, "id" int);
           INSERT INTO "Odd ""schema""/%"."Order lines.2026" VALUES (1, 2, 3, 4, 5, 6);"#,
    )
    .await;
    let table = TableName {
        schema: "Odd \"schema\"/%".to_owned(),
        table: "Order lines.2026".to_owned(),
    };
    scene
        .load_watched("a", &table, &Free, &Silent)
        .await
        .expect("a load");
    let rows = scene.rows("a", &table);
    let values: Vec<(String, String)> = rows.schema().fields()[1..7]
        .iter()
        .zip(rows.columns()[1..7].iter())
        .map(|(field, column)| {
            (
                field.name().clone(),
                arrow::util::display::array_value_to_string(column, 0).expect("text"),
            )
        })
        .collect();
    let expected = [
        ("a b", "1"),
        ("\"q\"", "2"),
        ("Ünï'\\", "3"),
        ("select", "4"),
        ("Id", "5"),
        ("id", "6"),
    ];
    assert_eq!(
        values,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused_before_anything_is_written() {
    let scene = Scene::new(
        "CREATE TABLE types (id int, a gtsvector, b text, c pg_node_tree);
         CREATE TABLE ours (id int, \"op\" text, \"TRX_SEQ\" text);
         CREATE TABLE none ();
         CREATE TABLE ranges (at timestamp); INSERT INTO ranges VALUES ('294276-12-31');",
    )
    .await;
    for (table, error, named) in [
        (
            "types",
            "TypeUnsupported",
            vec!["`a`", "`gtsvector`", "`c`", "`pg_node_tree`"],
        ),
        (
            "ours",
            "ColumnReserved",
            vec!["`op`", "`Op`", "`TRX_SEQ`", "`trx_seq`"],
        ),
        ("none", "NoColumns", vec!["`public.none`"]),
        ("missing", "TableMissing", vec!["`public.missing`"]),
        (
            "ranges",
            "ValueUnsupported",
            vec!["`at`", "`public.ranges`"],
        ),
    ] {
        let failure = scene.load("a", table).await.expect_err(table);
        assert_eq!(failure.error, error, "{failure:?}");
        for name in named {
            assert!(failure.message.contains(name), "{name}: {failure:?}");
        }
        assert!(failure.hint.is_some(), "{failure:?}");
        assert!(scene.files("a", &Scene::table(table)).is_empty(), "{table}");
    }
    let any = scene.loads(&Scene::table("types"));
    assert!(!any.exists(), "preflight made `{}`", any.display());
}

#[tokio::test]
async fn a_load_without_every_row_of_its_snapshot_fails() {
    let scene = Scene::new(
        "CREATE TABLE parent (id int) PARTITION BY LIST (id); CREATE TABLE one PARTITION OF parent FOR VALUES IN (1);
         CREATE TABLE two (id int); INSERT INTO parent VALUES (1), (1); INSERT INTO two VALUES (2);",
    )
    .await;
    let table = Scene::table("parent");
    let meanwhile = AfterSnapshot {
        database: &scene.database,
        sql: "ALTER TABLE public.parent ATTACH PARTITION public.two FOR VALUES IN (2)",
    };
    let failure = scene
        .load_watched("a", &table, &Free, &meanwhile)
        .await
        .expect_err("a row is missing");
    assert_eq!(failure.error, "RowsDiffer");
    assert!(
        failure.message.ends_with("2 read, 2 sent, 3 counted"),
        "{failure:?}"
    );
    assert!(scene.files("a", &table).is_empty());
}
