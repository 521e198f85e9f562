//! The motifs, with their titles, formats and palettes.

use fastrand::Rng;
use image::{
    ImageFormat::{self, Bmp, Gif, Png, WebP},
    RgbImage,
};

use super::{Palette, fire, invader, quilt};

/// Number of titles of each motif.
const VARIATIONS: usize = 8;

/// A kind of picture.
#[derive(Debug)]
pub(super) struct Motif {
    pub(super) titles: [&'static str; VARIATIONS],
    pub(super) description: &'static str,
    pub(super) hashtags: [&'static str; 3],
    /// Formats of the variations, repeated.
    pub(super) formats: [ImageFormat; 4],
    pub(super) frame_milliseconds: u32,
    /// Draws one frame, or several when the picture is animated.
    pub(super) draw: fn(&mut Rng, palette: &Palette, animated: bool) -> Vec<RgbImage>,
}

/// Returns the motif of this index, its variation, and the round through the catalogue.
pub(super) fn pick(index: usize) -> (&'static Motif, usize, usize) {
    let (motif, position) = (index % MOTIFS.len(), index / MOTIFS.len());
    (&MOTIFS[motif], position % VARIATIONS, position / VARIATIONS)
}

static MOTIFS: [Motif; 3] = [
    Motif {
        titles: [
            "Ñandú invasor 👾",
            "Kosmiczny żuk",
            "Petit envahisseur",
            "Космический гость",
            "Gaseous & proud",
            "小さな宇宙人",
            "Cœur <3",
            "Fungo della fortuna 🍄",
        ],
        description: "First contact went better than expected.\nItem 12 of \"things to find under a \\ tree\".",
        hashtags: ["invader", "sprite", "16x16"],
        formats: [Png, Bmp, Gif, Png],
        frame_milliseconds: 180,
        draw: invader::draw,
    },
    Motif {
        titles: [
            "Hoguera 🔥",
            "Ildsjel",
            "Feu follet",
            "Zimny ogień",
            "夜の火 🌃",
            "Château d’automne 🍂",
            "La hora dorada",
            "São Paulo, 3 a.m.",
        ],
        description: "The old trick: every pixel is the one below it, a little colder.",
        hashtags: ["fire", "loop", "夜景"],
        formats: [Gif, WebP, Gif, Png],
        frame_milliseconds: 70,
        draw: fire::draw,
    },
    Motif {
        titles: [
            "Azulejo n.º 7",
            "Quilt “Grandma’s winter”",
            "İznik çinisi",
            "Kachel 🟦🟨",
            "Rotace",
            "Zaubertrank 🧪",
            "Smaragd",
            "Fjord bei Föhn",
        ],
        description: "Seamless: tile it on your desk.",
        hashtags: ["tile", "pattern", "azulejo"],
        formats: [Png, WebP, Bmp, WebP],
        frame_milliseconds: 0,
        draw: quilt::draw,
    },
];

/// Eight, so that each of the three motifs comes in every palette.
pub(super) const PALETTES: [[u32; 6]; 8] = [
    [0x1F_1B36, 0x24_6A73, 0x36_A18B, 0x5F_D3A2, 0xA8_F0C6, 0xF4_FFE0],
    [0x0F_0A14, 0x57_1420, 0xC2_3A12, 0xF7_9324, 0xFE_E68A, 0xFF_FBE6],
    [0x0D_1B3E, 0x1D_3F8C, 0x3F_6FC4, 0x8F_B3E6, 0xE9_B44C, 0xF4_F1E8],
    [0x2A_1E3F, 0x9B_3F83, 0xE0_5780, 0xFF_9E6D, 0xFF_D6A5, 0xFF_F4FA],
    [0x0A_0E1A, 0x14_3266, 0x1C_7CC4, 0x66_CDEE, 0xD0_F5F7, 0xFA_FFFF],
    [0x0A_120E, 0x15_4022, 0x38_8A3A, 0x9C_CE52, 0xEA_F2A0, 0xFC_FDE2],
    [0x12_0A1A, 0x4A_1866, 0xA2_34A8, 0xE8_7EC2, 0xFC_D2E2, 0xFF_F4FA],
    [0x1B_2A49, 0x0F_5C6E, 0x2E_9CA6, 0xC0_392B, 0xF5_CB5C, 0xFB_FAF5],
];
