//! `MD5` and `SHA256`, as hexadecimal text, and `TO_BASE64`.

use super::scalar::{Texts, scalar, take, written};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};
use std::fmt::Write;

pub(super) fn all() -> Vec<ScalarUDF> {
    let text: fn(&[DataType]) -> DataType = |_| DataType::Utf8;
    vec![
        scalar(
            "md5",
            |name, types| take(name, types, "t"),
            text,
            |c| hex(c, |bytes| md5(bytes).iter().flat_map(|w| w.to_le_bytes()).collect()),
        ),
        scalar(
            "sha256",
            |name, types| take(name, types, "t"),
            text,
            |c| hex(c, |bytes| sha256(bytes).iter().flat_map(|w| w.to_be_bytes()).collect()),
        ),
        scalar("to_base64", |name, types| take(name, types, "t"), text, to_base64),
    ]
}

fn hex(call: &ScalarFunctionArgs, hash: impl Fn(&[u8]) -> Vec<u8>) -> Result<ArrayRef> {
    let texts = Texts::of(&call.args[0])?;
    Ok(written(call.number_rows, |row, out| {
        hash(texts.get(row)?.as_bytes()).iter().try_for_each(|b| write!(out, "{b:02x}")).ok()
    }))
}

/// RFC 4648, with padding.
fn to_base64(call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let texts = Texts::of(&call.args[0])?;
    Ok(written(call.number_rows, |row, out| {
        for group in texts.get(row)?.as_bytes().chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
            for digit in 0..4_usize {
                let index = (bits >> (18 - 6 * digit)) & 63;
                out.push(if digit > group.len() { '=' } else { char::from(DIGITS[index as usize]) });
            }
        }
        Some(())
    }))
}

/// The message in blocks of 64 bytes: a one bit, zeros, and the length in bits at the end.
fn blocks(message: &[u8], length: [u8; 8]) -> Vec<u8> {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend(length);
    padded
}

/// RFC 1321.
fn md5(message: &[u8]) -> [u32; 4] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let bits = (message.len() as u64 * 8).to_le_bytes();
    for block in blocks(message, bits).chunks_exact(64) {
        let word = |i: usize| u32::from_le_bytes([block[4 * i], block[4 * i + 1], block[4 * i + 2], block[4 * i + 3]]);
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64_usize {
            let (mixed, at) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), (7 * i) % 16),
            };
            let sine = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(sine).wrapping_add(word(at));
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4])));
        }
        for (old, new) in state.iter_mut().zip([a, b, c, d]) {
            *old = old.wrapping_add(new);
        }
    }
    state
}

const PRIMES: [u32; 64] = [
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199, 211, 223, 227, 229, 233, 239,
    241, 251, 257, 263, 269, 271, 277, 281, 283, 293, 307, 311,
];

/// The first 32 bits behind the point of a prime's root: FIPS 180-4 takes its constants from these.
fn root_bits(prime: u32, root: u32) -> u32 {
    // The greatest x with x^root <= prime * 2^(32 * root), by bits.
    let mut x: u128 = 0;
    for bit in (0..37).rev() {
        let next = x | (1 << bit);
        let fits = match root {
            2 => next.pow(2) <= u128::from(prime) << 64,
            _ => next.pow(3) <= u128::from(prime) << 96,
        };
        if fits {
            x = next;
        }
    }
    x as u32
}

/// FIPS 180-4.
fn sha256(message: &[u8]) -> [u32; 8] {
    static CONSTANTS: std::sync::LazyLock<[u32; 64]> = std::sync::LazyLock::new(|| PRIMES.map(|p| root_bits(p, 3)));
    let mut state = [0_u32; 8];
    for (value, prime) in state.iter_mut().zip(PRIMES) {
        *value = root_bits(prime, 2);
    }
    let bits = (message.len() as u64 * 8).to_be_bytes();
    for block in blocks(message, bits).chunks_exact(64) {
        let mut words = [0_u32; 64];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for i in 16..64 {
            let (a, b) = (words[i - 15], words[i - 2]);
            let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
            let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
            words[i] = words[i - 16].wrapping_add(s0).wrapping_add(words[i - 7]).wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for (word, constant) in words.iter().zip(CONSTANTS.iter()) {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = (e & f) ^ (!e & g);
            let t1 = h.wrapping_add(s1).wrapping_add(choice).wrapping_add(*constant).wrapping_add(*word);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = (a & b) ^ (a & c) ^ (b & c);
            let t2 = s0.wrapping_add(majority);
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (old, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *old = old.wrapping_add(new);
        }
    }
    state
}
