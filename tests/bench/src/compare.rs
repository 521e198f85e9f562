//! `compare`: the function beside the floor and s-zip. They run in turn, so that other load on the
//! machine affects all of them.

use std::iter;

use anyhow::Result;
use bdr_bench::{round::Round, traffic::Traffic};

use crate::{
    bench::Bench,
    options::Compare,
    peers::Peer,
    phases::{NAMES, Phases},
    table::{Column, median, number, spread, table},
    workload::{Preset, Workload},
};

/// Concurrent requests of the function to one web server (`process-bdr-job`, `remote/hosts.rs`).
const PER_HOST: usize = 8;

/// The measurements of one workload with one program.
struct Series {
    preset: Preset,
    /// `None` is the function.
    peer: Option<Peer>,
    rounds: Vec<Round>,
    /// The function's phases, by round.
    phases: Vec<Phases>,
    /// The function's requests in the last round.
    traffic: Traffic,
}

impl Bench {
    /// Measures every workload with every program and prints the comparison.
    pub(crate) async fn compare(&self, options: &Compare) -> Result<()> {
        let mut all = Vec::new();
        for &preset in &options.workloads {
            all.extend(self.compare_one(preset, options).await?);
        }
        if !options.alone {
            println!("{}\n", ratios(&options.workloads, &all));
        }
        let figures: [Column<'_, Series>; 5] = [
            ("workload", &|row| format!("{:?}", row.preset)),
            ("what", &Series::name),
            ("wall s", &|row| spread(&row.rounds, |round| round.wall_s, 3)),
            ("CPU s", &|row| spread(&row.rounds, |round| round.cpu_s, 3)),
            ("peak RSS MiB", &|row| spread(&row.rounds, |round| round.peak_mib, 2)),
        ];
        println!("{}\n", table(&all, &figures));
        let functions: Vec<_> = all.iter().filter(|series| series.peer.is_none()).collect();
        let requests: [Column<'_, &Series>; 5] = [
            ("workload", &|row| format!("{:?}", row.preset)),
            ("requests to S3", &|row| row.traffic.requests_text()),
            ("at once", &|row| row.traffic.max_in_flight.to_string()),
            ("connections", &|row| row.traffic.connections.to_string()),
            ("errors", &|row| row.traffic.errors.to_string()),
        ];
        println!("{}\n", table(&functions, &requests));
        println!("{}", phases(&functions));
        if !options.alone {
            println!("\n{}", bars(&options.workloads, &all));
        }
        Ok(())
    }

    async fn compare_one(&self, preset: Preset, options: &Compare) -> Result<Vec<Series>> {
        let seeded = self.seed(Workload::from(preset)).await?;
        match preset {
            Preset::W3 | Preset::W6 => {}
            // Its contents would not fit into the memory of the server.
            Preset::W5 | Preset::Large => {
                let sample = Workload::of_size(60_000_000, 12_000_000);
                self.inspect(&self.seed(sample).await?).await?;
            }
            Preset::W1 | Preset::W2 | Preset::Web => self.inspect(&seeded).await?,
        }
        let peers: &[Peer] = match preset {
            _ if options.alone => &[],
            Preset::Web => &[Peer::Floor(PER_HOST)],
            // Its ZIP is one part.
            Preset::W1 => {
                &[Peer::Floor(64), Peer::Floor(128), Peer::Floor(256), Peer::Chain(128), Peer::SZip]
            }
            _ => &[Peer::Floor(64), Peer::Floor(128), Peer::Floor(256), Peer::SZip],
        };
        let programs = iter::once(None).chain(peers.iter().copied().map(Some));
        let new = |peer| Series {
            preset,
            peer,
            rounds: Vec::new(),
            phases: Vec::new(),
            traffic: Traffic::default(),
        };
        let mut all: Vec<_> = programs.map(new).collect();
        let (_limits, mut function) = self.start_function(self.lambda_mb).await?;
        for count in 1..=options.rounds {
            for series in &mut all {
                let round = if let Some(peer) = series.peer {
                    self.run_peer(peer, &seeded, None).await?
                } else {
                    // The first run warms the process up. A peer does the same by itself.
                    self.run(&mut function, &seeded).await?;
                    let measured = self.run(&mut function, &seeded).await?;
                    series.traffic = measured.traffic;
                    series.phases.push(measured.phases);
                    measured.round
                };
                eprintln!("  {preset:?} #{count} {} {round:?}", series.name());
                series.rounds.push(round);
            }
        }
        function.stop().await?;
        Ok(all)
    }
}

impl Series {
    fn name(&self) -> String {
        self.peer.map_or_else(|| "process-bdr-job".to_owned(), |peer| peer.to_string())
    }

    fn wall_s(&self) -> f64 {
        median(&self.rounds, |round| round.wall_s)
    }

    fn cpu_s(&self) -> f64 {
        median(&self.rounds, |round| round.cpu_s)
    }

    fn peak_mib(&self) -> f64 {
        median(&self.rounds, |round| round.peak_mib)
    }

    /// Returns the time until the row is `ready`: without the e-mail, which is sent afterwards. A peer sends none.
    fn ready_s(&self) -> f64 {
        let after_ready = self.phases.iter().map(Phases::after_ready_s).chain(iter::repeat(0.0));
        let pairs: Vec<_> = self.rounds.iter().zip(after_ready).collect();
        median(&pairs, |(round, after_ready_s)| round.wall_s - after_ready_s)
    }
}

/// Returns the function's phases in milliseconds, one row per workload.
fn phases(functions: &[&Series]) -> String {
    let spent = |phase: usize| {
        move |series: &&Series| {
            number(median(&series.phases, |phases| f64::from(phases.0[phase])), 0)
        }
    };
    let cells: [_; NAMES.len()] = std::array::from_fn(spent);
    let heads = NAMES.map(|name| format!("{name} ms"));
    let mut columns: Vec<Column<'_, &Series>> =
        vec![("workload", &|series| format!("{:?}", series.preset))];
    for (head, cell) in heads.iter().zip(&cells) {
        columns.push((head, cell));
    }
    table(functions, &columns)
}

/// Returns the medians of the function divided by those of its peers.
fn ratios(presets: &[Preset], all: &[Series]) -> String {
    // Divides by the best of the peers that match.
    let ratio = |preset: &Preset, matches: fn(Peer) -> bool, figure: fn(&Series) -> f64| {
        let group = all.iter().filter(|series| series.preset == *preset);
        let function = group.clone().find(|series| series.peer.is_none()).map_or(f64::NAN, figure);
        let peers = group.filter(|series| series.peer.is_some_and(matches)).map(figure);
        number(function / peers.min_by(f64::total_cmp).unwrap_or(f64::NAN), 2)
    };
    let is_floor_64 = |peer| peer == Peer::Floor(64);
    let is_floor = |peer| matches!(peer, Peer::Floor(_));
    let is_s_zip = |peer| peer == Peer::SZip;
    let is_chain = |peer| matches!(peer, Peer::Chain(_));
    let columns: [Column<'_, Preset>; 9] = [
        ("process-bdr-job", &|preset| format!("{preset:?}")),
        ("wall / floor(64)", &|preset| ratio(preset, is_floor_64, Series::wall_s)),
        ("wall / best floor", &|preset| ratio(preset, is_floor, Series::wall_s)),
        ("wall / chain", &|preset| ratio(preset, is_chain, Series::wall_s)),
        ("until ready / chain", &|preset| ratio(preset, is_chain, Series::ready_s)),
        ("CPU / floor(64)", &|preset| ratio(preset, is_floor_64, Series::cpu_s)),
        ("wall / s-zip", &|preset| ratio(preset, is_s_zip, Series::wall_s)),
        ("CPU / s-zip", &|preset| ratio(preset, is_s_zip, Series::cpu_s)),
        ("peak RSS / s-zip", &|preset| ratio(preset, is_s_zip, Series::peak_mib)),
    ];
    table(presets, &columns)
}

/// Returns the times as bars. The longest time of a workload has the full width.
fn bars(presets: &[Preset], all: &[Series]) -> String {
    const WIDTH: u8 = 48;
    let mut lines = Vec::new();
    for preset in presets {
        let group = all.iter().filter(|series| series.preset == *preset);
        let max = group.clone().map(Series::wall_s).fold(f64::MIN_POSITIVE, f64::max);
        for series in group {
            let (name, time) = (series.name(), series.wall_s());
            let length = (time / max * f64::from(WIDTH)).round().max(1.0);
            let columns = (0..WIDTH).take_while(|&column| f64::from(column) < length);
            let bar: String = columns.map(|_| '█').collect();
            lines.push(format!("{preset:>4?}  {name:<15} {bar} {time:.2} s"));
        }
        lines.push(String::new());
    }
    format!("```text\n{}\n```", lines.join("\n").trim_end())
}
