//! Prices: from 1 to 1,000,000 (in cents), spread evenly over their logarithm.

use crate::generator::{Random, scale};

const STEPS: usize = 4096;
/// From one step to the next: `10 ^ (6 / STEPS)`.
const STEP: f64 = 1.003_378_622_102_704_8;

/// A table of the exponential function, made by multiplication alone, so that prices are the same on every machine.
#[derive(Debug)]
pub struct Prices {
    table: Vec<f64>,
}

impl Prices {
    pub fn new() -> Self {
        let powers = std::iter::successors(Some(100.0), |price| Some(price * STEP));
        Self { table: powers.take(STEPS + 1).collect() }
    }

    /// A price in cents.
    pub fn at(&self, random: Random, position: u64) -> i64 {
        let bits = random.at(position);
        let step = scale(bits, STEPS as u64) as usize;
        let within = (bits.wrapping_mul(STEPS as u64) >> 11) as f64 / (1u64 << 53) as f64;
        let (low, high) = (self.table[step], self.table[step + 1]);
        (low + (high - low) * within + 0.5) as i64
    }
}
