//! What `INFO` answers.

use super::printable;

/// Its lines, by their names.
pub(crate) fn info_lines(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), printable(value)))
}

/// A field of a line such as `calls=3,usec=9`.
pub(crate) fn field(line: &str, name: &str) -> Option<u64> {
    line.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}
