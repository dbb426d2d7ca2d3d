//! What IAM must allow for each port method. The calls are shown by what the adapters are recorded to send; what AWS asks beside
//! a call is from its documentation.

use serde::Serialize;

/// The IAM actions of one port method.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Needs {
    /// The port and its method; each kind of write of a transaction by itself.
    pub method: &'static str,
    /// One for each kind of call that the adapter makes.
    pub calls: &'static [&'static str],
    /// Asked of the caller beside the call: for what the request contains, or what lies behind the resource.
    pub beside: &'static [&'static str],
}

const fn needs(method: &'static str, calls: &'static [&'static str]) -> Needs {
    Needs {
        method,
        calls,
        beside: &[],
    }
}

pub const NEEDS: [Needs; 22] = [
    needs("config.items", &["dynamodb:Query"]),
    Needs {
        // Who may not list a bucket is refused an object that is not there.
        beside: &["s3:ListBucket"],
        ..needs("deployment", &["s3:GetObject"])
    },
    needs("ledger.get", &["dynamodb:GetItem"]),
    needs("ledger.list", &["dynamodb:Query"]),
    needs("ledger.put", &["dynamodb:PutItem"]),
    needs("ledger.delete", &["dynamodb:DeleteItem"]),
    needs("ledger.check", &["dynamodb:ConditionCheckItem"]),
    needs("objects.read", &["s3:GetObject"]),
    needs("objects.put", &["s3:PutObject"]),
    needs("objects.list", &["s3:ListBucket"]),
    Needs {
        // Tags, policies and roles in the request are asked for as if they were given one by one.
        beside: &[
            "elasticmapreduce:AddTags",
            "elasticmapreduce:PutAutoTerminationPolicy",
            "elasticmapreduce:PutManagedScalingPolicy",
            "iam:PassRole",
        ],
        ..needs("clusters.create", &["elasticmapreduce:RunJobFlow"])
    },
    needs("clusters.list", &["elasticmapreduce:ListClusters"]),
    needs("clusters.describe", &["elasticmapreduce:DescribeCluster"]),
    needs("clusters.add_steps", &["elasticmapreduce:AddJobFlowSteps"]),
    needs("clusters.list_steps", &["elasticmapreduce:ListSteps"]),
    needs("clusters.cancel_steps", &["elasticmapreduce:CancelSteps"]),
    needs(
        "clusters.terminate",
        &["elasticmapreduce:TerminateJobFlows"],
    ),
    needs("executions.start", &["states:StartExecution"]),
    needs("executions.describe", &["states:DescribeExecution"]),
    needs(
        "executions.list",
        &["states:DescribeExecution", "states:ListExecutions"],
    ),
    Needs {
        // The topic is encrypted: who publishes uses its key.
        beside: &["kms:Decrypt", "kms:GenerateDataKey"],
        ..needs("mail.send", &["sns:Publish"])
    },
    needs("mail.confirmed", &["sns:GetTopicAttributes"]),
];
