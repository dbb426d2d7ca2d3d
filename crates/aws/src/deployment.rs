//! The deployment of a stack: its resources, and the artifacts that were pushed last.

use crate::Aws;
use crate::error::{needed, refused};
use pipeline::deployment::Deployment;
use serde_json::{Value, json};
use tasks::port::{DeploymentError, Deployments, Objects};

/// What `headwater artifacts push` lists below the base of the artifacts, as `artifacts` of a deployment file has it.
pub const ARTIFACTS_FILE: &str = "artifacts.json";

impl Deployments for Aws {
    async fn deployment(&self) -> Result<Deployment, DeploymentError> {
        let resources = self.resources();
        let base = needed("S3", "HEADWATER_ARTIFACTS", &resources.artifacts)?;
        let artifacts = self
            .artifacts(&format!("{}/{ARTIFACTS_FILE}", base.trim_end_matches('/')))
            .await?;
        let region = self
            .config
            .region()
            .ok_or_else(|| refused("the SDK", "no region is configured".to_owned()))?;
        Deployment::parse(&value(resources, region.as_ref(), artifacts)).map_err(|problems| {
            DeploymentError::Faulty(problems.iter().map(ToString::to_string).collect())
        })
    }
}

impl Aws {
    async fn artifacts(&self, uri: &str) -> Result<Value, DeploymentError> {
        let faulty = |message: String| DeploymentError::Faulty(vec![message]);
        let bytes = self.read(uri).await?;
        let bytes =
            bytes.ok_or_else(|| faulty(format!("`{uri}` is missing: no artifacts were pushed")))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| faulty(format!("`{uri}` is not JSON: {error}")))
    }
}

/// The deployment file that the resources of a stack stand for.
fn value(resources: &crate::resources::Resources, region: &str, artifacts: Value) -> Value {
    let mut cluster = resources.cluster.clone();
    if let Value::Object(settings) = &mut cluster {
        settings.insert("subnets".to_owned(), json!(resources.subnets));
    }
    json!({
        "target": "aws",
        "name": resources.stack,
        "region": region,
        "ledger_table": resources.ledger_table,
        "zones": resources.zones,
        "jobs": format!("{}/jobs", resources.artifacts.trim_end_matches('/')),
        "notice_topic": resources.topic,
        "cluster": cluster,
        "artifacts": artifacts,
    })
}
