//! Cutting lists: what is kept stays byte for byte and in order, what is around the list stays too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::json::{Limits, read};
use wire::{Raw, list};

const LIMITS: Limits = Limits::of_bytes(1 << 20);

fuzz_target!(|input: (u64, &[u8])| {
    let (mut flags, bytes) = input;
    let Ok(document) = read(bytes, &LIMITS) else { return };
    for path in [&[][..], &["result", "tools"]] {
        let array = path.iter().try_fold(document, |value, key| value.get(key));
        let mut kept = Vec::new();
        let mut seen = 0;
        let cut = list::cut(document, path, &mut |element| {
            flags = flags.rotate_left(1);
            seen += 1;
            if flags & 1 == 1 {
                kept.push(element.text());
            }
            flags & 1 == 1
        });
        assert_eq!(seen, array.map_or(0, |array| array.elements().count()));
        assert_eq!(cut.is_some(), kept.len() < seen);
        let Some(cut) = cut else { continue };
        let cut = read(&cut, &LIMITS).expect("still JSON");
        let left = path.iter().try_fold(cut, |value, key| value.get(key)).expect("the list is still there");
        assert_eq!(left.elements().map(Raw::text).collect::<Vec<_>>(), kept);

        let inside = array.and_then(|array| array.span_in(document.text())).expect("there was a list");
        let inside_left = left.span_in(cut.text()).expect("it is in the document");
        assert_eq!(document.text()[..inside.start], cut.text()[..inside_left.start]);
        assert_eq!(document.text()[inside.end..], cut.text()[inside_left.end..]);
    }
});
