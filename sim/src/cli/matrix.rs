//! `matrix`: every row of the expected matrix, ours beside 4.9.

use staticfire::matrix_rows;

use crate::cli::{Exit, MatrixArgs, output};

/// Serves `matrix`.
pub(crate) fn matrix(args: &MatrixArgs) -> Exit {
    let rows = matrix_rows::all().len();
    let switches = args.upstream.len();
    output::not_built(&format!("{rows} rows of {} seeds, {switches} upstream switches", args.seeds))
}
