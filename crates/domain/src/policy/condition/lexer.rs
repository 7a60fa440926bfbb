//! Splits a condition's text into the tokens of CEL (its specification, section Syntax). Bytes literals are not
//! supported.

use super::syntax::{Fault, Span};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Int(u64),
    Uint(u64),
    Double(f64),
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// The longer ones first.
const SIGNS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "-", "+", "*", "/", "%", "?", ":", "(", ")", "[", "]",
    "{", "}", ",", ".",
];

/// All tokens, with the place of each; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Span)>, Fault> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        let token = lexer.token()?;
        let end = token == Token::End;
        tokens.push((token, Span { start, end: lexer.at }));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let taken = self.rest().get(..bytes).unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        self.take(rest.find(|c| !belongs(c)).unwrap_or(rest.len()))
    }

    fn fault_from<T>(&self, start: usize, message: impl Into<String>) -> Result<T, Fault> {
        let end = self
            .at
            .max(start + self.text.get(start..).and_then(|t| t.chars().next()).map_or(0, char::len_utf8));
        Err(Fault::new(Span { start, end }, message))
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}'));
            if !self.rest().starts_with("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn token(&mut self) -> Result<Token, Fault> {
        let (rest, start) = (self.rest(), self.at);
        let mut following = rest.chars();
        let (first, second) = match (following.next(), following.next()) {
            (None, _) => return Ok(Token::End),
            (Some(first), second) => (first, second.unwrap_or('\0')),
        };
        if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
            return self.number();
        }
        if matches!(first, '"' | '\'') {
            return self.string(false);
        }
        if matches!((first, second), ('r' | 'R', '"' | '\'')) {
            self.take(1);
            return self.string(true);
        }
        if matches!((first, second), ('b' | 'B', '"' | '\'')) {
            self.take(1);
            return self.fault_from(start, "bytes are not supported; write a text without the `b`");
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(Token::Name(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_').to_owned()));
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            self.take(sign.len());
            return Ok(Token::Sign(sign));
        }
        let hint = match first {
            '=' => "; did you mean `==`?",
            '&' => "; did you mean `&&`?",
            '|' => "; did you mean `||`?",
            '`' => "; write a field like that as `args[\"…\"]`",
            _ => "",
        };
        self.take(first.len_utf8());
        self.fault_from(start, format!("`{}` is not understood here{hint}", first.escape_debug()))
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        let too_large = "the number is too large";
        if self.rest().starts_with("0x") || self.rest().starts_with("0X") {
            self.take(2);
            let digits = self.take_while(|c| c.is_ascii_hexdigit());
            let Ok(value) = u64::from_str_radix(digits, 16) else {
                return self
                    .fault_from(start, if digits.is_empty() { "`0x` needs digits" } else { too_large });
            };
            return self.unsigned_or(start, value);
        }
        self.take_while(|c| c.is_ascii_digit());
        let mut is_double = false;
        if self.rest().starts_with('.') && self.rest().chars().nth(1).is_some_and(|c| c.is_ascii_digit()) {
            is_double = true;
            self.take(1);
            self.take_while(|c| c.is_ascii_digit());
        }
        if self.rest().starts_with(['e', 'E']) {
            let sign = usize::from(matches!(self.rest().chars().nth(1), Some('+' | '-')));
            if !self.rest().chars().nth(1 + sign).is_some_and(|c| c.is_ascii_digit()) {
                self.take(1 + sign);
                return self.fault_from(start, "the exponent needs digits");
            }
            is_double = true;
            self.take(1 + sign);
            self.take_while(|c| c.is_ascii_digit());
        }
        let written = self.text.get(start..self.at).unwrap_or_default();
        if is_double {
            return match written.parse::<f64>() {
                Ok(value) if value.is_finite() => self.end_of_number(start, Token::Double(value)),
                _ => self.fault_from(start, too_large),
            };
        }
        match written.parse::<u64>() {
            Ok(value) => self.unsigned_or(start, value),
            Err(_) => self.fault_from(start, too_large),
        }
    }

    fn unsigned_or(&mut self, start: usize, value: u64) -> Result<Token, Fault> {
        if self.rest().starts_with(['u', 'U']) {
            self.take(1);
            return self.end_of_number(start, Token::Uint(value));
        }
        self.end_of_number(start, Token::Int(value))
    }

    /// A name that begins in a number is neither.
    fn end_of_number(&mut self, start: usize, token: Token) -> Result<Token, Fault> {
        if self.take_while(|c| c.is_ascii_alphanumeric() || c == '_').is_empty() {
            return Ok(token);
        }
        let written = self.text.get(start..self.at).unwrap_or_default();
        self.fault_from(start, format!("`{written}` is neither a number nor a name"))
    }

    fn string(&mut self, raw: bool) -> Result<Token, Fault> {
        let start = self.at;
        let quote = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quote| self.rest().starts_with(quote))
            .unwrap_or("'");
        self.take(quote.len());
        let mut text = String::new();
        loop {
            if self.rest().starts_with(quote) {
                self.take(quote.len());
                return Ok(Token::Text(text));
            }
            let Some(next) = self.rest().chars().next() else {
                return self.fault_from(start, format!("the text has no end; close it with `{quote}`"));
            };
            if next == '\n' && quote.len() == 1 {
                return self
                    .fault_from(start, format!("the text has no end on its line; close it with `{quote}`"));
            }
            if next == '\\' && !raw {
                text.push(self.escape()?);
            } else {
                self.take(next.len_utf8());
                text.push(next);
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        self.take(1);
        let letter = self.rest().chars().next().unwrap_or('\0');
        let (skip, digits, radix) = match letter {
            'x' | 'X' => (1, 2, 16),
            'u' => (1, 4, 16),
            'U' => (1, 8, 16),
            '0'..='3' => (0, 3, 8),
            _ => {
                self.take(letter.len_utf8());
                return match letter {
                    'a' => Ok('\u{7}'),
                    'b' => Ok('\u{8}'),
                    'f' => Ok('\u{c}'),
                    'n' => Ok('\n'),
                    'r' => Ok('\r'),
                    't' => Ok('\t'),
                    'v' => Ok('\u{b}'),
                    '\\' | '?' | '"' | '\'' | '`' => Ok(letter),
                    _ => self.fault_from(start, "this escape is not known; write `\\\\` for one backslash"),
                };
            }
        };
        self.take(skip);
        let written = self.take(digits);
        let known = (written.len() == digits && written.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| u32::from_str_radix(written, radix).ok().and_then(char::from_u32))
            .flatten();
        match known {
            Some(character) => Ok(character),
            None => self.fault_from(start, "this escape stands for no character"),
        }
    }
}
