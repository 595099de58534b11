//! Where in a manifest its inline SQL stands, so that an error in the SQL can be shown in the manifest's lines.

/// Where a script begins in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlPlace {
    /// Lines above the script's first.
    pub lines: u64,
    /// Columns before each of its lines.
    pub columns: u64,
}

impl SqlPlace {
    /// The place of `sql` in a manifest's text, if it stands there line by line: behind `sql: |`.
    pub fn find(manifest: &str, sql: &str) -> Option<Self> {
        let lines: Vec<&str> = manifest.lines().collect();
        let script: Vec<&str> = sql.lines().collect();
        let first = script.iter().position(|line| !line.trim().is_empty())?;
        let headers = lines.iter().enumerate().filter(|(_, line)| is_block_header(line)).map(|(index, _)| index + 1);
        headers
            .filter_map(|start| {
                let indent = lines.get(start + first)?.strip_suffix(script[first])?;
                let is_it = indent.bytes().all(|b| b == b' ')
                    && script.iter().enumerate().all(|(index, line)| {
                        lines.get(start + index).is_some_and(|there| {
                            there.strip_prefix(indent).unwrap_or_else(|| there.trim()).trim_end() == line.trim_end()
                        })
                    });
                is_it.then_some(Self { lines: start as u64, columns: indent.len() as u64 })
            })
            .next()
    }
}

/// True for `sql: |`, with any of YAML's marks and a comment behind.
fn is_block_header(line: &str) -> bool {
    let after = line.trim_start().strip_prefix("sql:").map(str::trim_start);
    after.is_some_and(|value| value.starts_with('|'))
}

#[cfg(test)]
mod tests {
    use super::SqlPlace;

    #[test]
    fn finds_a_literal_block() {
        let manifest =
            "spec:\n  job:\n    sql: | # the job\n\n      SELECT 1;\n      \n        SELECT 2;\n    mode: batch\n";
        let sql = "\nSELECT 1;\n\n  SELECT 2;\n";
        assert_eq!(SqlPlace::find(manifest, sql), Some(SqlPlace { lines: 3, columns: 6 }));
    }

    #[test]
    fn a_folded_or_quoted_script_has_no_lines_of_its_own() {
        assert_eq!(SqlPlace::find("sql: >\n  SELECT\n  1\n", "SELECT 1\n"), None);
        assert_eq!(SqlPlace::find("sql: SELECT 1\n", "SELECT 1"), None);
    }
}
