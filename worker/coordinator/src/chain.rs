//! Whether the state files of a snapshot have become a chain that is better replaced by the whole state.

use streamfleet_types::log::StateFile;

/// True if a restore from these files would replay much more than the state, or very many files: deltas of at least the size of
/// the oldest epoch's files, which hold the state as it was written whole, or too many of them.
pub(crate) fn is_long(files: &[StateFile], most: usize) -> bool {
    let oldest = files.iter().map(|f| f.epoch).min();
    let whole: u64 = files.iter().filter(|f| Some(f.epoch) == oldest).map(|f| f.bytes).sum();
    let all: u64 = files.iter().map(|f| f.bytes).sum();
    files.len() > most || (files.len() > most / 4 && all > 4 * whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamfleet_types::{Epoch, HashRange};

    /// Files of so many bytes, one an epoch.
    fn files(sizes: &[u64]) -> Vec<StateFile> {
        let file = |(epoch, bytes): (u64, &u64)| StateFile {
            path: format!("data/{epoch}"),
            epoch: Epoch(epoch),
            range: HashRange::ALL,
            bytes: *bytes,
            rows: 1,
        };
        (1..).zip(sizes).map(file).collect()
    }

    #[test]
    fn many_files_are_long_whatever_their_size() {
        assert!(!is_long(&files(&[1_000_000, 1, 1, 1]), 32));
        let mut many = vec![1_000_000];
        many.extend([1; 32]);
        assert!(is_long(&files(&many), 32));
        many.pop();
        assert!(!is_long(&files(&many), 32));
    }

    #[test]
    fn deltas_much_larger_than_the_state_are_long_if_there_are_some() {
        let mut grown = vec![100];
        grown.extend([50; 8]);
        assert!(is_long(&files(&grown), 32), "500 bytes for a state that began with 100");
        assert!(!is_long(&files(&grown[..8]), 32), "few files are read quickly, whatever is in them");
    }

    #[test]
    fn nothing_is_not_long() {
        assert!(!is_long(&[], 0));
    }
}
