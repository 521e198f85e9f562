//! A planet, lit from the upper left; its clouds go round when it moves.

use fastrand::Rng;

use super::{
    canvas::{Canvas, Colour, rgb},
    noise::Noise,
};

const SIZE: i32 = 64;
const RADIUS: f32 = 20.0;
const SPACE: Colour = rgb(0x0B_0B1E);
const STARS: [Colour; 3] = [rgb(0x3A_3A6A), rgb(0x8E_8EC8), rgb(0xFF_FFE8)];
/// From the dark side to the light.
const PALETTES: [[Colour; 6]; 4] = [
    [
        rgb(0x1B_1030),
        rgb(0x5B_2A4F),
        rgb(0xA6_4253),
        rgb(0xE0_7A5F),
        rgb(0xF2_B880),
        rgb(0xFF_EFCF),
    ],
    [
        rgb(0x0D_1B3E),
        rgb(0x1F_4068),
        rgb(0x2B_7A9B),
        rgb(0x4F_B8B0),
        rgb(0xA6_E3B5),
        rgb(0xF4_FFE0),
    ],
    [
        rgb(0x20_1335),
        rgb(0x4A_2A6B),
        rgb(0x7D_4FA0),
        rgb(0xB2_7CC7),
        rgb(0xE2_B3E0),
        rgb(0xFF_EEFA),
    ],
    [
        rgb(0x1A_1423),
        rgb(0x3D_315B),
        rgb(0x44_4B6E),
        rgb(0x70_8B75),
        rgb(0x9A_B87A),
        rgb(0xF8_F991),
    ],
];
const TURN: usize = 12;

pub(super) fn draw(rng: &mut Rng, variation: usize, moving: bool) -> Vec<Canvas> {
    let stars: Vec<_> =
        (0..40).map(|_| (rng.i32(0..SIZE), rng.i32(0..SIZE), rng.usize(0..3))).collect();
    let clouds: Vec<Noise> = (0..9).map(|_| Noise::new(rng, 12)).collect();
    let frames = if moving { TURN } else { 1 };
    (0..frames)
        .map(|frame| {
            let mut canvas = Canvas::new(SIZE, SIZE, SPACE);
            for &(x, y, brightness) in &stars {
                canvas.set(x, y, STARS[brightness]);
            }
            let turned = frame as f32 * 12.0 / TURN as f32;
            globe(&mut canvas, &PALETTES[variation], &clouds, turned);
            if variation.is_multiple_of(2) {
                ring(&mut canvas, &PALETTES[variation]);
            }
            canvas
        })
        .collect()
}

fn globe(canvas: &mut Canvas, ramp: &[Colour], clouds: &[Noise], turned: f32) {
    for py in 0..SIZE {
        for px in 0..SIZE {
            let (x, y) = unit(px, py);
            let Some(z) = depth(x, y) else { continue };
            let light = (-0.55 * x - 0.55 * y + 0.63 * z).max(0.0);
            // Bands of cloud: one line of noise per latitude, read along the longitude.
            let band = (y + 1.0) * 4.0;
            let longitude = x.atan2(z) * 12.0 / std::f32::consts::TAU + turned;
            let (upper, part) = (band as usize, band.fract());
            let cloud = clouds[upper].at(longitude) * (1.0 - part)
                + clouds[(upper + 1).min(8)].at(longitude) * part;
            canvas.dither(px, py, light * (0.62 + 0.55 * cloud) - 0.04, ramp);
        }
    }
}

/// A flat ring, before the globe below its middle and behind it above.
fn ring(canvas: &mut Canvas, ramp: &[Colour]) {
    for py in 0..SIZE {
        for px in 0..SIZE {
            let (x, y) = unit(px, py);
            let tilted = 3.6 * (y + 0.18 * x);
            let distance = x.hypot(tilted);
            let hidden = depth(x, y).is_some() && tilted < 0.0;
            let gap = (1.37..1.42).contains(&distance);
            if (1.22..1.55).contains(&distance) && !gap && !hidden {
                canvas.dither(px, py, 0.85 - 0.25 * (x + 1.0), ramp);
            }
        }
    }
}

/// A pixel in units of the radius, from the centre.
fn unit(px: i32, py: i32) -> (f32, f32) {
    let centred = |p: i32| (p as f32 + 0.5 - SIZE as f32 / 2.0) / RADIUS;
    (centred(px), centred(py))
}

/// How far the globe comes towards us here.
fn depth(x: f32, y: f32) -> Option<f32> {
    let rest = 1.0 - x * x - y * y;
    (rest >= 0.0).then(|| rest.sqrt())
}
