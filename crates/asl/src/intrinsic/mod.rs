//! Intrinsic functions: `States.Format('…', $.x)` and its like, read once at load.

mod functions;
mod parse;

use crate::context::Scope;
use crate::fault::Fault;
use crate::path::{Path, PathError};
use serde_json::Value;
use std::borrow::Cow;

/// A call with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    function: Function,
    arguments: Vec<Argument>,
}

#[derive(Debug, Clone, PartialEq)]
enum Argument {
    Literal(Value),
    Path(Path),
    Call(Call),
}

/// The functions that exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Format,
    StringToJson,
    JsonToString,
    Array,
    ArrayContains,
    ArrayGetItem,
    ArrayLength,
    ArrayPartition,
    ArrayRange,
    ArrayUnique,
    JsonMerge,
    MathAdd,
    StringSplit,
}

/// Why a text is not a call that can be made here; completes the sentence "found …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("the intrinsic function `{0}`, which does not exist or is not implemented")]
    Function(String),
    #[error("{found} arguments of `{function}`")]
    Arguments { function: String, found: usize },
    #[error("a broken call of an intrinsic function: {0}")]
    Broken(String),
    #[error(transparent)]
    Path(#[from] PathError),
}

impl Function {
    const NAMES: [(&'static str, Self); 13] = [
        ("States.Format", Self::Format),
        ("States.StringToJson", Self::StringToJson),
        ("States.JsonToString", Self::JsonToString),
        ("States.Array", Self::Array),
        ("States.ArrayContains", Self::ArrayContains),
        ("States.ArrayGetItem", Self::ArrayGetItem),
        ("States.ArrayLength", Self::ArrayLength),
        ("States.ArrayPartition", Self::ArrayPartition),
        ("States.ArrayRange", Self::ArrayRange),
        ("States.ArrayUnique", Self::ArrayUnique),
        ("States.JsonMerge", Self::JsonMerge),
        ("States.MathAdd", Self::MathAdd),
        ("States.StringSplit", Self::StringSplit),
    ];

    /// The least and the greatest number of arguments.
    fn arguments(self) -> (usize, usize) {
        match self {
            Self::Format => (1, usize::MAX),
            Self::Array => (0, usize::MAX),
            Self::StringToJson | Self::JsonToString | Self::ArrayLength | Self::ArrayUnique => {
                (1, 1)
            }
            Self::ArrayContains
            | Self::ArrayGetItem
            | Self::ArrayPartition
            | Self::MathAdd
            | Self::StringSplit => (2, 2),
            Self::ArrayRange | Self::JsonMerge => (3, 3),
        }
    }
}

impl Call {
    pub fn parse(text: &str) -> Result<Self, CallError> {
        parse::call(text)
    }

    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, Fault> {
        let arguments = self
            .arguments
            .iter()
            .map(|argument| argument.evaluate(scope))
            .collect::<Result<Vec<_>, _>>()?;
        functions::apply(self.function, &arguments)
    }
}

impl Argument {
    fn evaluate<'v>(&'v self, scope: &Scope<'v>) -> Result<Cow<'v, Value>, Fault> {
        match self {
            Self::Literal(value) => Ok(Cow::Borrowed(value)),
            Self::Path(path) => path
                .find(scope)
                .ok_or_else(|| Fault::intrinsic(format!("nothing is at `{path}`"))),
            Self::Call(call) => call.evaluate(scope).map(Cow::Owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Context, Identity};
    use crate::moment::Moment;
    use serde_json::json;

    fn evaluate(text: &str, input: &Value) -> Result<Value, String> {
        let call = Call::parse(text).map_err(|error| error.to_string())?;
        let identity = Identity {
            id: "id".into(),
            name: "name".into(),
            machine_id: "machine".into(),
            machine_name: "machine".into(),
            input: Value::Null,
            started: Moment(0),
        };
        let context = Context {
            identity: &identity,
            state: "S",
            entered: Moment(0),
            retry_count: 0,
        };
        call.evaluate(&Scope { input, context })
            .map_err(|fault| fault.cause)
    }

    #[test]
    fn functions_give_what_the_service_documents() {
        let input =
            json!({"n": 3, "s": "a,b", "list": [1, 2, 2], "o": {"k": 1}, "j": "{\"x\":[1]}"});
        let cases = [
            (
                "States.Format('{} of {}', $.n, $$.Execution.Name)",
                json!("3 of name"),
            ),
            (r"States.Format('it\'s \{{}\}', $.n)", json!("it's {3}")),
            ("States.Format('{}', $.o)", json!("{\"k\":1}")),
            ("States.StringToJson($.j)", json!({"x": [1]})),
            ("States.JsonToString($.o)", json!("{\"k\":1}")),
            (
                "States.Array($.n, 'x', null, true)",
                json!([3, "x", null, true]),
            ),
            ("States.ArrayContains($.list, 2)", json!(true)),
            ("States.ArrayGetItem($.list, 1)", json!(2)),
            ("States.ArrayLength($.list)", json!(3)),
            ("States.ArrayPartition($.list, 2)", json!([[1, 2], [2]])),
            ("States.ArrayRange(1, 9, 4)", json!([1, 5, 9])),
            ("States.ArrayUnique($.list)", json!([1, 2])),
            (
                "States.JsonMerge($.o, States.StringToJson('{\"k\":2}'), false)",
                json!({"k": 2}),
            ),
            ("States.MathAdd($.n, -1)", json!(2)),
            ("States.StringSplit($.s, ',')", json!(["a", "b"])),
        ];
        for (text, expected) in cases {
            assert_eq!(evaluate(text, &input), Ok(expected), "{text}");
        }
    }

    #[test]
    fn bad_calls_are_refused_and_bad_values_fail() {
        let input = json!({"n": 3, "s": "x"});
        let cases = [
            ("States.UUID()", "not implemented"),
            ("States.Hash('a', 'MD5')", "not implemented"),
            ("States.MathAdd($.n)", "1 arguments"),
            ("States.Format('a'", "broken"),
            ("States.Format('a') b", "broken"),
            ("States.Format('{} {}', $.n)", "placeholders"),
            ("States.MathAdd($.n, $.s)", "number"),
            ("States.StringToJson($.s)", "JSON"),
            ("States.ArrayLength($.none)", "nothing is at"),
            ("States.ArrayGetItem(States.Array(), 0)", "no item"),
        ];
        for (text, expected) in cases {
            let error = evaluate(text, &input).err().unwrap_or_default();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
