//! What was measured, as Markdown.

use crate::{
    measurement::Measured,
    plot::plot,
    s3::{Kind, Traffic},
    workload::Workload,
};

pub(crate) const MIB: u64 = 1024 * 1024;

/// The measurements of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    workload: Workload,
    measured: Measured,
    requests: [u64; Kind::ALL.len()],
    errors: u64,
    connections: u64,
}

impl Report {
    /// Adds what was measured, while `traffic` still counts that workload.
    pub(crate) fn add(&mut self, workload: Workload, measured: Measured, traffic: &Traffic) {
        self.rows.push(Row {
            workload,
            measured,
            requests: Kind::ALL.map(|kind| traffic.requests(kind)),
            errors: traffic.errors(),
            connections: traffic.connections(),
        });
    }

    /// A row for each workload. The columns after the memory are requests to S3 by kind, answers of
    /// S3 that were errors, and connections to it.
    pub(crate) fn table(&self) -> String {
        let kinds = self.kinds();
        let mut columns = vec!["ZIP", "artworks", "seconds", "CPU seconds", "peak RSS MiB"];
        columns.extend(kinds.iter().map(|kind| kind.name()));
        columns.extend(["errors", "connections"]);

        let mut table = vec![columns.into_iter().map(str::to_owned).collect::<Vec<_>>()];
        for row in &self.rows {
            let usage = &row.measured.usage;
            let mut cells = vec![
                row.workload.to_string(),
                row.workload.artworks.to_string(),
                format!("{:.1}", row.measured.duration.as_secs_f64()),
                format!("{:.1}", usage.cpu.as_secs_f64()),
                mib(usage.peak),
            ];
            cells.extend(kinds.iter().map(|kind| row.requests[*kind as usize].to_string()));
            cells.extend([row.errors.to_string(), row.connections.to_string()]);
            table.push(cells);
        }
        markdown(&table)
    }

    /// The memory of the last workload over time.
    pub(crate) fn plot(&self) -> Option<String> {
        let Row { workload, measured, .. } = self.rows.last()?;
        let plot = plot(&measured.usage.resident, measured.duration);
        Some(format!("Resident memory while {workload} went through:\n\n{plot}"))
    }

    /// Whether memory stayed flat from the last workload but one to the last, in words; `Err` when
    /// not.
    ///
    /// Not from the first: a small request is over before everything is in use that is held at once,
    /// such as the buffers of all connections, and so its peak says less about the next one's.
    pub(crate) fn verdict(&self, memory_mb: u64) -> Result<String, String> {
        let (last, before) = match &*self.rows {
            [.., before, last] => (last, before),
            [only] => (only, only),
            [] => return Err("nothing was measured".into()),
        };
        let (peak, limit) = (last.peak(), limit(before.peak()).min(memory_mb * MIB));
        let text = format!(
            "a peak of {} MiB with {}, after {} MiB with {} (limit {}; the function has {memory_mb})",
            mib(peak),
            last.workload,
            mib(before.peak()),
            before.workload,
            mib(limit),
        );
        if peak <= limit { Ok(text) } else { Err(text) }
    }

    /// The kinds of requests that there were.
    fn kinds(&self) -> Vec<Kind> {
        let asked = |kind: &Kind| self.rows.iter().any(|row| row.requests[*kind as usize] > 0);
        Kind::ALL.into_iter().filter(asked).collect()
    }
}

impl Row {
    fn peak(&self) -> u64 {
        self.measured.usage.peak
    }
}

/// The highest peak that still counts as flat beside `before`: what an allocator happens to keep
/// differs a little from run to run.
fn limit(before: u64) -> u64 {
    before + before / 10 + 4 * MIB
}

fn mib(bytes: u64) -> String {
    let tenths = bytes * 10 / MIB;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// A Markdown table with a head, to the right, that is a table as plain text too.
fn markdown(table: &[Vec<String>]) -> String {
    let head = table.first().map_or(&[][..], Vec::as_slice);
    let width = |column| table.iter().filter_map(|row| row.get(column)).map(String::len).max();
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::resident::Usage;

    fn report(peaks: &[u64]) -> Report {
        let mut report = Report::default();
        for (artworks, &peak) in (1..).zip(peaks) {
            let usage = Usage { resident: vec![peak], peak, cpu: Duration::from_millis(540) };
            let measured =
                Measured { duration: Duration::from_millis(1_260), usage, key: "k".into() };
            let workload = Workload { artworks, artwork_bytes: 1_000_000_000 };
            report.add(workload, measured, &Traffic::default());
        }
        report
    }

    #[test]
    fn the_table_is_markdown() {
        assert_eq!(
            report(&[40 * MIB]).table(),
            "|    ZIP | artworks | seconds | CPU seconds | peak RSS MiB | errors | connections |\n\
             | -----: | -------: | ------: | ----------: | -----------: | -----: | ----------: |\n\
             | 1.0 GB |        1 |     1.3 |         0.5 |         40.0 |      0 |           0 |"
        );
    }

    #[test]
    fn a_tenth_and_4_mib_more_is_still_flat() {
        assert!(report(&[20 * MIB, 40 * MIB, 48 * MIB]).verdict(512).is_ok());
        assert!(report(&[20 * MIB, 40 * MIB, 48 * MIB + 1]).verdict(512).is_err());
        assert!(report(&[40 * MIB, 48 * MIB]).verdict(47).is_err());
        assert!(report(&[40 * MIB]).verdict(512).is_ok());
        assert!(report(&[]).verdict(512).is_err());
    }
}
