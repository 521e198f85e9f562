//! Figures, and tables of them.

/// The middle one, the least and the most of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<_> = figures.into_iter().collect();
        figures.sort_unstable_by(f64::total_cmp);
        let (&least, &most) = (figures.first()?, figures.last()?);
        let half = figures.len() / 2;
        let median = if figures.len().is_multiple_of(2) {
            f64::midpoint(figures[half - 1], figures[half])
        } else {
            figures[half]
        };
        Some(Self { median, least, most })
    }

    /// As `median (least–most)`.
    pub(crate) fn text(&self, decimals: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.decimals$} ({least:.decimals$}–{most:.decimals$})")
    }
}

/// A Markdown table with a head, to the right, that is a table as plain text too.
pub(crate) fn markdown(table: &[Vec<String>]) -> String {
    let head = table.first().map_or(&[][..], Vec::as_slice);
    let width = |column| {
        table
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell: &String| cell.chars().count())
            .max()
    };
    let widths: Vec<_> = (0..head.len()).map(|column| width(column).unwrap_or(0).max(2)).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, &width)| format!(" {cell:>width$} |"));
        format!("|{}", cells.collect::<Vec<_>>().concat())
    };
    let rule: Vec<_> = widths.iter().map(|width| format!("{}:", "-".repeat(width - 1))).collect();
    let mut lines: Vec<_> = table.iter().map(|row| line(row)).collect();
    lines.insert(1.min(lines.len()), line(&rule));
    lines.join("\n")
}

/// The cells of a row.
pub(crate) fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_is_between_two() {
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied());
        let (least, most) = (1.0, 4.0);
        assert_eq!(spread(&[4.0, 1.0, 2.0]), Some(Spread { median: 2.0, least, most }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, least, most }));
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[1.0]).unwrap().text(2), "1.00 (1.00–1.00)");
    }

    #[test]
    fn a_table_is_markdown() {
        let table = [cells(["what", "MiB"]), cells(["W1–3", "7"])];
        assert_eq!(markdown(&table), "| what | MiB |\n| ---: | --: |\n| W1–3 |   7 |");
    }
}
