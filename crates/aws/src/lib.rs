//! The ports on the AWS SDK, and what the binary of each Lambda shares. No decisions.

pub mod resources;
mod error;
mod cluster_request;
mod clusters;
mod executions;
mod metrics;
pub mod lambda;
mod log;

use aws_config::SdkConfig;
use pipeline::time::Timestamp;
use resources::Resources;
use std::sync::OnceLock;
use tasks::port::Clock;

/// All ports of one stack. A client is made when it is first used, and once: a binary that never calls a service does not
/// contain its client.
pub struct Aws {
    config: SdkConfig,
    resources: Resources,
    dynamodb: OnceLock<aws_sdk_dynamodb::Client>,
    emr: OnceLock<aws_sdk_emr::Client>,
    s3: OnceLock<aws_sdk_s3::Client>,
    sfn: OnceLock<aws_sdk_sfn::Client>,
    sns: OnceLock<aws_sdk_sns::Client>,
}

impl Aws {
    pub fn new(config: SdkConfig, resources: Resources) -> Self {
        Self {
            config,
            resources,
            dynamodb: OnceLock::new(),
            emr: OnceLock::new(),
            s3: OnceLock::new(),
            sfn: OnceLock::new(),
            sns: OnceLock::new(),
        }
    }

    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    fn emr(&self) -> &aws_sdk_emr::Client {
        self.emr
            .get_or_init(|| aws_sdk_emr::Client::new(&self.config))
    }

    fn sfn(&self) -> &aws_sdk_sfn::Client {
        self.sfn
            .get_or_init(|| aws_sdk_sfn::Client::new(&self.config))
    }
}

impl Clock for Aws {
    fn now(&self) -> Timestamp {
        Timestamp(chrono::Utc::now().timestamp_millis())
    }
}
