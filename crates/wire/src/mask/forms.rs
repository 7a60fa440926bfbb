//! The forms that a secret takes in answers: not what can be imagined, but what encoders in use write. Each entry of
//! the table says whose it is.

use std::collections::HashSet;

use base64::{
    Engine as _,
    alphabet::{self, Alphabet},
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};

/// How many bytes the forms beyond the plain ones may have together. Only secrets of many kilobytes full of
/// signs get there; the forms that are left out then are those at the end of [`of`].
const FURTHER_BYTES_MAX: usize = 1 << 20;

/// Every form of `secret`, each once. The first is the secret itself.
pub(super) fn of(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Forms::default();
    forms.add(secret.to_vec());
    // HTTP libraries write the names of headers so, and host names are.
    forms.add(secret.to_ascii_lowercase());
    for digits in [LOWER, UPPER] {
        forms.add(hex(secret, digits).into_bytes());
    }
    let (standard, url_safe) = (base64(secret, &alphabet::STANDARD), base64(secret, &alphabet::URL_SAFE));
    for form in standard.iter().chain(&url_safe) {
        forms.add(form.clone().into_bytes());
    }
    forms.add_all(percent(secret));
    let text = std::str::from_utf8(secret).ok();
    if let Some(text) = text {
        forms.add_all(json(text));
    }
    // The `+`, `/` and `=` of base64 are signs to be escaped, too.
    for form in &standard {
        forms.add_all(json(form));
        forms.add_all(percent(form.as_bytes()));
    }

    // Many servers take the bytes of a header for ISO 8859-1, so each becomes a character.
    let latin = (!secret.is_ascii()).then(|| secret.iter().copied().map(char::from).collect::<String>());
    if let Some(latin) = &latin {
        forms.add_further(latin.clone());
        json(latin).for_each(|form| forms.add_further(form));
    }
    for text in text.into_iter().chain(latin.as_deref()) {
        html(text).for_each(|form| forms.add_further(form));
        // JSON as a string in JSON, which is how MCP tools like to answer.
        JSON.iter().for_each(|style| forms.add_further(style.write(&style.write(text))));
    }
    // A URL as a parameter of a URL.
    PERCENT.iter().for_each(|style| forms.add_further(style.write(style.write(secret).as_bytes())));
    forms.list
}

#[derive(Default)]
struct Forms {
    list: Vec<Vec<u8>>,
    known: HashSet<Vec<u8>>,
    further_bytes: usize,
}

impl Forms {
    fn add(&mut self, form: Vec<u8>) {
        if self.known.insert(form.clone()) {
            self.list.push(form);
        }
    }

    fn add_all(&mut self, forms: impl Iterator<Item = String>) {
        forms.for_each(|form| self.add(form.into_bytes()));
    }

    fn add_further(&mut self, form: String) {
        let form = form.into_bytes();
        if !self.known.contains(&form) && self.further_bytes + form.len() <= FURTHER_BYTES_MAX {
            self.further_bytes += form.len();
            self.add(form);
        }
    }
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Two digits a byte.
fn hex(bytes: &[u8], digits: &[u8; 16]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        push_hex(&mut out, u32::from(*byte), 2, digits);
    }
    out
}

/// The last `count` hexadecimal digits of `number`.
fn push_hex(out: &mut String, number: u32, count: u32, digits: &[u8; 16]) {
    for place in (0..count).rev() {
        let digit = digits.get((number >> (4 * place) & 15) as usize);
        out.extend(digit.copied().map(char::from));
    }
}

/// What base64 (RFC 4648) makes of `secret` at the start, in the middle or at the end of a longer text: for each
/// of the three ways that it can lie across groups of three bytes, the characters that come from it alone, and
/// the same with the last character that an end right behind it gives. Padding tells nothing and stays.
fn base64(secret: &[u8], alphabet: &Alphabet) -> Vec<String> {
    let engine = GeneralPurpose::new(alphabet, NO_PAD);
    let mut forms = Vec::new();
    for before in 0..3_usize {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(secret);
        let encoded = engine.encode(&bytes);
        // A character says six bits. Those that hold bits of the bytes in front, or of what may follow, go.
        let first = (8 * before).div_ceil(6);
        let end = 8 * bytes.len() / 6;
        forms.extend(encoded.get(first..end).map(str::to_owned));
        forms.extend(encoded.get(first..).map(str::to_owned));
    }
    forms
}

/// Percent-encoding (RFC 3986 section 2.1). Letters and digits always stay.
struct Percent {
    /// What stays besides.
    kept: &'static [u8],
    /// Whether a space is written `+`, as forms do.
    plus: bool,
    digits: &'static [u8; 16],
}

#[rustfmt::skip]
const PERCENT: [Percent; 20] = {
    const fn style(kept: &'static [u8], plus: bool, digits: &'static [u8; 16]) -> Percent {
        Percent { kept, plus, digits }
    }
    [
        style(b"-._~", false, UPPER), style(b"-._~", false, LOWER),                // RFC 3986: unreserved
        style(b"-._~", true, UPPER), style(b"-._~", true, LOWER),                  // Go, Python `quote_plus`
        style(b"*-._", true, UPPER), style(b"*-._", true, LOWER),                  // WHATWG forms, Java
        style(b"-._", true, UPPER), style(b"-._", true, LOWER),                    // PHP `urlencode`
        style(b"-_.!~*'()", false, UPPER), style(b"-_.!~*'()", false, LOWER),      // JavaScript, components
        style(b"-_.!*()", true, UPPER), style(b"-_.!*()", true, LOWER),            // .NET
        style(b"-_.~/", false, UPPER), style(b"-_.~/", false, LOWER),              // Python `quote`
        style(b"-_.~$&+:=@", false, UPPER), style(b"-_.~$&+:=@", false, LOWER),    // Go, segments of a path
        style(b"-._~!$&'()*+,;=:@/?", false, UPPER), style(b"-._~!$&'()*+,;=:@/?", false, LOWER), // RFC 3986: query
        style(b"-_.!~*'();,/?:@&=+$#", false, UPPER), style(b"-_.!~*'();,/?:@&=+$#", false, LOWER), // JavaScript, whole
    ]
};

impl Percent {
    fn write(&self, bytes: &[u8]) -> String {
        let mut out = String::with_capacity(3 * bytes.len());
        for &byte in bytes {
            match byte {
                b' ' if self.plus => out.push('+'),
                _ if byte.is_ascii_alphanumeric() || self.kept.contains(&byte) => out.push(char::from(byte)),
                _ => {
                    out.push('%');
                    push_hex(&mut out, u32::from(byte), 2, self.digits);
                }
            }
        }
        out
    }
}

fn percent(bytes: &[u8]) -> impl Iterator<Item = String> {
    PERCENT.iter().map(|style| style.write(bytes))
}

/// What stands between the quotes of a JSON string (RFC 8259 section 7).
struct Json {
    /// What is written as `\uXXXX`, besides other control characters.
    escaped: &'static str,
    /// Whether a solidus is written `\/`.
    solidus: bool,
    /// Whether all that is not ASCII is written as `\uXXXX`.
    ascii: bool,
    digits: &'static [u8; 16],
}

#[rustfmt::skip]
const JSON: [Json; 22] = {
    const fn style(escaped: &'static str, solidus: bool, ascii: bool, digits: &'static [u8; 16]) -> Json {
        Json { escaped, solidus, ascii, digits }
    }
    const LINES: &str = "\u{2028}\u{2029}";
    [
        style("", false, false, LOWER), style("", false, false, UPPER),                    // JavaScript, Rust, Java
        style("", false, true, LOWER), style("", false, true, UPPER),                      // Jackson, Ruby
        style("\x7f", false, true, LOWER), style("\x7f", false, true, UPPER),              // Python
        style("", true, false, LOWER), style("", true, false, UPPER),                      // Foundation, old Gson
        style("", true, true, LOWER), style("", true, true, UPPER),                        // PHP
        style("<>&'\"", true, true, LOWER), style("<>&'\"", true, true, UPPER),            // PHP, for HTML
        style("<>&\u{2028}\u{2029}", false, false, LOWER), style("<>&\u{2028}\u{2029}", false, false, UPPER), // Go, Rails
        style("<>&\u{8}\u{c}\u{2028}\u{2029}", false, false, LOWER), style(LINES, false, false, LOWER), // Go before 1.22
        style("<>&='\u{2028}\u{2029}", false, false, LOWER), style("<>&='", false, true, UPPER), // Gson
        style("<>&'\"+`\x7f", false, true, UPPER), style("<>&'\"+`\x7f", false, true, LOWER), // .NET
        style("\u{8}\t\n\u{c}\r", false, false, LOWER), style("\u{8}\t\n\u{c}\r", false, true, UPPER), // no short forms
    ]
};

impl Json {
    fn write(&self, text: &str) -> String {
        let mut out = String::with_capacity(2 * text.len());
        for char in text.chars() {
            let short = match char {
                _ if self.escaped.contains(char) => None,
                '"' => Some("\\\""),
                '\\' => Some("\\\\"),
                '/' if self.solidus => Some("\\/"),
                '\u{8}' => Some("\\b"),
                '\t' => Some("\\t"),
                '\n' => Some("\\n"),
                '\u{c}' => Some("\\f"),
                '\r' => Some("\\r"),
                '\0'..='\x1f' => None,
                _ if self.ascii && !char.is_ascii() => None,
                _ => {
                    out.push(char);
                    continue;
                }
            };
            match short {
                Some(short) => out.push_str(short),
                None => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        out.push_str("\\u");
                        push_hex(&mut out, u32::from(*unit), 4, self.digits);
                    }
                }
            }
        }
        out
    }
}

fn json(text: &str) -> impl Iterator<Item = String> {
    JSON.iter().map(|style| style.write(text))
}

/// How the two quotes are written in HTML and XML. `&`, `<` and `>` have one way.
const HTML_QUOTES: [(&str, &str); 6] = [
    ("&quot;", "&#39;"),  // JavaScript, Ruby, Rust
    ("&quot;", "&#x27;"), // Python
    ("&quot;", "&#039;"), // PHP
    ("&quot;", "&apos;"), // XML
    ("&#34;", "&#39;"),   // Go
    ("\"", "'"),          // between tags, where quotes need not be escaped
];

fn html(text: &str) -> impl Iterator<Item = String> {
    HTML_QUOTES.iter().map(move |(quote, apostrophe)| {
        let mut out = String::with_capacity(2 * text.len());
        for char in text.chars() {
            match char {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str(quote),
                '\'' => out.push_str(apostrophe),
                _ => out.push(char),
            }
        }
        out
    })
}
