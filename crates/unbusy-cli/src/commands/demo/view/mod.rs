//! What is to be seen while the demo runs.

mod live;
mod pace;
mod plain;

use super::board::Board;
use super::plan::Plan;

/// Shows the demo until the user ends it, or until this is dropped.
pub(super) async fn show(board: &Board, plan: &Plan, as_lines: bool) -> std::io::Result<()> {
    if as_lines { plain::show(board, plan).await } else { live::show(board, plan).await }
}
