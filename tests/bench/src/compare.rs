//! The function beside the floor and a peer, in turn, so that what disturbs the machine disturbs all.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bdr_bench_jobs::rounds::Round;

use crate::{
    figures::{Spread, cells, markdown},
    measurement::{Bench, Measured, Report},
    options::{Compare, Pile},
    peers::Peer,
    workload::Workload,
};

/// A remote host is asked for so many files at once (`process-bdr-job`, `remote/hosts.rs`).
const PER_HOST: u32 = 8;

/// What was measured of one workload.
struct Compared {
    pile: Pile,
    ours: Vec<Measured>,
    peers: BTreeMap<Peer, Vec<Round>>,
}

impl Bench<'_> {
    /// Measures everything in turn, several times.
    pub(crate) async fn compare(&self, options: &Compare) -> Result<Report> {
        let mut all = Vec::new();
        for pile in &options.workloads {
            all.push(self.compare_one(*pile, options).await?);
        }
        let mut text = vec![table(&all), requests(&all)];
        if !options.alone {
            text.insert(0, ratios(&all));
            text.push(bars(&all));
        }
        Ok(Report { text: text.join("\n\n"), wrong: None })
    }

    async fn compare_one(&self, pile: Pile, options: &Compare) -> Result<Compared> {
        let workload = Workload::of_pile(pile);
        let seeded = self.seed(workload).await?;
        if pile != Pile::W3 {
            self.inspect(workload, &seeded).await?;
        }
        let peers: &[Peer] = match pile {
            _ if options.alone => &[],
            Pile::Web => &[Peer::Floor(PER_HOST)],
            _ => &[Peer::Floor(64), Peer::Floor(128), Peer::Floor(256), Peer::SZip],
        };
        let mut process = self.start_function(self.lambda_mb).await?;
        let mut compared = Compared { pile, ours: Vec::new(), peers: BTreeMap::new() };
        for round in 1..=options.rounds {
            // The first warms it up, as a peer's first does.
            self.run(&mut process, workload, &seeded).await?;
            let ours = self.run(&mut process, workload, &seeded).await?;
            eprintln!("  {pile:?} #{round} process-bdr-job {:?}", ours.round);
            compared.ours.push(ours);
            for &peer in peers {
                let measured = self.run_peer(peer, &seeded, None).await?;
                eprintln!("  {pile:?} #{round} {peer} {measured:?}");
                compared.peers.entry(peer).or_default().push(measured);
            }
        }
        process.function.stop().await.context("the function cannot be ended")?;
        Ok(compared)
    }
}

impl Compared {
    fn ours(&self, figure: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.ours.iter().map(|measured| figure(&measured.round)))
    }

    fn peer(&self, peer: Peer, figure: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.peers.get(&peer)?.iter().map(figure))
    }

    /// Our median by the peer's.
    fn ratio(&self, peer: Peer, figure: impl Fn(&Round) -> f64) -> String {
        match (self.ours(&figure), self.peer(peer, &figure)) {
            (Some(ours), Some(peer)) => format!("{:.2}", ours.median / peer.median),
            _ => "–".to_owned(),
        }
    }
}

fn wall(round: &Round) -> f64 {
    round.wall_ms / 1e3
}

fn cpu(round: &Round) -> f64 {
    round.cpu_ms / 1e3
}

/// What it takes by what others take.
fn ratios(all: &[Compared]) -> String {
    let mut rows = vec![cells([
        "process-bdr-job",
        "wall / floor(64)",
        "wall / best floor",
        "wall / s-zip",
        "CPU / s-zip",
        "peak RSS / s-zip",
    ])];
    for compared in all {
        let floors = compared.peers.keys().filter(|peer| matches!(peer, Peer::Floor(_)));
        let best = floors.filter_map(|&peer| Some((compared.peer(peer, wall)?.median, peer)));
        let best = best.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, peer)| peer);
        rows.push(vec![
            format!("{:?}", compared.pile),
            compared.ratio(Peer::Floor(64), wall),
            best.map_or_else(|| "–".to_owned(), |best| compared.ratio(best, wall)),
            compared.ratio(Peer::SZip, wall),
            compared.ratio(Peer::SZip, cpu),
            compared.ratio(Peer::SZip, Round::peak_mib),
        ]);
    }
    markdown(&rows)
}

/// What it all took.
fn table(all: &[Compared]) -> String {
    let mut rows = vec![cells(["workload", "what", "wall s", "CPU s", "peak RSS MiB"])];
    for compared in all {
        let pile = format!("{:?}", compared.pile);
        let mut row = |what: String, figures: [Option<Spread>; 3]| {
            let [wall, cpu, peak] =
                figures.map(|spread| spread.map_or_else(String::new, |s| s.text(2)));
            rows.push(vec![pile.clone(), what, wall, cpu, peak]);
        };
        let ours = [compared.ours(wall), compared.ours(cpu), compared.ours(Round::peak_mib)];
        row("process-bdr-job".to_owned(), ours);
        for &peer in compared.peers.keys() {
            let figures = [
                compared.peer(peer, wall),
                compared.peer(peer, cpu),
                compared.peer(peer, Round::peak_mib),
            ];
            row(peer.to_string(), figures);
        }
    }
    markdown(&rows)
}

/// What the function asked of S3.
fn requests(all: &[Compared]) -> String {
    let mut rows = vec![cells(["workload", "requests to S3", "at once", "connections", "errors"])];
    for compared in all {
        let Some(Measured { traffic, .. }) = compared.ours.last() else { continue };
        let requests = traffic.requests.iter().map(|(kind, count)| format!("{count} {kind}"));
        rows.push(vec![
            format!("{:?}", compared.pile),
            requests.collect::<Vec<_>>().join(", "),
            traffic.most_in_flight.to_string(),
            traffic.connections.to_string(),
            traffic.errors.to_string(),
        ]);
    }
    markdown(&rows)
}

/// The times as bars, a workload's longest being the whole width.
fn bars(all: &[Compared]) -> String {
    const WIDTH: f64 = 48.0;
    let mut lines = Vec::new();
    for compared in all {
        let peers =
            compared.peers.keys().map(|&peer| (peer.to_string(), compared.peer(peer, wall)));
        let ours = ("process-bdr-job".to_owned(), compared.ours(wall));
        let times: Vec<_> = std::iter::once(ours)
            .chain(peers)
            .filter_map(|(what, spread)| Some((what, spread?.median)))
            .collect();
        let longest = times.iter().map(|(_, time)| *time).fold(f64::MIN_POSITIVE, f64::max);
        for (what, time) in times {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a small width"
            )]
            let length = (time / longest * WIDTH).round().max(1.0) as usize;
            lines.push(format!(
                "{:>4?}  {what:<15} {} {time:.2} s",
                compared.pile,
                "█".repeat(length)
            ));
        }
        lines.push(String::new());
    }
    format!("```text\n{}\n```", lines.join("\n").trim_end())
}
