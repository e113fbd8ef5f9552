//! Names for apps that nobody has named: three words, easy to say and to type.

use alloc::format;

use stdx::Rng;
use types::AppName;

/// How.
const FIRST: &[&str] = &[
    "amber", "ample", "ancient", "autumn", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid", "cheerful",
    "civil", "clean", "clear", "clever", "cosy", "crimson", "crisp", "curious", "daring", "dawn", "deep", "dewy",
    "eager", "early", "easy", "fair", "fancy", "fast", "fine", "fleet", "floral", "fond", "frank", "free", "fresh",
    "frosty", "gentle", "giant", "glad", "golden", "grand", "green", "happy", "hardy", "honest", "humble", "icy",
    "ideal", "jolly", "keen", "kind", "late", "lively", "loyal", "lucky", "lunar", "mellow", "merry", "mild", "misty",
    "modest", "neat", "nimble", "noble", "northern", "open", "patient", "plain", "polite", "proud", "quick", "quiet",
    "rapid", "rare", "ready", "rosy", "royal", "rustic", "safe", "sandy", "sharp", "shiny", "silent", "silver",
    "simple", "sleek", "smart", "smooth", "snowy", "soft", "solar", "solid", "spring", "steady", "still", "stout",
    "strong", "subtle", "summer", "sunny", "super", "sweet", "swift", "tidy", "tranquil", "true", "vast", "vivid",
    "warm", "wild", "wise", "witty", "young", "zesty",
];

/// Of what.
const SECOND: &[&str] = &[
    "amber", "apple", "ash", "aspen", "azure", "bamboo", "barley", "basil", "beech", "berry", "birch", "bronze",
    "cedar", "cherry", "clover", "cobalt", "copper", "coral", "cotton", "elm", "fern", "flax", "ginger", "granite",
    "hazel", "heather", "holly", "honey", "indigo", "iris", "iron", "ivory", "ivy", "jade", "jasmine", "juniper",
    "lemon", "lilac", "lime", "linen", "lotus", "maple", "marble", "mint", "moss", "oak", "olive", "onyx", "opal",
    "orchid", "pearl", "pepper", "pine", "plum", "poplar", "poppy", "quartz", "reed", "rose", "ruby", "rye", "saffron",
    "sage", "sand", "satin", "slate", "spruce", "stone", "sugar", "thyme", "timber", "topaz", "tulip", "velvet",
    "violet", "walnut", "wheat", "willow", "wool",
];

/// What.
const THIRD: &[&str] = &[
    "anchor", "badger", "bay", "beacon", "beaver", "bison", "bridge", "brook", "canyon", "castle", "cloud", "comet",
    "coast", "condor", "cove", "crane", "creek", "delta", "dolphin", "dune", "eagle", "falcon", "field", "finch",
    "fjord", "forest", "fox", "garden", "glacier", "glade", "grove", "gull", "harbor", "hare", "harvest", "haven",
    "hawk", "heron", "hill", "horizon", "island", "lagoon", "lake", "lantern", "lark", "lynx", "marsh", "meadow",
    "mesa", "moon", "moose", "morning", "mountain", "orbit", "osprey", "otter", "owl", "panda", "path", "peak",
    "pelican", "pier", "plain", "planet", "pond", "prairie", "puffin", "rain", "raven", "reef", "ridge", "river",
    "robin", "sail", "salmon", "seal", "shadow", "shore", "sky", "snow", "sparrow", "stream", "summit", "sun", "swan",
    "thicket", "thunder", "tide", "trail", "trout", "turtle", "valley", "voice", "wagon", "wave", "whale", "wind",
    "wolf", "wren",
];

/// How many different names there are.
#[must_use]
pub fn count() -> usize {
    FIRST.len() * SECOND.len() * THIRD.len()
}

/// A name such as `quiet-maple-harbor`. It may be taken: then draw again.
///
/// # Panics
/// Never: a test holds every word against the rules of names.
pub fn generate(rng: &mut Rng) -> AppName {
    let mut pick = |words: &[&'static str]| words[rng.index(words.len())];
    let name = format!("{}-{}-{}", pick(FIRST), pick(SECOND), pick(THIRD));
    AppName::parse(&name).expect("three listed words and two dashes are a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generate_every_word_makes_a_valid_name() {
        let words = || FIRST.iter().chain(SECOND).chain(THIRD);
        assert!(words().all(|word| (2..=12).contains(&word.len()) && AppName::parse(word).is_ok()));
        assert!(count() > 500_000, "{}", count());
    }

    #[test]
    fn generate_same_seed_same_name() {
        assert_eq!(generate(&mut Rng::new(7)), generate(&mut Rng::new(7)));
        assert_ne!(generate(&mut Rng::new(7)), generate(&mut Rng::new(8)));
    }
}
