//! The name that a mistyped one most likely means.

/// The known name that is the fewest edits away, compared without case; `None` if all are too far.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let most = (wanted.chars().count() / 3).max(1);
    let scored = known.into_iter().map(|k| (distance(&wanted, &k.to_lowercase()), k));
    scored.filter(|(d, _)| *d <= most).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}

/// Edits (insert, delete, replace) between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn gives_the_name_that_is_few_edits_away() {
        assert_eq!(nearest("paralelism", ["mode", "parallelism"]), Some("parallelism"));
        assert_eq!(nearest("MODE", ["node", "mode"]), Some("mode"));
        assert_eq!(nearest("sql", ["parallelism"]), None);
    }
}
