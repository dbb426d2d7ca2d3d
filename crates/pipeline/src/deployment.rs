//! Where a plan will run, as a value: from stack outputs, from a file, or made for a folder on this machine.

use crate::path::{Zones, segment};
use crate::plan::{PipelineKind, Target};
use crate::problem::{Found, Problem, shown};
use crate::value::Fields;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A place to run in. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deployment {
    pub target: Target,
    /// Name of the stack; clusters and tags carry it.
    pub name: String,
    /// Base URIs of the zones, without identifier.
    pub zones: Zones,
    /// The folder against which relative scripts are resolved.
    pub jobs: String,
    /// `spark_conf` keys allowed beyond the list.
    pub spark_conf_opt_outs: BTreeSet<String>,
    /// `None` on the local target.
    pub aws: Option<Aws>,
}

/// What only AWS has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Aws {
    pub region: String,
    /// The DynamoDB table of the ledger, which workers claim their steps in.
    pub ledger_table: String,
    pub artifacts: Artifacts,
    pub cluster: ClusterSettings,
    /// The SNS topic of notices.
    pub notice_topic: Option<String>,
}

/// Code that clusters fetch, pinned by its sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Artifacts {
    pub bootstrap: Artifact,
    /// The worker for Graviton machines.
    pub worker_aarch64: Artifact,
    /// The worker for Intel and AMD machines.
    pub worker_x86_64: Artifact,
    /// The PySpark program that loads over JDBC.
    pub jdbc_load: Artifact,
    /// The Postgres JDBC driver.
    pub jdbc_driver: Artifact,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Artifact {
    pub uri: String,
    pub sha256: String,
}

/// What all clusters of a deployment share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterSettings {
    pub subnets: Vec<String>,
    pub service_role: String,
    pub instance_profiles: InstanceProfiles,
    pub security_configuration: Option<String>,
    pub log_uri: String,
    pub security_groups: Option<SecurityGroups>,
    /// The one machine of a native pipeline that has no `emr_config`.
    pub native_instance_type: String,
    pub native_release_label: String,
    pub tags: BTreeMap<String, String>,
}

/// What the machines of a cluster may do, by the zone that its pipeline writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceProfiles {
    /// Reads the secret, writes bronze.
    pub bronze: String,
    /// Reads bronze, writes silver.
    pub silver: String,
    /// Reads silver, writes gold.
    pub gold: String,
}

impl InstanceProfiles {
    pub fn of(&self, kind: PipelineKind) -> &str {
        match kind {
            PipelineKind::JdbcLoad => &self.bronze,
            PipelineKind::SeedHudi
            | PipelineKind::IncrementalHudi
            | PipelineKind::ContinuousHudi => &self.silver,
            PipelineKind::Custom => &self.gold,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecurityGroups {
    pub primary: String,
    pub core: String,
    pub service_access: Option<String>,
}

impl Deployment {
    /// The deployment of a state folder on this machine, given as an absolute path. Scripts are in `<home>/jobs`.
    pub fn local(home: &str) -> Self {
        let home = home.trim_end_matches('/');
        let zone = |name: &str| format!("file://{home}/lake/{name}");
        Self {
            target: Target::Local,
            name: "local".to_owned(),
            zones: Zones {
                bronze: zone("bronze"),
                silver: zone("silver"),
                gold: zone("gold"),
                runtime: zone("runtime"),
            },
            jobs: format!("file://{home}/jobs"),
            spark_conf_opt_outs: BTreeSet::new(),
            aws: None,
        }
    }

    /// The zones of one identifier.
    pub fn zones_of(&self, identifier: &str) -> Zones {
        let below = |base: &str| format!("{base}/{}", segment(identifier));
        Zones {
            bronze: below(&self.zones.bronze),
            silver: below(&self.zones.silver),
            gold: below(&self.zones.gold),
            runtime: below(&self.zones.runtime),
        }
    }

    /// Reads a deployment file; all mistakes at once.
    pub fn parse(value: &Value) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let parsed = parse(value, &mut problems);
        match parsed {
            Some(deployment) if problems.is_empty() => Ok(deployment),
            _ => Err(problems),
        }
    }
}

/// The attributes of the file: the path of the object with a dot at its end, the names in it.
pub const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("", KNOWN),
    ("zones.", KNOWN_ZONES),
    ("artifacts.", KNOWN_ARTIFACTS),
    ("artifacts.<name>.", KNOWN_ARTIFACT),
    ("cluster.", KNOWN_CLUSTER),
    ("cluster.instance_profiles.", KNOWN_PROFILES),
    ("cluster.security_groups.", KNOWN_GROUPS),
];
const KNOWN: &[&str] = &[
    "target",
    "name",
    "zones",
    "jobs",
    "spark_conf_opt_outs",
    "region",
    "ledger_table",
    "artifacts",
    "cluster",
    "notice_topic",
];
const KNOWN_AWS_ONLY: [&str; 5] = [
    "region",
    "ledger_table",
    "artifacts",
    "cluster",
    "notice_topic",
];
const KNOWN_CLUSTER: &[&str] = &[
    "subnets",
    "service_role",
    "instance_profiles",
    "security_configuration",
    "log_uri",
    "security_groups",
    "native_instance_type",
    "native_release_label",
    "tags",
];
const KNOWN_ZONES: &[&str] = &["bronze", "silver", "gold", "runtime"];
const KNOWN_ARTIFACTS: &[&str] = &[
    "bootstrap",
    "worker_aarch64",
    "worker_x86_64",
    "jdbc_load",
    "jdbc_driver",
];
const KNOWN_PROFILES: &[&str] = &["bronze", "silver", "gold"];
const KNOWN_ARTIFACT: &[&str] = &["uri", "sha256"];
const KNOWN_GROUPS: &[&str] = &["primary", "core", "service_access"];
/// How messages name the file.
const KEY: &str = "deployment";

fn parse(value: &Value, problems: &mut Vec<Problem>) -> Option<Deployment> {
    let Value::Object(map) = value else {
        let found = Found::Value(shown("", value));
        problems.push(Problem::new(KEY, "", found, "an object"));
        return None;
    };
    let fields = Fields::open(KEY, "", map, KNOWN, problems);
    let targets = [("aws", Target::Aws), ("local", Target::Local)];
    fields.require("target", "`aws` or `local`", problems);
    let target = fields.choice("target", &targets, problems);
    let name = required(&fields, "name", "the name of the stack", problems);
    let jobs = required(
        &fields,
        "jobs",
        "the URI of the folder of scripts",
        problems,
    );
    let zones = zones(&fields, problems);
    let opt_outs = fields.texts("spark_conf_opt_outs", problems);
    let aws = match target? {
        Target::Aws => Some(aws(&fields, problems)?),
        Target::Local => {
            for name in KNOWN_AWS_ONLY.iter().filter(|name| fields.has(name)) {
                problems.push(Problem::fault(KEY, *name, "belongs to target `aws` only"));
            }
            None
        }
    };
    Some(Deployment {
        target: target?,
        name: name?,
        zones: zones?,
        jobs: jobs?.trim_end_matches('/').to_owned(),
        spark_conf_opt_outs: opt_outs.unwrap_or_default().into_iter().collect(),
        aws,
    })
}

fn required(
    fields: &Fields,
    name: &str,
    expected: &str,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    fields.require(name, expected, problems);
    fields.name(name, problems)
}

fn zones(fields: &Fields, problems: &mut Vec<Problem>) -> Option<Zones> {
    fields.require(
        "zones",
        "the base URIs of bronze, silver, gold and runtime",
        problems,
    );
    let zones = fields.object("zones", KNOWN_ZONES, problems)?;
    let uris: Vec<Option<String>> = KNOWN_ZONES
        .iter()
        .map(|name| {
            let uri = required(&zones, name, "a base URI", problems)?;
            if !uri.starts_with("s3://") && !uri.starts_with("file:///") {
                let found = Value::String(uri);
                problems.push(zones.wrong(
                    name,
                    &found,
                    "a URI that begins with `s3://` or `file:///`",
                ));
                return None;
            }
            Some(uri.trim_end_matches('/').to_owned())
        })
        .collect();
    let mut uris = uris.into_iter();
    let mut next = || uris.next().flatten();
    let (bronze, silver, gold, runtime) = (next(), next(), next(), next());
    Some(Zones {
        bronze: bronze?,
        silver: silver?,
        gold: gold?,
        runtime: runtime?,
    })
}

fn aws(fields: &Fields, problems: &mut Vec<Problem>) -> Option<Aws> {
    let region = required(fields, "region", "an AWS region", problems);
    let ledger_table = required(
        fields,
        "ledger_table",
        "the name of a DynamoDB table",
        problems,
    );
    let artifacts = artifacts(fields, problems);
    let cluster = cluster(fields, problems);
    Some(Aws {
        notice_topic: fields.name("notice_topic", problems),
        region: region?,
        ledger_table: ledger_table?,
        artifacts: artifacts?,
        cluster: cluster?,
    })
}

fn artifacts(fields: &Fields, problems: &mut Vec<Problem>) -> Option<Artifacts> {
    fields.require("artifacts", "the code that clusters fetch", problems);
    let artifacts = fields.object("artifacts", KNOWN_ARTIFACTS, problems)?;
    let mut one = |name: &str| {
        artifacts.require(name, "`uri` and `sha256`", problems);
        artifact(&artifacts, name, problems)
    };
    let (bootstrap, worker_aarch64, worker_x86_64, jdbc_load, jdbc_driver) = (
        one("bootstrap"),
        one("worker_aarch64"),
        one("worker_x86_64"),
        one("jdbc_load"),
        one("jdbc_driver"),
    );
    Some(Artifacts {
        bootstrap: bootstrap?,
        worker_aarch64: worker_aarch64?,
        worker_x86_64: worker_x86_64?,
        jdbc_load: jdbc_load?,
        jdbc_driver: jdbc_driver?,
    })
}

fn artifact(fields: &Fields, name: &str, problems: &mut Vec<Problem>) -> Option<Artifact> {
    let artifact = fields.object(name, KNOWN_ARTIFACT, problems)?;
    let uri = required(&artifact, "uri", "an `s3://` URI", problems);
    let sha256 = required(&artifact, "sha256", "64 hexadecimal digits", problems)?;
    let fine = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if sha256.len() != 64 || !sha256.bytes().all(fine) {
        let found = Value::String(sha256);
        problems.push(artifact.wrong("sha256", &found, "64 hexadecimal digits, lower case"));
        return None;
    }
    Some(Artifact { uri: uri?, sha256 })
}

fn cluster(fields: &Fields, problems: &mut Vec<Problem>) -> Option<ClusterSettings> {
    fields.require("cluster", "what all clusters share", problems);
    let cluster = fields.object("cluster", KNOWN_CLUSTER, problems)?;
    cluster.require("subnets", "at least one subnet", problems);
    let subnets = cluster.texts("subnets", problems).unwrap_or_default();
    if cluster.has("subnets") && subnets.is_empty() {
        let path = cluster.path("subnets");
        problems.push(Problem::new(KEY, path, Found::Empty, "at least one subnet"));
    }
    let service_role = required(&cluster, "service_role", "EMR's service role", problems);
    let instance_profiles = instance_profiles(&cluster, problems);
    let log_uri = required(&cluster, "log_uri", "an `s3://` URI", problems);
    let native_instance_type = required(
        &cluster,
        "native_instance_type",
        "an EC2 instance type",
        problems,
    );
    let native_release_label = required(
        &cluster,
        "native_release_label",
        "a release such as `emr-7.13.0`",
        problems,
    );
    Some(ClusterSettings {
        subnets,
        service_role: service_role?,
        instance_profiles: instance_profiles?,
        security_configuration: cluster.name("security_configuration", problems),
        log_uri: log_uri?,
        security_groups: security_groups(&cluster, problems),
        native_instance_type: native_instance_type?,
        native_release_label: native_release_label?,
        tags: cluster.texts_by_name("tags", problems),
    })
}

fn instance_profiles(cluster: &Fields, problems: &mut Vec<Problem>) -> Option<InstanceProfiles> {
    cluster.require(
        "instance_profiles",
        "the machines' profiles for bronze, silver and gold",
        problems,
    );
    let profiles = cluster.object("instance_profiles", KNOWN_PROFILES, problems)?;
    let mut one = |name: &str| required(&profiles, name, "an instance profile", problems);
    let (bronze, silver, gold) = (one("bronze"), one("silver"), one("gold"));
    Some(InstanceProfiles {
        bronze: bronze?,
        silver: silver?,
        gold: gold?,
    })
}

fn security_groups(cluster: &Fields, problems: &mut Vec<Problem>) -> Option<SecurityGroups> {
    let groups = cluster.object("security_groups", KNOWN_GROUPS, problems)?;
    let primary = required(&groups, "primary", "a security group", problems);
    let core = required(&groups, "core", "a security group", problems);
    Some(SecurityGroups {
        primary: primary?,
        core: core?,
        service_access: groups.name("service_access", problems),
    })
}
