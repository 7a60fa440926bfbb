//! From the parser's events to the tree. What expands, repeats or nests too deep is refused here.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::{Key, Node, Place, Problem, Severity, Source, Value};

/// Deeper nesting than any file of ours needs.
const DEPTH_MAX: usize = 32;

/// Reads a file that is small enough.
pub(super) fn read(source: Source<'_>) -> Result<Node, Vec<Problem>> {
    let options = granit_parser::options! { disallow_directives: true, emit_comments: false };
    let events = Parser::new_from_str_with_options(source.text, options);
    let mut reader = Reader { source, events, problems: Vec::new() };
    let node = reader.document().map_err(|problem| vec![*problem])?;
    if reader.problems.is_empty() { Ok(node) } else { Err(reader.problems) }
}

struct Reader<'a> {
    source: Source<'a>,
    events: Parser<'a, granit_parser::StrInput<'a>>,
    problems: Vec<Problem>,
}

type Read<T> = Result<T, Box<Problem>>;

impl<'a> Reader<'a> {
    fn document(&mut self) -> Read<Node> {
        let node = loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Err(self.stop(Place::default(), "the file is empty")),
                (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
                (event, span) => break self.node(event, span, 0)?,
            }
        };
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(node),
                (Event::DocumentEnd, _) => {}
                (_, span) => {
                    return Err(self.stop(self.place(span), "only one document belongs in this file"));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Read<Node> {
        let place = self.place(span);
        if depth > DEPTH_MAX {
            return Err(self.stop(place, format!("nested deeper than {DEPTH_MAX}")));
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(_, anchor, tag)
            | Event::MappingStart(_, anchor, tag) => (*anchor, tag.is_some()),
            Event::Alias(_) => (1, false),
            _ => return Err(self.stop(place, "this is not understood here")),
        };
        if anchor != 0 {
            return Err(self.stop(place, "anchors and aliases are not supported; write the value out"));
        }
        if tag {
            return Err(self.stop(place, "tags are not supported; leave the `!…` out"));
        }
        match event {
            Event::Scalar(text, style, ..) => Ok(Node { place, value: scalar(text, style) }),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => {
                            return Ok(Node {
                                place: self.until(place, span, end),
                                value: Value::List(list),
                            });
                        }
                        (event, span) => list.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            _ => {
                let mut map: Vec<(Key, Node)> = Vec::new();
                loop {
                    let (event, key_span) = self.next()?;
                    if matches!(event, Event::MappingEnd) {
                        return Ok(Node { place: self.until(place, span, key_span), value: Value::Map(map) });
                    }
                    let key = self.node(event, key_span, depth + 1)?;
                    let Value::Scalar { text, .. } = key.value else {
                        return Err(self.stop(key.place, "a key must be a text"));
                    };
                    let (event, value_span) = self.next()?;
                    let value = self.node(event, value_span, depth + 1)?;
                    let key = Key { place: key.place, text };
                    match map.iter().find(|(other, _)| other.text == key.text) {
                        Some((first, _)) => {
                            let name = key.text.escape_debug();
                            let message =
                                format!("`{name}` is already on line {}; leave one out", first.place.line);
                            self.problems.push(self.source.error(key.place, message));
                        }
                        None => map.push((key, value)),
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Read<(Event<'a>, Span)> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Err(fault)) => Err(self.syntax(&fault)),
        }
    }

    fn syntax(&self, fault: &ScanError) -> Box<Problem> {
        let marker = fault.marker();
        let place = Place { line: marker.line(), column: marker.col() + 1, width: 1 };
        let on_tab = self
            .source
            .problem(Severity::Error, place, String::new())
            .line_text
            .trim_start_matches(' ')
            .starts_with('\t');
        if on_tab {
            return self.stop(place, "a tab cannot indent YAML; use spaces");
        }
        self.stop(place, format!("not valid YAML: {}", fault.info()))
    }

    fn stop(&self, place: Place, message: impl Into<String>) -> Box<Problem> {
        Box::new(self.source.error(place, message))
    }

    fn place(&self, span: Span) -> Place {
        let width = if span.start.line() == span.end.line() {
            span.end.col().saturating_sub(span.start.col())
        } else {
            0
        };
        let place = Place { line: span.start.line(), column: span.start.col() + 1, width };
        if width > 0 || span.start.line() == span.end.line() { place } else { self.to_line_end(place) }
    }

    /// The place of a collection, now that its end is known.
    fn until(&self, place: Place, start: Span, end: Span) -> Place {
        if start.start.line() == end.end.line() && end.end.col() > start.start.col() {
            return Place { width: end.end.col() - start.start.col(), ..place };
        }
        self.to_line_end(place)
    }

    fn to_line_end(&self, place: Place) -> Place {
        let line = place
            .line
            .checked_sub(1)
            .and_then(|index| self.source.text.lines().nth(index))
            .unwrap_or_default();
        Place { width: line.trim_end().chars().count().saturating_sub(place.column - 1), ..place }
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
}
