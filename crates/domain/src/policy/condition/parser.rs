//! Parses a condition by the grammar of CEL (its specification, section Syntax) and resolves every name, so that
//! mistakes are found when the policy is loaded.

use super::{
    functions::{Function, Style},
    lexer::{Token, tokens},
    syntax::{Each, Expr, Fault, Kind, Literal, Operator, Root, Span},
};
use crate::yaml::did_you_mean;

/// The longest condition, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 2048;
/// The most levels of parts inside parts.
const DEPTH_MAX: usize = 40;

/// Words that CEL keeps for itself.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    if text.len() > TEXT_BYTES_MAX {
        let all = Span { start: 0, end: text.len() };
        return Err(Fault::new(
            all,
            format!("a condition has at most {TEXT_BYTES_MAX} bytes; split the rule"),
        ));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, variables: Vec::new() };
    let expr = parser.expression()?;
    match parser.token() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("an operator such as `&&`, or the end")),
    }
}

struct Parser {
    tokens: Vec<(Token, Span)>,
    at: usize,
    /// How deep the parser is inside itself.
    depth: usize,
    /// The variables of the macros around, outermost first.
    variables: Vec<String>,
}

impl Parser {
    fn token(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Span {
        let end = self.tokens.last().map_or(Span { start: 0, end: 0 }, |(_, span)| *span);
        self.tokens.get(self.at).map_or(end, |(_, span)| *span)
    }

    /// The place of what was read last.
    fn last_span(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(self.span(), |(_, span)| *span)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.token(), Token::Sign(here) if *here == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let is = self.is(sign);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.token() {
            Token::End => "the end".to_owned(),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::Name(name) => format!("`{name}`"),
            Token::Text(_) => "a text".to_owned(),
            _ => "a number".to_owned(),
        };
        Fault::new(self.span(), format!("`when` cannot be read: found {found}, wanted {wanted}"))
    }

    fn expression(&mut self) -> Result<Expr, Fault> {
        self.deeper(|parser| {
            let condition = parser.any()?;
            if !parser.take("?") {
                return Ok(condition);
            }
            let then = parser.any()?;
            parser.expect(":")?;
            let otherwise = parser.expression()?;
            let span = condition.span.to(otherwise.span);
            let (condition, then, otherwise) = (Box::new(condition), Box::new(then), Box::new(otherwise));
            node(span, Kind::Choose { condition, then, otherwise })
        })
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<Expr, Fault>) -> Result<Expr, Fault> {
        if self.depth >= DEPTH_MAX {
            return Err(too_deep(self.span()));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn any(&mut self) -> Result<Expr, Fault> {
        self.chain("||", Kind::Any, |parser| parser.chain("&&", Kind::All, |parser| parser.operators(0)))
    }

    fn chain(
        &mut self,
        sign: &str,
        kind: fn(Vec<Expr>) -> Kind,
        part: impl Fn(&mut Self) -> Result<Expr, Fault>,
    ) -> Result<Expr, Fault> {
        let first = part(self)?;
        if !self.is(sign) {
            return Ok(first);
        }
        let start = first.span;
        let mut parts = vec![first];
        while self.take(sign) {
            parts.push(part(self)?);
        }
        let end = parts.last().map_or(start, |last| last.span);
        node(start.to(end), kind(parts))
    }

    /// Comparisons (0), sums (1) and products (2), from the left.
    fn operators(&mut self, strength: u8) -> Result<Expr, Fault> {
        if strength > 2 {
            return self.unary();
        }
        let mut left = self.operators(strength + 1)?;
        while let Some(operator) = self.operator().filter(|operator| operator.strength() == strength) {
            self.at += 1;
            let right = self.operators(strength + 1)?;
            let span = left.span.to(right.span);
            left = node(span, Kind::Binary { operator, left: Box::new(left), right: Box::new(right) })?;
        }
        Ok(left)
    }

    fn operator(&self) -> Option<Operator> {
        let word = match self.token() {
            Token::Sign(sign) => *sign,
            Token::Name(name) if name == "in" => "in",
            _ => return None,
        };
        use Operator::{
            Add, Divide, Equal, Greater, GreaterOrEqual, In, Less, LessOrEqual, Multiply, NotEqual,
        };
        let all = [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual, In, Add, Multiply, Divide];
        let rest = [Operator::Subtract, Operator::Remainder];
        all.into_iter().chain(rest).find(|operator| operator.as_str() == word)
    }

    fn unary(&mut self) -> Result<Expr, Fault> {
        let start = self.span();
        if self.take("!") {
            let of = self.deeper(Self::unary)?;
            return node(start.to(of.span), Kind::Not(Box::new(of)));
        }
        if !self.take("-") {
            return self.member();
        }
        // The smallest integer has no positive counterpart, so the sign belongs to the number.
        if let Token::Int(size) = self.token() {
            let value = 0_i64.checked_sub_unsigned(*size).ok_or_else(|| too_large(self.span()))?;
            self.at += 1;
            let literal = node(start.to(self.last_span()), Kind::Literal(Literal::Int(value)))?;
            return self.members_of(literal);
        }
        let of = self.deeper(Self::unary)?;
        node(start.to(of.span), Kind::Negate(Box::new(of)))
    }

    fn member(&mut self) -> Result<Expr, Fault> {
        let of = self.primary()?;
        self.members_of(of)
    }

    /// Fields, elements and methods of what was just read.
    fn members_of(&mut self, mut of: Expr) -> Result<Expr, Fault> {
        let start = of.span;
        loop {
            if self.take("[") {
                let at = self.expression()?;
                self.expect("]")?;
                of = node(start.to(self.last_span()), Kind::Index { of: Box::new(of), at: Box::new(at) })?;
            } else if self.take(".") {
                let place = self.span();
                let name = match self.token() {
                    Token::Name(name) if !matches!(name.as_str(), "in" | "true" | "false" | "null") => {
                        name.clone()
                    }
                    _ => return Err(self.unexpected("a name; any other field is written as `[\"…\"]`")),
                };
                self.at += 1;
                of = if self.take("(") {
                    self.method(of, &name, place)?
                } else {
                    let span = start.to(place);
                    node(span, Kind::Field { of: Box::new(of), name: name.into() })?
                };
            } else {
                return Ok(of);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Fault> {
        let span = self.span();
        let literal = match self.token().clone() {
            Token::Sign("(") => {
                self.at += 1;
                let mut inner = self.expression()?;
                self.expect(")")?;
                inner.span = span.to(self.last_span());
                return Ok(inner);
            }
            Token::Sign("[") => {
                self.at += 1;
                let items = self.items("]")?;
                return node(span.to(self.last_span()), Kind::List(items));
            }
            Token::Sign("{") => return self.map(),
            Token::Int(value) => Literal::Int(i64::try_from(value).map_err(|_| too_large(span))?),
            Token::Uint(value) => Literal::Uint(value),
            Token::Double(value) => Literal::Double(value),
            Token::Text(text) => Literal::Text(text.into()),
            Token::Name(name) => match name.as_str() {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                "null" => Literal::Null,
                "in" => return Err(self.unexpected("a value")),
                _ => return self.name(&name),
            },
            Token::Sign(_) | Token::End => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        node(span, Kind::Literal(literal))
    }

    fn name(&mut self, name: &str) -> Result<Expr, Fault> {
        let span = self.span();
        self.at += 1;
        if self.take("(") {
            return self.function(name, span);
        }
        if let Some(variable) = self.variables.iter().rposition(|variable| variable == name) {
            return node(span, Kind::Variable(variable));
        }
        match Root::NAMES.into_iter().find(|(root, _)| *root == name) {
            Some((_, root)) => node(span, Kind::Root(root)),
            None => {
                let roots = Root::NAMES.map(|(root, _)| root).join(", ");
                Err(Fault::new(span, format!("`when` uses the unknown name `{name}`; known: {roots}")))
            }
        }
    }

    /// A call without receiver, from behind its opening bracket.
    fn function(&mut self, name: &str, start: Span) -> Result<Expr, Fault> {
        if name == "has" {
            let of = self.expression()?;
            self.expect(")")?;
            let span = start.to(self.last_span());
            return match of.kind {
                Kind::Field { of, name } => node(span, Kind::Has { of, name }),
                _ => Err(Fault::new(of.span, "`has` takes a field; write for example `has(args.amount)`")),
            };
        }
        let Some(function) = Function::named(name, Style::Plain) else {
            let known: Vec<_> = Function::names(Style::Plain).chain(["has"]).collect();
            return Err(unknown_function(name, start, &known));
        };
        let arguments = self.items(")")?;
        self.call(function, arguments, start)
    }

    /// A macro or a method, from behind its opening bracket.
    fn method(&mut self, of: Expr, name: &str, place: Span) -> Result<Expr, Fault> {
        let start = of.span;
        if let Some((_, each)) = Each::NAMES.into_iter().find(|(each, _)| *each == name) {
            let variable = match self.token().clone() {
                Token::Name(variable) if self.may_be_variable(&variable) => variable,
                _ => {
                    return Err(
                        self.unexpected(&format!("a variable that is not taken, as in `{name}(x, x > 1)`"))
                    );
                }
            };
            self.at += 1;
            self.expect(",")?;
            self.variables.push(variable);
            let body = self.expression();
            self.variables.pop();
            let body = Box::new(body?);
            self.expect(")")?;
            return node(start.to(self.last_span()), Kind::Each { each, over: Box::new(of), body });
        }
        let Some(function) = Function::named(name, Style::Method) else {
            let known: Vec<_> =
                Function::names(Style::Method).chain(Each::NAMES.map(|(name, _)| name)).collect();
            return Err(unknown_function(name, place, &known));
        };
        let mut arguments = vec![of];
        arguments.extend(self.items(")")?);
        self.call(function, arguments, start)
    }

    fn may_be_variable(&self, name: &str) -> bool {
        let taken =
            Root::NAMES.iter().any(|(root, _)| *root == name) || self.variables.iter().any(|v| v == name);
        !taken && !RESERVED.contains(&name) && !matches!(name, "in" | "true" | "false" | "null")
    }

    fn call(&mut self, function: Function, arguments: Vec<Expr>, start: Span) -> Result<Expr, Fault> {
        let span = start.to(self.last_span());
        let (least, most) = function.arity();
        if !(least..=most).contains(&arguments.len()) {
            let message = format!(
                "`{}` is called with too {} values",
                function.name(),
                if arguments.len() < least { "few" } else { "many" }
            );
            return Err(Fault::new(span, message));
        }
        node(span, Kind::Call { function, arguments })
    }

    /// What stands between commas, up to the closing bracket; a comma may stand before it.
    fn items(&mut self, close: &str) -> Result<Vec<Expr>, Fault> {
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.expression()?);
            if !self.take(",") && !self.is(close) {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
        Ok(items)
    }

    fn map(&mut self) -> Result<Expr, Fault> {
        let start = self.span();
        self.at += 1;
        let mut entries: Vec<(Box<str>, Expr)> = Vec::new();
        while !self.take("}") {
            let Token::Text(key) = self.token().clone() else {
                return Err(self.unexpected("a key in quotes"));
            };
            if entries.iter().any(|(other, _)| **other == key) {
                return Err(Fault::new(self.span(), "this key is there twice; leave one out"));
            }
            self.at += 1;
            self.expect(":")?;
            entries.push((key.into(), self.expression()?));
            if !self.take(",") && !self.is("}") {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
        node(start.to(self.last_span()), Kind::Map(entries))
    }
}

fn node(span: Span, kind: Kind) -> Result<Expr, Fault> {
    let mut expr = Expr { span, depth: 1, kind };
    expr.depth += expr.parts().iter().map(|part| part.depth).max().unwrap_or(0);
    if expr.depth > DEPTH_MAX { Err(too_deep(span)) } else { Ok(expr) }
}

fn too_deep(span: Span) -> Fault {
    Fault::new(span, format!("a condition has at most {DEPTH_MAX} levels; split the rule"))
}

fn too_large(span: Span) -> Fault {
    Fault::new(span, "the number is too large; write it with `u` at its end, or as `1e20`")
}

fn unknown_function(name: &str, span: Span, known: &[&str]) -> Fault {
    let hint = match (name, did_you_mean(name, known.iter().copied())) {
        ("matches", _) => "use `startsWith`, `endsWith` or `contains`".to_owned(),
        (_, Some(near)) => format!("did you mean `{near}`?"),
        (_, None) => format!("known: {}", known.join(", ")),
    };
    Fault::new(span, format!("`when` uses the unknown function `{name}`; {hint}"))
}
