//! The parsed form of a condition: names resolved, every part with its place in the text.

use super::functions::Function;

/// Where a part stands in the condition's text (bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn to(self, end: Self) -> Self {
        Self { start: self.start, end: end.end }
    }
}

/// Something wrong with a condition's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(super) span: Span,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// Where it is, in bytes of the text.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<usize> {
        self.span.start..self.span.end
    }

    /// One sentence: what, and what to write instead.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

#[derive(Debug)]
pub(super) struct Expr {
    pub span: Span,
    /// How many levels of parts it has; bounded, so that whatever walks it may recurse.
    pub depth: usize,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Literal(Literal),
    Root(Root),
    /// The variable of the n-th macro around it, from the outermost.
    Variable(usize),
    Field {
        of: Box<Expr>,
        name: Box<str>,
    },
    /// `has(of.name)`.
    Has {
        of: Box<Expr>,
        name: Box<str>,
    },
    Index {
        of: Box<Expr>,
        at: Box<Expr>,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary {
        operator: Operator,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `a && b && …`.
    All(Vec<Expr>),
    /// `a || b || …`.
    Any(Vec<Expr>),
    Choose {
        condition: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
    List(Vec<Expr>),
    /// Keys and values; keys are literals of text.
    Map(Vec<(Box<str>, Expr)>),
    /// A function; what it was called on comes first.
    Call {
        function: Function,
        arguments: Vec<Expr>,
    },
    Each {
        each: Each,
        over: Box<Expr>,
        body: Box<Expr>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
}

/// What a condition can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Args,
    Query,
    Call,
    Agent,
    Now,
}

impl Root {
    pub const NAMES: [(&'static str, Self); 5] = [
        ("args", Self::Args),
        ("query", Self::Query),
        ("call", Self::Call),
        ("agent", Self::Agent),
        ("now", Self::Now),
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    /// How tightly it binds; comparisons bind least.
    pub fn strength(self) -> u8 {
        match self {
            Self::Add | Self::Subtract => 1,
            Self::Multiply | Self::Divide | Self::Remainder => 2,
            _ => 0,
        }
    }
}

/// The macros that look at each element of a list or each key of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

impl Each {
    pub const NAMES: [(&'static str, Self); 5] = [
        ("all", Self::All),
        ("exists", Self::Exists),
        ("exists_one", Self::ExistsOne),
        ("filter", Self::Filter),
        ("map", Self::Map),
    ];
}

impl Expr {
    /// Calls `visit` on every part, this one first.
    pub fn walk<'e>(&'e self, visit: &mut impl FnMut(&'e Self)) {
        visit(self);
        for part in self.parts() {
            part.walk(visit);
        }
    }

    /// The parts that it is made of.
    pub fn parts(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::Literal(_) | Kind::Root(_) | Kind::Variable(_) => Vec::new(),
            Kind::Field { of, .. } | Kind::Has { of, .. } => vec![of],
            Kind::Not(of) | Kind::Negate(of) => vec![of],
            Kind::Index { of, at } => vec![of, at],
            Kind::Binary { left, right, .. } => vec![left, right],
            Kind::All(parts) | Kind::Any(parts) | Kind::List(parts) => parts.iter().collect(),
            Kind::Choose { condition, then, otherwise } => vec![condition, then, otherwise],
            Kind::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
            Kind::Call { arguments, .. } => arguments.iter().collect(),
            Kind::Each { over, body, .. } => vec![over, body],
        }
    }
}
