//! A city at night. When it moves, lights go on and off.

use fastrand::Rng;

use super::canvas::{Canvas, Colour, rgb};

const WIDTH: i32 = 96;
const HEIGHT: i32 = 96;
const FRAMES: usize = 6;
const SKIES: [[Colour; 4]; 4] = [
    [rgb(0x0B_1026), rgb(0x1B_1F4B), rgb(0x3B_2F6B), rgb(0x7A_4482)],
    [rgb(0x07_1A2B), rgb(0x0F_2F4A), rgb(0x1D_4E6B), rgb(0x3C_7E86)],
    [rgb(0x14_0F1F), rgb(0x33_1B3B), rgb(0x6B_2A4A), rgb(0xB3_4A4F)],
    [rgb(0x05_0A1A), rgb(0x10_183A), rgb(0x22_2A63), rgb(0x46_4391)],
];
/// Far and near.
const WALLS: [Colour; 2] = [rgb(0x22_2143), rgb(0x0D_0C1D)];
const MOON: Colour = rgb(0xF6_F1D5);
const LAMPS: [Colour; 3] = [rgb(0xFF_D97A), rgb(0xFF_A94D), rgb(0xBF_E8FF)];

struct Window {
    place: (i32, i32),
    lamp: Colour,
    /// In which frames it is lit, one bit each.
    lit: u8,
}

pub(super) fn draw(rng: &mut Rng, variation: usize, moving: bool) -> Vec<Canvas> {
    let mut city = Canvas::new(WIDTH, HEIGHT, [0; 3]);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            city.dither(x, y, (y as f32 / 84.0).powi(2), &SKIES[variation]);
        }
    }
    for _ in 0..30 {
        city.set(rng.i32(0..WIDTH), rng.i32(0..HEIGHT / 2), MOON);
    }
    moon(&mut city, rng, SKIES[variation][0]);
    let mut windows = Vec::new();
    for (layer, wall) in WALLS.into_iter().enumerate() {
        row_of_houses(&mut city, rng, layer as i32, wall, &mut windows);
    }

    let frames = if moving { FRAMES } else { 1 };
    (0..frames)
        .map(|frame| {
            let mut canvas = city.clone();
            for window in windows.iter().filter(|window| window.lit >> frame & 1 == 1) {
                canvas.rectangle(window.place, (2, 2), window.lamp);
            }
            canvas
        })
        .collect()
}

fn moon(city: &mut Canvas, rng: &mut Rng, shadow: Colour) {
    let (x, y) = (rng.i32(16..80), rng.i32(14..26));
    city.disc((x, y), 8, MOON);
    city.disc((x - 4, y - 2), 7, shadow);
}

fn row_of_houses(
    city: &mut Canvas,
    rng: &mut Rng,
    layer: i32,
    wall: Colour,
    windows: &mut Vec<Window>,
) {
    let mut left = -rng.i32(0..6);
    while left < WIDTH {
        let width = rng.i32(3..6) * 4 + 2;
        let top = rng.i32(34..62) + layer * 14;
        city.rectangle((left, top), (width, HEIGHT - top), wall);
        match rng.u8(0..4) {
            0 => city.rectangle((left + width / 2, top - 8), (1, 8), wall),
            1 => city.rectangle((left + 3, top - 3), (width - 6, 3), wall),
            _ => {}
        }
        // In front of a window of the far row there may now be a house of the near one.
        let behind = |window: &Window| {
            let (x, y) = window.place;
            x + 2 > left && x < left + width && y + 2 > top
        };
        windows.retain(|window| !behind(window));
        for y in (top + 3..HEIGHT - 2).step_by(4) {
            for x in (left + 2..left + width - 2).step_by(4) {
                if rng.u8(0..10) < 4 {
                    let lit = if rng.u8(0..3) == 0 { rng.u8(..) | 1 } else { u8::MAX };
                    let lamp = LAMPS[if rng.u8(0..6) == 0 { 2 } else { rng.usize(0..2) }];
                    windows.push(Window { place: (x, y), lamp, lit });
                }
            }
        }
        left += width + rng.i32(0..3);
    }
}
