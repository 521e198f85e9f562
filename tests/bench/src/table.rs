//! Statistics of rounds, and Markdown tables of them.

use std::iter;

use bdr_bench::round::Round;

/// A figure of a round.
pub(crate) type Figure = fn(&Round) -> f64;

/// The median and the range of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Returns the spread of a figure, or `None` without rounds.
    pub(crate) fn of<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> Option<Self> {
        let mut figures: Vec<_> = rounds.iter().map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (figures.first()?, figures.last()?);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}

/// Returns the median of a figure, or NaN without rounds.
pub(crate) fn median<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    Spread::of(rounds, figure).map_or(f64::NAN, |spread| spread.median)
}

/// Returns the spread of a figure as `median (min–max)`.
pub(crate) fn spread(rounds: &[Round], figure: Figure, digits: usize) -> String {
    Spread::of(rounds, figure).map_or_else(String::new, |Spread { median, min, max }| {
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    })
}

/// Returns a number with this many digits after the point, or a dash for NaN.
pub(crate) fn number(number: f64, digits: usize) -> String {
    if number.is_nan() { "–".to_owned() } else { format!("{number:.digits$}") }
}

/// A column of a table: its head, and the cell of a row.
pub(crate) type Column<'a, T> = (&'a str, &'a dyn Fn(&T) -> String);

/// Returns a Markdown table, aligned to the right so that it is readable as plain text.
pub(crate) fn table<T>(rows: &[T], columns: &[Column<'_, T>]) -> String {
    let mut lines = vec!["|".to_owned(); rows.len() + 2];
    for (head, cell) in columns {
        let cells: Vec<_> = iter::once((*head).to_owned()).chain(rows.iter().map(cell)).collect();
        let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0).max(2);
        let rule = format!("{}:", "-".repeat(width - 1));
        let cells = [&cells[0], &rule].into_iter().chain(&cells[1..]);
        for (line, cell) in lines.iter_mut().zip(cells) {
            let cell = format!(" {cell:>width$} |");
            line.push_str(&cell);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_two() {
        let rounds = |figures: &[f64]| -> Vec<_> {
            let round = |&wall_s| Round { wall_s, cpu_s: 0.0, peak_mib: 0.0 };
            figures.iter().map(round).collect()
        };
        let wall_s = |round: &Round| round.wall_s;
        let of = |figures: &[f64]| Spread::of(&rounds(figures), wall_s);
        let (min, max) = (1.0, 4.0);
        assert_eq!(of(&[4.0, 1.0, 2.0]), Some(Spread { median: 2.0, min, max }));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min, max }));
        assert_eq!(of(&[]), None);
        assert_eq!(spread(&rounds(&[1.0]), wall_s, 2), "1.00 (1.00–1.00)");
    }

    #[test]
    fn a_table_is_markdown() {
        let rows = [("W1–3", 7)];
        let table =
            table(&rows, &[("what", &|row| row.0.into()), ("MiB", &|row| row.1.to_string())]);
        assert_eq!(table, "| what | MiB |\n| ---: | --: |\n| W1–3 |   7 |");
    }
}
