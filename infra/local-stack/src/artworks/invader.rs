//! A visitor from space: random, but the same on both sides.

use fastrand::Rng;
use image::{
    Rgb, RgbImage,
    imageops::{FilterType, resize},
};

use super::{Palette, rgb};

const SIZE: u32 = 16;
const INK: Rgb<u8> = rgb(0x14_1021);
const EYE: Rgb<u8> = rgb(0xFF_F7E8);

/// The right half of the body, row by row, from the middle outwards.
type Half = [[bool; 6]; 10];

pub(super) fn draw(rng: &mut Rng, palette: &Palette, animated: bool) -> Vec<RgbImage> {
    let (half, scale) = (body(rng), rng.u32(1..=4));
    let frames = if animated { 4 } else { 1 };
    let frames = (0..frames).map(|frame| {
        // Up and down, and the eyes close on the way.
        let (top, asleep) = ([3, 2, 2, 3][frame], frame == 2);
        let sprite = RgbImage::from_fn(SIZE, SIZE, |x, y| {
            pixel(&half, palette, asleep, (x.cast_signed(), y.cast_signed() - top))
        });
        resize(&sprite, SIZE * scale, SIZE * scale, FilterType::Nearest)
    });
    frames.collect()
}

/// Makes up a body: dense in the middle, ragged at the rim.
fn body(rng: &mut Rng) -> Half {
    let mut half = Half::default();
    for (y, row) in half.iter_mut().enumerate() {
        for (x, cell) in row.iter_mut().enumerate() {
            *cell = rng.usize(0..9) > x + y.abs_diff(5);
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

/// Returns the colour at a place that is counted from the top left of the body.
fn pixel(half: &Half, palette: &Palette, asleep: bool, (x, y): (i32, i32)) -> Rgb<u8> {
    let filled = |x: i32, y: i32| {
        let column = usize::try_from(if x < 8 { 7 - x } else { x - 8 });
        let row = usize::try_from(y).ok().and_then(|row| half.get(row));
        column.ok().and_then(|column| row?.get(column)).is_some_and(|cell| *cell)
    };
    let (lid, eye) = if asleep { (palette[2], INK) } else { (EYE, EYE) };
    match (x, y) {
        (5 | 10, 3) => lid,
        (5 | 10, 4) => eye,
        (6 | 9, 4) => INK,
        // Lit from above.
        _ if filled(x, y) => palette[[4, 4, 4, 3, 3, 2, 2, 2, 1, 1][y.unsigned_abs() as usize]],
        _ if filled(x - 1, y) || filled(x + 1, y) || filled(x, y - 1) || filled(x, y + 1) => INK,
        _ => palette[0],
    }
}
