//! The headers that repeat arguments of a tool in the modern era (2026-07-28, Streamable HTTP, "Custom Headers from Tool
//! Parameters"). The tool's schema says which; nothing that a schema refers to is ever looked up.

mod decimal;

use std::borrow::Cow;
use std::collections::HashSet;

use super::header::PARAM_PREFIX;
use super::headers::{HeaderMismatch, decoded};
use crate::json::{Kind, Raw};
use crate::malformed::Excerpt;
use decimal::same_number;

/// The keyword of a schema that names the header.
pub const PARAM_ANNOTATION: &str = "x-mcp-header";

/// The types of properties that may have it. A `number` is written in too many ways.
const TYPES: [&str; 3] = ["boolean", "integer", "string"];

/// Keywords of JSON Schema 2020-12 whose value is a schema, a list or a map of schemas.
const APPLICATORS: [&str; 19] = [
    "$defs",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "definitions",
    "dependentSchemas",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Those of them whose value is a map of schemas: its keys are names, not keywords.
const MAPS: [&str; 4] = ["$defs", "definitions", "dependentSchemas", "patternProperties"];

/// An argument that is repeated in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedArgument {
    /// The header's name, in lower case.
    pub header: String,
    /// The keys that lead to the argument, through objects.
    pub path: Vec<String>,
}

/// A schema has annotations that mean nothing: clients of the modern era must not offer the tool, and its arguments are
/// repeated nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnnotation {
    /// It stands where no chain of `properties` leads from the root.
    #[error("`x-mcp-header` stands where no chain of `properties` leads")]
    OutOfReach,
    /// It is no name that a header can have (RFC 9110 §5.6.2).
    #[error("`x-mcp-header` must be the name of a header")]
    Name,
    /// Its property is neither text nor integer nor boolean.
    #[error("`x-mcp-header` is for properties of type `string`, `integer` or `boolean`")]
    Type,
    /// Two properties name the same header; case does not count.
    #[error("two properties have the same `x-mcp-header`")]
    Twice,
}

/// The arguments that a tool's `inputSchema` wants in headers too, in the order of the schema.
///
/// # Errors
/// See [`InvalidAnnotation`]. A schema that is no object has no annotations.
pub fn repeated_arguments(schema: Raw<'_>) -> Result<Vec<RepeatedArgument>, InvalidAnnotation> {
    let mut found = Vec::new();
    // Most schemas have none, and are not walked.
    if schema.text().contains(PARAM_ANNOTATION) || schema.text().contains('\\') {
        walk(schema, Some(&mut Vec::new()), &mut found)?;
    }
    let mut names = HashSet::new();
    match found.iter().all(|argument| names.insert(argument.header.as_str())) {
        true => Ok(found),
        false => Err(InvalidAnnotation::Twice),
    }
}

/// Looks at a schema and those inside it. `path` leads to it through `properties` alone; none where something else does.
/// The strict reader bounds the depth.
fn walk(
    schema: Raw<'_>,
    mut path: Option<&mut Vec<String>>,
    found: &mut Vec<RepeatedArgument>,
) -> Result<(), InvalidAnnotation> {
    for (key, value) in schema.members() {
        let key = key.decoded();
        if key == PARAM_ANNOTATION {
            let path =
                path.as_deref().filter(|path| !path.is_empty()).ok_or(InvalidAnnotation::OutOfReach)?;
            found.push(RepeatedArgument { header: header_of(schema, value)?, path: path.clone() });
        } else if key == "properties" {
            for (name, property) in value.members() {
                match path.as_deref_mut() {
                    Some(path) => {
                        path.push(name.decoded().into_owned());
                        walk(property, Some(path), found)?;
                        path.pop();
                    }
                    None => walk(property, None, found)?,
                }
            }
        } else if MAPS.contains(&key.as_ref()) {
            value.members().try_for_each(|(_, inside)| walk(inside, None, found))?;
        } else if APPLICATORS.contains(&key.as_ref()) {
            walk(value, None, found)?;
            value.elements().try_for_each(|inside| walk(inside, None, found))?;
        }
    }
    Ok(())
}

fn header_of(property: Raw<'_>, annotation: Raw<'_>) -> Result<String, InvalidAnnotation> {
    let name = annotation.as_str().ok_or(InvalidAnnotation::Name)?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(InvalidAnnotation::Name);
    }
    let kind = property.get("type").and_then(Raw::as_str);
    match kind.is_some_and(|kind| TYPES.contains(&kind.as_ref())) {
        true => Ok(format!("{PARAM_PREFIX}{}", name.to_ascii_lowercase())),
        false => Err(InvalidAnnotation::Type),
    }
}

/// Checks that the headers of a `tools/call` repeat these arguments, and say nothing of an argument that is not there
/// or is `null`. Headers that repeat nothing known are not looked at.
///
/// `values` gives all values of the header with that name, in lower case. A header that came twice is refused.
///
/// # Errors
/// See [`HeaderMismatch`].
pub fn check_params<'h, V: Iterator<Item = &'h [u8]>>(
    repeated: &[RepeatedArgument],
    arguments: Option<Raw<'_>>,
    values: impl Fn(&str) -> V,
) -> Result<(), HeaderMismatch> {
    repeated.iter().try_for_each(|argument| {
        let mut values = values(&argument.header);
        match (values.next(), values.next()) {
            (value, None) => argument.check(arguments, value),
            _ => Err(HeaderMismatch::Invalid { header: argument.header.clone().into() }),
        }
    })
}

impl RepeatedArgument {
    /// The argument as its header says it, before [`super::encode_header`]. None where it is not there or `null`, or no
    /// single value: that has no spelling as a header, so no header can repeat it.
    pub fn value_in<'a>(&self, arguments: Raw<'a>) -> Option<Cow<'a, str>> {
        let raw = self.path.iter().try_fold(arguments, |raw, key| raw.get(key))?;
        match raw.kind() {
            Kind::String => raw.as_str(),
            Kind::Number | Kind::Bool => Some(Cow::Borrowed(raw.text())),
            Kind::Null | Kind::Array | Kind::Object => None,
        }
    }

    fn check(&self, arguments: Option<Raw<'_>>, value: Option<&[u8]>) -> Result<(), HeaderMismatch> {
        let header = || Cow::Owned(self.header.clone());
        let body = arguments.and_then(|arguments| self.value_in(arguments));
        let (value, body) = match (value, body) {
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err(HeaderMismatch::Missing { header: header() }),
            (Some(_), None) => return Err(HeaderMismatch::Unfounded { header: header() }),
            (Some(value), Some(body)) => (value, body),
        };
        let said = decoded(value, true).ok_or_else(|| HeaderMismatch::Invalid { header: header() })?;
        if said == body || same_number(&said, &body) {
            return Ok(());
        }
        Err(HeaderMismatch::Differs { header: header(), said: Excerpt::of(&said), body: Excerpt::of(&body) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Limits, read};

    fn raw(text: &str) -> Raw<'_> {
        read(text.as_bytes(), &Limits::of_bytes(1 << 16)).unwrap()
    }

    fn found(schema: &str) -> Result<Vec<(String, String)>, InvalidAnnotation> {
        let found = repeated_arguments(raw(schema))?;
        Ok(found.into_iter().map(|argument| (argument.path.join("."), argument.header)).collect())
    }

    const SCHEMA: &str = r#"{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "limit":{"type":"integer","x-mcp-header":"Limit"},
        "dry":{"type":"boolean","x-mcp-header":"Dry"},
        "where":{"type":"object","properties":{"zone":{"x-mcp-\u0068eader":"Zone","type":"string"}}},
        "x-mcp-header":{"type":"string"},
        "free":{"type":"object","default":{"x-mcp-header":""},"enum":[{"x-mcp-header":7}]}}}"#;

    #[test]
    fn properties_say_which_arguments_stand_in_headers() {
        let expected = [
            ("region", "mcp-param-region"),
            ("limit", "mcp-param-limit"),
            ("dry", "mcp-param-dry"),
            ("where.zone", "mcp-param-zone"),
        ];
        let expected = expected.map(|(path, header)| (path.to_owned(), header.to_owned()));
        assert_eq!(found(SCHEMA).unwrap(), expected);
        for without in ["{}", "true", r#"{"properties":{"a":{"type":"string","description":"header"}}}"#] {
            assert_eq!(found(without), Ok(Vec::new()), "{without}");
        }
    }

    #[test]
    fn annotations_that_mean_nothing_are_told() {
        let property = |inside: &str| format!(r#"{{"properties":{{"a":{{{inside}}}}}}}"#);
        let annotated = r#"{"type":"string","x-mcp-header":"A"}"#;
        for name in [r#""""#, r#""a b""#, r#""a:""#, r#""é""#, r#""a\n""#, "1", "null"] {
            let schema = property(&format!(r#""type":"string","x-mcp-header":{name}"#));
            assert_eq!(found(&schema), Err(InvalidAnnotation::Name), "{name}");
        }
        for kind in [r#""number""#, r#""object""#, r#"["string"]"#, "null"] {
            let schema = property(&format!(r#""x-mcp-header":"A","type":{kind}"#));
            assert_eq!(found(&schema), Err(InvalidAnnotation::Type), "{kind}");
        }
        assert_eq!(found(&property(r#""x-mcp-header":"A""#)), Err(InvalidAnnotation::Type));
        for schema in [
            r#"{"x-mcp-header":"A","type":"string"}"#.to_owned(),
            format!(r#"{{"items":{annotated}}}"#),
            format!(r#"{{"anyOf":[{{}},{annotated}]}}"#),
            format!(r#"{{"$defs":{{"items":{annotated}}}}}"#),
            property(&format!(r#""items":{{"properties":{{"b":{annotated}}}}}"#)),
            property(&format!(r#""then":{{"properties":{{"b":{annotated}}}}}"#)),
        ] {
            assert_eq!(found(&schema), Err(InvalidAnnotation::OutOfReach), "{schema}");
        }
        let twice = r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#;
        assert_eq!(found(twice), Err(InvalidAnnotation::Twice));
    }

    #[test]
    fn what_a_schema_refers_to_is_not_looked_up() {
        let schema = r##"{"$ref":"https://example.com/a","properties":{"a":{"$ref":"#/$defs/header"}},"$defs":{"header":{}}}"##;
        assert_eq!(found(schema), Ok(Vec::new()));
    }

    fn checked(arguments: &str, headers: &[(&str, &[u8])]) -> Result<(), String> {
        let repeated = repeated_arguments(raw(SCHEMA)).unwrap();
        let values = |name: &str| {
            let name = name.to_owned();
            headers.iter().filter(move |(key, _)| *key == name).map(|(_, value)| *value)
        };
        check_params(&repeated, Some(raw(arguments)), values).map_err(|mismatch| mismatch.to_string())
    }

    #[test]
    fn headers_that_repeat_the_arguments_pass() {
        for (arguments, headers) in [
            ("{}", &[][..]),
            (r#"{"region":null,"limit":null}"#, &[]),
            (r#"{"region":"eu"}"#, &[("mcp-param-region", &b" eu\t"[..])]),
            (r#"{"region":"\u0065u"}"#, &[("mcp-param-region", b"=?base64?ZXU=?=")]),
            (r#"{"region":""}"#, &[("mcp-param-region", b"")]),
            (r#"{"region":"=?base64?ZXU="}"#, &[("mcp-param-region", b"=?base64?ZXU=")]),
            (r#"{"limit":42}"#, &[("mcp-param-limit", b"42.0")]),
            (r#"{"limit":4.2e1}"#, &[("mcp-param-limit", b"42")]),
            (r#"{"limit":12345678901234567890123}"#, &[("mcp-param-limit", b"12345678901234567890123")]),
            (r#"{"dry":true}"#, &[("mcp-param-dry", b"true")]),
            (r#"{"where":{"zone":"b"}}"#, &[("mcp-param-zone", b"b")]),
            (r#"{"where":"zone"}"#, &[]),
            (r#"{"region":["eu"]}"#, &[]),
            ("{}", &[("mcp-param-else", b"1"), ("mcp-param-else", b"2")]),
        ] {
            assert_eq!(checked(arguments, headers), Ok(()), "{arguments} {headers:?}");
        }
    }

    #[test]
    fn headers_that_say_something_else_are_refused() {
        for (arguments, headers, expected) in [
            (r#"{"region":"eu"}"#, &[][..], "header `mcp-param-region` is missing"),
            (
                r#"{"region":"eu"}"#,
                &[("mcp-param-region", &b"us"[..])],
                "header `mcp-param-region` says `us`, the body says `eu`",
            ),
            (
                r#"{"region":"eu"}"#,
                &[("mcp-param-region", b"EU")],
                "header `mcp-param-region` says `EU`, the body says `eu`",
            ),
            ("{}", &[("mcp-param-region", b"eu")], "header `mcp-param-region` says what the body does not"),
            (
                r#"{"region":null}"#,
                &[("mcp-param-region", b"null")],
                "header `mcp-param-region` says what the body does not",
            ),
            (
                r#"{"region":{}}"#,
                &[("mcp-param-region", b"{}")],
                "header `mcp-param-region` says what the body does not",
            ),
            (
                r#"{"region":"eu"}"#,
                &[("mcp-param-region", b"=?base64?ZXU?=")],
                "header `mcp-param-region` has an invalid value",
            ),
            (
                r#"{"region":"eu"}"#,
                &[("mcp-param-region", b"=?base64?Z!U=?=")],
                "header `mcp-param-region` has an invalid value",
            ),
            (
                r#"{"region":"eu"}"#,
                &[("mcp-param-region", b"eu"), ("mcp-param-region", b"eu")],
                "header `mcp-param-region` has an invalid value",
            ),
            (
                r#"{"limit":42}"#,
                &[("mcp-param-limit", b"042")],
                "header `mcp-param-limit` says `042`, the body says `42`",
            ),
            (
                r#"{"limit":12345678901234567890123}"#,
                &[("mcp-param-limit", b"12345678901234567890124")],
                "header `mcp-param-limit` says `12345678901234567890124`, the body says `12345678901234567890123`",
            ),
            (
                r#"{"dry":true}"#,
                &[("mcp-param-dry", b"True")],
                "header `mcp-param-dry` says `True`, the body says `true`",
            ),
        ] {
            assert_eq!(checked(arguments, headers), Err(expected.to_owned()), "{arguments} {headers:?}");
        }
    }
}
