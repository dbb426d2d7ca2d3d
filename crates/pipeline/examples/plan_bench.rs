//! How long planning takes, and that it grows with the tables and not faster. Prints one JSON object.
//!
//! `cargo run --release -q -p pipeline --example plan_bench`

use pipeline::deployment::Deployment;
use pipeline::plan::Engine;
use pipeline::planning::{PlanRequest, plan};
use serde_json::{Value, json};
use std::time::Instant;

/// Plans of one kind; the fastest counts, because other programs only make it slower.
const REPETITIONS: usize = 7;
const FEW_TABLES: usize = 1_000;
const MANY_TABLES: usize = 10_000;

fn main() {
    let pipelines = ["jdbc_load", "seed_hudi", "incremental_hudi"];
    let mut figures = serde_json::Map::new();
    for engine in [Engine::Native, Engine::Spark] {
        for pipeline in pipelines {
            let few = fastest(FEW_TABLES, pipeline, engine);
            let many = fastest(MANY_TABLES, pipeline, engine);
            let name = format!("{pipeline}_{engine:?}").to_lowercase();
            figures.insert(
                name,
                json!({
                    format!("ms_{FEW_TABLES}_tables"): rounded(few),
                    format!("ms_{MANY_TABLES}_tables"): rounded(many),
                    "ratio_per_table": rounded(many / few * FEW_TABLES as f64 / MANY_TABLES as f64),
                }),
            );
        }
    }
    println!("{:#}", Value::Object(figures));
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Milliseconds of one plan.
fn fastest(tables: usize, pipeline: &str, engine: Engine) -> f64 {
    let items = items(tables);
    let deployment = Deployment::local("/srv/headwater");
    let request = PlanRequest {
        identifier: "shop".to_owned(),
        pipeline: pipeline.to_owned(),
        engine: Some(engine),
    };
    let mut times: Vec<f64> = (0..REPETITIONS)
        .map(|_| {
            let start = Instant::now();
            let plan = plan(&items, &deployment, &request).expect("the items are right");
            let time = start.elapsed().as_secs_f64() * 1000.0;
            assert_eq!(plan.steps.len(), tables);
            time
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[0]
}

/// One identifier with this many tables, every second one partitioned, as existing items are spelt.
fn items(tables: usize) -> Vec<Value> {
    let mut items = vec![json!({
        "identifier": "shop", "config": "database::config", "secret": "shop/db", "target_db_name": "lake",
        "target_table_prefix": "shop",
    })];
    for pipeline in ["jdbc_load", "seed_hudi", "incremental_hudi"] {
        items
            .push(json!({"identifier": "shop", "config": format!("pipeline::system::{pipeline}")}));
    }
    for n in 0..tables {
        let mut item = json!({
            "identifier": "shop", "config": format!("step::system::public.table_{n}"), "enabled": "true",
            "hudi_config": {"primary_key": "id,line", "watermark": "trx_seq", "is_partitioned": "false"},
            "spark_conf": {"seed_hudi": {"spark.sql.shuffle.partitions": "64"}},
        });
        if n % 2 == 0 {
            item["hudi_config"]["is_partitioned"] = json!(true);
            item["hudi_config"]["partition_path"] = json!("day");
        }
        items.push(item);
    }
    items
}
