//! Memory over time, drawn with block characters.

/// The size of the plot, in characters.
const WIDTH: usize = 72;
const HEIGHT: usize = 8;

/// The fillings of a character.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const STEPS: usize = BLOCKS.len() - 1;

/// Draws samples in KiB, taken at equal distances over `seconds`, on an axis in MiB from zero. A column
/// shows the highest sample of its time.
pub(crate) fn plot(samples_kib: &[u64], seconds: f64) -> String {
    let columns = columns(samples_kib);
    let max = columns.iter().copied().max().unwrap_or_default();
    let row_mib = max.div_ceil(1024).div_ceil(HEIGHT as u64).max(1);
    let steps = |kib| usize::try_from(kib * STEPS as u64 / (row_mib * 1024)).unwrap_or(usize::MAX);

    let mut lines = vec!["  MiB".to_owned()];
    for row in (0..HEIGHT).rev() {
        let label = row_mib * (row as u64 + 1);
        let steps = columns.iter().map(|&kib| steps(kib).saturating_sub(row * STEPS).min(STEPS));
        let blocks: String = steps.map(|steps| BLOCKS[steps]).collect();
        lines.push(format!("{label:>5} ┤{}", blocks.trim_end()));
    }
    let width = columns.len().max(16);
    lines.push(format!("    0 └{}", "─".repeat(width)));
    let end = format!("{seconds:.1} s");
    lines.push(format!("       0 s{end:>rest$}", rest = width - 3));
    lines.join("\n")
}

/// Returns the maximum of each of at most [`WIDTH`] groups of samples.
fn columns(samples: &[u64]) -> Vec<u64> {
    let width = samples.len().min(WIDTH);
    let edge = |column| column * samples.len() / width;
    let group = |column| &samples[edge(column)..edge(column + 1)];
    (0..width).filter_map(|column| group(column).iter().copied().max()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024;

    #[test]
    fn a_rising_line_rises() {
        let samples: Vec<_> = (0..=17).map(|step| step * MIB).collect();
        let plot = plot(&samples, 3.0);
        let rows: Vec<_> = plot.lines().collect();
        assert_eq!(rows[1], "   24 ┤");
        assert_eq!(rows[3], "   18 ┤                ▂▅");
        assert_eq!(rows[8], "    3 ┤ ▂▅███████████████");
        assert_eq!(rows[9], "    0 └──────────────────");
        assert_eq!(rows[10], "       0 s          3.0 s");
    }

    #[test]
    fn many_samples_keep_their_peaks_and_no_samples_are_drawn() {
        let mut samples = vec![MIB; 10_000];
        samples[7_777] = 9 * MIB;
        assert_eq!(columns(&samples).len(), WIDTH);
        assert_eq!(columns(&samples).into_iter().max(), Some(9 * MIB));
        assert_eq!(plot(&[], 0.0).lines().count(), HEIGHT + 3);
    }
}
