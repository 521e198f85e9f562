//! A visitor from space: random, but the same on both sides.

use fastrand::Rng;

use super::canvas::{Canvas, Colour, rgb};

const SIZE: i32 = 16;
const INK: Colour = rgb(0x14_1021);
const EYE: Colour = rgb(0xFF_F7E8);
/// Ground, then the body from its lit top to its shaded bottom.
const PALETTES: [[Colour; 5]; 4] = [
    [rgb(0x1F_1B36), rgb(0xA8_F0C6), rgb(0x5F_D3A2), rgb(0x36_A18B), rgb(0x24_6A73)],
    [rgb(0x2A_1E3F), rgb(0xFF_D6A5), rgb(0xFF_9E6D), rgb(0xE0_5780), rgb(0x9B_3F83)],
    [rgb(0x10_2A43), rgb(0xF9_F871), rgb(0xFF_C75F), rgb(0xFF_9671), rgb(0xD6_5D7A)],
    [rgb(0x22_1A2E), rgb(0xC7_B8FF), rgb(0x93_8BFF), rgb(0x5F_64E0), rgb(0x3E_3FA3)],
];
const SCALES: [i32; 4] = [4, 3, 1, 2];

pub(super) fn draw(rng: &mut Rng, variation: usize, moving: bool) -> Vec<Canvas> {
    let palette = PALETTES[variation];
    let half = body(rng);
    let frames = if moving { 4 } else { 1 };
    (0..frames)
        .map(|frame| {
            let mut canvas = Canvas::new(SIZE, SIZE, palette[0]);
            // Up and down, and the eyes close on the way.
            let rise = [0, 1, 1, 0][frame];
            paint(&mut canvas, &half, &palette, 3 - rise, frame == 2);
            canvas.enlarged(SCALES[variation])
        })
        .collect()
}

/// The left half, from the middle outwards: dense there, ragged at the rim.
fn body(rng: &mut Rng) -> [[bool; 6]; 10] {
    let mut half = [[false; 6]; 10];
    for (y, row) in half.iter_mut().enumerate() {
        for (x, cell) in row.iter_mut().enumerate() {
            let from_centre = x + y.abs_diff(5);
            *cell = rng.usize(0..9) > from_centre;
        }
    }
    // A head, a waist and feet make a creature of any blot.
    half[2][..3].fill(true);
    half[3][..4].fill(true);
    half[4][..4].fill(true);
    half[7] = [true, false, true, true, false, false];
    half[8] = [false, false, true, false, rng.bool(), false];
    half[9] = [false, rng.bool(), true, rng.bool(), false, false];
    half
}

fn paint(
    canvas: &mut Canvas,
    half: &[[bool; 6]; 10],
    palette: &[Colour; 5],
    top: i32,
    asleep: bool,
) {
    let cells = || {
        half.iter().enumerate().flat_map(|(y, row)| {
            let filled = row.iter().enumerate().filter(|(_, cell)| **cell);
            filled.flat_map(move |(x, _)| [(7 - x as i32, y as i32), (8 + x as i32, y as i32)])
        })
    };
    for (x, y) in cells() {
        for (dx, dy) in [(-1, 0), (1, 0), (0, -1), (0, 1)] {
            canvas.set(x + dx, top + y + dy, INK);
        }
    }
    for (x, y) in cells() {
        canvas.set(x, top + y, palette[1 + (y as usize * 4 / 10)]);
    }
    for x in [5, 10] {
        let lid = if asleep { palette[3] } else { EYE };
        canvas.set(x, top + 3, lid);
        canvas.set(x, top + 4, if asleep { INK } else { EYE });
        canvas.set(if x < 8 { x + 1 } else { x - 1 }, top + 4, INK);
    }
}
