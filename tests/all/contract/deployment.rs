//! Where plans run: what a stack's resources and its pushed artifacts come to.

use super::InFolder;
use crate::moto;
use aws::Aws;
use aws::resources::Resources;
use pipeline::deployment::Deployment;
use pipeline::plan::Target;
use serde_json::{Value, json};
use tasks::port::{DeploymentError, Deployments, Objects, PortError};

fn artifact(name: &str) -> Value {
    let sum = "0a".repeat(32);
    json!({"uri": format!("s3://artifacts/{sum}/{name}"), "sha256": sum})
}

/// What `headwater artifacts push` lists.
fn artifacts() -> Value {
    json!({
        "bootstrap": artifact("bootstrap.sh"),
        "worker_aarch64": artifact("headwater-worker"),
        "worker_x86_64": artifact("headwater-worker"),
        "jdbc_load": artifact("jdbc_load.py"),
        "jdbc_driver": artifact("postgresql.jar"),
    })
}

/// A stack, and its deployment after this was put as the list of artifacts.
async fn deployment(list: &[u8]) -> (Aws, Result<Deployment, DeploymentError>) {
    let aws = moto::stack("deployment").await;
    let uri = format!("{}/artifacts.json", aws.resources().artifacts);
    aws.put(&uri, list).await.expect("put");
    let deployment = aws.deployment().await;
    (aws, deployment)
}

#[tokio::test]
async fn a_folder_and_the_simulator_have_a_deployment_of_their_own() {
    let world = sim::world::World::default();
    let folder = InFolder::new();
    let local = Deployments::deployment(&folder.local).await;
    for deployment in [world.deployment().await, local] {
        let deployment = deployment.expect("a deployment");
        assert_eq!((deployment.target, deployment.aws), (Target::Local, None));
    }
}

#[tokio::test]
async fn a_stack_with_artifacts_is_a_deployment() {
    let (aws, deployment) = deployment(artifacts().to_string().as_bytes()).await;
    let deployment = deployment.expect("a deployment");
    let stack = &aws.resources().stack;
    assert_eq!(deployment.target, Target::Aws);
    assert_eq!(&deployment.name, stack);
    assert_eq!(deployment.zones.silver, format!("s3://{stack}-silver"));
    assert_eq!(deployment.jobs, format!("s3://{stack}-artifacts/jobs"));
    let on_aws = deployment.aws.expect("it is on AWS");
    assert_eq!(on_aws.region, "eu-west-1");
    assert_eq!(on_aws.notice_topic.as_ref(), Some(&aws.resources().topic));
    assert_eq!(on_aws.cluster.subnets, ["subnet-0a", "subnet-0b"]);
    assert_eq!(on_aws.cluster.service_role, format!("{stack}-emr"));
    assert_eq!(on_aws.artifacts.worker_aarch64.sha256, "0a".repeat(32));
}

#[tokio::test]
async fn a_stack_without_artifacts_says_so() {
    let aws = moto::stack("deployment").await;
    let uri = format!("{}/artifacts.json", aws.resources().artifacts);
    let missing = format!("`{uri}` is missing: no artifacts were pushed");
    assert_eq!(
        aws.deployment().await,
        Err(DeploymentError::Faulty(vec![missing]))
    );
}

#[tokio::test]
async fn every_mistake_in_a_deployment_is_told_at_once() {
    let (_, torn) = deployment(b"{\"bootstrap\": ").await;
    let torn = torn.expect_err("not JSON").to_string();
    assert!(torn.contains("artifacts.json` is not JSON: EOF"), "{torn}");

    let mut list = artifacts();
    list["bootstrap"]["sha256"] = json!("short");
    list["worker_x86_64"] = Value::Null;
    let (aws, faulty) = deployment(list.to_string().as_bytes()).await;
    let faulty = faulty.expect_err("two mistakes").to_string();
    for path in ["artifacts.bootstrap.sha256", "artifacts.worker_x86_64"] {
        assert!(faulty.contains(path), "{faulty}");
    }

    let nameless = Resources {
        artifacts: String::new(),
        ..aws.resources().clone()
    };
    let config = moto::server().config("DEPLOYMENT").await;
    assert_eq!(
        Aws::new(config, nameless).deployment().await,
        Err(DeploymentError::Port(PortError::Refused {
            service: "S3",
            message: "`HEADWATER_ARTIFACTS` is not set".to_owned(),
        }))
    );
}
