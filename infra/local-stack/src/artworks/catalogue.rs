//! What there is to draw, and what artists say about it.

use fastrand::Rng;

use super::{
    Format::{self, Bmp, Gif, Png, WebP},
    canvas::Canvas,
    fire, invader, landscape, planet, quilt, skyline, treasure,
};

/// How many variations each motif has.
const VARIATIONS: usize = 4;

/// A kind of picture.
#[derive(Debug)]
pub(super) struct Motif {
    pub(super) titles: [&'static str; VARIATIONS],
    pub(super) description: &'static str,
    pub(super) hashtags: &'static [&'static str],
    pub(super) formats: [Format; VARIATIONS],
    pub(super) frame_milliseconds: u32,
    /// Draws one frame, or several when it is to move.
    pub(super) draw: fn(&mut Rng, variation: usize, moving: bool) -> Vec<Canvas>,
}

/// The motif of this index, its variation, and how often the catalogue has been gone through.
pub(super) fn pick(index: u64) -> (&'static Motif, usize, u64) {
    let motifs = MOTIFS.len() as u64;
    let variations = VARIATIONS as u64;
    let variation = (index / motifs % variations) as usize;
    (&MOTIFS[(index % motifs) as usize], variation, index / motifs / variations)
}

static MOTIFS: [Motif; 7] = [
    Motif {
        titles: ["Ñandú invasor 👾", "Kosmiczny żuk", "Petit envahisseur", "Космический гость"],
        description: "First contact went better than expected.",
        hashtags: &["invader", "sprite", "16x16"],
        formats: [Png, Gif, Png, Gif],
        frame_milliseconds: 180,
        draw: invader::draw,
    },
    Motif {
        titles: ["Planète naine 🪐", "Rotace", "Gaseous & proud", "小さな惑星"],
        description: "A world of sixty-four by sixty-four.\nDithered by hand, or nearly.",
        hashtags: &["planet", "space", "dithering"],
        formats: [Gif, WebP, Png, Gif],
        frame_milliseconds: 90,
        draw: planet::draw,
    },
    Motif {
        titles: [
            "Château d’automne 🍂",
            "Fjord bei Föhn",
            "La hora dorada",
            "Mañana en la sierra ⛰️",
        ],
        description: "Eight colours for the sky, four for the hills. The lake is the sky again.",
        hashtags: &["landscape", "paisaje", "goldenhour"],
        formats: [Png, Bmp, WebP, Png],
        frame_milliseconds: 0,
        draw: landscape::draw,
    },
    Motif {
        titles: ["Azulejo n.º 7", "Quilt “Grandma’s winter”", "İznik çinisi", "Kachel 🟦🟨"],
        description: "Seamless: tile it on your desk.",
        hashtags: &["tile", "pattern", "azulejo"],
        formats: [Bmp, Png, WebP, Bmp],
        frame_milliseconds: 0,
        draw: quilt::draw,
    },
    Motif {
        titles: ["Hoguera 🔥", "Ildsjel", "Feu follet", "Zimny ogień"],
        description: "The old trick: every pixel is the one below it, a little colder.",
        hashtags: &["fire", "animation", "loop"],
        formats: [Gif, Gif, Gif, Gif],
        frame_milliseconds: 70,
        draw: fire::draw,
    },
    Motif {
        titles: ["夜の街 🌃", "Łódź nocą", "São Paulo, 3 a.m.", "Blinkenlights"],
        description: "Somebody is still up, drawing.",
        hashtags: &["city", "night", "夜景"],
        formats: [WebP, Png, Bmp, Gif],
        frame_milliseconds: 250,
        draw: skyline::draw,
    },
    Motif {
        titles: ["Zaubertrank 🧪", "Fungo della fortuna 🍄", "Smaragd", "Cœur <3"],
        description: "Item 12 of \"things to find under a \\ tree\".",
        hashtags: &["item", "rpg", "icon"],
        formats: [Png, WebP, Gif, Png],
        frame_milliseconds: 120,
        draw: treasure::draw,
    },
];
