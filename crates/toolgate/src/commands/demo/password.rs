//! The password of the demo's operator: somebody reads it on one screen and types it on another.

/// Words that are told apart easily, read and heard.
#[rustfmt::skip]
const WORDS: [&str; 128] = [
    "acorn", "amber", "anchor", "apple", "arrow", "aspen", "badge", "basil", "beacon", "birch", "bison",
    "blanket", "bramble", "bridge", "brook", "bucket", "button", "candle", "canyon", "carbon", "cedar",
    "cherry", "clover", "cobalt", "comet", "copper", "coral", "cotton", "cricket", "crystal", "cypress",
    "daisy", "dolphin", "eagle", "ember", "falcon", "feather", "fennel", "fern", "ferry", "flint", "forest",
    "fossil", "garden", "ginger", "glacier", "granite", "harbor", "hazel", "heron", "hickory", "indigo",
    "island", "ivory", "jasmine", "jigsaw", "juniper", "kettle", "ladder", "lagoon", "lantern", "lemon",
    "lilac", "linen", "lizard", "lotus", "magnet", "maple", "marble", "meadow", "mellow", "meteor", "mint",
    "mirror", "morning", "mustard", "nectar", "nickel", "nutmeg", "olive", "onyx", "orchard", "otter",
    "oyster", "paddle", "paper", "pebble", "pepper", "pigeon", "pillow", "planet", "plum", "pocket", "poplar",
    "prairie", "puzzle", "quartz", "quill", "rabbit", "raven", "reed", "ribbon", "river", "robin", "rocket",
    "saddle", "saffron", "salmon", "sandal", "sapphire", "shadow", "silver", "sparrow", "spruce", "summit",
    "sunset", "tangerine", "teapot", "thistle", "thunder", "timber", "topaz", "tulip", "tundra", "velvet",
    "violet", "walnut", "willow",
];

/// Three words and two digits, `copper-otter-violet-37`: one of 200 million, for a console that only this machine
/// reaches, that slows guessing down, and that is gone with the demo.
pub(super) fn password(random: [u8; 4]) -> String {
    let [digits, words @ ..] = random;
    let word = |byte: u8| WORDS.get(usize::from(byte) % WORDS.len()).copied().unwrap_or_default();
    let [first, second, third] = words.map(word);
    format!("{first}-{second}-{third}-{:02}", digits % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_three_words_and_two_digits() {
        assert_eq!(password([7, 0, 1, 127]), "acorn-amber-willow-07");
        for byte in 0..=255 {
            let password = password([byte; 4]);
            assert!(password.len() >= 12, "{password}");
            assert_eq!(password.split('-').count(), 4, "{password}");
        }
    }

    #[test]
    fn no_word_is_there_twice() {
        assert!(WORDS.is_sorted_by(|one, next| one < next));
    }
}
