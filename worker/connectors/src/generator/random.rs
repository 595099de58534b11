//! Random numbers that depend on a position only.

use std::fmt::Debug;

/// The random numbers of one field: `at(n)` is the n-th output of the SplitMix64 generator that begins at the field's
/// key. Numbers are read at any position, in any order.
#[derive(Debug, Clone, Copy)]
pub struct Random {
    key: u64,
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

const fn mix(mut h: u64) -> u64 {
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    h ^ (h >> 31)
}

impl Random {
    /// The numbers of a field, named by a number that differs from those of the seed's other fields.
    pub const fn new(seed: u64, field: u64) -> Self {
        Self { key: mix(mix(seed.wrapping_add(GOLDEN)) ^ field.wrapping_mul(0xD6E8_FEB8_6659_FD93)) }
    }

    /// 64 random bits at a position.
    pub const fn at(self, position: u64) -> u64 {
        mix(self.key.wrapping_add(position.wrapping_mul(GOLDEN)))
    }

    /// A number from 0 up to but without `bound`, at a position; 0 if the bound is 0.
    pub const fn below(self, position: u64, bound: u64) -> u64 {
        scale(self.at(position), bound)
    }

    /// A number from 0 up to but without 1, at a position.
    pub fn unit(self, position: u64) -> f64 {
        (self.at(position) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Random bits to a number from 0 up to but without `bound`.
pub const fn scale(bits: u64, bound: u64) -> u64 {
    ((bits as u128 * bound as u128) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_spread_and_fixed() {
        let random = Random::new(0, 1);
        assert_eq!(random.at(5), Random::new(0, 1).at(5));
        assert_ne!(random.at(5), Random::new(0, 2).at(5));
        assert_ne!(random.at(5), Random::new(1, 1).at(5));
        let mut counts = [0u32; 10];
        (0..100_000).for_each(|n| counts[random.below(n, 10) as usize] += 1);
        assert!(counts.iter().all(|c| (9_600..10_400).contains(c)), "{counts:?}");
        let mean = (0..100_000).map(|n| random.unit(n)).sum::<f64>() / 100_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert_eq!(random.below(7, 0), 0);
    }
}
