//! Cutting items out of arrays and objects in the raw bytes: what is kept stays byte for byte, in order.
//! Nothing is reordered, reformatted or written anew.

use std::ops::Range;

use crate::json::{Kind, Raw, Walk};

/// Cuts elements out of the array at `path` (decoded keys, through objects), keeping those for which `keep`
/// says so. Takes one pass over the document.
///
/// `None` when nothing was cut, also when there is no array at `path`: then forward the document as it is.
pub fn cut<'a>(document: Raw<'a>, path: &[&str], keep: &mut dyn FnMut(Raw<'a>) -> bool) -> Option<Vec<u8>> {
    let text = document.text();
    let mut start = 0;
    for key in path {
        start = member_at(text, start, key)?;
    }
    let mut walk = Walk::over(text.get(start..)?, Kind::Array);
    let mut cutter = Cutter::new(text, start + 1);
    while walk.more() {
        let from = walk.at();
        let element = walk.value();
        cutter.item(start + from..start + walk.at(), keep(element));
    }
    cutter.finish()
}

/// Puts one element, given as JSON, at the end of the array at `path` (decoded keys, through objects).
///
/// `None` when there is no array at `path`.
pub fn append(document: Raw<'_>, path: &[&str], element: &str) -> Option<Vec<u8>> {
    let text = document.text();
    let mut start = 0;
    for key in path {
        start = member_at(text, start, key)?;
    }
    let inside = text.get(start..)?;
    if !inside.starts_with('[') {
        return None;
    }
    let mut walk = Walk::over(inside, Kind::Array);
    let mut last = None;
    while walk.more() {
        walk.value();
        last = Some(start + walk.at());
    }
    // Behind the last element, or behind the bracket of an empty array.
    let (place, comma) = last.map_or((start + 1, ""), |last| (last, ","));
    Some([text.get(..place)?, comma, element, text.get(place..)?].concat().into_bytes())
}

/// Cuts members out of the object that stands at `start` of `text`, keeping those for whose decoded key
/// `keep` says so. `None` when nothing was cut.
pub(crate) fn cut_members(text: &str, start: usize, keep: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let mut walk = Walk::over(text.get(start..)?, Kind::Object);
    let mut cutter = Cutter::new(text, start + 1);
    while walk.more() {
        let from = walk.at();
        let kept = walk.key().is_some_and(|key| keep(&key.decoded()));
        walk.value();
        cutter.item(start + from..start + walk.at(), kept);
    }
    cutter.finish()
}

/// Where the value of the member `key` of the object at `start` begins. The value itself is not walked.
fn member_at(text: &str, start: usize, key: &str) -> Option<usize> {
    let mut walk = Walk::over(text.get(start..)?, Kind::Object);
    while let Some(name) = walk.key() {
        if name == key {
            return Some(start + walk.at());
        }
        walk.value();
    }
    None
}

/// Copies a document, leaving out some items of one container.
///
/// Between two items of a container stands a gap: white space with one comma. A kept item brings the gap in
/// front of it along, except the first one, which takes the place right behind the opening bracket's gap. So
/// there is always exactly one comma between kept items and none at the ends.
struct Cutter<'a> {
    text: &'a str,
    /// Nothing until something is cut.
    out: Option<Vec<u8>>,
    /// Where the first item began: what is in front of it is always kept.
    first: Option<usize>,
    /// The end of the last item seen.
    last: usize,
    kept: bool,
}

impl<'a> Cutter<'a> {
    /// `inside` is the place right behind the container's opening bracket.
    const fn new(text: &'a str, inside: usize) -> Self {
        Self { text, out: None, first: None, last: inside, kept: false }
    }

    fn item(&mut self, span: Range<usize>, keep: bool) {
        let first = *self.first.get_or_insert(span.start);
        match (&mut self.out, keep) {
            (None, true) => {}
            (None, false) => {
                let before = if self.kept { self.last } else { first };
                let mut out = Vec::with_capacity(self.text.len());
                out.extend_from_slice(piece(self.text, 0..before));
                self.out = Some(out);
            }
            (Some(_), false) => {}
            (Some(out), true) => {
                let from = if self.kept { self.last } else { span.start };
                out.extend_from_slice(piece(self.text, from..span.end));
            }
        }
        self.kept |= keep;
        self.last = span.end;
    }

    fn finish(self) -> Option<Vec<u8>> {
        let mut out = self.out?;
        out.extend_from_slice(piece(self.text, self.last..self.text.len()));
        Some(out)
    }
}

fn piece(text: &str, span: Range<usize>) -> &[u8] {
    // INVARIANT: spans come from a walk over this text, so the piece is always there.
    text.as_bytes().get(span).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::{Limits, read};

    fn raw(text: &str) -> Raw<'_> {
        read(text.as_bytes(), &Limits::of_bytes(1 << 20)).unwrap()
    }

    fn cut_text(text: &str, path: &[&str], keep: &[&str]) -> Option<String> {
        cut(raw(text), path, &mut |element| keep.contains(&element.text()))
            .map(|out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_kept_stays_byte_for_byte() {
        let text = "[ 1 ,\n 2,3 , 4 ]";
        assert_eq!(cut_text(text, &[], &["1", "2", "3", "4"]), None);
        assert_eq!(cut_text(text, &[], &["2", "3", "4"]).unwrap(), "[ 2,3 , 4 ]");
        assert_eq!(cut_text(text, &[], &["1", "3", "4"]).unwrap(), "[ 1,3 , 4 ]");
        assert_eq!(cut_text(text, &[], &["1", "2", "3"]).unwrap(), "[ 1 ,\n 2,3 ]");
        assert_eq!(cut_text(text, &[], &["4"]).unwrap(), "[ 4 ]");
        assert_eq!(cut_text(text, &[], &["1"]).unwrap(), "[ 1 ]");
        assert_eq!(cut_text(text, &[], &[]).unwrap(), "[  ]");
    }

    #[test]
    fn the_rest_of_the_document_stays_too() {
        let text =
            r#"{"id":1e0, "result":{"a":"]","tools" : [{"name":"x"},{"name":"y"}],"nextCursor":"\u0041"} }"#;
        let out = cut_text(text, &["result", "tools"], &[r#"{"name":"y"}"#]).unwrap();
        assert_eq!(out, r#"{"id":1e0, "result":{"a":"]","tools" : [{"name":"y"}],"nextCursor":"\u0041"} }"#);
    }

    #[test]
    fn the_path_is_found_by_decoded_keys() {
        assert_eq!(cut_text(r#"{"\u0061":[1]}"#, &["a"], &[]).unwrap(), r#"{"\u0061":[]}"#);
    }

    #[test]
    fn without_an_array_at_the_path_nothing_is_cut() {
        for text in [r#"{"result":{"tools":{"a":1}}}"#, r#"{"result":[1]}"#, r#"{"error":{}}"#, "[1]", "1"] {
            assert_eq!(cut_text(text, &["result", "tools"], &[]), None, "{text}");
        }
    }

    #[test]
    fn an_element_comes_last_and_everything_else_stays() {
        let appended = |text: &str| {
            append(raw(text), &["result", "tools"], "{\"x\":1}").map(|out| String::from_utf8(out).unwrap())
        };
        for (before, after) in [
            (r#"{"result":{"tools":[]}}"#, r#"{"result":{"tools":[{"x":1}]}}"#),
            (r#"{"result":{"tools":[ ],"z":1.0}}"#, r#"{"result":{"tools":[{"x":1} ],"z":1.0}}"#),
            (
                r#" {"a":"]","result":{"tools" :[[1], {} ]}}"#,
                r#"{"a":"]","result":{"tools" :[[1], {},{"x":1} ]}}"#,
            ),
        ] {
            assert_eq!(appended(before).unwrap(), after);
        }
        for without in [r#"{"result":{"tools":{"a":[1]}}}"#, r#"{"result":[1]}"#, r#"{"error":{}}"#] {
            assert_eq!(appended(without), None);
        }
    }

    proptest! {
        #[test]
        fn exactly_the_kept_elements_are_left(
            elements in prop::collection::vec((0..6_usize, any::<bool>()), 0..12),
            blanks in prop::collection::vec(prop::sample::select(vec!["", " ", "\n", "\t "]), 40),
        ) {
            let samples = ["1.50", r#""],[\"""#, r#"{"a" : [1 ,2]}"#, "[ ]", "null", r#"{"name":"x","b":{}}"#];
            let mut blanks = blanks.into_iter().cycle();
            let mut blank = || blanks.next().unwrap();
            let mut text = format!("{{\"a\":0,\"list\":[{}", blank());
            for (index, (sample, _)) in elements.iter().enumerate() {
                let comma = if index > 0 { format!(",{}", blank()) } else { String::new() };
                text += &format!("{comma}{}{}", samples[*sample], blank());
            }
            text += "],\"z\":1}";

            let mut flags = elements.iter().map(|(_, keep)| *keep);
            let out = cut(raw(&text), &["list"], &mut |_| flags.next().unwrap());
            prop_assert_eq!(out.is_none(), elements.iter().all(|(_, keep)| *keep));
            let out = out.map_or(text, |out| String::from_utf8(out).unwrap());
            let left: Vec<_> = raw(&out).get("list").unwrap().elements().map(Raw::text).collect();
            let kept: Vec<_> = elements.iter().filter(|(_, keep)| *keep).map(|(sample, _)| samples[*sample]).collect();
            prop_assert_eq!(left, kept);
            let untouched = out.starts_with("{\"a\":0,\"list\":[") && out.ends_with("],\"z\":1}");
            prop_assert!(untouched, "the rest of the document changed");
        }
    }
}
