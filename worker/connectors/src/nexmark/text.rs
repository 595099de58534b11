//! Random text, cut out of two pools at random places.

use crate::generator::{Random, scale};

/// Where a text may begin; a power of two.
const BEGINNINGS: usize = 64 * 1024;
/// The shortest text.
const SHORTEST: u64 = 3;

/// Pools of random text.
#[derive(Debug)]
pub struct Text {
    /// `a` to `z`.
    letters: Vec<u8>,
    /// One in 13 is a space.
    words: Vec<u8>,
}

impl Text {
    /// Pools that serve texts of up to `longest` bytes.
    pub fn new(seed: u64, longest: usize) -> Self {
        let size = (BEGINNINGS + longest) as u64;
        let (letters, words) = (Random::new(seed, 1), Random::new(seed, 2));
        Self {
            letters: (0..size).map(|n| b'a' + letters.below(n, 26) as u8).collect(),
            words: (0..size).map(|n| character(words.at(n), b' ')).collect(),
        }
    }

    /// Appends the filler that brings a record of `used` bytes to `average` bytes on average, give or take a fifth of
    /// itself.
    pub fn write_filler(&self, out: &mut Vec<u8>, bits: u64, used: u64, average: u64) {
        let begin = bits as usize % BEGINNINGS;
        let Some((shortest, spread)) = filler_lengths(used, average) else { return };
        // A copy of the same length every time is faster than one of the right length.
        let end = out.len() + (shortest + scale(bits, spread)) as usize;
        out.extend_from_slice(&self.letters[begin..begin + (shortest + spread) as usize]);
        out.truncate(end);
    }

    /// Some words: of 3 bytes up to but without `longest`, less the spaces around them.
    pub fn words(&self, bits: u64, longest: u64) -> &[u8] {
        let begin = bits as usize % BEGINNINGS;
        let length = SHORTEST + scale(bits, longest - SHORTEST);
        self.words[begin..begin + length as usize].trim_ascii()
    }
}

/// The least length of a filler, and how many lengths there are from there on; `None`: no room for any.
const fn filler_lengths(used: u64, average: u64) -> Option<(u64, u64)> {
    let Some(wished) = average.checked_sub(used) else { return None };
    let delta = (wished * 2 + 5) / 10;
    Some((wished - delta, 2 * delta))
}

/// The longest filler of a record of `average` bytes.
pub const fn longest_filler(average: u64) -> usize {
    (average + average / 5 + 1) as usize
}

/// A random letter, or one in 13 times the special character.
pub const fn character(bits: u64, special: u8) -> u8 {
    if scale(bits, 13) == 0 { special } else { b'a' + scale(bits.rotate_left(32), 26) as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filler(text: &Text, bits: u64, used: u64, average: u64) -> Vec<u8> {
        let mut out = b"before".to_vec();
        text.write_filler(&mut out, bits, used, average);
        out.strip_prefix(b"before").unwrap().to_vec()
    }

    #[test]
    fn texts_have_the_published_lengths() {
        let text = Text::new(7, 1000);
        let bits = Random::new(7, 99);
        let fillers: Vec<usize> = (0..10_000).map(|n| filler(&text, bits.at(n), 32, 100).len()).collect();
        assert_eq!((fillers.iter().min(), fillers.iter().max()), (Some(&54), Some(&81)));
        let mean = fillers.iter().sum::<usize>() as f64 / 10_000.0;
        assert!((mean - 67.5).abs() < 0.3, "{mean}");
        let words: Vec<&[u8]> = (0..10_000).map(|n| text.words(bits.at(n), 20)).collect();
        assert!(words.iter().all(|w| w.len() < 20 && !w.starts_with(b" ") && !w.ends_with(b" ")));
        assert!(words.iter().any(|w| w.contains(&b' ')));
    }

    #[test]
    fn a_record_above_its_average_has_no_filler() {
        let text = Text::new(7, 10);
        assert_eq!(filler(&text, u64::MAX, 101, 100), b"");
        assert_eq!(filler(&text, u64::MAX, 100, 100), b"");
    }
}
