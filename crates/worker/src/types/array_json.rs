//! Postgres's text of an array (`{1,NULL,"a b"}`) as JSON text (`[1,null,"a b"]`). Bounds that do not begin at 1 are left out.

use super::column::BadValue;
use super::{ArrayForm, ElementForm};

/// Arrays inside arrays: Postgres allows six.
const DEPTH_MAX: u32 = 6;

/// Writes the JSON of an array.
pub fn write(text: &[u8], form: ArrayForm, out: &mut Vec<u8>) -> Result<(), BadValue> {
    let mut reader = Reader {
        text,
        at: 0,
        delimiter: u8::try_from(form.delimiter).map_err(|_| BadValue::Malformed)?,
    };
    if reader.peek() == Some(b'[') {
        let equals = text.iter().position(|&byte| byte == b'=');
        reader.at = equals.ok_or(BadValue::Malformed)? + 1;
    }
    array(&mut reader, form.element, DEPTH_MAX, out)?;
    if reader.at == text.len() {
        Ok(())
    } else {
        Err(BadValue::Malformed)
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    delimiter: u8,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, BadValue> {
        let byte = self.peek().ok_or(BadValue::Malformed)?;
        self.at += 1;
        Ok(byte)
    }
}

fn array(
    reader: &mut Reader<'_>,
    element: ElementForm,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), BadValue> {
    if depth == 0 || reader.next()? != b'{' {
        return Err(BadValue::Malformed);
    }
    out.push(b'[');
    if reader.peek() == Some(b'}') {
        reader.at += 1;
        out.push(b']');
        return Ok(());
    }
    loop {
        match reader.peek() {
            Some(b'{') => array(reader, element, depth - 1, out)?,
            Some(b'"') => quoted(reader, element, out)?,
            _ => bare(reader, element, out)?,
        }
        match reader.next()? {
            b'}' => break,
            byte if byte == reader.delimiter => out.push(b','),
            _ => return Err(BadValue::Malformed),
        }
    }
    out.push(b']');
    Ok(())
}

fn bare(reader: &mut Reader<'_>, element: ElementForm, out: &mut Vec<u8>) -> Result<(), BadValue> {
    let rest = &reader.text[reader.at..];
    let end = rest
        .iter()
        .position(|&byte| byte == reader.delimiter || byte == b'}');
    let value = &rest[..end.ok_or(BadValue::Malformed)?];
    reader.at += value.len();
    if value.is_empty() {
        return Err(BadValue::Malformed);
    }
    if value == b"NULL" {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    scalar(value, element, out)
}

/// Between double quotes; a backslash takes the next character as it is.
fn quoted(
    reader: &mut Reader<'_>,
    element: ElementForm,
    out: &mut Vec<u8>,
) -> Result<(), BadValue> {
    reader.at += 1;
    let mut value = Vec::new();
    loop {
        match reader.next()? {
            b'"' => break,
            b'\\' => value.push(reader.next()?),
            byte => value.push(byte),
        }
    }
    scalar(&value, element, out)
}

fn scalar(value: &[u8], element: ElementForm, out: &mut Vec<u8>) -> Result<(), BadValue> {
    match element {
        ElementForm::Json => out.extend_from_slice(value),
        ElementForm::Number if !matches!(value, b"NaN" | b"Infinity" | b"-Infinity") => {
            out.extend_from_slice(value)
        }
        ElementForm::Boolean => out.extend_from_slice(match value {
            b"t" => b"true",
            b"f" => b"false",
            _ => return Err(BadValue::Malformed),
        }),
        ElementForm::Number | ElementForm::String => string(value, out),
    }
    Ok(())
}

fn string(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in value {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_become_json() {
        let form = |element, delimiter| ArrayForm { element, delimiter };
        for (text, form, expected) in [
            ("{}", form(ElementForm::Number, ','), Some("[]")),
            (
                "{1,NULL,-3}",
                form(ElementForm::Number, ','),
                Some("[1,null,-3]"),
            ),
            (
                "{1e+20,NaN}",
                form(ElementForm::Number, ','),
                Some("[1e+20,\"NaN\"]"),
            ),
            (
                "{{1,2},{3,4}}",
                form(ElementForm::Number, ','),
                Some("[[1,2],[3,4]]"),
            ),
            ("[0:1]={1,2}", form(ElementForm::Number, ','), Some("[1,2]")),
            (
                "{t,f,NULL}",
                form(ElementForm::Boolean, ','),
                Some("[true,false,null]"),
            ),
            (
                r#"{a,"b c","NULL","q\"\\"}"#,
                form(ElementForm::String, ','),
                Some(r#"["a","b c","NULL","q\"\\"]"#),
            ),
            (
                "{\"line\nbreak\u{1}\"}",
                form(ElementForm::String, ','),
                Some("[\"line\\nbreak\\u0001\"]"),
            ),
            (
                r#"{"{\"a\": 1}"}"#,
                form(ElementForm::Json, ','),
                Some(r#"[{"a": 1}]"#),
            ),
            (
                "{(1,1),(0,0);(2,2),(1,1)}",
                form(ElementForm::String, ';'),
                Some(r#"["(1,1),(0,0)","(2,2),(1,1)"]"#),
            ),
            ("{1,2", form(ElementForm::Number, ','), None),
            ("{1}x", form(ElementForm::Number, ','), None),
            ("{1,,2}", form(ElementForm::Number, ','), None),
            ("{{{{{{{1}}}}}}}", form(ElementForm::Number, ','), None),
            ("", form(ElementForm::Number, ','), None),
        ] {
            let mut out = Vec::new();
            let written = write(text.as_bytes(), form, &mut out).ok();
            let json = written.map(|()| String::from_utf8(out).unwrap());
            assert_eq!(json.as_deref(), expected, "{text}");
        }
    }
}
