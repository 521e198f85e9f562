//! `gallery`: what the page and the checksums of a ZIP cost, and what it costs a small request that large exports are
//! possible. The function runs without both, with the page alone, with both, and without large exports in turn,
//! so that other load on the machine affects all.

use anyhow::Result;
use bdr_bench::round::Round;

use crate::{
    bench::Bench,
    options::Gallery,
    table::{Column, Figure, median, number, spread, table},
    workload::{Preset, Workload},
};

/// What is added to the archive: the column of the table, and the variables.
type Added = (&'static str, &'static [(&'static str, &'static str)]);

const ADDED: [Added; 4] = [
    ("nothing", &[("GALLERY_PAGE", "false"), ("CHECKSUMS", "false")]),
    ("page", &[("GALLERY_PAGE", "true"), ("CHECKSUMS", "false")]),
    ("page, checksums", &[("GALLERY_PAGE", "true"), ("CHECKSUMS", "true")]),
    (
        "nothing, without large exports",
        &[("GALLERY_PAGE", "false"), ("CHECKSUMS", "false"), ("EXPORT_STATE_MACHINE_ARN", "")],
    ),
];

/// The measurements of one workload with one of [`ADDED`].
struct Series {
    preset: Preset,
    added: &'static str,
    rounds: Vec<Round>,
    /// Size of the ZIP in bytes.
    zip_bytes: u64,
}

impl Bench {
    /// Measures every workload with each of [`ADDED`] and prints the ratios to the first.
    pub(crate) async fn gallery(&self, options: &Gallery) -> Result<()> {
        let mut all = Vec::new();
        for &preset in &options.workloads {
            all.push(self.gallery_one(preset, options.rounds).await?);
        }
        let pairs: Vec<[&Series; 2]> = all
            .iter()
            .flat_map(|[nothing, added @ ..]| added.iter().map(move |series| [nothing, series]))
            .collect();
        let ratio = |[nothing, series]: &[&Series; 2], figure: Figure| {
            number(median(&series.rounds, figure) / median(&nothing.rounds, figure), 3)
        };
        let more_ms = |[nothing, series]: &[&Series; 2]| {
            let cpu = |series: &Series| median(&series.rounds, |round| round.cpu_s);
            number((cpu(series) - cpu(nothing)) * 1000.0, 1)
        };
        let ratios: [Column<'_, [&Series; 2]>; 7] = [
            ("workload", &|[_, series]| format!("{:?}", series.preset)),
            ("added", &|[_, series]| series.added.to_owned()),
            ("wall", &|pair| ratio(pair, |round| round.wall_s)),
            ("CPU", &|pair| ratio(pair, |round| round.cpu_s)),
            ("more CPU, ms", &more_ms),
            ("peak RSS", &|pair| ratio(pair, |round| round.peak_mib)),
            ("ZIP, more bytes", &|[nothing, series]| {
                series.zip_bytes.saturating_sub(nothing.zip_bytes).to_string()
            }),
        ];
        println!("{}\n", table(&pairs, &ratios));
        let figures: [Column<'_, Series>; 6] = [
            ("workload", &|row| format!("{:?}", row.preset)),
            ("added", &|row| row.added.to_owned()),
            ("wall s", &|row| spread(&row.rounds, |round| round.wall_s, 2)),
            ("CPU s", &|row| spread(&row.rounds, |round| round.cpu_s, 4)),
            ("peak RSS MiB", &|row| spread(&row.rounds, |round| round.peak_mib, 1)),
            ("ZIP, bytes", &|row| row.zip_bytes.to_string()),
        ];
        println!("{}", table(&all.into_iter().flatten().collect::<Vec<_>>(), &figures));
        Ok(())
    }

    async fn gallery_one(&self, preset: Preset, rounds: u64) -> Result<[Series; 4]> {
        let seeded = self.seed(Workload::from(preset)).await?;
        let new = |(added, _)| Series { preset, added, rounds: Vec::new(), zip_bytes: 0 };
        let mut all = ADDED.map(new);
        let mut functions = Vec::new();
        for (_, variables) in ADDED {
            let mut function = self.start_function_with(self.lambda_mb, variables).await?;
            // The first run warms the process up.
            self.run(&mut function.1, &seeded).await?;
            functions.push(function);
        }
        for count in 1..=rounds {
            for (series, (_limits, function)) in all.iter_mut().zip(&mut functions) {
                let measured = self.run(function, &seeded).await?;
                series.zip_bytes = measured.traffic.received_bytes;
                eprintln!("  {preset:?} #{count} {}: {:?}", series.added, measured.round);
                series.rounds.push(measured.round);
            }
        }
        for (_limits, function) in functions {
            function.stop().await?;
        }
        Ok(all)
    }
}
