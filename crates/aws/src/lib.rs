//! The ports on the AWS SDK, and what the binary of each Lambda shares. No decisions.

pub mod resources;
mod error;
mod attribute;
mod ledger;
mod config;
mod objects;
pub mod deployment;
mod cluster_request;
mod clusters;
mod executions;
pub mod actions;
mod mail;
pub mod secret;
mod metrics;
pub mod lambda;
mod log;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use pipeline::time::Timestamp;
use resources::Resources;
use std::sync::OnceLock;
use std::time::Duration;
use tasks::port::Clock;

/// A task has 120 s: a call that meets every limit here still leaves it time to say so.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(12);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(40);
const ATTEMPTS_MAX: u32 = 5;

/// How the SDK finds region, credentials and endpoint (the usual variables), and how patient it is. Calls that must not be
/// repeated by themselves say so where they are made.
pub fn loader() -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::adaptive().with_max_attempts(ATTEMPTS_MAX))
        .timeout_config(timeouts)
}

/// All ports of one stack. A client is made when it is first used, and once: a binary that never calls a service does not
/// contain its client.
pub struct Aws {
    config: SdkConfig,
    resources: Resources,
    dynamodb: OnceLock<aws_sdk_dynamodb::Client>,
    emr: OnceLock<aws_sdk_emr::Client>,
    s3: OnceLock<aws_sdk_s3::Client>,
    secrets_manager: OnceLock<aws_sdk_secretsmanager::Client>,
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
            secrets_manager: OnceLock::new(),
            sfn: OnceLock::new(),
            sns: OnceLock::new(),
        }
    }

    pub async fn load(resources: Resources) -> Self {
        Self::new(loader().load().await, resources)
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

    fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        self.dynamodb
            .get_or_init(|| aws_sdk_dynamodb::Client::new(&self.config))
    }

    fn s3(&self) -> &aws_sdk_s3::Client {
        self.s3
            .get_or_init(|| aws_sdk_s3::Client::new(&self.config))
    }

    fn secrets_manager(&self) -> &aws_sdk_secretsmanager::Client {
        self.secrets_manager
            .get_or_init(|| aws_sdk_secretsmanager::Client::new(&self.config))
    }

    fn sns(&self) -> &aws_sdk_sns::Client {
        self.sns
            .get_or_init(|| aws_sdk_sns::Client::new(&self.config))
    }
}

impl Clock for Aws {
    fn now(&self) -> Timestamp {
        Timestamp(chrono::Utc::now().timestamp_millis())
    }
}
