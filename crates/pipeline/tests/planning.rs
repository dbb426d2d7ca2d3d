//! Plans of the example: golden files, and the same bytes whatever the order of items.

use pipeline::deployment::Deployment;
use pipeline::item::read_items;
use pipeline::plan::{Engine, Plan};
use pipeline::planning::{PlanRequest, followed, plan};
use pipeline::problem::Problem;
use serde_json::Value;

const CONFIG: &str = include_str!("../../../examples/tpcc/config.json");
const DEPLOYMENT: &str = include_str!("../../../examples/tpcc/deployment.json");
const PIPELINES: [&str; 5] = [
    "jdbc_load",
    "seed_hudi",
    "incremental_hudi",
    "continuous_hudi",
    "revenue",
];

fn items() -> Vec<Value> {
    read_items(CONFIG).expect("the example's items")
}

fn deployments() -> [(&'static str, Deployment); 2] {
    let aws = serde_json::from_str(DEPLOYMENT).expect("the example's deployment");
    let aws = Deployment::parse(&aws).expect("the example's deployment");
    [
        ("aws", aws),
        ("local", Deployment::local("/home/ops/.headwater")),
    ]
}

fn request(pipeline: &str, engine: Engine) -> PlanRequest {
    PlanRequest {
        identifier: "tpcc".to_owned(),
        pipeline: pipeline.to_owned(),
        engine: Some(engine),
    }
}

#[test]
fn the_example_plans_as_its_golden_files_say() {
    for (target, deployment) in deployments() {
        for pipeline in PIPELINES {
            for (name, engine) in [("spark", Engine::Spark), ("native", Engine::Native)] {
                let plan = plan(&items(), &deployment, &request(pipeline, engine)).unwrap();
                let mut settings = insta::Settings::clone_current();
                settings.set_snapshot_path("golden");
                settings.set_prepend_module_to_snapshot(false);
                settings.set_omit_expression(true);
                let again: Plan = serde_json::from_slice(&plan.canonical_bytes()).unwrap();
                assert_eq!(again, plan);
                settings.bind(|| {
                    insta::assert_json_snapshot!(format!("{pipeline}_{name}_{target}"), plan);
                });
            }
        }
    }
}

#[test]
fn a_plan_is_refused_when_code_that_it_needs_was_not_pushed() {
    let [(_, mut deployment), _] = deployments();
    let artifacts = &mut deployment.aws.as_mut().expect("of AWS").artifacts;
    artifacts.worker_aarch64 = None;
    artifacts.worker_x86_64 = None;
    artifacts.jdbc_driver = None;
    let missing = |pipeline, engine| -> Vec<String> {
        let problems = plan(&items(), &deployment, &request(pipeline, engine)).unwrap_err();
        let line = |problem: &Problem| problem.to_string().lines().next().unwrap().to_owned();
        problems.iter().map(line).collect()
    };
    let worker =
        "deployment: `artifacts.worker_aarch64` is missing, and machine `m7g.xlarge` needs it";
    assert_eq!(missing("jdbc_load", Engine::Native), [worker]);
    let driver =
        "deployment: `artifacts.jdbc_driver` is missing, and a load by the spark engine needs it";
    assert_eq!(missing("jdbc_load", Engine::Spark), [worker, driver]);
    assert_eq!(missing("seed_hudi", Engine::Spark), [worker]);
}

#[test]
fn capture_follows_the_tables_of_the_example_that_become_lake_tables() {
    let deployment = Deployment::local("/home/ops/.headwater");
    let followed = followed(&items(), &deployment, "tpcc").unwrap();
    assert_eq!(followed.source.secret, "headwater/tpcc");
    assert_eq!(followed.source.capture.slot, "headwater_tpcc");
    let seed = plan(&items(), &deployment, &request("seed_hudi", Engine::Native)).unwrap();
    let planned: Vec<&str> = seed.steps.iter().map(|step| step.name.as_str()).collect();
    let names: Vec<String> = followed
        .tables
        .iter()
        .map(|table| table.name.to_string())
        .collect();
    assert_eq!(names, planned);
    let unknown =
        pipeline::planning::followed(&items(), &deployment, "tpc").unwrap_err()[0].to_string();
    assert!(unknown.contains("did you mean `tpcc`?"), "{unknown}");
}
