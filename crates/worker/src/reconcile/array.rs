//! An array as Postgres prints it, as the JSON text that the lake holds. Bounds are left out.

use super::rule::{Element, Malformed};

/// Writes `{a,"b c",NULL}` as `["a","b c",null]`. One walk over the text: brackets nest by themselves.
pub fn to_json(
    text: &[u8],
    element: Element,
    delimiter: u8,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut rest = without_bounds(text)?;
    let mut depth = 0u32;
    let mut quoted = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'{' => {
                depth += 1;
                out.push(b'[');
                after
            }
            b'}' => {
                depth = depth.checked_sub(1).ok_or(Malformed)?;
                out.push(b']');
                after
            }
            _ if depth == 0 => return Err(Malformed),
            b'"' => {
                let after = unquote(after, &mut quoted)?;
                value(&quoted, element, out);
                after
            }
            _ if byte == delimiter => {
                out.push(b',');
                after
            }
            _ => {
                let is_end = |&byte: &u8| byte == delimiter || byte == b'}';
                let end = rest.iter().position(is_end).ok_or(Malformed)?;
                match &rest[..end] {
                    b"NULL" => out.extend_from_slice(b"null"),
                    bare => value(bare, element, out),
                }
                &rest[end..]
            }
        };
    }
    if depth == 0 { Ok(()) } else { Err(Malformed) }
}

/// `[0:1]={1,2}` begins with bounds when they are not the usual ones.
fn without_bounds(text: &[u8]) -> Result<&[u8], Malformed> {
    match text.first() {
        Some(b'{') => Ok(text),
        Some(b'[') => {
            let equals = text.iter().position(|&byte| byte == b'=');
            Ok(&text[equals.ok_or(Malformed)? + 1..])
        }
        _ => Err(Malformed),
    }
}

/// Takes an element whose first quote was read; gives what comes behind its last.
fn unquote<'a>(text: &'a [u8], value: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    value.clear();
    let mut rest = text;
    loop {
        let (&byte, after) = rest.split_first().ok_or(Malformed)?;
        rest = after;
        match byte {
            b'"' => return Ok(rest),
            b'\\' => {
                let (&escaped, after) = rest.split_first().ok_or(Malformed)?;
                value.push(escaped);
                rest = after;
            }
            _ => value.push(byte),
        }
    }
}

fn value(text: &[u8], element: Element, out: &mut Vec<u8>) {
    match (element, text) {
        (Element::Boolean, b"t") => out.extend_from_slice(b"true"),
        (Element::Boolean, b"f") => out.extend_from_slice(b"false"),
        (Element::Json, json) => out.extend_from_slice(json),
        // JSON has no such numbers.
        (Element::Number, b"NaN" | b"Infinity" | b"-Infinity") => json_string(text, out),
        (Element::Number, number) => out.extend_from_slice(number),
        (Element::Boolean | Element::Text, text) => json_string(text, out),
    }
}

fn json_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(escape.as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_json() {
        for (text, element, expected) in [
            ("{}", Element::Number, Some("[]")),
            ("{1,NULL,NaN}", Element::Number, Some("[1,null,\"NaN\"]")),
            ("[0:1]={{1},{2}}", Element::Number, Some("[[1],[2]]")),
            ("{t,f,NULL}", Element::Boolean, Some("[true,false,null]")),
            (
                r#"{a,"NULL","b,\"c\\}"}"#,
                Element::Text,
                Some(r#"["a","NULL","b,\"c\\}"]"#),
            ),
            (
                r#"{"{\"a\": [1]}"}"#,
                Element::Json,
                Some(r#"[{"a": [1]}]"#),
            ),
            ("{\"\u{1}\n\"}", Element::Text, Some("[\"\\u0001\\n\"]")),
            ("{1", Element::Number, None),
            ("{\"1}", Element::Text, None),
            ("1}", Element::Number, None),
            ("", Element::Number, None),
        ] {
            let mut out = Vec::new();
            let written = to_json(text.as_bytes(), element, b',', &mut out);
            let json = written.ok().map(|()| String::from_utf8(out).unwrap());
            assert_eq!(json.as_deref(), expected, "{text}");
        }
    }
}
