//! Tables of text. All rows of a table have as many cells as the first.
use nodes::data::printable::printable;

/// Aligns the cells of each column, with two spaces between columns.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let rows = printable_rows(rows);
    let mut widths = vec![0; rows.first().map_or(0, Vec::len)];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text += cells.join("  ").trim_end();
        text += "\n";
    }
    text
}

/// Formats the rows as Markdown; the first row is the header.
pub(crate) fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (i, row) in printable_rows(rows).iter().enumerate() {
        let cells: Vec<String> = row.iter().map(|cell| markdown_cell(cell)).collect();
        text += &format!("| {} |\n", cells.join(" | "));
        if i == 0 {
            text += &format!("|{}\n", "---|".repeat(row.len()));
        }
    }
    text
}

/// Escapes control characters in cells, which may be names of files.
fn printable_rows(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    rows.iter()
        .map(|row| {
            row.iter()
                .map(|cell| printable(cell).into_owned())
                .collect()
        })
        .collect()
}

/// Escapes what ends a cell and what begins a tag.
fn markdown_cell(cell: &str) -> String {
    cell.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_cells() {
        let row = ["a|b<script>\n", "2"].map(str::to_owned).to_vec();
        let rows = [row];
        assert_eq!(markdown(&rows), "| a\\|b&lt;script>\\n | 2 |\n|---|---|\n");
        assert_eq!(columns(&rows), "a|b<script>\\n  2\n");
    }
}
