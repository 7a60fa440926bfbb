//! Globs over names and URIs: `*` stays inside one path segment, `**` crosses, everything else stands for itself.
//! Matching takes time linear in the text for a given pattern, and never allocates.

use std::fmt;

/// `*`: any characters but `/`. Neither of these two bytes occurs in UTF-8 text.
const SEGMENT: u8 = 0xfe;
/// `**`: any characters.
const ANYTHING: u8 = 0xff;

/// A compiled glob.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written.
    source: Box<str>,
    /// The text's bytes, with the wildcards as single bytes. `**` swallows the wildcards next to it, so that
    /// what follows one always starts with a literal byte.
    code: Box<[u8]>,
    /// How many bytes stand before the first wildcard, and how many after the last; all are before when none is there.
    prefix_len: usize,
    suffix_len: usize,
}

impl Pattern {
    /// The longest pattern that a policy may hold, in bytes.
    pub const BYTES_MAX: usize = 1024;

    /// Compiles a glob. Every text is one; `?`, `[` and `{` have no special meaning.
    #[must_use]
    pub fn new(source: &str) -> Self {
        let mut code = Vec::with_capacity(source.len());
        let mut bytes = source.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let token = match byte {
                b'*' if bytes.next_if_eq(&b'*').is_some() => ANYTHING,
                b'*' => SEGMENT,
                literal => literal,
            };
            push_token(&mut code, token);
        }
        Self::of(source, code)
    }

    /// The texts that an RFC 6570 URI template may expand to, and some more: each `{…}` stands for anything.
    #[must_use]
    pub fn of_template(template: &str) -> Self {
        let mut code = Vec::with_capacity(template.len());
        let mut rest = template;
        while let Some((literal, after)) = rest.split_once('{') {
            code.extend_from_slice(literal.as_bytes());
            push_token(&mut code, ANYTHING);
            rest = after.split_once('}').map_or("", |(_, after)| after);
        }
        code.extend_from_slice(rest.as_bytes());
        Self::of(template, code)
    }

    fn of(source: &str, code: Vec<u8>) -> Self {
        let prefix_len = code.iter().take_while(|token| !is_wildcard(**token)).count();
        let suffix_len = code.iter().skip(prefix_len).rev().take_while(|token| !is_wildcard(**token)).count();
        Self { source: source.into(), code: code.into(), prefix_len, suffix_len }
    }

    /// The glob as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// What stands before the first wildcard.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.source.get(..self.prefix_len).unwrap_or_default()
    }

    /// What stands after the last wildcard.
    #[must_use]
    pub fn suffix(&self) -> &str {
        self.source.get(self.source.len() - self.suffix_len..).unwrap_or_default()
    }

    /// Whether it has no wildcard, so that it matches only itself.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.prefix_len == self.code.len()
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (prefix, rest) = self.code.split_at_checked(self.prefix_len).unwrap_or_default();
        let suffix = self.code.get(self.code.len() - self.suffix_len..).unwrap_or_default();
        text.as_bytes().strip_prefix(prefix).is_some_and(|text| text.ends_with(suffix) && accepts(rest, text))
    }

    /// Whether every text that `other` matches is matched by this one too.
    ///
    /// `true` can be relied on; `false` may also mean that it could not be shown.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        accepts(&self.code, &other.code)
    }

    /// Whether some text is matched by both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        if !self.prefix().starts_with(other.prefix()) && !other.prefix().starts_with(self.prefix()) {
            return false;
        }
        // `row[j]`: is there a text for what `self` has from `i` on and `other` has from `j` on? Filled from the ends.
        let (ours, theirs) = (&self.code, &other.code);
        let mut below = vec![false; theirs.len() + 1];
        for i in (0..=ours.len()).rev() {
            let mut row = vec![false; theirs.len() + 1];
            for j in (0..=theirs.len()).rev() {
                let at = |row: &[bool], j: usize| row.get(j).copied().unwrap_or(false);
                let met = match (ours.get(i), theirs.get(j)) {
                    (None, None) => true,
                    (Some(a), Some(b)) if is_wildcard(*a) && is_wildcard(*b) => {
                        at(&below, j) || at(&row, j + 1)
                    }
                    (Some(a), b) if is_wildcard(*a) => {
                        at(&below, j) || (b.is_some_and(|b| absorbs(*a, *b)) && at(&row, j + 1))
                    }
                    (a, Some(b)) if is_wildcard(*b) => {
                        at(&row, j + 1) || (a.is_some_and(|a| absorbs(*b, *a)) && at(&below, j))
                    }
                    (Some(a), Some(b)) => a == b && at(&below, j + 1),
                    (Some(_), None) | (None, Some(_)) => false,
                };
                if let Some(place) = row.get_mut(j) {
                    *place = met;
                }
            }
            below = row;
        }
        below.first().copied().unwrap_or(false)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

/// Appends a token; wildcards next to each other become the widest of them.
fn push_token(code: &mut Vec<u8>, token: u8) {
    match (code.last_mut(), is_wildcard(token)) {
        (Some(last), true) if is_wildcard(*last) => *last = token.max(*last),
        _ => code.push(token),
    }
}

fn is_wildcard(token: u8) -> bool {
    token >= SEGMENT
}

/// Whether a wildcard may stand for this token.
fn absorbs(wildcard: u8, token: u8) -> bool {
    wildcard == ANYTHING || (token != b'/' && token != ANYTHING)
}

/// Whether `pattern` accepts `text`; for [`Pattern::covers`] the text may hold wildcards as tokens of their own.
///
/// Goes forward greedily, and on a mismatch lets the last wildcard stand for one token more. Only the last `*`
/// and the last `**` are ever tried again: matching what stands before them at the earliest place leaves the most
/// room for the rest, so nothing is lost.
fn accepts(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Each: the place in the pattern after the wildcard, and the place in the text where the wildcard ends.
    let mut star: Option<(usize, usize)> = None;
    let mut anything: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(&ANYTHING), _) => {
                p += 1;
                if p == pattern.len() {
                    return true;
                }
                (anything, star) = (Some((p, t)), None);
                continue;
            }
            (Some(&SEGMENT), _) => {
                p += 1;
                star = Some((p, t));
                continue;
            }
            (Some(a), Some(b)) if a == b => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            _ => {}
        }
        if let Some((after, end)) = star
            && text.get(end).is_some_and(|token| absorbs(SEGMENT, *token))
        {
            (p, t) = (after, end + 1);
            star = Some((p, t));
            continue;
        }
        let Some((after, end)) = anything else { return false };
        let mut next = end + 1;
        // INVARIANT: after a `*` failed, starting again within the same segment fails too (that `*` would only
        // have less room), unless the literal before it reaches over a `/`. Without this jump, `**a*b` would
        // take quadratic time.
        if star.is_some() && first_literal(pattern, after).all(|token| token != b'/') {
            let barrier = text.iter().skip(end).position(|token| !absorbs(SEGMENT, *token));
            let Some(barrier) = barrier else { return false };
            next = end + barrier + 1;
        }
        if next > text.len() {
            return false;
        }
        (p, t) = (after, next);
        (anything, star) = (Some((p, t)), None);
    }
}

/// The literal tokens from `start` up to the next wildcard.
fn first_literal(pattern: &[u8], start: usize) -> impl Iterator<Item = u8> {
    pattern.iter().skip(start).copied().take_while(|token| !is_wildcard(*token))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).matches(text)
    }

    #[test]
    fn one_star_stays_in_its_segment_and_two_cross() {
        for (pattern, text) in [
            ("read_*", "read_file"),
            ("read_*", "read_"),
            ("*", ""),
            ("**", "a/b/c"),
            ("file:///**", "file:///srv/a b/ü"),
            ("file:///srv/*", "file:///srv/a"),
            ("**/*.md", "docs/deep/x.md"),
            ("a/**/b", "a/x/y/b"),
            ("***", "a/b"),
            ("search_files", "search_files"),
        ] {
            assert!(matches(pattern, text), "`{pattern}` should match `{text}`");
        }
        for (pattern, text) in [
            ("read_*", "read_a/b"),
            ("read_*", "unread_x"),
            ("*", "a/b"),
            ("file:///srv/*", "file:///srv/a/b"),
            ("**/*.md", "x.md"),
            ("a/**/b", "a/b"),
            ("read_?", "read_x"),
            ("[ab]", "a"),
            ("{a,b}", "a"),
            ("Read", "read"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, text), "`{pattern}` should not match `{text}`");
        }
    }

    #[test]
    fn hostile_patterns_on_long_texts_are_no_trouble() {
        // Each of these takes hours when matched by plain backtracking.
        let text = "a".repeat(1 << 20);
        for pattern in ["**a**a**a**b", "*a*a*a*a*b", "**a*a*a*b", "**a*a/b**c", "**a*b**a*b"] {
            assert!(!matches(pattern, &text), "{pattern}");
        }
        let deep = "a/".repeat(1 << 19);
        for pattern in ["**a/*a/*a/*b", "**/*/*/b", "**a**a*b"] {
            assert!(!matches(pattern, &deep), "{pattern}");
        }
    }

    #[test]
    fn a_template_overlaps_what_it_may_expand_to() {
        let template = Pattern::of_template("file:///srv/{path}");
        assert!(template.overlaps(&Pattern::new("file:///srv/docs/**")));
        assert!(template.overlaps(&Pattern::new("**")));
        assert!(!template.overlaps(&Pattern::new("file:///etc/**")));
        assert!(Pattern::new("file:///**").covers(&template));
        assert!(!Pattern::new("file:///srv/*").covers(&template));
        // A star in a template is a star, not a wildcard.
        assert!(!Pattern::of_template("a*c").overlaps(&Pattern::new("abc")));
    }

    #[test]
    fn covering_is_containment() {
        for (wide, narrow) in
            [("delete_*", "delete_file"), ("**", "*"), ("*", "a*b"), ("a**", "a/*/b"), ("*_*", "a_*")]
        {
            assert!(Pattern::new(wide).covers(&Pattern::new(narrow)), "`{wide}` covers `{narrow}`");
        }
        for (wide, narrow) in [("*", "**"), ("delete_*", "*"), ("a*", "a/b"), ("*.md", "**.md")] {
            assert!(!Pattern::new(wide).covers(&Pattern::new(narrow)), "`{wide}` does not cover `{narrow}`");
        }
    }

    /// The definition, written as a recursion and nothing else.
    fn reference(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', '*', rest @ ..] => (0..=text.len()).any(|n| reference(rest, &text[n..])),
            ['*', rest @ ..] => (0..=text.len())
                .take_while(|n| !text[..*n].contains(&'/'))
                .any(|n| reference(rest, &text[n..])),
            [literal, rest @ ..] => text.first() == Some(literal) && reference(rest, &text[1..]),
        }
    }

    fn glob() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["a", "b", "/", "ü", Just("*".into()), Just("**".into())], 0..9)
            .prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

        #[test]
        fn matching_agrees_with_the_definition(pattern in glob(), text in "[ab/ü]{0,14}") {
            let (p, t): (Vec<_>, Vec<_>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text), reference(&p, &t), "`{}` on `{}`", pattern, text);
        }

        #[test]
        fn what_covers_matches_all_that_is_covered(wide in glob(), narrow in glob(), text in "[ab/]{0,8}") {
            if Pattern::new(&wide).covers(&Pattern::new(&narrow)) && matches(&narrow, &text) {
                prop_assert!(matches(&wide, &text), "`{}` covers `{}`, not `{}`", wide, narrow, text);
            }
        }

        #[test]
        fn two_patterns_that_match_one_text_overlap(one in glob(), two in glob(), text in "[ab/]{0,8}") {
            let (a, b) = (Pattern::new(&one), Pattern::new(&two));
            if a.matches(&text) && b.matches(&text) {
                prop_assert!(a.overlaps(&b), "`{}` and `{}` both match `{}`", one, two, text);
            }
            prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
            if a.is_exact() {
                prop_assert_eq!(a.overlaps(&b), b.matches(&one));
            }
        }
    }
}
