//! A tile with the symmetry of a square, laid out as often as it fits.

use fastrand::Rng;

use super::canvas::{Canvas, Colour, rgb};

const TILE: i32 = 16;
const REPEATS: i32 = 4;
const PALETTES: [[Colour; 5]; 4] = [
    [rgb(0xF4_F1E8), rgb(0x1D_3F8C), rgb(0x3F_6FC4), rgb(0xE9_B44C), rgb(0x8F_B3E6)],
    [rgb(0x2F_4858), rgb(0xF6_F0E0), rgb(0xC8_5C5C), rgb(0x86_A8A0), rgb(0xE8_C48C)],
    [rgb(0xFB_FAF5), rgb(0x0F_5C6E), rgb(0xC0_392B), rgb(0x2E_9CA6), rgb(0x1B_2A49)],
    [rgb(0x22_2E50), rgb(0xF5_CB5C), rgb(0x5B_8E7D), rgb(0xE8_EDDF), rgb(0xBC_4B51)],
];

pub(super) fn draw(rng: &mut Rng, variation: usize, _moving: bool) -> Vec<Canvas> {
    let tile = tile(rng, &PALETTES[variation]);
    let size = TILE * REPEATS;
    let mut canvas = Canvas::new(size, size, [0; 3]);
    for y in 0..size {
        for x in 0..size {
            canvas.set(x, y, tile.get(x % TILE, y % TILE));
        }
    }
    vec![canvas]
}

/// An eighth is invented, the rest are mirrors of it.
fn tile(rng: &mut Rng, palette: &[Colour; 5]) -> Canvas {
    let (core, star, seed) = (rng.i32(3..6), rng.i32(6..9), rng.u32(..));
    let mut tile = Canvas::new(TILE, TILE, palette[0]);
    for y in 0..TILE {
        for x in 0..TILE {
            // From the centre outwards, and on one side of the diagonal.
            let (a, b) = (fold(x), fold(y));
            let (near, far) = (a.min(b), a.max(b));
            let colour = if far == 7 {
                if near % 2 == 0 { 1 } else { 2 }
            } else if near + far <= core {
                if near + far == core { 1 } else { 3 }
            } else if near + far == star || far - near == 4 {
                2
            } else if near * near + far * far > 64 {
                4
            } else {
                // Sprinkles, the same ones in each eighth.
                let place = (near * 8 + far) as u32;
                if seed.rotate_right(place).trailing_zeros() >= 2 { 4 } else { 0 }
            };
            tile.set(x, y, palette[colour]);
        }
    }
    tile
}

/// Distance from the middle line, 0 to 7.
fn fold(x: i32) -> i32 {
    if x < TILE / 2 { TILE / 2 - 1 - x } else { x - TILE / 2 }
}
