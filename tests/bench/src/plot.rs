//! Memory over time, drawn with block characters.

use std::time::Duration;

use crate::growth::MIB;

/// Size of the plot, in characters.
const WIDTH: usize = 72;
const HEIGHT: usize = 8;

/// What fills a character from below.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const STEPS: usize = BLOCKS.len() - 1;

/// Draws `samples`, taken at equal distances over `duration`, in MiB from zero up. A column shows
/// the most that was in use during its time.
pub(crate) fn plot(samples: &[u64], duration: Duration) -> String {
    let columns = columns(samples);
    let most = columns.iter().copied().max().unwrap_or_default();
    let mib_a_row = most.div_ceil(MIB).div_ceil(HEIGHT as u64).max(1);
    let fillings: Vec<_> = columns.iter().map(|bytes| filling(*bytes, mib_a_row * MIB)).collect();

    let mut lines = vec!["  MiB".to_owned()];
    for row in (0..HEIGHT).rev() {
        let label = mib_a_row * (row as u64 + 1);
        let blocks =
            fillings.iter().map(|steps| BLOCKS[steps.saturating_sub(row * STEPS).min(STEPS)]);
        lines.push(format!("{label:>5} ┤{}", blocks.collect::<String>().trim_end()));
    }
    let width = columns.len().max(16);
    lines.push(format!("    0 └{}", "─".repeat(width)));
    let end = format!("{:.1} s", duration.as_secs_f64());
    lines.push(format!("       0 s{end:>rest$}", rest = width - 3));
    lines.join("\n")
}

/// The samples in at most [`WIDTH`] groups, and of each group the largest.
fn columns(samples: &[u64]) -> Vec<u64> {
    let width = samples.len().min(WIDTH);
    let edge = |column| column * samples.len() / width;
    let group = |column| &samples[edge(column)..edge(column + 1)];
    (0..width).filter_map(|column| group(column).iter().copied().max()).collect()
}

/// How many steps high a column is.
fn filling(bytes: u64, bytes_a_row: u64) -> usize {
    usize::try_from(bytes * STEPS as u64 / bytes_a_row).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rising_line_rises() {
        let samples: Vec<_> = (0..=17).map(|step| step * MIB).collect();
        let plot = plot(&samples, Duration::from_secs(3));
        let rows: Vec<_> = plot.lines().collect();
        assert_eq!(rows[1], "   24 ┤");
        assert_eq!(rows[3], "   18 ┤                ▂▅");
        assert_eq!(rows[8], "    3 ┤ ▂▅███████████████");
        assert_eq!(rows[9], "    0 └──────────────────");
        assert_eq!(rows[10], "       0 s          3.0 s");
    }

    #[test]
    fn many_samples_keep_their_peaks_and_none_are_drawn_too() {
        let mut samples = vec![MIB; 10_000];
        samples[7_777] = 9 * MIB;
        assert_eq!(columns(&samples).len(), WIDTH);
        assert_eq!(columns(&samples).into_iter().max(), Some(9 * MIB));
        assert_eq!(plot(&[], Duration::ZERO).lines().count(), HEIGHT + 3);
    }
}
