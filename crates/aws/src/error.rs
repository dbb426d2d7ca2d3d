//! What the SDK's answers mean for a caller: refused for now, refused for good, or not known.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use tasks::port::PortError;

/// Codes with which services ask for patience. Nothing was done.
const THROTTLED: [&str; 17] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "Throttled",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "TransactionConflictException",
    "ReplicatedWriteConflictException",
    "ExecutionLimitExceeded",
    "KMSThrottling",
    "KMSThrottlingException",
    "SlowDown",
    "OperationAborted",
];

/// Codes of answers that are no refusals, whatever their status: what was asked may still be done.
const UNKNOWN: [&str; 2] = ["TransactionInProgressException", "RequestTimeout"];

/// The error of a call. Its message has what the service says of it, and nothing of the request.
pub(crate) fn port_error<E>(service: &'static str, error: SdkError<E>) -> PortError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match &error {
        SdkError::ConstructionFailure(_) => refused(service, chain(&error)),
        SdkError::DispatchFailure(failure) if failure.is_user() => refused(service, chain(&error)),
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let said = match (code(&error), message(&error)) {
                (Some(code), Some(message)) => format!("{code}: {message}"),
                (Some(code), None) => format!("{code}: status {status}"),
                (None, _) => format!("status {status}: {}", chain(&error)),
            };
            answered(service, status, code(&error).unwrap_or_default(), said)
        }
        _ => PortError::Unknown {
            service,
            message: chain(&error),
        },
    }
}

/// What an error that a service answered with means. One that is not the caller's fault by its status (a good answer that
/// cannot be read is such a one) leaves open what was done.
fn answered(service: &'static str, status: u16, code: &str, message: String) -> PortError {
    if THROTTLED.contains(&code) || status == 429 {
        PortError::Throttled { service, message }
    } else if UNKNOWN.contains(&code) || !(400..500).contains(&status) {
        PortError::Unknown { service, message }
    } else {
        refused(service, message)
    }
}

/// The code of the service's error, when it answered with one.
pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
}

/// What the service says of its error.
pub(crate) fn message<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error
        .as_service_error()
        .and_then(ProvideErrorMetadata::message)
}

pub(crate) fn refused(service: &'static str, message: String) -> PortError {
    PortError::Refused { service, message }
}

/// An answer without something that it must have: nothing is known from it.
pub(crate) fn missing(service: &'static str, name: &str) -> PortError {
    PortError::Unknown {
        service,
        message: format!("its answer has no `{name}`"),
    }
}

/// The name of a resource, which is empty where its variable is not set.
pub(crate) fn needed<'a>(
    service: &'static str,
    variable: &str,
    name: &'a str,
) -> Result<&'a str, PortError> {
    match name {
        "" => Err(refused(service, format!("`{variable}` is not set"))),
        name => Ok(name),
    }
}

/// An error and what it came from, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::config::http::HttpResponse;
    use aws_sdk_dynamodb::error::{ConnectorError, ErrorMetadata};
    use aws_sdk_dynamodb::operation::get_item::GetItemError;
    use aws_smithy_types::body::SdkBody;

    fn service_error(status: u16, code: Option<&str>) -> SdkError<GetItemError> {
        let mut metadata = ErrorMetadata::builder().message("what it says");
        if let Some(code) = code {
            metadata = metadata.code(code);
        }
        let raw = HttpResponse::new(status.try_into().expect("a status"), SdkBody::empty());
        SdkError::service_error(GetItemError::generic(metadata.build()), raw)
    }

    /// `t`hrottled, `u`nknown, `r`efused.
    fn kind(error: &PortError) -> char {
        match error {
            PortError::Throttled { .. } => 't',
            PortError::Unknown { .. } => 'u',
            PortError::Refused { .. } => 'r',
        }
    }

    #[test]
    fn an_answer_means_try_later_or_look_or_never() {
        for (status, code, expected) in [
            (400, "ThrottlingException", 't'),
            (400, "ProvisionedThroughputExceededException", 't'),
            (400, "RequestLimitExceeded", 't'),
            (400, "TransactionConflictException", 't'),
            (400, "ExecutionLimitExceeded", 't'),
            (429, "Odd", 't'),
            (503, "SlowDown", 't'),
            (503, "ServiceUnavailable", 'u'),
            (500, "InternalServerError", 'u'),
            (500, "InternalFailure", 'u'),
            (400, "TransactionInProgressException", 'u'),
            (400, "RequestTimeout", 'u'),
            (400, "AccessDeniedException", 'r'),
            (403, "AccessDenied", 'r'),
            (403, "ExpiredToken", 'r'),
            (400, "ResourceNotFoundException", 'r'),
            (404, "NoSuchBucket", 'r'),
            (400, "ValidationException", 'r'),
            (400, "IdempotentParameterMismatchException", 'r'),
        ] {
            let error = port_error("DynamoDB", service_error(status, Some(code)));
            assert_eq!(kind(&error), expected, "{code}");
            assert!(
                error
                    .to_string()
                    .ends_with(&format!("{code}: what it says"))
            );
        }
        assert_eq!(kind(&port_error("S3", service_error(404, None))), 'r');
        assert_eq!(kind(&port_error("S3", service_error(502, None))), 'u');
        assert_eq!(kind(&port_error("S3", service_error(200, None))), 'u');
    }

    #[test]
    fn without_an_answer_only_what_was_never_sent_is_refused() {
        let raw = || HttpResponse::new(200.try_into().expect("a status"), SdkBody::empty());
        for (error, expected) in [
            (SdkError::construction_failure("no table"), 'r'),
            (
                SdkError::dispatch_failure(ConnectorError::user("no host".into())),
                'r',
            ),
            (
                SdkError::dispatch_failure(ConnectorError::io("reset".into())),
                'u',
            ),
            (
                SdkError::dispatch_failure(ConnectorError::timeout("slow".into())),
                'u',
            ),
            (SdkError::timeout_error("slow"), 'u'),
            (SdkError::response_error("half an answer", raw()), 'u'),
        ] {
            let told = chain(&error);
            let error = port_error::<GetItemError>("DynamoDB", error);
            assert_eq!(kind(&error), expected, "{told}");
            assert!(error.to_string().ends_with(&told));
        }
    }
}
